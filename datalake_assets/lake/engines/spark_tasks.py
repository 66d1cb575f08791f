"""What Spark's tasks do: landed objects and tables' files read, and rows written, by the lake's own readers and store.

Belongs here: what runs in another process than the step, and how rows cross between Polars and Spark, by Arrow. Both
keep decimals, times to the microsecond, and dates exactly.
"""

import io
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import narwhals as nw
import polars as pl
import pyarrow as pa
from deltalake.transaction import AddAction

from datalake_assets.lake.engines.base import Frame, Prepare
from datalake_assets.lake.readers.batch import Limits, Load
from datalake_assets.lake.readers.reader import Reader, reader_of
from datalake_assets.lake.spec.dataset import Dataset
from datalake_assets.lake.store.files import write_files
from datalake_assets.lake.store.landing import LandedObject
from datalake_assets.lake.store.outcome import ObjectOutcome
from datalake_assets.lake.store.place import TablePlace

TOLD, REJECTS = "_told", "_rejects"
_BATCH_ROWS, _BATCH_BYTES = 65_536, 64 * 1024**2  # of Arrow, as in the session's settings: a text may be long
ACTION = pa.schema([("action", pa.string())])


def arrow_schema(columns: pl.Schema) -> pa.Schema:
    """Columns as Arrow types that Spark takes: it refuses large lists."""
    fields = columns.to_frame().to_arrow(compat_level=pl.CompatLevel.oldest()).schema
    return pa.schema([(f.name, _small_list(f.type)) for f in fields])


def _small_list(dtype: pa.DataType) -> pa.DataType:
    return pa.list_(pa.string()) if pa.types.is_large_list(dtype) else dtype


def as_arrow(rows: pl.DataFrame) -> pa.Table:
    """Rows as Arrow data that Spark takes."""
    return rows.to_arrow(compat_level=pl.CompatLevel.oldest()).cast(arrow_schema(rows.schema))


def as_polars(rows: pa.Table, columns: pl.Schema | None = None) -> pl.DataFrame:
    """Arrow data that Spark gave as Polars has it, in the columns given where these are known."""
    frame = pl.DataFrame(rows)
    return frame if columns is None else frame.cast(dict(columns))  # type: ignore[arg-type]  # names to dtypes


def as_batches(rows: pl.DataFrame) -> Iterator[pa.RecordBatch]:
    """Rows as Arrow batches."""
    share = _BATCH_BYTES * rows.height // max(int(rows.estimated_size()), 1)
    yield from as_arrow(rows).to_batches(max_chunksize=max(1, min(share, _BATCH_ROWS)))


@dataclass(frozen=True, slots=True)
class ObjectsRead:
    """What became of some objects, whichever tasks read them: the message from tasks to the step."""

    outcomes: tuple[ObjectOutcome, ...]
    unfinished: tuple[ObjectOutcome, ...]
    bytes_in: int
    rejected: pl.DataFrame

    def row(self) -> dict[str, Any]:
        """This as the values of two columns, `TOLD` and `REJECTS`."""
        told = {
            "outcomes": [o.model_dump(mode="json") for o in self.outcomes],
            "unfinished": [o.model_dump(mode="json") for o in self.unfinished],
            "bytes_in": self.bytes_in,
        }
        data = io.BytesIO()
        self.rejected.write_ipc(data, compression="zstd")
        return {TOLD: json.dumps(told), REJECTS: data.getvalue()}

    @classmethod
    def of(cls, rows: Iterable[dict[str, Any]], *, none: pl.DataFrame) -> "ObjectsRead":
        """What some rows tell together; `none` are no rejects."""
        told = [(json.loads(row[TOLD]), pl.read_ipc(io.BytesIO(row[REJECTS]))) for row in rows]
        return cls(
            outcomes=tuple(ObjectOutcome.model_validate(o) for one, _ in told for o in one["outcomes"]),
            unfinished=tuple(ObjectOutcome.model_validate(o) for one, _ in told for o in one["unfinished"]),
            bytes_in=sum(one["bytes_in"] for one, _ in told),
            rejected=pl.concat([none, *(rejected for _, rejected in told)]),
        )


@dataclass(frozen=True, slots=True)
class ReadObjects:
    """Reads some landed objects of a dataset: rows with the accepted records, and rows that tell of the objects."""

    dataset: Dataset
    load: Load
    limits: Limits
    prepare: Prepare

    @property
    def columns(self) -> pl.Schema:
        """The columns of the records, and the two of what is told."""
        return self._columns(self._reader)

    @property
    def _reader(self) -> Reader:
        return reader_of(self.dataset, self.limits)

    def __call__(self, objects: Sequence[LandedObject]) -> Iterator[pa.RecordBatch]:
        """The objects' records, and what became of them."""
        reader = self._reader
        columns = self._columns(reader)
        for batch in reader.batches(self.load, objects):
            records = self._prepared(batch.accepted)
            yield from as_batches(pl.concat([records, columns.to_frame()], how="diagonal").select(columns.names()))
            told = ObjectsRead(batch.outcomes, batch.unfinished, batch.bytes_in, batch.rejected).row()
            yield from as_batches(pl.DataFrame([told], schema=columns))

    def _columns(self, reader: Reader) -> pl.Schema:
        told = {TOLD: pl.String(), REJECTS: pl.Binary()}
        return pl.Schema(dict(self._prepared(nw.from_native(reader.schema.to_frame().lazy())).schema) | told)

    def _prepared(self, records: Frame) -> pl.DataFrame:
        prepared: pl.LazyFrame = self.prepare(records).to_native()
        return prepared.collect()


@dataclass(frozen=True, slots=True)
class WriteRows:
    """Writes the rows of a task as files of a table, and tells the actions that would enter them in its log."""

    table: TablePlace

    def __call__(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Write what a task was given."""
        held = list(batches)
        if held:
            rows = as_polars(pa.Table.from_batches(held), self.table.dtypes)
            yield from told_actions(write_files(rows, self.table.uri, self.table.spec))


def told_actions(actions: Sequence[AddAction]) -> Iterator[pa.RecordBatch]:
    """Actions as a task tells them; `action_of` reads each."""
    yield from pa.table({"action": [_text(a) for a in actions]}, schema=ACTION).to_batches()


def _text(action: AddAction) -> str:
    names = ("path", "size", "partition_values", "modification_time", "data_change", "stats")
    return json.dumps({name: getattr(action, name) for name in names})


def action_of(text: str) -> AddAction:
    """An action that a task told."""
    return AddAction(**json.loads(text))
