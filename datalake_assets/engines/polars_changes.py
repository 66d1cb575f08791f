"""How Polars reads what DMS lands: Parquet of full loads and changes into typed changes.

A value that can't be had exactly in its declared type sends its row to quarantine; a file that can't be read is noted
in the ledger with the reason, and the others go on.
"""

import io
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

import narwhals as nw
import obstore
import polars as pl
from obstore.store import ObjectStore

from datalake_assets.engines.base import Batch
from datalake_assets.engines.polars_columns import dtype_of, exactly, record_hash
from datalake_assets.engines.polars_events import dates_by_partition
from datalake_assets.engines.read_ahead import read_ahead
from datalake_assets.lake import quarantine
from datalake_assets.lake.contract import Reject
from datalake_assets.lake.dataset import OPERATION_COLUMN, CdcTable
from datalake_assets.lake.landing import LandedObject, is_full_load, landing_time
from datalake_assets.lake.layout import ETL_TIMESTAMP, EVENT_DATE, EVENT_TIME, RECORD_HASH, SOURCE_FILENAME, UNKNOWN
from datalake_assets.lake.step import ObjectOutcome
from datalake_assets.lake.types import LakeType
from datalake_assets.transforms.cdc import COMMITTED_AT, IS_LOAD, LOAD, OPERATION, PATH, ROW_NUMBER

_BATCH_ROWS = 5_000_000
_OPERATIONS = ("I", "U", "D")
_ERRORS = "_errors"
_TICKS_PER_SECOND = {"s": 1, "ms": 1_000, "us": 1_000_000}
_TIMESTAMP = pl.Datetime("us", "UTC")
_TIMESTAMP_TYPE = LakeType("timestamp")


class ChangeReader:
    """Reads the objects of one CDC table."""

    def __init__(self, dataset: CdcTable) -> None:
        """Prepare for a dataset; nothing is read."""
        self._dataset = dataset
        self._types = {name: column.lake_type for name, column in dataset.columns.items()}

    def batches(self, store: ObjectStore, objects: Sequence[LandedObject]) -> Iterator[Batch]:
        """The objects in batches of about five million rows, read ahead of their use."""
        return read_ahead(self._batches(store, objects), depth=1)

    def _batches(self, store: ObjectStore, objects: Sequence[LandedObject]) -> Iterator[Batch]:
        frames: list[pl.DataFrame] = []
        rejected: list[pl.DataFrame] = []
        outcomes: list[ObjectOutcome] = []
        for landed in objects:
            outcome = ObjectOutcome(key=landed.key, etag=landed.etag, size=landed.size, partition=landed.partition)
            try:
                frame, rejects = self._read(store, landed)
            except FileNotFoundError:
                error = "not found any more; it was deleted after it was admitted"
                rejects = [Reject(0, "", (f"object: {error}",))]
                outcomes.append(outcome.model_copy(update={"error": error}))
            except pl.exceptions.PolarsError as fault:
                error = f"not readable as Parquet: {str(fault).splitlines()[0]}; land the object again"
                rejects = [Reject(0, "", (f"object: {error}",))]
                outcomes.append(outcome.model_copy(update={"error": error}))
            else:
                frames.append(frame)
                counts = {
                    "rows_in": frame.height + len(rejects),
                    "rows_out": frame.height,
                    "rows_rejected": len(rejects),
                }
                outcomes.append(outcome.model_copy(update=counts))
            if rejects:
                lineage = {"dataset": self._dataset.name, "partition": landed.partition, "source_filename": landed.key}
                rejected.append(quarantine.as_frame(rejects, **lineage, at=datetime.now(UTC)))
            if sum(f.height for f in frames) >= _BATCH_ROWS:
                yield self._batch(frames, rejected, outcomes)
                frames, rejected, outcomes = [], [], []
        if outcomes:
            yield self._batch(frames, rejected, outcomes)

    def _read(self, store: ObjectStore, landed: LandedObject) -> tuple[pl.DataFrame, list[Reject]]:
        """The accepted changes of one file, and its rejects."""
        data = bytes(obstore.get(store, landed.key).bytes())
        landed_frame = pl.read_parquet(io.BytesIO(data)) if data else pl.DataFrame()
        path = landed.key.removeprefix(f"{self._dataset.landing.prefix}/")
        schema = landed_frame.schema
        typed = landed_frame.with_row_index(ROW_NUMBER, offset=1).with_columns(
            *(self._column(name, schema).alias(f"typed {name}") for name in self._types),
            self._operation(path, schema).alias(OPERATION),
            self._committed_at(landed, path, schema).alias(COMMITTED_AT),
            pl.lit(is_full_load(path)).alias(IS_LOAD),
            pl.lit(path).alias(PATH),
            self._unknown(schema).alias(UNKNOWN),
            *(pl.lit(None, pl.String).alias(n) for n in self._dataset.order_by if n not in schema),
        )
        judged = typed.with_columns(pl.concat_list(self._faults(schema)).list.drop_nulls().alias(_ERRORS))
        bad = judged.filter(pl.col(_ERRORS).list.len() > 0)
        rejects = [
            Reject(number, raw, tuple(errors))
            for number, raw, errors in bad.select(
                ROW_NUMBER, pl.struct(_json_friendly(schema)).struct.json_encode(), _ERRORS
            ).iter_rows()
        ]
        carried = [OPERATION, COMMITTED_AT, IS_LOAD, PATH, ROW_NUMBER, UNKNOWN]
        sequence = [pl.col(n) for n in self._dataset.order_by if n not in self._types]
        good = judged.filter(pl.col(_ERRORS).list.len() == 0).select(
            *(pl.col(f"typed {name}").alias(name) for name in self._types),
            *carried,
            *(n.cast(pl.String) for n in sequence),
            pl.lit(landed.key).alias(SOURCE_FILENAME),
            pl.lit(landed.partition).alias("partition"),
        )
        return good, rejects

    def _column(self, name: str, schema: pl.Schema) -> pl.Expr:
        """A declared column in its type; one that the file lacks is null (a column removed at the source)."""
        if name not in schema:
            return pl.lit(None, dtype_of(self._types[name]))
        return exactly(pl.col(name), schema[name], self._types[name])

    def _operation(self, path: str, schema: pl.Schema) -> pl.Expr:
        """`Op`; a missing or NULL one is a load (AWS DMS: IncludeOpForFullLoad=false), as is all of a load file."""
        if is_full_load(path) or OPERATION_COLUMN not in schema:
            return pl.lit(LOAD)
        return pl.col(OPERATION_COLUMN).cast(pl.String).fill_null(LOAD)

    def _committed_at(self, landed: LandedObject, path: str, schema: pl.Schema) -> pl.Expr:
        """The commit time; where there is none, the time of the file."""
        otherwise = pl.lit(landing_time(path, landed.last_modified), _TIMESTAMP)
        name = self._dataset.timestamp_column
        if name is None or name not in schema:
            return otherwise
        from_type = exactly(pl.col(name), schema[name], self._types.get(name, _TIMESTAMP_TYPE))
        return from_type.fill_null(otherwise)

    def _unknown(self, schema: pl.Schema) -> pl.Expr:
        """The columns that are not declared, as JSON text; null where none of them has a value."""
        dms = {OPERATION_COLUMN, self._dataset.timestamp_column, *self._dataset.order_by}
        unknown = {n: t for n, t in schema.items() if n not in self._types and n not in dms}
        if not unknown:
            return pl.lit(None, pl.String)
        friendly = _json_friendly(pl.Schema(unknown))
        return pl.when(pl.any_horizontal(pl.col(n).is_not_null() for n in unknown)).then(
            pl.struct(friendly).struct.json_encode()
        )

    def _faults(self, schema: pl.Schema) -> list[pl.Expr]:
        """For each rule the reason why a row breaks it, else null."""
        operation = pl.col(OPERATION)
        known = operation.is_in([*_OPERATIONS, LOAD])
        faults = [pl.when(~known).then(pl.format("/Op enum: {} is not one of I, U, D", operation))]
        is_delete = operation == "D"  # a delete of the default replica identity has the key alone
        for name, column in self._dataset.columns.items():
            typed = pl.col(f"typed {name}")
            if name in schema:
                text = pl.col(name).cast(pl.String, strict=False).fill_null("a value").str.slice(0, 100)
                message = pl.format(f"/{_braced(name)} type: {{}} ({schema[name]}) is no {column.type}", text)
                faults.append(pl.when(pl.col(name).is_not_null() & typed.is_null()).then(message))
            if column.required or name in self._dataset.key:
                missing = typed.is_null() if name in self._dataset.key else typed.is_null() & ~is_delete
                found = pl.col(name).is_null() if name in schema else pl.lit(value=True)
                faults.append(pl.when(missing & found).then(pl.lit(f"/{name} required: NULL in a required column")))
            for bound, below in ((column.minimum, True), (column.maximum, False)):
                if bound is not None:
                    number = typed.cast(pl.Float64, strict=False)
                    broken = number < bound if below else number > bound
                    rule, word = ("minimum", "less") if below else ("maximum", "greater")
                    message = pl.format(f"/{_braced(name)} {rule}: {{}} is {word} than {bound:g}", typed.cast(pl.String))
                    faults.append(pl.when(broken).then(message))
        return faults

    def _batch(
        self, frames: list[pl.DataFrame], rejected: list[pl.DataFrame], outcomes: list[ObjectOutcome]
    ) -> Batch:
        typed = {name: dtype_of(t) for name, t in self._types.items()} | {UNKNOWN: pl.String()}
        accepted = pl.concat(frames, how="vertical") if frames else self._no_rows()
        with_nulls = [name for name in typed if accepted[name].null_count()]
        accepted = accepted.with_columns(
            record_hash(typed, with_nulls=with_nulls).alias(RECORD_HASH),
            self._event_time().alias(EVENT_TIME),
            pl.lit(datetime.now(UTC), dtype=_TIMESTAMP).alias(ETL_TIMESTAMP),
        ).with_columns(pl.col(EVENT_TIME).dt.date().alias(EVENT_DATE))
        return Batch(
            accepted=nw.from_native(accepted.drop("partition").lazy()),
            rejected=nw.from_native(pl.concat([quarantine.SCHEMA.to_frame(), *rejected]).lazy()),
            outcomes=tuple(outcomes),
            event_dates=dates_by_partition(accepted),
            bytes_in=sum(o.size for o in outcomes),
        )

    def _event_time(self) -> pl.Expr:
        if self._dataset.event_time is None:
            return pl.lit(None, _TIMESTAMP)
        value = pl.col(self._dataset.event_time.column)
        name = self._types[self._dataset.event_time.column].name
        if name in {"timestamp", "date"}:
            return value.cast(_TIMESTAMP) if name == "timestamp" else value.cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
        if name == "string":
            return exactly(value, pl.String(), _TIMESTAMP_TYPE)
        factor = 1_000_000 // _TICKS_PER_SECOND[self._dataset.event_time.unit or "s"]
        return (value.cast(pl.Int64) * factor).cast(_TIMESTAMP)

    def _no_rows(self) -> pl.DataFrame:
        sequence = {n: pl.String() for n in self._dataset.order_by if n not in self._types}
        lake = {
            OPERATION: pl.String(),
            COMMITTED_AT: _TIMESTAMP,
            IS_LOAD: pl.Boolean(),
            PATH: pl.String(),
            ROW_NUMBER: pl.get_index_type()(),
            UNKNOWN: pl.String(),
        }
        typed = {name: dtype_of(t) for name, t in self._types.items()}
        lineage = {SOURCE_FILENAME: pl.String(), "partition": pl.String()}
        return pl.DataFrame(schema=typed | lake | sequence | lineage)


def _json_friendly(schema: pl.Schema) -> list[pl.Expr]:
    """Columns in a form that JSON has: bytes as hex, decimals and times as text."""
    columns: list[pl.Expr] = []
    for name, dtype in schema.items():
        column = pl.col(name)
        if dtype == pl.Binary():
            column = column.bin.encode("hex")
        elif dtype.is_temporal() or dtype.is_decimal():
            column = column.cast(pl.String)
        columns.append(column)
    return columns


def _braced(name: str) -> str:
    """A name as a format string holds it."""
    return name.replace("{", "").replace("}", "")
