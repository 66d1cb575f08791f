"""Copies of one event: one is shown, chosen by the data; what is taken back uncovers the copy below it."""

from collections.abc import Sequence
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest

from datalake_assets_tests.memory.lakes import AT, MemoryLake, stream

CLICKS = stream(properties={"n": {"type": "integer"}})
LOW, MIDDLE, HIGH = ({"id": "a", "at": AT + n, "n": n} for n in range(3))
OTHER = [{"id": "z", "at": AT, "n": 9}]


_ALL = list(permutations(("low", "middle", "high")))
_ORDERS = [_ALL[0], _ALL[-1], *(pytest.param(order, marks=pytest.mark.soak) for order in _ALL[1:-1])]


@pytest.fixture
def lake(tmp_path: Path) -> MemoryLake:
    return MemoryLake(tmp_path / "lake", CLICKS)


def shown(lake: MemoryLake) -> list[Any]:
    return [n for i, n in lake.rows("silver.clicks", "id", "n") if i == "a"]


@pytest.mark.parametrize("order", _ORDERS)
def test_the_winner_is_the_same_in_any_order_and_uncovers_the_next(lake: MemoryLake, order: Sequence[str]) -> None:
    copies = {"low": LOW, "middle": MIDDLE, "high": HIGH}
    for name in order:
        lake.land(name, [copies[name]])
        lake.process()
    assert shown(lake) == [2]
    for name, left in (("high", [1]), ("middle", [0]), ("low", [])):
        lake.land(name, OTHER)
        lake.process()
        assert shown(lake) == left


def test_a_copy_is_uncovered_when_its_object_is_gone_from_bronze(lake: MemoryLake) -> None:
    below = lake.land("low", [LOW, MIDDLE])
    lake.land("high", [HIGH])
    lake.run()
    lake.path(below).unlink()
    lake.land("high", OTHER)
    lake.run()
    assert shown(lake) == [1]
    lake.replay()
    assert shown(lake) == [1]


def test_a_copy_is_uncovered_when_the_contract_no_longer_accepts_the_winner(lake: MemoryLake) -> None:
    below = lake.land("low", [LOW])
    lake.land("high", [HIGH])
    lake.run()
    lake.path(below).unlink()
    tight = lake.under(stream(properties={"n": {"type": "integer", "maximum": 1}}))
    tight.replay()
    assert shown(tight) == [0]
    assert tight.rejected() == [("high", 1)]


def test_equal_copies_outlive_each_other(lake: MemoryLake) -> None:
    """The same bytes in two objects: overwriting the one that is shown leaves the event."""
    lake.land("p", [LOW])
    lake.land("q", [LOW, LOW])
    lake.run()
    for name, left in (("p", [0]), ("q", [])):
        lake.land(name, OTHER)
        lake.run()
        assert shown(lake) == left
    lake.land("p", [LOW])
    lake.run()
    lake.assert_as_fresh()


def test_a_rebuild_without_some_objects_keeps_winners_and_what_lies_below(lake: MemoryLake) -> None:
    gone = [lake.land("low", [LOW]), lake.land("high", [HIGH])]
    lake.land("middle", [MIDDLE])
    lake.run()
    for key in gone:
        lake.path(key).unlink()
    lake.rebuild()
    assert shown(lake) == [2]
    lake.land("high", OTHER)
    lake.process()
    assert shown(lake) == [1]
    lake.land("middle", OTHER)
    lake.process()
    assert shown(lake) == [0]
