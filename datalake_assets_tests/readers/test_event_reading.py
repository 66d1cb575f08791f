"""Landed events become typed columns with lineage, the hash of their bytes, and a date; nothing lost on the way."""

import gzip
import hashlib
import json
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datalake_assets.lake.readers.batch import Batch, Limits
from datalake_assets.lake.readers.events import EventReader
from datalake_assets.lake.spec.dataset import EventStream
from datalake_assets.lake.transforms import quality
from datalake_assets_tests.frames import rows_of
from datalake_assets_tests.readers.bronze import loading
from datalake_assets_tests.streams import AT, HOUR, landed, ndjson, stream

EVERY_TYPE = stream(
    properties={
        "text": {"type": ["string", "null"]},
        "whole": {"type": "integer"},
        "tiny": {"type": "integer", "x-lake-type": "int8"},
        "ratio": {"type": "number"},
        "price": {"type": "number", "x-lake-type": "decimal(12,2)"},
        "yes": {"type": "boolean"},
        "day": {"type": "string", "x-lake-type": "date"},
        "moment": {"type": "string", "x-lake-type": "timestamp"},
        "payload": {"type": "object"},
        "anything": {},
    }
)


def read(dataset: EventStream, *objects: bytes) -> Batch:
    """The one batch that some objects make; they are named 0, 1, …"""
    load = loading({f"{n}": data for n, data in enumerate(objects)})
    sized = [landed(f"{n}", size=len(data)) for n, data in enumerate(objects)]
    (batch,) = EventReader(dataset, Limits()).batches(load, sized)
    return batch


def accepted(dataset: EventStream, *records: Any) -> list[dict[str, Any]]:
    """The accepted rows of one object; records are dicts or lines of text."""
    return rows_of(read(dataset, ndjson(records)).accepted)


def reasons(dataset: EventStream, *records: Any) -> list[list[str]]:
    """Why the records of one object are rejected."""
    return [row["errors"] for row in read(dataset, ndjson(records)).rejected.to_dicts()]


def test_events_of_several_objects_become_typed_rows() -> None:
    first = ndjson(["", {"id": "1", "at": AT, "whole": 7, "ratio": 1, "price": 12.50, "yes": True}])
    text = (
        '{"id": "2", "at": %d, "day": "2026-03-01", "moment": "2026-03-01T12:00:00.5+02:00", "payload": {"b":  [1.0]}}'
    )
    second = ndjson([text % (AT + 86_400)])
    load = loading({"a.gz": gzip.compress(first, mtime=0), "b.json": second})
    next_hour = landed("b.json", partition="2026-03-01-11:00")
    (batch,) = EventReader(EVERY_TYPE, Limits()).batches(load, [landed("a.gz"), next_hour])
    stamped = rows_of(batch.accepted)
    assert all(row.pop("etl_timestamp").tzinfo is not None and len(row.pop("record_hash")) == 64 for row in stamped)
    nothing = dict.fromkeys([*EVERY_TYPE.columns, "_unknown"])
    assert stamped == [
        nothing
        | {
            "id": "1",
            "at": AT,
            "whole": 7,
            "ratio": 1.0,
            "price": Decimal("12.50"),
            "yes": True,
            "_event_time": datetime(2026, 3, 1, 10, tzinfo=UTC),
            "event_date": date(2026, 3, 1),
            "source_filename": "a.gz",
            "_row_number": 2,
        },
        nothing
        | {
            "id": "2",
            "at": AT + 86_400,
            "day": date(2026, 3, 1),
            "moment": datetime(2026, 3, 1, 10, 0, 0, 500_000, tzinfo=UTC),
            "payload": '{"b":  [1.0]}',
            "_event_time": datetime(2026, 3, 2, 10, tzinfo=UTC),
            "event_date": date(2026, 3, 2),
            "source_filename": "b.json",
            "_row_number": 1,
        },
    ]
    told = [(o.partition, o.event_dates, o.bytes_read, o.bytes_rejected) for o in batch.outcomes]
    assert told == [
        (HOUR, (date(2026, 3, 1),), len(first), 0),
        ("2026-03-01-11:00", (date(2026, 3, 2),), len(second), 0),
    ]
    assert batch.bytes_in == 20
    types = {name: str(dtype) for name, dtype in batch.accepted.collect_schema().items()}
    assert types == {
        "id": "String",
        "at": "Int64",
        "text": "String",
        "whole": "Int64",
        "tiny": "Int8",
        "ratio": "Float64",
        "price": "Decimal(precision=12, scale=2)",
        "yes": "Boolean",
        "day": "Date",
        "moment": "Datetime(time_unit='us', time_zone='UTC')",
        "payload": "String",
        "anything": "String",
        "_unknown": "String",
        "_event_time": "Datetime(time_unit='us', time_zone='UTC')",
        "event_date": "Date",
        "source_filename": "String",
        "_row_number": "Int64",
        "record_hash": "String",
        "etl_timestamp": "Datetime(time_unit='us', time_zone='UTC')",
    }


def test_rejects_keep_the_line_as_it_landed_and_say_why() -> None:
    lines = ['{"id": "1"}', f'{{"id": "2", "at": {AT}}}', "", '{"id": 3, "at": "x"}', "not json"]
    batch = read(stream(), ndjson(lines))
    rejected = [
        {k: v for k, v in row.items() if k not in {"source_filename", "etl_timestamp"}}
        for row in batch.rejected.to_dicts()
    ]
    known = {"dataset": "clicks", "partition": HOUR, "etag": "1", "raw_bytes": None}
    assert rejected == [
        known
        | {
            "row_number": 1,
            "raw": '{"id": "1"}',
            "errors": ['required: "at" is a required property', "/at key: an event needs it"],
        },
        known
        | {
            "row_number": 4,
            "raw": '{"id": 3, "at": "x"}',
            "errors": ['/id type: 3 is not of type "string"', '/at type: "x" is not of type "integer"'],
        },
        known | {"row_number": 5, "raw": "not json", "errors": ["json: JSON is malformed: invalid character (byte 4)"]},
    ]
    (outcome,) = batch.outcomes
    assert (outcome.rows_in, outcome.rows_out, outcome.rows_rejected, outcome.error) == (4, 1, 3, None)
    assert outcome.bytes_read == len(ndjson(lines))
    assert outcome.bytes_rejected == sum(len(lines[n]) for n in (0, 3, 4))


@pytest.mark.parametrize(
    "line", [b'{"id": "\xff\\xff"}', b"\x80", b'{"id": "a\xed\xa0\x80b", "at": 1}', b"\xff\xfe{\x00}"]
)
def test_a_reject_that_is_no_text_is_kept_byte_for_byte(line: bytes) -> None:
    """As text alone a byte that is not UTF-8 could not be told from its escape."""
    (row,) = read(stream(), line + b"\n" + GOOD).rejected.to_dicts()
    assert row["raw_bytes"] == line
    assert row["raw"] == line.decode(errors="backslashreplace")


GOOD = json.dumps({"id": "1", "at": AT}).encode()


@pytest.mark.parametrize(
    ("data", "rows", "lost"),
    [
        (b"", 0, 0),
        (b"\n \r\n\n", 0, 0),
        (gzip.compress(b"", mtime=0), 0, 0),
        (GOOD, 1, 0),
        (b"\xef\xbb\xbf" + GOOD, 1, 0),
        (gzip.compress(b"\xef\xbb\xbf" + GOOD, mtime=0), 1, 0),
        (GOOD + b"\r\n\r\n" + GOOD + b"\r\n", 2, 0),
        (gzip.compress(GOOD + b"\n", mtime=0) + gzip.compress(GOOD, mtime=0), 2, 0),
        (gzip.compress(GOOD[:9], mtime=0) + gzip.compress(GOOD[9:], mtime=0), 1, 0),
        (GOOD + GOOD, 2, 0),
        (GOOD + GOOD + b"\n" + GOOD, 3, 0),
        (b'{"id": "1",\n"at": 1}\n' + GOOD, 2, 0),
        (b"null\n[]\n1\n" + GOOD, 1, 3),
        (GOOD + b"\n" + GOOD[:-3], 1, 1),
        (GOOD[:-1] + b', "deep": ' + b"[" * 100_000 + b"]" * 100_000 + b"}\n" + GOOD, 1, 1),
        (GOOD[:-1] + b', "long": ' + b"9" * 10_000 + b"}\n" + GOOD, 2, 0),
        (GOOD.replace(b"1", b"\xff", 1) + b"\n" + GOOD, 1, 1),
        (GOOD.replace(b'"1"', b'"\\ud800"', 1) + b"\n" + GOOD, 1, 1),
        (GOOD.replace(b"1", b"\x00", 1) + b"\n" + GOOD, 1, 1),
        (GOOD[:-1] + b', "payload": {"a": "\xff"}}\n' + GOOD, 1, 1),
    ],
)
def test_each_line_that_is_not_blank_is_accepted_or_rejected(data: bytes, rows: int, lost: int) -> None:
    batch = read(stream(), data)
    (outcome,) = batch.outcomes
    assert (len(rows_of(batch.accepted)), len(batch.rejected.to_dicts())) == (rows, lost)
    assert (outcome.rows_out, outcome.rows_rejected, outcome.error) == (rows, lost, None)


@pytest.mark.parametrize(
    ("unit", "rule", "value", "moment"),
    [
        ("s", {"type": "integer"}, AT, "2026-03-01T10:00:00+00:00"),
        ("s", {"type": "integer"}, -1, "1969-12-31T23:59:59+00:00"),
        ("s", {"type": "integer"}, -62_135_596_800, "0001-01-01T00:00:00+00:00"),
        ("s", {"type": "integer"}, 253_402_300_799, "9999-12-31T23:59:59+00:00"),
        ("s", {"type": "number"}, AT + 0.25, "2026-03-01T10:00:00.250000+00:00"),
        ("ms", {"type": "integer"}, AT * 1000 + 7, "2026-03-01T10:00:00.007000+00:00"),
        ("us", {"type": "integer"}, AT * 1_000_000 + 7, "2026-03-01T10:00:00.000007+00:00"),
        ("iso8601", {"type": "string"}, "2026-03-01T10:00:00Z", "2026-03-01T10:00:00+00:00"),
        ("iso8601", {"type": "string"}, "2026-03-01T10:00:00", "2026-03-01T10:00:00+00:00"),
        ("iso8601", {"type": "string"}, "2026-03-01 12:00:00.5+02:00", "2026-03-01T10:00:00.500000+00:00"),
        ("iso8601", {"type": "string"}, "20260301T100000Z", "2026-03-01T10:00:00+00:00"),
        ("iso8601", {"type": "string"}, "2026-03-01", "2026-03-01T00:00:00+00:00"),
        (
            "iso8601",
            {"type": "string", "x-lake-type": "timestamp"},
            "2026-03-01T12:00+02:00",
            "2026-03-01T10:00:00+00:00",
        ),
    ],
)
def test_an_event_time_is_read_in_its_unit(unit: str, rule: dict[str, Any], value: Any, moment: str) -> None:
    dataset = stream(event_time={"column": "at", "unit": unit}, properties={"at": rule})
    (row,) = accepted(dataset, {"id": "1", "at": value})
    assert row["_event_time"].isoformat() == moment
    assert row["event_date"].isoformat() == moment[:10]


@pytest.mark.parametrize(
    ("unit", "rule", "value"),
    [
        ("s", {"type": "integer"}, 253_402_300_800),
        ("s", {"type": "integer"}, AT * 1_000_000_000),
        ("s", {"type": "number"}, 1e300),
        ("us", {"type": "number"}, 1e18),
        ("iso8601", {"type": "string"}, "yesterday"),
        ("iso8601", {"type": "string"}, "0000-01-01T00:00:00Z"),
        ("iso8601", {"type": "string"}, "0001-01-01T00:00:00+05:00"),
        ("iso8601", {"type": "string"}, "2026-02-30T00:00:00Z"),
        ("iso8601", {"type": ["string", "null"]}, None),
    ],
)
def test_an_event_without_a_time_is_rejected(unit: str, rule: dict[str, Any], value: Any) -> None:
    dataset = stream(event_time={"column": "at", "unit": unit}, properties={"at": rule})
    ((reason,),) = reasons(dataset, {"id": "1", "at": value})
    assert reason.startswith("/at ")


def test_the_quality_of_a_record_is_the_share_of_its_columns_that_have_a_value() -> None:
    dataset = stream(properties={"a": {}, "b": {"type": "string"}})
    batch = read(dataset, ndjson([{"id": "1", "at": AT, "a": 0, "b": ""}, {"id": "2", "at": AT, "a": None, "z": 1}]))
    scored = rows_of(quality.score(batch.accepted, columns=list(dataset.columns)))
    assert [row["quality_score"] for row in scored] == [1.0, 0.5]


@pytest.mark.parametrize(("unknown_fields", "kept"), [("keep", '{"a":[1.50, 2],"é":null}'), ("drop", None)])
def test_unknown_fields_are_kept_as_their_text_or_dropped(unknown_fields: str, kept: str | None) -> None:
    line = f'{{"id": "1", "é" : null , "at": {AT}, "a":  [1.50, 2]}}'
    (row,) = accepted(stream(unknown_fields=unknown_fields), line)
    assert row["_unknown"] == kept


def test_unknown_fields_can_be_refused() -> None:
    (told,) = reasons(stream(unknown_fields="reject"), {"id": "1", "at": AT, "a/b": 1, "z": 2})
    assert told == [
        "/a~1b unknown_fields: the contract does not declare this field",
        "/z unknown_fields: the contract does not declare this field",
    ]


SPACES = st.text(" \t\r", max_size=3)
TEXTS = st.text(st.characters(codec="utf-8"), max_size=8)


@given(
    ids=st.lists(st.tuples(SPACES, TEXTS, st.booleans(), SPACES), min_size=1, max_size=6),
    odd=st.sampled_from(["", ', "undeclared": "é"', ', "ratio": -0', ', "at": null', "\xff"]),
)
def test_a_record_has_the_hash_of_its_bytes_as_landed(ids: list[tuple[str, str, bool, str]], odd: str) -> None:
    lines = [
        f'{before}{{"id":{json.dumps(id_, ensure_ascii=escaped)},  "at": {AT}}}{after}'.encode()
        for before, id_, escaped, after in ids
    ]
    other = f'{{"id": "x", "at": {AT}{odd}}}'.encode("latin-1" if odd == "\xff" else "utf-8")
    lines.insert(len(lines) // 2, other)
    batch = read(EVERY_TYPE, b"\n".join(lines))
    rows = rows_of(batch.accepted)
    assert {row["_row_number"]: row["record_hash"] for row in rows} == {
        n: hashlib.sha256(line.strip(b" \t\r\n")).hexdigest()
        for n, line in enumerate(lines, start=1)
        if n not in {row["row_number"] for row in batch.rejected.to_dicts()}
    }
    assert len(rows) >= len(ids)


def test_the_hash_of_a_record_depends_on_no_contract_and_no_neighbour() -> None:
    """A contract that read a value otherwise made every event a new one."""
    line = f'{{"id": "1", "at": {AT}, "about": 1.50, "é": null}}'
    contracts: list[dict[str, Any]] = [
        {},
        {"properties": {"about": {"type": "number"}}},
        {"properties": {"about": {"type": "number", "x-lake-type": "decimal(9,2)"}, "é": {}}},
        {"unknown_fields": "drop", "key": None},
        {"event_time": {"column": "at", "unit": "ms"}},
    ]
    hashes = {row["record_hash"] for keys in contracts for row in accepted(stream(**keys), line)}
    beside = rows_of(read(stream(), b"\xff\n\n" + line.encode()).accepted)
    assert hashes == {row["record_hash"] for row in beside} == {hashlib.sha256(line.encode()).hexdigest()}


def test_other_bytes_are_another_record_though_they_mean_the_same() -> None:
    lines = [f'{{"id": "1", "at": {AT}}}', f'{{"at": {AT}, "id": "1"}}', f'{{"id": "1","at": {AT}}}']
    assert len({row["record_hash"] for row in accepted(stream(), *lines)}) == 3


NUMBERS = stream(
    properties={"ratio": {"type": "number"}, "any": {}, "whole": {"type": "integer"}, "sum": {"type": "object"}}
)
DIGITS = "9" * 4_400


@pytest.mark.parametrize(
    ("column", "text", "value"),
    [
        ("ratio", "-0", "-0.0"),
        ("ratio", "-0.0", "-0.0"),
        ("ratio", "-0e0", "-0.0"),
        ("ratio", "0", "0.0"),
        ("ratio", "1.5", "1.5"),
        ("whole", "-0", "0"),
        ("any", "-0", "'-0'"),
        ("any", DIGITS, repr(DIGITS)),
        ("any", f"-{DIGITS}.5e-1", repr(f"-{DIGITS}.5e-1")),
        ("sum", f'{{"a": "{DIGITS}", "b": [{DIGITS}]}}', repr(f'{{"a": "{DIGITS}", "b": [{DIGITS}]}}')),
        ("any", "[" * 199 + "]" * 199, repr("[" * 199 + "]" * 199)),
    ],
    ids=lambda value: value[:20],
)
def test_a_value_is_read_one_way_whatever_stands_beside_it(column: str, text: str, value: str) -> None:
    """A record with an undeclared field takes another way: -0 lost its sign on one, long integers only on the other."""
    line = f'{{"id": "1", "at": {AT}, "{column}" : {text} }}'
    beside = f'{line[:-1]}, "undeclared": 1}}'
    rows = accepted(NUMBERS, line, beside, line, {"id": "zero", "at": AT, "ratio": 0})
    assert [repr(row[column]) for row in rows if row["id"] != "zero"] == [value] * 3


@pytest.mark.parametrize(
    ("column", "text"),
    [("ratio", DIGITS), ("whole", DIGITS), ("any", "[" * 200 + "]" * 200), ("sum", '{"a":' * 200 + "1" + "}" * 200)],
)
def test_a_value_is_rejected_one_way_whatever_stands_beside_it(column: str, text: str) -> None:
    line = f'{{"id": "1", "at": {AT}, "{column}": {text}}}'
    ((alone,), (beside,)) = reasons(NUMBERS, line, f'{line[:-1]}, "undeclared": 1}}')
    assert alone == beside
