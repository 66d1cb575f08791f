"""Reading DMS files: operations, times, the order of columns, and values in their exact types."""

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from datalake_assets_tests.engines.conftest import HOUR, MODIFIED, Reader

TIME = "2026-01-05 09:10:11.123456"
COMMITTED = datetime(2026, 1, 5, 9, 10, 11, 123456, tzinfo=UTC)
SECOND = COMMITTED.replace(microsecond=0)
LOAD = "LOAD00000001.parquet"


def article(id_: int | None = 1, **values: Any) -> dict[str, Any]:
    return {"Op": "I", "dms_timestamp": TIME, "ar_h_change_seq": "1", "id": id_, "title": "tea"} | values


def test_a_full_load_is_a_load_with_or_without_the_operation(read: Reader) -> None:
    without = {k: v for k, v in article(1).items() if k != "Op"}
    found = read({LOAD: [without], "LOAD0000000A.parquet": [article(2)], "SEGMENT1_LOAD00000001.parquet": [article(3)]})
    assert found.values("id", "operation", "_is_load") == [(1, "L", True), (2, "L", True), (3, "L", True)]
    assert not found.rejected


def test_changes_say_what_was_done_and_one_that_does_not_say_is_a_row_as_it_is(read: Reader) -> None:
    rows = [article(n, Op=op) for n, op in enumerate(["I", "U", "D", None])]
    found = read({HOUR: rows})
    assert found.values("operation", "_is_load") == [("I", False), ("U", False), ("D", False), ("L", False)]
    assert found.values("_row_number", "_path") == [(n, HOUR) for n in range(1, 5)]
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


def test_where_the_commit_time_is_missing_the_file_tells_the_hour(read: Reader) -> None:
    bare = {k: v for k, v in article().items() if k != "dms_timestamp"}
    found = read(
        {HOUR: [bare], "2026/01/05/10/20260105-100000000.parquet": [article(dms_timestamp=None)], LOAD: [bare]}
    )
    nine = datetime(2026, 1, 5, 9, tzinfo=UTC)
    assert found.values("_committed_at") == [nine, nine + timedelta(hours=1), MODIFIED]
    assert read({HOUR: [article()]}, timestamp_column=None).values("_committed_at") == [nine]


def test_the_timestamp_column_may_be_a_column_of_the_table_too(read: Reader) -> None:
    columns = {"id": {"type": "int64"}, "title": {"type": "string"}, "dms_timestamp": {"type": "string"}}
    found = read({HOUR: [article()]}, columns=columns, event_time=None)
    assert found.values("_committed_at", "dms_timestamp") == [(COMMITTED, TIME)]


def test_a_missing_sequence_is_null_and_one_of_another_type_is_text(read: Reader) -> None:
    bare = {k: v for k, v in article(1).items() if k != "ar_h_change_seq"}
    assert read({HOUR: [bare, article(2)]}).values("ar_h_change_seq") == [None, "1"]
    assert read({HOUR: [bare]}).values("ar_h_change_seq") == [None]
    assert read({HOUR: [article(ar_h_change_seq=12)]}, types={"ar_h_change_seq": "int64"}).values(
        "ar_h_change_seq"
    ) == ["12"]
    declared = {"id": {"type": "int64"}, "version": {"type": "int64"}}
    rows = {HOUR: [{"id": 1, "version": 4}, {"id": 2, "version": None}]}
    found = read(rows, columns=declared, order_by=["version"], event_time=None)
    assert found.values("id", "version") == [(1, 4), (2, None)]


def test_columns_are_read_by_their_names_in_whatever_order_they_stand(read: Reader) -> None:
    row = article(stock=3, listed=True)
    moved = dict(reversed(row.items()))
    found = read({HOUR: [row], "2026/01/05/09/20260105-091600000.parquet": [moved]})
    first, second = ({k: v for k, v in r.items() if k not in {"_path", "source_filename"}} for r in found.accepted)
    assert first | {"etl_timestamp": None} == second | {"etl_timestamp": None}
    assert first["stock"] == 3


def test_a_column_removed_at_the_source_is_null_and_changes_no_hash(read: Reader) -> None:
    found = read({HOUR: [article(stock=None)], "2026/01/05/09/20260105-091600000.parquet": [article()]})
    assert found.values("stock") == [None, None]
    assert len(set(found.values("record_hash"))) == 1


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
    ],
)  # fmt: skip
def test_a_value_of_another_type_is_taken_where_it_is_the_same_value(
    read: Reader, column: str, type_: Any, value: Any, expected: Any
) -> None:
    found = read({HOUR: [article() | {column: value}]}, types={column: type_})
    assert found.values(column) == [expected]
    assert not found.rejected


@pytest.mark.parametrize(("unit", "value"), [("s", 1767605400), ("ms", 1767605400000), ("us", 1767605400000000)])
def test_the_event_time_may_be_a_number(read: Reader, unit: str, value: int) -> None:
    columns = {"id": {"type": "int64"}, "made": {"type": "int64"}}
    found = read({HOUR: [{"id": 1, "made": value}]}, columns=columns, event_time={"column": "made", "unit": unit})
    moment = datetime(2026, 1, 5, 9, 30, tzinfo=UTC)
    assert found.values("_event_time", "event_date") == [(moment, moment.date())]


def test_the_event_time_may_be_a_date_or_be_missing(read: Reader) -> None:
    columns = {"id": {"type": "int64"}, "made": {"type": "date"}}
    day = datetime(2026, 1, 5, tzinfo=UTC)
    found = read({HOUR: [{"id": 1, "made": day.date()}, {"id": 2}]}, columns=columns, event_time={"column": "made"})
    assert found.values("_event_time", "event_date") == [(day, day.date()), (None, None)]
    assert read({HOUR: [{"id": 1}]}, columns=columns, event_time=None).values("event_date") == [None]
