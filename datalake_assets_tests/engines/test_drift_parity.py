"""Columns that come and get wider: the same tables on both engines, and by both in turn."""

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from deltalake import DeltaTable

from datalake_assets.lake.engines.base import Engine
from datalake_assets.lake.engines.polars import PolarsEngine
from datalake_assets.lake.engines.spark import SparkEngine
from datalake_assets_tests import lakes
from datalake_assets_tests.replicated import CUSTOMERS, ORDERS, ReplicatedLake, change

pytestmark = [pytest.mark.spark, pytest.mark.xdist_group("spark")]

PATHS = [f"2026/01/05/{hour:02d}/20260105-{hour:02d}0000000.parquet" for hour in range(9, 13)]
TABLES = ("silver/orders", "silver/orders_history", "silver/orders_tombstones", "quarantine/orders")
NARROW = ORDERS.replace("id: {type: int64", "id: {type: int16").replace("(10,2)", "(4,2)")
DAY = datetime(2026, 1, 5, tzinfo=UTC)


def land(lake: ReplicatedLake, n: int) -> None:
    """A file that adds a column, one that widens two, one whose values are of another kind, and one as at first."""
    match n:
        case 0:
            lake.land(
                PATHS[0], [change("I", 1, 1), change("I", 2, 2, gift=7), change("D", 2, 3)], types={"gift": "int16"}
            )
        case 1:
            rows = [change("I", 2**40, 4, gift=2**40, price=Decimal("12345.6789")), change("U", 1, 5, gift=None)]
            lake.land(PATHS[1], rows, types={"id": "int64", "gift": "int64", "price": "decimal(12,4)"})
        case 2:
            rows = [change("U", 1, 6, gift=DAY, price="12345.5"), change("I", 3, 7, gift=None, price="dear")]
            lake.land(PATHS[2], rows, types={"gift": "timestamp", "price": "string"})
        case _:
            lake.land(PATHS[3], [change("I", 4, 8)])


def state(lake: ReplicatedLake) -> dict[str, object]:
    columns = {name: str(DeltaTable(lakes.table_of(lake.lake, name).uri).schema()) for name in TABLES}
    return {**lake.tables(TABLES), "columns": columns}


@pytest.mark.soak  # of each kind of drift; `make test` has a scenario of files that change their columns on Spark
def test_columns_evolve_alike_on_both_engines(spark: SparkEngine, tmp_path: Path) -> None:
    polars = PolarsEngine()
    turns: list[tuple[list[int], list[Engine]]] = [
        ([0, 1, 2, 3], [polars] * 4),
        ([2, 3, 0, 1], [spark, polars, spark, spark]),
    ]
    states, gifts = [], []
    for number, (order, engines) in enumerate(turns):
        lake = ReplicatedLake(tmp_path / str(number), NARROW, CUSTOMERS)
        for n, engine in zip(order, engines, strict=True):
            lake.engine = engine
            land(lake, n)
            lake.refresh_all()
        states.append(state(lake))
        gifts.append({row["id"]: row["gift"] for row in lake.rows("silver/orders", "id", "gift")})
    assert states[1] == states[0]
    assert gifts[0] == {1: '"2026-01-05 00:00:00.000000+00:00"', 2**40: str(2**40), 4: None}
