"""The gold tables' figures, on rows of silver that a reader can add up."""

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest

from datalake_assets.lake.gold.registry import gold_tables
from datalake_assets.lake.gold.streams import joined_key
from datalake_assets.lake.spec.dataset import Dataset
from datalake_assets_tests.frames import Constructor, Frame, Rows, assert_equal_rows, rows_of
from datalake_assets_tests.transforms.shop import CUSTOMERS, ORDERS, QUARANTINE, SHOP, silver_types

TABLES = gold_tables(SHOP)
DAY_1, DAY_2 = date(2026, 1, 1), date(2026, 1, 2)


def at(day: int, hour: int, minute: int = 0) -> datetime:
    return datetime(2026, 1, day, hour, minute, tzinfo=UTC)


def row(moment: datetime | None, *, quality: float = 1.0, committed: int = 1, **values: Any) -> dict[str, Any]:
    """A row of silver; `committed` is the day on whose 8 o'clock its newest change was committed."""
    day = None if moment is None else moment.date()
    name = "-".join(str(v) for v in values.values())
    lineage = {"source_filename": "file", "record_hash": name, "quality_score": quality}
    return values | {"_event_time": moment, "event_date": day, "_committed_at": at(committed, 8)} | lineage


ORDER_ROWS = [
    row(at(1, 0), id=1, customer_id=7, product_name="tea", price=Decimal("0.10")),
    row(at(1, 23, 59), id=2, customer_id=8, product_name="tea", price=Decimal("0.20"), quality=0.5),
    row(at(1, 12), id=3, customer_id=9, product_name="cup", price=Decimal("99999999.99")),
    row(at(2, 1), id=4, customer_id=None, product_name=None, price=None, quality=0.25, committed=2),
    row(at(2, 2), id=5, customer_id=7, product_name="tea", price=Decimal("1.00"), committed=2),
    row(None, id=6, customer_id=7, product_name="tea", price=Decimal("5.00"), committed=2),
]
CUSTOMER_ROWS = [row(None, id=7, name="Ada", country="GB"), row(None, id=8, name="Bo", country=None)]
CLICK_ROWS = [
    row(at(1, 5, 1), device="a", number=1, at=1, kind="cart:add", quality=0.75),
    row(at(1, 5, 59), device="a", number=2, at=1, kind=None),
    row(at(1, 6), device="b", number=1, at=1, kind="cart:add"),
    row(at(1, 7), device="b", number=2, at=1, kind="cart:add"),
]
PING_ROWS = [row(at(2, 3), at=1), row(at(2, 4), at=2)]
REJECTS = [
    {"dataset": "clicks", "partition": p, "raw": "{}"} for p in ("2026-01-01-05:00", "2026-01-01-06:00", "2026-01-09")
]


@pytest.fixture
def frames(frame: Constructor) -> dict[str, Frame]:
    rows = {"orders": ORDER_ROWS, "customers": CUSTOMER_ROWS, "clicks": CLICK_ROWS, "pings": PING_ROWS}
    silver = {f"silver/{name}": frame(r, silver_types(SHOP[name])) for name, r in rows.items()}
    return silver | {"quarantine/clicks": frame(REJECTS, QUARANTINE)}


def figures(table: str, frames: dict[str, Frame]) -> Frame:
    return TABLES[table].compute(frames).select(*TABLES[table].columns)


def test_daily_sales_counts_orders_and_adds_up_their_prices_exactly(frames: dict[str, Frame]) -> None:
    def sold(day: date, product: str | None, orders: int, revenue: str | None, average: float | None) -> dict[str, Any]:
        return {
            "event_date": day,
            "product_name": product,
            "orders": orders,
            "revenue": Decimal(revenue or 0),
            "average_order": average,
        }

    assert_equal_rows(
        figures("daily_sales", frames),
        [
            sold(DAY_1, "tea", 2, "0.30", 0.15),
            sold(DAY_1, "cup", 1, "99999999.99", 99999999.99),
            sold(DAY_2, None, 1, None, 0.0),
            sold(DAY_2, "tea", 1, "1.00", 1.0),
        ],
    )


def test_orders_stand_beside_their_customers(frames: dict[str, Frame]) -> None:
    enriched = rows_of(figures("orders_enriched", frames))
    shown = {r["id"]: (r["price"], r["event_date"], r["customer_name"], r["customer_country"]) for r in enriched}
    assert shown == {
        1: (Decimal("0.10"), DAY_1, "Ada", "GB"),
        2: (Decimal("0.20"), DAY_1, "Bo", None),
        3: (Decimal("99999999.99"), DAY_1, None, None),
        4: (None, DAY_2, None, None),
        5: (Decimal("1.00"), DAY_2, "Ada", "GB"),
    }


def test_before_customers_have_landed_orders_stand_alone(frames: dict[str, Frame]) -> None:
    alone = rows_of(figures("orders_enriched", {"silver/orders": frames["silver/orders"]}))
    assert {(r["id"], r["customer_name"], r["customer_country"]) for r in alone} == {
        (n, None, None) for n in range(1, 6)
    }


def test_a_gold_table_names_the_columns_of_its_lookups_that_it_shows() -> None:
    (lookup,) = TABLES["orders_enriched"].lookups
    assert (lookup.table, lookup.key, lookup.column) == ("silver/customers", "id", "customer_id")
    assert lookup.shows == ("name", "country")


def summary(source: str, day: date, *, records: int, keys: int, rejects: int = 0, **rest: Any) -> dict[str, Any]:
    measured = {"mean_quality": None, "first_event": None, "last_event": None} | rest
    return {"source": source, "event_date": day, "records": records, "unique_keys": keys, "rejects": rejects} | measured


SUMMARY = [
    summary("orders", DAY_1, records=3, keys=3, mean_quality=2.5 / 3, first_event=at(1, 8), last_event=at(1, 8)),
    summary("orders", DAY_2, records=3, keys=3, mean_quality=0.75, first_event=at(2, 8), last_event=at(2, 8)),
    summary("customers", DAY_1, records=2, keys=2, mean_quality=1.0, first_event=at(1, 8), last_event=at(1, 8)),
    summary(
        "clicks",
        DAY_1,
        records=4,
        keys=4,
        rejects=2,
        mean_quality=0.9375,
        first_event=at(1, 5, 1),
        last_event=at(1, 7),
    ),
    summary("clicks", date(2026, 1, 9), records=0, keys=0, rejects=1),
    summary("pings", DAY_2, records=2, keys=2, mean_quality=1.0, first_event=at(2, 3), last_event=at(2, 4)),
]


def test_the_daily_summary_counts_records_keys_and_rejects_of_each_source(frames: dict[str, Frame]) -> None:
    assert_equal_rows(figures("daily_summary", frames), SUMMARY)


def test_hourly_metrics_are_a_series_by_hour(frames: dict[str, Frame]) -> None:
    hours = rows_of(figures("hourly_metrics", {"silver/clicks": frames["silver/clicks"]}))
    assert sorted((r["hour"], r["records"], r["unique_keys"], r["mean_quality"], r["last_event"]) for r in hours) == [
        (at(1, 5), 2, 2, 0.875, at(1, 5, 59)),
        (at(1, 6), 1, 1, 1.0, at(1, 6)),
        (at(1, 7), 1, 1, 1.0, at(1, 7)),
    ]


def test_source_statistics_add_up_the_days_of_streams_and_count_the_live_rows_of_tables(
    frame: Constructor, frames: dict[str, Frame]
) -> None:
    types = {name: c.type for name, c in TABLES["daily_summary"].columns.items()}
    statistics = figures("source_statistics", frames | {"gold/daily_summary": frame(SUMMARY, types)})
    whole = {
        "days": 2,
        "records": 4,
        "unique_keys": 4,
        "rejects": 3,
        "rejected_fraction": 3 / 7,
        "mean_quality": 0.9375,
    }
    found = {r["source"]: r for r in rows_of(statistics)}
    assert found["clicks"] == whole | {"source": "clicks", "first_event": at(1, 5, 1), "last_event": at(1, 7)}
    assert (found["orders"]["days"], found["orders"]["records"]) == (2, 6)
    assert found["orders"]["mean_quality"] == 4.75 / 6
    assert (found["orders"]["first_event"], found["orders"]["last_event"]) == (at(1, 0), at(2, 2))
    assert (found["customers"]["days"], found["customers"]["records"]) == (1, 2)


def test_every_event_is_listed_by_its_type_or_by_its_stream(frames: dict[str, Frame]) -> None:
    listed = rows_of(figures("events_by_type", frames))
    assert sorted((r["event_type"], r["source"], r["event_key"], r["event_date"]) for r in listed) == [
        ("cart:add", "clicks", "a|1", DAY_1),
        ("cart:add", "clicks", "b|1", DAY_1),
        ("cart:add", "clicks", "b|2", DAY_1),
        ("clicks", "clicks", "a|2", DAY_1),
        ("pings", "pings", "1", DAY_2),
        ("pings", "pings", "2", DAY_2),
    ]


def without(*names: str) -> dict[str, Dataset]:
    return {name: dataset for name, dataset in SHOP.items() if name not in names}


@pytest.mark.parametrize(
    ("datasets", "missing"),
    [
        (without("orders"), {"daily_sales", "orders_enriched"}),
        (without("customers"), {"orders_enriched"}),
        (without("clicks", "pings"), {"events_by_type"}),
        ({"orders": CUSTOMERS, "customers": ORDERS}, {"daily_sales", "orders_enriched", "events_by_type"}),
    ],
)
def test_a_lake_has_the_gold_tables_that_its_datasets_give(datasets: dict[str, Dataset], missing: set[str]) -> None:
    assert gold_tables(datasets).keys() == TABLES.keys() - missing


def test_keys_of_several_parts_are_told_apart(frame: Constructor) -> None:
    """`a|b` and `c` gave the same text as `a` and `b|c`."""
    rows: Rows = [{"a": "a|b", "b": "c"}, {"a": "a", "b": "b|c"}, {"a": "a\\", "b": "|"}, {"a": "1", "b": "2"}]
    joined = frame(rows, {"a": "string", "b": "string"}).select(joined_key(["a", "b"]).alias("key"))
    assert_equal_rows(joined, [{"key": text} for text in (r"a\|b|c", r"a|b\|c", r"a\\|\|", "1|2")])
