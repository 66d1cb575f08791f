"""Columns of a Parquet file as JSON text, whatever their types: what is not declared, and rows that are rejected.

Polars' own JSON writer panics on bytes at any depth and makes null of a number that is not finite, so that a NaN could
not be told from a missing value.
"""

from collections.abc import Mapping
from itertools import groupby
from typing import Any

import polars as pl

from datalake_assets.lake.readers.columns import TIME_OF_DAY

Columns = Mapping[str, tuple[pl.Expr, pl.DataType]]
"""Columns and their types by the names that the object's members get."""


def json_object(columns: Columns) -> pl.Expr:
    """A JSON object for each row, of these columns in their order.

    Bytes stand as hex, decimals, times and durations as text, maps as lists of their entries, and a number that is not
    finite as the text `NaN`, `inf` or `-inf` (inside of lists and structs as null).
    """
    members = [
        _number(name, columns[name][0]) if name is not None else _members(dict(group))
        for name, group in groupby(columns.items(), key=lambda item: item[0] if item[1][1].is_float() else None)
    ]
    return pl.concat_str(pl.lit("{"), pl.concat_str(members, separator=","), pl.lit("}"))


def _members(columns: Columns) -> pl.Expr:
    fields = [_plain(value, dtype).alias(name) for name, (value, dtype) in columns.items()]
    return pl.struct(fields).struct.json_encode().str.strip_prefix("{").str.strip_suffix("}")


def _number(name: str, value: pl.Expr) -> pl.Expr:
    finite, text = (_members({name: one}) for one in ((value, pl.Float64()), (value.cast(pl.String), pl.String())))
    return pl.when(value.is_finite().fill_null(value=True)).then(finite).otherwise(text)


def _plain(value: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    """A value in a form that Polars' JSON writer knows."""
    plain = value
    match dtype:
        case pl.Binary():
            plain = value.bin.encode("hex")
        case pl.Time():
            plain = value.dt.strftime(TIME_OF_DAY)
        case pl.Duration():
            plain = value.dt.to_string("iso")
        case pl.List():
            plain = value.list.eval(_plain(pl.element(), _whole(dtype.inner)))
        case pl.Array():
            plain = _plain(value.arr.to_list(), pl.List(dtype.inner))
        case pl.Map():
            entries = pl.List(pl.Struct({"key": dtype.key, "value": dtype.value}))
            plain = _plain(value.cast(entries), entries)
        case pl.Struct():
            inner = [_plain(value.struct.field(f.name), _whole(f.dtype)).alias(f.name) for f in dtype.fields]
            plain = pl.when(value.is_not_null()).then(pl.struct(inner))
        case pl.BaseExtension():
            plain = _plain(value.ext.storage(), _whole(dtype.ext_storage()))
        case _ if dtype.is_temporal() or dtype.is_decimal() or isinstance(dtype, pl.Categorical | pl.Enum):
            plain = value.cast(pl.String)
    return plain


def _whole(dtype: Any) -> pl.DataType:
    """The type of what stands inside, which Polars may also tell by its class alone."""
    whole: pl.DataType = dtype if isinstance(dtype, pl.DataType) else dtype()
    return whole
