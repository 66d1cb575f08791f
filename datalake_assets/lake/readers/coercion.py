"""Values of another JSON type that say the same: read as the declared type where a dataset asks for it.

Belongs here: what `coerce: lossless` allows. "2" is 2, "1.50" is 1.50 and "true" is true; 7 is "7". Nothing is rounded,
cut or guessed: "2.0" is no integer, "" is not null, 1 is not true.
"""

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from datalake_assets.lake.readers.json_values import json_value
from datalake_assets.lake.spec.event_stream import EventStream
from datalake_assets.lake.spec.types import json_property_types

_WHOLE = re.compile(rb"-?(?:0|[1-9][0-9]*)")
_NUMBER = re.compile(rb"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_BOOLEAN = re.compile(rb"true|false")
_FORMS = {"integer": _WHOLE, "number": _NUMBER, "boolean": _BOOLEAN}


class Coercion:
    """What the declared fields of one event stream may be read from."""

    def __init__(self, dataset: EventStream) -> None:
        """Take the types of a dataset's contract; nothing is read."""
        self._types = {n: json_property_types(rule) for n, rule in dataset.record_schema["properties"].items()}

    def applied(self, texts: Mapping[str, msgspec.Raw]) -> dict[str, msgspec.Raw]:
        """Of a record's fields, by their JSON texts, those of another type than declared, as what they say in it."""
        read = (
            (name, self._coerced(types, bytes(texts[name]))) for name, types in self._types.items() if name in texts
        )
        return {name: msgspec.Raw(text) for name, text in read if text is not None}

    def _coerced(self, types: frozenset[str], text: bytes) -> bytes | None:
        if not types:
            return None
        if text.startswith(b'"'):
            inner = text[1:-1]
            return inner if "string" not in types and any(_fits(inner, name) for name in types) else None
        is_scalar = _NUMBER.fullmatch(text) or _BOOLEAN.fullmatch(text)
        return b'"' + text + b'"' if is_scalar and types <= {"string", "null"} else None


def with_fields(document: Mapping[str, Any], found: Mapping[str, msgspec.Raw]) -> dict[str, Any]:
    """A record with some fields read from other texts."""
    return {**document, **{name: json_value(bytes(text)) for name, text in found.items()}}


def _fits(text: bytes, name: str) -> bool:
    form = _FORMS.get(name)
    return form is not None and form.fullmatch(text) is not None
