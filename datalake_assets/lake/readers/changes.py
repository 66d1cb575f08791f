"""How the files that DMS lands are read: Parquet of full loads and changes into typed changes.

A value that can't be had exactly in its declared type sends its row to quarantine; a file that can't be read fails
alone, whatever of it makes a library raise or panic, and the others go on.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

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
from datalake_assets.lake.readers.dms_files import commit_time, open_parquet, order_path
from datalake_assets.lake.readers.failures import UnreadableObjectError, failure_of
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
from datalake_assets.lake.store.dtypes import dtype_of
from datalake_assets.lake.store.landing import LandedObject, is_full_load
from datalake_assets.lake.store.outcome import ObjectOutcome

_BATCH_ROWS = 5_000_000
_FAULTY = "_faulty"
_TIMESTAMP = pl.Datetime("us", "UTC")


@dataclass(frozen=True, slots=True)
class _File:
    """One file, read: its accepted changes, its rejects, and what the ledger is told of it."""

    landed: LandedObject
    changes: pl.DataFrame
    rejects: Sequence[Reject]
    outcome: ObjectOutcome


class ChangeReader:
    """Reads the objects of one CDC table."""

    def __init__(self, dataset: CdcTable, limits: Limits) -> None:
        """Prepare for a dataset; nothing is read."""
        self._dataset = dataset
        self._limits = limits
        self._types = {name: column.lake_type for name, column in dataset.columns.items()}
        self._sequence_columns = [name for name in dataset.order_by if name not in self._types]
        self._no_rows = self._no_changes()

    def batches(self, load: Load, objects: Iterable[LandedObject]) -> Iterator[Batch]:
        """The objects in batches of about five million rows, read ahead of their use."""
        return read_ahead(self._batches(load, objects), depth=1)

    def _batches(self, load: Load, objects: Iterable[LandedObject]) -> Iterator[Batch]:
        files: list[_File] = []
        rows = 0
        for landed in objects:
            files.append(self._file(load, landed))
            rows += files[-1].changes.height
            if rows >= _BATCH_ROWS:
                yield self._batch(files)
                files, rows = [], 0
        if files:
            yield self._batch(files)

    def _batch(self, files: Sequence[_File]) -> Batch:
        now = datetime.now(UTC)
        accepted = pl.concat([file.changes for file in files], how="vertical").lazy()
        rejected = [
            as_frame(file.rejects, dataset=self._dataset.name, landed=file.landed, at=now)
            for file in files
            if file.rejects
        ]
        return Batch(
            accepted=nw.from_native(accepted.with_columns(pl.lit(now, dtype=_TIMESTAMP).alias(ETL_TIMESTAMP))),
            rejected=nw.from_native(pl.concat([SCHEMA.to_frame(), *rejected]).lazy()),
            outcomes=tuple(file.outcome for file in files),
            bytes_in=sum(f.landed.size for f in files if f.outcome.state == "processed" or f.outcome.final),
        )

    def _file(self, load: Load, landed: LandedObject) -> _File:
        """A file read, or the reason why it can't be."""
        try:
            frame = open_parquet(load(landed), limit=self._limits.object_bytes)
            changes, rejects = self._evaluated(frame, landed) if frame.width else (self._no_rows, [])
        except BaseException as error:  # noqa: BLE001  (a Rust panic too is the file's; `failure_of` raises others)
            failure = failure_of(error)
            return _File(landed, self._no_rows, failure.rejects(landed), failure.outcome(landed))
        outcome = ObjectOutcome(
            key=landed.key,
            etag=landed.etag,
            size=landed.size,
            partition=landed.partition,
            rows_in=changes.height + len(rejects),
            rows_out=changes.height,
            rows_rejected=len(rejects),
            bytes_read=landed.size,
            bytes_rejected=sum(reject.size for reject in rejects),
            event_dates=tuple(changes[EVENT_DATE].drop_nulls().unique().sort()),
        )
        return _File(landed, changes, rejects, outcome)

    def _evaluated(self, frame: pl.DataFrame, landed: LandedObject) -> tuple[pl.DataFrame, list[Reject]]:
        """The accepted changes of a file's rows, and its rejects.

        Raises `UnreadableObjectError` where Polars can't evaluate what is in the file.
        """
        try:
            changes, rejects = self._changes(frame, landed)
        except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
            reason = str(error).partition("\n")[0]
            raise UnreadableObjectError(
                f"its columns can't be evaluated: {reason}; replicate them with another type, or not at all, and land "
                "the object again"
            ) from None
        return changes, rejects

    def _changes(self, frame: pl.DataFrame, landed: LandedObject) -> tuple[pl.DataFrame, list[Reject]]:
        path = landed.key.removeprefix(f"{self._dataset.landing.prefix}/")
        schema, full_load = frame.schema, is_full_load(path)
        read = frame.rename(raw_name).with_columns(
            *(self._column(name, schema).alias(typed_name(name)) for name in self._types),
            self._operation(schema, full_load=full_load).alias(OPERATION),
            self._committed_at(landed, path, schema).alias(COMMITTED_AT),
            self._unknown(schema).alias(UNKNOWN),
            *(self._sequence(name, schema).alias(name) for name in self._sequence_columns),
            pl.int_range(1, pl.len() + 1, dtype=pl.Int64).alias(ROW_NUMBER),
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
        share = landed.size // max(frame.height, 1)
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
        dms = {OPERATION_COLUMN, self._dataset.timestamp_column, *self._dataset.order_by}
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
