"""The bounds that stand in a table's log never hide a row: what can't be given exactly is left out or widened."""

from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from deltalake import DeltaTable

from datalake_assets.lake.spec.table_spec import TableColumn, TableSpec
from datalake_assets.lake.store.files import statistics
from datalake_assets.lake.store.table import Table

UTC_MICROSECONDS = pl.Datetime("us", "UTC")


def bounds(values: list[Any], dtype: pl.DataType) -> tuple[Any, Any]:
    """The least and the greatest value that the log would hold; None for none."""
    found = statistics(pl.DataFrame({"x": pl.Series(values, dtype=dtype)}), ["x"])
    return found["minValues"].get("x"), found["maxValues"].get("x")


@pytest.mark.parametrize(
    ("values", "dtype", "expected"),
    [
        ([3, None, -5], pl.Int64(), (-5, 3)),
        ([None, None], pl.Int64(), (None, None)),
        ([date(1, 1, 1), date(9999, 12, 31)], pl.Date(), ("0001-01-01", "9999-12-31")),
        ([Decimal("-1.50"), Decimal("2.25")], pl.Decimal(10, 2), (-1.5, 2.25)),
        (["b", "a"], pl.String(), ("a", "b")),
    ],
)
def test_bounds_are_the_least_and_the_greatest_value(
    values: list[Any], dtype: pl.DataType, expected: tuple[Any, Any]
) -> None:
    assert bounds(values, dtype) == expected


def test_a_long_texts_bounds_are_cut_and_the_upper_one_is_rounded_up() -> None:
    low, high = bounds(["a" * 100, "b" * 64, "b" * 65], pl.String())
    assert low == "a" * 64
    assert high > "b" * 65
    assert len(high) == 65


def test_a_timestamps_bounds_are_whole_milliseconds_around_it() -> None:
    moment = datetime(2026, 3, 1, 10, 0, 0, 1_500, tzinfo=UTC)
    assert bounds([moment], UTC_MICROSECONDS) == ("2026-03-01T10:00:00.001Z", "2026-03-01T10:00:00.002Z")
    before_1970 = datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)
    assert bounds([before_1970], UTC_MICROSECONDS) == ("1969-12-31T23:59:59.999Z", "1970-01-01T00:00:00.000Z")


@pytest.mark.parametrize("text", ["-4712-01-01", "20000-01-01"])
def test_a_timestamp_outside_the_years_1_to_9999_leaves_its_column_without_bounds(text: str) -> None:
    year = int(text.rpartition("-01-01")[0])
    ticks = (year - 1970) * 31_556_952 * 1_000_000
    column = pl.Series([ticks, 0], dtype=pl.Int64).cast(UTC_MICROSECONDS)
    found = statistics(pl.DataFrame({"x": column}), ["x"])
    assert (found["minValues"], found["maxValues"], found["nullCount"]) == ({}, {}, {"x": 0})


def test_nulls_are_counted() -> None:
    assert statistics(pl.DataFrame({"x": [1, None, None]}), ["x", "absent"])["nullCount"] == {"x": 2}


def columns(**types: str) -> TableSpec:
    declared = {name: TableColumn(type_) for name, type_ in types.items()}
    return TableSpec("silver", "table", "A table of a test.", declared, key=("id",))


def test_decimals_of_more_than_15_digits_have_no_bounds_because_a_double_rounds_them() -> None:
    assert columns(id="decimal(15,2)").statistics == ("id",)
    assert columns(id="decimal(16,2)").statistics == ()


def test_dates_times_and_keys_have_bounds_and_texts_lists_and_odd_names_none() -> None:
    spec = columns(id="string", at="timestamp", day="date", note="string", days="list<date>", n="int64")
    assert spec.statistics == ("id", "at", "day")
    assert TableSpec("gold", "t", "A test.", {"a-b": TableColumn("date")}, key=("a-b",)).statistics == ()


@pytest.mark.parametrize(
    ("type_", "value", "dtype"),
    [
        ("decimal(38,0)", Decimal(12345678901234567890123456789012345678), pl.Decimal(38, 0)),
        ("decimal(20,2)", Decimal("123456789012345678.91"), pl.Decimal(20, 2)),
        ("int64", 2**63 - 1, pl.Int64()),
        ("string", "é" * 200, pl.String()),
        ("timestamp", datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC), UTC_MICROSECONDS),
        ("timestamp", datetime(1, 1, 1, tzinfo=UTC), UTC_MICROSECONDS),
    ],
)
def test_a_row_is_found_changed_and_removed_by_its_extreme_key(
    tmp_path: Path, type_: str, value: Any, dtype: pl.DataType
) -> None:
    """A decimal key of 20 digits: updates doubled the row, deletes removed nothing, a query by key found nothing."""
    spec = TableSpec("silver", "t", "A test.", {"id": TableColumn(type_), "n": TableColumn("int64")}, key=("id",))
    place = Table(spec, str(tmp_path / "t"))
    keys = pl.DataFrame({"id": pl.Series([value], dtype=dtype)})
    place.open().change(add=keys.with_columns(n=pl.lit(1, pl.Int64)))
    place.open().change(add=keys.with_columns(n=pl.lit(2, pl.Int64)), remove=keys, on=["id"])
    assert place.open().scan_keys(keys).select("n").collect().rows() == [(2,)]
    found = pl.scan_delta(DeltaTable(place.uri)).filter(pl.col("id") == pl.lit(value, dtype)).select("n").collect()
    assert found.rows() == [(2,)]
    place.open().change(remove=keys, on=["id"])
    assert place.open().row_count == 0
