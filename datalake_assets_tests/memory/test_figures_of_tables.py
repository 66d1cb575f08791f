"""Gold over replicated tables of other shapes than the demo's: right figures, whatever order things came in."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from datalake_assets.lake.spec.dataset import CdcTable
from datalake_assets.lake.steps.maintain import maintain
from datalake_assets_tests.memory.lakes import LOADED, MemoryLake, change, customers, order, orders, stream

NINE = "2026/03/01/09/o.parquet"


def shop(root: Path, **columns: str) -> MemoryLake:
    return MemoryLake(root, orders(columns={name: {"type": type_} for name, type_ in columns.items()}))


def sales(lake: MemoryLake) -> list[tuple[Any, ...]]:
    return lake.rows("gold.daily_sales", "orders", "revenue")


@pytest.mark.parametrize("type_", ["int8", "int32", "int64"])
def test_whole_prices_are_summed_beyond_their_own_range(tmp_path: Path, type_: str) -> None:
    """Nine orders at two thousand millions made 820,130,816."""
    price = 100 if type_ == "int8" else 2_000_000_000
    lake = shop(tmp_path / "lake", price=type_)
    lake.land_changes(NINE, [order("I", n, n, price=price) for n in range(9)])
    lake.run()
    assert sales(lake) == [(9, 9 * price)]


def test_prices_that_are_doubles_are_summed_to_the_same_in_any_order(tmp_path: Path) -> None:
    prices = [1e15, 0.1, -1e15, 0.2, 1e-6, 1e15, -1e15, 0.3]
    lake = shop(tmp_path / "lake", price="double")
    for n, price in enumerate(prices):
        lake.land_changes(f"2026/03/01/{n + 9:02}/o.parquet", [order("I", n, n, price=price)])
        lake.run()
    assert sales(lake) == [(8, pytest.approx(0.600001))]
    lake.assert_as_fresh()


@pytest.mark.parametrize("type_", ["string", "boolean", "date"])
def test_where_prices_are_no_numbers_there_is_no_table_of_sales(tmp_path: Path, type_: str) -> None:
    """It was never computed, and `run` ended with 1 for ever."""
    lake = shop(tmp_path / "lake", price=type_)
    assert "daily_sales" not in lake.lake.gold_tables


def test_where_orders_and_customers_can_not_be_joined_there_is_no_table_of_both(tmp_path: Path) -> None:
    lake = MemoryLake(tmp_path / "lake", orders(columns={"customer_id": {"type": "string"}}), customers())
    assert "orders_enriched" not in lake.lake.gold_tables


def test_a_column_of_orders_is_not_hidden_by_one_of_customers(tmp_path: Path) -> None:
    lake = MemoryLake(tmp_path / "lake", orders(columns={"customer_name": {"type": "string"}}), customers())
    lake.land_changes(NINE, [order("I", 1, 1, customer_name="as ordered")])
    lake.land_changes(NINE, [change("I", 7, 1, name="Ada", country="GB")], of="customers")
    lake.run()
    shown = ("customer_name", "customer_country")
    assert lake.rows("gold.orders_enriched", *shown) == [("as ordered", "GB")]


@pytest.mark.parametrize("name", ["records", "first_event", "last_event", "unique_keys", "days", "hour"])
def test_a_key_may_be_called_as_a_figure_is(tmp_path: Path, name: str) -> None:
    """`records` as a key left three tables uncomputed for all sources; `days` and `hour` counted one key."""
    table = CdcTable.model_validate(
        orders().model_dump() | {"key": [name], "columns": {name: {"type": "int64"}, "id": {"type": "int64"}},
                                 "event_time": None, "on_drift": {}}
    )  # fmt: skip
    lake = MemoryLake(tmp_path / "lake", table)
    lake.land_changes(NINE, [{**change("I", n, n), name: n} for n in range(9)])
    lake.run()
    assert lake.rows("gold.daily_summary", "records", "unique_keys") == [(9, 9)]
    assert lake.rows("gold.hourly_metrics", "records", "unique_keys") == [(9, 9)]
    assert lake.rows("gold.source_statistics", "records", "unique_keys") == [(9, 9)]


def test_a_commit_time_outside_the_calendar_rejects_its_row_alone(tmp_path: Path) -> None:
    """One row of the year 10000 kept its whole partition from silver for good."""
    lake = MemoryLake(tmp_path / "lake", orders())
    good, odd = order("I", 1, 1), order("I", 2, 2)
    as_timestamp = {"committed": LOADED.replace(tzinfo=None)}
    far = {"committed": datetime(9999, 12, 31, 23, 59, 59)}  # noqa: DTZ001 (DMS writes no zone)
    frame = pl.DataFrame([good | as_timestamp, odd | far], infer_schema_length=None)
    is_odd = pl.col("id") == 2
    later = frame.with_columns(pl.when(is_odd).then(pl.col("committed").dt.offset_by("1d")).otherwise("committed"))
    file = lake.path("dms/public/orders/2026/03/01/10/odd.parquet")
    file.parent.mkdir(parents=True)
    later.write_parquet(file)
    lake.run()
    assert [i for (i,) in lake.rows("silver.orders", "id")] == [1]
    ((errors,),) = lake.rows("quarantine.orders", "errors")
    assert "is no time of the years 1 to 9999" in errors[0]
    lake.assert_as_fresh()


def test_upkeep_of_a_lookup_owes_gold_nothing(tmp_path: Path) -> None:
    """Orders were computed anew beside customers of whom nothing had changed."""
    lake = MemoryLake(tmp_path / "lake", orders(), customers())
    lake.land_changes(NINE, [order("I", n, n) for n in range(5)])
    for n in range(3):
        lake.land_changes(f"2026/03/01/{n + 9:02}/c.parquet", [change("I", n, n, name="Ada")], of="customers")
        lake.run()
    list(maintain(lake.lake, retention=timedelta(0)))
    assert lake.gold() == {}
    lake.land_changes("2026/03/01/20/c.parquet", [change("I", 7, 9, name="Bo")], of="customers")
    lake.run()
    assert set(lake.rows("gold.orders_enriched", "customer_name")) == {("Bo",)}


def test_a_dataset_whose_file_is_taken_away_leaves_the_figures(tmp_path: Path) -> None:
    both = MemoryLake(tmp_path / "lake", orders(), stream())
    both.land_changes(NINE, [order("I", 1, 1)])
    both.land("o", [{"id": "a", "at": 1_772_359_200}])
    both.run()
    assert {source for (source,) in both.rows("gold.daily_summary", "source")} == {"clicks", "orders"}
    one = both.under(stream())
    one.gold()
    for table in ("daily_summary", "hourly_metrics", "source_statistics"):
        assert {source for (source,) in one.rows(f"gold.{table}", "source")} == {"clicks"}, table
    assert one.gold() == {}


def test_a_failing_partition_holds_the_days_of_its_commits(tmp_path: Path) -> None:
    """The day the orders were placed was held, and the day they were committed went out with half of them."""
    strict = orders(max_rejected_fraction=0.05, min_records=1, history=False)
    lake = MemoryLake(tmp_path / "lake", strict)
    placed = datetime(2026, 1, 10, 12, tzinfo=UTC).replace(tzinfo=None)

    def row(n: int, day: int, **values: Any) -> dict[str, Any]:
        return order("I", n, n, created_at=placed, **values) | {"committed": f"2026-01-{day:02} 12:00:00.000000"}

    lake.land_changes("2026/01/10/12/good.parquet", [row(n, 10) for n in range(10)])
    lake.run()
    bad = [row(n, 14, price=Decimal("1.00")) | {"Op": "I" if n % 4 == 0 else "X"} for n in range(100, 120)]
    lake.land_changes("2026/01/15/12/bad.parquet", bad)
    lake.run()
    assert lake.rows("gold.daily_summary", "event_date", "records") == [(date(2026, 1, 10), 10)]
    assert lake.lake.verdicts.held()["orders"].keys() >= {date(2026, 1, 14), date(2026, 1, 15)}
