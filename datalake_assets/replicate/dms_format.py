"""The form of what AWS DMS writes to S3: names, the change sequence, times as text, Parquet.

Belongs here: what holds for any table and any producer of such files; the simulator and `datalake replicate` share it.
Source of the rules: https://docs.aws.amazon.com/dms/latest/userguide/CHAP_Target.S3.html, and a real file that DMS
wrote.
"""

from collections.abc import Mapping
from datetime import datetime

import pyarrow as pa
import pyarrow.parquet as pq

OPERATION = "Op"
TIME = pa.timestamp("us", tz="UTC")
"""Timestamps with and without a zone alike."""


def load_name(number: int) -> str:
    """The name of a full load's n-th file (from 1), counted in 8 hex digits."""
    return f"LOAD{number:08X}.parquet"


def change_name(created: datetime) -> str:
    """The name of a file of changes that was created at this moment (UTC), to the millisecond."""
    return f"{created:%Y%m%d-%H%M%S}{created.microsecond // 1000:03d}.parquet"


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
