"""The small validator of the Lambdas beside the lake's own reader, which is the authority."""

import json
from typing import Any

import jsonschema_rs
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from datalake_assets.ingest.contract import MOST_REASONS, Contract, Reason
from datalake_assets.ingest.records import records_of
from datalake_assets.lake.readers.json_values import json_value
from datalake_assets.lake.readers.records import RecordReader
from datalake_assets.lake.spec.dataset import EventStream

Json = dict[str, Any]

_TEXTS = st.one_of(
    st.sampled_from(["", "a", "ab", "A1", "é", "😀", "a\n", "1", "\u0663", "x:y", "a.b", "a b", "0", "-", "a/b"]),
    st.text("ab1:.-é\n ", max_size=6),
)
_NUMBERS = st.one_of(
    st.integers(-6, 6),
    st.sampled_from([0.1, 0.5, -0.5, 3.0, 2.5, 1e300, 2**53, 2**53 + 1, -(2**63), 10**25, 1e25, -0.0]),
    st.floats(-5, 5, allow_nan=False),
)
_SCALARS = st.one_of(st.none(), st.booleans(), _NUMBERS, _TEXTS)
_NAMES = st.sampled_from(["a", "b", "c", "a/b", "~", "é"])
_VALUES = st.recursive(
    _SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_NAMES, inner, max_size=3), max_leaves=6
)

_PATTERNS = st.one_of(
    st.sampled_from(
        [
            "^a$",
            "^[a-z]+(:[a-z]+)+$",
            r"^\d+$",
            r"\w",
            r"^\W$",
            ".",
            "^.$",
            "a|b",
            "^(?:ab)*$",
            "^a{1,2}b?$",
            "[^a]",
            "$",
        ]
    ),
    st.lists(
        st.sampled_from(["a", "b", "1", ":", ".", r"\.", r"\d", r"\D", r"\w", "[ab]", "[^a-b]", "(a|b)", "^", "$"])
    )
    .map("".join)
    .filter(lambda pattern: len(pattern) < 30),
)
_DATES = st.tuples(
    st.sampled_from(["0000", "1900", "2000", "2023", "2024", "9999", "\u0662\u0660\u0662\u0664"]),
    st.sampled_from(["00", "01", "02", "04", "12", "13", "2"]),
    st.sampled_from(["00", "01", "28", "29", "30", "31", "32", "3\u0661"]),
).map("-".join)
_MOMENTS = st.tuples(
    _DATES,
    st.sampled_from(["T", "t", " ", ""]),
    st.sampled_from(
        [
            "00:00:00",
            "23:59:60",
            "22:59:60",
            "24:00:00",
            "10:60:00",
            "1:00:00",
            "10:00",
            "12:30:59",
            "\u0660\u0660:00:00",
        ]
    ),
    st.sampled_from(["", ".5", ".", ".123456789012", ",5"]),
    st.sampled_from(["Z", "z", "", "+01:00", "-01:00", "+0100", "+24:00", "+23:59", "-00:60", "+1:00"]),
).map("".join)
_MAILS = st.text("ab1.-_@+é ", max_size=10) | st.sampled_from(
    ["a@b.c", '"a b"@c.d', "a@[127.0.0.1]", "Name <a@b.c>", "a@b,c", "a(c)@b.c", "x" * 65 + "@b.c", "a@" + "b" * 64]
)
_URIS = st.text("ab:/.@#?[]%1 é\\", max_size=10) | st.sampled_from(
    ["http://a/b", "urn:x:y", "http://a/%41", "http://[::1]/", "mailto:a@b", "1http://a", "http://a b", "a:"]
)
_FORMATTED = {
    "date": _DATES,
    "date-time": _MOMENTS,
    "email": _MAILS,
    "ipv4": st.lists(st.sampled_from(["0", "1", "01", "255", "256", "\u0663", ""]), min_size=3, max_size=5).map(
        ".".join
    ),
    "uri": _URIS,
    "uuid": st.text("0aF-g", min_size=30, max_size=37)
    | st.uuids().map(str)
    | st.uuids().map(lambda u: str(u).upper())
    | st.uuids().map(lambda u: u.hex),
}
_SURE_FORMATS = ("date", "date-time", "ipv4", "uuid")


@st.composite
def _schemas(draw: st.DrawFn, depth: int = 2) -> Any:
    """Schemas of the keywords that the small validator knows, and means as the authority does."""
    schema: Json = {}
    if draw(st.booleans()):
        names = st.sampled_from(["string", "integer", "number", "boolean", "object", "array", "null"])
        schema["type"] = draw(names | st.lists(names, min_size=1, max_size=3, unique=True))
    keywords: dict[str, st.SearchStrategy[Any]] = {
        "minimum": _NUMBERS,
        "maximum": _NUMBERS,
        "exclusiveMinimum": _NUMBERS,
        "exclusiveMaximum": _NUMBERS,
        "multipleOf": st.sampled_from([1, 2, 3, 2.0, 10]),
        "minLength": st.integers(0, 3),
        "maxLength": st.integers(0, 3),
        "minItems": st.integers(0, 2),
        "maxItems": st.integers(0, 2),
        "pattern": _PATTERNS,
        "enum": st.lists(_VALUES, min_size=1, max_size=3),
        "const": _VALUES,
        "format": st.sampled_from(_SURE_FORMATS),
        "x-lake-type": st.just("json"),
    }
    for keyword in draw(st.lists(st.sampled_from(sorted(keywords)), max_size=2, unique=True)):
        schema[keyword] = draw(keywords[keyword])
    if depth and draw(st.booleans()):
        inner = _schemas(depth - 1) | st.booleans()
        schema["properties"] = draw(st.dictionaries(_NAMES, inner, max_size=3))
        if draw(st.booleans()):
            schema["required"] = draw(st.lists(_NAMES, max_size=2, unique=True))
        if draw(st.booleans()):
            schema["additionalProperties"] = draw(inner)
    if depth and draw(st.booleans()):
        schema["items"] = draw(_schemas(depth - 1) | st.booleans())
    return schema


@st.composite
def _unknown_schemas(draw: st.DrawFn) -> Any:
    """Schemas of which some keywords are the authority's alone."""
    schema = draw(_schemas())
    others: dict[str, st.SearchStrategy[Any]] = {
        "anyOf": st.lists(_schemas(1), min_size=1, max_size=2),
        "oneOf": st.lists(_schemas(1), min_size=1, max_size=2),
        "allOf": st.lists(_schemas(1), min_size=1, max_size=2),
        "not": _schemas(1),
        "if": _schemas(1),
        "then": _schemas(1),
        "else": _schemas(1),
        "prefixItems": st.lists(_schemas(0), min_size=1, max_size=2),
        "patternProperties": st.dictionaries(st.sampled_from(["^a", "b$"]), _schemas(0), max_size=2),
        "contains": _schemas(0),
        "uniqueItems": st.booleans(),
        "minProperties": st.integers(0, 2),
        "propertyNames": _schemas(0),
        "multipleOf": st.sampled_from([0.1, 0.01, 2.5]),
        "pattern": st.sampled_from([r"^\s$", "(?=a)b", "(?i)A", r"^[\s\S]$", "[a-z&&b]", r"\bfoo\b", "x*+"]),
        "format": st.sampled_from(["email", "uri", "hostname", "time", "regex"]),
    }
    for keyword in draw(st.lists(st.sampled_from(sorted(others)), min_size=1, max_size=3, unique=True)):
        schema[keyword] = draw(others[keyword])
    return schema


def _authority(schema: Any) -> Any:
    try:
        return jsonschema_rs.Draft202012Validator(schema, validate_formats=True)
    except (ValueError, jsonschema_rs.ValidationError):
        assume(False)
        raise


def _both(schema: Any, document: Any) -> tuple[bool, bool]:
    """The verdicts of the authority, as the lake reads values, and ours, as the Lambda does."""
    text = json.dumps(document, ensure_ascii=False)
    (record,) = records_of(json.dumps([document]), most=1)
    theirs = bool(_authority(schema).is_valid(json_value(text.encode())))
    found = Contract({"properties": {"v": schema}}).reasons({"v": record.value})
    return theirs, not found


@given(schema=_schemas(), document=_VALUES)
@example(schema={"enum": [1]}, document=True)
@example(schema={"const": [1.0, {"a": 0}]}, document=[1, {"a": 0.0}])
@example(schema={"maximum": 2**53}, document=2**53 + 1)
@example(schema={"pattern": "^a$"}, document="a\n")
def test_on_keywords_that_both_know_it_agrees_with_the_authority(schema: Any, document: Any) -> None:
    theirs, ours = _both(schema, document)
    assert ours == theirs


@given(schema=_unknown_schemas(), document=_VALUES | _MAILS | _URIS)
def test_what_the_authority_accepts_it_accepts_whatever_the_schema(schema: Any, document: Any) -> None:
    theirs, ours = _both(schema, document)
    assert ours or not theirs


@pytest.mark.parametrize("name", sorted(_FORMATTED))
def test_formats_are_those_of_the_authority(name: str) -> None:
    @given(text=_FORMATTED[name])
    def holds(text: str) -> None:
        theirs, ours = _both({"format": name}, text)
        assert ours or not theirs
        if name in _SURE_FORMATS:
            assert ours == theirs

    holds()


@given(schema=_unknown_schemas(), document=st.dictionaries(_NAMES, _VALUES, max_size=4))
def test_what_the_lakes_reader_accepts_it_accepts(schema: Json, document: Json) -> None:
    """The whole way: a dataset with such a contract, a record as it lands."""
    schema = {**schema, "properties": {**schema.get("properties", {}), "at": {"type": "integer"}}}
    try:
        dataset = EventStream.model_validate(
            {
                "name": "things",
                "kind": "event_stream",
                "description": "Things.",
                "owner": "team:test",
                "landing": {"prefix": "api/things"},
                "event_time": {"column": "at", "unit": "s"},
                "schema": schema,
                "unknown_fields": "reject",
            }
        )
    except ValueError:
        assume(False)
        raise
    text = json.dumps({**document, "at": 5})
    (read,) = RecordReader(dataset, record_bytes=10_000).parse(text.encode())
    (record,) = records_of(text, most=1)
    ours = Contract(dataset.record_schema, needed=["at"], refuses_unknown=True).reasons(record.value)
    assert not (read.accepted and ours)


@given(
    text=st.text('[]{}":,\\u0dD8aeE+-.1 \ttrufalsnN\n', max_size=12)
    | st.sampled_from(
        ["1e400", "-1e400", "1" * 5000, "NaN", '"\\ud800"', '"\\ud83d\\ude00"', "[" * 300 + "]" * 300, "-0", "1.", "01"]
    )
)
def test_what_is_json_to_the_lake_is_json_here_and_of_the_same_value(text: str) -> None:
    line = text.replace("\n", " ")
    try:
        theirs = json_value(f"[{line}]".encode())
    except ValueError:
        theirs = None
    try:
        ours = [r.value for r in records_of(f"[{line}]", most=100) if r.reason is None]
    except ValueError:
        ours = None
    assert theirs is None or ours == theirs
    if theirs is None and ours is not None:
        assert len(ours) < len(records_of(f"[{line}]", most=100))


def test_reasons_are_told_by_pointer_rule_and_message() -> None:
    contract = Contract(
        {
            "type": "object",
            "required": ["id"],
            "properties": {"id": {"type": "string"}, "at": {}, "a/b": {"items": {"type": "integer", "minimum": 0}}},
        },
        needed=["id", "at"],
        refuses_unknown=True,
    )
    assert contract.reasons({"a/b": [1, -2, "x"], "odd~": 1}) == [
        Reason("", "required", '"id" is a required property'),
        Reason("/a~1b/1", "minimum", "-2 is less than the minimum of 0"),
        Reason("/a~1b/2", "type", '"x" is not of type integer'),
        Reason("/at", "key", "an event needs it"),
        Reason("/id", "key", "an event needs it"),
    ]
    assert contract.reasons([1]) == [Reason("", "type", "[1] is not of type object")]
    assert contract.reasons({"id": "a", "at": 1, "odd~": 1}) == [
        Reason("/odd~0", "unknown_fields", "the contract does not declare this field")
    ]
    assert Contract({}).reasons(3) == [Reason("", "type", "a record is a JSON object")]


def test_a_record_with_a_thousand_faults_is_told_a_few() -> None:
    contract = Contract({"properties": {"a": {"items": {"type": "string", "maxLength": 1}}}})
    reasons = contract.reasons({"a": ["x" * 10_000, *range(1_000)]})
    assert len(reasons) == MOST_REASONS
    assert len(reasons[0].message) < 300
