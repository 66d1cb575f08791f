"""The asset check `reconciled`: its own job, what it tells, and that nothing else pays for it."""

from pathlib import Path

import dagster as dg
import pytest
from pydantic import SecretStr

from datalake_assets.cli.run import run_to_the_end
from datalake_assets.definitions import build_definitions
from datalake_assets.settings import Settings
from datalake_assets_tests.postgres import Database
from datalake_assets_tests.reconcile.source import Compared

pytestmark = pytest.mark.xdist_group("postgres")
_SILVER = dg.AssetKey(["silver", "t"])
_EVALUATED = dg.DagsterEventType.ASSET_CHECK_EVALUATION


@pytest.fixture
def compared(postgres: Database, tmp_path: Path) -> Compared:
    postgres.execute(
        "CREATE TABLE t (id bigint PRIMARY KEY, v text)", "INSERT INTO t SELECT generate_series(1, 90), 'a'"
    )
    made = Compared(postgres, tmp_path, {"id": "int64", "v": "string"})
    made.replica.catch_up()
    return made


@pytest.fixture
def settings(compared: Compared, tmp_path: Path) -> Settings:
    return Settings(
        root=compared.lake.lake.layout.root,
        datasets=tmp_path / "datasets",
        source_url=SecretStr(compared.postgres.url),
        settle_seconds=0,
    )


def _evaluations(instance: dg.DagsterInstance) -> int:
    key = dg.AssetCheckKey(_SILVER, "reconciled")
    history = instance.event_log_storage.get_asset_check_execution_history(key, limit=10)
    return sum(record.event is not None and record.event.dagster_event_type is _EVALUATED for record in history)


def _check(settings: Settings, instance: dg.DagsterInstance) -> dg.AssetCheckEvaluation:
    job = build_definitions(settings).resolve_job_def("reconcile")
    (evaluation,) = job.execute_in_process(instance=instance).get_asset_check_evaluations()
    return evaluation


def test_the_check_tells_what_differs_without_values(
    compared: Compared, settings: Settings, instance: dg.DagsterInstance
) -> None:
    assert not run_to_the_end(settings, instance, tell=lambda *_: None).failed
    found = _check(settings, instance)
    assert (found.asset_check_key, found.passed, found.blocking) == (
        dg.AssetCheckKey(_SILVER, "reconciled"),
        True,
        False,
    )
    assert (found.metadata["source_rows"].value, found.metadata["rows_read"].value) == (90, 0)
    compared.postgres.execute("UPDATE t SET v = 'hidden' WHERE id > 60")
    found = _check(settings, instance)
    assert (found.passed, found.severity) == (False, dg.AssetCheckSeverity.ERROR)
    assert found.description is not None
    assert "30 keys differ: 30 changed" in found.description
    told = found.metadata["differences"].value
    assert isinstance(told, list)
    assert len(told) == 20
    assert told[0] == {"key": {"id": "61"}, "kind": "changed", "columns": ["v"]}
    assert "hidden" not in str(found.metadata)
    warned = _check(settings.model_copy(update={"reconcile_severity": "warn"}), instance)
    assert warned.severity == dg.AssetCheckSeverity.WARN


def test_a_run_that_materializes_does_not_read_the_source(settings: Settings, instance: dg.DagsterInstance) -> None:
    run_to_the_end(settings, instance, tell=lambda *_: None)
    assert _evaluations(instance) == 0
    definitions = build_definitions(settings)
    jobs = {job.name: job for job in definitions.get_repository_def().get_all_jobs()}
    assert "reconcile_t" not in {node.name for node in jobs["landed_hourly"].nodes}
    everything = definitions.resolve_implicit_global_asset_job_def()
    key = definitions.resolve_asset_graph().get(_SILVER).partitions_def
    assert key is not None
    result = everything.execute_in_process(
        instance=instance, asset_selection=[_SILVER], partition_key=key.get_last_partition_key(), raise_on_error=False
    )
    assert result.success
    assert _evaluations(instance) == 0


def test_a_source_that_can_not_be_reached_fails_the_check_with_a_reason(
    settings: Settings, instance: dg.DagsterInstance
) -> None:
    broken = Settings(
        root=settings.root, datasets=settings.datasets, source_url=SecretStr("postgresql://me:hunter2@localhost:1/x")
    )
    job = build_definitions(broken).resolve_job_def("reconcile")
    with pytest.raises(dg.Failure, match="can't connect to postgresql://me@localhost:1/x") as failure:
        job.execute_in_process(instance=instance)
    assert "hunter2" not in str(failure.value)


def test_without_a_source_there_is_no_such_check(settings: Settings) -> None:
    alone = build_definitions(Settings(root=settings.root, datasets=settings.datasets))
    assert "reconciled" not in {key.name for key in alone.resolve_asset_graph().asset_check_keys}
    assert "reconcile" not in {job.name for job in alone.get_repository_def().get_all_jobs()}
    compared = build_definitions(settings).get_repository_def()
    schedule = compared.get_schedule_def("nightly_reconcile")
    assert schedule.default_status == dg.DefaultScheduleStatus.STOPPED
