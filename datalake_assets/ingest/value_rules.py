"""The keywords of JSON Schema that judge a value by itself: its type, its bounds, its length, its text.

Belongs here: one value and one keyword. Formats and patterns are in `text_rules.py`, what is within objects and arrays
in `contract.py`.
"""

import operator
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from datalake_assets.ingest.text_rules import FORMATS, compiled_pattern, keeps_pattern

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


class Rule(NamedTuple):
    """A keyword that judges a value by itself: whether the value keeps it, and the end of a sentence if not."""

    keyword: str
    keeps: Callable[[Any], bool]
    otherwise: str


def rules_of(schema: Mapping[str, Any]) -> list[Rule]:
    """The rules of a schema on the value itself, in the order in which they are known here."""
    rules: list[Rule] = []
    if "type" in schema:
        rules.append(_type_rule(schema["type"]))
    if "const" in schema:
        constant = _canonical(schema["const"])
        rules.append(Rule("const", lambda v: _canonical(v) == constant, f"is not {shown(schema['const'])}"))
    if "enum" in schema:
        choices = [_canonical(choice) for choice in schema["enum"]]
        rules.append(Rule("enum", lambda v: _canonical(v) in choices, f"is not one of {shown(schema['enum'])}"))
    rules += [_limit_rule(keyword, schema[keyword]) for keyword in _LIMITS if keyword in schema]
    multiple = schema.get("multipleOf")
    if multiple is not None and multiple == int(multiple):  # fractions are not exact in doubles: the lake's affair
        rules.append(Rule("multipleOf", _multiple_check(int(multiple)), f"is not a multiple of {multiple}"))
    pattern = compiled_pattern(schema["pattern"]) if "pattern" in schema else None
    if pattern is not None:
        otherwise = f"does not match {shown(schema['pattern'])}"
        rules.append(Rule("pattern", lambda v: not isinstance(v, str) or keeps_pattern(pattern, v), otherwise))
    form = FORMATS.get(schema.get("format", ""))
    if form is not None:
        rules.append(Rule("format", lambda v: not isinstance(v, str) or form(v), f"is no {schema['format']}"))
    return rules


def _type_rule(declared: str | list[str]) -> Rule:
    names = [declared] if isinstance(declared, str) else declared
    checks = [_TYPES[name] for name in names]
    otherwise = f"is not of type {' or '.join(names)}"
    return Rule("type", checks[0] if len(checks) == 1 else lambda v: any(check(v) for check in checks), otherwise)


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


def _limit_rule(keyword: str, limit: Any) -> Rule:
    measured, holds, otherwise = _LIMITS[keyword]
    return Rule(keyword, lambda v: (m := measured(v)) is None or holds(m, limit), f"{otherwise} {limit}")


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


def cut(text: str) -> str:
    """A text as a reason shows it."""
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def shown(value: Any) -> str:
    """A value as a reason shows it."""
    return cut(f'"{value}"' if isinstance(value, str) else "an object" if isinstance(value, dict) else str(value))
