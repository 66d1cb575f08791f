"""What is not accepted of DMS files: rows in quarantine with the reasons, and files that can't be read."""

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from datalake_assets_tests.engines.conftest import HOUR, Reader
from datalake_assets_tests.engines.test_changes_read import article
from datalake_assets_tests.frames import arrow_type
from datalake_assets_tests.replicated import DMS_COLUMNS, parquet

GOOD = {HOUR: [article()]}
MONEY = "Decimal(precision=38, scale=4)"
TYPES = {**DMS_COLUMNS, "id": "int64", "title": "string"}


def test_a_row_that_breaks_rules_is_quarantined_with_each_reason_as_it_landed(read: Reader) -> None:
    bad = article(
        None,
        Op="X",
        title=None,
        price=Decimal("-0.01"),
        changed=datetime(2026, 1, 5, 9, 30, 0, 5, tzinfo=UTC),
        odd=b"\x01",
    )
    found = read({HOUR: [article(1), bad, article(3, price=Decimal("1000.01")), article(4)]}, types={"odd": "binary"})
    assert found.values("id") == [1, 4]
    assert found.reasons == {
        2: [
            "/Op enum: X is not one of I, U, D",
            "/id required: NULL in a required column",
            "/title required: NULL in a required column",
            "/price minimum: -0.01 is less than 0",
        ],
        3: ["/price maximum: 1000.01 is greater than 1000"],
    }
    (row, _) = found.rejected
    assert json.loads(row["raw"]) == {
        "Op": "X",
        "dms_timestamp": "2026-01-05 09:10:11.123456",
        "ar_h_change_seq": "1",
        "id": None,
        "title": None,
        "price": "-0.01",
        "changed": "2026-01-05 09:30:00.000005+00:00",
        "odd": "01",
    }
    assert (row["dataset"], row["partition"]) == ("articles", "2026-01-05-09:00")
    assert row["source_filename"] == f"dms/public/articles/{HOUR}"
    outcome = found.outcomes["20260105-091500123.parquet"]
    assert (outcome.rows_in, outcome.rows_out, outcome.rows_rejected, outcome.error) == (4, 2, 2, None)


@pytest.mark.parametrize(
    ("column", "type_", "value", "reason"),
    [
        ("listed", "string", "t", "/listed type: t (String) is no boolean"),
        ("listed", "int32", 1, "/listed type: 1 (Int32) is no boolean"),
        ("price", "double", 0.1, "/price type: 0.1 (Float64) is no decimal(10,2)"),
        ("price", "string", "1e3", "/price type: 1e3 (String) is no decimal(10,2)"),
        ("price", "decimal(38,4)", Decimal("0.0001"), f"/price type: 0.0001 ({MONEY}) is no decimal(10,2)"),
        ("price", "decimal(38,4)", Decimal(10**20), f"/price type: {10**20}.0000 ({MONEY}) is no decimal(10,2)"),
        ("stock", "int64", 2**31, "/stock type: 2147483648 (Int64) is no int32"),
        ("stock", "decimal(20,1)", Decimal("0.5"), "/stock type: 0.5 (Decimal(precision=20, scale=1)) is no int32"),
        ("stock", "string", "many", "/stock type: many (String) is no int32"),
        ("title", "int64", 5, "/title type: 5 (Int64) is no string"),
        ("title", "binary", b"\xff", "/title type: a value (Binary) is no string"),
        ("title", pa.list_(pa.string()), ["a"], "/title type: a value (List(String)) is no string"),
        ("title", pa.struct({"a": pa.int64()}), {"a": 1}, "/title type: a value (Struct('a': Int64)) is no string"),
        ("changed", "string", "yesterday", "/changed type: yesterday (String) is no timestamp"),
        ("dms_timestamp", "string", "soon", "/dms_timestamp type: soon (String) is no timestamp"),
        ("dms_timestamp", "int64", 5, "/dms_timestamp type: 5 (Int64) is no timestamp"),
    ],
)  # fmt: skip
def test_a_value_that_would_be_changed_sends_its_row_to_quarantine(
    read: Reader, column: str, type_: Any, value: Any, reason: str
) -> None:
    found = read(
        {HOUR: [article(1) | {column: value}, article(2) | {column: None, "title": None}]}, types={column: type_}
    )
    assert found.reasons[1][0] == reason
    assert json.loads(found.rejected[0]["raw"]).keys() >= {"id", column}
    assert not found.accepted


TRUNCATED = parquet([article(n) for n in range(100)], TYPES)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "the object is empty"),
        (b"no parquet at all", "not readable as Parquet"),
        (b"PAR1", "not readable as Parquet"),
        (TRUNCATED[: len(TRUNCATED) // 2], "not readable as Parquet"),
        (TRUNCATED[:-1], "not readable as Parquet"),
        (TRUNCATED[:40] + b"\xff" * 200 + TRUNCATED[240:], "not readable as Parquet"),
        (None, "not found any more"),
    ],
)
def test_a_file_that_cannot_be_read_is_noted_with_the_reason_and_the_others_go_on(
    read: Reader, data: bytes | None, reason: str
) -> None:
    found = read({"LOAD00000001.parquet": data, **GOOD})
    assert found.values("id") == [1]
    outcome = found.outcomes["LOAD00000001.parquet"]
    assert reason in (outcome.error or "")
    assert (outcome.rows_in, outcome.rows_out) == (0, 0)
    (reject,) = found.rejected
    assert reject["errors"] == [f"object: {outcome.error}"]


def test_a_file_without_rows_is_read(read: Reader) -> None:
    empty = pa.table({name: pa.array([], type=pa.string()) for name in ("Op", "id", "title")})
    sink = pa.BufferOutputStream()
    pq.write_table(empty, sink)
    none = pa.BufferOutputStream()
    pq.write_table(pa.table({}), none)
    found = read({"a.parquet": bytes(sink.getvalue()), "b.parquet": bytes(none.getvalue()), **GOOD})
    assert found.values("id") == [1]
    assert {name: (o.rows_in, o.error) for name, o in found.outcomes.items()} == {
        "a.parquet": (0, None),
        "b.parquet": (0, None),
        "20260105-091500123.parquet": (1, None),
    }


def test_when_no_file_can_be_read_there_are_no_rows(read: Reader) -> None:
    found = read({"a.parquet": b"x", "b.parquet": b"y"})
    assert not found.accepted
    assert len(found.rejected) == 2


@pytest.mark.parametrize(
    ("type_", "unit", "value"),
    [
        ("timestamp", None, -210_866_803_200_000_000),  # 4713 BC: -infinity as DMS clips it
        ("timestamp", None, 253_402_300_800_000_000),
        ("int64", "s", -(2**62)),
        ("int64", "us", 2**62),
        ("string", None, "soon"),
        ("date", None, -2_000_000),
    ],
)
def test_an_event_time_outside_the_years_1_to_9999_is_no_event_time(
    read: Reader, type_: str, unit: str | None, value: Any
) -> None:
    columns = {"id": {"type": "int64"}, "made": {"type": type_}}
    carrier = {"date": pa.int32(), "string": pa.string()}.get(type_, pa.int64())
    made = pa.array([value], carrier).cast(arrow_type(type_))
    table = pa.table({"Op": ["I"], "id": pa.array([1], pa.int64()), "made": made})
    sink = pa.BufferOutputStream()
    pq.write_table(pa.concat_tables([table, table.set_column(0, "Op", [["D"]])]), sink)
    # Python itself can't hold such times, so the column is left out.
    time = {"column": "made", "unit": unit or "iso8601"}
    found = read({HOUR: bytes(sink.getvalue())}, columns=columns, event_time=time, without=["made"])
    assert found.values("operation", "_event_time", "event_date") == [("D", None, None)]
    assert found.reasons[1][0].startswith("/made event_time: ")
    assert found.reasons[1][0].endswith(" is no time of the years 1 to 9999")
