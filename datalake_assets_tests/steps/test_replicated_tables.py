"""Replicated tables from landed files to silver and history, as silver steps make them."""

import shutil
from collections import defaultdict
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from datalake_assets.lake.steps.shape import ShapeChangedError
from datalake_assets.lake.store.snapshot import SchemaChangeError
from datalake_assets_tests import lakes
from datalake_assets_tests.replicated import ORDERS, ReplicatedLake, change, in_order

LOAD = "LOAD00000001.parquet"
NINE = "2026/01/05/09/20260105-091500000.parquet"
TEN = "2026/01/05/10/20260105-101500000.parquet"
ELEVEN = "2026/01/05/11/20260105-111500000.parquet"
DAY_5, DAY_6 = date(2026, 1, 5), date(2026, 1, 6)
ON_DAY_6 = datetime(2026, 1, 6, 1, tzinfo=UTC)


@pytest.fixture
def lake(tmp_path: Path) -> ReplicatedLake:
    return ReplicatedLake(tmp_path)


def products(lake: ReplicatedLake) -> dict[int, str]:
    return {key: value for key, (value,) in lake.silver("orders", "product_name").items()}


def operations(lake: ReplicatedLake) -> dict[int, list[tuple[str, str | None]]]:
    """Of each key: operation and product of its changes, in their order."""
    rows = lake.rows("silver/orders_history")
    assert_history_is_whole(lake, rows)
    found: defaultdict[int, list[tuple[str, str | None]]] = defaultdict(list)
    for row in in_order(rows):
        found[row["id"]].append((row["operation"], row["product_name"]))
    return dict(found)


def assert_history_is_whole(lake: ReplicatedLake, rows: list[dict[str, Any]]) -> None:
    """Each change is valid until the next, the last one without end; the current ones are the live rows."""
    by_key = defaultdict(list)
    for row in in_order(rows):
        by_key[row["id"]].append(row)
    for changes in by_key.values():
        ends = [row["valid_to"] for row in changes]
        assert ends == [row["valid_from"] for row in changes[1:]] + [None]
        assert all(row["valid_to"] is None or row["valid_from"] <= row["valid_to"] for row in changes)
    shown = ("id", "_sequence_1", "_committed_at", "product_name", "price", "created_at", "_unknown", "quality_score")
    current = [{name: row[name] for name in sorted(shown)} for row in rows if row["is_current"]]
    assert sorted(current, key=lambda r: r["id"]) == sorted(lake.rows("silver/orders", *shown), key=lambda r: r["id"])


def test_a_load_and_its_changes_become_the_table(lake: ReplicatedLake) -> None:
    lake.land(LOAD, [change(None, n, None, price=Decimal("1.10")) for n in range(1, 5)])
    lake.land(
        NINE, [change("U", 1, 1, price=Decimal("2.20")), change("D", 2, 2), change("I", 5, 3, product_name="cup")]
    )
    report = lake.refresh()
    assert lake.silver("orders", "product_name", "price") == {
        1: ("tea", Decimal("2.20")),
        3: ("tea", Decimal("1.10")),
        4: ("tea", Decimal("1.10")),
        5: ("cup", None),
    }
    assert (report.rows_in, report.rows_out, report.rows_rejected) == (7, 7, 0)
    assert report.touched_dates == (DAY_5,)
    assert operations(lake)[2] == [("L", "tea"), ("D", None)]
    assert lake.waiting() == []


def test_the_columns_of_silver_are_those_that_readers_were_promised(lake: ReplicatedLake) -> None:
    lake.land(LOAD, [change(None, 1, None)])
    lake.refresh()
    (row,) = lake.rows("silver/orders", "*")
    assert {"etl_timestamp", "event_date", "source_filename", "quality_score"} <= row.keys()
    assert row["quality_score"] == 0.8
    assert row["source_filename"] == f"dms/public/orders/{LOAD}"
    for table in ("silver/orders", "silver/orders_history"):
        opened = lakes.table_of(lake.lake, table).open().handle
        assert opened is not None
        assert (opened.protocol().min_reader_version, opened.protocol().min_writer_version) == (1, 2)


def test_deletes_and_inserts_of_a_key_end_as_the_log_says(lake: ReplicatedLake) -> None:
    lake.land(LOAD, [change(None, n, None) for n in (1, 2, 3)])
    same = datetime(2026, 1, 5, 9, 5, tzinfo=UTC)
    lake.land(
        NINE,
        [
            change("D", 1, 10, at=same),
            change("I", 1, 11, at=same, product_name="again"),
            change("U", 2, 12, at=same, product_name="first"),
            change("U", 2, 13, at=same, product_name="second"),
            change("D", 2, 14, at=same),
            change("I", 2, 15, at=same, product_name="last"),
            change("I", 4, 16, at=same),
            change("D", 4, 17, at=same),
        ],
    )
    lake.refresh()
    assert products(lake) == {1: "again", 2: "last", 3: "tea"}
    assert [op for op, _ in operations(lake)[2]] == ["L", "U", "U", "D", "I"]


def test_within_one_transaction_without_a_sequence_the_row_in_the_file_decides(tmp_path: Path) -> None:
    lake = ReplicatedLake(tmp_path, ORDERS.replace("order_by: [ar_h_change_seq]\n", ""))
    same = datetime(2026, 1, 5, 9, 5, tzinfo=UTC)
    rows = [change(op, 1, None, at=same, product_name=name) for op, name in (("U", "a"), ("D", None), ("I", "z"))]
    lake.land(NINE, [*rows, change("U", 2, None, at=same, product_name="b"), change("D", 2, None, at=same)])
    lake.refresh()
    assert products(lake) == {1: "z"}


def test_a_change_made_during_the_load_outranks_the_older_image_that_was_transferred_later(
    lake: ReplicatedLake,
) -> None:
    lake.land(LOAD, [change(None, 1, None, at=datetime(2026, 1, 5, 9, 59, tzinfo=UTC), product_name="old")])
    lake.land(NINE, [change("U", 1, 1, product_name="new")])
    lake.refresh(partitions=["2026-01-05-09:00"])
    lake.refresh(partitions=["2026-01-05-08:00"])
    assert products(lake) == {1: "new"}
    assert operations(lake) == {1: [("L", "old"), ("U", "new")]}


def test_a_late_change_neither_undoes_a_newer_one_nor_revives_a_deleted_row(lake: ReplicatedLake) -> None:
    lake.land(TEN, [change("U", 1, 20, product_name="newest"), change("D", 2, 21), change("D", 9, 22)])
    lake.refresh()
    lake.land(NINE, [change("I", n, n, product_name="late") for n in (1, 2)])
    late = lake.refresh()
    assert products(lake) == {1: "newest"}
    assert late.rows_written == 0
    assert late.touched_dates == ()
    assert operations(lake)[2] == [("I", "late"), ("D", None)]
    lake.land(ELEVEN, [change("I", 2, 30, product_name="back")])
    lake.refresh()
    assert products(lake) == {1: "newest", 2: "back"}


def test_changes_that_come_in_two_files_are_one_in_the_history(lake: ReplicatedLake) -> None:
    lake.land(LOAD, [change(None, 1, None)])
    changes = [change("U", 1, 1, product_name="a"), change("U", 1, 2, product_name="b")]
    lake.land(NINE, changes)
    lake.refresh()
    lake.land(TEN, changes)
    again = lake.refresh()
    assert operations(lake) == {1: [("L", "tea"), ("U", "a"), ("U", "b")]}
    assert products(lake) == {1: "b"}
    assert again.rows_rejected == 0


def test_processing_everything_again_changes_nothing(lake: ReplicatedLake) -> None:
    lake.land(LOAD, [change(None, 1, None), change(None, 2, None), change(None, 3, None, price=Decimal(-1))])
    lake.land(NINE, [change("U", 1, 1, product_name="a"), change("D", 2, 2)])
    report = lake.refresh()
    names = ("silver/orders", "silver/orders_history", "silver/orders_tombstones", "quarantine/orders")
    before = lake.tables(names), lakes.versions(lake.lake, *names)
    again = lake.refresh(partitions=[p.partition for p in report.partitions], replay=True)
    assert (lake.tables(names), lakes.versions(lake.lake, *names)) == before
    assert (again.rows_in, again.rows_written, again.touched_dates) == (5, 0, ())


def test_a_row_that_moves_to_another_date_leaves_the_old_one_and_touches_both(lake: ReplicatedLake) -> None:
    lake.land(LOAD, [change(None, n, None) for n in (1, 2)])
    lake.refresh()
    lake.land(NINE, [change("U", 1, 1, created=ON_DAY_6)])
    report = lake.refresh()
    assert lake.silver("orders", "event_date") == {1: (DAY_6,), 2: (DAY_5,)}
    assert report.touched_dates == (DAY_5, DAY_6)
    lake.land(TEN, [change("U", 1, 2, created=ON_DAY_6, product_name="x")])
    assert lake.refresh().touched_dates == (DAY_6,)


def test_a_delete_touches_the_date_of_the_row_it_deletes(lake: ReplicatedLake) -> None:
    lake.land(LOAD, [change(None, 1, None, created=ON_DAY_6), change(None, 2, None)])
    lake.refresh()
    lake.land(NINE, [change("D", 1, 1)])
    assert lake.refresh().touched_dates == (DAY_6,)
    assert lake.silver("orders", "event_date") == {2: (DAY_5,)}
    history = lake.rows("silver/orders_history", "id", "operation", "event_date")
    assert {"id": 1, "operation": "D", "event_date": DAY_6} in history


def test_the_date_of_a_delete_follows_the_row_that_came_before_it_however_late_that_came(lake: ReplicatedLake) -> None:
    lake.land(LOAD, [change(None, 1, None)])
    lake.land(TEN, [change("D", 1, 20)])
    lake.refresh()
    lake.land(NINE, [change("U", 1, 10, created=ON_DAY_6)])
    lake.refresh()
    dates = {(r["operation"], r["event_date"]) for r in lake.rows("silver/orders_history", "operation", "event_date")}
    assert dates == {("L", DAY_5), ("U", DAY_6), ("D", DAY_6)}
    assert len(lake.rows("silver/orders_history")) == 3


def test_a_row_without_an_event_time_is_kept_and_can_get_one(lake: ReplicatedLake) -> None:
    lake.land(LOAD, [change(None, n, None) | {"created_at": None} for n in (1, 2, 3)])
    lake.refresh()
    assert set(lake.silver("orders", "event_date").values()) == {(None,)}
    lake.land(NINE, [change("U", 1, 1), change("D", 2, 2), change("U", 3, 3, product_name="x") | {"created_at": None}])
    report = lake.refresh()
    assert lake.silver("orders", "event_date", "product_name") == {1: (DAY_5, "tea"), 3: (None, "x")}
    assert report.touched_dates == (DAY_5,)


MEMBERS = """
name: members
kind: cdc_table
description: Who is in which club; two columns make the key, and nothing says when.
owner: team:test
landing: {prefix: dms/public/members, cadence: daily}
key: [club, name]
columns:
  club: {type: string}
  name: {type: string}
  rank: {type: int32}
history: true
"""


def test_a_table_with_a_composite_text_key_without_event_time_timestamp_and_sequence(tmp_path: Path) -> None:
    lake = ReplicatedLake(tmp_path, MEMBERS)

    def member(op: str, club: str, name: str, rank: int | None = None) -> dict[str, Any]:
        return {"Op": op, "club": club, "name": name, "rank": rank}

    first = [member("I", "a", "b'c", 1), member("I", "a", "d", 2), member("I", "ab", "c", 3), member("I", "", "ø|x", 4)]
    lake.land(NINE, first, table="members")
    lake.refresh("members")
    lake.land(TEN, [member("U", "a", "b'c", 5), member("D", "ab", "c"), member("U", "", "ø|x", 6)], table="members")
    lake.land(ELEVEN, [member("D", "", "ø|x")], table="members")
    lake.refresh("members")
    assert lake.silver("members") == {("a", "b'c"): (5,), ("a", "d"): (2,)}
    opened = lakes.table_of(lake.lake, "silver/members").open().handle
    assert opened is not None
    assert opened.metadata().partition_columns == []
    assert lake.rows("silver/members", "event_date") == [{"event_date": None}] * 2
    spans = {(r["club"], r["operation"]): r["valid_to"] for r in lake.rows("silver/members_history")}
    assert spans["", "U"] == datetime(2026, 1, 5, 11, 15, tzinfo=UTC)  # the time that the file's name tells


def test_a_bad_file_and_bad_rows_do_not_stop_the_others(lake: ReplicatedLake) -> None:
    lake.land(LOAD, [change(None, 1, None), change(None, None, None), change(None, 2, None, price=Decimal("-0.01"))])
    lake.land(NINE, b"not parquet")
    lake.land(TEN, b"")
    lake.land(ELEVEN, [change("X", 1, 1), change("U", 1, 2, product_name="a")])
    report = lake.refresh()
    assert products(lake) == {1: "a"}
    ledger = lake.ledger()
    assert ledger["LOAD00000001.parquet"] == ("processed", 1, 2, None)
    assert [ledger[path.rpartition("/")[2]][0] for path in (NINE, TEN, ELEVEN)] == ["failed", "failed", "processed"]
    assert "not readable as Parquet" in (ledger[NINE.rpartition("/")[2]][3] or "")
    rejects = lake.rows("quarantine/orders", "source_filename", "row_number", "partition")
    assert sorted((r["source_filename"].rpartition("/")[2][:8], r["row_number"]) for r in rejects) == [
        ("20260105", 0),
        ("20260105", 0),
        ("20260105", 1),
        ("LOAD0000", 2),
        ("LOAD0000", 3),
    ]
    assert report.rejects == {"required": 1, "minimum": 1, "enum": 1, "object": 2}
    assert lake.waiting() == []


def test_a_bad_file_that_lands_again_is_read(lake: ReplicatedLake) -> None:
    lake.land(NINE, b"not parquet")
    lake.refresh()
    lake.land(NINE, [change("I", 1, 1)], modified=datetime(2026, 1, 5, 12, tzinfo=UTC))
    assert lake.waiting() == ["2026-01-05-09:00"]
    lake.refresh()
    assert products(lake) == {1: "tea"}
    assert lake.rows("quarantine/orders") == []


def test_a_delete_with_a_whole_row_that_would_be_rejected_deletes_all_the_same(lake: ReplicatedLake) -> None:
    lake.land(LOAD, [change(None, 1, None)])
    lake.land(NINE, [change("D", 1, 1, price=Decimal(-1), created_at=None)])
    lake.refresh()
    assert products(lake) == {}


def test_a_column_that_the_file_declares_in_another_type_than_was_found_asks_for_a_rebuild(tmp_path: Path) -> None:
    lake = ReplicatedLake(tmp_path)
    lake.land(LOAD, [change(None, 1, None), change(None, 2, None)])
    lake.land(NINE, [change("U", 1, 1, gift="yes")], types={"gift": "string"})
    lake.refresh()
    assert lake.silver("orders", "gift", "_unknown") == {1: ("yes", None), 2: (None, None)}
    typed = ReplicatedLake(tmp_path, ORDERS.replace("  created_at:", "  gift: {type: boolean}\n  created_at:"))
    typed.land(TEN, [change("U", 2, 2, gift=True)], types={"gift": "boolean"})
    with pytest.raises(ShapeChangedError, match=r"type of `gift`: string -> boolean.*datalake rebuild orders"):
        typed.refresh(partitions=["2026-01-05-10:00"])
    assert lake.silver("orders", "gift") == {1: ("yes",), 2: (None,)}
    typed.rebuild()
    assert typed.silver("orders", "gift", "_unknown") == {1: (None, None), 2: (True, None)}
    assert operations(typed) == {1: [("L", "tea")], 2: [("L", "tea"), ("U", "tea")]}
    assert [row["errors"] for row in typed.rows("quarantine/orders", "errors")] == [
        ["/gift type: yes (String) is no boolean"]
    ]


def test_closing_rows_of_a_history_writes_nothing_anew_that_was_closed_before(lake: ReplicatedLake) -> None:
    lake.land(LOAD, [change(None, n, None) for n in range(20)])
    lake.land(NINE, [change("U", n, n, product_name="x") for n in range(20)])
    lake.refresh()
    history = lakes.table_of(lake.lake, "silver/orders_history")
    closed = {"is_current": [False]}
    before = set(history.open().files_within(closed)["path"])
    lake.land(TEN, [change("U", 3, 30, product_name="y")])
    lake.refresh()
    after = history.open().files_within(closed)
    assert before < set(after["path"])
    assert after["num_records"].sort().to_list() == [1, 20]


def test_a_history_that_is_cut_otherwise_is_told_and_made_anew_by_a_rebuild(lake: ReplicatedLake) -> None:
    """Histories were not cut once."""
    lake.land(LOAD, [change(None, 1, None)])
    lake.refresh()
    history = Path(lakes.table_of(lake.lake, "silver/orders_history").uri)
    rows = pl.read_delta(str(history))
    shutil.rmtree(history)
    rows.write_delta(str(history))
    lake.land(NINE, [change("U", 1, 1, product_name="x")])
    with pytest.raises(SchemaChangeError, match=r"partition_by: none -> is_current.*datalake rebuild"):
        lake.refresh()
    assert products(lake) == {1: "tea"}
    lake.rebuild()
    assert operations(lake) == {1: [("L", "tea"), ("U", "x")]}
    assert products(lake) == {1: "x"}


def test_a_merge_rewrites_the_files_alone_that_hold_its_keys(
    lake: ReplicatedLake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("datalake_assets.lake.spec.table_spec._ROWS_PER_UNCUT_FILE", 6)
    start = datetime(2025, 1, 1, tzinfo=UTC)
    lake.land(LOAD, [change(None, n, None, created=start + timedelta(days=n)) for n in range(60)])
    lake.refresh()
    silver = lakes.table_of(lake.lake, "silver/orders")
    before = set(silver.open().files["path"])
    lake.land(NINE, [change("U", 7, 1, created=start + timedelta(days=7), product_name="x")])
    lake.refresh()
    after = set(silver.open().files["path"])
    assert (len(before), len(before - after)) == (10, 1)
    assert lake.silver("orders", "product_name")[7] == ("x",)
