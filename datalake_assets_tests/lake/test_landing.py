"""Where a landed object belongs, and that looking for objects finds each one at a cost that follows what is asked."""

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st
from obstore.exceptions import GenericError, InvalidPathError, PermissionDeniedError

from datalake_assets.lake.spec.dataset import Dataset
from datalake_assets.lake.store.key_times import folder_dates, named_time
from datalake_assets.lake.store.landing import (
    LandedObject,
    LandingZone,
    Page,
    is_data,
    is_full_load,
    is_staged,
    landing_time,
    parse_partition,
)
from datalake_assets.lake.store.name_ranges import Ranges
from datalake_assets.lake.store.objects import NOTHING, Listed, Listing, LocalObjects
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
        ("20112026/20261120-104512345.parquet", "2026-11-20 10"),  # DDMMYYYY: no day of 2011
        ("12/2026/10/20261210-104512345.csv.gz", "2026-12-10 10"),  # MMYYYYDD, with slashes
        ("10_12_2026/20261210-104512345.csv", "2026-12-10 10"),
        ("2026_03/20260301-104512345.csv", "2026-03-01 10"),
        ("20260301-104512345.parquet", "2026-03-01 10"),
        ("20141029-1134010000.csv", "2014-10-29 11"),  # AWS's own example has one digit more
        ("CDC_TXN-20201117153046033.csv", "2026-05-05 05"),  # of all tables together: no time that can be told
        ("LOAD00000001.parquet", "2026-05-05 05"),
        ("SEGMENT1_LOAD0000000A.parquet", "2026-05-05 05"),
        ("segment_a/LOAD00000001.parquet", "2026-05-05 05"),
        ("0002/LOAD00000001.parquet", "2026-05-05 05"),  # a segment, not the year 2
        ("20261345-104512345.parquet", "2026-05-05 05"),
        ("20260301-994512345.parquet", "2026-05-05 05"),
        # A folder within a dated one: such objects were looked for where they are, and waited for ever.
        ("2026/03/01/10/part=1/batch.json", "2026-03-01 10"),
        ("2026/03/01/odd/batch.json", "2026-03-01 00"),
        ("2026/03/45/99/batch.json", "2026-03-01 00"),
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


@pytest.mark.parametrize(
    ("path", "time"),
    [
        ("2026/01/05/20260106-000030123.parquet", "2026-01-06 00:00:30.123000"),
        ("20141029-1134010000.csv", "2014-10-29 11:34:01.000000"),
        ("2026/03/01/10/clicks-1-2026-03-01-11-00-02-8f7a.gz", "2026-03-01 11:00:02.000000"),
        ("2026/03/01/10/LOAD00000001.parquet", None),
        ("20260301-106012345.parquet", None),
        ("20260301-104512345/a.parquet", None),
    ],
)
def test_a_name_tells_its_whole_time_whatever_its_folder_says(path: str, time: str | None) -> None:
    """The changes of a file that DMS named just after midnight, in the folder of the day before, lost to older ones."""
    found = named_time(path)
    assert (None if found is None else f"{found:%Y-%m-%d %H:%M:%S.%f}") == time


@pytest.mark.parametrize(
    "path",
    [
        "a.gz",
        ".a.gz",
        "_a.gz",
        "a#1",
        "_segment/LOAD00000001.parquet",
        ".hidden/2026/01/05/a.gz",
        "orders_awsdms_/a.gz",
        "_started_orders.json",
        "_SUCCESS/a",
        "_SUCCESS\n",
        "a.crc",
        "a/",
    ],
)
def test_whatever_has_no_meaning_of_its_own_is_data(path: str) -> None:
    """Names that begin with a dot or an underscore, and folders of a parallel load that do, were never looked at."""
    assert is_data(path, size=1)


@pytest.mark.parametrize(
    "path",
    [
        "awsdms_status/a.parquet",
        "2026/attrep_history/a.parquet",
        "_SUCCESS",
        "2026/01/05/_SUCCESS",
        "_temporary/0/task_1/part-0",
        "_committed_4711",
        "_committed_vacuum4711",
        "_started_4711",
        ".part-0.parquet.crc",
        ".DS_Store",
        "2026_$folder$",
    ],
)
def test_what_dms_spark_hadoop_and_macos_keep_for_themselves_is_no_data(path: str) -> None:
    assert not is_data(path, size=1)


def test_the_marker_of_a_folder_is_no_data() -> None:
    assert not is_data("2026/01/", size=0)
    assert not is_data("", size=0)  # of the dataset's own, as S3's console makes it
    assert is_data("2026/01/a", size=0)


@pytest.mark.parametrize(
    ("key", "minutes", "etag", "staged"),
    [
        ("clicks/a#1", 59, None, True),
        ("clicks/a#1", 61, None, False),
        ("clicks/a#1", 0, "1", False),
        ("clicks/a#b", 0, None, False),
        ("clicks/a#1.gz", 0, None, False),
        ("clicks#1/a", 0, None, False),
    ],
)
def test_a_local_file_that_a_producer_has_not_named_yet_is_given_an_hour(
    key: str, minutes: int, etag: str | None, staged: bool
) -> None:
    """Names such as `a#1` were never looked at, also those that were meant."""
    listed = Listed(key, 1, NOW - timedelta(minutes=minutes), "stamp", etag)
    assert is_staged(listed, now=NOW) is staged


@dataclass
class Place:
    """A local folder that tells which of its folders are listed, and refuses what it is told to."""

    files: LocalObjects
    refused: dict[str, Exception] = field(default_factory=dict)
    listed: list[str] = field(default_factory=list)
    told: int = 0

    def folder(self, path: str, *, skip: Ranges = NOTHING, most: int | None = None) -> Listing:
        self.listed.append(path)
        if path in self.refused:
            raise self.refused[path]
        found = self.files.folder(path, skip=skip, most=most)
        self.told += len(found.objects)
        return found

    def below(self, path: str) -> None:
        """As of a local folder."""

    def look(self, key: str) -> Listed | None:
        return self.files.look(key)

    def etag(self, key: str) -> str:
        if key in self.refused:
            raise self.refused[key]
        return self.files.etag(key)

    def read(self, key: str, *, etag: str, size: int, limit: int) -> bytes:
        return self.files.read(key, etag=etag, size=size, limit=limit)


class Bronze:
    """A bronze folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.place = Place(LocalObjects(str(folder)))
        self.zone = LandingZone(self.place)

    def land(self, key: str, *, modified: datetime = MODIFIED) -> None:
        file = self.folder / key
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"{}")
        os.utime(file, (modified.timestamp(), modified.timestamp()))

    def keys(self, *partitions: str, now: datetime = NOW, earlier: bool = False) -> list[str]:
        """The objects of partitions of `clicks`, without the prefix."""
        found = self.zone.objects_of(stream(), partitions, now=now, earlier=earlier).objects
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
    found = bronze.zone.objects_of(daily, ["2026-03-01"], now=NOW).objects
    assert [(o.key, o.partition) for o in found] == [("api/clicks/year=2026/month=03/day=01/a.json", "2026-03-01")]


def test_what_is_no_data_is_not_found_and_its_folders_are_not_listed(bronze: Bronze) -> None:
    for name in ["awsdms_status/a.parquet", "2026/03/01/10/_temporary/0/a.gz", "_SUCCESS", "2026/03/01/10/.DS_Store"]:
        bronze.land(f"firehose/clicks/{name}")
    bronze.land("firehose/clicks/2026/03/01/10/a.gz#1", modified=NOW)
    assert bronze.zone.recent(stream(), since=START, now=NOW).objects == []
    assert not [path for path in bronze.place.listed if "awsdms" in path or "_temporary" in path]


def test_hidden_names_are_found_and_a_parallel_loads_folders_too(bronze: Bronze) -> None:
    names = [
        ".a.gz",
        "2026/03/01/10/_a.gz",
        "2026/03/01/10/a.gz#1",
        "2026/03/01/10/b\t\n.gz",
        "_segment/LOAD00000001.gz",
    ]
    for name in names:
        bronze.land(f"firehose/clicks/{name}")
    found = bronze.zone.recent(stream(), since=START, now=NOW)
    assert [o.key.removeprefix("firehose/clicks/") for o in found.objects] == names
    assert found.unlisted == ()


def test_load_files_and_changes_of_a_table_in_one_folder_go_by_their_own_times(bronze: Bronze) -> None:
    bronze.land("dms/public/orders/LOAD00000001.parquet")
    bronze.land("dms/public/orders/20260301-104512345.parquet")
    bronze.land("dms/public/orders/2026/03/01/10/20260301-104512345.parquet")
    found = bronze.zone.objects_of(table(), ["2026-03-01-10:00"], now=NOW).objects
    assert [o.key.removeprefix("dms/public/orders/") for o in found] == [
        "2026/03/01/10/20260301-104512345.parquet",
        "20260301-104512345.parquet",
    ]
    loads = bronze.zone.objects_of(table(), ["2026-05-05-05:00"], now=NOW).objects
    assert [o.key.removeprefix("dms/public/orders/") for o in loads] == ["LOAD00000001.parquet"]


def test_what_landed_earlier_is_found_when_asked_for(bronze: Bronze) -> None:
    bronze.land("firehose/clicks/2019/03/01/10/a.gz")
    bronze.land("firehose/clicks/2026/03/01/09/a.gz")
    bronze.land("firehose/clicks/2026/03/01/10/a.gz")
    assert bronze.keys("2026-03-01-09:00") == ["2026/03/01/09/a.gz"]
    assert bronze.keys("2026-03-01-09:00", earlier=True) == ["2019/03/01/10/a.gz", "2026/03/01/09/a.gz"]


def test_what_is_dated_in_the_future_belongs_to_the_current_partition(bronze: Bronze) -> None:
    bronze.land("firehose/clicks/2031/03/01/10/a.gz")
    assert bronze.keys("2026-06-01-12:00") == ["2031/03/01/10/a.gz"]
    assert bronze.keys("2026-06-01-11:00") == []


def test_old_folders_are_not_listed_for_a_new_partition(bronze: Bronze) -> None:
    for month in ("01", "02", "03"):
        for hour in range(24):
            bronze.land(f"firehose/clicks/2026/{month}/01/{hour:02}/a.gz")
    assert bronze.keys("2026-03-01-10:00") == ["2026/03/01/10/a.gz"]
    listed = [path.removeprefix("firehose/clicks").strip("/") for path in bronze.place.listed]
    assert listed == ["", "2026", "2026/03", "2026/03/01", "2026/03/01/10"]


def test_looking_at_recent_hours_leaves_the_older_ones_out(bronze: Bronze) -> None:
    bronze.land("firehose/clicks/2026/03/01/10/a.gz")
    bronze.land("firehose/clicks/2026/06/01/10/a.gz")
    bronze.land("firehose/clicks/undated/a.gz")
    found = bronze.zone.recent(stream(), since=NOW - timedelta(hours=24), now=NOW).objects
    assert [o.key.removeprefix("firehose/clicks/") for o in found] == ["2026/06/01/10/a.gz", "undated/a.gz"]


FAULTS = [
    PermissionError(13, "Permission denied"),
    PermissionDeniedError("denied"),
    InvalidPathError("odd key\nin full"),
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: type(fault).__name__)
@pytest.mark.parametrize(
    "look",
    [
        lambda zone, dataset: zone.recent(dataset, since=START, now=NOW),
        lambda zone, dataset: zone.sweep(dataset, after=None, limit=10, now=NOW),
        lambda zone, dataset: zone.objects_of(dataset, ["2026-03-01-09:00", "2026-03-01-11:00"], now=NOW),
    ],
    ids=["recent", "sweep", "objects_of"],
)
def test_a_folder_that_can_not_be_listed_is_told_and_the_others_are_listed(
    bronze: Bronze, look: Callable[[LandingZone, Dataset], Page], fault: Exception
) -> None:
    """One odd name in a bucket, or one forbidden folder, stopped its whole dataset without a word."""
    for hour in ("09", "10", "11"):
        bronze.land(f"firehose/clicks/2026/03/01/{hour}/a.gz")
    bronze.place.refused["firehose/clicks/2026/03/01/10"] = fault
    found = look(bronze.zone, stream())
    assert [o.partition for o in found.objects] == ["2026-03-01-09:00", "2026-03-01-11:00"]
    reason = str(fault).partition("\n")[0]
    assert found.unlisted == (f"firehose/clicks/2026/03/01/10 can't be listed: {reason}",)


def test_a_fault_of_the_network_is_not_taken_for_an_empty_folder(bronze: Bronze) -> None:
    bronze.place.refused["firehose/clicks"] = GenericError("connection refused")
    with pytest.raises(GenericError):
        bronze.zone.recent(stream(), since=START, now=NOW)


def only(bronze: Bronze) -> LandedObject:
    (found,) = bronze.zone.recent(stream(), since=START, now=NOW).objects
    return found


def test_files_are_not_read_to_be_listed_and_a_copy_of_them_is_the_same_object(bronze: Bronze, tmp_path: Path) -> None:
    """The identity of a local object held its inode: a lake that was copied landed everything again."""
    bronze.land("firehose/clicks/a.gz")
    shutil.copytree(bronze.folder, tmp_path / "copy")
    copy = Bronze(tmp_path / "copy")
    found, copied = only(bronze), only(copy)
    assert (found.etag, copied.etag) == ("", "")
    assert found.stamp != copied.stamp
    identified, other = bronze.zone.identified(found), copy.zone.identified(copied)
    assert identified is not None
    assert other is not None
    assert identified.etag
    assert identified.identity == other.identity
    assert bronze.zone.identified(identified) is identified


def test_an_object_that_vanished_after_it_was_listed_is_none(bronze: Bronze) -> None:
    bronze.land("firehose/clicks/a.gz")
    found = only(bronze)
    (bronze.folder / found.key).unlink()
    assert bronze.zone.identified(found) is None


def test_an_object_that_can_not_be_read_has_an_identity_all_the_same(bronze: Bronze) -> None:
    """One forbidden file kept the others of its hours from silver."""
    bronze.land("firehose/clicks/a.gz")
    found = only(bronze)
    bronze.place.refused[found.key] = PermissionError(13, "Permission denied")
    identified, again = bronze.zone.identified(found), bronze.zone.identified(only(bronze))
    assert identified is not None
    assert again is not None
    assert identified.etag.startswith("stamp:")
    assert identified.identity == again.identity
    assert bronze.place.read(found.key, etag=identified.etag, size=identified.size, limit=10) == b"{}"


def test_a_flat_folder_of_changes_costs_what_is_new_and_a_piece_of_the_sweep(bronze: Bronze) -> None:
    """DMS puts all files of a table into one folder unless it is told otherwise: 20,000 of them made a tick slow."""
    for hour in range(400):
        bronze.land(f"firehose/clicks/{NOW - timedelta(hours=hour):%Y%m%d-%H%M%S}000.parquet")
    bronze.land("firehose/clicks/LOAD00000001.parquet")
    recent = bronze.zone.recent(stream(), since=NOW - timedelta(hours=24), now=NOW).objects
    assert len(recent) == 25 + 1
    assert bronze.place.told == len(recent)
    bronze.place.told = 0
    page = bronze.zone.sweep(stream(), after="20260531-123000000.parquet", limit=10, now=NOW)
    assert (len(page.objects), bronze.place.told) == (10, 10)
    assert page.position == "20260531-223000000.parquet"


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
    st.builds(
        "{:%Y/%m/%d}/{}/{:%Y%m%d-%H%M%S}000.gz".format, DATES, st.sampled_from(["odd", "07", "07/part=1"]), DATES
    ),
    st.builds("{:%Y/%m}/{}/c.gz".format, DATES, st.sampled_from(["odd", "45/99"])),
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


@given(keys=ZONES, since=DATES)
def test_a_look_back_meets_whatever_no_name_dates_earlier(keys: set[str], since: datetime) -> None:
    """A flat name such as `2026-06-01.json`, or the folder of the 20th (`20/01/2026/`), sorts among DMS's old ones."""
    odd = {f"{since:%Y-%m-%d}.json", f"{since:%d/%m/%Y}/a.json", f"{since:%Y/%m}/a.json", "2025_1/LOAD00000001.parquet"}
    for bronze in zone_of(keys | odd):
        found = bronze.zone.recent(stream(), since=since, now=NOW).objects
        met = {o.key.removeprefix("firehose/clicks/") for o in found}
        assert odd <= met
        for key in keys:
            folder, _, name = key.rpartition("/")
            dates, named = folder_dates(folder), named_time(name)
            if dates is not None:
                assert (key in met) is (dates[1] > since)
            else:
                assert (key in met) is (named is None or named >= since.replace(minute=0, second=0, microsecond=0))


@given(keys=ZONES, data=st.data())
def test_the_objects_of_partitions_are_those_that_a_full_listing_puts_there(
    keys: set[str], data: st.DataObject
) -> None:
    for bronze in zone_of(keys):
        everything = bronze.zone.sweep(stream(), after=None, limit=1000, now=NOW).objects
        assert {o.key.removeprefix("firehose/clicks/") for o in everything} == keys
        assert all(parse_partition(o.partition) <= NOW for o in everything)
        known = sorted({o.partition for o in everything} | {"2026-01-01-00:00", "2026-04-04-04:00", "2026-06-01-12:00"})
        asked = data.draw(st.lists(st.sampled_from(known), min_size=1, max_size=3, unique=True))
        earlier = data.draw(st.booleans())
        found = bronze.zone.objects_of(stream(), asked, now=NOW, earlier=earlier).objects
        # Files as new as these bear another stamp at each listing.
        wanted = (o for o in everything if o.partition in asked or (earlier and o.partition < min(asked)))
        facts = [(o.key, o.size, o.last_modified, o.partition) for o in wanted]
        assert [(o.key, o.size, o.last_modified, o.partition) for o in found] == sorted(facts)
