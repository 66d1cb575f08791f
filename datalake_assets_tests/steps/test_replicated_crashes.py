"""A step that dies at any of its reads and writes, and is run again, ends as one that nothing disturbed."""

import os
import shutil
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from datalake_assets.lake.engines.base import Engine
from datalake_assets.lake.engines.polars import PolarsEngine
from datalake_assets_tests.replicated import ReplicatedLake, change

TABLES = ("silver/orders", "silver/orders_history", "silver/orders_tombstones", "quarantine/orders")
GOLD = (
    "gold/daily_sales",
    "gold/daily_summary",
    "gold/orders_enriched",
    "gold/hourly_metrics",
    "gold/source_statistics",
)
WRITES = ("append", "merge", "replace", "replace_rejects")


class DiedError(BaseException):
    """Stands for SIGKILL: nothing may catch it and go on."""


class MortalEngine:
    """Polars that dies just before or just after one of its verb calls; counts the calls."""

    def __init__(self, *, at: int | None = None, after: bool = False, verbs: Collection[str] | None = None) -> None:
        self._engine = PolarsEngine()
        self._at = at
        self._after = after
        self._verbs = verbs
        self.calls: list[str] = []

    def __getattr__(self, name: str) -> Any:
        verb = getattr(self._engine, name)
        if not callable(verb) or (self._verbs is not None and name not in self._verbs):
            return verb

        def mortal(*args: Any, **kwargs: Any) -> Any:
            self.calls.append(name)
            dies = self._at == len(self.calls) - 1
            if dies and not self._after:
                raise DiedError
            result = verb(*args, **kwargs)
            if dies:
                raise DiedError
            return result

        return mortal


def landed(root: Path) -> None:
    """A lake with a first step done, and files of every kind of change waiting for the second."""
    lake = ReplicatedLake(root)
    day_6 = datetime(2026, 1, 6, 1, tzinfo=UTC)
    lake.land("LOAD00000001.parquet", [change(None, n, None, price=Decimal(n)) for n in range(1, 8)])
    lake.refresh()
    lake.refresh_gold()
    lake.land(
        "2026/01/05/09/20260105-091500000.parquet",
        [
            change("U", 1, 1, product_name="a"),
            change("D", 2, 2),
            change("U", 3, 3, created=day_6),
            change("D", 4, 4),
            change("I", 4, 5, product_name="again"),
            change("I", 9, 6, price=Decimal(-1)),
        ],
    )
    lake.land("2026/01/05/10/20260105-101500000.parquet", [change("I", 8, 7), change("U", 1, 8, product_name="b")])


@dataclass(frozen=True, slots=True)
class Undisturbed:
    """A lake that waits for its second step, and what its tables hold after it."""

    root: Path
    silver: dict[str, list[dict[str, Any]]]
    owed: dict[str, set[date]]
    gold: dict[str, list[dict[str, Any]]]

    def copy(self, root: Path, *, engine: Any) -> ReplicatedLake:
        """The waiting lake once more: hard links, so that its landed objects are the same ones."""
        shutil.copytree(self.root, root, copy_function=os.link)
        lake = ReplicatedLake(root)
        lake.engine = engine
        return lake


def finish_silver(lake: ReplicatedLake) -> tuple[dict[str, list[dict[str, Any]]], dict[str, set[date]]]:
    """Do all that is left to do in silver, and tell what its tables hold and which dates gold owes then."""
    lake.engine = PolarsEngine()
    while lake.waiting():
        lake.refresh()
    assert {status for status, *_ in lake.ledger().values()} == {"processed"}
    return lake.tables(TABLES), lake.owed()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    root = tmp_path_factory.mktemp("lakes")
    landed(root / "waiting")
    found = Undisturbed(root / "waiting", {}, {}, {})
    lake = found.copy(root / "undisturbed", engine=PolarsEngine())
    silver, owed = finish_silver(lake)
    lake.refresh_gold()
    return Undisturbed(found.root, silver, owed, lake.tables(GOLD))


def deaths(
    tmp_path: Path,
    undisturbed: Undisturbed,
    work: Callable[[ReplicatedLake], object],
    *,
    verbs: Collection[str] | None = None,
) -> Iterator[tuple[str, ReplicatedLake]]:
    """A lake for each moment at which the work can die, dead at that moment."""
    alive = MortalEngine(verbs=verbs)
    work(undisturbed.copy(tmp_path / "alive", engine=alive))
    for n, verb in enumerate(alive.calls):
        for after in (False, True) if verb in WRITES else (False,):
            engine = MortalEngine(at=n, after=after, verbs=verbs)
            lake = undisturbed.copy(tmp_path / f"{n}-{after}", engine=engine)
            with pytest.raises(DiedError):
                work(lake)
            yield f"{'after' if after else 'before'} call {n}, {verb}", lake


def test_a_step_that_dies_at_any_call_of_its_engine_is_made_good_by_the_next(
    tmp_path: Path, undisturbed: Undisturbed
) -> None:
    moments = []
    for moment, lake in deaths(tmp_path, undisturbed, ReplicatedLake.refresh):
        assert finish_silver(lake) == (undisturbed.silver, undisturbed.owed), moment
        moments.append(moment)
    assert {m.split(", ")[1] for m in moments} >= {"merge", "replace_rejects", "scan", "read_changes"}


def test_a_step_that_dies_writing_is_made_good_hour_by_hour_in_any_order(
    tmp_path: Path, undisturbed: Undisturbed
) -> None:
    for moment, lake in deaths(tmp_path, undisturbed, ReplicatedLake.refresh, verbs=WRITES):
        lake.engine = PolarsEngine()
        for partition in reversed(lake.waiting()):
            lake.refresh(partitions=[partition])
        assert finish_silver(lake) == (undisturbed.silver, undisturbed.owed), moment


def test_gold_that_dies_at_any_write_is_owed_still(tmp_path: Path, undisturbed: Undisturbed) -> None:
    def work(lake: ReplicatedLake) -> None:
        lake.refresh()
        lake.refresh_gold()

    for moment, lake in deaths(tmp_path, undisturbed, work, verbs=["replace"]):
        lake.engine = PolarsEngine()
        lake.refresh_gold()
        assert not lake.owed()
        assert lake.tables(GOLD) == undisturbed.gold, moment


def test_between_tombstones_and_live_rows_a_deleted_row_is_gone_after_the_next_run(
    tmp_path: Path, undisturbed: Undisturbed
) -> None:
    for n in range(10):
        lake = undisturbed.copy(tmp_path / str(n), engine=MortalEngine(at=n, after=True, verbs=WRITES))
        with pytest.raises(DiedError):
            lake.refresh()
        if lake.rows("silver/orders_tombstones") and 2 in lake.silver():
            break
    else:
        pytest.fail("no moment at which the tombstone is written and the row still there")
    lake.engine = PolarsEngine()
    lake.refresh()
    assert 2 not in lake.silver()


def test_an_engine_with_a_lifetime_is_an_engine() -> None:
    engine: Engine = MortalEngine()
    assert engine.name == "polars"
