"""Dagster's partitions begin with the first data; what is older belongs to the first of them, and nothing is lost."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest
from pydantic import ValidationError

from datalake_assets.assets.beginnings import Beginnings, beginnings
from datalake_assets.cli.run import Runs
from datalake_assets.definitions import build_definitions
from datalake_assets.lake.lake import Lake
from datalake_assets.lake.store.landing import LandingZone
from datalake_assets.settings import Settings
from datalake_assets_tests.memory.lakes import MemoryLake, order, orders
from datalake_assets_tests.streams import stream

CLICKS = stream(properties={"n": {"type": "integer"}})
NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


def begin(lake: Lake, **settings: date | None) -> Beginnings:
    return beginnings(lake, **{"landing": None, "dates": None, **settings}, now=NOW)


def clicks_at(moment: datetime, *ids: str) -> list[dict[str, object]]:
    return [{"id": name, "at": int(moment.timestamp()), "n": 1} for name in ids]


@pytest.fixture
def lake(tmp_path: Path) -> MemoryLake:
    """Clicks of one hour in March; one of them happened two days before, and one in 1970."""
    lake = MemoryLake(tmp_path / "lake", CLICKS, orders())
    landed = datetime(2026, 3, 1, 10, tzinfo=UTC)
    odd = datetime(1970, 1, 2, tzinfo=UTC)
    events = clicks_at(landed, "a") + clicks_at(landed - timedelta(days=2), "late") + clicks_at(odd, "odd")
    lake.land("2026/03/01/10/o", events)
    return lake


def test_an_empty_lake_begins_some_day(tmp_path: Path) -> None:
    begins = begin(MemoryLake(tmp_path, CLICKS).lake)
    assert begins == Beginnings(date(2024, 1, 1), date(2024, 1, 1), date(2024, 1, 1))


def test_landing_partitions_begin_with_the_first_object_before_anything_is_admitted(lake: MemoryLake) -> None:
    assert begin(lake.lake).landing == date(2026, 3, 1)


def test_event_dates_begin_with_the_first_event_but_not_with_an_odd_one(lake: MemoryLake) -> None:
    """25,283 partitions were missing, as they began in 2015: the windows of Dagster's pages showed nothing."""
    lake.land_changes("2026/03/01/10/o.parquet", [order("I", 1, 1, created_at=datetime(2016, 5, 9))])  # noqa: DTZ001 (DMS writes no zone)
    lake.run()
    begins = begin(lake.lake)
    assert begins.landing == date(2026, 3, 1)
    assert begins.dates == date(2026, 1, 29)  # a month before: the odd event belongs to that day's partition
    assert begins.months == date(2016, 5, 1)
    assert begin(lake.lake, landing=date(2026, 4, 1), dates=date(2020, 1, 1)) == Beginnings(
        date(2026, 4, 1), date(2020, 1, 1), date(2020, 1, 1)
    )


def test_an_object_of_long_ago_does_not_make_a_million_hours(lake: MemoryLake) -> None:
    lake.land("1970/01/01/00/o", clicks_at(datetime(2026, 3, 1, tzinfo=UTC), "b"))
    assert begin(lake.lake).landing == NOW.date() - timedelta(days=3 * 365)


def test_partitions_begin_today_at_the_latest(tmp_path: Path) -> None:
    """A producer's wrong clock: there was no partition at all, and `datalake run` died of it."""
    lake = MemoryLake(tmp_path / "lake", CLICKS)
    lake.land("2031/01/01/00/o", clicks_at(datetime(2026, 3, 1, tzinfo=UTC), "b"))
    assert begin(lake.lake).landing == NOW.date()


@pytest.mark.parametrize(
    ("day", "told"),
    [
        ("2130-01-01", "2130-01-01 is not between 1900-01-01 and today"),
        ("0001-01-01", "0001-01-01 is not between 1900-01-01 and today"),
        ("yesterday", "'yesterday' is no day; write one such as 2026-01-31"),
    ],
)
def test_a_day_on_which_no_partition_can_begin_is_refused(day: str, told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATALAKE_START", day)
    with pytest.raises(ValidationError, match=told):
        Settings()


def test_a_place_that_can_not_be_reached_begins_some_day(lake: MemoryLake, monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*_: object, **__: object) -> None:
        raise OSError("network is down")

    monkeypatch.setattr(LandingZone, "sweep", unreachable)
    assert begin(lake.lake).landing == date(2024, 1, 1)


def test_what_is_older_than_the_first_partition_is_brought_to_silver_and_gold_with_it(
    lake: MemoryLake, tmp_path: Path
) -> None:
    """Whatever a code server took for the first partition when it was loaded."""
    lake.land("2026/02/01/10/older", clicks_at(datetime(2026, 2, 1, 10, tzinfo=UTC), "older"))
    settings = Settings(root=str(lake.root), start=date(2026, 3, 1), first_event_date=date(2026, 3, 1))
    with dg.DagsterInstance.ephemeral(tempdir=str(tmp_path)) as instance:
        outcome = Runs(settings, instance, tell=lambda *_: None, lake=lake.lake).to_the_end()
        assert outcome.is_complete
        key = dg.AssetKey(["silver", "clicks"])
        made = instance.fetch_materializations(key, limit=10).records
    partitions = {record.partition_key: record.asset_materialization for record in made}
    assert set(partitions) == {"2026-03-01-00:00", "2026-03-01-10:00"}
    assert sorted(lake.ids()) == ["a", "late", "odd", "older"]
    assert sorted(lake.ledger()["partition"]) == ["2026-02-01-10:00", "2026-03-01-10:00"]
    lake.assert_as_fresh()


def test_replaying_the_first_partition_replays_what_belongs_to_it(lake: MemoryLake) -> None:
    lake.land("2026/02/01/10/older", clicks_at(datetime(2026, 2, 1, 10, tzinfo=UTC), "older"))
    lake.run()
    settings = Settings(root=str(lake.root), start=date(2026, 3, 1))
    definitions = build_definitions(settings, lake=lake.lake)
    silver = definitions.resolve_assets_def(dg.AssetKey(["silver", "clicks"]))
    result = dg.materialize([silver], partition_key="2026-03-01-00:00")
    (made,) = result.asset_materializations_for_node("silver_clicks")
    assert made.metadata["rows_in"].value == 1
