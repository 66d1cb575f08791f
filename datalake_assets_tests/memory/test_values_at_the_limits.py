"""Keys of 38 digits, NaN, dates before Christ: updated, deleted, and found by every reader of the table."""

import io
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import duckdb
import polars as pl
import pytest
from deltalake import DeltaTable, QueryBuilder

from datalake_assets_tests.frames import require_spark_with_delta, spark_session
from datalake_assets_tests.memory.lakes import MemoryLake, orders

KEYS = [Decimal(10**37 + n) for n in range(4)]
"""They differ in the last digit alone, which no double tells apart."""
BC = -210_866_803_200_000_000  # 4713 BC in microseconds: -infinity as DMS clips it
NAN = float("nan")
COLUMNS = {
    "id": {"type": "decimal(38,0)", "required": True},
    "weight": {"type": "double"},
    "born": {"type": "timestamp"},
    "day": {"type": "date"},
}


def changes(*rows: tuple[str, int, str]) -> bytes:
    """Changes (operation, which key, name) as DMS writes them."""
    frame = pl.DataFrame(
        {
            "Op": [op for op, _, _ in rows],
            "committed": ["2026-01-05 09:15:00.000000"] * len(rows),
            "seq": [f"{n:035d}" for n in range(len(rows))],
            "product_name": [name for _, _, name in rows],
            "weight": [NAN if op != "D" else None for op, _, _ in rows],
        }
    ).with_columns(
        id=pl.Series([KEYS[n] for _, n, _ in rows], dtype=pl.Decimal(38, 0)),
        born=pl.Series([BC] * len(rows), dtype=pl.Int64).cast(pl.Datetime("us")),
        day=pl.Series([-2_000_000] * len(rows), dtype=pl.Int32).cast(pl.Date),
    )
    file = io.BytesIO()
    frame.write_parquet(file)
    return file.getvalue()


@pytest.fixture(scope="module", params=["none", "month"])
def uri(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Silver of four rows, of which one was updated and one deleted by later files."""
    folder = tmp_path_factory.mktemp("lake")
    lake = MemoryLake(folder, orders(columns=COLUMNS, partition_by=request.param))
    lake.land_changes("LOAD00000001.parquet", changes(*(("I", n, f"old {n}") for n in range(4))))
    lake.process()
    lake.land_changes("2026/01/05/09/20260105-091500123.parquet", changes(("U", 1, "new 1"), ("D", 2, "")))
    lake.process()
    return str(folder / "silver" / "orders")


def _by_polars(uri: str, key: Decimal) -> Iterator[tuple[Any, ...]]:
    found = pl.scan_delta(uri).filter(pl.col("id") == pl.lit(key, pl.Decimal(38, 0)))
    yield from found.select("product_name", pl.col("weight").is_nan(), pl.col("born").to_physical()).collect().rows()


def _by_datafusion(uri: str, key: Decimal) -> Iterator[tuple[Any, ...]]:
    sql = f"SELECT product_name, isnan(weight), CAST(born AS BIGINT) FROM t WHERE id = CAST('{key}' AS DECIMAL(38,0))"
    yield from pl.DataFrame(QueryBuilder().register("t", DeltaTable(uri)).execute(sql).read_all()).rows()


def _by_duckdb(uri: str, key: Decimal) -> Iterator[tuple[Any, ...]]:
    connection = duckdb.connect().register("t", DeltaTable(uri).to_pyarrow_dataset())
    sql = "SELECT product_name, isnan(weight), epoch_us(born) FROM t WHERE id = CAST(? AS DECIMAL(38,0))"
    yield from connection.execute(sql, [str(key)]).fetchall()


def _by_spark(uri: str, key: Decimal) -> Iterator[tuple[Any, ...]]:
    require_spark_with_delta()
    rows = spark_session().read.format("delta").load(uri).filter(f"id = CAST('{key}' AS DECIMAL(38,0))")
    for row in rows.selectExpr("product_name", "isnan(weight)", "unix_micros(born)").collect():
        yield tuple(row)


_SPARK = [pytest.mark.spark, pytest.mark.xdist_group("spark")]
READERS = [
    pytest.param(_by_polars, id="polars"),
    pytest.param(_by_datafusion, id="datafusion"),
    pytest.param(_by_duckdb, id="duckdb"),
    pytest.param(_by_spark, id="spark", marks=_SPARK),
]


@pytest.mark.parametrize("find", READERS)
def test_a_row_is_found_by_its_key_and_no_other(uri: str, find: Callable[[str, Decimal], Iterator[Any]]) -> None:
    found = [list(find(uri, key)) for key in KEYS]
    assert found == [[("old 0", True, BC)], [("new 1", True, BC)], [], [("old 3", True, BC)]]
