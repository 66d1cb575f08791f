"""Landed events become typed columns with lineage, a hash of their content, and a date; nothing lost on the way."""

import gzip
import hashlib
import json
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from obstore.store import MemoryStore

from datalake_assets.lake.engines.polars import PolarsEngine
from datalake_assets.lake.readers.batch import Batch
from datalake_assets.lake.spec.dataset import EventStream
from datalake_assets.lake.store.landing import open_store
from datalake_assets.lake.transforms import quality
from datalake_assets_tests.frames import rows_of
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
    store = MemoryStore()
    for n, data in enumerate(objects):
        store.put(f"{n}", data)
    (batch,) = PolarsEngine().read_events(dataset, store, [landed(f"{n}") for n in range(len(objects))])
    return batch


def accepted(dataset: EventStream, *records: Any) -> list[dict[str, Any]]:
    """The accepted rows of one object; records are dicts or lines of text."""
    return rows_of(read(dataset, ndjson(records)).accepted)


def reasons(dataset: EventStream, *records: Any) -> list[list[str]]:
    """Why the records of one object are rejected."""
    return [row["errors"] for row in rows_of(read(dataset, ndjson(records)).rejected)]


def test_events_of_several_objects_become_typed_rows(tmp_path: Path) -> None:
    store = open_store(str(tmp_path))
    store.put(
        "a.gz", gzip.compress(ndjson([{"id": "1", "at": AT, "whole": 7, "ratio": 1, "price": 12.50, "yes": True}]))
    )
    text = (
        '{"id": "2", "at": %d, "day": "2026-03-01", "moment": "2026-03-01T12:00:00.5+02:00", "payload": {"b":  [1.0]}}'
    )
    store.put("b.json", ndjson([text % (AT + 86_400)]))
    next_hour = landed("b.json", partition="2026-03-01-11:00")
    (batch,) = PolarsEngine().read_events(EVERY_TYPE, store, [landed("a.gz"), next_hour])
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
        },
    ]
    assert batch.event_dates == {HOUR: (date(2026, 3, 1),), "2026-03-01-11:00": (date(2026, 3, 2),)}
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
        "record_hash": "String",
        "etl_timestamp": "Datetime(time_unit='us', time_zone='UTC')",
    }


def test_rejects_keep_the_line_as_it_landed_and_say_why() -> None:
    lines = ['{"id": "1"}', f'{{"id": "2", "at": {AT}}}', "", '{"id": 3, "at": "x"}', "not json"]
    batch = read(stream(), ndjson(lines))
    rejected = [
        {k: row[k] for k in ("dataset", "partition", "row_number", "raw", "errors")} for row in rows_of(batch.rejected)
    ]
    known = {"dataset": "clicks", "partition": HOUR}
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


GOOD = json.dumps({"id": "1", "at": AT}).encode()


@pytest.mark.parametrize(
    ("data", "rows", "lost"),
    [
        (b"", 0, 0),
        (b"\n \r\n\n", 0, 0),
        (gzip.compress(b""), 0, 0),
        (GOOD, 1, 0),
        (b"\xef\xbb\xbf" + GOOD, 1, 0),
        (gzip.compress(b"\xef\xbb\xbf" + GOOD), 1, 0),
        (GOOD + b"\r\n\r\n" + GOOD + b"\r\n", 2, 0),
        (gzip.compress(GOOD + b"\n") + gzip.compress(GOOD), 2, 0),
        (gzip.compress(GOOD[:9]) + gzip.compress(GOOD[9:]), 1, 0),
        (GOOD + GOOD, 0, 1),  # records that share a line are told apart by nobody yet
        (GOOD + GOOD + b"\n" + GOOD, 1, 1),
        (b'{"id": "1",\n"at": 1}\n' + GOOD, 1, 2),
        (b"null\n[]\n1\n" + GOOD, 1, 3),
        (GOOD + b"\n" + GOOD[:-3], 1, 1),
        (GOOD[:-1] + b', "deep": ' + b"[" * 100_000 + b"]" * 100_000 + b"}\n" + GOOD, 1, 1),
        (GOOD[:-1] + b', "long": ' + b"9" * 10_000 + b"}\n" + GOOD, 1, 1),
        (GOOD.replace(b"1", b"\xff", 1) + b"\n" + GOOD, 1, 1),
        (GOOD.replace(b'"1"', b'"\\ud800"', 1) + b"\n" + GOOD, 1, 1),
        (GOOD.replace(b"1", b"\x00", 1) + b"\n" + GOOD, 1, 1),
        (GOOD[:-1] + b', "payload": {"a": "\xff"}}\n' + GOOD, 1, 1),
    ],
)
def test_each_line_that_is_not_blank_is_accepted_or_rejected(data: bytes, rows: int, lost: int) -> None:
    batch = read(stream(), data)
    (outcome,) = batch.outcomes
    assert (len(rows_of(batch.accepted)), len(rows_of(batch.rejected))) == (rows, lost)
    assert (outcome.rows_out, outcome.rows_rejected, outcome.error) == (rows, lost, None)


WHOLE = gzip.compress(GOOD + b"\n" + GOOD)


@pytest.mark.parametrize(
    "data",
    [WHOLE[:-1], WHOLE[:20], WHOLE[:2], WHOLE[:-4] + b"\0\0\0\0", WHOLE + b"rubbish", b"\x1f\x8brubbish of all kinds"],
)
def test_a_damaged_object_is_told_and_stops_no_other(data: bytes) -> None:
    batch = read(stream(), data, GOOD)
    damaged, whole = batch.outcomes
    assert damaged.error is not None
    assert damaged.error.startswith("gzip: ")
    assert damaged.error.endswith("; land the object again")
    assert (damaged.rows_in, damaged.rows_out, damaged.rows_rejected) == (0, 0, 0)
    assert (whole.rows_out, whole.error) == (1, None)
    (reject,) = rows_of(batch.rejected)
    assert (reject["source_filename"], reject["row_number"], reject["errors"]) == ("0", 0, [f"object: {damaged.error}"])


@given(data=st.data())
def test_no_damage_to_gzip_stops_the_reader(data: st.DataObject) -> None:
    damaged = bytearray(WHOLE)
    for at in data.draw(st.lists(st.integers(0, len(WHOLE) - 1), min_size=1, max_size=3)):
        damaged[at] = data.draw(st.integers(0, 255))
    (outcome,) = read(stream(), bytes(damaged)[: data.draw(st.integers(0, len(WHOLE)))]).outcomes
    assert outcome.rows_in == outcome.rows_out + outcome.rows_rejected


def test_an_object_that_is_gone_is_told() -> None:
    (batch,) = PolarsEngine().read_events(stream(), MemoryStore(), [landed("gone")])
    assert batch.outcomes[0].error == "not found any more; it was deleted after it was admitted"


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


TEXTS = st.text(st.characters(codec="utf-8"), max_size=8)
DAYS = st.dates(date(1, 1, 1), date(9999, 12, 31))
DECIMALS = st.decimals(-(10**9), 10**9, places=2)
RECORDS = st.fixed_dictionaries(
    {"id": TEXTS, "at": st.integers(-62_135_596_800, 253_402_300_799)},
    optional={
        "text": st.none() | TEXTS,
        "whole": st.integers(-(2**63), 2**63 - 1),
        "tiny": st.integers(-128, 127),
        "ratio": st.integers(-1000, 1000).map(lambda n: n / 8),
        "price": DECIMALS,
        "yes": st.booleans(),
        "day": DAYS.map(date.isoformat),
        "moment": st.datetimes().map(lambda d: d.isoformat() + "Z"),
        "payload": st.dictionaries(TEXTS, st.integers() | TEXTS, max_size=2),
        "anything": st.none() | TEXTS | st.lists(st.integers(0, 3), max_size=2),
        "undeclared": TEXTS | st.none(),
    },
)


def reference_hash(record: dict[str, Any]) -> str:
    """The hash of a record as its documentation tells it, in plain Python."""
    spelled: dict[str, Any] = {}
    for name, value in record.items():
        match name:
            case _ if value is None:
                continue
            case "price":
                spelled[name] = f"{value:.2f}"
            case "moment":
                moment = datetime.fromisoformat(value)
                spelled[name] = f"{moment.year:04}{moment:-%m-%dT%H:%M:%S.%fZ}"
            case "payload" | "anything":
                spelled[name] = dumped(value)
            case "undeclared":
                continue
            case _:
                spelled[name] = value
    if "undeclared" in record:
        spelled["_unknown"] = f'{{"undeclared":{dumped(record["undeclared"])}}}'
    canonical = json.dumps(spelled, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


def dumped(value: Any) -> str:
    """A value as JSON text; decimals stand as numbers."""
    return str(value) if isinstance(value, Decimal) else json.dumps(value, ensure_ascii=False)


@given(st.lists(RECORDS, min_size=1, max_size=6), st.randoms(use_true_random=False))
def test_a_record_has_the_hash_of_its_canonical_form(records: list[dict[str, Any]], random: Any) -> None:
    lines = []
    for record in records:
        fields = list(record.items())
        random.shuffle(fields)
        space = random.choice(["", " "])
        lines.append("{" + f",{space}".join(f'"{n}":{space}{dumped(v)}' for n, v in fields) + "}")
    rows = accepted(EVERY_TYPE, *lines)
    assert sorted(r["record_hash"] for r in rows) == sorted(map(reference_hash, records))


def test_the_hash_does_not_change_when_the_contract_gains_an_optional_field() -> None:
    (before,) = accepted(stream(), {"id": "1", "at": AT})
    (after,) = accepted(stream(properties={"about": {"type": "string"}, "zeal": {}}), {"id": "1", "at": AT})
    assert before["record_hash"] == after["record_hash"]


def test_a_field_that_is_null_counts_as_one_that_is_absent() -> None:
    dataset = stream(properties={"a": {"type": ["string", "null"]}, "b": {}})
    rows = accepted(dataset, {"id": "1", "at": AT}, {"id": "1", "at": AT, "a": None, "b": None})
    assert len({row["record_hash"] for row in rows}) == 1


def test_a_value_that_moves_to_another_field_makes_another_record() -> None:
    dataset = stream(properties={"a": {"type": "string"}, "b": {"type": "string"}})
    tricks = [
        {"a": "x"},
        {"b": "x"},
        {"a": 'x","b":"y'},
        {"a": "x", "b": "y"},
        {"a": "null"},
        {"a": ""},
        {},
        {"a": '"b":null'},
    ]
    rows = accepted(dataset, *({"id": "1", "at": AT} | trick for trick in tricks))
    assert len({row["record_hash"] for row in rows}) == len(tricks)


@given(numbers=st.lists(st.floats(allow_nan=False, allow_infinity=False).map(lambda n: n + 0.0), min_size=1))
def test_equal_doubles_have_equal_hashes_and_others_have_not(numbers: list[float]) -> None:
    dataset = stream(properties={"ratio": {"type": "number"}})
    lines = [f'{{"id": "1", "at": {AT}, "ratio": {n!r}}}' for n in numbers]
    spelled = [f'{{"id": "1", "at": {AT}, "ratio": {n:.17e}}}' for n in numbers]
    hashes = {row["ratio"]: row["record_hash"] for row in accepted(dataset, *lines, *spelled)}
    assert {row["record_hash"] for row in accepted(dataset, *lines, *spelled)} == set(hashes.values())
    assert len(set(hashes.values())) == len(hashes)


@pytest.mark.parametrize(
    ("number", "spelled"),
    [
        (1.0, "1.0"),
        (-0.0, "-0.0"),
        (0.1, "0.1"),
        (1e15, "1000000000000000.0"),
        (1e16, "1e+16"),
        (123456789012345678.0, "1.2345678901234568e+17"),
        (0.00001, "0.00001"),
        (0.000015, "0.000015"),
        (0.000001, "1e-6"),
        (5e-324, "5e-324"),
        (1.7976931348623157e308, "1.7976931348623157e+308"),
    ],
)
def test_a_double_is_spelled_in_one_way_for_the_hash(number: float, spelled: str) -> None:
    """Whatever spells it otherwise (another release of Polars, another engine) would make every event new."""
    dataset = stream(properties={"ratio": {"type": "number"}})
    (row,) = accepted(dataset, {"id": "1", "at": AT, "ratio": number})
    assert row["record_hash"] == hashlib.sha256(f'{{"at":{AT},"id":"1","ratio":{spelled}}}'.encode()).hexdigest()
