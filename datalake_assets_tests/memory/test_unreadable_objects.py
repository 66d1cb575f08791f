"""Objects that can't be read: each fails by itself, is told, and is tried again where that may help."""

import gzip
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from datalake_assets.lake.readers.batch import Limits
from datalake_assets_tests.memory.lakes import AT, MemoryLake, order, orders, stream

GOOD = [{"id": "a", "at": AT}]


def refusing(lake: MemoryLake, name: str, fault: Callable[[], BaseException]) -> None:
    """Let the reading of one object fail."""
    objects = lake.lake.landing.objects

    class Refusing:
        def __getattr__(self, verb: str) -> Any:
            return getattr(objects, verb)

        def read(self, key: str, **identity: Any) -> bytes:
            if key.endswith(f"/{name}"):
                raise fault()
            return objects.read(key, **identity)

    object.__setattr__(lake.lake.landing, "objects", Refusing())


@pytest.mark.parametrize("fault", [lambda: PermissionError("denied"), lambda: ConnectionError("down"), MemoryError])
def test_an_object_that_may_not_be_read_keeps_no_neighbour_back_and_is_tried_again(
    tmp_path: Path, fault: Callable[[], BaseException]
) -> None:
    """One object that could not be read kept five hours of neighbours from silver, at each run."""
    lake = MemoryLake(tmp_path / "lake", stream())
    lake.land("bad", [{"id": "late", "at": AT}])
    lake.land("good", GOOD)
    lake.land("2026/03/01/11/next", [{"id": "n", "at": AT}])
    refusing(lake, "bad", fault)
    lake.run()
    assert lake.ids() == ["a", "n"]
    assert dict(lake.statuses())["bad"] == "failed"
    assert lake.waiting().waiting == {}
    assert any("next try" in line for line in lake.undone())
    readable = MemoryLake(lake.root, stream())
    later = datetime.now(UTC) + timedelta(minutes=2)
    assert sum(readable.waiting(now=later).waiting.values()) == 1
    rows = readable.lake.ledger.to_read("clicks", None, now=later)
    assert [known.landed.key.rpartition("/")[2] for known in rows] == ["bad"]
    readable.replay()
    readable.gold()
    assert readable.ids() == ["a", "late", "n"]
    readable.assert_as_fresh()


def test_a_bomb_is_told_and_its_neighbours_are_read(tmp_path: Path) -> None:
    """A small object that unpacks to gigabytes ended the run without memory."""
    lake = MemoryLake(tmp_path / "lake", stream())
    object.__setattr__(lake, "lake", replace(lake.lake, limits=Limits(object_bytes=2**20)))
    lake.land("bomb", gzip.compress(b"0" * 2**23, mtime=0))
    lake.land("good", GOOD)
    lake.run()
    assert lake.ids() == ["a"]
    assert lake.rejected() == [("bomb", 0)]
    assert lake.waiting().waiting == {}


@pytest.mark.parametrize("depth", [500, 100_000])
def test_a_deeply_nested_record_is_a_reject_like_any_other(tmp_path: Path, depth: int) -> None:
    """One record of hundreds of nested arrays stopped the whole step."""
    lake = MemoryLake(tmp_path / "lake", stream(properties={"deep": {"type": "array"}}))
    nested = '{"id": "d", "at": 1772359200, "deep": ' + "[" * depth + "]" * depth + "}"
    lake.land("o", [*GOOD, nested, {"id": "b", "at": AT}])
    lake.run()
    assert set(lake.ids()) >= {"a", "b"}
    assert len(lake.ids()) + len(lake.rejected()) == 3
    assert lake.undone() == []


def test_columns_that_no_reader_knows_stop_their_file_at_most(tmp_path: Path) -> None:
    """A list of bytes, a duration, an operation that is a list: the run of up to a week's hours stopped."""
    lake = MemoryLake(tmp_path / "lake", orders())
    row = order("I", 1, 1)
    odd: dict[str, Any] = {
        "bytes": [[b"\xff\x00"]],
        "duration": [timedelta(seconds=3)],
        "Op": [["I"]],
        "struct": [{"a": [{"b": b"\xff"}]}],
        "time": [datetime(2026, 1, 1, tzinfo=UTC).time()],
    }
    for n, (name, values) in enumerate(odd.items()):
        frame = pl.DataFrame([row | {"id": n}]).with_columns(pl.Series(name, values))
        file = tmp_path / "odd.parquet"
        frame.write_parquet(file)
        lake.land_changes(f"2026/03/01/{n:02}/odd.parquet", file.read_bytes())
        lake.land_changes(f"2026/03/01/{n:02}/good.parquet", [order("I", 100 + n, 1)])
    lake.step(lake.admit())
    lake.gold()
    ids = [i for (i,) in lake.rows("silver.orders", "id")]
    assert set(ids) >= {100 + n for n in range(len(odd))}
    assert len(ids) + len(lake.rejected("orders")) == 2 * len(odd)
    assert lake.undone() == []
