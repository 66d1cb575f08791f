"""The form of what AWS DMS writes to S3: names, the change sequence, times as text, Parquet and CSV.

Belongs here: what holds for any table and any producer of such files; the simulator and `datalake replicate` share it.
Source of the rules: https://docs.aws.amazon.com/dms/latest/userguide/CHAP_Target.S3.html, and a real file that DMS
wrote.
"""

from collections.abc import Mapping
from datetime import datetime

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

OPERATION = "Op"
TIME = pa.timestamp("us", tz="UTC")
"""Timestamps with and without a zone alike."""


def load_name(number: int, *, extension: str = "parquet") -> str:
    """The name of a full load's n-th file (from 1), counted in 8 hex digits."""
    return f"LOAD{number:08X}.{extension}"


def change_name(created: datetime, *, extension: str = "parquet") -> str:
    """The name of a file of changes that was created at this moment (UTC), to the millisecond."""
    return f"{created:%Y%m%d-%H%M%S}{created.microsecond // 1000:03d}.{extension}"


def time_text(moment: datetime) -> str:
    """`yyyy-MM-dd HH:mm:ss.SSSSSS` (UTC), as TimestampColumnName is written: a string, not a timestamp."""
    return f"{moment:%Y-%m-%d %H:%M:%S.%f}"


def sequence_time(moment: datetime) -> str:
    """The first 16 digits of `AR_H_CHANGE_SEQ`: YYYYMMDDHHmmSShh."""
    return f"{moment:%Y%m%d%H%M%S}{moment.microsecond // 10_000:02d}"


def change_sequence(time: str, counter: int) -> str:
    """`AR_H_CHANGE_SEQ`, 35 digits: a time as `sequence_time` writes it, and a counter. It sorts as text, too."""
    return f"{time}{counter:019d}"


def parquet(table: pa.Table, *, metadata: Mapping[str, str] | None = None) -> bytes:
    """Parquet as DMS writes it by default: no compression, no dictionary, no Arrow schema in the footer.

    `metadata` is put into the footer.
    """
    sink = pa.BufferOutputStream()
    with pq.ParquetWriter(sink, table.schema, compression="none", use_dictionary=False, store_schema=False) as writer:
        writer.write_table(table)
        if metadata:
            writer.add_key_value_metadata(dict(metadata))
    return bytes(sink.getvalue())


def csv(table: pa.Table) -> bytes:
    """CSV without a header: text in quotes, NULL as nothing, times as `time_text` writes them, bytes in hex."""
    from pyarrow import csv as arrow_csv

    columns = [_as_text(column) for column in table.columns]
    sink = pa.BufferOutputStream()
    options = arrow_csv.WriteOptions(include_header=False, quoting_style="needed")
    arrow_csv.write_csv(pa.table(columns, names=table.column_names), sink, options)
    return bytes(sink.getvalue())


def _as_text(column: pa.ChunkedArray) -> pa.ChunkedArray | pa.Array:
    if column.type == TIME:
        return pc.strftime(column, "%Y-%m-%d %H:%M:%S")
    if column.type == pa.binary():
        return pa.array([None if value is None else value.hex() for value in column.to_pylist()], pa.string())
    return column
