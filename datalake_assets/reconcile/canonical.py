"""How a value is written as text so that Postgres and the lake write the same: the SQL and the Polars side by side.

Belongs here: for each pair of a Postgres type and a lake type the two expressions of one text, and what is not compared
because what DMS lands is not told by the source's value alone. Texts are compared, never shown as such (`shown`).
"""

import struct
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal, LiteralString

import polars as pl
from psycopg import sql

from datalake_assets.lake.spec.types import LakeType
from datalake_assets.replicate.source import Column

_BOOL, _BYTEA, _FLOAT4, _FLOAT8, _MONEY, _NUMERIC = 16, 17, 700, 701, 790, 1700
_BPCHAR, _DATE, _TIME, _TIMESTAMP, _TIMESTAMPTZ = 1042, 1082, 1083, 1114, 1184
_WHOLE = frozenset({20, 21, 23, 26})  # int8, int2, int4, oid
_PLAIN_TEXT = frozenset({25, 1043})  # text, varchar
_NO_TEXT = frozenset({_BYTEA, _FLOAT4, _FLOAT8, _MONEY, _DATE, _TIMESTAMP, _TIMESTAMPTZ})
_MODIFIER_OFFSET, _MOST_DIGITS = 4, 38

_SECOND = 1_000_000  # microseconds
_LATE = range(253_402_214_400, 253_402_300_800)  # 9999-12-31, in seconds since 1970
_EARLY = -210_831_897_600  # 4712-01-01 BC
_TOO_LATE = "294247-01-10 04:00:54.775808"  # 2**63 microseconds after 1970
_SECONDS_TO_2000 = 946_684_800
_DAY = 86_400  # seconds
_FIRST = datetime(1970, 1, 1, tzinfo=UTC)
_NAN = "NaN"


@dataclass(frozen=True, slots=True)
class Canonical:
    """A column as both sides write it.

    `in_source` and `in_silver` give one text for equal values, NULL for NULL; `has_any_text` where that may hold
    anything. Where `number` is the type of Postgres that holds the column's numbers, keys go by their value; else by
    their text. `is_raw`: the text is the value itself, so that a row is found by it. `shown` makes it readable.
    """

    name: str
    in_source: sql.Composed
    in_silver: pl.Expr
    has_any_text: bool = False
    number: Literal["bigint", "numeric"] | None = None
    is_raw: bool = False
    shown: Callable[[str], str] = str

    @property
    def lookup_sql(self) -> sql.Composable:
        """What a row is found by: the column itself, for its index' sake, where the text is its value."""
        return sql.Identifier(self.name) if self.is_raw else self.in_source


def canonical(column: Column, lake: LakeType, *, null_text: str | None) -> Canonical | None:
    """How a column is compared; None where what DMS lands for it is not told by the source's value alone.

    `null_text` is what CSV files have for NULL, which then can't be told from that text.
    """
    name, oid = column.name, column.type_oid
    source, own = sql.Identifier(name), pl.col(name)
    found: Canonical | None = None
    match lake.name:
        case "decimal" | "int8" | "int16" | "int32" | "int64":
            found = _number(column, lake)
        case "double" | "float" if oid == _FLOAT4 or (oid == _FLOAT8 and lake.name == "double"):
            found = _float(column)
        case "boolean" if oid == _BOOL:
            found = Canonical(name, _sql("{}::text", source), own.cast(pl.String))
        case "date" if oid == _DATE:
            found = _time(name, "date_send", own.cast(pl.Int32).cast(pl.Int64), is_day=True)
        case "timestamp" if oid in {_TIMESTAMP, _TIMESTAMPTZ}:
            send: LiteralString = "timestamp_send" if oid == _TIMESTAMP else "timestamptz_send"
            found = _time(name, send, own.cast(pl.Int64), is_day=False)
        case "binary" if oid == _BYTEA:
            found = Canonical(name, _sql("encode({}, 'hex')", source), own.bin.encode("hex"))
        case "string" | "json":
            found = _text(column, null_text)
    return found


def _number(column: Column, lake: LakeType) -> Canonical | None:
    """Whole numbers and decimals without the zeros at their end; NaN is no decimal, and NULL in silver."""
    source, own = sql.Identifier(column.name), pl.col(column.name).cast(pl.String)
    if lake.name == "decimal" and lake.scale:
        own = own.str.strip_chars_end("0").str.strip_suffix(".")
    number: Literal["bigint", "numeric"] = (
        "bigint" if column.type_oid in _WHOLE and lake.name != "decimal" else "numeric"
    )
    if column.type_oid in _WHOLE:
        text = _sql("{}::text", source)
    elif column.type_oid == _MONEY:
        text = _sql("trim_scale({}::numeric)::text", source)
        return Canonical(column.name, text, own)
    elif column.type_oid == _NUMERIC and column.modifier >= _MODIFIER_OFFSET:
        text = _sql("trim_scale(NULLIF({}, 'NaN'))::text", source)
    else:  # DMS rounds a numeric without digits to six of them, unless it was told otherwise
        return None
    return Canonical(column.name, text, own, number=number, is_raw=True)


def _float(column: Column) -> Canonical:
    """The bits of a double. A real is one on both sides: text of CSV was read as a double."""
    source, own = sql.Identifier(column.name), pl.col(column.name)
    if column.type_oid == _FLOAT4:
        own = own.cast(pl.Float32)
    own = own.cast(pl.Float64)
    bits = _sql("('x' || encode(float8send({}::float8), 'hex'))::bit(64)::bigint::text", source)
    text = _sql("CASE WHEN {0} = 0 THEN '0' WHEN {0} = 'NaN' THEN 'NaN' ELSE {1} END", source, bits)
    polars = (
        pl.when(own == 0)
        .then(pl.lit("0"))
        .when(own.is_nan())
        .then(pl.lit(_NAN))
        .otherwise(own.reinterpret(dtype=pl.Int64).cast(pl.String))
    )
    return Canonical(column.name, text, polars, shown=_shown_float)


def _time(column: str, send: LiteralString, own: pl.Expr, *, is_day: bool) -> Canonical:
    """A date as days, a timestamp as microseconds since 1970, by what the type's function for the wire gives.

    DMS clips infinite ones: which moment of 9999-12-31 and of 4713 BC it takes is not told, so each counts as one.
    `datalake replicate` takes timestamps that 64 bits can't hold for infinite ones.
    """
    late, later, early, epoch = (
        second // _DAY if is_day else second * _SECOND for second in (_LATE.start, _LATE.stop, _EARLY, _SECONDS_TO_2000)
    )
    text = _sql(
        "CASE WHEN {0} < '4712-01-01 BC' THEN {early} WHEN {0} >= '9999-12-31' AND ({0} < '10000-01-01' OR "
        "{0} >= {endless}) THEN {late} ELSE (('x' || encode({send}({0}), 'hex'))::bit({bits})::{whole}::bigint + "
        "{epoch})::text END",
        sql.Identifier(column),
        early=sql.Literal(str(early)),
        late=sql.Literal(str(late)),
        endless=sql.Literal("infinity" if is_day else _TOO_LATE),
        send=sql.SQL(send),
        bits=sql.Literal(32 if is_day else 64),
        whole=sql.SQL("int" if is_day else "bigint"),
        epoch=sql.Literal(epoch),
    )
    clipped = pl.when(own < early).then(early).when((own >= late) & (own < later)).then(late).otherwise(own)
    return Canonical(column, text, clipped.cast(pl.String), shown=_shown_day if is_day else _shown_moment)


def _text(column: Column, null_text: str | None) -> Canonical | None:
    name, oid = column.name, column.type_oid
    source, own = sql.Identifier(name), pl.col(name)
    is_decimal = oid == _NUMERIC and column.modifier >= _MODIFIER_OFFSET and _digits(column) <= _MOST_DIGITS
    if oid in _NO_TEXT or is_decimal:
        return None
    is_raw = False
    if oid == _BOOL:  # true or t
        text, own = _sql("left({}::text, 1)", source), own.str.slice(0, 1)
    elif oid == _TIME:  # DMS keeps milliseconds; 24:00:00 is the last moment of the day
        whole = _sql("CASE WHEN {0} = '24:00:00' THEN '23:59:59.999' ELSE {0}::text END", source)
        text = _sql("left({0}, 8) || '.' || rpad(substr({0}, 10, 3), 3, '0')", whole)
        own = own.str.slice(0, 8) + "." + own.str.slice(9, 3).str.pad_end(3, "0")
    elif oid == _BPCHAR:  # whose blanks at the end mean nothing
        text, own = _sql("{}::text", source), own.str.strip_chars_end(" ")
    elif oid in _PLAIN_TEXT:
        text, is_raw = _sql("{}::text", source), null_text is None
    else:  # as the type's output function writes it: a cast of inet to text adds a netmask
        text = _sql("CASE WHEN {0} IS NOT NULL THEN format('%s', {0}) END", source)
    text = _sql('({}) COLLATE "C"', text)  # one under which texts that are equal have the same bytes
    if null_text is not None:
        text = _sql("NULLIF({}, {})", text, sql.Literal(null_text))
        own = pl.when(own != null_text).then(own)
    return Canonical(name, text, own, has_any_text=True, is_raw=is_raw)


def _digits(column: Column) -> int:
    """The digits of a numeric column; see `replicate.column_types`."""
    modifier = column.modifier - _MODIFIER_OFFSET
    precision, scale = (modifier >> 16) & 0xFFFF, ((modifier & 0x7FF) ^ 0x400) - 0x400
    return max(precision - min(scale, 0), scale)


def _sql(template: LiteralString, *parts: sql.Composable, **named: sql.Composable) -> sql.Composed:
    return sql.SQL(template).format(*parts, **named)


def _shown_moment(text: str) -> str:
    try:
        return f"{_FIRST + timedelta(microseconds=int(text)):%Y-%m-%d %H:%M:%S.%f}"
    except (OverflowError, ValueError):
        return f"{text} microseconds since 1970"


def _shown_day(text: str) -> str:
    try:
        return f"{_FIRST + timedelta(days=int(text)):%Y-%m-%d}"
    except (OverflowError, ValueError):
        return f"{text} days since 1970"


def _shown_float(text: str) -> str:
    if text in {_NAN, "0"}:
        return text
    return repr(struct.unpack("<d", struct.pack("<q", int(text)))[0])
