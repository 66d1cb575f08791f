"""Any dataset file either loads, and then a simple record can be read under it, or is refused with file and line."""

import json
import re
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import yaml
from hypothesis import event, given, settings
from hypothesis import strategies as st

from datalake_assets.lake.readers.batch import Limits
from datalake_assets.lake.readers.events import EventReader
from datalake_assets.lake.readers.readable import check_readable
from datalake_assets.lake.spec.dataset import EventStream
from datalake_assets.lake.spec.dataset_files import DatasetError, load_dataset
from datalake_assets_tests.streams import landed

NAMES = st.one_of(
    st.sampled_from(["id", "at", "*", "^x.*$", "^", "$", "a.b", "_x", "select", "event_date", "ID", "len", "Op", "ä"]),
    st.text(min_size=1, max_size=6),
    st.text("abc_.*^$`'%é", min_size=1, max_size=4),
)
NUMBERS = st.one_of(
    st.sampled_from([0, 1, -1, 2.0, 2.5, 0.1, -0.0, 2**53, 2**63 - 1, 2**63, 2**64, -(2**64), 10**30, 10**400, 1e308]),
    st.integers(-5, 50),
    st.floats(),
)
PATTERNS = st.sampled_from(
    ["^a", "(?=a)b", "(?<!a)b", r"(a)\1", r"\p{L}+", r"\d{1,9999}", "(", "[^]", "((a+)+)+$", r"\Z", "a{99999}", "", "€"]
)
SCALARS = st.one_of(st.none(), st.booleans(), NUMBERS, st.text(max_size=4), st.dates(), st.binary(max_size=3))
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)
TYPES = st.sampled_from(["string", "integer", "number", "boolean", "object", "array", "null", "text", 5])
REFERENCES = st.sampled_from(
    ["#/$defs/a", "#/$defs/b", "#", "#a", "https://example.invalid/a", "#/properties/id", "#/$defs/%61", "#/$defs/a/x"]
)
WHOLE = ["minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties", "minContains"]
BOUNDS = ["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"]
LAKE_TYPES = st.sampled_from(["decimal(12,2)", "decimal(38,38)", "int8", "json", "date", "timestamp", "double", "x", 3])


def rules(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """A schema of some keywords, whose values are right, odd or wrong."""
    keywords: dict[str, st.SearchStrategy[Any]] = {
        "type": TYPES | st.lists(TYPES, max_size=3),
        "x-lake-type": LAKE_TYPES,
        "const": VALUES,
        "enum": st.lists(VALUES, max_size=3),
        "pattern": PATTERNS,
        "format": st.sampled_from(["date-time", "date", "email", "regex", "uuid", "nonsense", "json-pointer"]),
        "$ref": REFERENCES,
        "$dynamicRef": REFERENCES,
        "$id": st.sampled_from(["https://example.invalid/b", ":::", "a"]),
        "$anchor": st.just("a"),
        "$schema": st.sampled_from(["https://json-schema.org/draft/2020-12/schema", "https://example.invalid/s"]),
        "description": st.text(max_size=5) | NUMBERS,
        "default": VALUES,
        "required": st.lists(NAMES, max_size=2),
        "uniqueItems": st.booleans(),
        "dependentRequired": st.dictionaries(NAMES, st.lists(NAMES, max_size=2), max_size=2),
        **dict.fromkeys(WHOLE, NUMBERS),
        **dict.fromkeys(BOUNDS, NUMBERS),
        **dict.fromkeys(["items", "not", "if", "then", "else", "contains", "propertyNames"], inner),
        **dict.fromkeys(["additionalProperties", "unevaluatedProperties", "unevaluatedItems"], inner),
        **dict.fromkeys(["allOf", "anyOf", "oneOf", "prefixItems"], st.lists(inner, max_size=2)),
        **dict.fromkeys(["properties", "$defs", "dependentSchemas"], st.dictionaries(NAMES, inner, max_size=2)),
        "patternProperties": st.dictionaries(PATTERNS, inner, max_size=2),
    }
    pairs = st.sampled_from(sorted(keywords)).flatmap(lambda k: st.tuples(st.just(k), keywords[k]))
    return st.lists(pairs, max_size=3).map(dict)


SCHEMAS: st.SearchStrategy[Any] = st.recursive(st.booleans() | st.builds(dict), rules, max_leaves=4)
MILD = st.sampled_from(
    [
        {"type": "string"},
        {"type": ["integer", "null"], "minimum": -(2**64)},
        {"type": "number", "exclusiveMinimum": 1e308, "multipleOf": 1e-9},
        {"type": "string", "minLength": 2**63 - 1},
        {"type": "string", "x-lake-type": "timestamp", "format": "date"},
        {"type": ["integer", "string", "null"], "maximum": 10**30},
        {"$ref": "#/$defs/a"},
        {"type": "boolean", "enum": [True, 1, None]},
    ]
)


@st.composite
def event_streams(draw: st.DrawFn) -> dict[str, Any]:
    """A dataset file that is right but for its contract, which is anything."""
    time = draw(
        st.sampled_from([({"type": "integer"}, "s"), ({"type": "number"}, "ms"), ({"type": "string"}, "iso8601")])
    )
    properties = {"id": draw(MILD | SCHEMAS), "at": time[0]} | draw(st.dictionaries(NAMES, MILD | SCHEMAS, max_size=2))
    contract = {"type": "object", "properties": properties, "$defs": {"a": draw(MILD), "b": draw(SCHEMAS)}}
    return {
        "name": "clicks",
        "kind": "event_stream",
        "description": "Clicks.",
        "owner": "team:web",
        "landing": {"prefix": "firehose/clicks"},
        "key": draw(st.sampled_from([[], ["id"], ["id", "at"]])),
        "event_time": {"column": "at", "unit": time[1]},
        "unknown_fields": draw(st.sampled_from(["keep", "drop", "reject"])),
        "schema": contract | draw(rules(SCHEMAS)) if draw(st.integers(0, 3)) == 0 else contract,
    }


COLUMNS = st.fixed_dictionaries(
    {"type": st.sampled_from(["int64", "string", "binary", "float", "decimal(38,38)", "timestamp", "json", "varchar"])},
    optional={
        "required": st.booleans(),
        "minimum": NUMBERS,
        "maximum": NUMBERS,
        "description": st.text(max_size=5),
    },
)


@st.composite
def cdc_tables(draw: st.DrawFn) -> dict[str, Any]:
    """A dataset file of a replicated table with odd columns, order and times."""
    columns = {"id": {"type": "int64"}} | draw(st.dictionaries(NAMES, COLUMNS, max_size=3))
    time = {"column": draw(st.sampled_from(sorted(columns)))} | draw(
        st.fixed_dictionaries({}, optional={"unit": st.sampled_from(["s", "us", "iso8601"])})
    )
    others = draw(
        st.fixed_dictionaries(
            {},
            optional={"order_by": st.lists(NAMES, max_size=2), "timestamp_column": NAMES, "event_time": st.just(time)},
        )
    )
    return {
        "name": "orders",
        "kind": "cdc_table",
        "description": "Orders.",
        "owner": "team:shop",
        "landing": {"prefix": "dms/public/orders"},
        "key": ["id"],
        "columns": columns,
    } | others


def read_or_refuse(keys: dict[str, Any]) -> None:
    """Load a file of these keys: what loads is read, what does not says where and what is wrong."""
    with TemporaryDirectory() as folder:
        file = Path(folder) / "1.yaml"
        try:
            file.write_text(yaml.safe_dump(keys, allow_unicode=False, sort_keys=False))
        except ValueError:  # a whole number of more digits than Python writes
            return
        refusal, dataset = None, None
        try:
            dataset = load_dataset(file)
        except DatasetError as error:
            refusal = str(error)
    if dataset is None:
        event("refused")
        assert re.match(rf"{re.escape(str(file))}:\d+: ", refusal or "")
        return
    event("read")
    check_readable(dataset)
    if isinstance(dataset, EventStream):
        text = json.dumps({"id": "a", "at": 1, "other": [1]}).encode()
        (batch,) = EventReader(dataset, Limits()).batches(lambda _: text, [landed("firehose/clicks/x", size=len(text))])
        assert batch.accepted.collect().shape[0] + batch.rejected.height == 1


@given(event_streams())
@settings(max_examples=150)
def test_an_event_stream_loads_and_reads_or_is_refused_with_its_line(keys: dict[str, Any]) -> None:
    """Some 20 kinds of contract were accepted at load, and stopped every step that came to read under them."""
    read_or_refuse(keys)


@given(cdc_tables())
@settings(max_examples=100)
def test_a_replicated_table_loads_and_reads_or_is_refused_with_its_line(keys: dict[str, Any]) -> None:
    read_or_refuse(keys)


@pytest.mark.soak
@given(event_streams() | cdc_tables())
@settings(max_examples=4_000)
def test_many_more_dataset_files_load_and_read_or_are_refused(keys: dict[str, Any]) -> None:
    read_or_refuse(keys)
