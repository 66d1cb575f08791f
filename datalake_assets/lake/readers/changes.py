"""How the files that DMS lands are read: Parquet and CSV of full loads and changes into typed changes.

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
    before_image,
    event_time,
    faults,
    is_text,
    key_before,
    moves,
    order_number,
    raw,
    raw_name,
    typed_name,
)
from datalake_assets.lake.readers.columns import content_hash, exactly
from datalake_assets.lake.readers.dms_files import ParquetPieces, commit_time, file_time
from datalake_assets.lake.readers.dms_pieces import pieces_of
from datalake_assets.lake.readers.failures import UnreadableObjectError, failure_of
from datalake_assets.lake.readers.found_types import json_text, lake_types
from datalake_assets.lake.readers.json_columns import json_object
from datalake_assets.lake.readers.read_ahead import read_ahead
from datalake_assets.lake.readers.rejects import SCHEMA, Reject, as_frame
from datalake_assets.lake.readers.sequence import SEQUENCE_DTYPE
from datalake_assets.lake.spec.columns import (
    COMMITTED_AT,
    CONTENT_HASH,
    DELETE,
    ETL_TIMESTAMP,
    EVENT_DATE,
    EVENT_TIME,
    FILE_TIME,
    INSERT,
    IS_CHANGE,
    LEFT_OUT,
    LOAD,
    OPERATION,
    ROW_NUMBER,
    SOURCE_FILENAME,
    UNKNOWN,
    UPDATE,
)
from datalake_assets.lake.spec.dataset import OPERATION_COLUMN, CdcTable
from datalake_assets.lake.spec.drift import news
from datalake_assets.lake.spec.widening import ANY
from datalake_assets.lake.store.dtypes import dtype_of
from datalake_assets.lake.store.landing import LandedObject, is_full_load
from datalake_assets.lake.store.outcome import ObjectOutcome

_FAULTY = "_faulty"
_SHOWN = 500
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
            file = pieces_of(landed, load(landed), self._dataset, self._limits)
            file.check()
        except BaseException as error:  # noqa: BLE001  (a Rust panic too is the file's; `failure_of` raises others)
            failure = failure_of(error)
            yield _Piece(landed, self._no_rows, failure.outcome(landed), failure.rejects(landed))
            return
        rejects: list[Reject] = []
        so_far = ObjectOutcome(
            key=landed.key,
            etag=landed.etag,
            size=landed.size,
            partition=landed.partition,
            bytes_read=landed.size,
            ends_load=file.ends_load if is_full_load(landed.key) else None,
        )
        share = landed.size // file.count
        for number in range(file.count):
            first = file.first(number)
            try:
                rows = file.read(number)
                if number == 0 and isinstance(file, ParquetPieces):  # whose columns have names and types
                    columns = news(self._dataset, lake_types(rows.frame.schema))
                    so_far = so_far.model_copy(update={"columns": columns})
                loaded_at = self._loaded_at(rows.frame, landed)
                changes, bad = rows.placed(*self._evaluated(rows.frame, landed, first=first, size=share))
            except BaseException as error:  # noqa: BLE001  (as above)
                failure = failure_of(error)
                if number == 0 or not failure.final:
                    yield _Piece(landed, self._no_rows, failure.outcome(landed), failure.rejects(landed))
                    return
                reason = f"object: its rows from {first:,} on: {failure.error}"
                loaded_at, changes, bad = None, self._no_rows, [Reject(first, "", (reason,), size=share)]
            rejects += bad
            so_far = _added(so_far, changes, bad, loaded_at)
            is_last = number == file.count - 1
            yield _Piece(landed, changes, so_far, rejects if is_last else (), is_last)

    def _loaded_at(self, frame: pl.DataFrame, landed: LandedObject) -> datetime | None:
        """When the first rows of a full load were transferred; None for changes, and where no column tells it."""
        name = self._dataset.timestamp_column
        if name is None or name not in frame.columns or not is_full_load(landed.key):
            return None
        moment: datetime | None = frame.select(exactly(pl.col(name), frame.schema[name], TIMESTAMP_TYPE).min()).item()
        return moment

    def _evaluated(
        self, frame: pl.DataFrame, landed: LandedObject, *, first: int, size: int
    ) -> tuple[pl.DataFrame, list[Reject]]:
        """The accepted changes of some rows of a file, and their rejects; `first` is the number of the first row.

        `size` is how many bytes of the file they are.

        Raises `UnreadableObjectError` where Polars can't evaluate what is in the file.
        """
        if not frame.width:
            return self._no_rows, []
        if lacking := [name for name in self._dataset.key if name not in frame.columns]:
            found = ", ".join(frame.columns)[:_SHOWN]
            raise UnreadableObjectError(
                f"its columns are not those of the table: it has no {', '.join(lacking)}, which is the key, but "
                f"{found}; land it under its own table's prefix, or mend the dataset file"
            )
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
            *self._sequences(schema, full_load=full_load),
            pl.int_range(first, pl.len() + first, dtype=pl.Int64).alias(ROW_NUMBER),
            pl.lit(not full_load).alias(IS_CHANGE),
            pl.lit(file_time(path), _TIMESTAMP).alias(FILE_TIME),
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
        accepted = judged.filter(~pl.col(_FAULTY))
        row = {name: pl.col(typed_name(name)) for name in self._types}
        row |= {name: pl.col(name) for name in self._no_rows.columns if name in judged.columns and name not in row}
        if full_load or not any(before_image(self._dataset, name) in schema for name in self._dataset.key):
            return self._stamped(accepted.select(**row)), rejects
        came, left = self._split(accepted, row, schema)
        return self._stamped(pl.concat([came, left])), rejects

    def _split(
        self, accepted: pl.DataFrame, row: dict[str, pl.Expr], schema: pl.Schema
    ) -> tuple[pl.DataFrame, pl.DataFrame]:
        """Changes, with the updates that moved a row to another key as inserts, and the deletes of the keys it left."""
        moved = moves(self._dataset, schema)
        operation = pl.when(moved).then(pl.lit(INSERT)).otherwise(OPERATION)
        nothing = {name: pl.lit(None, dtype_of(t)) for name, t in self._types.items()} | {
            UNKNOWN: pl.lit(None, pl.String)
        }
        before = {name: key_before(self._dataset, name, schema) for name in self._dataset.key}
        gone = row | nothing | before | {OPERATION: pl.lit(DELETE)}
        return accepted.select(**row | {OPERATION: operation}), accepted.filter(moved).select(**gone)

    def _stamped(self, good: pl.DataFrame) -> pl.DataFrame:
        """Changes with their event time and date and the hash of their content."""
        hashed = {name: dtype_of(t) for name, t in self._types.items()} | {UNKNOWN: pl.String()}
        with_nulls = [name for name in hashed if good[name].null_count()]
        return good.with_columns(
            content_hash(hashed, with_nulls=with_nulls).alias(CONTENT_HASH),
            event_time(self._dataset).alias(EVENT_TIME),
            *self._left_out(),
        ).with_columns(pl.col(EVENT_TIME).dt.date().alias(EVENT_DATE))

    def _left_out(self) -> Iterator[pl.Expr]:
        """Which of the columns that keep their value an update has none for."""
        if kept := self._dataset.kept_columns:
            names = [pl.when(pl.col(name).is_null()).then(pl.lit(f"{name},")) for name in kept]
            told = pl.concat_str(pl.lit(","), *names, ignore_nulls=True)
            yield pl.when((pl.col(OPERATION) == UPDATE) & (told != ",")).then(told).alias(LEFT_OUT)

    def _column(self, name: str, schema: pl.Schema) -> pl.Expr:
        """A declared column in its type; one that the file lacks is null (a column removed at the source)."""
        if name not in schema:
            return pl.lit(None, dtype_of(self._types[name]))
        if self._types[name] == ANY and name in self._dataset.added:
            return json_text(raw(name), schema[name])
        return exactly(raw(name), schema[name], self._types[name])

    def _sequences(self, schema: pl.Schema, *, full_load: bool) -> Iterator[pl.Expr]:
        """The numbers that order changes; a load has none (AWS DMS: AR_H_CHANGE_SEQ is empty there)."""
        for name, column in self._dataset.sequence_columns.items():
            yield (pl.lit(0, SEQUENCE_DTYPE) if full_load else order_number(name, schema)).alias(column)

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
            IS_CHANGE: pl.Boolean(),
            FILE_TIME: _TIMESTAMP,
            ROW_NUMBER: pl.Int64(),
            UNKNOWN: pl.String(),
            **dict.fromkeys(self._dataset.sequence_columns.values(), SEQUENCE_DTYPE),
            SOURCE_FILENAME: pl.String(),
            CONTENT_HASH: pl.String(),
            EVENT_TIME: _TIMESTAMP,
            EVENT_DATE: pl.Date(),
            **({LEFT_OUT: pl.String()} if self._dataset.kept_columns else {}),
        }
        return pl.DataFrame(schema={name: dtype_of(t) for name, t in self._types.items()} | lake)


def _added(
    outcome: ObjectOutcome, changes: pl.DataFrame, rejects: Sequence[Reject], loaded_at: datetime | None
) -> ObjectOutcome:
    """What became of a file, with a further part of it; a row that moved to another key is two changes."""
    rows = changes[ROW_NUMBER].n_unique()
    return outcome.model_copy(
        update={
            "rows_in": outcome.rows_in + rows + len(rejects),
            "rows_out": outcome.rows_out + rows,
            "rows_rejected": outcome.rows_rejected + len(rejects),
            "bytes_rejected": outcome.bytes_rejected + sum(reject.size for reject in rejects),
            "event_dates": tuple(sorted({*outcome.event_dates, *_days(changes)})),
            "loaded_at": min(filter(None, (outcome.loaded_at, loaded_at)), default=None),
        }
    )


def _days(changes: pl.DataFrame) -> set[date]:
    """The days that changes count on: their event dates, and those of their commits."""
    committed = changes[COMMITTED_AT].dt.date()
    return {*changes[EVENT_DATE].drop_nulls().unique(), *committed.drop_nulls().unique()}
