"""What is found where silver is not what the source has, and how little is read where it is."""

from pathlib import Path

import polars as pl
import pytest

from datalake_assets.reconcile.reconcile import Ask
from datalake_assets_tests.postgres import Database
from datalake_assets_tests.reconcile.source import Compared

pytestmark = pytest.mark.xdist_group("postgres")
_COLUMNS = {"id": "int64", "v": "string", "price": "decimal(10,2)"}
_TABLE = "CREATE TABLE t (id bigint PRIMARY KEY, v text, price numeric(10,2))"
_ROWS = "INSERT INTO t SELECT n, 'item ' || n, n * 1.01 FROM generate_series(1, 100000) n"


@pytest.fixture
def compared(postgres: Database, tmp_path: Path) -> Compared:
    postgres.execute(_TABLE)
    return Compared(postgres, tmp_path, _COLUMNS)


def test_of_tables_that_agree_no_row_is_fetched(compared: Compared) -> None:
    compared.postgres.execute(_ROWS)
    compared.catch_up()
    found = compared.reconcile()
    assert found.agrees
    assert (found.source_rows, found.silver_rows) == (100_000, 100_000)
    assert (found.ranges_differing, found.rows_read) == (0, 0)
    assert found.ranges > 10


def test_one_changed_row_among_many_is_found_with_its_columns(compared: Compared) -> None:
    compared.postgres.execute(_ROWS)
    compared.catch_up()
    compared.postgres.execute("UPDATE t SET price = price + 0.01 WHERE id = 77777")
    found = compared.reconcile()
    assert (found.missing, found.extra, found.changed, found.ranges_differing) == (0, 0, 1, 1)
    assert found.rows_read < 12_000
    (difference,) = found.shown
    assert (difference.key, difference.kind) == ({"id": "77777"}, "changed")
    assert difference.columns == {"price": ("78554.78", "78554.77")}


def test_missing_and_extra_rows_are_told_by_key(compared: Compared) -> None:
    compared.postgres.execute("INSERT INTO t SELECT generate_series(1, 300)")
    compared.catch_up()
    compared.postgres.execute("DELETE FROM t WHERE id IN (1, 150)", "INSERT INTO t VALUES (-5), (151000)")
    found = compared.reconcile(Ask(rows_in_range=20))
    assert [(one.key["id"], one.kind) for one in found.shown] == [
        ("-5", "missing in silver"),
        ("1", "not in the source"),
        ("150", "not in the source"),
        ("151000", "missing in silver"),
    ]
    assert (found.missing, found.extra, found.changed) == (2, 2, 0)


def test_null_is_no_empty_text_and_no_other_value(compared: Compared) -> None:
    compared.postgres.execute("INSERT INTO t VALUES (1, NULL, NULL), (2, '', 0), (3, '~', 1), (4, '|', NULL)")
    compared.catch_up()
    assert compared.reconcile().agrees
    compared.postgres.execute("UPDATE t SET v = CASE WHEN v IS NULL THEN '' END")
    found = compared.reconcile()
    assert {one.key["id"]: one.columns["v"] for one in found.shown} == {
        "1": ("", None),
        "2": (None, ""),
        "3": (None, "~"),
        "4": (None, "|"),
    }


def test_values_that_only_change_places_between_columns_or_rows_differ(postgres: Database, tmp_path: Path) -> None:
    postgres.execute("CREATE TABLE t (id int PRIMARY KEY, a text, b text)")
    compared = Compared(postgres, tmp_path, {"id": "int32", "a": "string", "b": "string"})
    postgres.execute("INSERT INTO t VALUES (1, 'x|', 'y'), (2, 'x', 'y'), (3, 'y', 'x'), (4, 'p^', '|'), (5, '', NULL)")
    compared.catch_up()
    assert compared.reconcile().agrees
    postgres.execute(
        "UPDATE t SET a = 'x', b = '|y' WHERE id = 1",
        "UPDATE t SET a = b, b = a WHERE id IN (2, 3, 5)",
        "UPDATE t SET a = 'p', b = '^|' WHERE id = 4",
    )
    assert compared.reconcile().changed == 5


@pytest.mark.parametrize(("in_source", "in_silver"), [(0, 0), (0, 3_000), (3_000, 0), (3_000, 10), (10, 3_000)])
def test_a_side_may_be_empty_or_nearly_so(compared: Compared, in_source: int, in_silver: int) -> None:
    statement = "INSERT INTO t SELECT generate_series(1, 3000)"
    if in_silver:
        compared.postgres.execute(statement, f"DELETE FROM t WHERE id > {in_silver}")
        compared.catch_up()
    compared.postgres.execute("TRUNCATE t", statement, f"DELETE FROM t WHERE id > {in_source}")
    found = compared.reconcile(Ask(rows_in_range=100, shown=3))
    assert (found.source_rows, found.silver_rows) == (in_source, in_silver)
    assert (found.missing, found.extra) == (max(0, in_source - in_silver), max(0, in_silver - in_source))
    assert len(found.shown) == min(3, found.differing)
    assert found.agrees is (in_source == in_silver)


def test_more_differing_keys_than_are_kept_are_told_as_more(compared: Compared) -> None:
    compared.postgres.execute("INSERT INTO t SELECT generate_series(1, 5000)")
    compared.catch_up()
    compared.postgres.execute("UPDATE t SET v = 'other'")
    found = compared.reconcile(Ask(rows_in_range=100, most_keys=1_000))
    assert (found.changed, found.is_cut_short, found.agrees) == (1_000, True, False)
    assert found.rows_read < 10_000


def test_ranges_that_grew_apart_are_cut_again(compared: Compared) -> None:
    compared.postgres.execute("INSERT INTO t SELECT generate_series(1, 1000)")
    compared.catch_up()
    compared.postgres.execute("INSERT INTO t SELECT generate_series(5001, 40000)", "DELETE FROM t WHERE id = 7000")
    compared.catch_up()
    compared.spoil(lambda rows: rows.filter((pl.col("id") <= 500) | (pl.col("id") % 3000 == 0)))
    found = compared.reconcile(Ask(rows_in_range=100))
    assert (found.missing, found.extra, found.changed) == (500 + 34_999 - 12, 0, 0)


def test_columns_that_are_ignored_are_not_compared(compared: Compared) -> None:
    compared.postgres.execute("INSERT INTO t VALUES (1, 'a', 1)")
    compared.catch_up()
    compared.postgres.execute("UPDATE t SET v = 'b'")
    found = compared.reconcile(Ask(ignored=("v",)))
    assert found.agrees
    assert found.left_out == {"v": "it is to be ignored"}


def test_a_table_that_has_followed_a_change_of_columns_is_compared_in_its_wider_types(
    postgres: Database, tmp_path: Path
) -> None:
    postgres.execute(
        "CREATE TABLE t (id int PRIMARY KEY, n int, price numeric(6,2))",
        "INSERT INTO t SELECT n, n, n FROM generate_series(1, 300) n",
    )
    compared = Compared(postgres, tmp_path, {"id": "int32", "n": "int32", "price": "decimal(6,2)"})
    compared.catch_up()
    postgres.execute(
        "ALTER TABLE t ADD COLUMN added text, ALTER id TYPE bigint, ALTER n TYPE bigint, ALTER price TYPE numeric(9,3)",
        "INSERT INTO t VALUES (5000000000, 6000000000, 0.125, 'new')",
    )
    compared.catch_up()
    found = compared.reconcile(Ask(rows_in_range=20))
    assert (found.agrees, found.source_rows, found.left_out) == (True, 301, {})
    postgres.execute("UPDATE t SET n = n + 1, added = 'is not declared' WHERE id = 5000000000")
    (difference,) = compared.reconcile(Ask(rows_in_range=20)).shown
    assert (difference.key, difference.columns) == ({"id": "5000000000"}, {"n": ("6000000001", "6000000000")})
