"""A dataset file that gains a column: after a rebuild old rows have the value that landed, and everything goes on."""

from pathlib import Path

import polars as pl

from datalake_assets_tests import lakes, streams
from datalake_assets_tests.replicated import CUSTOMERS, ORDERS, ReplicatedLake, change

_WITHOUT_CUSTOMER = ORDERS.replace("  customer_id: {type: int64}\n", "")
_FIRST, _SECOND = "2026/01/05/09/20260105-090000000.parquet", "2026/01/05/10/20260105-100000000.parquet"


def test_a_table_gains_a_column(tmp_path: Path) -> None:
    before = ReplicatedLake(tmp_path, _WITHOUT_CUSTOMER, CUSTOMERS)
    before.land(_FIRST, [change("I", 1, 1), change("I", 2, 2)], types={"customer_id": "int64"})
    before.refresh()
    before.refresh_gold()

    after = ReplicatedLake(tmp_path, ORDERS, CUSTOMERS)
    after.land(_SECOND, [change("U", 2, 3, customer_id=8), change("I", 3, 4)])
    after.rebuild()
    after.refresh()
    after.refresh_gold()
    assert after.silver("orders", "customer_id") == {1: (7,), 2: (8,), 3: (7,)}
    current = [row for row in after.rows("silver/orders_history") if row["is_current"]]
    assert {row["id"]: row["customer_id"] for row in current} == {1: 7, 2: 8, 3: 7}
    enriched = after.rows("gold/orders_enriched", "id", "customer_id")
    assert {row["id"]: row["customer_id"] for row in enriched} == {1: 7, 2: 8, 3: 7}


def test_gold_that_wants_a_column_which_silver_has_not_seen_yet_finds_it_empty(tmp_path: Path) -> None:
    before = ReplicatedLake(tmp_path, _WITHOUT_CUSTOMER, CUSTOMERS)
    before.land(_FIRST, [{name: value for name, value in change("I", 1, 1).items() if name != "customer_id"}])
    before.refresh()
    after = ReplicatedLake(tmp_path, ORDERS, CUSTOMERS)
    assert "orders_enriched" in after.refresh_gold()
    assert after.rows("gold/orders_enriched", "id", "customer_id") == [{"customer_id": None, "id": 1}]


def test_a_stream_gains_a_field(tmp_path: Path) -> None:
    for hour, properties in enumerate(({}, {"page": {"type": "string"}})):
        dataset = streams.stream(properties=properties)
        lake = streams.lake_in(tmp_path, dataset)
        record = {"id": f"{hour}", "at": streams.AT, "page": "/"}
        streams.land(lake, f"firehose/clicks/2026/03/01/1{hour}/one.gz", [record])
        if hour:
            lakes.rebuild(lake, "clicks")
        streams.process(lake, dataset, f"2026-03-01-1{hour}:00")
    silver = pl.read_delta(str(tmp_path / "silver" / "clicks")).sort("id")
    assert silver.select("id", "page", "_unknown").rows() == [("0", "/", None), ("1", "/", None)]
