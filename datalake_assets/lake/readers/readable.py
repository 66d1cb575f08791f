"""The last net under dataset files: whether a dataset's objects can be read and its rows be written at all.

Belongs here: one simple object, read the way all are. The rules that a file can be told about are in `spec/`.
"""

import io
import json
from datetime import UTC, datetime
from typing import Any

import polars as pl
from deltalake import Schema

from datalake_assets.lake.readers.batch import Limits
from datalake_assets.lake.readers.changes import ChangeReader
from datalake_assets.lake.readers.events import EventReader
from datalake_assets.lake.spec.dataset import CdcTable, Dataset, EventStream
from datalake_assets.lake.spec.fault import FaultError
from datalake_assets.lake.spec.types import json_property_types
from datalake_assets.lake.store.dtypes import dtype_of
from datalake_assets.lake.store.landing import LandedObject, partition_key

_LANDED_AT = datetime(2026, 1, 1, tzinfo=UTC)
_VALUES: dict[str, Any] = {
    "string": "2026-01-01T00:00:00Z",
    "integer": 1,
    "number": 1.5,
    "boolean": True,
    "object": {"a": [None]},
    "array": [{}],
}


def check_readable(dataset: Dataset) -> None:
    """Read one simple object under a dataset, and hold its columns against Delta.

    Takes some milliseconds; nothing of the lake is touched. Raises `FaultError` when a reader can't be built for the
    dataset, or can't do its work.
    """
    try:
        _read(dataset)
    except FaultError:  # of a rule, which says itself what is wrong with it
        raise
    # Whatever a library raises over a file that the rules let pass is a fault of that file; Polars' panics are no
    # `Exception`.
    except (Exception, pl.exceptions.PanicException) as error:
        reason = f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
        at = ("schema",) if isinstance(dataset, EventStream) else ("columns",)
        raise FaultError(f"no reader can be made of this ({reason}); write it plainer", at=at) from error


def _read(dataset: Dataset) -> None:
    body = _events(dataset) if isinstance(dataset, EventStream) else _changes(dataset)
    landed = LandedObject(
        key=f"{dataset.landing.prefix}/object",
        etag="1",
        size=len(body),
        last_modified=_LANDED_AT,
        partition=partition_key(dataset, _LANDED_AT),
    )
    reader = EventReader if isinstance(dataset, EventStream) else ChangeReader
    for batch in reader(dataset, Limits()).batches(lambda _: body, [landed]):  # type: ignore[arg-type]  # by its kind
        for outcome in batch.outcomes:
            if outcome.error is not None:  # a reader notes its own faults as the object's
                raise ValueError(outcome.error)
        rows: pl.DataFrame = batch.accepted.to_native().collect()
        Schema.from_arrow(rows.schema)


def _events(dataset: EventStream) -> bytes:
    """Three records: one with a value in every field, one without any, and one with a value of another type in all."""
    properties = dataset.record_schema["properties"].items()
    types = {name: sorted(json_property_types(rule) - {"null"}) or ["integer"] for name, rule in properties}
    full = {name: _VALUES[found[0]] for name, found in types.items()}
    odd = {name: _VALUES["array" if "string" in found else "string"] for name, found in types.items()}
    return b"\n".join(json.dumps(record).encode() for record in (full, {}, odd))


def _changes(dataset: CdcTable) -> bytes:
    """A Parquet file with one change: every column in its declared type, without values."""
    columns = {name: dtype_of(column.lake_type) for name, column in dataset.columns.items()}
    others = [*dataset.order_by, *([dataset.timestamp_column] if dataset.timestamp_column else [])]
    schema = {"Op": pl.String()} | columns | {name: pl.String() for name in others if name not in columns}
    file = io.BytesIO()
    pl.DataFrame({name: [None] for name in schema}, schema).write_parquet(file)
    return file.getvalue()
