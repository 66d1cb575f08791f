"""The verdict on a record is the contract's own, whatever stands beside it in its file, and its values are exact.

The reader is quick because it judges most records by parsing them and by checks on columns. Here each record is judged
alone by the authority (jsonschema-rs), with values converted in plain Python, and both must agree.
"""

import json
import math
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import MAX_EMAX, MIN_EMIN, Context, Decimal
from functools import cache
from itertools import pairwise
from typing import Any, NamedTuple

import jsonschema_rs
from hypothesis import given, settings
from hypothesis import strategies as st

from datalake_assets.lake.readers.batch import Limits
from datalake_assets.lake.readers.events import EventReader
from datalake_assets.lake.spec.dataset import EventStream
from datalake_assets.lake.spec.types import LakeType
from datalake_assets_tests.frames import rows_of
from datalake_assets_tests.readers.bronze import loading
from datalake_assets_tests.streams import AT, landed, stream

NUMBER = {"type": "number"}
TEXT = {"type": "string"}
RULES: list[Any] = [
    TEXT,
    TEXT | {"minLength": 2, "maxLength": 3},
    TEXT | {"pattern": "^[a-zé]+$"},
    TEXT | {"enum": ["ab", "true", "é"]},
    TEXT | {"format": "date-time"},
    TEXT | {"format": "ipv4"},
    TEXT | {"x-lake-type": "date"},
    TEXT | {"x-lake-type": "timestamp"},
    TEXT | {"x-lake-type": "decimal(6,2)"},
    TEXT | {"x-lake-type": "decimal(38,2)"},
    {"type": ["string", "null"]},
    {"type": ["string", "null"], "enum": ["ab"]},
    {"type": "integer"},
    {"type": "integer", "minimum": 0, "maximum": 10},
    {"type": "integer", "minimum": 0.5},
    {"type": "integer", "exclusiveMinimum": 0, "exclusiveMaximum": 3},
    {"type": "integer", "multipleOf": 3},
    {"type": "integer", "const": 3},
    {"type": "integer", "maximum": 2**63},
    {"type": "integer", "x-lake-type": "int8"},
    {"type": "integer", "x-lake-type": "decimal(38,0)"},
    {"type": "integer", "x-lake-type": "json"},
    {"type": ["null", "integer"]},
    NUMBER,
    NUMBER | {"minimum": 0, "exclusiveMaximum": 1e300},
    NUMBER | {"maximum": 2**53},
    NUMBER | {"multipleOf": 0.5},
    NUMBER | {"enum": [3, 0.1]},
    NUMBER | {"x-lake-type": "decimal(6,2)"},
    NUMBER | {"x-lake-type": "decimal(38,8)", "minimum": 0},
    NUMBER | {"x-lake-type": "decimal(38,2)", "maximum": 2**53},
    NUMBER | {"x-lake-type": "json", "minimum": 0},
    {"type": ["number", "null"], "x-lake-type": "decimal(2,2)"},
    {"type": "boolean"},
    {"type": ["boolean", "null"], "const": True},
    {"type": "boolean", "x-lake-type": "json"},
    {"type": "object"},
    {"type": ["object", "null"]},
    {"type": "object", "required": ["a"], "properties": {"a": {"type": "integer"}}, "additionalProperties": False},
    {"type": "array"},
    {"type": "array", "items": {"type": "integer"}, "maxItems": 2},
    {"type": "null"},
    {"type": ["string", "integer"]},
    {"type": ["number", "string"], "minimum": 0},
    {"anyOf": [{"type": "integer"}, {"maxLength": 1}]},
    {"enum": [1, "ab", None]},
    {"not": {"type": "string"}},
    {},
    True,
    False,
]
WHOLE: list[dict[str, Any]] = [
    {},
    {"additionalProperties": False},
    {"additionalProperties": {"type": "integer"}},
    {"minProperties": 4},
    {"required": ["id", "at", "undeclared"]},
    {"dependentRequired": {"a": ["b"]}},
    {"patternProperties": {"^z": {"type": "string"}}},
    {"if": {"properties": {"a": {"type": "integer"}}}, "then": {"required": ["b"]}},
    {"allOf": [{"not": {"required": ["c"]}}]},
]
VALUES = [
    *(
        "null",
        "true",
        "false",
        "0",
        "-0",
        "1",
        "3",
        "-3",
        "10",
        "11",
        "127",
        "128",
        "-129",
        "3.0",
        "3.7",
        "1e2",
        "1E400",
    ),
    *("-1e400", "-0.0", "0.1", "0.10", "0.125", "1.5e-3", "1e-400", "9223372036854775807", "9223372036854775808"),
    *("-9223372036854775809", "9007199254740993", "9007199254740993.0", "123456789012345678901234567890.12", "9999.99"),
    *("10000", "1234567890123456789012345678901234567890", "1e999999999", "01", "1.", ".5", "+1", "NaN", "Infinity"),
    *(
        '""',
        '"a"',
        '"ab"',
        '"abcd"',
        '"é"',
        '"\\u00e9"',
        '"😀"',
        '"\\ud83d\\ude00"',
        '"\\ud800"',
        '"\\u0000"',
        '"a\\nb"',
    ),
    *('"a\x00b"', '"\t"', '"\\x"', '"true"', '"12.50"', '"12.505"', '"1_0"', '" 1"', '"1e2"', '"-0"', '"\u0661"'),
    *('"12345678901234567890123456789012.5"', '"NaN"', '"127.0.0.1"', '"2026-03-01"', '"2026-3-1"', '"20260301"'),
    *(
        '"2026-02-30"',
        '"0000-01-01"',
        '"+2026-03-01"',
        '"2026-W09-7"',
        '"2026-03-01T10:00:00Z"',
        '"2026-03-01T10:00:00"',
    ),
    *(
        '"2026-03-01T10:00:00.123456789+05:30"',
        '"2026-03-01 10:00:00Z"',
        '"2026-03-01T10:00:60Z"',
        '"2026-03-01T10:00Z"',
    ),
    *(
        '"0001-01-01T00:00:00+05:00"',
        '"9999-12-31T23:59:59-05:00"',
        '"0000-01-01T00:00:00Z"',
        '" 2026-03-01T10:00:00Z"',
    ),
    *("[]", "[1, 2]", '[1,"a"]', "[1,2,3]", "[ ]", "{}", '{"a":1}', '{"a" : 1.0}', '{"a":"x","a":1}', '{"b":null}'),
    *("9" * 4_400, f"-{'9' * 4_400}.0", f"[{'9' * 4_400}]", "[" * 199 + "]" * 199, "[" * 200 + "]" * 200),
    *('{"a":' * 199 + "0" + "}" * 199, '{"a":' * 200 + "0" + "}" * 200),
    *('{"a":1,"b":2}', '{"a":{"b":[{}]}}', '{"a":1,}', "[1,]", "{a:1}", "'a'", "nul", "", '"\\ud800\\ud800"'),
]
TIMES = {
    "s": (
        ["integer", "number"],
        [f"{AT}", f"{AT}.0", f"{AT}.25", "-62135596800", "253402300799", "253402300800", "1e30"],
    ),
    "ms": (["integer", "number"], [f"{AT}000", "-1", "1e15", "253402300799000", "253402300800000"]),
    "us": (["integer", "number"], [f"{AT}000000", "1e18", "253402300799000000", "9223372036854775808"]),
    "iso8601": (
        ["string"],
        ['"2026-03-01T10:00:00Z"', *(v for v in VALUES if v.startswith(('"2', '"0', '"9', '" 2')))],
    ),
}
_WIDE = Context(prec=500, Emax=MAX_EMAX, Emin=MIN_EMIN)
NAMES = ["a", "b", "c", "d"]


class Case(NamedTuple):
    """A dataset, and lines of bytes; where a line is made of fields, their texts by name."""

    dataset: EventStream
    lines: "list[Line]"


@st.composite
def datasets(draw: st.DrawFn) -> tuple[EventStream, list[str]]:
    """A dataset of random rules, and texts of event times for it."""
    unit = draw(st.sampled_from(sorted(TIMES)))
    types, times = TIMES[unit]
    at: dict[str, Any] = {"type": draw(st.sampled_from(types))}
    if unit == "iso8601" and draw(st.booleans()):
        at["x-lake-type"] = "timestamp"
    properties = {"id": TEXT, "at": at} | {name: draw(st.sampled_from(RULES)) for name in NAMES}
    required = ["id", "at", *(["b"] if draw(st.booleans()) else [])]
    whole: dict[str, Any] = draw(st.sampled_from([{}] * len(WHOLE) + WHOLE))
    keys = draw(st.sampled_from([["id"], None, ["a"], ["id", "b"]]))
    contract = {"type": "object", "required": required, "properties": properties} | whole
    unknown = draw(st.sampled_from(["keep", "drop", "reject"]))
    dataset = stream(schema=contract, unknown_fields=unknown, key=keys, event_time={"column": "at", "unit": unit})
    return dataset, times


@cache
def suitable(rule: str) -> list[str]:
    """The values that keep a rule, so far as its JSON Schema tells."""
    validator = jsonschema_rs.Draft202012Validator(json.loads(rule), validate_formats=True)

    def suits(text: str) -> bool:
        try:
            return validator.is_valid(_read(text))
        except ValueError:
            return False

    return [text for text in VALUES if suits(text)] or VALUES


Found = list[tuple[bytes, Mapping[str, str] | None]]
Line = tuple[bytes, Found]


@st.composite
def records(draw: st.DrawFn, dataset: EventStream, times: Sequence[str]) -> Line:
    """A line and what stands in it: mostly a record that keeps its contract with values of all kinds, at times broken.

    Each is told with the texts of its fields, None where it is none.
    """
    often = st.integers(0, 19).map(bool)
    fields = [("id", '"1"' if draw(often) else draw(st.sampled_from(["null", "1", '""'])))] if draw(often) else []
    odd = st.sampled_from([*times, *times, "null"])
    fields += [("at", draw(odd) if not draw(st.integers(0, 3)) else times[0])] if draw(often) else []
    for name in draw(st.permutations(NAMES)):
        if draw(st.integers(0, 3)):
            good = suitable(json.dumps(dataset.record_schema["properties"][name]))
            fields.append((name, draw(st.sampled_from(good if draw(often) else VALUES))))
    for name in draw(st.lists(st.sampled_from(["z", "undeclared", "e", "a"]), max_size=1)):
        fields.append((name, draw(st.sampled_from(VALUES))))
    space = draw(st.sampled_from(["", "", " ", "\t "]))
    line = "{" + ",".join(f'{space}"{name}"{space}:{space}{text}{space}' for name, text in fields) + "}"
    encoded = line.encode()
    return _laid_out(draw, encoded, dict(fields))


def _laid_out(draw: st.DrawFn, encoded: bytes, fields: Mapping[str, str]) -> Line:
    """A record in a line, at times broken, or not in a line of its own."""
    line = encoded
    found: Found = [(encoded, fields)]
    match draw(st.integers(0, 40)):
        case 0:
            cut = encoded[: draw(st.integers(1, len(encoded) - 1))]
            line, found = cut, [(cut, None)]
        case 1:
            line = encoded + encoded
            found = [(encoded, fields)] * 2 if _is_json(encoded) else [(line, None)]  # two that are damaged are one
        case 2:
            at = draw(st.integers(0, len(encoded)))
            damage = draw(st.sampled_from([b"\xff", b"\x00", b"\xc3", b"\xed\xa0\x80"]))
            damaged = encoded[:at] + damage + encoded[at:]
            beside: Found = [(encoded, fields), (damage, None)]
            line, found = damaged, beside if at == len(encoded) else [(damaged, None)]
        case 3:
            odd_line = draw(st.sampled_from([b"", b" ", b"\r", b"null", b'"a"', b"1", b"\x0c"]))
            line, found = odd_line, [(odd_line, None)]
        case 4:
            line, found = encoded + b"\r", [(encoded + b"\r", fields)]
        case 5:
            listed: Found = [(encoded, fields)] * draw(st.integers(0, 2))
            line = b"[" + b" , ".join(record for record, _ in listed) + b"]"
            found = listed or [(line, None)]
        case 6:
            spread = encoded.replace(b"{", b"{\n", 1)
            line, found = spread, [(spread, fields)]
    return line, found


def _is_json(text: bytes) -> bool:
    try:
        json.loads(text, parse_int=str)
    except ValueError:
        return False
    return True


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """A dataset and lines for it."""
    dataset, times = draw(datasets())
    return Case(dataset, draw(st.lists(records(dataset, times), min_size=1, max_size=8)))


def judged(dataset: EventStream, line: bytes, texts: Mapping[str, str] | None) -> dict[str, Any] | None:
    """The row of a record that the authority accepts, else None."""
    try:
        if "\\ud800" in line.decode():  # alone it is no character; json takes it all the same
            return None
        document = _read(line.decode())
        if _levels(document) > 200 or not _is_valid(dataset, document):
            return None
        exact = json.loads(line.decode(), parse_float=Decimal, parse_int=_exact_whole)
        return _row(dataset, document, exact, texts or {})
    except (ValueError, ArithmeticError):
        return None


def _is_valid(dataset: EventStream, document: Any) -> bool:
    validator = jsonschema_rs.Draft202012Validator(dataset.record_schema, validate_formats=True)
    if not isinstance(document, dict) or not validator.is_valid(document):
        return False
    unknown = document.keys() - dataset.columns.keys()
    known = all(document.get(name) is not None for name in ("at", *dataset.key))
    return known and not (unknown and dataset.unknown_fields == "reject")


def _row(
    dataset: EventStream, document: Mapping[str, Any], exact: Mapping[str, Any], raw: Mapping[str, str]
) -> dict[str, Any]:
    """The values of a valid record; `exact` has its numbers exact. Raises where a column can't hold one."""
    columns = dataset.columns.items()
    row = {n: _value(document.get(n), exact.get(n), raw.get(n), c.lake_type) for n, c in columns}
    row["_event_time"] = _time(exact["at"], dataset.event_time.unit)
    unknown = [f'"{n}":{text}' for n, text in sorted(raw.items()) if n not in dataset.columns]
    row["_unknown"] = f"{{{','.join(unknown)}}}" if unknown and dataset.unknown_fields == "keep" else None
    return row


def _read(text: str) -> Any:
    """A JSON value; Python reads no whole number of more than 4,300 digits, so such a one is the nearest double."""
    return json.loads(text, parse_constant=_no_number, parse_float=_double, parse_int=_whole)


def _whole(text: str) -> float:
    return int(text) if len(text) < 4_300 else _double(text)


def _exact_whole(text: str) -> int | Decimal:
    return int(text) if len(text) < 4_300 else Decimal(text)


def _levels(value: Any) -> int:
    if not isinstance(value, dict | list):
        return 0
    return 1 + max(map(_levels, value.values() if isinstance(value, dict) else value), default=0)


def _no_number(text: str) -> float:
    raise ValueError(text)


def _double(text: str) -> float:
    number = float(text)
    return number if math.isfinite(number) else math.copysign(sys.float_info.max, number)


def _value(value: Any, exact: Any, raw: str | None, lake_type: LakeType) -> Any:
    """A valid JSON value as its column holds it. Raises where the column can't."""
    held = value
    match lake_type.name:
        case _ if value is None:
            held = None
        case "json":
            held = raw
        case "double":
            number = float(exact if raw is None else raw)  # the text, as Python's reader has no -0
            held = number if math.isfinite(number) else _no_number("too great")
        case "decimal":
            held = _decimal(exact, lake_type)
        case "date":
            held = date.fromisoformat(value)
        case "timestamp":
            held = _time(value, "iso8601")
        case "int8" | "int64":
            least, most = lake_type.integer_range or (0, 0)
            held = int(exact) if least <= exact <= most else _no_number("too great")
    return held


def _decimal(exact: Any, lake_type: LakeType) -> Decimal:
    if isinstance(exact, str):
        if exact != exact.strip() or not exact.isascii() or "_" in exact or not exact.lstrip("-")[:1].isdigit():
            raise ValueError(exact)
        exact = Decimal(exact)
    number = Decimal(exact)
    _, digits, exponent = number.normalize(_WIDE).as_tuple()
    whole = max(len(digits) + int(exponent), 0) if number else 0
    if -int(exponent) > lake_type.scale or whole > lake_type.precision - lake_type.scale:
        raise ValueError(exact)
    return number


def _time(value: Any, unit: str | None) -> datetime:
    if unit == "iso8601":
        moment = datetime.fromisoformat(value)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    ticks = {"s": 1_000_000, "ms": 1_000, "us": 1}[str(unit)]
    micros = value * ticks
    if not -62_135_596_800_000_000 <= micros <= 253_402_300_799_000_000:
        raise ValueError(value)
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=int(micros))


def read(dataset: EventStream, *objects: bytes) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The accepted and the rejected rows of some objects."""
    load = loading({f"{n}": data for n, data in enumerate(objects)})
    accepted: list[dict[str, Any]] = []
    rejected: list[dict[str, Any]] = []
    for batch in EventReader(dataset, Limits()).batches(
        load, [landed(f"{n}", size=len(o)) for n, o in enumerate(objects)]
    ):
        accepted += rows_of(batch.accepted)
        rejected += batch.rejected.to_dicts()
        assert sum(o.rows_in for o in batch.outcomes) == len(accepted) + len(rejected)
    return accepted, rejected


def canonical(row: Mapping[str, Any]) -> str:
    """A row's values, spelled so that equal ones are spelled alike."""
    return repr({name: _spelled(value) for name, value in sorted(row.items())})


def _spelled(value: Any) -> Any:
    match value:
        case Decimal():
            return str(_WIDE.plus(value).normalize(_WIDE))
        case datetime():
            return value.astimezone(UTC).isoformat()
    return value


@settings(max_examples=250)
@given(case=cases(), begins=st.sets(st.integers(1, 7), max_size=2))
def test_each_record_is_judged_as_if_it_stood_alone_and_its_values_are_exact(case: Case, begins: set[int]) -> None:
    bounds = [0, *sorted(b for b in begins if b < len(case.lines)), len(case.lines)]
    pieces = [case.lines[a:b] for a, b in pairwise(bounds)]
    accepted, rejected = read(case.dataset, *(b"\n".join(line for line, _ in piece) for piece in pieces))
    rows: list[dict[str, Any]] = []
    lost: set[tuple[str, int, str]] = set()
    for n, piece in enumerate(pieces):
        told = [record for _, found in piece for record in found]
        for number, (line, texts) in enumerate(told, start=1):
            if not line or line.isspace():
                continue
            row = judged(case.dataset, line, texts)
            if row is None:
                lost.add((str(n), number, line.decode(errors="backslashreplace")))
            else:
                rows.append(row | {"source_filename": str(n)})
    names = [*case.dataset.columns, "_event_time", "_unknown", "source_filename"]
    assert sorted(canonical({n: row[n] for n in names}) for row in accepted) == sorted(canonical(row) for row in rows)
    found = {(row["source_filename"], row["row_number"], row["raw"]) for row in rejected}
    assert found == lost
    assert all(row["errors"] for row in rejected)
