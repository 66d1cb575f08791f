"""Gold tables that are made row by row: computed in lots, they are what they are when computed at once."""

from datetime import datetime, timedelta
from pathlib import Path

import pytest

from datalake_assets.lake.steps import gold_rows
from datalake_assets_tests.memory.lakes import AT, DAY, MemoryLake, change, customers, order, orders, stream

_ORDERED = datetime(2026, 3, 1)  # noqa: DTZ001 (as DMS writes it)


@pytest.fixture
def lake(tmp_path: Path) -> MemoryLake:
    """Two streams and two replicated tables, whose rows came by steps of their own and so lie in several files."""
    lake = MemoryLake(tmp_path / "lake", stream(), stream("views"), orders(), customers())
    for n in range(2):
        lake.land(f"{n}", [{"id": f"{n}-{k}", "at": AT + k * DAY} for k in range(3)])
        lake.land(f"{n}", [{"id": f"{n}-{k}", "at": AT - k * DAY} for k in range(2)], of="views")
        rows = [order("I", 10 * n + k, n, created_at=_ORDERED + timedelta(days=k), customer_id=n) for k in range(3)]
        lake.land_changes(f"2026/03/01/1{n}/a.parquet", rows)
        lake.land_changes(f"2026/03/01/1{n}/a.parquet", [change("I", n, n, name=f"name {n}")], of="customers")
        for name in lake.lake.datasets:
            lake.process(name)
    return lake


@pytest.mark.parametrize("rows", [1, pytest.param(7, marks=pytest.mark.soak)])
def test_lots_make_the_same_tables(lake: MemoryLake, monkeypatch: pytest.MonkeyPatch, rows: int) -> None:
    """Dates of several lots, several streams of which one has more of them, rows beside a lookup."""
    with monkeypatch.context() as patch:
        patch.setattr(gold_rows, "_ROWS_AT_ONCE", rows)
        lake.gold()
        lake.land("late", [{"id": "late", "at": AT}])
        lake.land_changes("2026/03/01/20/a.parquet", [order("U", 10, 90, created_at=_ORDERED, product_name="milk")])
        lake.run()
    lake.assert_as_fresh()


def test_a_table_of_another_shape_is_made_anew_in_lots(lake: MemoryLake, monkeypatch: pytest.MonkeyPatch) -> None:
    """All dates in one commit; a source that waits for its own rebuild is read as it is."""
    lake.gold()
    wider = lake.under(stream(), stream("views"), orders(columns={"note": {"type": "string"}}), customers())
    with monkeypatch.context() as patch:
        patch.setattr(gold_rows, "_ROWS_AT_ONCE", 2)
        wider.rebuild("orders")
        wider.gold()
    wider.assert_as_fresh()
