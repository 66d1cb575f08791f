"""What is not accepted of DMS files: rows in quarantine with the reasons, and files that can't be read."""

import json
import random
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from datalake_assets.lake.readers.batch import Limits
from datalake_assets.lake.readers.bounds import above, below
from datalake_assets.lake.readers.json_columns import Columns, json_object
from datalake_assets.lake.spec.types import LakeType
from datalake_assets.lake.store.dtypes import dtype_of
from datalake_assets.lake.store.objects import MissingObjectError, SupersededObjectError, TooLargeObjectError
from datalake_assets_tests.dms_files import DMS_COLUMNS, parquet
from datalake_assets_tests.frames import arrow_type
from datalake_assets_tests.readers.conftest import HOUR, Reader
from datalake_assets_tests.readers.test_changes_read import article

GOOD = {HOUR: [article()]}
NANOS = "Datetime(time_unit='ns', time_zone=None)"
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
        ("listed", "string", "yes", "/listed type: yes (String) is no boolean"),
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
        ("changed", "string", "2026-01-05 09:00:60", "/changed type: 2026-01-05 09:00:60 (String) is no timestamp"),
        ("changed", pa.timestamp("ns"), 1, f"/changed type: 1970-01-01 00:00:00.000000001 ({NANOS}) is no timestamp"),
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
        (TooLargeObjectError("a", size=9, limit=8), "9 bytes are more than the limit of 8 bytes"),
    ],
)
def test_a_file_that_can_never_be_read_fails_for_good_and_the_others_go_on(
    read: Reader, data: bytes | BaseException, reason: str
) -> None:
    found = read({"LOAD00000001.parquet": data, **GOOD})
    assert found.values("id") == [1]
    outcome = found.outcomes["LOAD00000001.parquet"]
    assert reason in (outcome.error or "")
    assert (outcome.state, outcome.final) == ("failed", True)
    assert (outcome.rows_in, outcome.rows_out, outcome.bytes_rejected) == (0, 0, outcome.size)
    (reject,) = found.rejected
    assert (reject["row_number"], reject["raw"], reject["raw_bytes"]) == (0, "", None)
    assert reject["errors"] == [f"object: {outcome.error}"]


def test_a_file_without_the_key_is_another_tables(read: Reader) -> None:
    """Each of its rows was a reject, and nothing told that a whole file had gone astray."""
    astray = parquet(
        [{"Op": "I", "name": "x", "dms_timestamp": "2026-01-05 09:00:00"}], {**DMS_COLUMNS, "name": "string"}
    )
    found = read({"LOAD00000001.parquet": astray, **GOOD})
    outcome = found.outcomes["LOAD00000001.parquet"]
    assert (outcome.state, outcome.final) == ("failed", True)
    assert "of the table: it has no id, which is the key, but Op, name, dms_timestamp; land it under" in (
        outcome.error or ""
    )
    assert [row["row_number"] for row in found.rejected] == [0]


@pytest.mark.parametrize(
    ("error", "state", "told"),
    [
        (MissingObjectError("a"), "missing", "a: there is no such object"),
        (SupersededObjectError("a", etag="2", size=9), "superseded", "a: other bytes lie there now (etag 2, 9 bytes)"),
        (PermissionError(13, "denied"), "failed", "PermissionError: [Errno 13] denied"),
        (MemoryError(), "failed", "MemoryError: no message"),
        (RuntimeError("odd\nmore"), "failed", "RuntimeError: odd"),
        (OSError("no \udcff here"), "failed", "OSError: no \\udcff here"),
    ],
)
def test_a_file_that_may_be_read_later_leaves_no_reject(
    read: Reader, error: BaseException, state: str, told: str
) -> None:
    """One file that may not be opened kept the others of its run from being processed."""
    found = read({"LOAD00000001.parquet": error, **GOOD})
    assert found.values("id") == [1]
    assert not found.rejected
    outcome = found.outcomes["LOAD00000001.parquet"]
    assert (outcome.state, outcome.final, outcome.error) == (state, False, told)


def test_a_file_that_makes_a_library_panic_fails_alone(read: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    """A Rust panic is no `Exception`, so that it passed all guards and stopped the whole run."""

    def panics(columns: Columns) -> pl.Expr:
        if "poison" in columns:
            raise pl.exceptions.PanicException("index out of bounds")
        return json_object(columns)

    monkeypatch.setattr("datalake_assets.lake.readers.change_rows.json_object", panics)
    found = read({"LOAD00000001.parquet": [article(poison="x")], **GOOD}, types={"poison": "string"})
    assert found.values("id") == [1]
    outcome = found.outcomes["LOAD00000001.parquet"]
    assert (outcome.state, outcome.final) == ("failed", True)
    assert "index out of bounds" in (outcome.error or "")
    assert [row["row_number"] for row in found.rejected] == [0]


def test_an_interrupt_is_no_fault_of_a_file(read: Reader) -> None:
    with pytest.raises(KeyboardInterrupt):
        read({"LOAD00000001.parquet": KeyboardInterrupt(), **GOOD})


def test_a_file_that_unpacks_to_more_than_the_limit_is_not_read(read: Reader) -> None:
    rows = pa.table({"id": pa.array([7] * 2_000_000, pa.int64())})
    sink = pa.BufferOutputStream()
    pq.write_table(rows, sink)
    assert len(sink.getvalue()) < 50_000
    found = read({"LOAD00000001.parquet": bytes(sink.getvalue()), **GOOD}, limits=Limits(object_bytes=10_000_000))
    assert found.values("id") == [1]
    outcome = found.outcomes["LOAD00000001.parquet"]
    assert (outcome.state, outcome.final) == ("failed", True)
    assert (outcome.error or "").startswith("unpacks to more than 10,000,000 bytes")


@pytest.mark.parametrize(
    ("type_", "value", "shown"),
    [
        (pa.list_(pa.string()), ["I"], "a value (List(String))"),
        (pa.binary(), b"I", "a value (Binary)"),
        (pa.duration("us"), 5, "a value (Duration(time_unit='us'))"),
        (pa.struct({"a": pa.int64()}), {"a": 1}, "a value (Struct('a': Int64))"),
    ],
)
def test_a_header_that_is_no_text_rejects_its_rows(read: Reader, type_: Any, value: Any, shown: str) -> None:
    """An `Op` of type list stopped the whole run."""
    rows = [article(1) | {"Op": value}, article(2) | {"Op": None}]
    found = read({HOUR: rows}, types={"Op": type_}, arrow=True)
    assert found.reasons == {1: [f"/Op type: {shown} is no string"]}
    assert found.values("id") == [2]
    rows = [article(1) | {"ar_h_change_seq": value}]
    found = read({HOUR: rows}, types={"ar_h_change_seq": type_}, arrow=True)
    assert found.reasons[1][0].startswith("/ar_h_change_seq order_by: a value is no place in an order")


def test_an_operation_that_is_a_number_rejects_its_rows(read: Reader) -> None:
    assert read({HOUR: [article(Op=1)]}, types={"Op": "int32"}).reasons == {1: ["/Op type: 1 (Int32) is no string"]}


def test_a_full_load_does_not_ask_for_the_operation(read: Reader) -> None:
    found = read({"LOAD00000001.parquet": [article(1, Op=[b"I"])]}, types={"Op": pa.list_(pa.binary())})
    assert found.values("id", "operation") == [(1, "L")]
    assert not found.rejected


def test_a_rejected_row_counts_as_a_row_and_not_by_its_share_of_the_file(read: Reader) -> None:
    """A small file is nearly all footer: one bad row, alone in it, held back a day of a hundred good ones."""
    outcome = read({HOUR: [article(None), article(2)]}).outcomes["20260105-091500123.parquet"]
    assert (outcome.rows_rejected, outcome.rows_in) == (1, 2)
    assert (outcome.bytes_read, outcome.bytes_rejected) == (outcome.size, 0)


LARGEST = 2**53


@pytest.mark.parametrize(
    ("type_", "bounds", "good", "bad"),
    [
        ("int64", {"maximum": LARGEST}, LARGEST, LARGEST + 1),
        ("int64", {"minimum": -LARGEST}, -LARGEST, -LARGEST - 1),
        ("int64", {"maximum": 2**63 - 1}, 2**63 - 1, None),
        ("int64", {"maximum": 10**40}, 2**63 - 1, None),
        ("int64", {"minimum": 10**40}, None, 2**63 - 1),
        ("int64", {"maximum": 1.5}, 1, 2),
        ("decimal(38,2)", {"maximum": 10**17}, Decimal(10**17), Decimal("100000000000000000.01")),
        ("decimal(10,3)", {"minimum": 0.1}, Decimal("0.100"), Decimal("0.099")),
        ("decimal(10,3)", {"maximum": 0.0005}, Decimal("0.000"), Decimal("0.001")),
        ("double", {"maximum": 0.1}, 0.1, 0.2),
    ],
)
def test_bounds_are_exact(type_: str, bounds: dict[str, float], good: Any, bad: Any) -> None:
    """As doubles, neighbouring large numbers can't be told apart."""
    lake_type = LakeType.parse(type_)
    values = pl.DataFrame({"n": [good, bad, None]}, schema={"n": dtype_of(lake_type)})
    (bound,) = bounds.values()
    outside = (above if "maximum" in bounds else below)(pl.col("n"), lake_type, bound)
    found = values.select(pl.when(pl.col("n").is_not_null()).then(outside)).to_series().to_list()
    assert found == [None if good is None else False, None if bad is None else True, None]


@pytest.mark.parametrize("operation", ["L", "i", "X", ""])
def test_an_operation_that_dms_does_not_write_is_rejected(read: Reader, operation: str) -> None:
    (reasons,) = read({HOUR: [article(Op=operation)]}).reasons.values()
    assert reasons == [f"/Op enum: {operation} is not one of I, U, D"]


_PLAIN: dict[str, Any] = {"use_dictionary": False, "compression": "none", "write_statistics": False}


def in_96_bits(times: pa.Array) -> bytes:
    ids = pa.array(range(1, len(times) + 1), pa.int64())
    sink = pa.BufferOutputStream()
    table = pa.table({"Op": ["I"] * len(times), "id": ids, "title": ["tea"] * len(times), "changed": times})
    pq.write_table(table, sink, use_deprecated_int96_timestamps=True, store_schema=False, **_PLAIN)
    return bytes(sink.getvalue())


def test_nanoseconds_of_96_bits_that_would_be_lost_are_rejected(read: Reader) -> None:
    """They were cut off, where the same times in 64 bits went to quarantine."""
    times = pa.array([1_767_603_600_123_456_789, 1_767_603_600_123_456_000], pa.timestamp("ns"))
    found = read({HOUR: in_96_bits(times)}, order_by=[])
    assert found.reasons == {1: [f"/changed type: 2026-01-05 09:00:00.123456789 ({NANOS}) is no timestamp"]}
    assert found.values("id") == [2]


def test_a_file_whose_nanoseconds_can_not_be_told_is_rejected_whole(read: Reader) -> None:
    """No type holds both nanoseconds and the year 1500."""
    moments = [datetime(1500, 1, 1, tzinfo=UTC), datetime(2026, 1, 5, 9, 0, 0, 123456, tzinfo=UTC)]
    data = in_96_bits(pa.array(moments, pa.timestamp("us")))
    of_day = 9 * 3_600_000_000_000 + 123_456_000
    assert data.count(of_day.to_bytes(8, "little")) == 1
    found = read({HOUR: data.replace(of_day.to_bytes(8, "little"), (of_day + 789).to_bytes(8, "little"))}, order_by=[])
    (outcome,) = found.outcomes.values()
    assert outcome.state == "failed"
    assert "changed holds times of nanoseconds beside times before 1678 or after 2261" in str(outcome.error)


def test_each_file_tells_its_event_dates_and_the_days_of_its_commits(read: Reader) -> None:
    days = [datetime(2026, 1, day, tzinfo=UTC) for day in (7, 5, 7)]
    other = "2026/01/05/09/20260105-091600000.parquet"
    found = read({HOUR: [article(n, changed=day) for n, day in enumerate(days)], other: [article(9)]})
    dates = {name: [d.isoformat() for d in outcome.event_dates] for name, outcome in found.outcomes.items()}
    assert dates == {
        "20260105-091500123.parquet": ["2026-01-05", "2026-01-07"],
        "20260105-091600000.parquet": ["2026-01-05"],
    }


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
    found = read({HOUR: bytes(sink.getvalue())}, columns=columns, event_time=time, without=["made"], order_by=[])
    assert found.values("operation", "_event_time", "event_date") == [("D", None, None)]
    assert found.reasons[1][0].startswith("/made event_time: ")
    assert found.reasons[1][0].endswith(" is no time of the years 1 to 9999")


@pytest.mark.parametrize("seed", range(20))
def test_no_damage_to_a_file_ends_the_process(read: Reader, seed: int) -> None:
    """Polars aborts over some of these, where nobody can catch it: Arrow decodes a file first."""
    chosen = random.Random(seed)
    rows = [{"Op": "I", "ar_h_change_seq": f"{n:035d}", "id": n, "title": f"{n}"} for n in range(9)]
    data = bytearray(parquet(rows, {**DMS_COLUMNS, "id": "int64", "title": "string"}))
    for _ in range(chosen.choice([1, 2, 5])):
        data[chosen.randrange(4, len(data) - 4)] = chosen.randrange(256)
    other = "2026/01/05/09/20260105-091500124.parquet"
    found = read({HOUR: bytes(data), other: rows})
    assert found.outcomes[other.rpartition("/")[2]].rows_in == 9
