"""A command writes Dagster's log by connections that stay open, and others find the same in it."""

import os
import sqlite3
from contextlib import closing, nullcontext
from pathlib import Path

import dagster as dg
import pytest

from datalake_assets.cli.event_log import revisions_read_once, swift_event_log

_HOURS = dg.HourlyPartitionsDefinition(start_date="2026-01-01-00:00")


@dg.asset(partitions_def=_HOURS, backfill_policy=dg.BackfillPolicy.single_run())
def landed(context: dg.AssetExecutionContext) -> None:
    """An asset whose run tells of many partitions."""
    context.log.info("at work")


@dg.asset_check(asset=landed)
def is_whole() -> dg.AssetCheckResult:
    """A check."""
    return dg.AssetCheckResult(passed=True)


def _run(instance: dg.DagsterInstance) -> dg.ExecuteInProcessResult:
    tags = {
        "dagster/asset_partition_range_start": "2026-01-01-00:00",
        "dagster/asset_partition_range_end": "2026-01-02-23:00",
    }
    definitions = dg.Definitions(assets=[landed], asset_checks=[is_whole])
    return definitions.resolve_implicit_global_asset_job_def().execute_in_process(instance=instance, tags=tags)


def _told(instance: dg.DagsterInstance, run_id: str) -> list[tuple[str | None, str | None]]:
    entries = [entry.dagster_event for entry in instance.all_logs(run_id) if entry.dagster_event]
    return [(event.event_type_value, event.partition) for event in entries]


def _asset(instance: dg.DagsterInstance) -> tuple[str | None, str | None]:
    """The last run of the asset, and its last partition, as the table of assets has them."""
    (record,) = instance.get_asset_records([landed.key])
    last = record.asset_entry.last_materialization_record
    assert last is not None
    assert last.event_log_entry.run_id == record.asset_entry.last_run_id
    return record.asset_entry.last_run_id, last.event_log_entry.get_dagster_event().partition


def _moments(instance: dg.DagsterInstance) -> set[str]:
    """The times of the asset's materializations as its page tells them apart: by their milliseconds."""
    found = instance.fetch_materializations(landed.key, limit=1000).records
    return {f"{int(record.timestamp * 1000)}" for record in found}


def _tagged(instance: dg.DagsterInstance) -> int:
    """How many of the asset's events can be found by their tags."""
    return sum(map(bool, instance.event_log_storage.get_event_tags_for_asset(landed.key)))


def _checked(instance: dg.DagsterInstance) -> int:
    """How many executions of the check its page shows."""
    return len(instance.event_log_storage.get_asset_check_execution_history(is_whole.check_key, limit=1000))


def _logs(home: Path) -> set[str]:
    """SQLite's own logs: a file that nobody has open has none."""
    return {log.name for log in home.rglob("*.db-wal")}


def test_a_run_tells_the_same_as_by_dagsters_own_ways(tmp_path: Path) -> None:
    kept, plain = tmp_path / "kept", tmp_path / "plain"
    kept.mkdir()
    plain.mkdir()
    with dg.DagsterInstance.local_temp(str(kept)) as instance, dg.DagsterInstance.local_temp(str(plain)) as other:
        with swift_event_log(instance):
            first, second = _run(instance), _run(instance)
        assert first.success
        assert second.success
        expected = _told(other, _run(other).run_id)
        assert _told(instance, first.run_id) == _told(instance, second.run_id) == expected
        assert instance.get_materialized_partitions(landed.key) == other.get_materialized_partitions(landed.key)
        assert len(instance.get_materialized_partitions(landed.key)) == 48
        assert instance.get_run_by_id(first.run_id).status == dg.DagsterRunStatus.SUCCESS  # type: ignore[union-attr]
        assert _checked(instance) == 2 * _checked(other) > 0
        assert _asset(instance) == (second.run_id, "2026-01-02-23:00")
        assert _tagged(instance) == 2 * _tagged(other) > 0
        assert len(_moments(instance)) == 2 * 48
        assert instance.event_log_storage.get_latest_storage_id_by_partition(
            landed.key, dg.DagsterEventType.ASSET_MATERIALIZATION
        ).keys() == {f"2026-01-0{day}-{hour:02}:00" for day in (1, 2) for hour in range(24)}


def test_files_are_made_as_they_are_by_dagsters_own_ways(tmp_path: Path) -> None:
    """Those of an instance, and that of its first run, with the revision that a later Dagster goes on from."""
    made = {}
    for name, way in (("once", revisions_read_once()), ("plain", nullcontext())):
        home = tmp_path / name
        home.mkdir()
        with way, dg.DagsterInstance.local_temp(str(home)) as instance:
            run = _run(instance).run_id
        made[name] = {db.relative_to(home).as_posix().replace(run, "run"): _form(db) for db in home.rglob("*.db")}
    assert made["once"] == made["plain"]
    assert {Path(name).name for name in made["once"]} == {"index.db", "run.db", "runs.db", "schedules.db"}
    assert all(revisions for _, revisions in made["once"].values())


def _form(file: Path) -> tuple[list[tuple[str]], list[tuple[str]]]:
    """The tables of a file, and its revision."""
    with closing(sqlite3.connect(file)) as db:
        tables = db.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY sql").fetchall()
        return tables, db.execute("SELECT version_num FROM alembic_version").fetchall()


def test_files_stay_open_between_events_and_no_longer(tmp_path: Path) -> None:
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        with swift_event_log(instance):
            runs = [_run(instance).run_id for _ in range(2)]
            assert _logs(tmp_path) == {"index.db-wal", "runs.db-wal", f"{runs[1]}.db-wal"}
        assert _logs(tmp_path) == set()
        assert "DAGSTER_EVENT_BATCH_SIZE" not in os.environ
        instance.report_runless_asset_event(dg.AssetMaterialization("a"))
        assert instance.get_latest_materialization_event(dg.AssetKey("a")) is not None


def test_a_switch_that_somebody_set_is_let_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAGSTER_EVENT_BATCH_SIZE", "7")
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance, swift_event_log(instance):
        assert os.environ["DAGSTER_EVENT_BATCH_SIZE"] == "7"
    assert os.environ["DAGSTER_EVENT_BATCH_SIZE"] == "7"


def test_an_event_that_cannot_be_stored_leaves_the_log_in_order(tmp_path: Path) -> None:
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance, swift_event_log(instance):
        run = _run(instance).run_id
        storage = instance.event_log_storage
        entries = instance.all_logs(run)
        with pytest.raises(AttributeError):
            storage.store_event_batch([entries[0], None])  # type: ignore[list-item]
        assert len(instance.all_logs(run)) == len(entries)


def test_an_instance_with_another_storage_is_let_be(tmp_path: Path) -> None:
    with dg.DagsterInstance.ephemeral(str(tmp_path)) as instance, swift_event_log(instance):
        assert _run(instance).success
        assert _logs(tmp_path) == set()


def test_another_process_may_write_meanwhile(tmp_path: Path) -> None:
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance, swift_event_log(instance):
        _run(instance)
        (index,) = tmp_path.rglob("index.db")
        with sqlite3.connect(index, timeout=1) as another:
            another.execute("CREATE TABLE theirs (a)")
        another.close()
        assert _run(instance).success
