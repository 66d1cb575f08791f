"""The full load: files, columns and types as DMS writes them, of one moment of the source."""

import gzip
import re
from dataclasses import replace
from datetime import UTC, datetime, time
from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from datalake_assets.replicate.form import DatePartition, FileFormat
from datalake_assets_tests.postgres import Database
from datalake_assets_tests.replicate.replica import Replica, values

pytestmark = pytest.mark.xdist_group("postgres")
UTC_MICROSECONDS = pa.timestamp("us", tz="UTC")


def test_a_load_has_all_rows_with_the_columns_that_dms_adds(postgres: Database, replica: Replica) -> None:
    postgres.execute("CREATE TABLE t (id int PRIMARY KEY, name text)", "INSERT INTO t VALUES (1, 'a'), (2, NULL)")
    tally = replica.catch_up()
    assert (tally.loaded, tally.changes, tally.objects) == (2, 0, 1)
    assert replica.names() == ["LOAD00000001.parquet"]
    schema = pq.read_schema(replica.files()[0])
    assert schema.names == ["Op", "dms_timestamp", "ar_h_change_seq", "id", "name", "BI_id"]
    assert [values(row, "Op", "ar_h_change_seq", "id", "name", "BI_id") for row in replica.rows()] == [
        ("I", "", 1, "a", None),
        ("I", "", 2, None, None),
    ]
    times = {datetime.strptime(row["dms_timestamp"], "%Y-%m-%d %H:%M:%S.%f") for row in replica.rows()}  # noqa: DTZ007
    assert len(times) == 1, "a load's rows have the time at which it began"


def test_load_files_are_counted_in_hex(postgres: Database, replica: Replica) -> None:
    postgres.execute("CREATE TABLE t (id int PRIMARY KEY)", "INSERT INTO t SELECT generate_series(1, 35)")
    replica.form = replace(replica.form, load_rows=2)
    replica.catch_up()
    assert replica.names()[8:18] == [f"LOAD000000{n:02X}.parquet" for n in range(9, 19)]
    assert sorted(row["id"] for row in replica.rows()) == list(range(1, 36))
    loads = replica.loads()
    assert [load["file"] for load in loads] == list(range(1, 19))
    assert [load["last"] for load in loads] == [False] * 17 + [True]
    assert len({load["load"] for load in loads}) == 1


def test_columns_that_are_not_asked_for_are_left_out(postgres: Database, replica: Replica) -> None:
    postgres.execute("CREATE TABLE t (id int PRIMARY KEY, ok bool)", "INSERT INTO t VALUES (1, true)")
    replica.form = replace(
        replica.form,
        timestamp_column=None,
        sequence_column=None,
        load_operation=False,
        before_images=False,
        booleans=True,
    )
    replica.catch_up()
    assert replica.rows() == [{"id": 1, "ok": True}]


def test_an_empty_table_lands_nothing(postgres: Database, replica: Replica) -> None:
    postgres.execute("CREATE TABLE t (id int PRIMARY KEY)")
    assert replica.catch_up().objects == 0
    assert replica.catch_up().objects == 0


def test_texts_are_those_of_the_source_to_the_letter(postgres: Database, replica: Replica) -> None:
    postgres.execute("CREATE TABLE t (id int PRIMARY KEY, v text)")
    texts = ["", None, '"', "a,b", "line\nline\r\n", "\\.", "\\N", "NULL", "  ", "ünïcödé 🛒", "\t", "x" * 2_000_000]
    with postgres.connect() as connection:
        for id_, text in enumerate(texts):
            connection.execute("INSERT INTO t VALUES (%s, %s)", (id_, text))
    replica.catch_up()
    assert [row["v"] for row in replica.rows()] == texts
    postgres.execute("INSERT INTO t SELECT id + 100, v FROM t ORDER BY id")
    replica.catch_up()
    assert [row["v"] for row in replica.changes()] == texts


TYPES = """
CREATE TYPE mood AS ENUM ('glad', 'sad');
CREATE DOMAIN money_of_ours AS numeric(8,2);
CREATE TABLE t (
  id bigint PRIMARY KEY, i2 smallint, i4 int, i8 bigint, dec numeric(38,10), any_dec numeric, wide numeric(50,2),
  hundreds numeric(3,-2), f4 real, f8 double precision, yes boolean, day date, at timestamp, atz timestamptz,
  hour time, span interval, name varchar(20), code char(4), doc jsonb, tag uuid, raw bytea, feeling mood,
  list int[], price money_of_ours, cost money
)
"""
LARGEST = """
INSERT INTO t VALUES (
  1, 32767, -2147483648, 9223372036854775807, 9999999999999999999999999999.9999999999, 0.611111104488373,
  123456789012345678901234567890123456789012345678.25, 12345, 3.4028235e38, 'Infinity', true, '5874897-12-31',
  '2026-02-28 23:59:59.999999', '2026-03-01 01:59:59.000001+02', '23:59:59.999999', '1 year 2 days 03:04:05.000006',
  'Zoë', 'ab', '{"a": [1, null]}', '6f1c0f3e-8a5b-4a0e-9c7d-0d2b1f7e3c11', '\\x00ff', 'glad', '{1,NULL,3}', 12.5,
  '-1234.5'
)
"""
STRANGEST = """
INSERT INTO t (id, dec, any_dec, f8, yes, day, at, atz, hour, raw) VALUES (
  2, 'NaN', 'NaN', 'NaN', false, '-infinity', 'infinity', '0044-03-15 12:00:00+00 BC', '24:00:00', ''
)
"""


@pytest.mark.parametrize("way", ["load", "changes"])
def test_every_type_is_written_as_dms_does_and_exact(postgres: Database, replica: Replica, way: str) -> None:
    postgres.execute(TYPES)
    if way == "changes":
        replica.catch_up()
    postgres.execute(LARGEST, STRANGEST)
    replica.catch_up()
    (path,) = replica.files()
    table = pq.read_table(path)
    types = {field.name: field.type for field in table.schema}
    assert {name for name, type_ in types.items() if type_ == pa.string()} >= {
        "any_dec", "wide", "yes", "span", "name", "code", "doc", "tag", "feeling", "list"
    }  # fmt: skip
    assert types["dec"] == pa.decimal128(38, 10)
    assert types["hundreds"] == pa.decimal128(5, 0)
    assert types["price"] == pa.decimal128(8, 2)
    assert types["cost"] == pa.decimal128(38, 4)
    assert types["at"] == types["atz"] == UTC_MICROSECONDS
    assert [types[name] for name in ("i2", "i4", "i8", "f4", "f8")] == [
        pa.int16(), pa.int32(), pa.int64(), pa.float32(), pa.float64()
    ]  # fmt: skip
    days = table["day"].cast(pa.int32()).to_pylist()
    ticks = {name: table[name].cast(pa.int64()).to_pylist() for name in ("at", "atz")}
    largest, strangest = table.drop(["day", "at", "atz"]).to_pylist()
    assert {name: largest[name] for name in largest if name not in {"Op", "dms_timestamp", "ar_h_change_seq"}} == {
        "id": 1,
        "i2": 32767,
        "i4": -(2**31),
        "i8": 2**63 - 1,
        "dec": Decimal("9999999999999999999999999999.9999999999"),
        "any_dec": "0.611111104488373",
        "wide": "123456789012345678901234567890123456789012345678.25",
        "hundreds": Decimal(12300),
        "f4": pytest.approx(3.4028235e38),
        "f8": float("inf"),
        "yes": "true",
        "hour": time(23, 59, 59, 999_999),
        "span": "1 year 2 days 03:04:05.000006",
        "name": "Zoë",
        "code": "ab  ",
        "doc": '{"a": [1, null]}',
        "tag": "6f1c0f3e-8a5b-4a0e-9c7d-0d2b1f7e3c11",
        "raw": b"\x00\xff",
        "feeling": "glad",
        "list": "{1,NULL,3}",
        "price": Decimal("12.50"),
        "cost": Decimal("-1234.5000"),
        "BI_id": None,
    }
    assert (strangest["dec"], strangest["any_dec"], strangest["yes"], strangest["raw"]) == (None, "NaN", "false", b"")
    assert strangest["f8"] != strangest["f8"]
    assert strangest["hour"] == time(23, 59, 59, 999_999)
    clipped, ides = postgres.rows(
        "SELECT date '4713-01-01 BC' - date '1970-01-01', "
        "extract(epoch FROM timestamp '0044-03-15 12:00:00 BC')::bigint"
    )[0]
    assert days == [2_145_042_905, clipped]
    assert ticks["at"] == [_micros(2026, 2, 28, 23, 59, 59, 999_999), _micros(9999, 12, 31, 23, 59, 59)]
    assert ticks["atz"] == [_micros(2026, 2, 28, 23, 59, 59, 1), ides * 1_000_000]


def _micros(*parts: int) -> int:
    delta = datetime(*parts, tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)  # type: ignore[arg-type, misc]
    return (delta.days * 86_400 + delta.seconds) * 1_000_000 + delta.microseconds


def test_odd_names_schemas_and_composite_keys_are_kept(postgres: Database, replica: Replica) -> None:
    postgres.execute(
        'CREATE SCHEMA "My Shop"; CREATE TABLE "My Shop"."Order.Lines" ("Line %" int, "a""b" text, n int, '
        'PRIMARY KEY ("a""b", "Line %"))',
        """INSERT INTO "My Shop"."Order.Lines" VALUES (1, 'x', 5)""",
    )
    replica.catch_up("My Shop.Order.Lines")
    postgres.execute("""UPDATE "My Shop"."Order.Lines" SET "a""b" = 'y'""", 'DELETE FROM "My Shop"."Order.Lines"')
    replica.catch_up("My Shop.Order.Lines")
    rows = replica.rows("Order.Lines", schema="My Shop")
    names = ("Op", "Line %", 'a"b', "n", "BI_Line %", 'BI_a"b')
    assert [values(row, *names) for row in rows] == [
        ("I", 1, "x", 5, None, None),
        ("U", 1, "y", 5, 1, "x"),
        ("D", 1, "y", None, None, None),
    ]


def test_a_partitioned_table_lands_as_one(postgres: Database, replica: Replica) -> None:
    postgres.execute(
        "CREATE TABLE t (id int PRIMARY KEY, v text) PARTITION BY RANGE (id);"
        "CREATE TABLE t1 PARTITION OF t FOR VALUES FROM (0) TO (10);"
        "CREATE TABLE t2 PARTITION OF t FOR VALUES FROM (10) TO (20);"
        "INSERT INTO t VALUES (1, 'a'), (11, 'b')"
    )
    replica.catch_up()
    postgres.execute("UPDATE t SET v = 'c' WHERE id = 11", "INSERT INTO t2 VALUES (12, 'd')")
    replica.catch_up()
    assert {id_: row["v"] for id_, row in replica.replayed().items()} == {1: "a", 11: "c", 12: "d"}


@pytest.mark.parametrize("kind", ["csv", "csv.gz"])
def test_files_are_csv_where_that_is_asked_for(postgres: Database, replica: Replica, kind: str) -> None:
    postgres.execute(
        "CREATE TABLE t (id int PRIMARY KEY, v text, at timestamptz, raw bytea, n numeric(6,2))",
        """INSERT INTO t VALUES (1, 'a"b,\n', '2026-03-01 10:00:00.5+02', '\\x00ff', 1.5), (2, '', NULL, NULL, NULL)""",
    )
    replica.form = replace(replica.form, file_format=FileFormat(kind), date_partition=DatePartition.NONE)
    replica.catch_up()
    postgres.execute("DELETE FROM t WHERE id = 2")
    replica.catch_up()
    folder = replica.root / "bronze" / "dms" / "public" / "t"
    load, changes = sorted(folder.iterdir(), key=lambda path: not path.name.startswith("LOAD"))
    assert load.name == f"LOAD00000001.{kind}"
    assert re.fullmatch(rf"\d{{8}}-\d{{9}}\.{kind}", changes.name)
    first, second = (path.read_bytes() for path in (load, changes))
    texts = [(gzip.decompress(data) if kind == "csv.gz" else data).decode() for data in (first, second)]
    rows = [re.sub(r'^"([ID])","[^"]+","\d*",', r"\1 ", line, flags=re.MULTILINE) for line in texts]
    assert rows == ['I 1,"a""b,\n","2026-03-01 08:00:00.500000","00ff",1.50,\nI 2,"",,,,\n', "D 2,,,,,\n"]
