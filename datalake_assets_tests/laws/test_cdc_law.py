"""Law 1 for replicated tables: silver, history and gold are functions of the set of landed files.

A log of changes to a few keys is cut into files, some changes into two of them. However the files land, in whatever
order and portions they are processed, and how often: the tables are those of one step over all, and the live rows are
those of a replay of the log in plain Python.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from datalake_assets_tests.replicated import CUSTOMERS, ORDERS, ReplicatedLake

NINE = datetime(2026, 1, 5, 9, tzinfo=UTC)
SILVER = ("silver/orders", "silver/orders_history", "quarantine/orders")
GOLD = (
    "gold/daily_sales",
    "gold/daily_summary",
    "gold/hourly_metrics",
    "gold/orders_enriched",
    "gold/source_statistics",
)
# How DMS was set up: what the rows have that orders them, beside their place in the files.
ORDERED_BY: dict[str, list[str]] = {
    "sequence": ["ar_h_change_seq", "dms_timestamp"],
    "commit time": ["dms_timestamp"],
    "files alone": [],
}
# Shrinking a failing plan takes minutes: the soak run does that.
QUICK = (Phase.explicit, Phase.generate)
Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class File:
    """A landed file: its path below the table's prefix, and its rows."""

    path: str
    rows: tuple[Row, ...]

    @property
    def is_load(self) -> bool:
        return self.path.startswith("LOAD")


@dataclass(frozen=True, slots=True)
class Plan:
    """Files, how they come (in portions, each in some order), and by what luck they are processed."""

    ordered_by: str
    files: tuple[File, ...]
    portions: tuple[tuple[File, ...], ...]
    luck: random.Random

    def lake(self, root: Path) -> ReplicatedLake:
        orders = ORDERS if self.ordered_by == "sequence" else ORDERS.replace("order_by: [ar_h_change_seq]\n", "")
        return ReplicatedLake(root, orders, CUSTOMERS)


@st.composite
def changes(draw: st.DrawFn) -> list[Row]:
    """A log: transactions of a few changes each, every one with its place in the order and its commit time."""
    log: list[Row] = []
    for second in range(draw(st.integers(1, 6))):
        for _ in range(draw(st.integers(1, 4))):
            op = draw(st.sampled_from("IUUD"))
            row = {"Op": op, "id": draw(st.integers(1, 4))}
            if op != "D":
                row |= draw(images())
            committed = f"{NINE + timedelta(seconds=second):%Y-%m-%d %H:%M:%S.%f}"
            log.append({"ar_h_change_seq": f"{len(log):035d}", "dms_timestamp": committed} | row)
    return log


@st.composite
def images(draw: st.DrawFn) -> Row:
    """A row's columns but for its key; now and then they break the contract."""
    day = draw(st.sampled_from([4, 5, 5, 6, None]))
    return {
        "customer_id": draw(st.sampled_from([7, None])),
        "product_name": draw(st.sampled_from("ab")),
        "price": draw(st.sampled_from([Decimal("0.10"), Decimal("2.50"), None, Decimal(-1)])),
        "created_at": day and datetime(2026, 1, day, 23, 30, tzinfo=UTC),
    }


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    """A log cut into files, which come in portions."""
    ordered_by = draw(st.sampled_from(sorted(ORDERED_BY)))
    log = draw(changes())
    paths = [
        f"2026/01/05/{hour:02d}/20260105-{hour:02d}{minute:02d}00000.parquet"
        for hour in (9, 10, 11)
        for minute in (0, 30)
    ]
    placed: dict[str, list[Row]] = {}
    for row in log:
        for path in draw(st.sets(st.sampled_from(paths), min_size=1, max_size=2)):
            placed.setdefault(path, []).append(row)
    keys = draw(st.lists(st.integers(1, 4), max_size=4))
    transferred = f"{NINE + timedelta(minutes=5):%Y-%m-%d %H:%M:%S.%f}"
    load = [{"Op": "I", "ar_h_change_seq": "", "dms_timestamp": transferred, "id": k} | draw(images()) for k in keys]
    if load:
        placed["LOAD00000001.parquet"] = load[:2]
        placed["LOAD00000002.parquet"] = load[1:]
    told = ["Op", *ORDERED_BY[ordered_by], "id", "customer_id", "product_name", "price", "created_at"]
    files = [File(path, tuple({n: row.get(n) for n in told} for row in rows)) for path, rows in placed.items() if rows]
    shuffled = draw(st.permutations(files))
    cuts = sorted(draw(st.sets(st.integers(1, max(1, len(files) - 1)), max_size=3)))
    bounds = [0, *cuts, len(files)]
    portions = tuple(tuple(shuffled[a:b]) for a, b in pairwise(bounds) if a < b)
    return Plan(ordered_by, tuple(files), portions, random.Random(draw(st.integers(0, 2**32))))


def land(lake: ReplicatedLake, files: Sequence[File]) -> None:
    for file in files:
        lake.land(file.path, file.rows)


def at_once(lake: ReplicatedLake, plan: Plan) -> None:
    """Everything in one step."""
    land(lake, plan.files)
    lake.refresh()


def in_portions(lake: ReplicatedLake, plan: Plan, *, gold: bool) -> None:
    """The files as they come: some partitions of those that wait at a time, and some once more."""
    known: set[str] = set()
    for portion in plan.portions:
        land(lake, portion)
        waiting = lake.waiting()
        known |= set(waiting)
        lake.refresh(partitions=plan.luck.sample(waiting, plan.luck.randint(1, len(waiting))))
        if plan.luck.random() < 0.3:
            lake.refresh(partitions=[plan.luck.choice(sorted(known))], replay=True)
        if gold and plan.luck.random() < 0.5:
            lake.refresh_gold()
    for partition in plan.luck.sample(waiting := lake.waiting(), len(waiting)):
        lake.refresh(partitions=[partition])


def replay(plan: Plan) -> dict[int, tuple[Any, ...]]:
    """The live rows by a fold over the log in its total order, in plain Python."""
    ordered = []
    for file in plan.files:
        hour = datetime(2026, 1, 5, 8, 30) if file.is_load else datetime(2026, 1, 5, int(file.path[11:13]))  # noqa: DTZ001
        for n, row in enumerate(file.rows):
            sequence = row.get("ar_h_change_seq", "") if plan.ordered_by == "sequence" else ""
            committed = row.get("dms_timestamp", f"{hour:%Y-%m-%d %H:%M:%S.%f}")
            ordered.append((not file.is_load, sequence, committed, file.path, n, row))
    live: dict[int, tuple[Any, ...]] = {}
    for *_, row in sorted(ordered, key=lambda place: place[:-1]):
        price = row.get("price")
        if row["Op"] == "D":
            live.pop(row["id"], None)
        elif price is None or price >= 0:
            live[row["id"]] = (row["customer_id"], row["product_name"], price, row["created_at"])
    return live


def check_silver(plan: Plan) -> None:
    with TemporaryDirectory() as folder:
        whole, pieces = plan.lake(Path(folder) / "whole"), plan.lake(Path(folder) / "pieces")
        at_once(whole, plan)
        assert whole.silver() == replay(plan)
        in_portions(pieces, plan, gold=False)
        assert pieces.tables(SILVER) == whole.tables(SILVER)
        history = whole.rows("silver/orders_history")
        assert sorted(r["id"] for r in history if r["is_current"]) == sorted(whole.silver())


def check_gold(plan: Plan) -> None:
    with TemporaryDirectory() as folder:
        whole, pieces = plan.lake(Path(folder) / "whole"), plan.lake(Path(folder) / "pieces")
        at_once(whole, plan)
        whole.refresh_gold()
        in_portions(pieces, plan, gold=True)
        pieces.refresh_gold()
        assert pieces.tables(GOLD) == whole.tables(GOLD)
        assert not pieces.owed()
        assert not whole.owed()


@settings(max_examples=6, phases=QUICK)
@given(plans())
def test_silver_and_history_are_those_of_the_set_of_landed_files(plan: Plan) -> None:
    check_silver(plan)


@settings(max_examples=3, phases=QUICK)
@given(plans())
def test_gold_is_that_of_the_set_of_landed_files(plan: Plan) -> None:
    check_gold(plan)


@pytest.mark.soak
@given(plans())
def test_silver_and_history_are_those_of_the_set_of_landed_files_in_many_more_cases(plan: Plan) -> None:
    check_silver(plan)


@pytest.mark.soak
@settings(max_examples=200)
@given(plans())
def test_gold_is_that_of_the_set_of_landed_files_in_many_more_cases(plan: Plan) -> None:
    check_gold(plan)
