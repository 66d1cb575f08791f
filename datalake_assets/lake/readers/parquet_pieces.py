"""Landed Parquet: the bytes of a file as columns, in pieces.

Belongs here: one file, as it is. What its rows mean under a dataset's declaration is told by `changes.py` and
`event_text.py`.
"""

import io
import json
from typing import TYPE_CHECKING

import polars as pl

from datalake_assets.lake.readers.failures import UnreadableObjectError
from datalake_assets.lake.readers.file_rows import FileRows
from datalake_assets.lake.store.full_loads import LOAD_METADATA

if TYPE_CHECKING:
    from pyarrow.parquet import FileMetaData

_BYTES_OF_A_VALUE = {"BOOLEAN": 1, "INT32": 4, "FLOAT": 4, "INT64": 8, "DOUBLE": 8, "INT96": 12}
_BYTES_OF_A_LENGTH = 4
# The microseconds whose nanoseconds fit 64 bits.
_FIRST_NANOSECOND, _LAST_NANOSECOND = -(2**63) // 1_000 + 1, (2**63 - 1) // 1_000
_CHECKED_ROWS = 65_536  # at a time
_FEWEST_ROWS = 10_000  # of a piece; DMS's own row groups have as many


class ParquetPieces:
    """A Parquet file, cut into pieces of about so many bytes: the same ones whenever it is read."""

    def __init__(self, data: bytes, *, limit: int, piece_bytes: int, by_arrow: bool = False) -> None:
        """Look at the file's footer.

        With `by_arrow` it is not to be checked: Polars ends the process over some damaged files, Arrow tells of them.

        Raises `UnreadableObjectError` for nothing at all, and for a file whose columns take more than `limit` bytes
        when they are decoded.
        """
        size = _checked_size(data, limit=limit)
        known = _metadata(data)
        metadata = known if size > piece_bytes else None
        rows = int(metadata.num_rows) if metadata is not None else 0
        self._data = data
        self.ends_load = _ends_load(known)
        """Whether the file says that it is the last of a full load; None where it says nothing."""
        self.rows = max(_FEWEST_ROWS, rows * piece_bytes // size) if rows else None
        """How many rows a piece has; None where the file is not cut."""
        self.count = -(-rows // self.rows) if self.rows else 1
        self._uses_arrow = by_arrow
        self._has_int96 = known is not None and "INT96" in _physical_types(known)

    def check(self) -> None:
        """Have Arrow decode all of the file: a damaged one is not to be found out when half of it is written.

        Nor by Polars, which has a process end over some of them, where nobody can catch anything.
        Raises `UnreadableObjectError`.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            for _ in pq.ParquetFile(io.BytesIO(self._data)).iter_batches(_CHECKED_ROWS, use_threads=False):
                pass
        except (pa.ArrowException, OSError, ValueError) as error:
            raise _unreadable(error) from None

    def first(self, number: int) -> int:
        """The number of the first row of a piece; rows are counted from 1."""
        return number * (self.rows or 0) + 1

    def read(self, number: int) -> FileRows:
        """A piece by its number from 0: dictionaries as text and extension types as what they are stored as.

        Raises `UnreadableObjectError` for bytes that are no Parquet file, or not all of one.
        """
        try:
            file = io.BytesIO(self._data)
            if self._has_int96:
                frame = self._int96(number)
            elif self._uses_arrow:
                frame = self._by_arrow(number, unit="us")
            elif self.rows is None:
                frame = pl.read_parquet(file)
            else:
                frame = pl.scan_parquet(file).slice(number * self.rows, self.rows).collect()
            return FileRows(_plain(frame), self.first(number))
        except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
            raise _unreadable(error) from None

    def _int96(self, number: int) -> pl.DataFrame:
        """A piece of a file with times of 96 bits, which Polars would cut off at the years 1677 and 2262.

        They are in microseconds, but for columns that have more than that.
        Raises `UnreadableObjectError`.
        """
        frame = self._by_arrow(number, unit="us")
        as_nanoseconds = self._by_arrow(number, unit="ns")
        for name, dtype in frame.schema.items():
            if dtype == as_nanoseconds.schema[name] or not isinstance(dtype, pl.Datetime):
                continue
            ticks = frame[name].to_physical()
            lost = as_nanoseconds[name].to_physical() - ticks * 1_000  # both wrap around beyond these years alike
            if not (lost == 0).all():
                if not ticks.is_between(_FIRST_NANOSECOND, _LAST_NANOSECOND).all():
                    raise UnreadableObjectError(
                        f"{name} holds times of nanoseconds beside times before 1678 or after 2261; replicate it in "
                        "microseconds, and land the object again"
                    )
                frame = frame.with_columns(as_nanoseconds[name])
        return frame

    def _by_arrow(self, number: int, *, unit: str) -> pl.DataFrame:
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            file = pq.ParquetFile(io.BytesIO(self._data), coerce_int96_timestamp_unit=unit)
            if self.rows is None:
                return pl.DataFrame(file.read(use_threads=False))
            begin, end, row = number * self.rows, (number + 1) * self.rows, 0
            groups, skipped = [], 0
            for group in range(file.num_row_groups):
                rows = file.metadata.row_group(group).num_rows
                if row < end and row + rows > begin:
                    groups.append(group)
                elif row < begin:
                    skipped += rows
                row += rows
            return pl.DataFrame(file.read_row_groups(groups, use_threads=False)).slice(begin - skipped, self.rows)
        except (pa.ArrowException, OSError, ValueError) as error:
            raise _unreadable(error) from None


def _unreadable(error: BaseException) -> UnreadableObjectError:
    reason = str(error).partition("\n")[0]
    return UnreadableObjectError(f"not readable as Parquet: {reason}; land the object again")


def _plain(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.with_columns(
        pl.col(name).ext.storage() if dtype.is_extension() else pl.col(name).cast(pl.String)
        for name, dtype in frame.schema.items()
        if dtype.is_extension() or isinstance(dtype, pl.Categorical | pl.Enum)
    )


def _checked_size(data: bytes, *, limit: int) -> int:
    """About how many bytes a file's columns take when they are decoded."""
    if not data:
        raise UnreadableObjectError("the object is empty, it has 0 bytes; land it again")
    size = _decoded_size(data)
    if size > limit:
        raise UnreadableObjectError(
            f"unpacks to more than {limit:,} bytes (about {size:,}); land it in smaller files (DMS: MaxFileSize), or "
            "raise the limit of bytes per object (DATALAKE_OBJECT_BYTES) and run `datalake rebuild` of its dataset"
        )
    return size


def _decoded_size(data: bytes) -> int:
    """How many bytes the columns take at least when they are decoded; 0 where the file does not tell.

    The sizes in the file are those before dictionaries and runs are written out, so rows are counted too.
    """
    metadata = _metadata(data)
    if metadata is None:
        return 0
    told = sum(metadata.row_group(n).total_byte_size for n in range(metadata.num_row_groups))
    width = sum(_BYTES_OF_A_VALUE.get(name, _BYTES_OF_A_LENGTH) for name in _physical_types(metadata))
    return max(int(told), int(metadata.num_rows) * width)


def _physical_types(metadata: "FileMetaData") -> list[str]:
    return [str(metadata.schema.column(n).physical_type) for n in range(metadata.num_columns)]


def _ends_load(metadata: "FileMetaData | None") -> bool | None:
    told = (metadata.metadata or {}).get(LOAD_METADATA.encode()) if metadata is not None else None
    if told is None:
        return None
    try:
        last = json.loads(told).get("last")
    except (ValueError, AttributeError):  # not of ours
        return None
    return last if isinstance(last, bool) else None


def _metadata(data: bytes) -> "FileMetaData | None":
    """What a file's footer tells; None where it can't be read."""
    import pyarrow as pa  # here, as every process loads this module and few read a file
    import pyarrow.parquet as pq

    try:
        return pq.read_metadata(io.BytesIO(data))
    except (pa.ArrowException, OSError, ValueError):
        return None
