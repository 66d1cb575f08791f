"""Ticks: what sensors and the schedule ask for, and what they are not stopped by."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from datalake_assets.assets.beginnings import EARLIER_TAG
from datalake_assets.definitions import build_definitions
from datalake_assets.lake.lake import Lake
from datalake_assets.lake.spec.dataset import Dataset
from datalake_assets.lake.steps.planning import LandingWork, landing_work
from datalake_assets.sensors.landing import SweepCursor
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


def _asked(requests: Sequence[dg.RunRequest]) -> list[tuple[str | None, str | None]]:
    """The first and the last partition of each request; of one partition only the first."""
    return [
        (
            r.partition_key or r.tags["dagster/asset_partition_range_start"],
            r.tags.get("dagster/asset_partition_range_end"),
        )
        for r in requests
    ]


def _land_hours(bronze: Path, hours: Sequence[int], prefix: str = "firehose/clicks") -> None:
    for hour in hours:
        records = [{"id": f"{hour}", "at": _JAN_1 + hour * 3_600}]
        land(bronze, prefix, f"2026/01/01/{hour:02}", "one", records)


def test_a_tick_asks_for_one_run_for_each_stretch_of_consecutive_hours(
    settings: Settings, bronze: Path, instance: dg.DagsterInstance
) -> None:
    _land_hours(bronze, [0, 1, 2, 17])
    requests, _, _ = _tick(settings, instance, "landing")
    assert _asked(requests) == [("2026-01-01-17:00", None), ("2026-01-01-00:00", "2026-01-01-02:00")]
    assert {r.job_name for r in requests} == {"landed_hourly"}


def test_a_tick_that_finds_nothing_says_so(settings: Settings, instance: dg.DagsterInstance) -> None:
    requests, _, message = _tick(settings, instance, "landing")
    assert requests == []
    assert message == "nothing waits that is not under way"


def test_ticks_sweep_through_old_objects_a_piece_at_a_time(
    settings: Settings, bronze: Path, instance: dg.DagsterInstance
) -> None:
    _land_hours(bronze, range(6))
    small = settings.model_copy(update={"sweep_objects": 2})
    asked: list[str] = []
    cursor: str | None = None
    for _ in range(3):
        requests, cursor, _ = _tick(small, instance, "landing", cursor)
        asked += [r.tags.get("dagster/asset_partition_range_end", "") for r in requests]
    assert asked == ["2026-01-01-01:00", "2026-01-01-03:00", "2026-01-01-05:00"]
    assert not SweepCursor.parse(cursor).is_round
    assert SweepCursor.parse(_tick(small, instance, "landing", cursor)[1]).is_round


@pytest.mark.parametrize("cursor", [None, "", "nonsense", '{"positions": 3}'])
def test_a_lost_cursor_costs_nothing(
    settings: Settings, bronze: Path, instance: dg.DagsterInstance, cursor: str | None
) -> None:
    _land_hours(bronze, [0])
    assert len(_tick(settings, instance, "landing", cursor)[0]) == 1


def test_a_dataset_that_cannot_be_looked_at_stops_no_other_and_is_told(
    tmp_path: Path, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One odd name stopped a whole dataset without a word, and the nightly schedule for all datasets."""
    datasets = write_datasets(tmp_path / "datasets", CLICKS, CLICKS.replace("clicks", "visits"))
    settings = Settings(root=str(tmp_path / "lake"), datasets=datasets)

    def fail_for_clicks(lake: Lake, dataset: Dataset, **how: Any) -> LandingWork:
        if dataset.name == "clicks":
            raise ValueError("an object's name is no text")
        return landing_work(lake, dataset, **how)

    monkeypatch.setattr("datalake_assets.sensors.looking.landing_work", fail_for_clicks)
    _, _, message = _tick(settings, instance, "landing")
    assert message is not None
    assert "clicks can't be looked at: ValueError: an object's name is no text" in message
    _land_hours(Path(settings.layout.bronze), [0], prefix="firehose/visits")
    visits = [dg.AssetKey(["bronze", "visits"]), dg.AssetKey(["silver", "visits"])]
    assert [r.asset_selection for r in _tick(settings, instance, "landing")[0]] == [visits]
    schedule = build_definitions(settings).resolve_schedule_def("nightly_backfill")
    with dg.build_schedule_context(instance=instance, scheduled_execution_time=datetime.now(UTC)) as context:
        assert [r.asset_selection for r in schedule.evaluate_tick(context).run_requests or []] == [visits]


def test_what_was_processed_is_not_asked_for_again(
    settings: Settings, bronze: Path, instance: dg.DagsterInstance, process: Process
) -> None:
    _land_hours(bronze, [0, 1])
    process()
    assert _tick(settings, instance, "landing")[0] == []
    assert _tick(settings, instance, "gold_refresh")[0] == []


def test_gold_is_asked_for_the_touched_dates_together(
    settings: Settings, bronze: Path, instance: dg.DagsterInstance
) -> None:
    _land_hours(bronze, [0, 23])
    land(bronze, "firehose/clicks", "2026/01/01/12", "old", [{"id": "old", "at": 86_400 * 20_000}])
    job = build_definitions(settings).resolve_implicit_global_asset_job_def()
    asked: list[dg.RunRequest] = []
    while requests := _tick(settings, instance, "landing")[0]:
        for request in requests:
            selection = list(request.asset_selection or [])
            job.execute_in_process(
                instance=instance, asset_selection=selection, partition_key=request.partition_key, tags=request.tags
            )
        asked += requests
    assert len(asked) == 3
    requests, _, _ = _tick(settings, instance, "gold_refresh")
    # The odd one belongs to the first partition, which is a month before the first object landed.
    assert _asked(requests) == [("2026-01-01", None), ("2025-12-01", None)]
    assert [len(r.asset_selection or []) for r in requests] == [4, 3], "totals join the first"
    assert [EARLIER_TAG in r.tags for r in requests] == [False, True]


def test_the_nightly_schedule_backfills_what_was_missed(
    settings: Settings, bronze: Path, instance: dg.DagsterInstance, process: Process
) -> None:
    schedule = build_definitions(settings).resolve_schedule_def("nightly_backfill")
    _land_hours(bronze, range(4))
    with dg.build_schedule_context(instance=instance, scheduled_execution_time=datetime.now(UTC)) as context:
        (request,) = schedule.evaluate_tick(context).run_requests or []
        assert request.tags["dagster/asset_partition_range_end"] == "2026-01-01-03:00"
        assert request.run_key == "silver of clicks 2026-01-01-00:00 to 2026-01-01-03:00"
        process()
        tick = schedule.evaluate_tick(context)
    assert not tick.run_requests
    assert tick.skip_message == "no partition was missed"
