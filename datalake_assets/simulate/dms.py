"""What AWS DMS writes to S3: names, columns and parquet types of the full load and of the changes.

Belongs here: the format. Which changes go into which file is decided in `replication.py`. Source of the
rules: https://docs.aws.amazon.com/dms/latest/userguide/CHAP_Target.S3.html, and a real file written by DMS.
"""

from collections.abc import Sequence
from datetime import datetime

import pyarrow as pa
import pyarrow.parquet as pq

from datalake_assets.simulate.tables import Change, Customer, Order

_TIME = pa.timestamp("us", tz="UTC")
_HEADER = [
    pa.field("Op", pa.string()),
    pa.field("dms_timestamp", pa.string(), nullable=False),
    pa.field("ar_h_change_seq", pa.string()),
]
SCHEMAS = {
    "orders": pa.schema(
        [
            *_HEADER,
            pa.field("id", pa.int64()),
            pa.field("customer_id", pa.int64()),
            pa.field("product_name", pa.string()),
            pa.field("price", pa.decimal128(10, 2)),
            pa.field("status", pa.string()),
            pa.field("created_at", _TIME),
            pa.field("updated_at", _TIME),
        ]
    ),
    "customers": pa.schema(
        [
            *_HEADER,
            pa.field("id", pa.int64()),
            pa.field("name", pa.string()),
            pa.field("email", pa.string()),
            pa.field("country", pa.string()),
            pa.field("created_at", _TIME),
        ]
    ),
}


def load_key(table: str, *, number: int) -> str:
    """Where the full load's n-th file (from 1) lands: at the table's root, counted in 8 hex digits."""
    return f"dms/public/{table}/LOAD{number:08X}.parquet"


def change_key(table: str, *, created: datetime) -> str:
    """Where changes land that DMS wrote at this moment: a name to the millisecond, under its hour."""
    return f"dms/public/{table}/{created:%Y/%m/%d/%H/%Y%m%d-%H%M%S}{created.microsecond // 1000:03d}.parquet"


def change_sequence(change: Change) -> str:
    """`AR_H_CHANGE_SEQ`, 35 digits: YYYYMMDDHHmmSShh and a counter. As text, too, it rises with the log."""
    return f"{change.committed:%Y%m%d%H%M%S}{change.committed.microsecond // 10_000:02d}{change.position:019d}"


def load_file(table: str, rows: Sequence[tuple[Order | Customer, datetime]]) -> bytes:
    """A full-load file of rows, each with the time it was transferred.

    `Op` is I (IncludeOpForFullLoad), the change sequence empty as the replication engine leaves it for a
    load.
    """
    return _parquet(table, [("I", _text(transferred), "", *row) for row, transferred in rows])


def change_file(table: str, changes: Sequence[Change]) -> bytes:
    """Changes in the given order; `dms_timestamp` is the commit time, one for a whole transaction."""
    return _parquet(table, [(c.operation, _text(c.committed), change_sequence(c), *c.row) for c in changes])


def _text(moment: datetime) -> str:
    """`yyyy-MM-dd HH:mm:ss.SSSSSS` (UTC), as TimestampColumnName is written: a string, not a timestamp."""
    return f"{moment:%Y-%m-%d %H:%M:%S.%f}"


def _parquet(table: str, rows: Sequence[tuple[object, ...]]) -> bytes:
    """Parquet as DMS writes it by default: no compression, no dictionary, no Arrow schema in the footer."""
    schema = SCHEMAS[table]
    columns = [pa.array(values, type=field.type) for values, field in zip(zip(*rows, strict=True), schema, strict=True)]
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(columns, schema=schema), sink, compression="none", use_dictionary=False, store_schema=False)
    return bytes(sink.getvalue())
