"""A source table that changes its shape: columns come, go, and get wider; nothing is cast, nothing is lost."""

import shutil
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from deltalake import DeltaTable

from datalake_assets.lake.lake import Lake
from datalake_assets.lake.steps.drift_checks import SCHEMA_DRIFT
from datalake_assets.lake.steps.maintain import maintain
from datalake_assets.lake.steps.shape import ShapeChangedError
from datalake_assets.lake.store.verdicts import Verdict
from datalake_assets_tests import lakes
from datalake_assets_tests.replicated import CUSTOMERS, ORDERS, ReplicatedLake, change

LOAD = "LOAD00000001.parquet"
NINE, TEN, ELEVEN = (f"2026/01/05/{hour:02d}/20260105-{hour:02d}0000000.parquet" for hour in (9, 10, 11))
TABLES = ("silver/orders", "silver/orders_history", "quarantine/orders")
NARROW = ORDERS.replace("customer_id: {type: int64}", "customer_id: {type: int32}")
HUGE = 2**40


@pytest.fixture
def lake(tmp_path: Path) -> ReplicatedLake:
    return ReplicatedLake(tmp_path)


def types(lake: ReplicatedLake, table: str = "silver/orders") -> dict[str, str]:
    """The columns of a table as any reader of Delta sees them."""
    schema = DeltaTable(lakes.table_of(lake.lake, table).uri).schema()
    return {field.name: str(field.type.type) for field in schema.fields}


def files(lake: ReplicatedLake, *tables: str) -> set[str]:
    return {path for name in tables for path in lakes.table_of(lake.lake, name).open().files["path"]}


def drift(lake: ReplicatedLake) -> list[Verdict]:
    """The verdicts on drift that fail."""
    return [v for v in lake.lake.verdicts.of("orders") if v.rule == SCHEMA_DRIFT and not v.passed]


def at_once(lake: ReplicatedLake, folder: Path) -> ReplicatedLake:
    """A fresh lake under the same landed files, all processed."""
    fresh = lake.fresh(folder)
    fresh.refresh_all()
    return fresh


def test_a_column_added_at_the_source_evolves_silver_and_history_and_rewrites_no_file(
    lake: ReplicatedLake, tmp_path: Path
) -> None:
    lake.land(LOAD, [change(None, n, None) for n in (1, 2)])
    lake.refresh()
    lake.refresh_gold()
    before = files(lake, "silver/orders", "silver/orders_history")
    lake.land(NINE, [change("I", 3, 1, gift="yes")], types={"gift": "string"})
    lake.refresh()
    assert lake.silver("orders", "gift", "_unknown") == {1: (None, None), 2: (None, None), 3: ("yes", None)}
    assert [row["gift"] for row in lake.rows("silver/orders_history", "gift", "id")] == [None, None, "yes"]
    assert before < files(lake, "silver/orders", "silver/orders_history")
    assert types(lake)["gift"] == types(lake, "silver/orders_history")["gift"] == "string"
    assert set(lake.refresh_gold()) >= {"daily_sales", "orders_enriched"}
    assert lake.tables(TABLES) == at_once(lake, tmp_path / "fresh").tables(TABLES)
    assert not drift(lake)


def test_a_change_from_before_an_added_column_that_lands_again_is_not_new(lake: ReplicatedLake) -> None:
    first = [change("I", 1, 1), change("U", 1, 2, product_name="x")]
    lake.land(NINE, first)
    lake.refresh()
    lake.land(TEN, [change("I", 2, 3, gift="yes")], types={"gift": "string"})
    lake.refresh()
    history = lake.rows("silver/orders_history", "id", "product_name", "gift", "is_current")
    lake.land(ELEVEN, first)
    lake.refresh()
    assert lake.rows("silver/orders_history", "id", "product_name", "gift", "is_current") == history


def test_a_column_removed_at_the_source_stays_and_is_null_from_then_on(lake: ReplicatedLake) -> None:
    lake.land(NINE, [change("I", 1, 1, gift="yes")], types={"gift": "string"})
    lake.refresh()
    lake.land(TEN, [change("U", 1, 2), change("I", 2, 3)])
    lake.refresh()
    assert lake.silver("orders", "gift") == {1: (None,), 2: (None,)}
    gifts = [row["gift"] for row in lake.rows("silver/orders_history", "gift", "id")]
    assert sorted(map(str, gifts)) == ["None", "None", "yes"]


def test_columns_of_all_kinds_are_added_in_their_types(lake: ReplicatedLake) -> None:
    found = {"small": "int16", "exact": "decimal(12,3)", "ratio": "double", "on_day": "date", "seen_at": "timestamp"}
    values: dict[str, Any] = {"small": 7, "exact": Decimal("1.500"), "ratio": 0.1, "on_day": None, "seen_at": None}
    lake.land(NINE, [change("I", 1, 1, **values)], types=found)
    lake.refresh()
    assert {name: types(lake)[name] for name in found} == {
        "small": "short",
        "exact": "decimal(12,3)",
        "ratio": "double",
        "on_day": "date",
        "seen_at": "timestamp",
    }
    assert lake.silver("orders", *values) == {1: tuple(values.values())}


def test_names_that_no_column_can_have_stay_in_unknown(lake: ReplicatedLake) -> None:
    odd: dict[str, Any] = {"a b": 1, "valid_from": 2, "Price": 3, "_x": 4, "Twin": 5, "twin": 6, "fine": 7}
    lake.land(NINE, [change("I", 1, 1, **odd)], types=dict.fromkeys(odd, "int64"))
    lake.refresh()
    unknown = '{"Price":3,"Twin":5,"_x":4,"a b":1,"twin":6,"valid_from":2}'
    assert lake.silver("orders", "fine", "_unknown") == {1: (7, unknown)}


def test_a_table_that_keeps_added_columns_aside_has_them_in_unknown_until_it_is_told_otherwise(tmp_path: Path) -> None:
    lake = ReplicatedLake(tmp_path, ORDERS + "on_drift: {added: keep}\n", CUSTOMERS)
    lake.land(NINE, [change("I", 1, 1, gift="yes")], types={"gift": "string"})
    lake.refresh()
    assert lake.silver("orders", "_unknown") == {1: ('{"gift":"yes"}',)}
    evolving = ReplicatedLake(tmp_path, ORDERS, CUSTOMERS)
    evolving.land(TEN, [change("I", 2, 2)])
    with pytest.raises(ShapeChangedError, match=r"on_drift added: keep -> evolve.*datalake rebuild orders"):
        evolving.refresh(partitions=["2026-01-05-10:00"])
    evolving.rebuild()
    assert evolving.silver("orders", "gift", "_unknown") == {1: ("yes", None), 2: (None, None)}


def test_an_added_column_that_is_declared_later_needs_no_rebuild(tmp_path: Path, lake: ReplicatedLake) -> None:
    lake.land(NINE, [change("I", 1, 1, gift="yes")], types={"gift": "string"})
    lake.refresh()
    declared = ReplicatedLake(tmp_path, ORDERS.replace("  created_at:", "  gift: {type: string}\n  created_at:"))
    declared.land(TEN, [change("I", 2, 2, gift="no")])
    declared.refresh(partitions=["2026-01-05-10:00"])
    assert declared.silver("orders", "gift") == {1: ("yes",), 2: ("no",)}


@pytest.mark.parametrize(
    ("declared", "found", "values", "now"),
    [
        ("int32", "int64", (1, HUGE), "long"),
        pytest.param("int8", "int16", (1, 300), "short", marks=pytest.mark.soak),
        ("decimal(4,2)", "decimal(20,2)", (Decimal("12.50"), Decimal("123456789.25")), "decimal(20,2)"),
        pytest.param(
            "decimal(4,2)",
            "decimal(8,4)",
            (Decimal("12.50"), Decimal("1.0001")),
            "decimal(8,4)",
            marks=pytest.mark.soak,
        ),
        ("decimal(6,0)", "decimal(6,4)", (Decimal(123456), Decimal("1.0001")), "decimal(10,4)"),
        ("float", "double", (0.1, 0.1), "double"),
    ],
)
def test_a_declared_column_widens_with_the_data(
    tmp_path: Path, declared: str, found: str, values: tuple[object, object], now: str
) -> None:
    old, new = values
    text = ORDERS.replace("  created_at:", f'  size: {{type: "{declared}"}}\n  created_at:')
    lake = ReplicatedLake(tmp_path / "a", text, CUSTOMERS)
    lake.land(NINE, [change("I", 1, 1, size=old)], types={"size": declared})
    lake.refresh()
    lake.land(TEN, [change("I", 2, 2, size=new)], types={"size": found})
    lake.refresh()
    assert types(lake)["size"] == types(lake, "silver/orders_history")["size"] == now
    fresh = at_once(lake, tmp_path / "b")
    assert lake.tables(TABLES) == fresh.tables(TABLES)
    assert lake.silver("orders", "size")[2] == (new,)
    assert lake.rows("quarantine/orders") == []
    lake.land(ELEVEN, [change("I", 1, 1, size=old)], types={"size": declared})  # what landed before, once more
    lake.refresh()
    assert len(lake.rows("silver/orders_history")) == 2
    assert lake.tables(TABLES) == at_once(lake, tmp_path / "c").tables(TABLES)


def test_widening_needs_no_object_that_is_gone(tmp_path: Path) -> None:
    lake = ReplicatedLake(tmp_path, NARROW, CUSTOMERS)
    lake.land(NINE, [change("I", 1, 1)], types={"customer_id": "int32"})
    lake.refresh()
    shutil.rmtree(lake.lake.layout.bronze)
    lake.land(TEN, [change("I", 2, 2, customer_id=HUGE)], types={"customer_id": "int64"})
    lake.refresh()
    assert lake.silver("orders", "customer_id") == {1: (7,), 2: (HUGE,)}


def test_a_key_widens_in_silver_tombstones_and_history(tmp_path: Path) -> None:
    lake = ReplicatedLake(tmp_path / "a", ORDERS.replace("  id: {type: int64", "  id: {type: int32"), CUSTOMERS)
    lake.land(NINE, [change("I", 1, 1), change("I", 2, 2), change("D", 2, 9)])
    lake.refresh()
    lake.land(TEN, [change("I", HUGE, 4), change("U", 1, 5), change("U", 2, 3)], types={"id": "int64"})
    lake.refresh()
    assert set(lake.silver()) == {1, HUGE}
    assert types(lake, "silver/orders_tombstones")["id"] == "long"
    assert lake.tables(TABLES) == at_once(lake, tmp_path / "b").tables(TABLES)


def test_rows_that_were_too_wide_leave_quarantine_once_their_column_is_wide_enough(tmp_path: Path) -> None:
    """As text the number tells no type, so the column stays as it is until another file tells one."""
    lake = ReplicatedLake(tmp_path / "a", NARROW, CUSTOMERS)
    lake.land(
        NINE,
        [change("I", 1, 1, customer_id=str(HUGE)), change("I", 2, 2, customer_id="8")],
        types={"customer_id": "string"},
    )
    lake.refresh()
    assert lake.silver("orders", "customer_id") == {2: (8,)}
    (failing,) = drift(lake)
    assert (failing.partition, failing.blocking) == ("2026-01-05-09:00", False)
    assert failing.detail == (
        "column customer_id is declared as int32 and is String in "
        f"dms/public/orders/{NINE} (1 rows). Declare the new type and run `datalake rebuild orders`"
    )
    lake.land(TEN, [change("I", 3, 3, customer_id=HUGE)], types={"customer_id": "int64"})
    lake.refresh_all()
    assert lake.silver("orders", "customer_id") == {1: (HUGE,), 2: (8,), 3: (HUGE,)}
    assert lake.rows("quarantine/orders") == []
    assert not drift(lake)
    assert lake.tables(TABLES) == at_once(lake, tmp_path / "b").tables(TABLES)


def test_a_column_may_be_told_not_to_widen(tmp_path: Path) -> None:
    lake = ReplicatedLake(tmp_path, NARROW + "on_drift: {retyped: quarantine}\n", CUSTOMERS)
    lake.land(NINE, [change("I", 1, 1, customer_id=HUGE), change("I", 2, 2)], types={"customer_id": "int64"})
    lake.refresh()
    assert lake.silver("orders", "customer_id") == {2: (7,)}
    assert types(lake)["customer_id"] == "integer"
    assert [v.detail.partition(" in ")[0] for v in drift(lake)] == [
        "column customer_id is declared as int32 and is Int64"
    ]
    widening = ReplicatedLake(tmp_path, NARROW, CUSTOMERS)
    widening.land(TEN, [change("I", 3, 3)])
    widening.refresh_all()
    assert widening.silver("orders", "customer_id") == {1: (HUGE,), 2: (7,), 3: (7,)}
    assert widening.rows("quarantine/orders") == []
    assert drift(widening) == []


def test_digits_that_no_type_has_together_ask_for_a_decision(lake: ReplicatedLake) -> None:
    lake.land(NINE, [change("I", 1, 1, price=Decimal(10) ** 30)], types={"price": "decimal(38,2)"})
    lake.refresh()
    assert types(lake)["price"] == "decimal(38,2)"
    lake.land(TEN, [change("I", 2, 2, price=Decimal("1.25"))], types={"price": "decimal(38,20)"})
    with pytest.raises(ShapeChangedError, match=r"type of `price`: decimal\(38,2\) -> decimal\(10,2\)"):
        lake.refresh()
    assert set(lake.silver()) == {1}
    lake.rebuild()
    assert lake.silver("orders", "price") == {2: (Decimal("1.25"),)}
    (row,) = lake.rows("quarantine/orders", "errors")
    assert row["errors"] == [f"/price type: {10**30}.00 (Decimal(precision=38, scale=2)) is no decimal(10,2)"]
    (failing,) = drift(lake)
    assert failing.detail.startswith("column price is declared as decimal(10,2) and is Decimal(precision=38, scale=2)")


def test_any_other_retype_goes_to_quarantine_and_heals_when_the_file_is_mended(lake: ReplicatedLake) -> None:
    lake.land(NINE, [change("I", 1, 1, price=1.5)], types={"price": "double"})
    lake.refresh()
    assert lake.silver() == {}
    (row,) = lake.rows("quarantine/orders", "errors")
    assert row["errors"] == ["/price type: 1.5 (Float64) is no decimal(10,2)"]
    assert len(drift(lake)) == 1
    lake.land(NINE, [change("I", 1, 1, price=Decimal("1.50"))])
    lake.refresh()
    assert lake.silver("orders", "price") == {1: (Decimal("1.50"),)}
    assert not drift(lake)


def test_files_that_disagree_on_an_added_column_make_it_json_text_in_any_order(tmp_path: Path) -> None:
    values: list[tuple[str, Any, str]] = [
        ("int32", 12, "12"),
        ("int64", HUGE, str(HUGE)),
        ("string", "12", '"12"'),
        ("decimal(6,2)", Decimal("1.50"), '"1.5"'),
        ("boolean", True, "true"),
    ]
    results = []
    for turn in (1, -1):
        lake = ReplicatedLake(tmp_path / str(turn))
        for n, (kind, value, _) in list(enumerate(values))[::turn]:
            path = f"2026/01/05/09/20260105-09000{n}000.parquet"
            lake.land(path, [change("I", n, n, gift=value)], types={"gift": kind})
            lake.refresh()
        assert lake.silver("orders", "gift") == {n: (text,) for n, (_, _, text) in enumerate(values)}
        assert lake.silver("orders", "_unknown") == dict.fromkeys(range(len(values)), (None,))
        results.append(lake.tables(TABLES))
    assert all(result == results[0] for result in results)


def test_an_object_that_is_overwritten_takes_its_columns_with_it(lake: ReplicatedLake, tmp_path: Path) -> None:
    lake.land(NINE, [change("I", 1, 1, gift="yes", other=1)], types={"gift": "string", "other": "int64"})
    lake.land(TEN, [change("I", 2, 2, other=2)], types={"other": "int16"})
    lake.refresh()
    assert types(lake)["other"] == "long"
    lake.land(NINE, [change("I", 1, 1)])
    lake.refresh()
    assert "gift" not in types(lake)
    assert types(lake)["other"] == "short"
    assert lake.silver("orders", "other") == {1: (None,), 2: (2,)}
    assert lake.tables(TABLES) == at_once(lake, tmp_path / "fresh").tables(TABLES)


def test_gold_is_as_wide_as_silver(tmp_path: Path) -> None:
    narrow = ORDERS.replace("decimal(10,2)", "decimal(4,2)").replace("id: {type: int64", "id: {type: int32")
    lake = ReplicatedLake(tmp_path / "a", narrow, CUSTOMERS.replace("int64", "int32"))
    person = {"Op": "I", "ar_h_change_seq": "1", "dms_timestamp": "2026-01-05 09:00:00.000000"}
    lake.land(NINE, [person | {"id": 7, "name": "Ann", "country": "CH"}], table="customers")
    lake.refresh("customers")
    lake.land(NINE, [change("I", 1, 1, price=Decimal("1.25"))])
    lake.refresh()
    lake.refresh_gold()
    lake.land(TEN, [change("I", 2, 2, price=Decimal("9999999.75"))], types={"price": "decimal(10,2)", "id": "int64"})
    lake.land(TEN, [person | {"id": HUGE, "name": "Bob", "country": "DE"}], table="customers", types={"id": "int64"})
    lake.refresh()
    lake.refresh("customers")
    lake.refresh_gold()
    (sales,) = lake.rows("gold/daily_sales", "revenue", "orders")
    assert sales == {"orders": 2, "revenue": Decimal("10000001.00")}
    enriched = lake.rows("gold/orders_enriched", "id", "price", "customer_name")
    assert [tuple(row.values()) for row in enriched] == [
        ("Ann", 1, Decimal("1.25")),
        ("Ann", 2, Decimal("9999999.75")),
    ]
    assert lake.owed() == {}


def test_maintenance_keeps_the_values_of_added_columns(lake: ReplicatedLake) -> None:
    for n, path in enumerate((NINE, TEN, ELEVEN)):
        lake.land(path, [change("I", n, n, gift=f"{n}")], types={"gift": "string"})
        lake.refresh()
    assert [done for done in maintain(lake.lake, retention=timedelta(0)) if isinstance(done, str)] == []
    assert len(files(lake, "silver/orders")) == 1
    assert lake.silver("orders", "gift") == {0: ("0",), 1: ("1",), 2: ("2",)}
    lake.rebuild()
    assert lake.silver("orders", "gift") == {0: ("0",), 1: ("1",), 2: ("2",)}


def test_a_step_that_read_by_fewer_columns_reads_again(
    lake: ReplicatedLake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another step finds a column after this one has read its objects, and before it writes any."""
    lake.land(LOAD, [change(None, 1, None)])
    lake.refresh()
    other = ReplicatedLake(tmp_path)
    lake.land(NINE, [change("U", 1, 1, product_name="x")])
    lake.land(TEN, [change("U", 1, 2, gift="yes", customer_id=9)], types={"gift": "string"})
    opened = Lake.quarantine
    came: list[object] = []

    def quarantine(self: Lake, dataset: Any) -> Any:
        if not came:
            came.append(other)
            other.refresh(partitions=["2026-01-05-10:00"])
        return opened(self, dataset)

    monkeypatch.setattr(Lake, "quarantine", quarantine)
    lake.refresh(partitions=["2026-01-05-09:00"])
    assert lake.silver("orders", "product_name", "gift", "customer_id") == {1: ("tea", "yes", 9)}
    assert lake.tables(TABLES) == at_once(lake, tmp_path / "fresh").tables(TABLES)
    assert pl.read_delta(lakes.table_of(lake.lake, "silver/orders_history").uri)["gift"].to_list().count("yes") == 1
