"""A table that DMS loads again: what came before does not come back, and rows that it lacks go."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from datalake_assets.lake.store.full_loads import LOAD_METADATA
from datalake_assets_tests.dms_files import parquet
from datalake_assets_tests.replicated import ORDERS, ReplicatedLake, change, in_order

NINE, TEN = datetime(2026, 1, 5, 9, tzinfo=UTC), datetime(2026, 1, 5, 10, tzinfo=UTC)
TABLES = ("silver/orders", "silver/orders_history")
Landing = tuple[str, Sequence[dict[str, Any]] | bytes]
Rows = tuple[str, Sequence[dict[str, Any]]]


def load(number: int, at: datetime, **products: str) -> Rows:
    """A file of a full load that began `at`; products by their ids, as `_1="tea"`."""
    rows = [
        change(None, int(id_[1:]), None, at=at + timedelta(seconds=n), product_name=product)
        for n, (id_, product) in enumerate(products.items())
    ]
    return f"LOAD{number:08X}.parquet", rows


def told(landing: Rows, *, is_last: bool) -> Landing:
    """A file of a load as `datalake replicate` writes it: its footer tells whether it is the last one."""
    path, rows = landing
    types = dict.fromkeys(rows[0], "string") | {"id": "int64", "customer_id": "int64", "created_at": "timestamp"}
    types["price"] = "decimal(10,2)"
    table = pq.read_table(BytesIO(parquet([row | {"dms_timestamp": rows[0]["dms_timestamp"]} for row in rows], types)))
    sink = BytesIO()
    pq.write_table(table.replace_schema_metadata({LOAD_METADATA: json.dumps({"last": is_last})}), sink)
    return path, sink.getvalue()


def changes(at: datetime, *rows: tuple[str, int, str | None]) -> Rows:
    """A file of changes, each (operation, id, product), a second apart from `at` on."""
    made = []
    for n, (op, id_, product) in enumerate(rows):
        moment = at + timedelta(seconds=n)
        values: dict[str, Any] = {"product_name": product} if op != "D" else {}
        made.append(change(op, id_, int(moment.timestamp()), at=moment, **values))
    written = at + timedelta(minutes=1)
    return f"2026/01/05/{written:%H}/{written:%Y%m%d-%H%M%S}000.parquet", made


FIRST = load(1, NINE, _1="tea", _2="milk", _3="rum")
BEFORE = changes(NINE + timedelta(minutes=10), ("U", 1, "TEA"), ("D", 3, None), ("I", 4, "ale"))
SECOND = load(1, TEN, _1="coffee", _3="rum again")
AFTER = changes(TEN + timedelta(minutes=10), ("U", 3, "gin"), ("I", 5, "mead"))


@pytest.fixture
def lake(tmp_path: Path) -> ReplicatedLake:
    return ReplicatedLake(tmp_path, ORDERS)


def meet(lake: ReplicatedLake, *landings: Landing) -> None:
    """Land files one by one, each brought to silver before the next."""
    for path, rows in landings:
        lake.land(path, rows)
        lake.refresh()


def products(lake: ReplicatedLake) -> dict[int, str]:
    return {key: value for key, (value,) in lake.silver("orders", "product_name").items()}


def history(lake: ReplicatedLake, key: int) -> list[tuple[str, str | None, str, str | None]]:
    """Operation, product, and the times of validity (hour and minute) of a key's changes."""
    rows = [row for row in in_order_of_time(lake.rows("silver/orders_history")) if row["id"] == key]
    assert [row["valid_to"] for row in rows] == [*(row["valid_from"] for row in rows[1:]), None]
    assert [row["is_current"] for row in rows] == [*(False for _ in rows[1:]), rows[-1]["operation"] != "D"]
    return [
        (r["operation"], r["product_name"], f"{r['valid_from']:%H:%M}", r["valid_to"] and f"{r['valid_to']:%H:%M}")
        for r in rows
    ]


def in_order_of_time(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(
        in_order(rows), key=lambda row: (row["valid_from"], row["valid_to"] or datetime.max.replace(tzinfo=UTC))
    )


def test_a_reload_leads_and_what_it_lacks_goes_when_it_is_complete(lake: ReplicatedLake) -> None:
    meet(lake, FIRST, BEFORE)
    assert products(lake) == {1: "TEA", 2: "milk", 4: "ale"}
    meet(lake, SECOND)
    assert products(lake) == {1: "coffee", 2: "milk", 3: "rum again", 4: "ale"}  # more files may come
    meet(lake, AFTER)
    assert products(lake) == {1: "coffee", 3: "gin", 5: "mead"}
    assert history(lake, 1) == [
        ("L", "tea", "09:00", "09:10"),
        ("U", "TEA", "09:10", "10:00"),
        ("L", "coffee", "10:00", None),
    ]
    assert history(lake, 2) == [("L", "milk", "09:00", "09:59"), ("D", None, "09:59", None)]
    assert [entry[:2] for entry in history(lake, 3)] == [("L", "rum"), ("D", None), ("L", "rum again"), ("U", "gin")]
    assert history(lake, 4) == [("I", "ale", "09:10", "09:59"), ("D", None, "09:59", None)]


def test_what_was_committed_before_a_reload_does_not_come_back_by_coming_late(lake: ReplicatedLake) -> None:
    meet(lake, FIRST, SECOND, AFTER, BEFORE)
    assert products(lake) == {1: "coffee", 3: "gin", 5: "mead"}
    expected = ReplicatedLake(lake.root.parent / "expected", ORDERS)
    meet(expected, FIRST, BEFORE, SECOND, AFTER)
    assert lake.tables(TABLES) == expected.tables(TABLES)


def test_a_reload_of_several_files_is_complete_when_none_is_missing(lake: ReplicatedLake) -> None:
    meet(lake, load(1, NINE, _1="tea"), load(2, NINE + timedelta(minutes=1), _2="milk", _3="rum"))
    meet(lake, load(1, TEN, _1="coffee"), load(3, TEN + timedelta(minutes=2), _4="ale"), AFTER)
    assert products(lake) == {1: "coffee", 2: "milk", 3: "gin", 4: "ale", 5: "mead"}
    meet(lake, load(2, TEN + timedelta(minutes=1), _2="cream"))
    assert products(lake) == {1: "coffee", 2: "cream", 3: "gin", 4: "ale", 5: "mead"}


def test_a_load_that_is_put_right_is_no_reload(lake: ReplicatedLake) -> None:
    meet(lake, FIRST, BEFORE, load(1, NINE, _1="tea", _2="oat milk"))
    assert products(lake) == {1: "TEA", 2: "oat milk", 4: "ale"}
    assert [entry[:2] for entry in history(lake, 2)] == [("L", "oat milk")]


def test_a_reload_with_rejects_removes_nothing(lake: ReplicatedLake) -> None:
    name, rows = SECOND
    meet(lake, FIRST, BEFORE, (name, [*rows, change(None, 2, None, at=TEN, price=-1)]), AFTER)
    assert products(lake) == {1: "coffee", 2: "milk", 3: "gin", 4: "ale", 5: "mead"}
    meet(lake, (name, [*rows, change(None, 2, None, at=TEN, product_name="cream")]))
    assert products(lake) == {1: "coffee", 2: "cream", 3: "gin", 5: "mead"}


def test_a_rebuild_knows_what_an_overwritten_load_said(lake: ReplicatedLake) -> None:
    meet(lake, FIRST, BEFORE, SECOND, AFTER)
    before = lake.tables(TABLES)
    lake.rebuild()
    assert lake.tables(TABLES) == before


def test_a_table_may_be_loaded_many_times(lake: ReplicatedLake) -> None:
    third = load(1, TEN + timedelta(hours=1), _2="whey", _5="mead")
    meet(lake, FIRST, BEFORE, SECOND, AFTER, third, changes(TEN + timedelta(hours=1, minutes=5), ("U", 2, "curd")))
    assert products(lake) == {2: "curd", 5: "mead"}
    assert [entry[:2] for entry in history(lake, 2)] == [("L", "milk"), ("D", None), ("L", "whey"), ("U", "curd")]
    assert [entry[:2] for entry in history(lake, 1)][-2:] == [("L", "coffee"), ("D", None)]


def test_what_an_earlier_and_longer_load_left_behind_is_not_of_the_reload(lake: ReplicatedLake) -> None:
    meet(lake, load(1, NINE, _1="tea"), load(2, NINE + timedelta(minutes=1), _2="milk"), SECOND, AFTER)
    assert products(lake) == {1: "coffee", 3: "gin", 5: "mead"}
    late = ReplicatedLake(lake.root.parent / "late", ORDERS)  # it never saw what was overwritten
    meet(late, AFTER, SECOND, load(2, NINE + timedelta(minutes=1), _2="milk"))
    assert products(late) == products(lake)


def test_the_files_of_a_reload_may_come_in_any_order(lake: ReplicatedLake) -> None:
    second = load(2, TEN + timedelta(minutes=1), _1="coffee")
    meet(lake, FIRST, BEFORE, second, load(1, TEN, _3="rum again"), AFTER)
    assert products(lake) == {1: "coffee", 3: "gin", 5: "mead"}
    assert [entry[:2] for entry in history(lake, 1)] == [("L", "tea"), ("U", "TEA"), ("L", "coffee")]


def test_what_a_reload_lacked_is_told_however_late_it_is_known_to_be_complete(lake: ReplicatedLake) -> None:
    third = load(1, TEN + timedelta(hours=1), _2="whey", _5="mead")
    meet(lake, FIRST, BEFORE, SECOND, third, AFTER)
    assert [entry[:2] for entry in history(lake, 2)] == [("L", "milk"), ("D", None), ("L", "whey")]


@pytest.mark.parametrize("history", [True, False])
def test_a_copy_that_can_not_be_read_takes_nothing_back_and_a_good_one_heals_it(tmp_path: Path, history: bool) -> None:
    """It emptied silver, and the good copy was taken for the first load."""
    lake = ReplicatedLake(tmp_path, ORDERS if history else ORDERS.replace("history: true", "history: false"))
    meet(lake, FIRST, BEFORE, (SECOND[0], b"PAR1 cut off"), changes(TEN + timedelta(minutes=5), ("I", 9, "port")))
    assert products(lake) == {1: "TEA", 2: "milk", 4: "ale", 9: "port"}
    lake.rebuild()
    assert products(lake) == {1: "TEA", 2: "milk", 4: "ale", 9: "port"}
    meet(lake, SECOND, AFTER)
    assert products(lake) == {1: "coffee", 3: "gin", 5: "mead", 9: "port"}


@pytest.mark.parametrize("history", [True, False])
def test_a_rebuild_keeps_what_an_overwritten_load_said_while_the_reload_goes_on(tmp_path: Path, history: bool) -> None:
    lake = ReplicatedLake(tmp_path, ORDERS if history else ORDERS.replace("history: true", "history: false"))
    meet(lake, FIRST, BEFORE, SECOND)
    before = products(lake)
    lake.rebuild()
    assert products(lake) == before == {1: "coffee", 2: "milk", 3: "rum again", 4: "ale"}
    lake = ReplicatedLake(
        tmp_path, ORDERS.replace("order_by: [ar_h_change_seq]", "order_by: [ar_h_change_seq, customer_id]")
    )
    lake.rebuild()
    assert products(lake) == before


def test_a_load_put_right_without_its_first_row_is_no_reload(lake: ReplicatedLake) -> None:
    name, rows = load(1, NINE, _1="tea", _2="milk", _3="rum")
    put_right = (name, [rows[1], rows[2] | {"product_name": "RUM"}])
    meet(lake, (name, rows), put_right)
    assert products(lake) == {2: "milk", 3: "RUM"}
    assert [entry[:2] for entry in history(lake, 3)] == [("L", "RUM")]


def test_rows_come_back_that_went_for_a_load_that_was_not_complete_after_all(lake: ReplicatedLake) -> None:
    name, rows = load(2, TEN + timedelta(minutes=1), _3="rum again")
    with_a_reject = (name, [*rows, change(None, 2, None, at=TEN, price=-1)])
    meet(lake, FIRST, BEFORE, load(1, TEN, _1="coffee"), AFTER)
    assert products(lake) == {1: "coffee", 3: "gin", 5: "mead"}
    meet(lake, with_a_reject)
    assert products(lake) == {1: "coffee", 2: "milk", 3: "gin", 4: "ale", 5: "mead"}
    assert [entry[:2] for entry in history(lake, 2)] == [("L", "milk")]
    meet(lake, changes(TEN + timedelta(minutes=20), ("U", 5, "MEAD")))
    assert products(lake) == {1: "coffee", 2: "milk", 3: "gin", 4: "ale", 5: "MEAD"}


def test_a_rebuild_keeps_the_columns_that_only_an_overwritten_load_had(lake: ReplicatedLake) -> None:
    name, rows = FIRST
    lake.land(name, [row | {"colour": f"c{n}"} for n, row in enumerate(rows)], types={"colour": "string"})
    lake.refresh()
    meet(lake, SECOND)
    lake.rebuild()
    assert {row["id"]: row["colour"] for row in lake.rows("silver/orders")} == {1: None, 2: "c1", 3: None}


def test_a_load_that_was_cut_off_removes_nothing(lake: ReplicatedLake) -> None:
    """Such as `datalake replicate` begins again: its files tell whether they are the last."""
    meet(lake, FIRST, BEFORE, told(load(1, TEN, _1="coffee"), is_last=False), AFTER)
    assert products(lake) == {1: "coffee", 2: "milk", 3: "gin", 4: "ale", 5: "mead"}
    begun_again = TEN + timedelta(hours=1)
    meet(lake, told(load(2, begun_again, _4="stout"), is_last=True))
    assert products(lake) == {1: "coffee", 2: "milk", 3: "gin", 4: "stout", 5: "mead"}
    meet(lake, told(load(1, begun_again, _1="espresso", _3="genever"), is_last=False))
    assert products(lake) == {1: "espresso", 3: "genever", 4: "stout"}
    assert [entry[:2] for entry in history(lake, 2)] == [("L", "milk"), ("D", None)]
    assert history(lake, 2)[0][3] == "10:59"
