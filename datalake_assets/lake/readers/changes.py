"""How Polars reads what DMS lands: Parquet of full loads and changes into typed changes.

A value that can't be had exactly in its declared type sends its row to quarantine; a file that can't be read is noted
in the ledger with the reason, and the others go on.
"""

import io
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime

import narwhals as nw
import obstore
import polars as pl
from obstore.store import ObjectStore

from datalake_assets.lake.readers.batch import Batch
from datalake_assets.lake.readers.change_rules import (
    TIMESTAMP_TYPE,
    event_time,
    faults,
    json_friendly,
    raw,
    raw_name,
    typed_name,
)
from datalake_assets.lake.readers.columns import dtype_of, exactly, record_hash
from datalake_assets.lake.readers.contract import Reject, UnreadableObjectError
from datalake_assets.lake.readers.read_ahead import read_ahead
from datalake_assets.lake.spec.columns import (
    ETL_TIMESTAMP,
    EVENT_DATE,
    EVENT_TIME,
    RECORD_HASH,
    SOURCE_FILENAME,
    UNKNOWN,
)
from datalake_assets.lake.spec.dataset import OPERATION_COLUMN, CdcTable
from datalake_assets.lake.store import quarantine
from datalake_assets.lake.store.landing import LandedObject, is_full_load, landing_time
from datalake_assets.lake.store.step import ObjectOutcome
from datalake_assets.lake.transforms.cdc import COMMITTED_AT, IS_LOAD, LOAD, OPERATION, PATH, ROW_NUMBER

_BATCH_ROWS = 5_000_000
_FAULTY = "_faulty"
_PARTITION = "_partition"
_TIMESTAMP = pl.Datetime("us", "UTC")


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
            except UnreadableObjectError as fault:
                error = str(fault)
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
        """The accepted changes of one file, and its rejects.

        Raises `FileNotFoundError`, and `UnreadableObjectError` for bytes that are not Parquet.
        """
        landed_frame = _parquet(bytes(obstore.get(store, landed.key).bytes()))
        if not landed_frame.width:
            return self._no_rows(), []
        path = landed.key.removeprefix(f"{self._dataset.landing.prefix}/")
        schema = landed_frame.schema
        read = landed_frame.rename(raw_name).with_columns(
            *(self._column(name, schema).alias(typed_name(name)) for name in self._types),
            self._operation(path, schema).alias(OPERATION),
            self._committed_at(landed, path, schema).alias(COMMITTED_AT),
            self._unknown(schema).alias(UNKNOWN),
            *(self._sequence(name, schema).alias(name) for name in self._dataset.order_by if name not in self._types),
            pl.int_range(1, pl.len() + 1, dtype=pl.Int64).alias(ROW_NUMBER),
            pl.lit(is_full_load(path)).alias(IS_LOAD),
            pl.lit(path).alias(PATH),
            pl.lit(landed.key).alias(SOURCE_FILENAME),
            pl.lit(landed.partition).alias(_PARTITION),
        )
        rules = faults(self._dataset, schema)
        judged = read.with_columns(pl.any_horizontal(f.broken.fill_null(value=False) for f in rules).alias(_FAULTY))
        # Only for the rows that break a rule is it worked out what to say.
        reasons = pl.concat_list(pl.when(f.broken).then(f.reason) for f in rules).list.drop_nulls()
        as_json = pl.struct(json_friendly(schema)).struct.json_encode()
        bad = judged.filter(_FAULTY).select(ROW_NUMBER, as_json.alias("raw"), reasons.alias("reasons"))
        rejects = [Reject(number, text, tuple(errors)) for number, text, errors in bad.iter_rows()]
        wanted = self._no_rows().columns
        good = judged.filter(~pl.col(_FAULTY)).select(
            pl.col(typed_name(name)).alias(name) if name in self._types else name for name in wanted
        )
        return good, rejects

    def _column(self, name: str, schema: pl.Schema) -> pl.Expr:
        """A declared column in its type; one that the file lacks is null (a column removed at the source)."""
        if name not in schema:
            return pl.lit(None, dtype_of(self._types[name]))
        return exactly(raw(name), schema[name], self._types[name])

    def _sequence(self, name: str, schema: pl.Schema) -> pl.Expr:
        return raw(name).cast(pl.String) if name in schema else pl.lit(None, pl.String)

    def _operation(self, path: str, schema: pl.Schema) -> pl.Expr:
        """`Op`; a missing or NULL one is a load (AWS DMS: IncludeOpForFullLoad=false), as is all of a load file."""
        if is_full_load(path) or OPERATION_COLUMN not in schema:
            return pl.lit(LOAD)
        return raw(OPERATION_COLUMN).cast(pl.String).fill_null(LOAD)

    def _committed_at(self, landed: LandedObject, path: str, schema: pl.Schema) -> pl.Expr:
        """The commit time; where there is none, the time of the file."""
        otherwise = pl.lit(landing_time(path, landed.last_modified), _TIMESTAMP)
        name = self._dataset.timestamp_column
        if name is None or name not in schema:
            return otherwise
        return exactly(raw(name), schema[name], TIMESTAMP_TYPE).fill_null(otherwise)

    def _unknown(self, schema: pl.Schema) -> pl.Expr:
        """The columns that are not declared, as JSON text in the order of their names; null where none has a value."""
        dms = {OPERATION_COLUMN, self._dataset.timestamp_column, *self._dataset.order_by}
        unknown = {n: schema[n] for n in sorted(schema) if n not in self._types and n not in dms}
        if not unknown:
            return pl.lit(None, pl.String)
        friendly = json_friendly(pl.Schema(unknown))
        return pl.when(pl.any_horizontal(raw(n).is_not_null() for n in unknown)).then(
            pl.struct(friendly).struct.json_encode()
        )

    def _batch(self, frames: list[pl.DataFrame], rejected: list[pl.DataFrame], outcomes: list[ObjectOutcome]) -> Batch:
        typed = {name: dtype_of(t) for name, t in self._types.items()} | {UNKNOWN: pl.String()}
        accepted = pl.concat(frames, how="vertical") if frames else self._no_rows()
        with_nulls = [name for name in typed if accepted[name].null_count()]
        accepted = accepted.with_columns(
            record_hash(typed, with_nulls=with_nulls).alias(RECORD_HASH),
            event_time(self._dataset).alias(EVENT_TIME),
            pl.lit(datetime.now(UTC), dtype=_TIMESTAMP).alias(ETL_TIMESTAMP),
        ).with_columns(pl.col(EVENT_TIME).dt.date().alias(EVENT_DATE))
        return Batch(
            accepted=nw.from_native(accepted.drop(_PARTITION).lazy()),
            rejected=nw.from_native(pl.concat([quarantine.SCHEMA.to_frame(), *rejected]).lazy()),
            outcomes=tuple(outcomes),
            event_dates=_dates_by_partition(accepted.select(pl.col(_PARTITION).alias("partition"), EVENT_DATE)),
            bytes_in=sum(o.size for o in outcomes),
        )

    def _no_rows(self) -> pl.DataFrame:
        sequence: dict[str, pl.DataType] = {n: pl.String() for n in self._dataset.order_by if n not in self._types}
        lake: dict[str, pl.DataType] = {
            OPERATION: pl.String(),
            COMMITTED_AT: _TIMESTAMP,
            IS_LOAD: pl.Boolean(),
            PATH: pl.String(),
            ROW_NUMBER: pl.Int64(),
            UNKNOWN: pl.String(),
        }
        typed: dict[str, pl.DataType] = {name: dtype_of(t) for name, t in self._types.items()}
        lineage: dict[str, pl.DataType] = {SOURCE_FILENAME: pl.String(), _PARTITION: pl.String()}
        return pl.DataFrame(schema=typed | lake | sequence | lineage)


def _parquet(data: bytes) -> pl.DataFrame:
    """A Parquet file read. Raises `UnreadableObjectError` for bytes that are none, or not all of one."""
    if not data:
        raise UnreadableObjectError("the object is empty, it has 0 bytes; land it again")
    try:
        return pl.read_parquet(io.BytesIO(data))
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        reason = str(error).partition("\n")[0]
        raise UnreadableObjectError(f"not readable as Parquet: {reason}; land the object again") from None


def _dates_by_partition(accepted: pl.DataFrame) -> dict[str, tuple[date, ...]]:
    """The event dates of accepted records by the partition they landed in; these are the frame's two columns."""
    found = accepted.drop_nulls().unique().sort("partition", EVENT_DATE)
    return {str(partition[0]): tuple(rows[EVENT_DATE].to_list()) for partition, rows in found.group_by("partition")}
