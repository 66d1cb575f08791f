"""The files of the replication task: what DMS would write, and enough in them to rebuild the shop."""

import re
from collections import Counter, defaultdict
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from datalake_assets.simulate.faults import Fault
from datalake_assets.simulate.replica import replica
from datalake_assets.simulate.replication import Replication
from datalake_assets.simulate.tables import Customer, Order
from datalake_assets_tests.simulate.conftest import Bronze

TABLES = ("orders", "customers")
CHANGES_KEY = re.compile(r"dms/public/\w+/(\d{4})/(\d\d)/(\d\d)/(\d\d)/(\d{8})-(\d{2})(\d{4})\d{3}\.parquet")
CHANGE_SEQUENCE = re.compile(r"\d{35}")


def read(bronze: Bronze, table: str) -> list[tuple[str, dict[str, Any]]]:
    """Every landed row with the key of its file."""
    keys = bronze.keys(f"dms/public/{table}/")
    return [(key, row) for key in keys for row in pq.read_table(bronze.folder / key).to_pylist()]


def changes(bronze: Bronze, table: str) -> list[tuple[str, dict[str, Any]]]:
    """The landed rows that are no part of the full load."""
    return [(key, row) for key, row in read(bronze, table) if "/LOAD" not in key]


def is_broken(row: dict[str, Any]) -> bool:
    return row["id"] is None or (row.get("price") is not None and row["price"] < 0)


@pytest.mark.parametrize("table", TABLES)
def test_replaying_the_files_gives_the_tables_of_the_shop(bronze: Bronze, table: str) -> None:
    newest: dict[int, dict[str, Any]] = {}
    for _, row in read(bronze, table):
        known = newest.get(row["id"])
        if not is_broken(row) and (known is None or row["ar_h_change_seq"] > known["ar_h_change_seq"]):
            newest[row["id"]] = row
    header = ("Op", "dms_timestamp", "ar_h_change_seq")
    live = {
        key: tuple(value for name, value in row.items() if name not in header)
        for key, row in newest.items()
        if row["Op"] != "D"
    }
    assert live == replica(bronze.simulation)[table]


def test_the_replica_is_the_shop_itself_but_for_what_is_still_held_back(bronze: Bronze) -> None:
    replication = Replication(bronze.simulation)
    for hour in bronze.simulation.landing_hours():
        replication.hour(hour)
    held = {(change.table, change.row.id) for _, change in replication.held}
    shop: dict[str, set[Order | Customer]] = {
        "orders": {*replication.shop.orders.rows.values()},
        "customers": {*replication.shop.customers.rows.values()},
    }
    for table, rows in replica(bronze.simulation).items():
        different = shop[table] ^ set(rows.values())
        assert {(table, row.id) for row in different} <= held


def test_names_are_those_of_dms(bronze: Bronze) -> None:
    loads = [key.removeprefix("dms/public/") for key in bronze.keys("dms/") if "/LOAD" in key]
    assert loads == ["customers/LOAD00000001.parquet", *(f"orders/LOAD0000000{n}.parquet" for n in (1, 2))]
    for key in bronze.keys("dms/"):
        if "/LOAD" not in key:
            match = CHANGES_KEY.fullmatch(key)
            assert match
            assert "".join(match.groups()[:4]) == match[5] + match[6], "a file lies in the hour it was made"


def test_columns_have_the_types_dms_writes(bronze: Bronze) -> None:
    utc = pa.timestamp("us", tz="UTC")
    for key in bronze.keys("dms/public/orders/"):
        schema = pq.read_schema(bronze.folder / key)
        assert schema.names[:3] == ["Op", "dms_timestamp", "ar_h_change_seq"]
        types = dict(zip(schema.names, schema.types, strict=True))
        assert types["dms_timestamp"] == pa.string()
        assert types["id"] == pa.int64()
        assert types["price"] == pa.decimal128(10, 2)
        assert types["created_at"] == types["updated_at"] == utc


@pytest.mark.parametrize("table", TABLES)
def test_the_load_has_no_change_sequence_and_changes_have_35_digits_that_rise(bronze: Bronze, table: str) -> None:
    load = [row for key, row in read(bronze, table) if "/LOAD" in key]
    assert {(row["Op"], row["ar_h_change_seq"]) for row in load} == {("I", "")}
    transferred = [row["dms_timestamp"] for row in load]
    assert transferred == sorted(set(transferred))
    log = sorted((row["ar_h_change_seq"], row["dms_timestamp"]) for _, row in changes(bronze, table))
    assert all(CHANGE_SEQUENCE.fullmatch(sequence) for sequence, _ in log)
    assert all(one[1] <= two[1] for one, two in pairwise(log))


def test_orders_are_inserted_updated_deleted_and_inserted_again(bronze: Bronze) -> None:
    rows = {row["ar_h_change_seq"]: row for _, row in changes(bronze, "orders") if not is_broken(row)}
    operations: defaultdict[int, str] = defaultdict(str)
    transactions: defaultdict[tuple[int, str], str] = defaultdict(str)
    for _, row in sorted(rows.items()):
        operations[row["id"]] += row["Op"]
        transactions[row["id"], row["dms_timestamp"]] += row["Op"]
    assert {"I", "U", "D"} <= set("".join(operations.values()))
    assert any("DI" in text for text in operations.values())
    assert {"UU", "DI", "UUDI"} <= set(transactions.values()), "one key, one transaction, one timestamp"


@pytest.mark.parametrize("table", TABLES)
def test_a_delete_tells_the_key_alone(bronze: Bronze, table: str) -> None:
    deletes = [row for _, row in changes(bronze, table) if row["Op"] == "D"]
    assert deletes
    for row in deletes:
        told = {name for name, value in row.items() if value is not None}
        assert told == {"Op", "dms_timestamp", "ar_h_change_seq", "id"}


@pytest.mark.parametrize("table", TABLES)
def test_a_few_changes_are_in_two_files_and_a_few_land_hours_late(bronze: Bronze, table: str) -> None:
    files: defaultdict[str, set[str]] = defaultdict(set)
    late = set()
    for key, row in changes(bronze, table):
        files[row["ar_h_change_seq"]].add(key)
    for key, row in changes(bronze, table):
        year, month, day, hour = key.split("/")[3:7]
        is_first = key == min(files[row["ar_h_change_seq"]])
        if is_first and f"{year}-{month}-{day} {hour}" > row["dms_timestamp"][:13]:
            late.add(row["ar_h_change_seq"])
    twice = [sequence for sequence, keys in files.items() if len(keys) > 1]
    faults = bronze.landed.faults[table]
    assert (len(twice), len(late)) == (faults.get(Fault.DUPLICATE, 0), faults.get(Fault.LATE, 0))
    assert table == "customers" or (twice and late)


def test_the_load_and_the_changes_hold_a_few_broken_orders(bronze: Bronze) -> None:
    rows = [(key, row) for key, row in read(bronze, "orders") if is_broken(row)]
    found = Counter(Fault.NULL_KEY if row["id"] is None else Fault.NEGATIVE for _, row in rows)
    assert found == {fault: n for fault, n in bronze.landed.faults["orders"].items() if fault.is_rejected}
    assert len(rows) == bronze.landed.rejected("orders")
    assert {"/LOAD" in key for key, _ in rows} == {True, False}
    assert {row["Op"] for _, row in rows} == {"I", "U"}
    assert all(isinstance(row["price"], Decimal) for _, row in rows)
