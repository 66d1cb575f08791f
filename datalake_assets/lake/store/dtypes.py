"""The Polars dtype of each type that a column of the lake can have."""

import polars as pl

from datalake_assets.lake.spec.types import LakeType

_DTYPES: dict[str, pl.DataType] = {
    "boolean": pl.Boolean(),
    "int8": pl.Int8(),
    "int16": pl.Int16(),
    "int32": pl.Int32(),
    "int64": pl.Int64(),
    "float": pl.Float32(),
    "double": pl.Float64(),
    "string": pl.String(),
    "json": pl.String(),
    "binary": pl.Binary(),
    "date": pl.Date(),
    "timestamp": pl.Datetime("us", "UTC"),
}


def dtype_of(lake_type: LakeType) -> pl.DataType:
    """The Polars dtype of a lake type."""
    if lake_type.name == "decimal":
        return pl.Decimal(lake_type.precision, lake_type.scale)
    return _DTYPES[lake_type.name]


def dtype_of_text(text: str) -> pl.DataType:
    """The Polars dtype of a table's column, such as `int64` or `list<date>`; only the lake's own tables have lists."""
    if text.startswith("list<"):
        return pl.List(dtype_of_text(text.removeprefix("list<").removesuffix(">")))
    return dtype_of(LakeType.parse(text))
