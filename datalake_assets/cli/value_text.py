"""Values of a table as text, made by Polars: Python has no date before the year 1, and DMS sends 4713 BC.

Belongs here: a frame in, text out. How it is laid out is in `console.py`.
"""

import polars as pl
from polars.datatypes import DataTypeClass

_FIELD = "v"


def as_text(frame: pl.DataFrame) -> pl.DataFrame:
    """The frame with every column as text: times in ISO 8601, bytes in hex, lists and structs as JSON; NULL stays."""
    return frame.select(_text(pl.col(name), dtype).alias(name) for name, dtype in _columns(frame))


def as_json(frame: pl.DataFrame) -> str:
    """The rows as a JSON list of objects: decimals as text, as a number of JSON would lose digits; bytes in hex."""
    return frame.select(
        (pl.col(name).cast(pl.String) if dtype.is_decimal() else _without_bytes(pl.col(name), dtype)).alias(name)
        for name, dtype in _columns(frame)
    ).write_json()


def _columns(frame: pl.DataFrame) -> list[tuple[str, pl.DataType]]:
    return list(frame.schema.items())


def _text(value: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    if dtype == pl.Binary:
        return value.bin.encode("hex")
    if not dtype.is_nested() and not dtype.is_temporal():
        return value.cast(pl.String)
    json = pl.struct(_without_bytes(value, dtype).alias(_FIELD)).struct.json_encode()
    text = json.str.strip_prefix(f'{{"{_FIELD}":').str.strip_suffix("}")
    return pl.when(value.is_not_null()).then(text if dtype.is_nested() else text.str.strip_chars('"'))


def _without_bytes(value: pl.Expr, dtype: pl.DataType | DataTypeClass) -> pl.Expr:
    """A value in which bytes are hex, however deep: Polars has no JSON of them."""
    if dtype == pl.Binary:
        return value.bin.encode("hex")
    if isinstance(dtype, pl.List) and "Binary" in str(dtype):
        return value.list.eval(_without_bytes(pl.element(), dtype.inner))
    if isinstance(dtype, pl.Struct) and "Binary" in str(dtype):
        fields = [_without_bytes(value.struct.field(f.name), f.dtype).alias(f.name) for f in dtype.fields]
        return pl.when(value.is_not_null()).then(pl.struct(fields))
    return value
