"""What the dataset files declare, as the ingest API needs it: of each event stream its contract and its landing place.

Belongs here: from datasets to what `contracts.json` holds, and a record to show how to send one.
"""

import re
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from datalake_assets.ingest.contract import Contract
from datalake_assets.lake.spec.dataset import Dataset, EventStream
from datalake_assets.lake.spec.json_schema import without_annotations
from datalake_assets.lake.spec.types import json_property_types

_STREAM = re.compile(r"firehose/([A-Za-z0-9_.-]{1,64})")
_COERCED = {"string", "integer", "number", "boolean"}
_EPOCH_UNITS = {"s": 1, "ms": 1_000, "us": 1_000_000}


def contracts(datasets: Mapping[str, Dataset], *, stream_prefix: str = "") -> dict[str, dict[str, Any]]:
    """What `contracts.json` holds: each event stream's contract, prefix and stream, by name.

    A dataset that lands in `firehose/NAME` has the stream NAME, whose name in an AWS account may begin with
    `stream_prefix`; one that lands elsewhere has none.
    """
    return {d.name: _told(d, stream_prefix) for d in datasets.values() if isinstance(d, EventStream)}


def _told(dataset: EventStream, stream_prefix: str) -> dict[str, Any]:
    stream = _STREAM.fullmatch(dataset.landing.prefix)
    return {
        "schema": _judged_here(dataset),
        "needed": sorted({dataset.event_time.column, *dataset.key}),
        "unknown_fields": dataset.unknown_fields,
        "envelope": dataset.envelope,
        "prefix": dataset.landing.prefix,
        "stream": f"{stream_prefix}{stream[1]}" if stream else None,
    }


def _judged_here(dataset: EventStream) -> dict[str, Any]:
    """The contract, without what only the lake can judge: a value that it may read as one of another type."""
    schema = without_annotations(dataset.record_schema)
    if dataset.coerce == "none":
        return schema
    rules = schema["properties"].items()
    return schema | {"properties": {n: True if json_property_types(r) & _COERCED else r for n, r in rules}}


def sample_record(dataset: EventStream, *, now: datetime) -> dict[str, Any] | None:
    """A record that the contract accepts, of its needed fields; None where none is found.

    Values are the first of a field's `examples`, else plain ones of its type; ids are new and the event time is `now`.
    """
    schema = dataset.record_schema
    needed = {dataset.event_time.column, *dataset.key, *schema.get("required", ())}
    rules = schema["properties"]
    record = {name: _sample(rules[name]) for name in rules if name in needed}
    record[dataset.event_time.column] = _time(dataset, now)
    for name in dataset.key:
        if isinstance(record[name], str) and not _examples(rules[name]):
            record[name] = str(uuid.uuid4())
    refuses = dataset.unknown_fields == "reject"
    never_null = {dataset.event_time.column, *dataset.key}
    contract = Contract(without_annotations(schema), needed=never_null, refuses_unknown=refuses)
    return None if contract.reasons(record) else record


def _time(dataset: EventStream, now: datetime) -> Any:
    unit = dataset.event_time.unit or ""
    moment = now.astimezone(UTC).replace(microsecond=0)
    if unit in _EPOCH_UNITS:
        return int(moment.timestamp()) * _EPOCH_UNITS[unit]
    return moment.isoformat().replace("+00:00", "Z")


def _sample(rule: Any) -> Any:
    examples = _examples(rule)
    if examples:
        return examples[0]
    if isinstance(rule, dict) and ("const" in rule or rule.get("enum")):
        return rule["const"] if "const" in rule else rule["enum"][0]
    plain: dict[str, Any] = {"string": "a", "integer": 1, "number": 1, "boolean": True, "object": {}, "array": []}
    return next((plain[name] for name in plain if name in json_property_types(rule)), None)


def _examples(rule: Any) -> Any:
    return rule.get("examples") if isinstance(rule, dict) else None
