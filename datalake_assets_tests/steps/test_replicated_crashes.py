"""A step that dies after any of its commits, and is run again, ends as one that nothing disturbed."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from datalake_assets_tests.memory.lakes import DiedError, dying
from datalake_assets_tests.replicated import ReplicatedLake, change

TABLES = ("silver/orders", "silver/orders_history", "silver/orders_tombstones", "quarantine/orders")
GOLD = (
    "gold/daily_sales",
    "gold/daily_summary",
    "gold/orders_enriched",
    "gold/hourly_metrics",
    "gold/source_statistics",
)
LOAD = "LOAD00000001.parquet"
NINE, TEN = "2026/01/05/09/20260105-091500000.parquet", "2026/01/05/10/20260105-101500000.parquet"
Tables = dict[str, list[dict[str, Any]]]


def deaths(
    tmp_path: Path, waiting: ReplicatedLake, work: Callable[[ReplicatedLake], object]
) -> Iterator[tuple[str, ReplicatedLake]]:
    """A copy of the lake for each commit after which the work can die, dead by then.

    Between two commits nothing changes that anybody sees, so these moments stand for all.
    """
    with dying(at=-1) as commits:
        work(waiting.copy(tmp_path / "alive"))
    for n, table in enumerate(list(commits)):
        lake = waiting.copy(tmp_path / f"died-{n}")
        with dying(at=n, after=True), pytest.raises(DiedError):
            work(lake)
        yield f"after commit {n}, {table}", lake


def with_changes_waiting(root: Path) -> ReplicatedLake:
    """A lake with a first step done, and files of every kind of change waiting for the second."""
    lake = ReplicatedLake(root)
    day_6 = datetime(2026, 1, 6, 1, tzinfo=UTC)
    lake.land(LOAD, [change(None, n, None, price=Decimal(n)) for n in range(1, 8)])
    lake.refresh()
    lake.refresh_gold()
    lake.land(
        NINE,
        [
            change("U", 1, 1, product_name="a"),
            change("D", 2, 2),
            change("U", 3, 3, created=day_6),
            change("D", 4, 4),
            change("I", 4, 5, product_name="again"),
            change("I", 9, 6, price=Decimal(-1)),
        ],
    )
    lake.land(TEN, [change("I", 8, 7), change("U", 1, 8, product_name="b")])
    return lake


@dataclass(frozen=True, slots=True)
class Undisturbed:
    """A lake that waits for its second step, and what its tables hold after it."""

    waiting: ReplicatedLake
    silver: Tables
    owed: dict[str, set[date]]
    gold: Tables


def finish_silver(lake: ReplicatedLake) -> tuple[Tables, dict[str, set[date]]]:
    """Do all that is left to do in silver, and tell what its tables hold and which dates gold owes then."""
    while lake.waiting():
        lake.refresh()
    assert {status for status, *_ in lake.ledger().values()} == {"processed"}
    return lake.tables(TABLES), lake.owed()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    root = tmp_path_factory.mktemp("lakes")
    waiting = with_changes_waiting(root / "waiting")
    lake = waiting.copy(root / "undisturbed")
    silver, owed = finish_silver(lake)
    lake.refresh_gold()
    return Undisturbed(waiting, silver, owed, lake.tables(GOLD))


def test_a_step_that_dies_after_any_of_its_commits_is_made_good_by_the_next(
    tmp_path: Path, undisturbed: Undisturbed
) -> None:
    moments = []
    for moment, lake in deaths(tmp_path, undisturbed.waiting, ReplicatedLake.refresh):
        assert finish_silver(lake) == (undisturbed.silver, undisturbed.owed), moment
        moments.append(moment)
    written = {moment.split(", ")[1] for moment in moments}
    assert written >= {"ledger", "silver.orders", "silver.orders_history", "quarantine.orders"}


@pytest.mark.soak
def test_a_step_that_dies_is_made_good_hour_by_hour_in_any_order(tmp_path: Path, undisturbed: Undisturbed) -> None:
    for moment, lake in deaths(tmp_path, undisturbed.waiting, ReplicatedLake.refresh):
        for partition in reversed(lake.waiting()):
            lake.refresh(partitions=[partition])
        assert finish_silver(lake) == (undisturbed.silver, undisturbed.owed), moment


def test_gold_that_dies_after_any_commit_is_owed_still(tmp_path: Path, undisturbed: Undisturbed) -> None:
    done = undisturbed.waiting.copy(tmp_path / "done")
    finish_silver(done)
    for moment, lake in deaths(tmp_path, done, ReplicatedLake.refresh_gold):
        lake.refresh_gold()
        assert not lake.owed()
        assert lake.tables(GOLD) == undisturbed.gold, moment


def test_between_tombstones_and_live_rows_a_deleted_row_is_gone_after_the_next_run(
    tmp_path: Path, undisturbed: Undisturbed
) -> None:
    for _, lake in deaths(tmp_path, undisturbed.waiting, ReplicatedLake.refresh):
        if lake.rows("silver/orders_tombstones") and 2 in lake.silver():
            break
    else:
        pytest.fail("no moment at which the tombstone is written and the row still there")
    lake.refresh()
    assert 2 not in lake.silver()
