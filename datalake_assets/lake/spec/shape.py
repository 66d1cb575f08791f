"""The shape of a dataset's tables: what of its file can't change without building them anew.

Belongs here: the shape as text, and the difference of two shapes in words. What to do about one is the steps' affair.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

_USUAL_PARTITIONING = {"event_stream": "day", "cdc_table": "none"}
_ADDED_ONCE = "keep"  # what tables were written by before there was a choice


def canonical(value: Mapping[str, Any]) -> str:
    """JSON text that is the same for equal values, whatever the order of their keys."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False)


def fingerprint(text: str) -> str:
    """A short hash of a text: 16 hex characters."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def partitioning(kind: str, partition_by: str) -> dict[str, str]:
    """How a dataset's tables are cut, as part of its shape; nothing where it is as usual for the kind.

    So tables that were written before there was a choice have the shape that they had.
    """
    return {} if partition_by == _USUAL_PARTITIONING[kind] else {"partition_by": partition_by}


def shape_difference(old: str, new: str) -> str:
    """What changed between two shapes (texts of `Dataset.shape_text`), in words; empty when nothing did.

    Such as "column `amount` added; type of `price`: decimal(10,2) -> string; event_time unit: s -> ms".
    """
    return "; ".join(_differences(json.loads(old), json.loads(new)))


def _differences(old: dict[str, Any], new: dict[str, Any]) -> Iterator[str]:
    columns, now = old["columns"], new["columns"]
    yield from (f"column `{name}` added" for name in now if name not in columns)
    yield from (f"column `{name}` removed" for name in columns if name not in now)
    for name in columns:
        if name in now and columns[name] != now[name]:
            yield f"type of `{name}`: {columns[name]} -> {now[name]}"
    for name in ("column", "unit"):
        before, after = (_shown((shape["event_time"] or {}).get(name)) for shape in (old, new))
        if before != after:
            yield f"event_time {name}: {before} -> {after}"
    for name in ("kind", "key", "order_by", "timestamp_column", "history", "unknown_fields"):
        if old[name] != new[name]:
            yield f"{name}: {_shown(old[name])} -> {_shown(new[name])}"
    before, after = (shape.get("kept", []) for shape in (old, new))
    if before != after:
        yield f"columns with on_missing: keep: {_shown(before)} -> {_shown(after)}"
    before, after = (shape.get("added", _ADDED_ONCE) for shape in (old, new))
    if before != after and old["kind"] == new["kind"]:
        yield f"on_drift added: {before} -> {after}"
    before, after = (shape.get("partition_by", _USUAL_PARTITIONING[shape["kind"]]) for shape in (old, new))
    if before != after:
        yield f"partition_by: {before} -> {after}"


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(value) or "none"
    return "none" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
