"""Reading DMS files: operations, times, the order of columns, and values in their exact types."""

import math
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from datalake_assets.lake.readers.batch import Limits
from datalake_assets_tests.frames import arrow_type
from datalake_assets_tests.readers.conftest import HOUR, MODIFIED, Reader

TIME = "2026-01-05 09:10:11.123456"
COMMITTED = datetime(2026, 1, 5, 9, 10, 11, 123456, tzinfo=UTC)
LAST = datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)
SECOND = COMMITTED.replace(microsecond=0)
LOAD = "LOAD00000001.parquet"
NO_PLACE = "is no place in an order; what tells it are digits, or an LSN like 16/B374D848"


def article(id_: int | None = 1, **values: Any) -> dict[str, Any]:
    return {"Op": "I", "dms_timestamp": TIME, "ar_h_change_seq": "1", "id": id_, "title": "tea"} | values


def test_a_full_load_is_a_load_with_or_without_the_operation(read: Reader) -> None:
    without = {k: v for k, v in article(1).items() if k != "Op"}
    found = read({LOAD: [without], "LOAD0000000A.parquet": [article(2)], "SEGMENT1_LOAD00000001.parquet": [article(3)]})
    assert found.values("id", "operation", "_is_change") == [(1, "L", False), (2, "L", False), (3, "L", False)]
    assert not found.rejected


def test_changes_say_what_was_done_and_one_that_does_not_say_is_a_row_as_it_is(read: Reader) -> None:
    rows = [article(n, Op=op) for n, op in enumerate(["I", "U", "D", None])]
    found = read({HOUR: rows})
    assert found.values("operation", "_is_change") == [("I", True), ("U", True), ("D", True), ("L", True)]
    assert found.values("_row_number") == [1, 2, 3, 4]
    assert found.values("source_filename") == [f"dms/public/articles/{HOUR}"] * 4


@pytest.mark.parametrize(
    ("value", "type_"),
    [
        (TIME, "string"),
        ("2026-01-05T10:10:11.123456+01:00", "string"),
        (COMMITTED, "timestamp"),
        (COMMITTED.replace(tzinfo=None), pa.timestamp("us")),
        (COMMITTED.astimezone(timezone(timedelta(hours=5))), pa.timestamp("us", "Asia/Karachi")),
        (COMMITTED.replace(tzinfo=None), pa.timestamp("ns")),
    ],
)
def test_the_commit_time_is_text_or_a_timestamp(read: Reader, value: Any, type_: Any) -> None:
    found = read({HOUR: [article(dms_timestamp=value)]}, types={"dms_timestamp": type_})
    assert found.values("_committed_at") == [COMMITTED]


def test_a_commit_time_in_whole_seconds_is_read(read: Reader) -> None:
    found = read({HOUR: [article(dms_timestamp="2026-01-05 09:10:11")]})
    assert found.values("_committed_at") == [COMMITTED.replace(microsecond=0)]


def test_where_the_commit_time_is_missing_it_is_the_time_of_the_file(read: Reader) -> None:
    bare = {k: v for k, v in article().items() if k != "dms_timestamp"}
    ten = "2026/01/05/10/20260105-100000000.parquet"
    found = read({HOUR: [bare], ten: [article(dms_timestamp=None)], LOAD: [bare], "2026/01/05/11/odd.parquet": [bare]})
    named = datetime(2026, 1, 5, 9, 15, 0, 123_000, tzinfo=UTC)
    assert found.values("_committed_at") == [
        named,
        datetime(2026, 1, 5, 10, tzinfo=UTC),
        MODIFIED,
        datetime(2026, 1, 5, 11, tzinfo=UTC),
    ]
    assert read({HOUR: [article()]}, timestamp_column=None).values("_committed_at") == [named]


@pytest.mark.parametrize(
    ("name", "moment"),
    [
        ("20260106-000030123.parquet", datetime(2026, 1, 6, 0, 0, 30, 123_000, tzinfo=UTC)),
        ("20260106-0000301234.parquet", datetime(2026, 1, 6, 0, 0, 30, 123_400, tzinfo=UTC)),
        ("orders_20260106-000030123.parquet", datetime(2026, 1, 6, 0, 0, 30, 123_000, tzinfo=UTC)),
        ("20261306-000030123.parquet", datetime(2026, 1, 5, tzinfo=UTC)),
        ("00010101-000030123.parquet", datetime(2026, 1, 5, tzinfo=UTC)),
    ],
)
def test_a_file_has_the_time_in_its_name_whatever_folder_it_lies_in(read: Reader, name: str, moment: datetime) -> None:
    """A file named for half a minute past midnight, in the folder of the day before, lost its changes to older ones."""
    found = read({f"2026/01/05/{name}": [article()], "2026/01/05/20260105-230000000.parquet": [article()]})
    assert found.values("_committed_at") == [COMMITTED, COMMITTED]
    untimed = read({f"2026/01/05/{name}": [article()]}, timestamp_column=None, order_by=[])
    assert untimed.values("_committed_at") == [moment]
    assert found.values("_file_time") == [moment, datetime(2026, 1, 5, 23, tzinfo=UTC)]


def test_files_are_ordered_by_the_time_in_their_names_before_their_folders(read: Reader) -> None:
    late = "2026/01/05/20260106-000030123.parquet"
    early = "2026/01/06/20260106-000010000.parquet"
    times = read({late: [article()], early: [article()]}).values("_file_time")
    assert times == sorted(times, reverse=True)
    assert times[0] - times[1] == timedelta(seconds=20, milliseconds=123)


def test_the_timestamp_column_may_be_a_column_of_the_table_too(read: Reader) -> None:
    columns = {"id": {"type": "int64"}, "title": {"type": "string"}, "dms_timestamp": {"type": "string"}}
    found = read({HOUR: [article()]}, columns=columns, event_time=None)
    assert found.values("_committed_at", "dms_timestamp") == [(COMMITTED, TIME)]


@pytest.mark.parametrize(
    ("value", "type_", "number"),
    [
        ("20260105091500120000000000000000012", "string", 20260105091500120000000000000000012),
        ("0000000000000000000000000000000000017", "string", 17),
        ("-3", "string", -3),
        ("1/152B1B8", "string", 2**32 + 0x152B1B8),
        ("2/1b8", "string", 2 * 2**32 + 0x1B8),
        ("FFFFFFFF/FFFFFFFF", "string", 2**64 - 1),
        (12, "int64", 12),
        (Decimal("9" * 35), "decimal(35,0)", int("9" * 35)),
        (datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC), "timestamp", 1_000_000_000),
        (date(1970, 1, 3), "date", 2),
    ],
)
def test_what_orders_changes_is_a_number(read: Reader, value: Any, type_: str, number: int) -> None:
    """As text 1/152B1B8 came after 2/1B8."""
    found = read({HOUR: [article(ar_h_change_seq=value)]}, types={"ar_h_change_seq": type_})
    assert found.values("_sequence_1") == [Decimal(number)]


def test_a_declared_column_orders_changes_too(read: Reader) -> None:
    declared = {"id": {"type": "int64"}, "version": {"type": "int64"}}
    rows = {HOUR: [{"id": 1, "version": 4}, {"id": 2, "version": None}]}
    found = read(rows, columns=declared, order_by=["version"], event_time=None)
    assert found.values("id", "version", "_sequence_1") == [(1, 4, 4)]
    assert list(found.reasons) == [2]


@pytest.mark.parametrize(
    ("value", "type_", "shown"),
    [
        (None, "string", "NULL"),
        ("", "string", ""),
        ("12a", "string", "12a"),
        ("1/2/3", "string", "1/2/3"),
        ("9" * 39, "string", "9" * 39),
        (1.5, "double", "1.5"),
    ],
)
def test_a_change_without_its_place_in_the_order_is_rejected(read: Reader, value: Any, type_: str, shown: str) -> None:
    """It lost to every other change, and counted as processed."""
    rows = [article(1), article(2) | {"ar_h_change_seq": value}]
    found = read({HOUR: rows if type_ == "string" else rows[1:]}, types={"ar_h_change_seq": type_})
    (reasons,) = found.reasons.values()
    assert reasons == [f"/ar_h_change_seq order_by: {shown} {NO_PLACE}"]


def test_a_load_needs_no_place_in_the_order_and_a_file_of_changes_does(read: Reader) -> None:
    bare = {k: v for k, v in article(1).items() if k != "ar_h_change_seq"}
    found = read({LOAD: [bare], HOUR: [bare | {"id": 2}]})
    assert found.values("id", "_sequence_1") == [(1, Decimal(0))]
    assert found.reasons == {
        1: ["/ar_h_change_seq order_by: the file lacks the column that orders changes; have DMS add it to all files"]
    }


def test_columns_are_read_by_their_names_in_whatever_order_they_stand(read: Reader) -> None:
    row = article(stock=3, listed=True)
    moved = dict(reversed(row.items()))
    found = read({HOUR: [row], "2026/01/05/09/20260105-091600000.parquet": [moved]})
    first, second = ({k: v for k, v in r.items() if k not in {"_file_time", "source_filename"}} for r in found.accepted)
    assert first | {"etl_timestamp": None} == second | {"etl_timestamp": None}
    assert first["stock"] == 3


def test_a_column_removed_at_the_source_is_null_and_changes_no_content(read: Reader) -> None:
    found = read({HOUR: [article(stock=None)], "2026/01/05/09/20260105-091600000.parquet": [article()]})
    assert found.values("stock") == [None, None]
    assert len(set(found.values("_content_hash"))) == 1
    assert "record_hash" not in found.accepted[0]


@pytest.mark.parametrize("declared", [True, False])
@pytest.mark.parametrize("type_", ["double", "float"])
def test_a_number_that_is_not_finite_is_not_the_same_content_as_a_missing_one(
    read: Reader, type_: str, declared: bool
) -> None:
    """A change from NaN to NULL was taken for a copy of the row before, and the history lost it."""
    columns = {"id": {"type": "int64"}} | ({"ratio": {"type": type_}} if declared else {})
    numbers = [None, math.nan, math.inf, -math.inf, 0.0, -0.0, 1.5]
    rows = [{"id": 1, "ratio": number} for number in numbers]
    found = read({HOUR: rows}, types={"ratio": type_}, columns=columns, event_time=None, order_by=[])
    assert len(set(found.values("_content_hash"))) == len(numbers)
    if not declared:
        assert found.values("_unknown")[1:4] == ['{"ratio":"NaN"}', '{"ratio":"inf"}', '{"ratio":"-inf"}']


def test_undeclared_columns_are_kept_as_json_in_the_order_of_their_names(read: Reader) -> None:
    numbers = {"weight": "double", "b": "binary", "d": "decimal(5,1)", "day": "date"}
    types = numbers | {"operation": "string", "partition": "string"}
    rows = [
        article(weight=1.5, b=b"\x00\xff", d=Decimal("1.5"), day=datetime(2026, 1, 2, tzinfo=UTC).date()),
        article(weight=None),
        article(operation="mow", partition="p"),
    ]
    found = read({HOUR: rows}, types=types)
    assert found.values("_unknown") == [
        '{"b":"00ff","d":"1.5","day":"2026-01-02","operation":null,"partition":null,"weight":1.5}',
        None,
        '{"b":null,"d":null,"day":null,"operation":"mow","partition":"p","weight":null}',
    ]
    assert found.values("operation") == ["I", "I", "I"]
    assert read({HOUR: [article()]}).values("_unknown") == [None]


ENTRIES = pa.map_(pa.string(), pa.binary())
NESTED = pa.struct({"a": pa.binary(), "b": pa.list_(pa.struct({"c": pa.duration("ms")}))})


@pytest.mark.parametrize(
    ("type_", "value", "kept"),
    [
        (pa.list_(pa.binary()), [b"\x00\xff", None], '["00ff",null]'),
        (pa.list_(pa.binary(), 2), [b"a", b"b"], '["61","62"]'),
        (pa.duration("us"), timedelta(days=1, seconds=1.5), '"P1DT1.5S"'),
        (pa.list_(pa.duration("ns")), [timedelta(seconds=1)], '["PT1S"]'),
        (NESTED, {"a": b"\x01", "b": [{"c": timedelta(seconds=1)}]}, '{"a":"01","b":[{"c":"PT1S"}]}'),
        (ENTRIES, [("k", b"\x01")], '[{"key":"k","value":"01"}]'),
        (pa.list_(pa.decimal128(5, 1)), [Decimal("1.5")], '["1.5"]'),
        (pa.time64("us"), time(1, 2, 3), '"01:02:03"'),
        (pa.time64("us"), time(1, 2, 3, 40), '"01:02:03.000040"'),
        (pa.uint64(), 2**64 - 1, str(2**64 - 1)),
        (pa.float16(), 1.5, "1.5"),
        (pa.binary(3), b"abc", '"616263"'),
        (pa.large_binary(), b"abc", '"616263"'),
        (pa.dictionary(pa.int32(), pa.string()), "tea", '"tea"'),
        (pa.json_(), '{"a":1}', '"{\\"a\\":1}"'),
        (pa.uuid(), b"0123456789abcdef", f'"{b"0123456789abcdef".hex()}"'),
        (pa.list_(pa.null()), [None], "[null]"),
    ],
    ids=str,
)
def test_an_undeclared_column_of_any_type_is_kept_as_json(read: Reader, type_: Any, value: Any, kept: str) -> None:
    """Undeclared lists of bytes made Polars panic, which stopped the whole run."""
    found = read({HOUR: [article(exotic=value), article(exotic=None)]}, types={"exotic": type_}, arrow=True)
    assert found.values("_unknown") == [f'{{"exotic":{kept}}}', None]
    assert not found.rejected
    bad = read({HOUR: [article(None, exotic=value)]}, types={"exotic": type_}, arrow=True)
    assert f'"exotic":{kept}' in bad.rejected[0]["raw"]


def test_a_delete_needs_no_more_than_its_key(read: Reader) -> None:
    keys = [{"Op": "D", "dms_timestamp": TIME, "ar_h_change_seq": "1", "id": 1}]
    found = read({HOUR: [*keys, article(2, Op="D", title=None, price=Decimal(-1)), article(None, Op="D")]})
    assert found.values("id", "operation", "title") == [(1, "D", None), (2, "D", None)]
    assert found.reasons == {3: ["/id required: NULL in a required column"]}


@pytest.mark.parametrize(
    ("column", "type_", "value", "expected"),
    [
        ("listed", "string", "true", True),
        ("listed", "string", "false", False),
        ("price", "decimal(38,4)", Decimal("12.3400"), Decimal("12.34")),
        ("price", "decimal(5,1)", Decimal("12.3"), Decimal("12.30")),
        ("price", "string", "999.99", Decimal("999.99")),
        ("price", "int32", 12, Decimal("12.00")),
        ("stock", "int16", 12, 12),
        ("stock", "int64", 2**31 - 1, 2**31 - 1),
        ("stock", "decimal(20,0)", Decimal(7), 7),
        ("id", "string", "12", 12),
        ("changed", pa.timestamp("ms"), SECOND.replace(tzinfo=None), SECOND),
        ("changed", pa.timestamp("ms", "UTC"), SECOND, SECOND),
        ("changed", pa.timestamp("us"), COMMITTED.replace(tzinfo=None), COMMITTED),
        ("changed", "string", TIME, COMMITTED),
        ("changed", "string", "9999-12-31 23:59:59.999999", LAST),
        ("changed", "string", f"{TIME}000", COMMITTED),
        ("changed", pa.timestamp("ns"), COMMITTED.replace(tzinfo=None), COMMITTED),
        ("changed", pa.timestamp("us"), LAST.replace(tzinfo=None), LAST),
        ("listed", "string", "t", True),
        ("listed", "string", "f", False),
        ("listed", "string", "true ", True),
        ("price", "string", "12.3400", Decimal("12.34")),
        ("price", "decimal(28,6)", Decimal("0.610000"), Decimal("0.61")),
        ("title", pa.time32("ms"), time(1, 2, 3, 500_000), "01:02:03.500"),
        ("title", pa.time64("us"), time(1, 2, 3, 40), "01:02:03.000040"),
        ("title", pa.time64("us"), time(1, 2, 3), "01:02:03"),
    ],
)  # fmt: skip
def test_a_value_of_another_type_is_taken_where_it_is_the_same_value(
    read: Reader, column: str, type_: Any, value: Any, expected: Any
) -> None:
    found = read({HOUR: [article() | {column: value}]}, types={column: type_})
    assert found.values(column) == [expected]
    assert not found.rejected


@pytest.mark.parametrize("as_integer", [False, True])
@pytest.mark.parametrize(
    ("type_", "digits"),
    [
        ("decimal(9,2)", "-1234567.89"),
        ("decimal(18,4)", "99999999999999.9999"),
        ("decimal(28,6)", "0.611111"),
        ("decimal(38,0)", "9" * 38),
        ("decimal(38,37)", "-9." + "9" * 37),
    ],
)
def test_a_decimal_is_exact_however_it_is_stored(read: Reader, type_: str, digits: str, as_integer: bool) -> None:
    value = Decimal(digits)
    columns = {"id": {"type": "int64"}, "v": {"type": type_}}
    table = pa.table({"id": pa.array([1, 2], pa.int64()), "v": pa.array([value, None], arrow_type(type_))})
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, store_schema=False, store_decimal_as_integer=as_integer)
    found = read({HOUR: bytes(sink.getvalue())}, columns=columns, event_time=None, order_by=[])
    assert found.values("v") == [value, None]


@pytest.mark.parametrize("cut", [False, True])
def test_a_time_of_96_bits_is_the_time_that_was_written(read: Reader, cut: bool) -> None:
    """Polars reads such times in nanoseconds, and made 2262 of what DMS clips infinity to, and of the year 1500."""
    times = [COMMITTED, LAST, datetime(1500, 1, 1, tzinfo=UTC), None] * 8_000
    table = pa.table(
        {
            "id": pa.array(range(len(times)), pa.int64()),
            "title": ["tea"] * len(times),
            "changed": pa.array(times, pa.timestamp("us", "UTC")),
        }
    )
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, use_deprecated_int96_timestamps=True, store_schema=False, row_group_size=7_000)
    limits = Limits(memory_bytes=64 * 100_000) if cut else Limits()
    found = read({HOUR: bytes(sink.getvalue())}, limits=limits, order_by=[])
    assert found.values("changed") == times
    assert found.values("id") == list(range(len(times)))


@pytest.mark.parametrize(("unit", "value"), [("s", 1767605400), ("ms", 1767605400000), ("us", 1767605400000000)])
def test_the_event_time_may_be_a_number(read: Reader, unit: str, value: int) -> None:
    columns = {"id": {"type": "int64"}, "made": {"type": "int64"}}
    time = {"column": "made", "unit": unit}
    found = read({HOUR: [{"id": 1, "made": value}]}, columns=columns, event_time=time, order_by=[])
    moment = datetime(2026, 1, 5, 9, 30, tzinfo=UTC)
    assert found.values("_event_time", "event_date") == [(moment, moment.date())]


def test_the_event_time_may_be_a_date_or_be_missing(read: Reader) -> None:
    columns = {"id": {"type": "int64"}, "made": {"type": "date"}}
    day = datetime(2026, 1, 5, tzinfo=UTC)
    rows = {HOUR: [{"id": 1, "made": day.date()}, {"id": 2}]}
    found = read(rows, columns=columns, event_time={"column": "made"}, order_by=[])
    assert found.values("_event_time", "event_date") == [(day, day.date()), (None, None)]
    untimed = read({HOUR: [{"id": 1}]}, columns=columns, event_time=None, order_by=[])
    assert untimed.values("event_date") == [None]


def test_an_update_of_the_key_is_a_delete_and_an_insert(read: Reader) -> None:
    """DMS writes one update with the new key; without its before-image columns the old row stays for ever."""
    rows = [
        article(2, Op="U", BI_id=1, stock=4),
        article(3, Op="U", BI_id=3),
        article(4, Op="U", BI_id=None),
        article(5, Op="I", BI_id=None),
        article(6, Op="D", BI_id=6),
    ]
    found = read({HOUR: rows}, types={"BI_id": "int64"})
    assert found.values("operation", "id", "stock", "_row_number", "_unknown") == [
        ("I", 2, 4, 1, None),
        ("U", 3, None, 2, None),
        ("U", 4, None, 3, None),
        ("I", 5, None, 4, None),
        ("D", 6, None, 5, None),
        ("D", 1, None, 1, None),
    ]
    moved, left = (row for row in found.accepted if row["_row_number"] == 1)
    order = ("_is_change", "_sequence_1", "_committed_at", "_file_time", "source_filename")
    assert [moved[name] for name in order] == [left[name] for name in order]
    assert (left["title"], left["_event_time"]) == (None, None)
    (outcome,) = found.outcomes.values()
    assert (outcome.rows_in, outcome.rows_out) == (5, 5)


def test_a_part_of_a_key_may_stay_as_it_was(read: Reader) -> None:
    columns = {"shop": {"type": "string"}, "id": {"type": "int32"}}
    header = {name: value for name, value in article().items() if name not in {"id", "title"}}
    rows = [header | {"Op": "U", "shop": "b", "id": 1, "BI_shop": "a"}]
    found = read({HOUR: rows}, columns=columns, key=["shop", "id"], event_time=None, types={"BI_shop": "string"})
    assert found.values("operation", "shop", "id") == [("I", "b", 1), ("D", "a", 1)]


def test_an_old_key_of_another_type_rejects_the_row(read: Reader) -> None:
    found = read({HOUR: [article(2, Op="U", BI_id="one")]}, types={"BI_id": "string"})
    assert found.reasons == {1: ["/BI_id type: one (String) is no int64"]}


def test_a_column_of_the_table_may_be_called_as_a_before_image(read: Reader) -> None:
    columns = {"id": {"type": "int64"}, "BI_id": {"type": "int64"}}
    row = {name: value for name, value in article(2, Op="U", BI_id=1).items() if name != "title"}
    found = read({HOUR: [row]}, columns=columns, event_time=None)
    assert found.values("operation", "id", "BI_id") == [("U", 2, 1)]


@pytest.mark.parametrize(
    ("text", "ends"), [(b'{"last": true}', True), (b'{"last": false}', False), (b"[]", None), (b"?", None)]
)
def test_a_file_of_a_load_may_say_that_it_is_the_last(read: Reader, text: bytes, ends: bool | None) -> None:
    rows = pa.table({"dms_timestamp": [TIME], "id": pa.array([1], pa.int64()), "title": ["tea"]})
    sink = pa.BufferOutputStream()
    pq.write_table(rows.replace_schema_metadata({"datalake.load": text}), sink)
    outcomes = read({LOAD: bytes(sink.getvalue()), HOUR: [article()]}).outcomes
    assert [(o.ends_load, o.loaded_at) for o in outcomes.values()] == [(ends, COMMITTED), (None, None)]
