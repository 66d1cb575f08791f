"""Where a landed object belongs, and that looking for objects finds each one at a cost that follows what is asked."""

import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from obstore import list_with_delimiter
from obstore.store import ObjectStore

from datalake_assets.lake.store import landing
from datalake_assets.lake.store.landing import LandingZone, is_full_load, landing_time, open_store, parse_partition
from datalake_assets_tests.streams import stream, table

MODIFIED = datetime(2026, 5, 5, 5, 55, tzinfo=UTC)
START = datetime(2026, 1, 1, tzinfo=UTC)
NOW = datetime(2026, 6, 1, 12, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("path", "hour"),
    [
        ("2026/03/01/10/clicks-1-2026-03-01-10-59-58-8f7a.gz", "2026-03-01 10"),
        # Firehose names the folder for the oldest record; the name's own hour is the next one.
        ("2026/03/01/10/clicks-1-2026-03-01-11-00-02-8f7a.gz", "2026-03-01 10"),
        ("2026/03/01/10/anything.json", "2026-03-01 10"),
        ("year=2026/month=03/day=01/clicks-1-2026-03-01-10-59-58-8f7a.gz", "2026-03-01 10"),
        ("year=2026/month=03/day=01/batch.json", "2026-03-01 00"),
        ("year=2026/month=03/day=01/hour=10/batch.json", "2026-03-01 10"),
        ("20260301/20260301-104512345.parquet", "2026-03-01 10"),
        ("2026030110/20260301-104512345.parquet", "2026-03-01 10"),
        ("202603/20260301-104512345.parquet", "2026-03-01 10"),
        ("2026/03/01/20260301-104512345.parquet", "2026-03-01 10"),
        ("2026-03-01/20260301-104512345.parquet", "2026-03-01 10"),
        ("2026_03_01/20260301-104512345.parquet", "2026-03-01 10"),
        ("2026-03-01-10/20260301-104512345.parquet", "2026-03-01 10"),
        ("01032026/20260301-104512345.parquet", "2026-03-01 10"),  # DDMMYYYY
        ("03202601/20260301-104512345.parquet", "2026-03-01 10"),  # MMYYYYDD
        ("10/12/2026/20261210-104512345.parquet", "2026-12-10 10"),  # DDMMYYYY, with slashes
        ("20260301-104512345.parquet", "2026-03-01 10"),
        ("20141029-1134010000.csv", "2014-10-29 11"),  # AWS's own example has one digit more
        ("CDC_TXN-20201117153046033.csv", "2026-05-05 05"),  # of all tables together: no time that can be told
        ("LOAD00000001.parquet", "2026-05-05 05"),
        ("SEGMENT1_LOAD0000000A.parquet", "2026-05-05 05"),
        ("segment_a/LOAD00000001.parquet", "2026-05-05 05"),
        ("0002/LOAD00000001.parquet", "2026-05-05 05"),  # a segment, not the year 2
        ("20261345-104512345.parquet", "2026-05-05 05"),
        ("20260301-994512345.parquet", "2026-05-05 05"),
        ("shop=eu/2026/03/01/10/clicks-1-2026-03-01-10-59-58-8f7a.gz", "2026-03-01 10"),
    ],
)
def test_an_object_landed_when_its_folder_or_else_its_name_says(path: str, hour: str) -> None:
    assert landing_time(path, MODIFIED).strftime("%Y-%m-%d %H") == hour


@pytest.mark.parametrize(
    ("path", "full"),
    [
        ("LOAD00000001.parquet", True),
        ("LOAD0000000A.csv.gz", True),
        ("SEGMENT1_LOAD00000001.parquet", True),
        ("part_1/LOAD00000001.parquet", True),
        ("20260301-104512345.parquet", False),
        ("LOAD/20260301-104512345.parquet", False),
        ("UNLOAD00000001.parquet", False),
    ],
)
def test_a_full_load_is_known_by_its_name(path: str, full: bool) -> None:
    assert is_full_load(path) is full


class Bronze:
    """A bronze folder, and which of its folders are listed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.zone = LandingZone(open_store(str(folder)), START)

    def land(self, key: str, *, modified: datetime = MODIFIED) -> None:
        file = self.folder / key
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"{}")
        os.utime(file, (modified.timestamp(), modified.timestamp()))

    def keys(self, *partitions: str, now: datetime = NOW) -> list[str]:
        """The objects of partitions of `clicks`, without the prefix."""
        found = self.zone.objects_of(stream(), partitions, now=now)
        return [o.key.removeprefix("firehose/clicks/") for o in found]


@pytest.fixture
def bronze(tmp_path: Path) -> Bronze:
    """An empty bronze folder."""
    return Bronze(tmp_path / "bronze")


def test_a_partition_holds_the_objects_of_its_hour_alone(bronze: Bronze) -> None:
    for hour in ("09", "10", "11"):
        bronze.land(f"firehose/clicks/2026/03/01/{hour}/a.gz")
    bronze.land("firehose/clicks_2/2026/03/01/10/a.gz")
    assert bronze.keys("2026-03-01-10:00") == ["2026/03/01/10/a.gz"]
    assert bronze.keys("2026-03-01-09:00", "2026-03-01-11:00") == ["2026/03/01/09/a.gz", "2026/03/01/11/a.gz"]


def test_nothing_has_landed_for_a_source_that_never_delivered(bronze: Bronze) -> None:
    assert bronze.keys("2026-03-01-10:00") == []
    assert bronze.zone.sweep(stream(), after=None, limit=10, now=NOW).position is None


def test_a_daily_source_has_daily_partitions(bronze: Bronze) -> None:
    daily = stream(landing={"prefix": "api/clicks", "cadence": "daily"})
    bronze.land("api/clicks/year=2026/month=03/day=01/a.json")
    bronze.land("api/clicks/year=2026/month=03/day=02/a.json")
    found = bronze.zone.objects_of(daily, ["2026-03-01"], now=NOW)
    assert [(o.key, o.partition) for o in found] == [("api/clicks/year=2026/month=03/day=01/a.json", "2026-03-01")]


def test_tables_of_dms_itself_and_hidden_files_are_no_data(bronze: Bronze) -> None:
    names = ["awsdms_status/a.parquet", "attrep_x.parquet", "_SUCCESS", ".a.parquet.crc", "2026/03/01/10/_tmp/a.gz"]
    for name in names:
        bronze.land(f"firehose/clicks/{name}")
    assert bronze.zone.recent(stream(), since=START, now=NOW) == []


def test_load_files_and_changes_of_a_table_in_one_folder_go_by_their_own_times(bronze: Bronze) -> None:
    bronze.land("dms/public/orders/LOAD00000001.parquet")
    bronze.land("dms/public/orders/20260301-104512345.parquet")
    bronze.land("dms/public/orders/2026/03/01/10/20260301-104512345.parquet")
    found = bronze.zone.objects_of(table(), ["2026-03-01-10:00"], now=NOW)
    assert [o.key.removeprefix("dms/public/orders/") for o in found] == [
        "2026/03/01/10/20260301-104512345.parquet",
        "20260301-104512345.parquet",
    ]
    loads = bronze.zone.objects_of(table(), ["2026-05-05-05:00"], now=NOW)
    assert [o.key.removeprefix("dms/public/orders/") for o in loads] == ["LOAD00000001.parquet"]


def test_what_is_dated_before_the_lake_begins_belongs_to_its_first_partition(bronze: Bronze) -> None:
    bronze.land("firehose/clicks/2019/03/01/10/a.gz")
    assert bronze.keys("2026-01-01-00:00") == ["2019/03/01/10/a.gz"]
    assert bronze.keys("2026-03-01-10:00") == []


def test_what_is_dated_in_the_future_belongs_to_the_current_partition(bronze: Bronze) -> None:
    bronze.land("firehose/clicks/2031/03/01/10/a.gz")
    assert bronze.keys("2026-06-01-12:00") == ["2031/03/01/10/a.gz"]
    assert bronze.keys("2026-06-01-11:00") == []


def test_old_folders_are_not_listed_for_a_new_partition(bronze: Bronze, monkeypatch: pytest.MonkeyPatch) -> None:
    for month in ("01", "02", "03"):
        for hour in range(24):
            bronze.land(f"firehose/clicks/2026/{month}/01/{hour:02}/a.gz")
    listed: list[str] = []

    def counted(store: ObjectStore, prefix: str) -> Any:
        listed.append(prefix.removeprefix("firehose/clicks/").rstrip("/"))
        return list_with_delimiter(store, prefix)

    monkeypatch.setattr(landing, "list_with_delimiter", counted)
    assert bronze.keys("2026-03-01-10:00") == ["2026/03/01/10/a.gz"]
    assert listed == ["", "2026", "2026/03", "2026/03/01", "2026/03/01/10"]


def test_looking_at_recent_hours_leaves_the_older_ones_out(bronze: Bronze) -> None:
    bronze.land("firehose/clicks/2026/03/01/10/a.gz")
    bronze.land("firehose/clicks/2026/06/01/10/a.gz")
    bronze.land("firehose/clicks/undated/a.gz")
    found = bronze.zone.recent(stream(), since=NOW - timedelta(hours=24), now=NOW)
    assert [o.key.removeprefix("firehose/clicks/") for o in found] == ["2026/06/01/10/a.gz", "undated/a.gz"]


DATES = st.datetimes(datetime(2025, 12, 1), datetime(2026, 7, 1)).map(lambda d: d.replace(tzinfo=UTC))  # noqa: DTZ001
KEYS = st.one_of(
    st.builds("{:%Y/%m/%d/%H}/c-1-{:%Y-%m-%d-%H-%M-%S}-x.gz".format, DATES, DATES),
    st.builds("{:year=%Y/month=%m/day=%d}/{:%Y%m%d-%H%M%S}000.gz".format, DATES, DATES),
    st.builds("{:%Y-%m-%d}/{:%Y%m%d-%H%M%S}000.gz".format, DATES, DATES),
    st.builds("{:%d/%m/%Y}/{:%Y%m%d-%H%M%S}000.gz".format, DATES, DATES),
    st.builds(
        "{}/LOAD0000000{}.parquet".format, st.sampled_from(["a", "b-1", "b", "0002", "a/2026"]), st.integers(1, 3)
    ),
    st.builds("{:%Y%m%d-%H%M%S}000.gz".format, DATES),
)
ZONES = st.sets(KEYS, max_size=25)


def zone_of(keys: set[str]) -> Iterator[Bronze]:
    with TemporaryDirectory() as folder:
        bronze = Bronze(Path(folder))
        for key in keys:
            bronze.land(f"firehose/clicks/{key}")
        yield bronze


@given(keys=ZONES, limit=st.integers(1, 12))
def test_a_sweep_in_pieces_of_any_size_meets_every_object_once(keys: set[str], limit: int) -> None:
    for bronze in zone_of(keys):
        met: list[str] = []
        after: str | None = None
        for _ in range(100):
            page = bronze.zone.sweep(stream(), after=after, limit=limit, now=NOW)
            met += [o.key.removeprefix("firehose/clicks/") for o in page.objects]
            after = page.position
            if after is None:
                break
        assert sorted(met) == sorted(keys)


@given(keys=ZONES, data=st.data())
def test_the_objects_of_partitions_are_those_that_a_full_listing_puts_there(
    keys: set[str], data: st.DataObject
) -> None:
    for bronze in zone_of(keys):
        everything = bronze.zone.sweep(stream(), after=None, limit=1000, now=NOW).objects
        assert {o.key.removeprefix("firehose/clicks/") for o in everything} == keys
        assert all(START <= parse_partition(o.partition) <= NOW for o in everything)
        known = sorted({o.partition for o in everything} | {"2026-01-01-00:00", "2026-04-04-04:00", "2026-06-01-12:00"})
        asked = data.draw(st.lists(st.sampled_from(known), min_size=1, max_size=3, unique=True))
        assert bronze.zone.objects_of(stream(), asked, now=NOW) == sorted(o for o in everything if o.partition in asked)
