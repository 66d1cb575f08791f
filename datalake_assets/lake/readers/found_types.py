"""The types that the columns of a landed file have, as the lake's, and values of any of them as JSON text.

Belongs here: what drift needs of a file that is read. What comes of it is told in `spec/drift.py`.
"""

import polars as pl

from datalake_assets.lake.readers.columns import decimal_text, exactly
from datalake_assets.lake.readers.json_columns import json_object
from datalake_assets.lake.spec.types import LakeType
from datalake_assets.lake.spec.widening import ANY
from datalake_assets.lake.store.dtypes import dtype_of

_NAMES: dict[pl.DataType, str] = {
    pl.Boolean(): "boolean",
    pl.Int8(): "int8",
    pl.Int16(): "int16",
    pl.Int32(): "int32",
    pl.Int64(): "int64",
    pl.UInt8(): "int16",
    pl.UInt16(): "int32",
    pl.UInt32(): "int64",
    pl.UInt64(): "decimal(20,0)",
    pl.Float32(): "float",
    pl.Float64(): "double",
    pl.String(): "string",
    pl.Binary(): "binary",
    pl.Date(): "date",
}
_UTC = LakeType("timestamp")


def lake_types(schema: pl.Schema) -> dict[str, LakeType]:
    """The narrowest types that hold the columns of a file; one without any value has none."""
    found = {name: _lake_type(dtype) for name, dtype in schema.items()}
    return {name: kind for name, kind in found.items() if kind is not None}


def _lake_type(dtype: pl.DataType) -> LakeType | None:
    if isinstance(dtype, pl.Decimal):
        return LakeType("decimal", dtype.precision or 38, dtype.scale)
    if isinstance(dtype, pl.Datetime):
        return _UTC
    if dtype == pl.Null():
        return None
    return LakeType.parse(_NAMES[dtype]) if dtype in _NAMES else ANY


def json_text(value: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    """A column's values as JSON text each, null where there is none: as `_unknown` has them, however wide the type is.

    So a value has one text, whether it is read from a file or has stood in a wider column of its kind before.
    """
    if isinstance(dtype, pl.Decimal):
        value, dtype = decimal_text(value), pl.String()
    elif isinstance(dtype, pl.Datetime):
        value, dtype = exactly(value, dtype, _UTC), dtype_of(_UTC)
    elif dtype == pl.Float32():
        value, dtype = value.cast(pl.Float64), pl.Float64()
    elif dtype == pl.UInt64():
        value, dtype = value.cast(pl.String), pl.String()
    text = json_object({_MEMBER: (value, dtype)})
    return pl.when(value.is_not_null()).then(text.str.strip_prefix(f'{{"{_MEMBER}":').str.strip_suffix("}"))


_MEMBER = "v"
