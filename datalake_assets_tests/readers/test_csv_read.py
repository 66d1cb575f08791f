"""Reading CSV as DMS writes it: columns, NULL, values in their exact types, and lines that can't be read."""

import csv
import gzip
import io
import math
from collections.abc import Sequence
from datetime import UTC, date, datetime
from decimal import Context, Decimal
from typing import Any

import pytest

from datalake_assets.lake.readers.batch import Limits
from datalake_assets_tests.readers.conftest import Reader
from datalake_assets_tests.readers.test_changes_read import COMMITTED, TIME

LOAD = "LOAD00000001.csv"
HOUR = "2026/01/05/09/20260105-091500123.csv"
LARGEST = Decimal(10**38 - 1).scaleb(-4, Context(prec=38))
PLAIN: dict[str, Any] = {
    "columns": {"id": {"type": "int64"}, "title": {"type": "string"}, "price": {"type": "decimal(10,2)"}},
    "event_time": None,
    "order_by": [],
    "csv": {},
}


def lines(*rows: str, end: str = "\n") -> bytes:
    return "".join(row + end for row in rows).encode()


def test_columns_are_in_the_order_of_dms(read: Reader) -> None:
    """The operation, the timestamp column, those of the table, and behind them what transformation rules add."""
    found = read({HOUR: lines(f"U,{TIME},7,tea,1.50,3,true,2026-01-05 09:00:00,0001")}, csv={})
    assert found.values("operation", "id", "title", "price", "stock", "listed", "_sequence_1", "_committed_at") == [
        ("U", 7, "tea", Decimal("1.50"), 3, True, 1, COMMITTED)
    ]
    assert not found.rejected


def test_a_full_load_is_read_with_and_without_the_operation(read: Reader) -> None:
    files = {LOAD: lines(f"{TIME},1,tea,1"), "LOAD0000000A.csv": lines(f"I,{TIME},2,tea,1")}
    found = read(files, **PLAIN)
    assert found.values("id", "operation", "_is_change") == [(1, "L", False), (2, "L", False)]


def test_columns_may_be_named_in_another_order_and_more_of_them_than_are_declared(read: Reader) -> None:
    columns = ["Op", "title", "extra", "id", "dms_timestamp"]
    found = read({HOUR: lines(f"I,tea,x,1,{TIME}")}, **PLAIN | {"csv": {"columns": columns}})
    assert found.values("id", "title", "price", "_unknown") == [(1, "tea", None, '{"extra":"x"}')]


def test_a_header_names_the_columns(read: Reader) -> None:
    headed = {"csv": {"header": True}}
    found = read({HOUR: lines('title,"id",Op,new', "tea,1,I,x", "mug,2,U,")}, **PLAIN | headed)
    assert found.values("id", "title", "operation", "_unknown", "_row_number") == [
        (1, "tea", "I", '{"new":"x"}', 1),
        (2, "mug", "U", '{"new":""}', 2),
    ]
    assert read({HOUR: lines("Op,id,title")}, **PLAIN | headed).outcomes[HOUR[-22:]].rows_in == 0


@pytest.mark.parametrize("header", ["Op,dms_timestamp,id,title,price", "price,id,Op,title", "id,title,price,new"])
def test_a_header_that_the_dataset_file_does_not_tell_of_is_no_row(read: Reader, header: str) -> None:
    """Its words would be the values of a row where all columns are texts, and its columns may be in another order."""
    found = read({HOUR: lines(header, f"I,{TIME},1,tea,1")}, **PLAIN)
    assert found.values("id") == []
    (outcome,) = found.outcomes.values()
    assert outcome.state == "failed"
    assert "holds the columns' names; write `header: true`" in (outcome.error or "")


def test_a_long_value_in_the_first_line_is_no_header(read: Reader) -> None:
    found = read({HOUR: lines(f"I,{TIME},1,{'é' * 200_000},1")}, **PLAIN)
    assert found.values("title") == ["é" * 200_000]


def test_one_name_alone_is_a_value(read: Reader) -> None:
    single = PLAIN | {
        "columns": {"id": {"type": "string"}},
        "timestamp_column": None,
        "csv": {"columns": ["id"]},
    }
    assert read({LOAD: lines("id", "other")}, **single).values("id") == ["id", "other"]


@pytest.mark.parametrize(
    ("header", "fault"),
    [
        (f"I,{TIME},1,tea,1", "lacks the key id"),
        ("id,title,title", "has a name twice, or an empty one"),
        ("id,,title", "has a name twice, or an empty one"),
        ('"id,title', "lacks the key id"),
        ("", "lacks the key id"),
    ],
)
def test_a_header_that_is_none_is_the_fault_of_its_file(read: Reader, header: str, fault: str) -> None:
    found = read({HOUR: lines(header)}, **PLAIN | {"csv": {"header": True}})
    (outcome,) = found.outcomes.values()
    assert (outcome.state, outcome.final) == ("failed", True)
    assert f"its first line is no header, it {fault}" in (outcome.error or "")


def test_the_marker_of_null_is_one_only_without_quotes(read: Reader) -> None:
    rows = ("NULL,NULL", '"NULL",1', ",", '"",2.5', "null,NULL")
    found = read({HOUR: lines(*(f"I,{TIME},{n},{row}" for n, row in enumerate(rows)))}, **PLAIN)
    expected = [(None, None), ("NULL", Decimal(1)), ("", None), ("", Decimal("2.5")), ("null", None)]
    assert found.values("title", "price") == expected


def test_where_null_is_empty_an_empty_text_is_told_by_its_quotes(read: Reader) -> None:
    rows = [f"I,{TIME},{n},{title},{price}" for n, (title, price) in enumerate([("", ""), ('""', '""'), ("NULL", "1")])]
    found = read({HOUR: lines(*rows)}, **PLAIN | {"csv": {"null_value": ""}})
    assert found.values("title", "price") == [(None, None), ("", None), ("NULL", Decimal(1))]


@pytest.mark.parametrize(
    ("type_", "text", "value"),
    [
        ("decimal(38,4)", str(LARGEST), LARGEST),
        ("decimal(38,10)", "0.1000000000", Decimal("0.1")),
        ("decimal(10,2)", "12.3400", Decimal("12.34")),
        ("decimal(10,2)", "-0.5", Decimal("-0.50")),
        ("decimal(5,0)", "12.000", Decimal(12)),
        ("decimal(28,6)", "0.611111", Decimal("0.611111")),
        ("int64", "-9223372036854775808", -(2**63)),
        ("int16", "32767", 32767),
        ("double", "0.1", 0.1),
        ("double", "1e-7", 1e-7),
        ("double", "1.7976931348623157e308", 1.7976931348623157e308),
        ("double", "5e-324", 5e-324),
        ("double", "-Infinity", -math.inf),
        ("float", "16777217.0000001", 16777218.0),
        ("float", "0", 0.0),
        ("boolean", "true", True),
        ("boolean", "false", False),
        ("boolean", "t", True),
        ("boolean", "f", False),
        ("boolean", "true ", True),
        ("binary", "00ff", b"\x00\xff"),
        ("binary", "\\x00FF", b"\x00\xff"),
        ("binary", "0x00ff", b"\x00\xff"),
        ("binary", '""', b""),
        ("date", "2026-01-05", date(2026, 1, 5)),
        ("timestamp", "2026-01-05 09:10:11", datetime(2026, 1, 5, 9, 10, 11, tzinfo=UTC)),
        ("timestamp", "2026-01-05 09:10:11.123456000", COMMITTED),
        ("timestamp", "9999-12-31 23:59:59.999999", datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)),
        ("json", '"{""a"": ""b\nc""}"', '{"a": "b\nc"}'),
        ("string", "09:10:11.5", "09:10:11.5"),
        ("string", "6f9619ff-8b86-d011-b42d-00cf4fc964ff", "6f9619ff-8b86-d011-b42d-00cf4fc964ff"),
        ("string", '" a ""b"", c "', ' a "b", c '),
        ("string", " å\u2028\x00 ", " å\u2028\x00 "),
        ("string", "\ufefftea", "\ufefftea"),
        ("string", '"\r\n"', "\r\n"),
    ],
)  # fmt: skip
def test_text_is_the_value_that_it_spells(read: Reader, type_: str, text: str, value: Any) -> None:
    columns = {"id": {"type": "int64"}, "v": {"type": type_}}
    found = read({HOUR: lines(f"I,{TIME},1,{text}")}, **PLAIN | {"columns": columns})
    assert not found.reasons
    assert found.values("v") == [value]
    assert type(found.values("v")[0]) is type(value)


@pytest.mark.parametrize(
    ("type_", "text"),
    [
        ("decimal(10,2)", "12.345"),
        ("decimal(10,2)", "123456789.00"),
        ("decimal(10,2)", "1e3"),
        ("decimal(10,2)", "1,000.00"),
        ("decimal(10,2)", "NaN"),
        ("int32", "2147483648"),
        ("int32", "1.0"),
        ("int32", " 1"),
        ("double", "1e400"),
        ("double", "1e-400"),
        ("float", "1e39"),
        ("float", "1e-50"),
        ("double", "one"),
        ("boolean", "yes"),
        ("boolean", "TRUE"),
        ("binary", "abc"),
        ("binary", "zz"),
        ("date", "2026-02-30"),
        ("timestamp", "2026-01-05 09:10:11.1234567"),
        ("timestamp", "2026-01-05 09:10:60"),
        ("timestamp", "infinity"),
    ],
)
def test_text_that_does_not_spell_a_value_exactly_rejects_its_row(read: Reader, type_: str, text: str) -> None:
    columns = {"id": {"type": "int64"}, "v": {"type": type_}}
    found = read({HOUR: lines(f'I,{TIME},1,"{text}"', f"I,{TIME},2,NULL")}, **PLAIN | {"columns": columns})
    assert found.reasons == {1: [f"/v type: {text} (String) is no {type_}"]}
    assert found.values("id", "v") == [(2, None)]


BAD = {
    b'I,%b,2,"te"a,1': "csv: a quote or a carriage return stands where RFC 4180 has none",
    b'I,%b,2,te"a,1': "csv: a quote or a carriage return stands where RFC 4180 has none",
    b'I,%b,2,te""a,1': "csv: a quote or a carriage return stands where RFC 4180 has none",
    b"I,%b,2,te\ra,1": "csv: a quote or a carriage return stands where RFC 4180 has none",
    b'I,%b,2,"tea,1': "csv: a quote or a carriage return stands where RFC 4180 has none",
    b"I,%b,2,tea": "csv: the line has 4 fields, and the columns are 5 (Op, dms_timestamp, id, title, price)",
    b"I,%b,2,tea,1,x": "csv: the line has 6 fields",
    b'I,%b,2,"tea\n",1,x': "csv: the line has 6 fields",
    b"I,%b,2,t\xff\xfea,1": "csv: the line is not UTF-8 text",
}


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
@pytest.mark.parametrize("memory", [64 * 400, 2**31])
@pytest.mark.parametrize("line", BAD)
def test_a_line_that_can_not_be_read_is_one_reject_with_its_bytes(
    read: Reader, line: bytes, memory: int, end: bytes
) -> None:
    """Whatever the piece of the file that it lies in, the lines about it are read as if it were not there."""
    bad = line.replace(b"%b", TIME.encode())
    good = [b'I,%b,%d,"tea ""%d"", with\nmilk",1' % (TIME.encode(), n, n) for n in range(1, 60)]
    good[1] = bad
    found = read({HOUR: b"".join(row + end for row in good)}, limits=Limits(memory_bytes=memory), **PLAIN)
    (reject,) = found.rejected
    assert reject["row_number"] == 2
    assert reject["errors"][0].startswith(BAD[line])
    assert (reject["raw_bytes"] or reject["raw"].encode()) == bad
    assert found.values("id", "_row_number") == [(n, n) for n in range(1, 60) if n != 2]
    (outcome,) = found.outcomes.values()
    assert (outcome.state, outcome.rows_in, outcome.rows_out, outcome.rows_rejected) == ("processed", 59, 58, 1)


def test_a_row_that_breaks_rules_behind_a_line_that_can_not_be_read_has_its_own_number(read: Reader) -> None:
    rows = lines(f"I,{TIME},1", f"I,{TIME},x,tea,1", f"I,{TIME},3,tea,1", f"X,{TIME},4,tea,1")
    found = read({HOUR: rows}, **PLAIN)
    assert {number: errors[0].partition(":")[0] for number, errors in found.reasons.items()} == {
        1: "csv",
        2: "/id type",
        4: "/Op enum",
    }
    assert found.values("id", "_row_number") == [(3, 3)]


def test_a_record_that_is_too_long_is_rejected_and_the_others_are_read(read: Reader) -> None:
    rows = lines(f"I,{TIME},1,tea,1", f"I,{TIME},2,{'x' * 500},1", f'I,{TIME},3,"{"x" * 500}",1', f"I,{TIME},4,tea,1")
    found = read({HOUR: rows}, limits=Limits(record_bytes=300), **PLAIN)
    assert found.values("id") == [1, 4]
    assert [errors[0].partition(":")[0] for errors in found.reasons.values()] == ["record_bytes"] * 2


@pytest.mark.parametrize("cut", [1, 5, 12])
def test_a_file_that_was_cut_off_gives_the_lines_before_the_cut(read: Reader, cut: int) -> None:
    whole = lines(f'I,{TIME},1,"tea",1', f'I,{TIME},2,"mu\ng",1')
    found = read({HOUR: whole[:-cut]}, **PLAIN)
    assert found.values("id") == ([1, 2] if cut == 1 else [1])  # the last line needs no line end
    assert len(found.rejected) == {1: 0, 5: 1, 12: 1}[cut]


def test_a_byte_order_mark_and_empty_lines_are_no_data(read: Reader) -> None:
    rows = b"\xef\xbb\xbf\n" + lines(f"I,{TIME},1,tea,1", "", f"I,{TIME},2,tea,1", "", "")
    assert read({HOUR: rows}, **PLAIN).values("id", "_row_number") == [(1, 1), (2, 2)]


def test_gzip_of_several_members_is_one_file(read: Reader) -> None:
    members = [gzip.compress(lines(f"I,{TIME},{n},tea,1")) for n in (1, 2)]
    assert read({f"{HOUR}.gz": b"".join(members)}, **PLAIN).values("id") == [1, 2]


@pytest.mark.parametrize(
    ("name", "data", "reason"),
    [
        (HOUR, b"", "the object is empty"),
        (f"{HOUR}.gz", gzip.compress(b"", mtime=0), "the object is empty"),
        (f"{HOUR}.gz", gzip.compress(lines("x" * 100) * 50, mtime=0)[:-9], "gzip: "),
        (f"{HOUR}.gz", b"\x1f\x8b no gzip", "gzip: "),
        (f"{HOUR}.gz", gzip.compress(b"x" * 5_000_000, mtime=0), "unpacks to more than 1,000,000 bytes"),
    ],
)
def test_an_object_that_can_never_be_read_fails_alone(read: Reader, name: str, data: bytes, reason: str) -> None:
    files = {name: data, LOAD: lines(f"{TIME},1,tea,1")}
    found = read(files, limits=Limits(object_bytes=1_000_000), **PLAIN)
    assert found.values("id") == [1]
    outcome = found.outcomes[name.rpartition("/")[2]]
    assert (outcome.state, outcome.final) == ("failed", True)
    assert (outcome.error or "").startswith(reason)


@pytest.mark.parametrize("text", [f"I;{TIME};1;tea;1", f"I,{TIME},1,tea,1,more", "torn", '"torn'])
@pytest.mark.parametrize("header", [False, True])
def test_text_of_another_form_is_the_fault_of_its_file(read: Reader, text: str, header: bool) -> None:
    """Each of its lines would be a reject, and nothing tell that a whole file is written otherwise."""
    head = ("Op,dms_timestamp,id,title,price",) if header else ()
    found = read({HOUR: lines(*head, text, text)}, **PLAIN | {"csv": {"header": header}})
    (outcome,) = found.outcomes.values()
    assert (outcome.state, outcome.final) == ("failed", True)
    assert (outcome.error or "").startswith(
        "none of its lines has a field for each column; these are 5 (Op, dms_timestamp, id, title, price); mend `csv`"
    )


def test_csv_is_refused_where_the_dataset_file_does_not_say_how_to_read_it(read: Reader) -> None:
    found = read({HOUR: lines("1,tea")})
    (outcome,) = found.outcomes.values()
    assert "add a `csv` part to it" in (outcome.error or "")
    assert outcome.final


def test_a_name_that_tells_nothing_leaves_it_to_the_first_bytes(read: Reader) -> None:
    row = {"Op": "I", "dms_timestamp": TIME, "id": 1, "title": "tea", "price": None}
    text = lines(f"I,{TIME},2,tea,1")
    files: dict[str, Any] = {"a": [row], "b": text, "c.gz": gzip.compress(text), "d.CSV": text}
    assert read(files, **PLAIN).values("id") == [1, 2, 2, 2]
    found = read({"20260105-091500123.parquet": text}, **PLAIN)
    assert "not readable as Parquet" in (found.outcomes["20260105-091500123.parquet"].error or "")


def test_another_delimiter_leaves_commas_alone(read: Reader) -> None:
    for delimiter in (";", "|", "\t", "^"):
        text = (
            f'I,{TIME},1,"te{delimiter}a",1'.replace(",", delimiter) + "\n" + f"I,{TIME},2,a,1".replace(",", delimiter)
        )
        found = read({HOUR: text.encode()}, **PLAIN | {"csv": {"delimiter": delimiter}})
        assert found.values("id", "title") == [(1, f"te{delimiter}a"), (2, "a")]
    comma = read({HOUR: f"I;{TIME};1;te,a;1\n".encode()}, **PLAIN | {"csv": {"delimiter": ";"}})
    assert comma.values("title") == ["te,a"]


def table(rows: Sequence[Sequence[str]]) -> bytes:
    sink = io.StringIO(newline="")
    csv.writer(sink, lineterminator="\n").writerows(rows)
    return sink.getvalue().encode()


def test_a_large_file_is_read_in_pieces_as_it_is_whole(read: Reader) -> None:
    rows = [("I", TIME, f"{n}", f'tea "{n}"\n' * (n % 3), f"{n}.50") for n in range(5_000)]
    data = table(rows)
    whole = read({HOUR: data}, **PLAIN)
    pieces = read({HOUR: data}, limits=Limits(memory_bytes=64 * 20_000), **PLAIN)

    def told(found: Any) -> list[dict[str, Any]]:
        return [{k: v for k, v in row.items() if k != "etl_timestamp"} for row in found.accepted]

    assert told(pieces) == told(whole)
    assert len(told(whole)) == 5_000
    assert pieces.outcomes == whole.outcomes
