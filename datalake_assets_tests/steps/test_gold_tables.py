"""Gold after silver: exact figures against DuckDB, late data, and lookups that re-open the dates they stand beside."""

import random
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest

from datalake_assets.lake.store.snapshot import Snapshot
from datalake_assets.lake.store.table import Table
from datalake_assets_tests import lakes
from datalake_assets_tests.dms_files import Row
from datalake_assets_tests.replicated import CUSTOMERS, ORDERS, ReplicatedLake, change

MIDNIGHT = datetime(2026, 1, 1, tzinfo=UTC)
DAYS = [date(2026, 1, n) for n in range(1, 6)]


def customer(op: str | None, id_: int, seq: int | None, name: str, country: str | None = "NL") -> dict[str, Any]:
    header = {key: change(op, id_, seq)[key] for key in ("Op", "dms_timestamp", "ar_h_change_seq")}
    return header | {"id": id_, "name": name, "country": country}


def random_shop(lake: ReplicatedLake, *, seed: int) -> None:
    """Some hundred orders over five days, a few rejects, and two hours of changes to them."""
    luck = random.Random(seed)

    def order(op: str | None, id_: int, seq: int | None) -> dict[str, Any]:
        placed = MIDNIGHT + timedelta(seconds=luck.randrange(5 * 86_400), microseconds=luck.randrange(10**6))
        return change(
            op,
            id_,
            seq,
            created=placed,
            product_name=luck.choice(["tea", "cup", "pot", None]),
            customer_id=luck.choice([*range(1, 9), None]),
            price=luck.choice([Decimal(luck.randrange(-(10**8), 10**9)) / 100, None]),
        )

    lake.land("LOAD00000001.parquet", [order(None, n, None) for n in range(400)])
    for hour in (9, 10):
        rows: list[Row] = []
        for n in range(60):
            op, id_, seq = luck.choice("IUD"), luck.randrange(430), hour * 1000 + n
            rows.append(change("D", id_, seq) if op == "D" else order(op, id_, seq))
        lake.land(f"2026/01/05/{hour:02d}/20260105-{hour:02d}1500000.parquet", rows)
    people = [customer(None, n, None, f"name {n}", luck.choice(["NL", None])) for n in range(1, 8)]
    lake.land("LOAD00000001.parquet", people, table="customers")


def ask(lake: ReplicatedLake, query: str) -> list[dict[str, Any]]:
    """A query by DuckDB over the tables of the lake."""
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        for zone, name in (
            ("silver", "orders"),
            ("silver", "orders_history"),
            ("silver", "customers"),
            ("quarantine", "orders"),
            ("gold", "daily_summary"),
        ):
            table = lakes.table_of(lake.lake, f"{zone}/{name}").open().handle
            if table is not None:
                connection.register(f"{zone}_{name}", table.to_pyarrow_dataset())
        rows: list[dict[str, Any]] = connection.sql(query).to_arrow_table().to_pylist()
    return sorted(({k: row[k] for k in sorted(row)} for row in rows), key=lambda row: [str(v) for v in row.values()])


CHANGES = """(
    SELECT 'orders' AS source, id, _committed_at, quality_score FROM silver_orders_history
    UNION ALL SELECT 'customers', id, _committed_at, quality_score FROM silver_customers)"""
"""What is counted by the day of the commit: the history where a table keeps one, else its live rows."""

FIGURES = {
    "gold/daily_sales": """
        SELECT event_date, product_name, count(*) AS orders, coalesce(sum(price), 0)::DECIMAL(38, 2) AS revenue,
               coalesce(sum(price), 0)::DOUBLE / count(*)::DOUBLE AS average_order
        FROM silver_orders WHERE event_date IS NOT NULL GROUP BY ALL""",
    "gold/orders_enriched": """
        SELECT o.id, o.customer_id, o.product_name, o.price, o.created_at, o.event_date,
               c.name AS customer_name, c.country AS customer_country
        FROM silver_orders o LEFT JOIN silver_customers c ON o.customer_id = c.id WHERE o.event_date IS NOT NULL""",
    "gold/daily_summary": f"""
        WITH days AS (
            SELECT source, _committed_at::DATE AS event_date, count(*) AS records, count(DISTINCT id) AS unique_keys,
                   min(_committed_at) AS first_event, max(_committed_at) AS last_event,
                   sum(round(quality_score * 1e6)::BIGINT)::BIGINT AS quality
            FROM {CHANGES} GROUP BY ALL),
        landed AS (
            SELECT 'orders' AS source, partition[:10]::DATE AS event_date, count(*) AS rejects
            FROM quarantine_orders GROUP BY ALL)
        SELECT source, event_date, coalesce(records, 0) AS records, coalesce(unique_keys, 0) AS unique_keys,
               coalesce(rejects, 0) AS rejects, first_event, last_event,
               quality::DOUBLE / (records * 1000000)::DOUBLE AS mean_quality
        FROM days FULL JOIN landed USING (source, event_date)""",
    "gold/hourly_metrics": f"""
        SELECT source, _committed_at::DATE AS event_date, date_trunc('hour', _committed_at) AS hour,
               count(*) AS records, count(DISTINCT id) AS unique_keys,
               sum(round(quality_score * 1e6)::BIGINT)::DOUBLE / (count(*) * 1000000)::DOUBLE AS mean_quality,
               min(_committed_at) AS first_event, max(_committed_at) AS last_event
        FROM {CHANGES} GROUP BY ALL""",
    "gold/source_statistics": """
        WITH live AS (
            SELECT 'orders' AS source, quality_score, _event_time FROM silver_orders
            UNION ALL SELECT 'customers', quality_score, _event_time FROM silver_customers),
        days AS (
            SELECT source, count(*) AS days, sum(rejects)::BIGINT AS rejects FROM gold_daily_summary GROUP BY ALL)
        SELECT source, any_value(days) AS days, count(*) AS records, count(*) AS unique_keys,
               any_value(rejects) AS rejects,
               any_value(rejects)::DOUBLE / (count(*) + any_value(rejects))::DOUBLE AS rejected_fraction,
               sum(round(quality_score * 1e6)::BIGINT)::DOUBLE / (count(*) * 1000000)::DOUBLE AS mean_quality,
               min(_event_time) AS first_event, max(_event_time) AS last_event
        FROM live JOIN days USING (source) GROUP BY ALL""",
}  # fmt: skip


@pytest.mark.parametrize("seed", [1, 2])
def test_gold_figures_are_those_that_duckdb_finds_in_silver(tmp_path: Path, seed: int) -> None:
    lake = ReplicatedLake(tmp_path)
    random_shop(lake, seed=seed)
    for table in ("orders", "customers"):
        for partition in lake.waiting(table):
            lake.refresh(table, partitions=[partition])
            lake.refresh_gold()
    lake.refresh_gold()
    assert lake.rows("quarantine/orders")
    for table, query in FIGURES.items():
        assert lake.rows(table) == ask(lake, query), table


def test_late_data_reopen_the_dates_they_touch_and_no_others(tmp_path: Path) -> None:
    lake = ReplicatedLake(tmp_path)
    orders = [change(None, n, None, created=MIDNIGHT + timedelta(days=n % 5), price=Decimal(1)) for n in range(20)]
    lake.land("LOAD00000001.parquet", orders)
    lake.refresh()
    assert lake.refresh_gold()["daily_sales"] == set(DAYS)
    assert lake.refresh_gold() == {}
    late = datetime(2023, 5, 1, 12, tzinfo=UTC)
    lake.land(
        "2026/01/05/09/20260105-091500000.parquet",
        [change("U", 0, 1, created=late), change("D", 6, 2), change("U", 12, 3, created=MIDNIGHT + timedelta(days=3))],
    )
    lake.refresh()
    touched = {late.date(), DAYS[0], DAYS[1], DAYS[2], DAYS[3]}
    assert {name: dates for name, dates in lake.refresh_gold().items() if name == "daily_sales"} == {
        "daily_sales": touched
    }
    counts = {row["event_date"]: row["orders"] for row in lake.rows("gold/daily_sales")}
    assert counts == {late.date(): 1, DAYS[0]: 3, DAYS[1]: 3, DAYS[2]: 3, DAYS[3]: 5, DAYS[4]: 4}


@pytest.fixture
def with_customers(tmp_path: Path) -> ReplicatedLake:
    """Orders of two customers on five days, computed to gold."""
    lake = ReplicatedLake(tmp_path)
    customers = [customer(None, 1, None, "Ada"), customer(None, 2, None, "Bo"), customer(None, 3, None, "No orders")]
    lake.land("LOAD00000001.parquet", customers, table="customers")
    buyers = [1, 2, 1, 2, None]
    orders = [
        change(None, n, None, created=MIDNIGHT + timedelta(days=n), customer_id=buyer) for n, buyer in enumerate(buyers)
    ]
    lake.land("LOAD00000001.parquet", orders)
    lake.refresh("customers")
    lake.refresh()
    lake.refresh_gold()
    assert lake.owed() == {}
    return lake


RENAMES: list[tuple[Callable[[], dict[str, Any]], set[date]]] = [
    (lambda: customer("U", 1, 1, "Ada Byron"), {DAYS[0], DAYS[2]}),
    (lambda: customer("U", 2, 1, "Bo", None), {DAYS[1], DAYS[3]}),
    (lambda: {k: v for k, v in customer("D", 2, 1, "").items() if k not in {"name", "country"}}, {DAYS[1], DAYS[3]}),
    (lambda: customer("U", 3, 1, "Still no orders"), set()),
    (lambda: customer("U", 1, 1, "Ada"), set()),
    (lambda: customer("I", 4, 1, "New"), set()),
]


@pytest.mark.parametrize(("row", "dates"), RENAMES)
def test_a_customer_who_changes_reopens_exactly_the_dates_of_their_orders(
    with_customers: ReplicatedLake, row: Callable[[], dict[str, Any]], dates: set[date]
) -> None:
    lake = with_customers
    lake.land("2026/01/05/09/20260105-091500000.parquet", [row()], table="customers")
    lake.refresh("customers")
    computed = lake.refresh_gold().get("orders_enriched", set())
    assert {day for day in computed if day <= DAYS[-1]} == dates  # what changed is found by a step of today's date
    assert lake.owed() == {}
    assert lake.rows("gold/orders_enriched") == ask(lake, FIGURES["gold/orders_enriched"])


def test_a_customer_of_orders_before_the_first_and_after_the_current_partition_is_renamed_there_too(
    tmp_path: Path,
) -> None:
    """Such orders kept the old name for ever: their dates were found, and no partition computed them."""
    lake = ReplicatedLake(tmp_path)
    far = [datetime(1999, 1, 1, tzinfo=UTC), MIDNIGHT, datetime(2099, 1, 1, tzinfo=UTC)]
    lake.land("LOAD00000001.parquet", [customer(None, 1, None, "Ada")], table="customers")
    orders = [change(None, n, None, created=at, customer_id=1) for n, at in enumerate(far)]
    lake.land("LOAD00000001.parquet", orders)
    for table in ("orders", "customers"):
        lake.refresh(table)
    lake.refresh_gold()
    rename = [customer("U", 1, 1, "Ada Byron")]
    lake.land("2026/01/05/09/20260105-091500000.parquet", rename, table="customers")
    lake.refresh("customers")
    lake.refresh_gold()
    names = lake.rows("gold/orders_enriched", "event_date", "customer_name")
    assert names == [{"customer_name": "Ada Byron", "event_date": at.date()} for at in far]


def test_a_look_for_what_gold_owes_opens_no_table_that_has_not_moved(
    with_customers: ReplicatedLake, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    open_table = Table.open

    def counting(table: Table) -> Snapshot:
        opened.append(table.spec.sql_name)
        return open_table(table)

    lake = with_customers.lake
    sources = {table.spec.sql_name for table in lake.sources().values() if table.open().exists}
    monkeypatch.setattr(Table, "open", counting)
    assert lakes.owed(lake) == {}
    assert len(sources) > 5
    assert not sources & set(opened)


def test_a_lake_without_orders_or_customers_has_no_tables_of_theirs(tmp_path: Path) -> None:
    other = CUSTOMERS.replace("name: customers", "name: people").replace("public/customers", "public/people")
    lake = ReplicatedLake(tmp_path / "people", other)
    lake.land("LOAD00000001.parquet", [customer(None, 1, None, "Ada")], table="people")
    lake.refresh("people")
    lake.refresh_gold()
    assert not {"daily_sales", "orders_enriched"} & lake.lake.gold_tables.keys()
    alone = ReplicatedLake(tmp_path / "orders", ORDERS)
    alone.land("LOAD00000001.parquet", [change(None, 1, None)])
    alone.refresh()
    assert set(alone.refresh_gold()) == {"daily_sales", "daily_summary", "hourly_metrics", "source_statistics"}
