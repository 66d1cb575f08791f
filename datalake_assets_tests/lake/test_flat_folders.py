"""A folder is listed for what is asked of it, and tells the same on a disk, in memory and in a bucket."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import obstore
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from obstore.exceptions import InvalidPathError
from obstore.store import LocalStore, MemoryStore

from datalake_assets.lake.store import key_scan, subtrees
from datalake_assets.lake.store.key_times import folder_dates, named_time, names_before
from datalake_assets.lake.store.landing import LandingZone
from datalake_assets.lake.store.name_ranges import Ranges
from datalake_assets.lake.store.objects import LocalObjects, Objects, RemoteObjects
from datalake_assets_tests.buckets import bucket
from datalake_assets_tests.streams import table

START = datetime(2025, 1, 1, tzinfo=UTC)
NOW = datetime(2026, 6, 1, 12, 30, tzinfo=UTC)
PREFIX = "dms/public/orders"
PARTS = [
    *("20250830-051500000.parquet", "20260529-051500000.parquet", "20260601-121500000.parquet", "LOAD00000001.parquet"),
    *(
        "2026",
        "2025",
        "202606",
        "20260601",
        "05",
        "a",
        "a#1",
        "a-1",
        "a!",
        "a~",
        "a b",
        ".a",
        "zürich",
        "a%41",
        "𝄞",
        "￿",
    ),
]
KEYS = st.lists(st.sampled_from(PARTS), min_size=1, max_size=3).map("/".join)
BOUNDS = st.sampled_from(
    [*PARTS, *(f"{part}\0" for part in PARTS), *(f"{part}/" for part in PARTS), "202", "\0", "b\x01"]
)
Asked = tuple[list[tuple[str, str]], int | None]
Told = tuple[list[str], list[str], str | None]


@st.composite
def ranges(draw: st.DrawFn) -> list[tuple[str, str]]:
    bounds = sorted(draw(st.sets(BOUNDS, max_size=6)) | ({""} if draw(st.booleans()) else set()))
    return [(low, high) for at, (low, high) in enumerate(pairwise(bounds)) if at % 2 == 0]


def expected(keys: Iterable[str], path: str, skip: Ranges, most: int | None) -> Told:
    """What a folder tells: by its definition, from all keys there are."""
    start = f"{path}/" if path else ""
    names = {
        rest.partition("/")[0] + rest.partition("/")[1]
        for k in keys
        if k.startswith(start)
        for rest in [k[len(start) :]]
    }
    told = sorted(n for n in names if not any(low <= n < high for low, high in skip))
    objects = [n for n in told if not n.endswith("/")]
    more = objects[most - 1] if most is not None and len(objects) > most else None
    folders = sorted(n[:-1] for n in told if n.endswith("/") and (more is None or n < more))
    return folders, [start + n for n in objects[:most]], more


def listed(place: Objects, path: str, skip: Ranges, most: int | None) -> Told:
    found = place.folder(path, skip=skip, most=most)
    return found.folders, [o.key for o in found.objects], found.more_after


ASKED = st.tuples(ranges(), st.none() | st.integers(1, 4))
FOLDERS = st.sampled_from(["", "a", "2026", "2026/a", "zürich"])


@settings(max_examples=100)
@given(
    keys=st.sets(KEYS, max_size=25),
    path=FOLDERS,
    asked=ASKED,
    page=st.integers(1, 4),
)
def test_a_folder_tells_the_same_on_a_disk_and_in_memory(keys: set[str], path: str, asked: Asked, page: int) -> None:
    files = {key for key in keys if not any(other.startswith(f"{key}/") for other in keys)}  # a file is no folder too
    store = MemoryStore()
    for key in keys:
        obstore.put(store, key, b"1" if key in files or len(key) % 2 else b"")
    assert listed(RemoteObjects(store, page), path, *asked) == expected(keys, path, *asked)
    with TemporaryDirectory() as folder:
        for key in files:
            file = Path(folder) / key
            file.parent.mkdir(parents=True, exist_ok=True)
            file.touch()
        assert listed(LocalObjects(folder), path, *asked) == expected(files, path, *asked)


@settings(max_examples=100)
@given(
    keys=st.sets(KEYS, max_size=25),
    markers=st.sets(KEYS.map("{}/".format), max_size=2),
    path=FOLDERS,
    asked=ASKED,
    page=st.integers(1, 4),
)
def test_a_folder_of_a_bucket_tells_the_same_and_markers_of_folders_besides(
    keys: set[str], markers: set[str], path: str, asked: Asked, page: int
) -> None:
    with bucket(*keys, *markers) as held:
        place = held.objects(page=page)
        for _ in range(2):  # what is remembered of a folder changes nothing
            assert listed(place, path, *asked) == expected(keys | markers, path, *asked)


def test_the_marker_of_a_folder_in_a_bucket_is_told_once() -> None:
    with bucket("d/", "d/a") as held:
        assert listed(held.objects(page=1), "d", [], 1) == ([], ["d/"], "")
        assert listed(held.objects(page=1), "d", [("", "\0")], 1) == ([], ["d/a"], None)


@pytest.mark.parametrize("odd", ["d/odd//a", "d/odd/../a", "d/odd/a\tb"])
def test_an_odd_key_below_a_flat_folder_fails_the_listing_of_its_own_folder_alone(odd: str) -> None:
    with bucket(odd, "d/a", "d/p", "d/q") as held:
        place = held.objects()
        assert listed(place, "d", [("", "b")], 1) == (["odd"], ["d/p"], "p")
        with pytest.raises(InvalidPathError, match="odd"):
            place.folder("d/odd", most=1)


def test_a_store_that_lists_in_no_order_is_listed_whole(tmp_path: Path) -> None:
    """S3's directory buckets promise no order, and a local folder behind an URL has none."""
    keys = ["d/a", "d/c", "d/b/a", "d/e"]
    for key in keys:
        obstore.put(LocalStore(tmp_path), key, b"1")
    assert listed(RemoteObjects(LocalStore(tmp_path)), "d", [("b", "d")], 1) == ([], ["d/a"], "a")
    with bucket() as held:
        held.keys = keys
        assert listed(held.objects(), "d", [], 2) == (["b"], ["d/a", "d/c"], "c")
        assert [request.get("delimiter") for request in held.requests] == [None, "/"]


def flat(count: int, *, days: int) -> list[str]:
    """The keys of objects that DMS put into one folder, evenly over some days until now."""
    apart = timedelta(days=days) / count
    return [f"{PREFIX}/{NOW - n * apart:%Y%m%d-%H%M%S}000.parquet" for n in range(count)]


@pytest.mark.parametrize("days", [300, 900])
def test_a_tick_over_20000_flat_objects_in_a_bucket_costs_a_handful_of_requests(days: int) -> None:
    """The whole folder was listed twice a tick, forty requests for each table every ten seconds."""
    keys = flat(20_000, days=days)
    with bucket(*keys, f"{PREFIX}/LOAD00000001.parquet", f"{PREFIX}/2026/06/01/05/a.parquet") as held:
        zone = LandingZone(held.objects())
        recent = zone.recent(table(), since=NOW - timedelta(hours=3), now=NOW).objects
        newer = [key for key in keys if f"{PREFIX}/20260601-09" <= key]
        assert sorted(o.key for o in recent if o.key in set(keys)) == sorted(newer)
        assert {o.key for o in recent} >= {f"{PREFIX}/LOAD00000001.parquet"}
        flat_requests = [r for r in held.requests if r["prefix"] == f"{PREFIX}/"]
        assert len(flat_requests) <= 3 + days // 365 + 2
        after: str | None = zone.sweep(
            table(), after="20260101-", limit=250, now=NOW
        ).position  # learns how large it is
        held.requests.clear()
        for _ in range(3):
            page = zone.sweep(table(), after=after, limit=250, now=NOW)
            after = page.position
            assert len(page.objects) == 250
        assert len(held.requests) == 3


@pytest.mark.parametrize("room", [True, False], ids=["remembered", "without room to remember"])
def test_a_folder_of_many_large_folders_in_a_bucket_is_listed_by_delimiter(
    monkeypatch: pytest.MonkeyPatch, room: bool
) -> None:
    for module in (key_scan, subtrees):
        monkeypatch.setattr(module, "_MOST_REMEMBERED", 10 if room else 0)
    hours = [f"{PREFIX}/2026/06/01/{hour:02}" for hour in range(24)]
    with bucket(*(f"{hour}/{n:04}.parquet" for hour in hours for n in range(1_100))) as held:
        zone = LandingZone(held.objects())
        requests = []
        for _ in range(2):
            held.requests.clear()
            assert len(zone.sweep(table(), after="2026/06/01/03/0001.parquet", limit=250, now=NOW).objects) == 250
            requests.append([r["prefix"] for r in held.requests])
        first, then = (asked.count(f"{PREFIX}/2026/06/01/") for asked in requests)
        assert 1 < first <= 6  # one of them finds that more lies below than a page
        assert then == (1 if room else first)
        assert len(requests[1]) <= 8 if room else len(requests[1]) == len(requests[0])


MOMENTS = st.datetimes(datetime(1970, 1, 1), datetime(2030, 12, 31, 23)).map(lambda d: d.replace(tzinfo=UTC))  # noqa: DTZ001
DATED = ["%Y", "%Y%m", "%Y-%m", "%Y_%m", "%Y%m%d", "%Y-%m-%d", "%Y%m%d%H", "%Y%m%d-%H", "%Y%m%d_%H", "%Y-%m-%d-%H"]


def is_left_out(name: str, skip: Sequence[tuple[str, str]]) -> bool:
    return any(low <= name < high for low, high in skip)


@given(since=MOMENTS, moment=MOMENTS, form=st.sampled_from([*DATED, "%d%m%Y", "%m%Y%d", "%d", "%m", "year=%Y"]))
def test_no_folder_that_holds_a_later_time_is_left_out_for_its_name(
    since: datetime, moment: datetime, form: str
) -> None:
    folder = moment.strftime(form)
    dates = folder_dates(folder)
    if dates is None or dates[1] > since:
        assert not is_left_out(f"{folder}/", names_before(since))


@given(since=MOMENTS, moment=MOMENTS)
def test_objects_that_dms_named_for_an_earlier_hour_are_left_out_and_no_others(
    since: datetime, moment: datetime
) -> None:
    name = f"{moment:%Y%m%d-%H%M%S}000.parquet"
    assert named_time(name) == moment.replace(microsecond=0)
    hour = since.replace(minute=0, second=0, microsecond=0)
    assert is_left_out(name, names_before(since)) is (moment < hour)
    assert not is_left_out("LOAD00000001.parquet", names_before(since))
