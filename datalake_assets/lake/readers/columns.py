"""What Polars makes of values: exact conversions to the lake's types, and the hash of a row's values.

Every conversion here is exact or leaves a null where there was a value, and the caller takes such a row for a reject.
"""

from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from itertools import groupby

import polars as pl
import polars_hash  # noqa: F401  (registers the `chash` namespace)

from datalake_assets.lake.spec.types import LakeType
from datalake_assets.lake.store.dtypes import dtype_of

TIME_OF_DAY = "%H:%M:%S%.f"
"""How a time of day is written: to its last digit, which Polars' own cast to text leaves out."""

_DMS_TIMESTAMP = "%Y-%m-%d %H:%M:%S%.f"
_DMS_TIMESTAMP_FORM = r"^[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-5][0-9](\.[0-9]{1,6}0*)?$"
_ISO_8601 = "%+"
_ISO_8601_FORM = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}:[0-5][0-9](\.[0-9]+)?(Z|[+-][0-9]{2}:[0-9]{2})$"
_BOOLEANS = {"true": True, "t": True, "false": False, "f": False}
_DATE_FORM = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$"
_FIRST, _LAST = datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)
_EPOCH, _MICROSECOND = datetime(1970, 1, 1, tzinfo=UTC), timedelta(microseconds=1)


def _literal_time(moment: datetime) -> pl.Expr:
    """A moment as a UTC timestamp: Polars makes a series of a time with a zone, which takes it half a millisecond."""
    return pl.lit((moment - _EPOCH) // _MICROSECOND, pl.Int64).cast(pl.Datetime("us", "UTC"))


def timestamp_of_text(text: pl.Expr) -> pl.Expr:
    """ISO 8601 with an offset as a UTC timestamp; null for any other text, and outside the years 1 to 9999."""
    form = pl.when(text.str.contains(_ISO_8601_FORM)).then(text)  # `%+` alone reads leap seconds and spaces too
    moment = form.str.to_datetime(_ISO_8601, time_unit="us", time_zone="UTC", strict=False)
    return pl.when(moment.is_between(_literal_time(_FIRST), _literal_time(_LAST))).then(moment)


def timestamp_of_dms(text: pl.Expr) -> pl.Expr:
    """DMS's `yyyy-MM-dd HH:mm:ss.SSSSSS` as a UTC timestamp; null for any other text, and for parts of microseconds."""
    form = pl.when(text.str.contains(_DMS_TIMESTAMP_FORM)).then(text)
    return form.str.to_datetime(_DMS_TIMESTAMP, time_unit="us", strict=False).dt.replace_time_zone("UTC")


def decimal_of_text(text: pl.Expr, lake_type: LakeType) -> pl.Expr:
    """Plain decimal text as an exact decimal; null for text with an exponent, or with too many digits."""
    whole, fraction = lake_type.precision - lake_type.scale, lake_type.scale
    pattern = rf"^-?(0|[1-9]\d{{0,{whole - 1}}})" if whole else "^-?0"
    pattern += rf"(\.\d{{1,{fraction}}})?$" if fraction else "$"
    return pl.when(text.str.contains(pattern)).then(text).cast(dtype_of(lake_type), strict=False)


def decimal_text(value: pl.Expr) -> pl.Expr:
    """Decimals as text, without zeros at the end: the same whatever the digits of their type."""
    text = value.cast(pl.String)
    return (
        pl.when(text.str.contains(".", literal=True))
        .then(text.str.strip_chars_end("0").str.strip_chars_end("."))
        .otherwise(text)
    )


def of_text(text: pl.Expr, lake_type: LakeType) -> pl.Expr:
    """Text as a value of a type that JSON has no form of its own for; null where that can't be done exactly."""
    match lake_type.name:
        case "decimal":
            return decimal_of_text(text, lake_type)
        case "timestamp":
            return timestamp_of_text(text)
        case "date":
            day = pl.when(text.str.contains(_DATE_FORM)).then(text).str.to_date("%Y-%m-%d", strict=False)
            return pl.when(day.is_between(_FIRST.date(), _LAST.date())).then(day)
        case _:
            return text


def exactly(value: pl.Expr, found: pl.DataType, wanted: LakeType) -> pl.Expr:
    """A column of a landed file as the declared type; null where the value would be changed.

    Integers and decimals widen, and narrow where the value fits; a timestamp without a zone is UTC; a time of day is
    text; text is read as the type it spells (all of a CSV file is text).
    """
    dtype = dtype_of(wanted)
    if isinstance(found, pl.Datetime) and wanted.name == "timestamp":
        zoned = value.dt.replace_time_zone("UTC") if found.time_zone is None else value.dt.convert_time_zone("UTC")
        micros = zoned.dt.cast_time_unit("us")
        return micros if found.time_unit != "ns" else pl.when(value.to_physical() % 1_000 == 0).then(micros)
    if found == dtype:
        return value
    if found == pl.String():
        return _spelled(value, wanted)
    whole = found.is_integer() or isinstance(found, pl.Decimal)
    if whole and (dtype.is_integer() or isinstance(dtype, pl.Decimal)):
        cast = value.cast(dtype, strict=False)
        return pl.when(cast.cast(found, strict=False) == value).then(cast)
    if found == pl.Time() and wanted.name == "string":
        return value.dt.strftime(TIME_OF_DAY)
    widened = found == pl.Float32() and wanted.name == "double"
    return value.cast(dtype) if widened else pl.lit(None, dtype=dtype)


def _spelled(text: pl.Expr, wanted: LakeType) -> pl.Expr:
    """What a text spells, as the wanted type; null where it spells no such value."""
    dtype = dtype_of(wanted)
    value: pl.Expr = pl.lit(None, dtype=dtype)
    match wanted.name:
        case "boolean":  # CHAR(5), unless DMS was told MapBooleanAsBoolean
            value = text.str.strip_chars_end(" ").replace_strict(_BOOLEANS, default=None, return_dtype=dtype)
        case "timestamp":
            value = pl.coalesce(timestamp_of_dms(text), timestamp_of_text(text))
        case "decimal":  # 12.3400 is a decimal(10,2)
            shortest = pl.when(text.str.contains(r"\.[0-9]+$")).then(text.str.strip_chars_end("0")).otherwise(text)
            value = decimal_of_text(shortest.str.strip_suffix("."), wanted)
        case "date":
            value = of_text(text, wanted)
        case "float" | "double":
            value = _float_of_text(text, dtype)
        case "binary":
            value = text.str.strip_prefix("\\x").str.strip_prefix("0x").str.decode("hex", strict=False)
        case name if name.startswith("int"):
            value = text.cast(dtype, strict=False)
    return value


def _float_of_text(text: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    """The float nearest to a number; null where that is none at all: infinite or zero for a number that is not."""
    number = text.cast(dtype, strict=False)
    lost = (number.is_infinite() & text.str.contains("[0-9]")) | ((number == 0) & text.str.contains("^[^eE]*[1-9]"))
    return pl.when(~lost).then(number)


def has_text(dtype: pl.DataType) -> bool:
    """Whether the values of a Parquet column have a text: nested ones, bytes and durations have none here."""
    simple = dtype.is_numeric() or dtype.is_temporal() or dtype in {pl.String(), pl.Boolean(), pl.Null()}
    return simple and not isinstance(dtype, pl.Duration)


def content_hash(columns: dict[str, pl.DataType], *, with_nulls: Collection[str]) -> pl.Expr:
    """The SHA-256 (hex) of a row's values, by which two changes of a row are told apart.

    What is hashed is compact JSON of the columns that have a value, in the order of their names: integers and booleans
    stand as themselves, binary as hex, all else as text, a double with the fewest digits that read back as it, and
    `NaN`, `inf` or `-inf`. So a column that is absent counts as one that is null, and a table that gains a column
    keeps its hashes. `with_nulls` names the columns that have nulls at all: the others need no looking for them.
    """
    parts: list[pl.Expr] = []
    for has_nulls, names in groupby(sorted(columns), key=lambda name: name if name in with_nulls else None):
        fields = [_canonical(pl.col(name), columns[name]).alias(name) for name in names]
        members = pl.struct(fields).struct.json_encode().str.strip_prefix("{").str.strip_suffix("}")
        parts.append(members if has_nulls is None else pl.when(pl.col(has_nulls).is_not_null()).then(members))
    text = pl.concat_str(pl.lit("{"), pl.concat_str(parts, separator=",", ignore_nulls=True), pl.lit("}"))
    return text.chash.sha2_256()  # type: ignore[attr-defined, no-any-return]  # a namespace that polars_hash registers


def _canonical(value: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    if isinstance(dtype, pl.Datetime):
        return value.dt.strftime("%Y-%m-%dT%H:%M:%S.%6fZ")
    if isinstance(dtype, pl.Binary):
        return value.bin.encode("hex")
    if isinstance(dtype, pl.Date | pl.Decimal) or dtype.is_float():
        return value.cast(pl.String)
    return value
