"""Ticks: what sensors and schedules ask for, how often, and what they are not stopped by."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest

from datalake_assets.definitions import build_definitions
from datalake_assets.sensors.landing import SweepCursor
from datalake_assets.sensors.requests import REQUEST_TAG, request_name, run_request, still_wanted
from datalake_assets.settings import Settings
from datalake_assets_tests.orchestration.conftest import Process
from datalake_assets_tests.sources import CLICKS, land, write_datasets

_JAN_1 = 1_767_225_600


def _tick(
    settings: Settings, instance: dg.DagsterInstance, sensor: str, cursor: str | None = None
) -> tuple[Sequence[dg.RunRequest], str | None, str | None]:
    definitions = build_definitions(settings)
    with dg.build_sensor_context(
        instance=instance, cursor=cursor, definitions=definitions, sensor_name=sensor
    ) as context:
        tick = definitions.resolve_sensor_def(sensor).evaluate_tick(context)
    return tick.run_requests or [], tick.cursor, tick.skip_message


def _land_hours(bronze: Path, hours: Sequence[int], prefix: str = "firehose/clicks") -> None:
    for hour in hours:
        records = [{"id": f"{hour}", "at": _JAN_1 + hour * 3_600}]
        land(bronze, prefix, f"2026/01/01/{hour:02}", "one", records)


def test_a_tick_asks_for_one_run_for_each_stretch_of_consecutive_hours(
    settings: Settings, bronze: Path, instance: dg.DagsterInstance
) -> None:
    _land_hours(bronze, [0, 1, 2, 7])
    requests, _, _ = _tick(settings, instance, "firehose_landing")
    stretches = [
        (
            r.partition_key or r.tags["dagster/asset_partition_range_start"],
            r.tags.get("dagster/asset_partition_range_end"),
        )
        for r in requests
    ]
    assert stretches == [("2026-01-01-00:00", "2026-01-01-02:00"), ("2026-01-01-07:00", None)]
    assert {r.job_name for r in requests} == {"landed_hourly"}


def test_a_tick_that_finds_nothing_says_so(settings: Settings, instance: dg.DagsterInstance) -> None:
    requests, _, message = _tick(settings, instance, "firehose_landing")
    assert requests == []
    assert message is not None
    assert "nothing has landed" in message


def test_ticks_sweep_through_old_objects_a_piece_at_a_time(
    settings: Settings, bronze: Path, instance: dg.DagsterInstance
) -> None:
    _land_hours(bronze, range(6))
    small = settings.model_copy(update={"sweep_objects": 2})
    asked: list[str] = []
    cursor: str | None = None
    for _ in range(3):
        requests, cursor, _ = _tick(small, instance, "firehose_landing", cursor)
        asked += [r.tags.get("dagster/asset_partition_range_end", "") for r in requests]
    assert asked == ["2026-01-01-01:00", "2026-01-01-03:00", "2026-01-01-05:00"]
    assert not SweepCursor.parse(cursor).is_round
    assert SweepCursor.parse(_tick(small, instance, "firehose_landing", cursor)[1]).is_round


@pytest.mark.parametrize("cursor", [None, "", "nonsense", '{"positions": 3}'])
def test_a_lost_cursor_costs_nothing(
    settings: Settings, bronze: Path, instance: dg.DagsterInstance, cursor: str | None
) -> None:
    _land_hours(bronze, [0])
    assert len(_tick(settings, instance, "firehose_landing", cursor)[0]) == 1


def test_a_dataset_that_cannot_be_listed_stops_no_other(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    datasets = write_datasets(tmp_path / "datasets", CLICKS, CLICKS.replace("clicks", "visits"))
    settings = Settings(root=str(tmp_path / "lake"), datasets=datasets)
    bronze = Path(settings.layout.bronze)
    _land_hours(bronze, [0], prefix="firehose/visits")
    (bronze / "firehose" / "clicks").write_text("a file where the folder should be")
    requests, _, _ = _tick(settings, instance, "firehose_landing")
    assert [r.asset_selection for r in requests] == [
        [dg.AssetKey(["bronze", "visits"]), dg.AssetKey(["silver", "visits"])]
    ]


def test_what_was_processed_is_not_asked_for_again(
    settings: Settings, bronze: Path, instance: dg.DagsterInstance, process: Process
) -> None:
    _land_hours(bronze, [0, 1])
    process()
    assert _tick(settings, instance, "firehose_landing")[0] == []
    assert _tick(settings, instance, "late_data")[0] == []


def test_gold_is_asked_for_the_touched_dates_together(
    settings: Settings, bronze: Path, instance: dg.DagsterInstance
) -> None:
    _land_hours(bronze, [0, 23])
    land(bronze, "firehose/clicks", "2026/01/01/12", "old", [{"id": "old", "at": 86_400 * 20_000}])
    job = build_definitions(settings).resolve_implicit_global_asset_job_def()
    for request in _tick(settings, instance, "firehose_landing")[0]:
        selection = list(request.asset_selection or [])
        job.execute_in_process(
            instance=instance, asset_selection=selection, partition_key=request.partition_key, tags=request.tags
        )
    requests, _, _ = _tick(settings, instance, "late_data")
    assert [r.partition_key for r in requests] == ["2024-10-04", "2026-01-01"]
    assert all(len(r.asset_selection or []) == 3 for r in requests)
    again, _, _ = _tick(settings, instance, "late_data")
    assert [r.run_key for r in again] == [r.run_key for r in requests], "a doubled tick asks for the same runs"


def test_the_nightly_schedule_backfills_what_was_missed(
    settings: Settings, bronze: Path, instance: dg.DagsterInstance, process: Process
) -> None:
    definitions = build_definitions(settings)
    schedule = definitions.resolve_schedule_def("backfill_missed_landed_hourly")
    _land_hours(bronze, range(4))
    with dg.build_schedule_context(instance=instance, scheduled_execution_time=datetime.now(UTC)) as context:
        (request,) = schedule.evaluate_tick(context).run_requests or []
        assert request.tags["dagster/asset_partition_range_end"] == "2026-01-01-03:00"
        process()
        tick = schedule.evaluate_tick(context)
    assert not tick.run_requests
    assert tick.skip_message == "no partition was missed"


def _request() -> dg.RunRequest:
    name = request_name(["some", "work"])
    return run_request([dg.AssetKey(["silver", "clicks"])], ["2026-01-01-00:00"], job="landed_hourly", name=name)


def _ended_run(instance: dg.DagsterInstance, request: dg.RunRequest, status: dg.DagsterRunStatus) -> None:
    run = dg.DagsterRun(job_name="landed_hourly", tags={REQUEST_TAG: request.tags[REQUEST_TAG]}, status=status)
    instance.add_run(run)


def test_work_under_way_is_not_asked_for_twice(instance: dg.DagsterInstance) -> None:
    request, now = _request(), datetime.now(UTC)
    _ended_run(instance, request, dg.DagsterRunStatus.STARTED)
    assert still_wanted(request, instance, now=now, patient=True) is None
    assert still_wanted(request, instance, now=now, patient=False) is None


def test_failed_work_is_asked_for_again_later_and_later_but_never_given_up(instance: dg.DagsterInstance) -> None:
    request, now = _request(), datetime.now(UTC)
    assert still_wanted(request, instance, now=now, patient=True) is not None
    for failures in range(1, 9):
        _ended_run(instance, request, dg.DagsterRunStatus.FAILURE)
        wait = min(timedelta(minutes=2**failures), timedelta(hours=1))
        assert still_wanted(request, instance, now=now + wait * 0.9, patient=True) is None
        again = still_wanted(request, instance, now=datetime.now(UTC) + wait * 1.1, patient=True)
        assert again is not None
        assert again.run_key == f"{request.tags[REQUEST_TAG]}:{failures}"
    assert still_wanted(request, instance, now=now, patient=False) is not None
