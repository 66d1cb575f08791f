"""JSON values in the plain form that a column takes: exact numbers, times in UTC.

Belongs here: one value in, its plain form out, or an error that says why its column can't hold it. Which values are
valid is the contract's affair.
"""

import math
import re
import sys
from datetime import UTC, datetime
from decimal import Context, Decimal, InvalidOperation

from datalake_assets.lake.spec.types import LakeType

INT64 = -(2**63), 2**63 - 1
SHOWN = 200
"""How much of a value an error shows, in characters."""
_NUMBER = re.compile(r"-?\d+(\.\d+)?([eE][+-]?\d+)?", re.ASCII)
_EXACT = Context(prec=400, traps=[InvalidOperation])  # more digits than any number that could fit a column


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


def finite_double(text: str) -> float:
    """A number as the nearest double. Raises `ValueError` when it is beyond all doubles."""
    number = float(text)
    if math.isinf(number):
        raise ValueError(f"{shown(text)} is beyond the range of double")
    return number


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
