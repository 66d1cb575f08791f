"""What AWS DMS writes to S3 of the shop: keys, columns and parquet types of the full load and of the changes.

Belongs here: the shop's tables in that format, which is told in `replicate/dms_format.py`. Which changes go into which
file is decided in `replication.py`.
"""

from collections.abc import Sequence
from datetime import datetime

import pyarrow as pa

from datalake_assets.replicate import dms_format
from datalake_assets.replicate.dms_format import OPERATION, TIME, time_text
from datalake_assets.simulate.tables import Change, Customer, Order

_HEADER = [
    pa.field(OPERATION, pa.string()),
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
            pa.field("created_at", TIME),
            pa.field("updated_at", TIME),
        ]
    ),
    "customers": pa.schema(
        [
            *_HEADER,
            pa.field("id", pa.int64()),
            pa.field("name", pa.string()),
            pa.field("email", pa.string()),
            pa.field("country", pa.string()),
            pa.field("created_at", TIME),
        ]
    ),
}


def load_key(table: str, *, number: int) -> str:
    """Where the full load's n-th file (from 1) lands: at the table's root, counted in 8 hex digits."""
    return f"dms/public/{table}/{dms_format.load_name(number)}"


def change_key(table: str, *, created: datetime) -> str:
    """Where changes land that DMS wrote at this moment: a name to the millisecond, under its hour."""
    return f"dms/public/{table}/{created:%Y/%m/%d/%H}/{dms_format.change_name(created)}"


def change_sequence(change: Change) -> str:
    """`AR_H_CHANGE_SEQ`, 35 digits: YYYYMMDDHHmmSShh and a counter. As text, too, it rises with the log."""
    return dms_format.change_sequence(dms_format.sequence_time(change.committed), change.position)


def load_file(table: str, rows: Sequence[tuple[Order | Customer, datetime]]) -> bytes:
    """A full-load file of rows, each with the time it was transferred.

    `Op` is I (IncludeOpForFullLoad), the change sequence empty as the replication engine leaves it for a
    load.
    """
    return _parquet(table, [("I", time_text(transferred), "", *row) for row, transferred in rows])


def change_file(table: str, changes: Sequence[Change]) -> bytes:
    """Changes in the given order; `dms_timestamp` is the commit time, one for a whole transaction."""
    return _parquet(table, [(c.operation, time_text(c.committed), change_sequence(c), *c.row) for c in changes])


def _parquet(table: str, rows: Sequence[tuple[object, ...]]) -> bytes:
    schema = SCHEMAS[table]
    columns = [pa.array(values, type=field.type) for values, field in zip(zip(*rows, strict=True), schema, strict=True)]
    return dms_format.parquet(pa.table(columns, schema=schema))
