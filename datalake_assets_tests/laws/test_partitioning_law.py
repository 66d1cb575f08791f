"""How tables are cut on disk decides nothing of what is in them.

The same changes, or events, are landed in three lakes that differ in `partition_by` alone and are worked in the same
steps. After each step the tables of all three are equal, and so is what gold makes of them in the end.
"""

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from datalake_assets.lake.spec.dataset import Dataset
from datalake_assets_tests.memory.lakes import AT, DAY, LOADED, MemoryLake, order, orders, stream

PARTITIONINGS = ("none", "month", "day")
TABLES = ("silver.orders", "silver.orders_history", "silver.orders_tombstones", "quarantine.orders")
STREAMS = ("silver.clicks", "silver.clicks_duplicates", "quarantine.clicks")
AMOUNT = {"amount": {"type": "integer", "minimum": 0}}
# Shrinking a failing plan takes minutes: the soak run does that.
QUICK = (Phase.explicit, Phase.generate)
Rows = list[dict[str, Any]]

CREATED = st.sampled_from([None, *(LOADED.replace(tzinfo=None) + timedelta(days=n) for n in (-800, -40, -1, 0, 1, 31))])
CHANGES = st.builds(
    lambda op, id_, seq, created, price: order(op, id_, seq, created_at=created, price=price),
    st.sampled_from("IUUUD"),
    st.integers(1, 4),
    st.integers(1, 30),  # in any order: what comes late comes among them
    CREATED,
    st.sampled_from([None, 1, 2]),
)
EVENTS = st.builds(
    lambda ident, days, second, amount: {"id": f"e{ident}", "at": AT + days * DAY + second, "amount": amount},
    st.integers(0, 3),
    st.sampled_from([-400, -1, 0, 0, 1, 31]),
    st.sampled_from([0, 1]),
    st.sampled_from([1, 2, -1]),
)


def portions(of: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[list[Rows]]:
    return st.lists(st.lists(of, min_size=1, max_size=6), min_size=1, max_size=3)


def assert_alike(
    dataset: Callable[[str], Dataset], tables: tuple[str, ...], land: list[Callable[[MemoryLake], str]]
) -> None:
    """Land files one after the other in a lake of each partitioning; the tables are equal all along."""
    with TemporaryDirectory() as folder:
        lakes = [MemoryLake(Path(folder) / cut, dataset(cut)) for cut in PARTITIONINGS]
        for put in land:
            found = []
            for lake in lakes:
                put(lake)
                lake.process()
                found.append({table: lake.rows(table) for table in tables})
            assert found[1:] == found[:1] * 2
        contents = [lake.run().content() for lake in lakes]
        assert contents[1:] == contents[:1] * 2
        assert not any(lake.undone() for lake in lakes)


def check_changes(files: list[Rows]) -> None:
    def landing(number: int, rows: Rows) -> Callable[[MemoryLake], str]:
        name = "LOAD00000001.parquet" if number == 0 else f"2026/03/01/{number:02}/c.parquet"
        return lambda lake: lake.land_changes(name, rows)

    assert_alike(lambda cut: orders(partition_by=cut), TABLES, [landing(n, rows) for n, rows in enumerate(files)])


def check_events(files: list[Rows], *, overwritten: bool) -> None:
    def landing(number: int, records: Rows) -> Callable[[MemoryLake], str]:
        name = f"2026/03/01/{0 if overwritten else number:02}/o"
        lines = [json.dumps(record) for record in records]
        return lambda lake: lake.land(name, lines, at=AT + number * 10)

    made = [landing(n, records) for n, records in enumerate(files)]
    assert_alike(lambda cut: stream(properties=AMOUNT, partition_by=cut), STREAMS, made)


@settings(max_examples=4, phases=QUICK)
@given(portions(CHANGES))
def test_changes_make_the_same_tables_however_these_are_cut(files: list[Rows]) -> None:
    check_changes(files)


@settings(max_examples=3, phases=QUICK)
@given(portions(EVENTS), st.booleans())
def test_events_make_the_same_tables_however_these_are_cut(files: list[Rows], overwritten: bool) -> None:
    check_events(files, overwritten=overwritten)


@pytest.mark.soak
@settings(max_examples=300)
@given(portions(CHANGES))
def test_changes_make_the_same_tables_however_these_are_cut_in_many_more_cases(files: list[Rows]) -> None:
    check_changes(files)


@pytest.mark.soak
@settings(max_examples=300)
@given(portions(EVENTS), st.booleans())
def test_events_make_the_same_tables_however_these_are_cut_in_many_more_cases(
    files: list[Rows], overwritten: bool
) -> None:
    check_events(files, overwritten=overwritten)
