"""Postgres types as DMS writes them to Parquet: for each type its Arrow type, and how its texts are read.

Belongs here: the mapping of section "Source data types for PostgreSQL" and "S3 Parquet" of the DMS guide, with what is
exact where DMS leaves a choice. Texts are those of Postgres' output functions under `session.SESSION`.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date

import pyarrow as pa
import pyarrow.compute as pc

from datalake_assets.replicate.dms_format import TIME

_MOST_DIGITS = 38
_MONEY = pa.decimal128(_MOST_DIGITS, 4)
_MODIFIER_OFFSET = 4
_SCALE_BITS, _SCALE_SIGN = 0x7FF, 0x400
_DAY = 86_400_000_000  # microseconds
_LAST_TICK = 2**63 - 1
_INFINITY = "infinity"
_DAYS_BEFORE_1970 = date(1970, 1, 1).toordinal()
_ERA_YEARS, _ERA_DAYS = 400, 146_097
_TIMESTAMP = re.compile(r"(\d+)-(\d\d)-(\d\d)(?: (\d\d):(\d\d):(\d\d)(?:\.(\d+))?)?(?:\+00)?( BC)?", re.ASCII)

Converter = Callable[[pa.Array], pa.Array]


@dataclass(frozen=True, slots=True)
class ColumnType:
    """How a column is written: its Arrow type, and what makes it of an array of Postgres' texts."""

    arrow: pa.DataType
    convert: Converter


def column_type(oid: int, modifier: int, *, booleans: bool) -> ColumnType:
    """How values of a built-in type are written; types that are not known here are written as text.

    `modifier` is the column's `atttypmod`; with `booleans` a boolean is one (DMS: MapBooleanAsBoolean), else text.
    """
    match oid:
        case 16:
            return _BOOLEAN if booleans else _BOOLEAN_AS_TEXT
        case 1700:
            return _numeric(modifier)
        case _:
            return _TYPES.get(oid, _TEXT)


def _numeric(modifier: int) -> ColumnType:
    """A decimal of the column's digits; text where it has more than 38, or is not told how many it has.

    DMS rounds the latter to NUMERIC(28,6) unless the source's endpoint says MapUnboundedNumericAsString=true, as here.
    """
    if modifier < _MODIFIER_OFFSET:
        return _TEXT
    modifier -= _MODIFIER_OFFSET
    precision, scale = (modifier >> 16) & 0xFFFF, ((modifier & _SCALE_BITS) ^ _SCALE_SIGN) - _SCALE_SIGN
    if scale < 0:  # numeric(3,-2) holds 12300
        precision, scale = precision - scale, 0
    precision = max(precision, scale)  # numeric(2,4) holds 0.0012
    return _decimal(pa.decimal128(precision, scale)) if precision <= _MOST_DIGITS else _TEXT


def _decimal(arrow: pa.DataType) -> ColumnType:
    def convert(texts: pa.Array) -> pa.Array:
        """NaN is no decimal, and becomes NULL."""
        return pc.if_else(pc.equal(texts, "NaN"), None, texts).cast(arrow)

    return ColumnType(arrow, convert)


def _plain(arrow: pa.DataType) -> ColumnType:
    return ColumnType(arrow, lambda texts: texts.cast(arrow))


def _timestamps(texts: pa.Array) -> pa.Array:
    """Times with and without a zone (the session's is UTC); the infinite ones clipped as DMS does.

    So are those of Postgres' last thirty years, whose microseconds since 1970 take more than 64 bits.
    """
    try:
        return pc.replace_substring_regex(texts, r"\+00$", "").cast(pa.timestamp("us")).cast(TIME)
    except pa.ArrowInvalid:  # an infinite time, one before Christ, or a year of five digits
        ticks = [None if text is None else _ticks(text) for text in texts.to_pylist()]
        held = [_ticks(_INFINITY) if n is not None and n > _LAST_TICK else n for n in ticks]
        return pa.array(held, pa.int64()).cast(TIME)


def _dates(texts: pa.Array) -> pa.Array:
    try:
        return texts.cast(pa.date32())
    except pa.ArrowInvalid:
        days = [None if text is None else _ticks(text) // _DAY for text in texts.to_pylist()]
        return pa.array(days, pa.int32()).cast(pa.date32())


def _ticks(text: str) -> int:
    """Microseconds since 1970 of any time that Postgres has."""
    if text.endswith(_INFINITY):
        text = "4713-01-01 00:00:00 BC" if text.startswith("-") else "9999-12-31 23:59:59"
    match = _TIMESTAMP.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is no time as Postgres writes it in ISO style")
    year, month, day, hour, minute, second = (int(part or 0) for part in match.groups()[:6])
    year = 1 - year if match[8] else year
    eras, year = divmod(year - 1, _ERA_YEARS)  # Python's dates begin with the year 1
    days = date(year + 1, month, day).toordinal() + eras * _ERA_DAYS - _DAYS_BEFORE_1970
    seconds = (hour * 60 + minute) * 60 + second
    return days * _DAY + seconds * 1_000_000 + int((match[7] or "").ljust(6, "0"))


def _times(texts: pa.Array) -> pa.Array:
    """Times of day; Postgres' 24:00:00 is the last microsecond of the day."""
    texts = pc.if_else(pc.equal(texts, "24:00:00"), "23:59:59.999999", texts)
    return pc.binary_join_element_wise("1970-01-01", texts, " ").cast(pa.timestamp("us")).cast(pa.time64("us"))


def _money(texts: pa.Array) -> pa.Array:
    return pc.replace_substring_regex(texts, r"[$,]", "").cast(_MONEY)


def _bytes(texts: pa.Array) -> pa.Array:
    return pa.array([None if text is None else bytes.fromhex(text[2:]) for text in texts.to_pylist()], pa.binary())


_TEXT = ColumnType(pa.string(), lambda texts: texts)
_BOOLEAN = ColumnType(pa.bool_(), lambda texts: pc.equal(texts, "t"))
_BOOLEAN_AS_TEXT = ColumnType(pa.string(), lambda texts: pc.if_else(pc.equal(texts, "t"), "true", "false"))
_TYPES = {
    17: ColumnType(pa.binary(), _bytes),  # bytea
    20: _plain(pa.int64()),  # int8
    21: _plain(pa.int16()),  # int2
    23: _plain(pa.int32()),  # int4
    26: _plain(pa.int64()),  # oid
    700: _plain(pa.float32()),  # float4
    701: _plain(pa.float64()),  # float8
    790: ColumnType(_MONEY, _money),
    1082: ColumnType(pa.date32(), _dates),
    1083: ColumnType(pa.time64("us"), _times),
    1114: ColumnType(TIME, _timestamps),
    1184: ColumnType(TIME, _timestamps),
}
"""By the type's oid, which is the same in every Postgres."""
