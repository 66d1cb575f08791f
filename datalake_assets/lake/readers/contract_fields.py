"""The fields of a contract: what msgspec can check of each while it parses, and what is left to check on its values.

Belongs here: one field at a time. Judging a whole record is in `contract.py`.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import jsonschema_rs
import msgspec

from datalake_assets.lake.readers.json_values import INT64, json_value
from datalake_assets.lake.spec.dataset import EventStream
from datalake_assets.lake.spec.types import LakeType, json_property_types

_ANNOTATIONS = frozenset(
    {"$comment", "$id", "$schema", "default", "deprecated", "description", "examples", "readOnly", "title", "writeOnly"}
)
_WHOLE_RECORD = _ANNOTATIONS | {"additionalProperties", "properties", "required", "type"}
_BOUNDS = {"minimum": "ge", "maximum": "le", "exclusiveMinimum": "gt", "exclusiveMaximum": "lt"}
_BY_MSGSPEC = {
    "string": {"minLength": "min_length", "maxLength": "max_length"},
    "integer": {"minimum": "ge", "maximum": "le"},
    "number": _BOUNDS,
    "boolean": {},
}
_FIRST_CHARACTERS = {"object": "{", "array": "[", "string": '"', "number": "-0123456789", "boolean": "tf", "null": "n"}
_RAW_TYPES: dict[str, type] = {"string": str, "integer": int, "number": float, "boolean": bool}
_EPOCH_UNITS = {"s": 1, "ms": 1_000, "us": 1_000_000}
_FIRST_SECOND, _LAST_SECOND = -62_135_596_800, 253_402_300_799  # the years 1 to 9999

EXACT_IN_DOUBLES = 2.0**53
"""From here on a double no longer tells neighbouring whole numbers apart, so it can't be held against a rule."""


@dataclass(frozen=True, slots=True)
class TextCheck:
    """What the JSON text of a column's value must keep: how it begins, and its bounds as a number."""

    first_characters: str
    bounds: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class FieldRule:
    """What msgspec checks of a field: its raw type, and limits by the names of `msgspec.Meta`."""

    raw_type: type
    required: bool
    nullable: bool
    limits: Mapping[str, Any]


class ContractFields:
    """The fields of one event stream's contract; `types` are those of its columns, in its order.

    `rules` tells of each what msgspec checks of it.
    """

    def __init__(self, dataset: EventStream) -> None:
        """Take the contract of `dataset` apart; nothing is read."""
        self._contract = dataset.record_schema
        self._event_time = dataset.event_time
        self._rules: dict[str, dict[str, Any]] = {
            n: _as_object(rule) for n, rule in self._contract["properties"].items()
        }
        self.types: dict[str, LakeType] = {name: c.lake_type for name, c in dataset.columns.items()}
        self.needed = frozenset({dataset.event_time.column, *dataset.key})
        self._raw_types = {name: self._raw_type_of(name) for name in self.types}
        self.text_checks: dict[str, TextCheck] = {n: c for n in self.types if (c := self._text_check(n))}
        self._value_rules = {n: r for n in self.types if n not in self.text_checks and (r := self._rule_on_values(n))}
        doubles = (n for n in self.types if self.raw_type(n) is float)
        self.ruled_doubles = tuple(n for n in doubles if self._rule(n).keys() - {"type"})
        self.rules = {name: self._field_rule(name) for name in self.types}
        self.need_whole_record = self._needs_whole_record()

    @property
    def struct_fields(self) -> list[tuple[str, Any] | tuple[str, Any, None]]:
        """The fields `f0`, `f1`, … of the struct that msgspec parses a record into: what is absent is None."""
        return [_struct_field(f"f{n}", rule) for n, rule in enumerate(self.rules.values())]

    def doubtful_values(self, name: str, values: Iterable[Any]) -> list[Any]:
        """Those of a column's distinct raw values (JSON text as `str`) that break a rule msgspec can't keep."""
        rule, is_text = self._value_rules[name], self.is_text(name)
        return [v for v in values if v is not None and not _keeps(rule, v, is_text=is_text)]

    @property
    def columns_with_value_rules(self) -> tuple[str, ...]:
        """The columns for which `doubtful_values` must be asked."""
        return tuple(self._value_rules)

    def is_text(self, name: str) -> bool:
        """Whether a column's raw form is the JSON text of its value."""
        return self.raw_type(name) is msgspec.Raw

    def raw_type(self, name: str) -> type:
        """The Python type in which a column's values come: `str`, `int`, `float`, `bool`, or `msgspec.Raw`."""
        return self._raw_types[name]

    def _raw_type_of(self, name: str) -> type:
        scalar = json_property_types(self._rules[name]) - {"null"}
        if (self.types[name].name in {"json", "decimal"} and scalar != {"string"}) or len(scalar) != 1:
            return msgspec.Raw
        return _RAW_TYPES.get(next(iter(scalar)), msgspec.Raw)

    def _field_rule(self, name: str) -> FieldRule:
        raw_type = self.raw_type(name)
        rule = self._rules[name]
        json_types = json_property_types(rule)
        limits: dict[str, Any] = {}
        if raw_type is not msgspec.Raw:
            known = _BY_MSGSPEC[next(iter(json_types - {"null"}))]
            limits = {ours: rule[theirs] for theirs, ours in known.items() if theirs in rule}
        ranges = [bounds for bounds in (self.types[name].integer_range, self.time_range(name)) if bounds]
        if raw_type is int:
            least = max([lower for lower, _ in ranges] + ([math.ceil(limits["ge"])] if "ge" in limits else []))
            most = min([upper for _, upper in ranges] + ([math.floor(limits["le"])] if "le" in limits else []))
            limits = {"ge": min(least, INT64[1]), "le": max(most, INT64[0])}
        needed = name in self.needed
        return FieldRule(
            raw_type,
            required=needed or name in self._contract.get("required", ()),
            nullable=raw_type is msgspec.Raw or ("null" in json_types and not needed and self._null_is_valid(name)),
            limits=limits,
        )

    def _null_is_valid(self, name: str) -> bool:
        return bool(jsonschema_rs.Draft202012Validator(self._rule(name)).is_valid(None))

    def time_range(self, name: str) -> tuple[int, int] | None:
        """The epoch numbers that are a time of the years 1 to 9999, for the event time alone."""
        scale = _EPOCH_UNITS.get(self._event_time.unit or "")
        if name != self._event_time.column or scale is None:
            return None
        return _FIRST_SECOND * scale, _LAST_SECOND * scale

    def _rule(self, name: str) -> dict[str, Any]:
        """A column's own schema without what only describes."""
        return {k: v for k, v in self._rules[name].items() if k not in _ANNOTATIONS and not k.startswith("x-")}

    def _text_check(self, name: str) -> TextCheck | None:
        """The rules of a column kept as text, where they can be told from the text alone."""
        rule = self._rule(name)
        json_types = json_property_types(rule)
        if not self.is_text(name) or not rule.keys() <= {"type", *_BOUNDS} or "integer" in json_types:
            return None
        bounds = {_BOUNDS[key]: float(value) for key, value in rule.items() if key in _BOUNDS}
        if bounds and not json_types <= {"number", "null"}:
            return None
        return TextCheck("".join(_FIRST_CHARACTERS[t] for t in json_types or _FIRST_CHARACTERS), bounds)

    def _rule_on_values(self, name: str) -> Any | None:
        rule = self._rule(name)
        kept = {"type"}
        if not self.is_text(name):
            kept |= _BY_MSGSPEC[next(iter(json_property_types(rule) - {"null"}))].keys()
        if rule.keys() <= kept and not self.is_text(name):
            return None
        return jsonschema_rs.Draft202012Validator(rule, validate_formats=True)

    @property
    def allow_others(self) -> bool:
        """Whether a record may have any field that is not declared."""
        return self._contract.get("additionalProperties", True) in (True, {})

    def _needs_whole_record(self) -> bool:
        contract = self._contract
        refers = any("$ref" in str(rule) or "$dynamicRef" in str(rule) for rule in self._rules.values())
        undeclared = set(contract.get("required", ())) - self._rules.keys()
        known = contract.keys() <= _WHOLE_RECORD
        return refers or bool(undeclared) or contract.get("type") != "object" or not known


def _struct_field(name: str, rule: FieldRule) -> tuple[str, Any] | tuple[str, Any, None]:
    annotated: Any = Annotated[rule.raw_type, msgspec.Meta(**rule.limits)] if rule.limits else rule.raw_type
    if rule.nullable and rule.raw_type is not msgspec.Raw:
        annotated |= None
    return (name, annotated) if rule.required else (name, annotated, None)


def _keeps(rule: Any, value: Any, *, is_text: bool) -> bool:
    """Whether a value surely keeps a rule; where the validator itself gives up, the whole record is judged."""
    try:
        return bool(rule.is_valid(json_value(value.encode()) if is_text else value))
    except ValueError:
        return False


def _as_object(rule: Any) -> dict[str, Any]:
    """A property's schema as a mapping; the schemas `true` and `false` are written out."""
    if isinstance(rule, bool):
        return {} if rule else {"not": {}}
    return dict(rule)
