"""Many small folders of a bucket are told by one request, and a walk meets in them what it meets folder by folder."""

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from datalake_assets.lake.store.landing import LandingZone
from datalake_assets_tests.buckets import Bucket, bucket
from datalake_assets_tests.lake.test_landing import NOW, ZONES
from datalake_assets_tests.streams import stream

HOURS = [NOW - timedelta(hours=n) for n in range(1, 24 * 365)]
A_YEAR = [f"firehose/clicks/{hour:%Y/%m/%d/%H}/clicks-1-{hour:%Y-%m-%d-%H-%M-%S}-x.gz" for hour in HOURS]


def zone(held: Bucket, page: int = 1_000) -> LandingZone:
    return LandingZone(held.objects(page=page))


def test_a_year_of_hours_is_swept_by_some_twenty_requests_and_the_last_day_by_fewer() -> None:
    with bucket(*A_YEAR) as held:
        landing = zone(held)
        assert len(landing.sweep(stream(), after=None, limit=2**62, now=NOW).objects) == len(A_YEAR)
        assert len(held.requests) < 30
        held.requests.clear()
        landing.recent(stream(), since=NOW - timedelta(hours=24), now=NOW)
        assert len(held.requests) <= 6, "two months are looked into; by folders it would be 30"
        held.requests.clear()
        page = landing.sweep(stream(), after=A_YEAR[4_000].removeprefix("firehose/clicks/"), limit=250, now=NOW)
        assert (len(page.objects), len(held.requests) <= 8) == (250, True)


def test_a_month_with_more_than_a_page_is_told_by_its_days() -> None:
    month = [key.replace("x.gz", f"{n}.gz") for key in A_YEAR if "/2026/02/" in key for n in range(3)]
    with bucket(*month) as held:
        found = zone(held).sweep(stream(), after=None, limit=2**62, now=NOW).objects
        assert [o.key for o in found] == sorted(month)
        assert len(held.requests) <= 28 + 12


@given(keys=ZONES, page=st.integers(1, 9), limit=st.integers(1, 12))
def test_pages_of_any_size_tell_the_same_as_folders(keys: set[str], page: int, limit: int) -> None:
    everything: list[str] = []
    with bucket(*(f"firehose/clicks/{key}" for key in keys)) as held:
        whole, small = zone(held), zone(held, page)
        for _ in range(2):  # what is remembered of a folder changes nothing
            everything = [o.key for o in small.sweep(stream(), after=None, limit=2**62, now=NOW).objects]
            assert everything == sorted(f"firehose/clicks/{key}" for key in keys)
        met: list[str] = []
        after: str | None = None
        while True:
            found = small.sweep(stream(), after=after, limit=limit, now=NOW)
            met += [o.key for o in found.objects]
            after = found.position
            if after is None:
                break
        assert met == everything
        looks = [z.recent(stream(), since=NOW - timedelta(days=90), now=NOW).objects for z in (whole, small)]
        assert looks[0] == looks[1]


def test_an_odd_key_in_one_folder_stops_no_other() -> None:
    start = "firehose/clicks/2026/03/01"
    with bucket(f"{start}/08//a.gz", f"{start}/09/b.gz", f"{start}/10/c.gz") as held:
        page = zone(held).sweep(stream(), after=None, limit=2**62, now=NOW)
        assert [o.key for o in page.objects] == [f"{start}/09/b.gz", f"{start}/10/c.gz"]
        assert len(page.unlisted) == 1
