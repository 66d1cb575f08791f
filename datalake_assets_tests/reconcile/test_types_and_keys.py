"""Every type that DMS lands, and keys of every kind: equal values agree, and one that differs is found."""

from pathlib import Path

import polars as pl
import psycopg
import pytest

from datalake_assets.reconcile.plan import ReconcileError
from datalake_assets.reconcile.reconcile import Ask
from datalake_assets.replicate.form import FileFormat
from datalake_assets_tests.postgres import Database, database
from datalake_assets_tests.reconcile.source import Compared

pytestmark = pytest.mark.xdist_group("postgres")
_TABLE = """
CREATE TYPE mood AS ENUM ('glad', 'sad');
CREATE DOMAIN amount AS numeric(8,2);
CREATE TABLE t (id int PRIMARY KEY, i2 smallint, i4 int, i8 bigint, dec numeric(38,10), any_dec numeric,
  wide numeric(50,2), hundreds numeric(3,-2), f4 real, f8 float8, yes bool, yes_text bool, day date, at timestamp,
  atz timestamptz, hour time, span interval, name varchar(20), code char(4), doc jsonb, plain json, tag uuid, raw bytea,
  feeling mood, list int[], price amount, cost money, net inet)
"""
_TYPES = {
    "id": "int32", "i2": "int16", "i4": "int64", "i8": "int64", "dec": "decimal(38,10)", "any_dec": "string",
    "wide": "string", "hundreds": "decimal(5,0)", "f4": "float", "f8": "double", "yes": "boolean",
    "yes_text": "string", "day": "date", "at": "timestamp", "atz": "timestamp", "hour": "string", "span": "string",
    "name": "string", "code": "string", "doc": "json", "plain": "json", "tag": "string", "raw": "binary",
    "feeling": "string", "list": "string", "price": "decimal(9,3)", "cost": "decimal(38,4)", "net": "string",
}  # fmt: skip
_ROWS = (
    """
INSERT INTO t VALUES (1, 32767, -2147483648, 9223372036854775807, 9999999999999999999999999999.9999999999,
  0.611111104488373, 123456789012345678901234567890123456789012345678.25, 12345, 3.4028235e38, 'Infinity', true, true,
  '2026-02-28', '2026-02-28 23:59:59.999999', '2026-02-28 23:59:59.000001+00', '24:00:00', '1 year 2 days 03:04:05.6',
  'Zoë 🛒', 'ab', '{"b": 1, "a": [1, null]}', '{"b":1,  "a":2}', '6F1C0F3E-8a5b-4a0e-9c7d-0d2b1f7e3c11', '\\x00ff',
  'glad', '{1,NULL,3}', 12.5, -1234.5, '10.0.0.1')
""",
    """
INSERT INTO t VALUES (2, -1, 0, -9223372036854775808, -0.5, 'NaN', 0.00, -100, -1e-45, 'NaN', false, false,
  'infinity', 'infinity', '-infinity', '09:30:00.5', '-1 mons', '', '', 'null', '[]',
  '00000000-0000-0000-0000-000000000000', '', 'sad', '{}', 0, 0, '::1/64')
""",
    """
INSERT INTO t (id, dec, f4, f8, day, at, atz, hour) VALUES (3, 'NaN', 0.1, '-0', '-infinity', '-infinity', 'infinity',
  '23:59:59.9999')
""",
    """
INSERT INTO t (id, dec, f4, f8, day, at, atz) VALUES
  (4, 100, 1e22, 5e-324, '0044-03-15 BC', '0044-03-15 12:00:00.000001 BC', '0001-01-01 00:00:00+00'),
  (5, 0.0000000001, 'NaN', 1e22, '9999-12-31', '9999-12-31 23:59:59.999999', '1969-12-31 23:59:59.999999+00'),
  (6, -10.10, '-Infinity', 0.1, '10000-01-01', '12026-01-01', '200000-01-01 00:00:00+00')
""",
    "INSERT INTO t (id) VALUES (7)",
)


def test_equal_values_of_every_type_agree_and_others_differ(postgres: Database, tmp_path: Path) -> None:
    postgres.execute(_TABLE, *_ROWS)
    compared = Compared(postgres, tmp_path, _TYPES)
    compared.catch_up()
    found = compared.reconcile()
    assert found.shown == ()
    assert (found.agrees, found.source_rows, found.left_out) == (True, 7, {})
    postgres.execute(
        "UPDATE t SET i2 = 0, i4 = 1, i8 = 1, dec = 9999999999999999999999999999.9999999998, any_dec = 0.6, "
        "wide = 0.01, hundreds = 0, f4 = 3.4028232e38, f8 = '-Infinity', yes = false, yes_text = false, "
        "day = '2026-03-01', at = '2026-02-28 23:59:59.999998', atz = '2026-02-28 23:59:59+00', "
        "hour = '23:59:59.998', span = '1 year', "
        "name = 'Zoe 🛒', code = 'a b', doc = '{}', plain = '{\"b\":1, \"a\":2}', "
        "tag = '6f1c0f3e-8a5b-4a0e-9c7d-0d2b1f7e3c12', raw = '\\x00fe', feeling = 'sad', list = '{1,2,3}', "
        "price = 12.51, cost = 0, net = '10.0.0.1/31' WHERE id = 1"
    )
    (difference,) = compared.reconcile().shown
    assert difference.columns.keys() == _TYPES.keys() - {"id"}
    assert difference.columns["at"] == ("2026-02-28 23:59:59.999998", "2026-02-28 23:59:59.999999")
    assert difference.columns["day"] == ("2026-03-01", "2026-02-28")
    assert difference.columns["f8"] == ("-inf", "inf")


def test_times_that_64_bits_can_not_hold_are_clipped_as_infinite_ones_are(postgres: Database, tmp_path: Path) -> None:
    too_late = "294247-01-10 04:00:54.775808"
    postgres.execute(
        "CREATE TABLE t (id int PRIMARY KEY, at timestamp, atz timestamptz)",
        f"INSERT INTO t VALUES (1, '{too_late}', '{too_late}'), (2, '262142-12-31 23:00:00', '2026-01-01')",
    )
    compared = Compared(postgres, tmp_path, {"id": "int32", "at": "timestamp", "atz": "timestamp"})
    compared.catch_up()
    postgres.execute("INSERT INTO t VALUES (3, '294276-12-31 23:59:59.999999', '294276-12-31')")
    compared.catch_up()
    found = compared.reconcile()
    assert (found.shown, found.agrees, found.source_rows) == ((), True, 3)
    silver = compared.lake.lake.silver(compared.lake.dataset("t")).open().scan().sort("id")
    times = silver.select(pl.col("at").cast(pl.String).str.slice(0, 19)).collect().to_series().to_list()
    assert times == ["9999-12-31 23:59:59", "+262142-12-31 23:00", "9999-12-31 23:59:59"]
    postgres.execute(f"UPDATE t SET at = '{too_late}' WHERE id = 2")
    (difference,) = compared.reconcile().shown
    assert (difference.key, list(difference.columns)) == ({"id": "2"}, ["at"])


def test_what_dms_may_not_land_exactly_is_left_out_and_told(postgres: Database, tmp_path: Path) -> None:
    postgres.execute(
        "CREATE TABLE t (id int PRIMARY KEY, n numeric, f float8, at timestamp)",
        "INSERT INTO t VALUES (1, 0.123456, 0.5, now())",
    )
    columns = {"id": "int32", "n": "decimal(28,6)", "f": "string", "at": "date", "gone": "string"}
    compared = Compared(postgres, tmp_path, columns)
    compared.replica.catch_up()
    compared.lake.refresh("t")
    found = compared.reconcile()
    assert found.left_out == {
        "n": "DMS may not land numeric exactly as decimal(28,6)",
        "f": "DMS may not land double precision exactly as string",
        "at": "DMS may not land timestamp without time zone exactly as date",
        "gone": "public.t has no such column, or does not replicate it",
    }


def test_texts_that_csv_can_not_tell_apart_are_no_difference(postgres: Database, tmp_path: Path) -> None:
    postgres.execute(
        "CREATE TABLE t (id int PRIMARY KEY, v text, f real, at timestamptz)",
        "INSERT INTO t VALUES (1, 'NULL', 0.1, now()), (2, NULL, 1e-30, '1999-01-01'), (3, 'a', -0.3, NULL)",
    )
    compared = Compared(postgres, tmp_path, {"id": "int32", "v": "string", "f": "double", "at": "timestamp"}, csv=True)
    compared.replica.form = type(compared.replica.form)(file_format=FileFormat.CSV, sequence_column="ar_h_change_seq")
    compared.replica.catch_up()
    folder = Path(compared.lake.lake.layout.bronze) / "dms" / "public" / "t"
    (file,) = folder.glob("LOAD*")
    lines = [line.split(",") for line in file.read_text().replace('"', "").splitlines()]
    empty = [",".join(field or "NULL" for field in [*line[:2], *line[3:7], line[2]]) for line in lines]
    file.write_text("\n".join(empty) + "\n")
    assert compared.lake.refresh("t").rows_rejected == 0
    found = compared.reconcile()
    assert (found.shown, found.agrees) == ((), True)


_ODD = (
    "'a', 'B', 'b', 'A', 'é', 'e', 'z', 'Z', ' ', '', '_x', '-x', 'x', 'ß', 'ss', '🛒', '\uff5a', '10', '9', '^|', '%s'"
)


@pytest.mark.parametrize("collation", ["C", "linguistic", "case_insensitive"])
def test_text_keys_are_in_order_by_bytes_whatever_the_collation(
    postgres: Database, tmp_path: Path, collation: str
) -> None:
    try:
        if collation != "C":
            postgres.execute(
                "CREATE COLLATION linguistic (provider = icu, locale = 'de')",
                "CREATE COLLATION case_insensitive (provider = icu, locale = 'und-u-ks-level2', deterministic = false)",
            )
    except psycopg.errors.FeatureNotSupported:
        pytest.skip("this Postgres has no ICU; one that has is given by DATALAKE_TEST_POSTGRES")
    postgres.execute(
        f'CREATE TABLE t (id text COLLATE "{collation}" PRIMARY KEY, n int)',
        f"INSERT INTO t SELECT v || k, k FROM unnest(ARRAY[{_ODD}]) v, generate_series(1, 30) k ON CONFLICT DO NOTHING",
    )
    compared = Compared(postgres, tmp_path, {"id": "string", "n": "int32"})
    compared.catch_up()
    found = compared.reconcile(Ask(rows_in_range=10))
    assert found.agrees
    assert found.ranges > 20
    assert found.rows_read == 0
    postgres.execute("UPDATE t SET n = -1 WHERE id = '🛒7' OR id = '^|3'", "DELETE FROM t WHERE id = 'é2'")
    found = compared.reconcile(Ask(rows_in_range=10))
    assert {(one.key["id"], one.kind) for one in found.shown} == {
        ("^|3", "changed"),
        ("é2", "not in the source"),
        ("🛒7", "changed"),
    }
    assert found.ranges_differing == 3


def test_a_database_of_another_encoding_is_compared_in_utf_8(postgres_server: str, tmp_path: Path) -> None:
    with database(postgres_server, "ENCODING 'WIN1252' LOCALE 'C'") as postgres:
        postgres.execute("CREATE TABLE t (id text PRIMARY KEY, v text)")
        with postgres.connect() as connection:
            for text in "€ÿéaZž‰•":  # whose order in Windows-1252 is not that of Unicode
                connection.execute("INSERT INTO t SELECT %s || n, %s FROM generate_series(1, 9) n", (text, text))
        compared = Compared(postgres, tmp_path, {"id": "string", "v": "string"})
        compared.catch_up()
        found = compared.reconcile(Ask(rows_in_range=4))
        assert (found.agrees, found.rows_read, found.source_rows) == (True, 0, 72)
        with postgres.connect() as connection:
            connection.execute("UPDATE t SET v = 'x' WHERE id = %s", ("€4",))
        assert [one.key for one in compared.reconcile(Ask(rows_in_range=4)).shown] == [{"id": "€4"}]


def test_composite_keys_are_cut_within_their_first_column(postgres: Database, tmp_path: Path) -> None:
    postgres.execute(
        "CREATE TABLE t (shop text, number int, at timestamptz, v int, PRIMARY KEY (shop, number, at))",
        "INSERT INTO t SELECT s, n, timestamptz '2026-01-01' + n % 3 * interval '1 h', n "
        "FROM unnest(ARRAY['only', 'Other']) s, generate_series(1, 3000) n",
    )
    compared = Compared(
        postgres,
        tmp_path,
        {"shop": "string", "number": "int32", "at": "timestamp", "v": "int32"},
        key="shop, number, at",
    )
    compared.catch_up()
    ask = Ask(rows_in_range=50)
    assert compared.reconcile(ask).agrees
    postgres.execute("UPDATE t SET v = 0 WHERE shop = 'only' AND number = 1500")
    found = compared.reconcile(ask)
    assert [(one.key, one.columns) for one in found.shown] == [
        ({"shop": "only", "number": "1500", "at": "2026-01-01 00:00:00.000000"}, {"v": ("0", "1500")})
    ]
    assert (found.ranges_differing, found.rows_read < 300) == (1, True)


@pytest.mark.parametrize(
    ("kind", "declared", "some"),
    [
        ("uuid", "string", "md5(n::text)::uuid"),
        ("numeric(12,3)", "decimal(12,3)", "(n - 200) / 8.0"),
        ("date", "date", "date '0001-01-01' + n * 9999"),
        ("char(6)", "string", "to_hex(n)"),
        ("bytea", "binary", "sha256(int4send(n))"),
        ("bigint", "int64", "(n - 200)::bigint * 20000000000000000"),
    ],
)
def test_keys_of_other_types(postgres: Database, tmp_path: Path, kind: str, declared: str, some: str) -> None:
    postgres.execute(
        f"CREATE TABLE t (id {kind} PRIMARY KEY, n int)",
        f"INSERT INTO t SELECT {some}, n FROM generate_series(1, 400) n",
    )
    compared = Compared(postgres, tmp_path, {"id": declared, "n": "int32"})
    compared.catch_up()
    found = compared.reconcile(Ask(rows_in_range=20))
    assert (found.agrees, found.rows_read) == (True, 0)
    postgres.execute("UPDATE t SET n = 0 WHERE n = 33", "DELETE FROM t WHERE n = 34")
    found = compared.reconcile(Ask(rows_in_range=20))
    assert (found.changed, found.extra, found.missing) == (1, 1, 0)


def test_a_key_that_can_not_be_compared_is_refused(postgres: Database, tmp_path: Path) -> None:
    postgres.execute("CREATE TABLE t (id numeric PRIMARY KEY)")
    compared = Compared(postgres, tmp_path, {"id": "decimal(28,6)"})
    with pytest.raises(ReconcileError, match="the key of t can't be compared: id: DMS may not land numeric exactly"):
        compared.reconcile()
