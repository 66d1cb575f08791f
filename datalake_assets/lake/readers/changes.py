"""How the files that DMS lands are read: Parquet of full loads and changes into typed changes.

A value that can't be had exactly in its declared type sends its row to quarantine; a file that can't be read fails
alone, whatever of it makes a library raise or panic, and the others go on.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime

import narwhals as nw
import polars as pl

from datalake_assets.lake.readers.batch import Batch, Limits, Load
from datalake_assets.lake.readers.change_rules import (
    TIMESTAMP_TYPE,
    event_time,
    faults,
    is_text,
    raw,
    raw_name,
    typed_name,
)
from datalake_assets.lake.readers.columns import content_hash, exactly, has_text
from datalake_assets.lake.readers.dms_files import ParquetPieces, commit_time, order_path
from datalake_assets.lake.readers.failures import UnreadableObjectError, failure_of
from datalake_assets.lake.readers.found_types import json_text, lake_types
from datalake_assets.lake.readers.json_columns import json_object
from datalake_assets.lake.readers.read_ahead import read_ahead
from datalake_assets.lake.readers.rejects import SCHEMA, Reject, as_frame
from datalake_assets.lake.spec.columns import (
    COMMITTED_AT,
    CONTENT_HASH,
    ETL_TIMESTAMP,
    EVENT_DATE,
    EVENT_TIME,
    IS_LOAD,
    LOAD,
    OPERATION,
    PATH,
    ROW_NUMBER,
    SOURCE_FILENAME,
    UNKNOWN,
)
from datalake_assets.lake.spec.dataset import OPERATION_COLUMN, CdcTable
from datalake_assets.lake.spec.drift import news
from datalake_assets.lake.spec.widening import ANY
from datalake_assets.lake.store.dtypes import dtype_of
from datalake_assets.lake.store.landing import LandedObject, is_full_load
from datalake_assets.lake.store.outcome import ObjectOutcome

_PIECES_OF_A_BATCH = 2
_FAULTY = "_faulty"
_TIMESTAMP = pl.Datetime("us", "UTC")


@dataclass(frozen=True, slots=True)
class _Piece:
    """A part of one file, read: its accepted changes.

    `outcome` is what the ledger is told of the file as far as it is read. The last part has the rejects of them all.
    """

    landed: LandedObject
    changes: pl.DataFrame
    outcome: ObjectOutcome
    rejects: Sequence[Reject] = ()
    is_last: bool = True


class ChangeReader:
    """Reads the objects of one CDC table."""

    def __init__(self, dataset: CdcTable, limits: Limits) -> None:
        """Prepare for a dataset; nothing is read."""
        self._dataset = dataset
        self._limits = limits
        self._types = {name: column.lake_type for name, column in dataset.columns.items()}
        self._sequence_columns = [name for name in dataset.order_by if name not in self._types]
        self._no_rows = self._no_changes()

    @property
    def schema(self) -> pl.Schema:
        """The columns of what is accepted."""
        return pl.Schema({**self._no_rows.schema, ETL_TIMESTAMP: _TIMESTAMP})

    def batches(self, load: Load, objects: Iterable[LandedObject]) -> Iterator[Batch]:
        """The objects in batches as large as memory allows, read ahead of their use; a large one is cut."""
        return read_ahead(self._batches(load, objects), depth=1)

    def _batches(self, load: Load, objects: Iterable[LandedObject]) -> Iterator[Batch]:
        pieces: list[_Piece] = []
        size = 0
        for landed in objects:
            for piece in self._pieces(load, landed):
                pieces.append(piece)
                size += int(piece.changes.estimated_size())
                if size >= self._limits.batch_bytes:
                    yield self._batch(pieces)
                    pieces, size = [], 0
        if pieces:
            yield self._batch(pieces)

    def _batch(self, pieces: Sequence[_Piece]) -> Batch:
        now = datetime.now(UTC)
        accepted = pl.concat([piece.changes for piece in pieces], how="vertical").lazy()
        rejected = [
            as_frame(piece.rejects, dataset=self._dataset.name, landed=piece.landed, at=now)
            for piece in pieces
            if piece.rejects
        ]
        whole = [piece for piece in pieces if piece.is_last]
        going_on = {piece.landed.key: piece.outcome for piece in pieces if not piece.is_last}
        return Batch(
            accepted=nw.from_native(accepted.with_columns(pl.lit(now, dtype=_TIMESTAMP).alias(ETL_TIMESTAMP))),
            rejected=pl.concat([SCHEMA.to_frame(), *rejected]),
            outcomes=tuple(piece.outcome for piece in whole),
            bytes_in=sum(p.landed.size for p in whole if p.outcome.state == "processed" or p.outcome.final),
            unfinished=tuple(o for key, o in going_on.items() if key not in {p.landed.key for p in whole}),
        )

    def _pieces(self, load: Load, landed: LandedObject) -> Iterator[_Piece]:
        """A file read part by part, or the reason why it can't be."""
        try:
            limit, size = self._limits.object_bytes, self._limits.batch_bytes // _PIECES_OF_A_BATCH
            file = ParquetPieces(load(landed), limit=limit, piece_bytes=size)
            file.check()
        except BaseException as error:  # noqa: BLE001  (a Rust panic too is the file's; `failure_of` raises others)
            failure = failure_of(error)
            yield _Piece(landed, self._no_rows, failure.outcome(landed), failure.rejects(landed))
            return
        rejects: list[Reject] = []
        so_far = ObjectOutcome(
            key=landed.key, etag=landed.etag, size=landed.size, partition=landed.partition, bytes_read=landed.size
        )
        share = landed.size // file.count
        for number in range(file.count):
            first = number * (file.rows or 0) + 1
            try:
                frame = file.read(number)
                if number == 0 and isinstance(file, ParquetPieces):  # whose columns have names and types
                    columns = news(self._dataset, lake_types(frame.schema))
                    so_far = so_far.model_copy(update={"columns": columns})
                changes, bad = self._evaluated(frame, landed, first=first, size=share)
            except BaseException as error:  # noqa: BLE001  (as above)
                failure = failure_of(error)
                if number == 0 or not failure.final:
                    yield _Piece(landed, self._no_rows, failure.outcome(landed), failure.rejects(landed))
                    return
                reason = f"object: its rows from {first:,} on: {failure.error}"
                changes, bad = self._no_rows, [Reject(first, "", (reason,), size=share)]
            rejects += bad
            so_far = _added(so_far, changes, bad)
            is_last = number == file.count - 1
            yield _Piece(landed, changes, so_far, rejects if is_last else (), is_last)

    def _evaluated(
        self, frame: pl.DataFrame, landed: LandedObject, *, first: int, size: int
    ) -> tuple[pl.DataFrame, list[Reject]]:
        """The accepted changes of some rows of a file, and their rejects; `first` is the number of the first row.

        `size` is how many bytes of the file they are.

        Raises `UnreadableObjectError` where Polars can't evaluate what is in the file.
        """
        if not frame.width:
            return self._no_rows, []
        try:
            changes, rejects = self._changes(frame, landed, first=first, size=size)
        except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
            reason = str(error).partition("\n")[0]
            raise UnreadableObjectError(
                f"its columns can't be evaluated: {reason}; replicate them with another type, or not at all, and land "
                "the object again"
            ) from None
        return changes, rejects

    def _changes(
        self, frame: pl.DataFrame, landed: LandedObject, *, first: int, size: int
    ) -> tuple[pl.DataFrame, list[Reject]]:
        path = landed.key.removeprefix(f"{self._dataset.landing.prefix}/")
        schema, full_load = frame.schema, is_full_load(path)
        read = frame.rename(raw_name).with_columns(
            *(self._column(name, schema).alias(typed_name(name)) for name in self._types),
            self._operation(schema, full_load=full_load).alias(OPERATION),
            self._committed_at(landed, path, schema).alias(COMMITTED_AT),
            self._unknown(schema).alias(UNKNOWN),
            *(self._sequence(name, schema).alias(name) for name in self._sequence_columns),
            pl.int_range(first, pl.len() + first, dtype=pl.Int64).alias(ROW_NUMBER),
            pl.lit(full_load).alias(IS_LOAD),
            pl.lit(order_path(path)).alias(PATH),
            pl.lit(landed.key).alias(SOURCE_FILENAME),
        )
        rules = faults(self._dataset, schema, full_load=full_load)
        judged = read.with_columns(pl.any_horizontal(f.broken.fill_null(value=False) for f in rules).alias(_FAULTY))
        # Only for the rows that break a rule is it worked out what to say.
        reasons = pl.concat_list(pl.when(f.broken).then(f.reason) for f in rules).list.drop_nulls()
        as_landed = json_object({name: (raw(name), dtype) for name, dtype in schema.items()})
        bad = judged.filter(_FAULTY).select(ROW_NUMBER, as_landed.alias("raw"), reasons.alias("reasons"))
        share = size // max(frame.height, 1)
        rejects = [Reject(number, text, tuple(errors), size=share) for number, text, errors in bad.iter_rows()]
        good = judged.filter(~pl.col(_FAULTY)).select(
            *(pl.col(typed_name(name)).alias(name) for name in self._types),
            *(name for name in self._no_rows.columns if name in judged.columns and name not in self._types),
        )
        return self._stamped(good), rejects

    def _stamped(self, good: pl.DataFrame) -> pl.DataFrame:
        """Changes with their event time and date and the hash of their content."""
        hashed = {name: dtype_of(t) for name, t in self._types.items()} | {UNKNOWN: pl.String()}
        with_nulls = [name for name in hashed if good[name].null_count()]
        return good.with_columns(
            content_hash(hashed, with_nulls=with_nulls).alias(CONTENT_HASH), event_time(self._dataset).alias(EVENT_TIME)
        ).with_columns(pl.col(EVENT_TIME).dt.date().alias(EVENT_DATE))

    def _column(self, name: str, schema: pl.Schema) -> pl.Expr:
        """A declared column in its type; one that the file lacks is null (a column removed at the source)."""
        if name not in schema:
            return pl.lit(None, dtype_of(self._types[name]))
        if self._types[name] == ANY and name in self._dataset.added:
            return json_text(raw(name), schema[name])
        return exactly(raw(name), schema[name], self._types[name])

    def _sequence(self, name: str, schema: pl.Schema) -> pl.Expr:
        known = name in schema and has_text(schema[name])
        return raw(name).cast(pl.String) if known else pl.lit(None, pl.String)

    def _operation(self, schema: pl.Schema, *, full_load: bool) -> pl.Expr:
        """`Op`; a missing or NULL one is a load (AWS DMS: IncludeOpForFullLoad=false), as is all of a load file."""
        if full_load or OPERATION_COLUMN not in schema:
            return pl.lit(LOAD)
        if not is_text(schema[OPERATION_COLUMN]):
            return pl.when(raw(OPERATION_COLUMN).is_null()).then(pl.lit(LOAD))
        return raw(OPERATION_COLUMN).cast(pl.String).fill_null(LOAD)

    def _committed_at(self, landed: LandedObject, path: str, schema: pl.Schema) -> pl.Expr:
        """The commit time; where there is none, the time of the file."""
        otherwise = pl.lit(commit_time(path, landed.last_modified), _TIMESTAMP)
        name = self._dataset.timestamp_column
        if name is None or name not in schema:
            return otherwise
        return exactly(raw(name), schema[name], TIMESTAMP_TYPE).fill_null(otherwise)

    def _unknown(self, schema: pl.Schema) -> pl.Expr:
        """The columns that are not declared, as JSON text in the order of their names; null where none has a value."""
        dms = self._dataset.dms_columns
        unknown = {n: (raw(n), schema[n]) for n in sorted(schema) if n not in self._types and n not in dms}
        if not unknown:
            return pl.lit(None, pl.String)
        has_value = pl.any_horizontal(value.is_not_null() for value, _ in unknown.values())
        return pl.when(has_value).then(json_object(unknown))

    def _no_changes(self) -> pl.DataFrame:
        """No rows, with the columns of all that is accepted."""
        lake: dict[str, pl.DataType] = {
            OPERATION: pl.String(),
            COMMITTED_AT: _TIMESTAMP,
            IS_LOAD: pl.Boolean(),
            PATH: pl.String(),
            ROW_NUMBER: pl.Int64(),
            UNKNOWN: pl.String(),
            **{name: pl.String() for name in self._sequence_columns},
            SOURCE_FILENAME: pl.String(),
            CONTENT_HASH: pl.String(),
            EVENT_TIME: _TIMESTAMP,
            EVENT_DATE: pl.Date(),
        }
        return pl.DataFrame(schema={name: dtype_of(t) for name, t in self._types.items()} | lake)


def _added(outcome: ObjectOutcome, changes: pl.DataFrame, rejects: Sequence[Reject]) -> ObjectOutcome:
    """What became of a file, with a further part of it."""
    return outcome.model_copy(
        update={
            "rows_in": outcome.rows_in + changes.height + len(rejects),
            "rows_out": outcome.rows_out + changes.height,
            "rows_rejected": outcome.rows_rejected + len(rejects),
            "bytes_rejected": outcome.bytes_rejected + sum(reject.size for reject in rejects),
            "event_dates": tuple(sorted({*outcome.event_dates, *_days(changes)})),
        }
    )


def _days(changes: pl.DataFrame) -> set[date]:
    """The days that changes count on: their event dates, and those of their commits."""
    committed = changes[COMMITTED_AT].dt.date()
    return {*changes[EVENT_DATE].drop_nulls().unique(), *committed.drop_nulls().unique()}
