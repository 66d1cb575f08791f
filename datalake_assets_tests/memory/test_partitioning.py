"""How a dataset's tables are cut: steps rewrite what changed, another cut waits for a rebuild, upkeep goes on."""

from datetime import date, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from deltalake import DeltaTable

from datalake_assets.lake.steps.maintain import maintain
from datalake_assets.lake.steps.rebuild import RebuildRefusedError
from datalake_assets.lake.steps.shape import ShapeChangedError
from datalake_assets.lake.store.upkeep import Upkeep
from datalake_assets_tests.memory.lakes import (
    AT,
    DAY,
    FIRST_DAY,
    HOUR,
    LOADED,
    MemoryLake,
    before_the_next_change_of,
    order,
    orders,
    stream,
)

LOAD = "LOAD00000001.parquet"
CHANGED = [("none", "month"), ("month", "day"), ("day", "none")]


def placed(months_ago: int) -> Any:
    """When an order of some months ago was placed."""
    return (LOADED - timedelta(days=31 * months_ago)).replace(tzinfo=None)


def yearly(root: Path, partition_by: str, **changes: Any) -> MemoryLake:
    """A lake with 24 orders, two of each month of a year, and one without a date."""
    lake = MemoryLake(root, orders(partition_by=partition_by, **changes))
    rows = [order("I", n, 0, created_at=placed(n // 2)) for n in range(24)]
    lake.land_changes(LOAD, [*rows, order("I", 99, 0, created_at=None)])
    lake.process()
    return lake


def files(lake: MemoryLake, suffix: str = "") -> set[str]:
    """The live files of silver, or of another of the dataset's tables."""
    spec = next(s for s in lake.lake.specs() if s.sql_name == f"silver.{lake.dataset.name}{suffix}")
    return set(lake.lake.table(spec).open().files["path"])


def cut_of(lake: MemoryLake) -> dict[str, list[str]]:
    """By which columns the dataset's tables in silver are cut."""
    specs = [spec for spec in lake.lake.specs() if spec.zone == "silver"]
    return {spec.name: list(lake.lake.table(spec).open().partition_by) for spec in specs}


@pytest.mark.parametrize(("partition_by", "parts"), [("month", 13), ("day", 13)])
def test_a_step_rewrites_only_the_files_that_hold_what_changed(tmp_path: Path, partition_by: str, parts: int) -> None:
    lake = yearly(tmp_path / "lake", partition_by)
    before, history = files(lake), files(lake, "_history")
    assert len(before) == len(history) == parts
    # An order is changed in its month, one is deleted, and one moves to another month.
    changes = [order("U", 0, 1, product_name="milk"), order("D", 8, 2), order("U", 16, 3, created_at=placed(2))]
    lake.land_changes("2026/03/01/10/c.parquet", changes)
    lake.process()
    assert len(before - files(lake)) == 3
    assert len(history - files(lake, "_history")) == 3
    found = dict(lake.rows("silver.orders", "id", "event_date"))
    assert (8 in found, found[16], found[99]) == (False, placed(2).date(), None)
    lake.assert_as_fresh(gold=False)


def test_a_table_is_read_by_dates_and_keys_in_few_of_its_partitions(tmp_path: Path) -> None:
    lake = yearly(tmp_path / "lake", "month")
    seen = lake.lake.silver(lake.dataset).open()
    assert seen.files_within({"event_date": [placed(3).date()]}).height == 1
    for path in set(seen.files["path"]) - set(seen.files_within({"event_date": [FIRST_DAY]})["path"]):
        Path(seen.table.uri, path).unlink()  # what is not needed is not missed
    rows = lake.engine.rows(lake.engine.scan(seen, dates=[FIRST_DAY]))
    assert sorted(row["id"] for row in rows) == [0, 1]


@pytest.mark.parametrize(("before", "after"), CHANGED)
def test_a_replicated_table_that_is_cut_otherwise_waits_for_a_rebuild(tmp_path: Path, before: str, after: str) -> None:
    lake = yearly(tmp_path / "lake", before)
    lake.gold()
    changed = lake.under(orders(partition_by=after))
    changed.land_changes("2026/03/01/10/c.parquet", [order("U", 16, 3, created_at=placed(2)), order("D", 8, 2)])
    assert changed.waiting().waiting == {}
    assert f"partition_by: {before} -> {after}" in changed.waiting().later[0]
    assert "Run `datalake rebuild orders`" in changed.waiting().later[0]
    with pytest.raises(ShapeChangedError, match=f"partition_by: {before} -> {after}"):
        changed.step([HOUR])
    assert changed.gold() == {}  # which reads the table as it is, and owes nothing
    version, table_id = lake.lake.silver(lake.dataset).open().version, lake.lake.silver(lake.dataset).open().table_id
    changed.rebuild()
    silver = changed.lake.silver(changed.dataset).open()
    assert (silver.version, silver.table_id) == (version + 1, table_id)
    columns = {"none": [], "month": ["event_month"], "day": ["event_date"]}[after]
    assert cut_of(changed) == {"orders": columns, "orders_history": ["is_current", *columns], "orders_tombstones": []}
    changed.run()
    changed.assert_as_fresh()
    assert changed.undone() == []


@pytest.mark.parametrize(("before", "after"), CHANGED)
def test_a_stream_that_is_cut_otherwise_waits_for_a_rebuild(tmp_path: Path, before: str, after: str) -> None:
    lake = MemoryLake(tmp_path / "lake", stream(partition_by=before))
    gone = lake.land("gone", [{"id": "gone", "at": AT - 40 * DAY}, {"id": "a", "at": AT, "x": 1}])
    lake.land("o", [{"id": "a", "at": AT}, {"id": "b", "at": AT + DAY}])
    lake.run()
    lake.path(gone).unlink()
    changed = lake.under(stream(partition_by=after))
    changed.land("p", [{"id": "c", "at": AT + 31 * DAY}, {"id": "b", "at": AT + DAY, "x": 2}])
    changed.admit()
    with pytest.raises(ShapeChangedError, match=f"partition_by: {before} -> {after}"):
        changed.step([HOUR])
    changed.rebuild()
    changed.run()
    columns = {"none": [], "month": ["event_month"], "day": ["event_date"]}[after]
    assert cut_of(changed) == {"clicks": columns, "clicks_duplicates": columns}
    assert changed.ids() == ["a", "b", "c", "gone"]
    assert len(changed.rows("silver.clicks_duplicates")) == 2
    assert changed.undone() == []


@pytest.mark.parametrize(("history", "swapped_first"), [(True, "silver.orders_history"), (False, "silver.orders")])
def test_a_rebuild_beside_a_step_under_the_older_file_takes_in_what_that_brings(
    tmp_path: Path, history: bool, swapped_first: str
) -> None:
    lake = yearly(tmp_path / "lake", "none", history=history)
    changed = lake.under(orders(partition_by="month", history=history))

    def late() -> None:
        lake.land_changes("2026/03/01/10/c.parquet", [order("U", 16, 3, created_at=placed(2)), order("I", 30, 4)])
        lake.process()

    with before_the_next_change_of(swapped_first, late, verb="swap"):
        changed.rebuild()
    assert dict(changed.rows("silver.orders", "id", "event_date"))[30] == FIRST_DAY
    assert cut_of(changed)["orders"] == ["event_month"]
    changed.run()
    changed.assert_as_fresh()


def test_a_step_under_the_older_file_adds_nothing_beside_a_rebuild_that_is_half_done(tmp_path: Path) -> None:
    lake = yearly(tmp_path / "lake", "none")
    changed = lake.under(orders(partition_by="month"))

    def late() -> None:
        lake.land_changes("2026/03/01/10/c.parquet", [order("I", 30, 4)])
        with pytest.raises(ShapeChangedError, match="partition_by: month -> none"):
            lake.process()

    with before_the_next_change_of("silver.orders", late, verb="swap"):
        changed.rebuild()
    changed.run()
    changed.assert_as_fresh()


def test_a_rebuild_that_is_refused_leaves_the_table_cut_as_it_was(tmp_path: Path) -> None:
    lake = yearly(tmp_path / "lake", "none")
    before = lake.content(gold=False)
    lake.path(f"dms/public/orders/{LOAD}").unlink()
    changed = lake.under(orders(partition_by="month"))
    with pytest.raises(RebuildRefusedError, match="can't be made anew without 1 objects"):
        changed.rebuild()
    assert lake.content(gold=False) == before
    assert cut_of(lake)["orders"] == []


def test_upkeep_keeps_each_partition_lean_and_leaves_a_table_that_waits_for_a_rebuild(tmp_path: Path) -> None:
    lake = yearly(tmp_path / "lake", "month")
    for n in range(3):
        rows = [order("I", 100 + n, n, created_at=placed(0)), order("I", 200 + n, n, created_at=None)]
        lake.land_changes(f"2026/03/01/{10 + n}/c.parquet", rows)
        lake.process()
    before = lake.content(gold=False)
    waiting = lake.under(orders(partition_by="day"))
    spared = files(lake)
    list(maintain(waiting.lake, retention=timedelta(days=1)))
    assert files(lake) == spared
    done = {d.table: d for d in maintain(lake.lake, retention=timedelta(0)) if isinstance(d, Upkeep)}
    assert (done["silver.orders"].live_before, done["silver.orders"].live_after) == (13 + 2 * 3, 13)
    assert lake.content(gold=False) == before
    lake.assert_as_fresh(gold=False)


def test_other_readers_find_the_month_beside_the_date(tmp_path: Path) -> None:
    lake = yearly(tmp_path / "lake", "month")
    table = DeltaTable(lake.lake.silver(lake.dataset).uri)
    march = pl.DataFrame(table.to_pyarrow_table(filters=[("event_month", "=", date(2026, 3, 1))]))
    assert sorted(march["id"]) == [0, 1]
    assert pl.scan_delta(table).filter(pl.col("event_month").is_null()).collect()["id"].to_list() == [99]
