"""The types a lake column can have, and how the kinds of source name them.

Belongs here: parsing a type's name, and the type that a JSON Schema property gets. What an engine makes of a
type (a Polars dtype, a Spark type) is the engine's affair.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_SIMPLE = frozenset(
    {"boolean", "int8", "int16", "int32", "int64", "float", "double", "string", "binary", "date", "timestamp", "json"}
)
_INTEGER_BITS = {"int8": 8, "int16": 16, "int32": 32, "int64": 64}
_DECIMAL = re.compile(r"decimal\(\s*(\d{1,2})\s*,\s*(\d{1,2})\s*\)")
_MAX_PRECISION = 38
_FITTING_TYPES = {
    "string": frozenset({"string", "decimal", "date", "timestamp"}),
    "integer": frozenset({"int8", "int16", "int32", "int64", "decimal", "json"}),
    "number": frozenset({"double", "decimal", "json"}),
    "boolean": frozenset({"boolean", "json"}),
}
_JSON_TYPES = {"string": "string", "integer": "int64", "number": "double", "boolean": "boolean"}

JsonRule = Mapping[str, Any] | bool
"""The schema of one JSON value: keywords, or true (anything) or false (nothing)."""


class TypeNameError(ValueError):
    """A type's name that the lake does not know; the message lists those it does."""


@dataclass(frozen=True, slots=True)
class LakeType:
    """One column type.

    `name` is one of `boolean`, `int8` to `int64`, `float` (32 bits), `double`, `decimal`, `string`, `binary`,
    `date`, `timestamp` (UTC, microseconds) and `json` (any JSON value, kept as its text). `precision` and `scale`
    are set for `decimal` alone.
    """

    name: str
    precision: int = 0
    scale: int = 0

    @classmethod
    def parse(cls, text: str) -> "LakeType":
        """Read a type as dataset files write it, such as `int64` or `decimal(10,2)`.

        Raises `TypeNameError` for any other text.
        """
        name = text.strip().lower()
        if name in _SIMPLE:
            return cls(name)
        match = _DECIMAL.fullmatch(name)
        if match:
            precision, scale = int(match[1]), int(match[2])
            if 1 <= precision <= _MAX_PRECISION and scale <= precision:
                return cls("decimal", precision, scale)
        known = ", ".join(sorted(_SIMPLE))
        raise TypeNameError(f"unknown type {text!r}; write one of {known}, decimal(p,s) with p <= {_MAX_PRECISION}")

    @property
    def integer_range(self) -> tuple[int, int] | None:
        """The smallest and largest value of an integer type; None for the others."""
        bits = _INTEGER_BITS.get(self.name)
        return None if bits is None else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)

    def __str__(self) -> str:
        return f"decimal({self.precision},{self.scale})" if self.name == "decimal" else self.name


def json_property_types(rule: JsonRule) -> frozenset[str]:
    """The JSON types that a property's schema names; empty when it names none."""
    declared = rule.get("type", ()) if isinstance(rule, Mapping) else ()
    return frozenset((declared,) if isinstance(declared, str) else declared)


def type_of_json_property(rule: JsonRule) -> LakeType:
    """The column type of a JSON Schema property.

    `x-lake-type` decides where it is given; else a property of one scalar type (`null` beside it is fine) gets that
    type's column, and everything else (objects, arrays, unions, no type) is kept as JSON text.
    Raises `TypeNameError` for an unknown `x-lake-type`, and for one that can't hold what the property allows.
    """
    scalar = json_property_types(rule) - {"null"}
    json_type = next(iter(scalar)) if len(scalar) == 1 else None
    if not isinstance(rule, Mapping) or "x-lake-type" not in rule:
        return LakeType(_JSON_TYPES.get(json_type or "", "json"))
    found = LakeType.parse(str(rule["x-lake-type"]))
    fitting = _FITTING_TYPES.get(json_type or "", frozenset({"json"}))
    if found.name not in fitting:
        raise TypeNameError(
            f"x-lake-type {found} does not fit JSON type {' or '.join(sorted(scalar)) or 'any'}; "
            f"write one of {', '.join(sorted(fitting))}"
        )
    return found
