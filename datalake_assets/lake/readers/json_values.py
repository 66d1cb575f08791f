"""JSON values: read as the contract judges them, and in the plain form that a column takes.

Belongs here: one value in, its plain form out, or an error that says why its column can't hold it. Which values are
valid is the contract's affair.
"""

import math
import re
import sys
from datetime import UTC, datetime
from decimal import Context, Decimal, InvalidOperation
from typing import Any

import msgspec

from datalake_assets.lake.spec.types import LakeType

INT64 = -(2**63), 2**63 - 1
SHOWN = 200
"""How much of a value an error shows, in characters."""

DEEPEST = 200
"""How many objects and arrays may stand in one another, the record's own counted; a record that is deeper is rejected.

Every library has a limit of its own (jsonschema-rs 255, msgspec what Python's stack has left), so that without this
one the verdict on a record would depend on which of them sees it.
"""
_NUMBER = re.compile(r"-?\d+(\.\d+)?([eE][+-]?\d+)?", re.ASCII)
# Python reads no whole number of more than 4,300 digits; a string is matched first so that its digits are left alone.
_LONG_NUMBER = re.compile(rb'"(?:[^"\\]|\\.)*"|-?\d{4300,}(?:\.\d+)?(?:[eE][+-]?\d+)?')
_EXACT = Context(prec=400, traps=[InvalidOperation])  # more digits than any number that could fit a column


def json_value(text: bytes) -> Any:
    """A JSON value as the contract judges it; a number too large for a double is the nearest one.

    Raises `ValueError` for text that is no JSON value, and for one nested deeper than `DEEPEST`.
    """
    try:
        value = _ANY.decode(text)
    except msgspec.ValidationError:
        value = _ANY.decode(_LONG_NUMBER.sub(_as_double, text))
    except RecursionError:
        raise ValueError(_TOO_DEEP) from None
    if text.count(b"[") + text.count(b"{") > DEEPEST and levels(value) > DEEPEST:
        raise ValueError(_TOO_DEEP)
    return value


def levels(value: Any) -> int:
    """How many objects and arrays of a value stand in one another; 0 for a value that is neither."""
    found = 0
    level = [value] if isinstance(value, dict | list) else []
    while level:
        found += 1
        inner = (item for outer in level for item in (outer.values() if isinstance(outer, dict) else outer))
        level = [item for item in inner if isinstance(item, dict | list)]
    return found


def plain_timestamp(text: str) -> str:
    """An ISO 8601 time as `YYYY-MM-DDTHH:MM:SS.ffffffZ`; one without an offset is taken as UTC.

    Raises `ValueError` for text that is no such time.
    """
    moment = datetime.fromisoformat(text)
    try:
        moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except OverflowError:
        raise ValueError(f"{text} is no time of the years 1 to 9999") from None
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ").zfill(27)


def plain_decimal(text: str, lake_type: LakeType) -> str:
    """A number's text without an exponent and with the digits of a decimal type.

    Raises `ValueError` for text that is no number, and for one that the type can't hold exactly.
    """
    number = _decimal(text)
    try:
        rounded = number.quantize(Decimal(1).scaleb(-lake_type.scale), context=_EXACT)
    except InvalidOperation:
        raise ValueError(f"{shown(text)} does not fit {lake_type}") from None
    if rounded != number or len(rounded.as_tuple().digits) > lake_type.precision:
        raise ValueError(f"{shown(text)} does not fit {lake_type} exactly")
    return f"{rounded:f}"


def whole_number(value: int | str, lake_type: LakeType) -> int:
    """A whole number, given as such or as text like `3.0` or `1e3`, which a double would not always hold.

    Raises `ValueError` when it is outside the range of its type.
    """
    number = value if isinstance(value, int) else _decimal(value)
    least, most = lake_type.integer_range or INT64
    if not least <= number <= most:  # before it is made an int: 1e999999999 would take all memory
        raise ValueError(f"{shown(value)} does not fit {lake_type}")
    return int(number)


def nearest_double(text: str) -> float:
    """A number as the nearest finite double: infinity is none to a validator, which would see null in its place."""
    number = float(text)
    return math.copysign(sys.float_info.max, number) if math.isinf(number) else number


def _as_double(match: re.Match[bytes]) -> bytes:
    found = match[0]
    return found if found.startswith(b'"') else repr(nearest_double(found.decode())).encode()


def finite_double(text: str) -> float:
    """A number as the nearest double. Raises `ValueError` when it is beyond all doubles."""
    number = float(text)
    if math.isinf(number):
        raise ValueError(f"{shown(text)} is beyond the range of double")
    return number


_ANY = msgspec.json.Decoder(float_hook=nearest_double)
_TOO_DEEP = f"nested deeper than {DEEPEST} levels"


def shown(value: object) -> str:
    """A value as an error shows it, cut to a readable length."""
    text = str(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"


def _decimal(text: str) -> Decimal:
    if not _NUMBER.fullmatch(text):
        raise ValueError(f"{shown(text)} is no number")
    try:
        return Decimal(text)
    except InvalidOperation:
        raise ValueError(f"{shown(text)} is out of range") from None
