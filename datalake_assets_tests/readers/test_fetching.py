"""Objects are got ahead of their use: several at once, no more bytes than agreed, and each error is its object's."""

import threading
from datetime import UTC, datetime
from itertools import count

import pytest

from datalake_assets.lake.readers.fetching import fetched
from datalake_assets.lake.store.landing import LandedObject
from datalake_assets.lake.store.objects import MissingObjectError

MIB = 1024 * 1024


def landed(key: object, *, size: int = 1) -> LandedObject:
    return LandedObject(f"{key}", "etag", size, datetime(2026, 3, 1, tzinfo=UTC), "2026-03-01-00:00")


def test_objects_come_in_their_order_each_with_its_own_bytes() -> None:
    found = fetched(lambda it: it.key.encode(), [landed(n) for n in range(50)])
    assert [(it.key, data()) for it, data in found] == [(f"{n}", f"{n}".encode()) for n in range(50)]


def test_small_objects_are_got_side_by_side() -> None:
    """One request after the other, a step over a thousand objects waited for S3 longer than it computed."""
    together = threading.Barrier(16, timeout=10)

    def load(it: LandedObject) -> bytes:
        together.wait()
        return it.key.encode()

    found = [data() for _, data in fetched(load, [landed(n) for n in range(32)])]
    assert len(found) == 32


@pytest.mark.parametrize(("size", "most"), [(20 * MIB, 1), (8 * MIB, 4), (100 * MIB, 1)])
def test_no_more_bytes_are_got_ahead_than_agreed(size: int, most: int) -> None:
    under_way: set[str] = set()
    peaks = [0]

    def load(it: LandedObject) -> bytes:
        under_way.add(it.key)
        return b""

    for it, data in fetched(load, [landed(n, size=size) for n in range(12)]):
        data()
        peaks.append(len(under_way))
        under_way.discard(it.key)
    assert max(peaks) <= most + 1  # the one at hand


def test_an_object_that_can_not_be_got_stops_no_other() -> None:
    def load(it: LandedObject) -> bytes:
        if it.key == "1":
            raise MissingObjectError(it.key)
        return it.key.encode()

    found = dict(fetched(load, [landed(n) for n in range(3)]))
    (first, data), (_, missing), (_, last) = found.items()
    assert (first.key, data(), last()) == ("0", b"0", b"2")
    with pytest.raises(MissingObjectError):
        missing()


def test_closing_ends_the_threads() -> None:
    before = {*threading.enumerate()}
    found = fetched(lambda _: b"", (landed(n) for n in count()))
    next(found)
    found.close()
    assert {*threading.enumerate()} <= before
