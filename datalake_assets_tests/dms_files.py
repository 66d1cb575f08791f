"""Files as AWS DMS writes them, made of plain rows."""

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from datalake_assets_tests.frames import arrow_type

Row = Mapping[str, Any]
DMS_COLUMNS = {"Op": "string", "dms_timestamp": "string", "ar_h_change_seq": "string"}


def parquet(rows: Sequence[Row], types: Mapping[str, str | pa.DataType], *, arrow: bool = False) -> bytes:
    """The rows as a Parquet file with the columns that any of them has, in the order they first stand in.

    With `arrow` the file tells Arrow's types too, which Parquet has no types of its own for.
    """
    names = list(dict.fromkeys(name for row in rows for name in row))
    chosen = {n: t if isinstance(t := types[n], pa.DataType) else arrow_type(t) for n in names}
    columns = {n: pa.array([row.get(n) for row in rows], type=t) for n, t in chosen.items()}
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(columns), sink, compression="none", store_schema=arrow)
    return bytes(sink.getvalue())
