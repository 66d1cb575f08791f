"""Several writers at once: nothing stands twice, nothing is lost, and hardly any decision is made again."""

import random
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from datalake_assets.lake.spec.dataset import Dataset
from datalake_assets.lake.store import ledger_rows
from datalake_assets.lake.store.conflicts import ConflictError
from datalake_assets.lake.store.ledger import Ledger
from datalake_assets.lake.store.snapshot import Snapshot
from datalake_assets_tests.memory.lakes import (
    AT,
    DAY,
    FIRST_DAY,
    HOUR,
    NEXT_HOUR,
    DiedError,
    MemoryLake,
    before_the_next_change_of,
    order,
    orders,
    stream,
)

CLICKS = stream(properties={"n": {"type": "integer", "minimum": 0}})
_WRITERS = 3


def at_once(*works: Callable[[], object]) -> None:
    """Do several things at the same time; the first that fails raises."""
    with ThreadPoolExecutor(len(works)) as pool:
        for future in [pool.submit(work) for work in works]:
            future.result()


@contextmanager
def conflicts() -> Iterator[list[str]]:
    """The tables on which decisions had to be made again."""
    seen: list[str] = []

    def counting(verb: Any) -> Any:
        def change(self: Snapshot, *args: Any, **kwargs: Any) -> Any:
            try:
                return verb(self, *args, **kwargs)
            except ConflictError:
                seen.append(self.table.spec.sql_name)
                raise

        return change

    with (
        patch.object(Snapshot, "change", counting(Snapshot.change)),
        patch.object(Snapshot, "replace", counting(Snapshot.replace)),
        patch.object(Snapshot, "swap", counting(Snapshot.swap)),
    ):
        yield seen


def writers(root: Path, *datasets: Dataset) -> list[MemoryLake]:
    return [MemoryLake(root, *datasets) for _ in range(_WRITERS)]


def events(chance: random.Random, count: int) -> list[dict[str, Any]]:
    """Events of two days, some of them copies of each other, some bad."""
    return [
        {"id": f"{chance.randrange(count)}", "at": AT + chance.randrange(2) * DAY, "n": chance.randrange(-1, 5)}
        for _ in range(count)
    ]


def rounds_of_events(root: Path, rounds: int) -> None:
    chance = random.Random(7)
    lake = MemoryLake(root, CLICKS)
    for number in range(rounds):
        for name in range(4):
            folder = f"2026/03/01/{10 + name % 2}"
            lake.land(f"{folder}/{number % 2}-{name}", events(chance, 12))  # every second round overwrites
        own = writers(root, CLICKS)
        at_once(*(lambda one=one: one.process() for one in own))
        own[0].process()
        assert lake.waiting().waiting == {}
    lake.gold()
    fresh = lake.fresh()
    lineage = ("id", "n", "record_hash", "event_date")
    assert lake.rows("silver.clicks", *lineage) == fresh.rows("silver.clicks", *lineage)
    assert lake.rejected() == fresh.rejected()
    assert lake.rows("gold.daily_summary") == fresh.rows("gold.daily_summary")


def test_overlapping_steps_over_events_are_exact(tmp_path: Path) -> None:
    """Two runs with two homes put every event into silver twice, and gold and the next run saw nothing wrong."""
    rounds_of_events(tmp_path / "lake", 3)


@pytest.mark.soak
def test_overlapping_steps_over_events_are_exact_in_twenty_rounds(tmp_path: Path) -> None:
    rounds_of_events(tmp_path / "lake", 20)


def rounds_of_changes(root: Path, rounds: int) -> None:
    chance = random.Random(11)
    lake = MemoryLake(root, orders())
    sequence = 0
    for number in range(rounds):
        for name in range(3):
            rows = []
            for _ in range(8):
                sequence += 1
                op = chance.choice(["I", "U", "U", "D"])
                rows.append(order(op, chance.randrange(10), sequence, product_name=f"{sequence}"))
            lake.land_changes(f"2026/03/01/{10 + name}/{number}.parquet", rows)
        own = writers(root, orders())
        at_once(*(lambda one=one: one.process() for one in own))
        own[0].process()
        assert lake.waiting().waiting == {}
    lake.gold()
    lake.assert_as_fresh()


def test_overlapping_steps_over_changes_are_exact(tmp_path: Path) -> None:
    """Two writers left keys twice, lost updates and revived deletes, and later steps on such a key raised."""
    rounds_of_changes(tmp_path / "lake", 3)


@pytest.mark.soak
def test_overlapping_steps_over_changes_are_exact_in_twenty_rounds(tmp_path: Path) -> None:
    rounds_of_changes(tmp_path / "lake", 20)


def test_a_replay_beside_steps_that_bring_more_is_exact(tmp_path: Path) -> None:
    """An overwrite, a replay and new objects at once: the exact way and the quick way meet on the same dates."""
    chance = random.Random(3)
    lake = MemoryLake(tmp_path / "lake", CLICKS)
    for name in range(3):
        lake.land(f"{name}", events(chance, 20))
    lake.process()
    lake.land("0", events(chance, 20))
    lake.land("2026/03/01/11/new", events(chance, 20))
    one, two, three = writers(lake.root, CLICKS)
    lake.admit()
    at_once(lambda: one.replay(HOUR), lambda: two.step([NEXT_HOUR]), lambda: three.step([HOUR]))
    lake.run()
    fresh = lake.fresh()
    columns = ("id", "n", "record_hash", "event_date")
    assert lake.rows("silver.clicks", *columns) == fresh.rows("silver.clicks", *columns)
    assert lake.rejected() == fresh.rejected()


def many(count: int) -> Sequence[Dataset]:
    return [stream(f"stream_{n:02}") for n in range(count)]


def test_thirty_datasets_that_step_at_once_decide_hardly_anything_again(tmp_path: Path) -> None:
    """All steps write into one ledger: each would have to wait for all others if they disturbed each other."""
    datasets = many(30)
    lake = MemoryLake(tmp_path / "lake", *datasets)
    for dataset in datasets:
        lake.land("o", [{"id": "a", "at": AT}, '{"bad'], of=dataset.name)
    with conflicts() as seen, ThreadPoolExecutor(8) as pool:
        reports = list(pool.map(lambda d: MemoryLake(lake.root, *datasets).process(d.name), datasets))
        print(f"{len(seen)} decisions made again: {sorted(set(seen))}")  # noqa: T201 (shown with -s)
    assert [report.rows_out for (report,) in reports] == [1] * 30
    assert sum(lake.ledger(d.name).height for d in datasets) == 30
    assert len([name for name in seen if name == "ledger"]) <= 8  # those that made the table at the same time
    assert len(seen) <= 16
    lake.gold()
    assert len(lake.rows("gold.daily_summary", "source")) == 30


def test_gold_steps_of_different_dates_at_once_are_exact(tmp_path: Path) -> None:
    lake = MemoryLake(tmp_path / "lake", CLICKS)
    lake.land("o", [{"id": f"{n}", "at": AT + n * DAY} for n in range(6)])
    lake.process()
    own = writers(lake.root, CLICKS)

    def compute(one: MemoryLake, first: int) -> None:
        for name in ("daily_summary", "events_by_type", "hourly_metrics"):
            one.compute(name, *(FIRST_DAY + timedelta(days=n) for n in (first, (first + 2) % 6, 5)))

    at_once(*(lambda one=one, n=n: compute(one, 2 * n) for n, one in enumerate(own)))
    lake.gold()
    lake.assert_as_fresh()


def test_a_copy_that_is_taken_back_while_another_displaces_it_never_comes_back(tmp_path: Path) -> None:
    """It was kept as displaced after it had been taken back, and came up again when its better was taken back too."""
    lake, other = (MemoryLake(tmp_path / "lake", CLICKS) for _ in range(2))
    lake.land("x", [{"id": "a", "at": AT, "n": 1}, {"id": "b", "at": AT, "n": 1}])
    lake.process()
    lake.land("2026/03/01/11/y", [{"id": "a", "at": AT + 1, "n": 2}])

    def overwrite() -> None:
        lake.land("x", [{"id": "c", "at": AT, "n": 3}])
        other.admit()
        other.step([HOUR])

    lake.admit()
    with before_the_next_change_of("silver.clicks_duplicates", overwrite):
        lake.step([NEXT_HOUR])
    lake.land("2026/03/01/11/y", [{"id": "d", "at": AT + 1, "n": 4}])
    lake.run()
    assert lake.ids() == ["c", "d"]
    lake.assert_as_fresh()


def late_writer(lake: MemoryLake, *, table: str, overwrite: Callable[[], object]) -> None:
    """A step that writes an object when another lies under its key already, and dies before it can tell."""
    note = Ledger.note

    def die(self: Ledger, *args: Any, **kwargs: Any) -> Any:
        if kwargs["completed"]:
            raise DiedError
        return note(self, *args, **kwargs)

    def come_between() -> None:
        with patch.object(Ledger, "note", note):
            overwrite()

    lake.admit()
    with (
        before_the_next_change_of(table, come_between),
        patch.object(Ledger, "note", die),
        pytest.raises(DiedError),
    ):
        lake.step([HOUR])


@contextmanager
def long_after() -> Iterator[None]:
    """Any step that has not told that it is done counts as dead."""
    with patch.object(ledger_rows, "_WRITTEN_WITHIN", timedelta(0)):
        yield


def test_events_written_late_by_a_step_that_died_are_taken_back(tmp_path: Path) -> None:
    """The object that lay over them was processed by then, and nobody looked again."""
    lake, other = (MemoryLake(tmp_path / "lake", CLICKS) for _ in range(2))
    lake.land("kept", [{"id": "k", "at": AT}])
    lake.process()
    lake.land("o", [{"id": "a", "at": AT}])

    def overwrite() -> None:
        lake.land("o", [{"id": "b", "at": AT}])
        other.process()

    late_writer(lake, table="silver.clicks", overwrite=overwrite)
    assert lake.waiting().waiting == {}  # the step may be at it still
    with long_after():
        lake.run()
        assert lake.waiting().waiting == {}
    lake.assert_as_fresh()


def test_changes_written_late_by_a_step_that_died_are_taken_back(tmp_path: Path) -> None:
    lake, other = (MemoryLake(tmp_path / "lake", orders()) for _ in range(2))
    lake.land_changes("2026/03/01/10/kept.parquet", [order("I", 1, 1)])
    lake.process()
    lake.land_changes("2026/03/01/10/o.parquet", [order("I", 2, 2)])

    def overwrite() -> None:
        lake.land_changes("2026/03/01/10/o.parquet", [order("I", 3, 3)])
        other.process()

    late_writer(lake, table="silver.orders", overwrite=overwrite)
    with long_after():
        lake.run()
        assert lake.waiting().waiting == {}
    lake.assert_as_fresh()
