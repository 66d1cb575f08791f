"""Events that Firehose converted to Parquet, as the JSON lines that they are taken for.

Firehose reads JSON by the columns of a Glue table: a field that a record lacks is NULL there, and the names of columns
are in small letters. So a NULL is no field here, and a column has the name that the contract gives it, be it in other
letters. The text of a row is made of its columns in their order: the hash of a record is that of this text.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
import polars as pl

from datalake_assets.lake.readers.failures import TooMuchTextError
from datalake_assets.lake.readers.parquet_pieces import ParquetPieces

_PIECE_BYTES = 16 * 1024**2
_ENCODER = msgspec.json.Encoder(decimal_format="number")
_TIME = "%Y-%m-%dT%H:%M:%S%.f"


def json_lines(data: bytes, *, names: Sequence[str], limit: int) -> bytes:
    """A Parquet file's rows as lines of JSON; `names` are the fields of the contract.

    Times are ISO 8601 in UTC (those without a zone are taken for UTC), decimals are numbers with all their digits,
    bytes are base64. Raises `UnreadableObjectError` for a damaged file, and for more than `limit` bytes.
    """
    file = ParquetPieces(data, limit=limit, piece_bytes=_PIECE_BYTES, by_arrow=True)
    lines = bytearray()
    for number in range(file.count):
        rows = file.read(number).frame
        rows = rows.rename(_declared(rows.columns, names))
        for row in rows.with_columns(_times_as_text(rows.schema)).iter_rows(named=True):
            lines += _ENCODER.encode(_without_nulls(row)) + b"\n"
        if len(lines) > limit:
            raise TooMuchTextError(limit)
    return bytes(lines)


def _declared(columns: Sequence[str], names: Sequence[str]) -> dict[str, str]:
    """The names that the contract gives to columns, where they only differ in capital letters."""
    by_small = {name.lower(): name for name in names}
    return {c: by_small[c] for c in columns if c not in names and c in by_small and by_small[c] not in columns}


def _times_as_text(schema: pl.Schema) -> Iterator[pl.Expr]:
    """Times with all their digits and years, of which Python's have microseconds of the years 1 to 9999."""
    for name, dtype in schema.items():
        if isinstance(dtype, pl.Datetime):
            moment = pl.col(name).dt.convert_time_zone("UTC") if dtype.time_zone else pl.col(name)
            yield moment.dt.to_string(f"{_TIME}Z")
        elif dtype == pl.Date:
            yield pl.col(name).dt.to_string()


def _without_nulls(value: Any) -> Any:
    """A value without the fields of objects that are null; in lists these have their places."""
    if isinstance(value, dict):
        return {name: _without_nulls(inner) for name, inner in value.items() if inner is not None}
    if isinstance(value, list):
        return [_without_nulls(item) for item in value]
    return value
