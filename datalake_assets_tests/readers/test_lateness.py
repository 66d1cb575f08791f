"""How late events landed is told of each object, and adds up over objects."""

import random
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datalake_assets.lake.store.lateness import Lateness
from datalake_assets_tests.readers.reading import Read
from datalake_assets_tests.streams import AT, ndjson

NAMED = "firehose/clicks/2026/03/01/10/clicks-1-2026-03-01-10-30-00-x"
LANDED = datetime(2026, 3, 1, 10, 30, tzinfo=UTC)


def read(*seconds: float) -> Lateness:
    """The lateness of an object whose events are so many seconds older than it."""
    at = AT + 1_800
    found = Read({NAMED: ndjson([{"id": f"{n}", "at": at - int(s)} for n, s in enumerate(seconds)])})
    late = found.outcomes[NAMED].lateness
    assert late is not None
    return late


def test_lateness_is_told_by_the_time_in_the_name_of_an_object() -> None:
    late = read(10, 0, -20, 86_400)
    assert late.most == 86_400
    assert late.watermark == LANDED + timedelta(seconds=20)
    assert sum(late.counts.values()) == 4
    assert late.quantile(0) == late.quantile(0.5) == 0
    assert late.quantile(1) == pytest.approx(86_400, rel=0.04)


def test_of_an_object_without_a_time_in_its_name_it_is_told_by_its_last_modification() -> None:
    late = Read({"a": ndjson([{"id": "1", "at": AT}])}).outcomes["a"].lateness
    assert late is not None
    assert late.most == 300


def test_an_object_without_a_record_tells_none() -> None:
    assert Read({"a": b"torn"}).outcomes["a"].lateness is None
    assert Lateness.together([None]) is None


@given(seed=st.integers(0, 99), count=st.integers(1, 300), objects=st.integers(1, 4), share=st.floats(0.01, 1))
def test_shares_of_several_objects_are_those_of_all_their_records(
    seed: int, count: int, objects: int, share: float
) -> None:
    chosen = random.Random(seed)
    seconds = [int(chosen.expovariate(1 / 5_000)) for _ in range(count)]
    parts = [read(*seconds[n::objects]) for n in range(objects) if seconds[n::objects]]
    late = Lateness.together(parts)
    assert late is not None
    told = Lateness.model_validate_json(late.model_dump_json())
    exact = sorted(seconds)[max(0, -int(-share * count // 1) - 1)]
    assert told.quantile(share) == pytest.approx(exact, rel=0.05, abs=1)
    assert told.most == max(seconds)
