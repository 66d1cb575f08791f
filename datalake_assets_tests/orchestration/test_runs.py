"""Running the lake: what is run again, what is re-opened, what waits, and what is told of it."""

from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest
from deltalake import DeltaTable

from datalake_assets.assets.failures import is_transient, only_transient_retries
from datalake_assets.assets.partitions import range_tags
from datalake_assets.cli.instance import BusyError, alone
from datalake_assets.cli.run import COMMAND, run_to_the_end
from datalake_assets.definitions import build_definitions
from datalake_assets.lake.lake import Lake
from datalake_assets.lake.spec.dataset import Dataset
from datalake_assets.lake.steps.checks import rules
from datalake_assets.lake.steps.messages import StepReport, StepRequest
from datalake_assets.lake.steps.planning import LandingWork, landing_work
from datalake_assets.resources.runners.in_process import InProcessRunner
from datalake_assets.settings import Settings
from datalake_assets_tests.orchestration.conftest import Process
from datalake_assets_tests.sources import CLICKS, land, write_datasets

_DAY = 86_400
_JAN_1 = 1_767_225_600
_GOLD = [dg.AssetKey(["gold", n]) for n in ("daily_summary", "hourly_metrics", "events_by_type")]


def _click(id_: str, day: int) -> dict[str, object]:
    return {"id": id_, "at": _JAN_1 + day * _DAY}


def _versions(settings: Settings) -> dict[str, int]:
    zones = (Path(settings.layout.root) / zone for zone in ("silver", "gold", "quarantine"))
    logs = [log for zone in zones for log in sorted(zone.rglob("_delta_log"))]
    return {str(log.parent): DeltaTable(str(log.parent)).version() for log in logs}


def _materialized(instance: dg.DagsterInstance, key: dg.AssetKey) -> list[str]:
    records = instance.fetch_materializations(key, limit=1_000).records
    return sorted(r.partition_key or "" for r in records)


def test_a_second_run_changes_nothing(settings: Settings, bronze: Path, process: Process) -> None:
    land(bronze, "firehose/clicks", "2026/01/01/00", "one", [*(_click(str(n), 0) for n in range(40)), "not json"])
    assert process().succeeded > 0
    before = _versions(settings)
    assert process().succeeded == 0
    assert _versions(settings) == before


def test_consecutive_hours_are_one_run(bronze: Path, process: Process, instance: dg.DagsterInstance) -> None:
    for hour in range(6):
        land(bronze, "firehose/clicks", f"2026/01/01/{hour:02}", "one", [_click(f"{hour}", 0)])
    process()
    silver = dg.AssetKey(["silver", "clicks"])
    runs = {record.run_id for record in instance.fetch_materializations(silver, limit=100).records}
    assert len(runs) == 1
    assert _materialized(instance, silver) == [f"2026-01-01-{hour:02}:00" for hour in range(6)]


def test_late_data_reopen_exactly_the_dates_they_touch(
    bronze: Path, process: Process, instance: dg.DagsterInstance, settings: Settings
) -> None:
    land(bronze, "firehose/clicks", "2026/01/09/00", "one", [_click(f"{day}", day) for day in range(9)])
    process()
    before = {key: _materialized(instance, key) for key in _GOLD}
    land(bronze, "firehose/clicks", "2026/01/10/00", "late", [_click("late 2", 2), _click("late 5", 5)])
    process()
    for key in _GOLD:
        assert sorted(_materialized(instance, key)) == sorted([*before[key], "2026-01-03", "2026-01-06"])
    summary = pl.read_delta(f"{settings.layout.gold}/daily_summary")
    records = dict(summary.select("event_date", "records").iter_rows())
    assert {day.day for day, count in records.items() if count == 2} == {3, 6}


def test_events_outside_the_partitions_are_computed_by_the_first_and_the_current_one(
    bronze: Path, process: Process, settings: Settings
) -> None:
    far = int(datetime(2090, 1, 1, tzinfo=UTC).timestamp())
    land(bronze, "firehose/clicks", "2026/01/01/00", "one", [{"id": "epoch", "at": 0}, {"id": "far", "at": far}])
    land(bronze, "firehose/clicks", "2015/09/12/00", "old", [_click("old object", 1)])
    assert not process().failed
    summary = pl.read_delta(f"{settings.layout.gold}/daily_summary").sort("event_date")
    assert summary["event_date"].to_list() == [date(1970, 1, 1), date(2026, 1, 2), date(2090, 1, 1)]
    assert process().succeeded == 0


def test_too_many_rejects_hold_gold_back_until_the_partition_is_replayed(
    bronze: Path, settings: Settings, instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    tight = CLICKS.replace("page: {type: string}", "page: {type: string, maxLength: 3}")
    strict = settings.model_copy(update={"datasets": write_datasets(tmp_path / "tight", tight)})
    land(bronze, "firehose/clicks", "2026/01/01/00", "good", [_click("a", 0)])
    bad = [{"id": f"b{n}", "at": _JAN_1 + _DAY, "page": "/long"} for n in range(20)] + [_click("c", 1)]
    land(bronze, "firehose/clicks", "2026/01/02/00", "bad", bad)
    held = [line for line in run_to_the_end(strict, instance, tell=lambda *_: None).undone if "2026-01-02" in line]
    assert held
    assert all("held back by clicks 2026-01-02-00:00: 20 of 21 records rejected" in line for line in held)
    # It was processed: only a person's replay changes the verdict.
    again = run_to_the_end(strict, instance, tell=lambda *_: None)
    assert (again.succeeded, again.failed) == (0, [])
    assert again.undone == held
    summary = pl.read_delta(f"{settings.layout.gold}/daily_summary")
    assert summary.filter(pl.col("records") > 0)["event_date"].to_list() == [date(2026, 1, 1)]

    job = build_definitions(settings).resolve_implicit_global_asset_job_def()
    silver = dg.AssetKey(["silver", "clicks"])
    assert job.execute_in_process(instance=instance, asset_selection=[silver], partition_key="2026-01-02-00:00").success
    run_to_the_end(settings, instance, tell=lambda *_: None)
    summary = pl.read_delta(f"{settings.layout.gold}/daily_summary")
    records = dict(summary.select("event_date", "records").iter_rows())
    assert records[date(2026, 1, 2)] == 21
    assert pl.read_delta(f"{settings.layout.quarantine}/clicks").is_empty()


def test_the_verdict_on_a_partition_does_not_depend_on_how_its_objects_came(bronze: Path, process: Process) -> None:
    land(bronze, "firehose/clicks", "2026/01/01/00", "one", [_click(str(n), 0) for n in range(60)])
    assert process().failed == []
    land(bronze, "firehose/clicks", "2026/01/01/00", "two", [_click("a", 0), "not json"])
    assert process().failed == []  # one of two in this object, but one of 62 in the partition


def test_a_failing_check_stops_gold_in_the_same_run(
    bronze: Path, settings: Settings, instance: dg.DagsterInstance
) -> None:
    land(bronze, "firehose/clicks", "2026/01/01/00", "bad", [*["not json"] * 20, _click("a", 0)])
    job = build_definitions(settings).resolve_implicit_global_asset_job_def()
    selection = [dg.AssetKey(["bronze", "clicks"]), dg.AssetKey(["silver", "clicks"])]
    result = job.execute_in_process(
        instance=instance, asset_selection=selection, partition_key="2026-01-01-00:00", raise_on_error=False
    )
    verdicts = {e.check_name: e.passed for e in result.get_asset_check_evaluations()}
    assert verdicts["rejected_fraction"] is False


def test_checks_alone_show_the_verdicts_and_write_nothing(
    bronze: Path, settings: Settings, process: Process, instance: dg.DagsterInstance
) -> None:
    land(bronze, "firehose/clicks", "2026/01/01/00", "one", [_click("a", 0)])
    process()
    before = _versions(settings)
    silver = dg.AssetKey(["silver", "clicks"])
    checks = dg.define_asset_job("checks", selection=dg.AssetSelection.checks_for_assets(silver))
    definitions = dg.Definitions.merge(build_definitions(settings), dg.Definitions(jobs=[checks]))
    result = definitions.resolve_job_def("checks").execute_in_process(instance=instance)
    assert {e.check_name for e in result.get_asset_check_evaluations()} == set(
        rules(settings.lake().datasets["clicks"])
    )
    assert not result.get_asset_materialization_events()
    assert _versions(settings) == before


def test_a_materialization_tells_what_was_done(bronze: Path, process: Process, instance: dg.DagsterInstance) -> None:
    land(bronze, "firehose/clicks", "2026/01/01/00", "one", [_click(str(n), n % 2) for n in range(40)])
    land(bronze, "firehose/clicks", "2026/01/01/01", "two", ["not json", *(_click(f"x{n}", 0) for n in range(40))])
    process()
    (record,) = [
        r
        for r in instance.fetch_materializations(dg.AssetKey(["silver", "clicks"]), limit=10).records
        if r.partition_key == "2026-01-01-01:00"
    ]
    assert record.asset_materialization is not None
    told = {name: value.value for name, value in record.asset_materialization.metadata.items()}
    assert told["dagster/row_count"] == 80
    assert told["dagster/partition_row_count"] == 40
    assert told["rows_rejected"] == 1
    assert told["rejects_by_reason"] == {"json": 1}
    assert told["step_over"] == (
        "2 partitions, 2026-01-01-00:00 to 2026-01-01-01:00; of this partition alone are dagster/partition_row_count, "
        "rows_in, rows_out, rows_rejected, all else is of the step"
    )
    assert told["touched_dates"] == ["2026-01-01", "2026-01-02"]
    assert told["table_version"] == 0
    assert {"seconds_read", "seconds_transform", "seconds_write"} <= told.keys()
    assert {"lateness_p50_seconds", "lateness_p99_seconds", "lateness_max_seconds"} <= told.keys()
    assert told["watermark"] == datetime(2026, 1, 2, tzinfo=UTC).timestamp()


def test_a_range_of_partitions_is_one_step_over_all_of_them(
    bronze: Path, settings: Settings, instance: dg.DagsterInstance
) -> None:
    for hour in (0, 1, 5):
        land(bronze, "firehose/clicks", f"2026/01/01/{hour:02}", "one", [_click(f"{hour}", 0)])
    job = build_definitions(settings).resolve_implicit_global_asset_job_def()
    selection = [dg.AssetKey(["bronze", "clicks"]), dg.AssetKey(["silver", "clicks"])]
    keys = [f"2026-01-01-{hour:02}:00" for hour in range(6)]
    job.execute_in_process(instance=instance, asset_selection=selection, tags=range_tags(keys))
    assert _materialized(instance, dg.AssetKey(["silver", "clicks"])) == keys
    assert DeltaTable(f"{settings.layout.silver}/clicks").version() == 0


def test_work_that_failed_is_tried_again_by_the_next_run(bronze: Path, process: Process, settings: Settings) -> None:
    land(bronze, "firehose/clicks", "2026/01/01/00", "one", [_click("a", 0)])
    silver = Path(settings.layout.silver)
    silver.parent.mkdir(parents=True, exist_ok=True)
    silver.write_text("a file where the folder should be")
    outcome = process()
    assert len(outcome.failed) == 1
    silver.unlink()
    assert not process().failed
    assert pl.read_delta(f"{settings.layout.silver}/clicks")["id"].to_list() == ["a"]


def test_what_is_left_undone_is_told_with_its_reason(bronze: Path, process: Process) -> None:
    """Gold withheld by a check ended with exit code 0 on the second `datalake run`."""
    land(bronze, "firehose/clicks", "2026/01/02/00", "bad", [*["not json"] * 20, _click("a", 0)])
    process()
    again = process()
    assert again.failed == []
    assert not again.is_complete
    assert any("daily_summary" in line and "2026-01-01" in line for line in again.undone)


def test_one_bad_partition_of_a_range_stops_no_neighbour(
    bronze: Path, process: Process, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run over a range that fails leaves all of it undone: it is halved until the bad partition is alone."""
    for hour in range(5):
        land(bronze, "firehose/clicks", f"2026/01/01/{hour:02}", "one", [_click(f"{hour}", 0)])
    healthy = InProcessRunner.run

    def run(self: InProcessRunner, request: StepRequest, *, lake: Lake, context: Any) -> StepReport:
        if "2026-01-01-03:00" in request.partitions:
            raise MemoryError("too much for one process")
        return healthy(self, request, lake=lake, context=context)

    monkeypatch.setattr(InProcessRunner, "run", run)
    outcome = process()
    assert sorted(pl.read_delta(f"{settings.layout.silver}/clicks")["id"]) == ["0", "1", "2", "4"]
    assert any("2026-01-01-03:00: " in reason and "MemoryError" in reason for _, reason in outcome.failed)
    monkeypatch.undo()
    assert process().is_complete


def test_a_dataset_that_cannot_be_looked_at_is_left_undone_and_told(
    tmp_path: Path, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A listing that failed was swallowed: exit code 0 with nothing of the dataset processed."""
    datasets = write_datasets(tmp_path / "datasets", CLICKS, CLICKS.replace("clicks", "visits"))
    settings = Settings(root=str(tmp_path / "lake"), datasets=datasets)
    land(Path(settings.layout.bronze), "firehose/visits", "2026/01/01/00", "one", [_click("a", 0)])

    def fail_for_clicks(lake: Lake, dataset: Dataset, **how: Any) -> LandingWork:
        if dataset.name == "clicks":
            raise ValueError("an object's name is no text")
        return landing_work(lake, dataset, **how)

    monkeypatch.setattr("datalake_assets.sensors.looking.landing_work", fail_for_clicks)
    outcome = run_to_the_end(settings, instance, tell=lambda *_: None)
    assert outcome.undone == ["clicks can't be looked at: ValueError: an object's name is no text"]
    assert pl.read_delta(f"{settings.layout.silver}/visits").height == 1


def test_two_runs_at_once_are_refused(process: Process, settings: Settings, instance: dg.DagsterInstance) -> None:
    def meddle(*_: object) -> None:
        raise AssertionError("nothing to run")

    with alone(instance, command=COMMAND), pytest.raises(BusyError, match="another `datalake run` is at work"):
        run_to_the_end(settings, instance, tell=meddle)
    assert process().succeeded == 0


def test_only_transient_faults_are_tried_again() -> None:
    assert is_transient(ConnectionResetError())
    assert is_transient(OSError("Generic S3 error: request timed out"))
    assert not is_transient(PermissionError("denied"))
    assert not is_transient(FileNotFoundError("no such key; max_retries: 10, retry_timeout: 120s"))
    assert not is_transient(ValueError("wrong"))
    with pytest.raises(ValueError, match="wrong"), only_transient_retries():
        raise ValueError("wrong")
    with pytest.raises(dg.RetryRequested), only_transient_retries():
        raise ConnectionResetError
