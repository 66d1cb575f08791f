"""The contract of one record, judged with the standard library alone, where no other package is at hand (AWS Lambda).

The lake's own reader stays the authority. What is refused here the lake would reject too, for the same rule; a keyword
that is not known here (`anyOf`, `if`, `uniqueItems`, …) or not surely understood (a pattern with look-ahead) is left to
the lake. Belongs here: JSON Schema's keywords. Formats and patterns are in `text_rules.py`.
"""

import operator
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from datalake_assets.ingest.text_rules import FORMATS, compiled_pattern, keeps_pattern

MOST_REASONS = 5
"""How many reasons a record is told; it is rejected for the first."""

_SHOWN = 200
"""How much of a value or a name a reason shows, in characters; the lake's quarantine shows as much."""

_TYPES: dict[str, Callable[[Any], bool]] = {
    "string": lambda value: isinstance(value, str),
    "integer": lambda value: value.is_integer() if isinstance(value, float) else _is_number(value),
    "number": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
    "boolean": lambda value: isinstance(value, bool),
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list),
    "null": lambda value: value is None,
}


class Reason(NamedTuple):
    """Why a record is rejected, in the words of the lake's quarantine: `/amount minimum: -3 is less than …`."""

    pointer: str
    rule: str
    message: str


class _Rule(NamedTuple):
    """A keyword that judges a value by itself: whether the value keeps it, and the end of a sentence if not."""

    keyword: str
    keeps: Callable[[Any], bool]
    otherwise: str


@dataclass(slots=True)
class _Node:
    """A schema taken apart: rules on the value itself, and the schemas of what is within."""

    rules: list[_Rule] = field(default_factory=list)
    required: tuple[str, ...] = ()
    properties: dict[str, tuple[str, "_Node"]] = field(default_factory=dict)
    others: "_Node | bool" = True
    items: "_Node | None" = None
    items_from: int = 0


class Contract:
    """The compiled contract of one source."""

    def __init__(
        self, schema: Mapping[str, Any], *, needed: Collection[str] = (), refuses_unknown: bool = False
    ) -> None:
        """Compile a JSON Schema of the 2020-12 draft without references.

        `needed` are fields that may be neither absent nor null, whatever the schema says: the key and the event time.
        With `refuses_unknown` a field that the schema does not declare is refused.
        """
        self._root = _node(schema)
        self._needed = tuple(sorted(needed))
        self._refuses_unknown = refuses_unknown

    def reasons(self, record: Any) -> list[Reason]:
        """Why a record is rejected, at most `MOST_REASONS`; none where it is accepted."""
        found: list[Reason] = []
        _judge(self._root, record, "", found)
        if not isinstance(record, dict):
            return found[:MOST_REASONS] or [Reason("", "type", "a record is a JSON object")]
        missing = (name for name in self._needed if record.get(name) is None)
        found += [Reason(_below("", name), "key", "an event needs it") for name in missing]
        if self._refuses_unknown:
            undeclared = sorted(record.keys() - self._root.properties.keys())[:MOST_REASONS]
            message = "the contract does not declare this field"
            found += [Reason(_below("", name), "unknown_fields", message) for name in undeclared]
        return found[:MOST_REASONS]


def _judge(node: _Node, value: Any, pointer: str, found: list[Reason]) -> None:
    for keyword, keeps, otherwise in node.rules:
        if not keeps(value):
            found.append(Reason(_cut(pointer), keyword, f"{_shown(value)} {otherwise}"))
    if isinstance(value, dict):
        _judge_fields(node, value, pointer, found)
    elif isinstance(value, list) and node.items is not None:
        for n in range(node.items_from, len(value)):
            if len(found) >= MOST_REASONS:
                return
            _judge(node.items, value[n], f"{pointer}/{n}", found)


def _judge_fields(node: _Node, fields: Mapping[str, Any], pointer: str, found: list[Reason]) -> None:
    missing = (name for name in node.required if name not in fields)
    found += [Reason(_cut(pointer), "required", f"{_shown(name)} is a required property") for name in missing]
    for name, value in fields.items():
        if len(found) >= MOST_REASONS:
            return
        declared = node.properties.get(name)
        if declared is not None:
            _judge(declared[1], value, pointer + declared[0], found)
        elif node.others is False:
            message = f"additional properties are not allowed ({_shown(name)} was unexpected)"
            found.append(Reason(_cut(pointer), "additionalProperties", message))
        elif node.others is not True:
            _judge(node.others, value, _below(pointer, name), found)


def _node(schema: Any) -> _Node:
    if schema is False:
        return _Node([_Rule("false schema", lambda _: False, "is not allowed here")])
    if not isinstance(schema, Mapping):
        return _Node()
    node = _Node(_rules(schema), tuple(schema.get("required", ())))
    node.properties = {n: (_below("", n), _node(s)) for n, s in schema.get("properties", {}).items()}
    others = schema.get("additionalProperties", True)
    if "patternProperties" not in schema:  # which say what is additional, and are left to the lake
        node.others = others if isinstance(others, bool) else _node(others)
    if "items" in schema:
        node.items, node.items_from = _node(schema["items"]), len(schema.get("prefixItems", ()))
    return node


def _rules(schema: Mapping[str, Any]) -> list[_Rule]:
    """The rules of a schema on the value itself, in the order in which they are known here."""
    rules: list[_Rule] = []
    if "type" in schema:
        rules.append(_type_rule(schema["type"]))
    if "const" in schema:
        constant = _canonical(schema["const"])
        rules.append(_Rule("const", lambda v: _canonical(v) == constant, f"is not {_shown(schema['const'])}"))
    if "enum" in schema:
        choices = [_canonical(choice) for choice in schema["enum"]]
        rules.append(_Rule("enum", lambda v: _canonical(v) in choices, f"is not one of {_shown(schema['enum'])}"))
    rules += [_limit_rule(keyword, schema[keyword]) for keyword in _LIMITS if keyword in schema]
    multiple = schema.get("multipleOf")
    if multiple is not None and multiple == int(multiple):  # fractions are not exact in doubles: the lake's affair
        rules.append(_Rule("multipleOf", _multiple_check(int(multiple)), f"is not a multiple of {multiple}"))
    pattern = compiled_pattern(schema["pattern"]) if "pattern" in schema else None
    if pattern is not None:
        otherwise = f"does not match {_shown(schema['pattern'])}"
        rules.append(_Rule("pattern", lambda v: not isinstance(v, str) or keeps_pattern(pattern, v), otherwise))
    form = FORMATS.get(schema.get("format", ""))
    if form is not None:
        rules.append(_Rule("format", lambda v: not isinstance(v, str) or form(v), f"is no {schema['format']}"))
    return rules


def _type_rule(declared: str | list[str]) -> _Rule:
    names = [declared] if isinstance(declared, str) else declared
    checks = [_TYPES[name] for name in names]
    otherwise = f"is not of type {' or '.join(names)}"
    return _Rule("type", checks[0] if len(checks) == 1 else lambda v: any(check(v) for check in checks), otherwise)


def _number(value: Any) -> Any:
    return value if _is_number(value) else None


def _text_length(value: Any) -> int | None:
    return len(value) if isinstance(value, str) else None


def _list_length(value: Any) -> int | None:
    return len(value) if isinstance(value, list) else None


_LIMITS: dict[str, tuple[Callable[[Any], Any], Callable[[Any, Any], bool], str]] = {
    "minimum": (_number, operator.ge, "is less than the minimum of"),
    "maximum": (_number, operator.le, "is greater than the maximum of"),
    "exclusiveMinimum": (_number, operator.gt, "is less than or equal to the minimum of"),
    "exclusiveMaximum": (_number, operator.lt, "is greater than or equal to the maximum of"),
    "minLength": (_text_length, operator.ge, "is shorter than"),
    "maxLength": (_text_length, operator.le, "is longer than"),
    "minItems": (_list_length, operator.ge, "has fewer items than"),
    "maxItems": (_list_length, operator.le, "has more items than"),
}
"""Of each keyword: what of a value it looks at (None: it does not apply), whether that holds, the sentence if not."""


def _limit_rule(keyword: str, limit: Any) -> _Rule:
    measured, holds, otherwise = _LIMITS[keyword]
    return _Rule(keyword, lambda v: (m := measured(v)) is None or holds(m, limit), f"{otherwise} {limit}")


def _multiple_check(divisor: int) -> Callable[[Any], bool]:
    def keeps(value: Any) -> bool:
        if not _is_number(value):
            return True
        return (isinstance(value, int) or value.is_integer()) and int(value) % divisor == 0

    return keeps


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _canonical(value: Any) -> Any:
    """A JSON value in a form that Python compares as JSON Schema does: 1 is 1.0, but true is not 1."""
    if isinstance(value, dict):
        return "object", {name: _canonical(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return "array", [_canonical(inner) for inner in value]
    return isinstance(value, bool), value


def _below(pointer: str, name: str) -> str:
    return f"{pointer}/{name.replace('~', '~0').replace('/', '~1')}"


def _cut(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def _shown(value: Any) -> str:
    return _cut(f'"{value}"' if isinstance(value, str) else "an object" if isinstance(value, dict) else str(value))
