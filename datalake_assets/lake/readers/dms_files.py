"""The files that AWS DMS lands: their bytes as columns, and what their names tell.

Belongs here: one file, as it is. What its rows mean under a dataset's declaration is in `changes.py`.
"""

import io
from datetime import datetime

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from datalake_assets.lake.readers.failures import UnreadableObjectError
from datalake_assets.lake.store.key_times import FIRST, named_time
from datalake_assets.lake.store.landing import landing_time

_BYTES_OF_A_VALUE = {"BOOLEAN": 1, "INT32": 4, "FLOAT": 4, "INT64": 8, "DOUBLE": 8, "INT96": 12}
_BYTES_OF_A_LENGTH = 4


def open_parquet(data: bytes, *, limit: int) -> pl.DataFrame:
    """A Parquet file read, its dictionaries as text and its extension types as what they are stored as.

    Raises `UnreadableObjectError` for bytes that are no Parquet file, or not all of one, and for a file whose columns
    take more than `limit` bytes when they are decoded.
    """
    if not data:
        raise UnreadableObjectError("the object is empty, it has 0 bytes; land it again")
    size = _decoded_size(data)
    if size > limit:
        raise UnreadableObjectError(
            f"unpacks to more than {limit:,} bytes (about {size:,}); land it in smaller files (DMS: MaxFileSize), or "
            "raise the limit of bytes per object and process it again"
        )
    try:
        frame = pl.read_parquet(io.BytesIO(data))
        return frame.with_columns(
            pl.col(name).ext.storage() if dtype.is_extension() else pl.col(name).cast(pl.String)
            for name, dtype in frame.schema.items()
            if dtype.is_extension() or isinstance(dtype, pl.Categorical | pl.Enum)
        )
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        reason = str(error).partition("\n")[0]
        raise UnreadableObjectError(f"not readable as Parquet: {reason}; land the object again") from None


def commit_time(path: str, last_modified: datetime) -> datetime:
    """The commit time of rows that tell none: that of their file, whatever folder it lies in."""
    return named_time(path) or landing_time(path, last_modified)


def order_path(path: str) -> str:
    """A file's place among the files of its table, as text that sorts: its time first, then its path."""
    moment = named_time(path) or landing_time(path, FIRST)
    return f"{moment:%Y%m%d%H%M%S%f}/{path}"


def _decoded_size(data: bytes) -> int:
    """How many bytes the columns take at least when they are decoded; 0 where the file does not tell.

    The sizes in the file are those before dictionaries and runs are written out, so rows are counted too.
    """
    try:
        metadata = pq.read_metadata(io.BytesIO(data))
    except (pa.ArrowException, OSError, ValueError):
        return 0
    told = sum(metadata.row_group(n).total_byte_size for n in range(metadata.num_row_groups))
    types = (metadata.schema.column(n).physical_type for n in range(metadata.num_columns))
    width = sum(_BYTES_OF_A_VALUE.get(name, _BYTES_OF_A_LENGTH) for name in types)
    return max(int(told), int(metadata.num_rows) * width)
