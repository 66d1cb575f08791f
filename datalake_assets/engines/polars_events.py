"""How Polars reads landed events: bytes to typed columns under the dataset's contract.

The contract parses and judges (in a thread that runs ahead); here its values become columns, the checks that are
cheaper on columns are made, and lineage and hash are added.
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime
from typing import Any

import narwhals as nw
import obstore
import polars as pl
from obstore.store import ObjectStore

from datalake_assets.engines.base import Batch
from datalake_assets.engines.polars_columns import dtype_of, of_text, record_hash, timestamp_of_text
from datalake_assets.engines.read_ahead import read_ahead
from datalake_assets.lake import quarantine
from datalake_assets.lake.contract import (
    EXACT_IN_DOUBLES,
    Contract,
    Records,
    Reject,
    UnreadableObjectError,
    decompress,
)
from datalake_assets.lake.dataset import EventStream
from datalake_assets.lake.landing import LandedObject
from datalake_assets.lake.layout import (
    ETL_TIMESTAMP,
    EVENT_DATE,
    EVENT_TIME,
    RECORD_HASH,
    SOURCE_FILENAME,
    UNKNOWN,
)
from datalake_assets.lake.plain import plain_timestamp
from datalake_assets.lake.step import ObjectOutcome

_BATCH_BYTES = 256 * 1024 * 1024
_TICKS_PER_SECOND = {"s": 1, "ms": 1_000, "us": 1_000_000}
_CARRIER_DTYPES: dict[type, pl.DataType] = {str: pl.String(), int: pl.Int64(), float: pl.Float64(), bool: pl.Boolean()}


class EventReader:
    """Reads the objects of one event stream."""

    def __init__(self, dataset: EventStream) -> None:
        """Compile the dataset's contract."""
        self._dataset = dataset
        self._contract = Contract(dataset)
        self._typed = {name: self._typed_column(name) for name in self._contract.types}
        self._event_time = self._event_time_column()

    def batches(self, store: ObjectStore, objects: Sequence[LandedObject]) -> Iterator[Batch]:
        """The objects in batches of about 256 MiB of text, read ahead of their use."""
        texts = read_ahead(((o, _load(store, o)) for o in objects), depth=2)
        return read_ahead(self._batches(texts), depth=1)

    def _batches(self, texts: Iterator[tuple[LandedObject, bytes | str]]) -> Iterator[Batch]:
        frames: list[pl.DataFrame] = []
        rejected: list[pl.DataFrame] = []
        outcomes: list[ObjectOutcome] = []
        size = 0
        for landed, text in texts:
            rejects, error = self._read(landed, text, frames)
            now = datetime.now(UTC)
            rows_out = frames[-1].height if error is None else 0
            if rejects:
                rejected.append(
                    quarantine.as_frame(
                        rejects,
                        dataset=self._dataset.name,
                        partition=landed.partition,
                        source_filename=landed.key,
                        at=now,
                    )
                )
            lost = len(rejects) if error is None else 0
            outcomes.append(
                ObjectOutcome(
                    key=landed.key,
                    etag=landed.etag,
                    size=landed.size,
                    partition=landed.partition,
                    rows_in=rows_out + lost,
                    rows_out=rows_out,
                    rows_rejected=lost,
                    error=error,
                )
            )
            size += len(text)
            if size >= _BATCH_BYTES:
                yield self._batch(frames, rejected, outcomes)
                frames, rejected, outcomes, size = [], [], [], 0
        if outcomes:
            yield self._batch(frames, rejected, outcomes)

    def _read(
        self, landed: LandedObject, text: bytes | str, frames: list[pl.DataFrame]
    ) -> tuple[Sequence[Reject], str | None]:
        """Append the accepted records of one object to `frames`; return its rejects, or why it could not be read."""
        if isinstance(text, str):
            return (Reject(0, "", (f"object: {text}",)),), text
        records = self._contract.parse(text)
        frame = self._columns(records)
        doubtful = self._doubtful(frame)
        if doubtful:
            records = self._contract.recheck(text, records, doubtful)
            frame = self._columns(records)
        lineage = pl.lit(landed.key).alias(SOURCE_FILENAME), pl.lit(landed.partition).alias("partition")
        typed = frame.select(*self._typed.values(), self._event_time, pl.col(UNKNOWN), *lineage)
        frames.append(self._with_odd_times(typed) if typed[EVENT_TIME].null_count() else typed)
        return records.rejected, None

    def _with_odd_times(self, typed: pl.DataFrame) -> pl.DataFrame:
        """Event times in forms of ISO 8601 that Polars does not read, such as those without an offset."""
        texts = typed[self._dataset.event_time.column]
        unread = typed[EVENT_TIME].is_null()
        plain = [plain_timestamp(text) if odd else None for text, odd in zip(texts, unread, strict=True)]
        times = timestamp_of_text(pl.lit(pl.Series(plain, dtype=pl.String)))
        return typed.with_columns(pl.col(EVENT_TIME).fill_null(times))

    def _columns(self, records: Records) -> pl.DataFrame:
        """The records' values as carriers, column by column."""
        accepted = records.accepted
        series: list[pl.Series] = []
        for n, name in enumerate(self._contract.types):
            field = f"f{n}"
            values: list[Any] = [getattr(record, field) for record in accepted]
            if self._contract.is_text(name):
                texts = [None if v is None else str(v, "utf-8") for v in values]
                series.append(pl.Series(name, texts, dtype=pl.String))
            else:
                series.append(pl.Series(name, values, dtype=self._carrier_dtype(name)))
        clean = isinstance(records.row_numbers, range)
        unknown = None if clean else [getattr(record, "unknown", None) for record in accepted]
        series.append(pl.Series(UNKNOWN, unknown or [None] * len(accepted), dtype=pl.String))
        return pl.DataFrame(series)

    def _carrier_dtype(self, name: str) -> pl.DataType:
        return _CARRIER_DTYPES[self._contract.carrier(name)]

    def _typed_column(self, name: str) -> pl.Expr:
        lake_type = self._contract.types[name]
        value = pl.col(name)
        if self._contract.is_text(name) and lake_type.name == "json":
            value = pl.when(value != "null").then(value)
        if self._contract.is_text(name) or self._contract.carrier(name) is str:
            return of_text(value, lake_type).alias(name)
        return value.cast(dtype_of(lake_type)).alias(name)

    def _event_time_column(self) -> pl.Expr:
        column, unit = self._dataset.event_time.column, self._dataset.event_time.unit
        value = self._typed[column]
        if self._contract.types[column].name == "string":
            value = timestamp_of_text(value)
        elif unit in _TICKS_PER_SECOND:
            factor = 1_000_000 // _TICKS_PER_SECOND[unit]
            first, last = self._contract.time_range(column) or (0, 0)
            ticks = pl.when(value.is_between(first, last)).then(value) * factor
            if self._contract.carrier(column) is float:
                ticks = ticks.round().cast(pl.Int64, strict=False)
            value = ticks.cast(pl.Datetime("us", "UTC"))
        return value.alias(EVENT_TIME)

    def _doubtful(self, frame: pl.DataFrame) -> list[int]:
        """The rows that a check on columns finds fault with; the contract's authority has the last word on them."""
        contract = self._contract
        checks = [self._event_time.is_null()]
        checks.extend(self._typed[name].is_null() for name in contract.needed if contract.is_text(name))
        checks.extend(pl.col(name).abs() >= EXACT_IN_DOUBLES for name in contract.ruled_doubles)
        for name, lake_type in contract.types.items():
            value = pl.col(name)
            typed = self._typed[name]
            if lake_type.name in {"decimal", "timestamp", "date"}:
                checks.append(typed.is_null() & value.is_not_null())
            if check := contract.text_checks.get(name):
                checks.append(~value.str.slice(0, 1).is_in(list(check.first_characters)))
                number = value.cast(pl.Float64, strict=False)
                kept = {"ge": number.ge, "le": number.le, "gt": number.gt, "lt": number.lt}
                checks.extend(~kept[how](bound) for how, bound in check.bounds.items())
                if check.bounds:
                    checks.append((number.abs() >= EXACT_IN_DOUBLES) | (number.is_null() & (value != "null")))
        for name in contract.columns_with_value_rules:
            bad = contract.doubtful_values(name, frame[name].unique().to_list())
            if bad:
                checks.append(pl.col(name).is_in(bad))
        faulty = pl.any_horizontal(c.fill_null(value=False) for c in checks)
        return frame.select(pl.arg_where(faulty)).to_series().to_list()

    def _batch(self, frames: list[pl.DataFrame], rejected: list[pl.DataFrame], outcomes: list[ObjectOutcome]) -> Batch:
        typed = {name: dtype_of(t) for name, t in self._contract.types.items()} | {UNKNOWN: pl.String()}
        accepted = pl.concat(frames) if frames else self._no_rows()
        with_nulls = [name for name in typed if accepted[name].null_count()]
        accepted = accepted.with_columns(
            record_hash(typed, with_nulls=with_nulls).alias(RECORD_HASH),
            pl.col(EVENT_TIME).dt.date().alias(EVENT_DATE),
            pl.lit(datetime.now(UTC), dtype=pl.Datetime("us", "UTC")).alias(ETL_TIMESTAMP),
        )
        return Batch(
            accepted=nw.from_native(accepted.drop("partition").lazy()),
            rejected=nw.from_native(pl.concat([quarantine.SCHEMA.to_frame(), *rejected]).lazy()),
            outcomes=tuple(outcomes),
            event_dates=dates_by_partition(accepted),
            bytes_in=sum(o.size for o in outcomes),
        )

    def _no_rows(self) -> pl.DataFrame:
        empty = self._columns(Records())
        lineage = pl.lit("").alias(SOURCE_FILENAME), pl.lit("").alias("partition")
        return empty.select(*self._typed.values(), self._event_time, pl.col(UNKNOWN), *lineage)


def dates_by_partition(accepted: pl.DataFrame) -> dict[str, tuple[date, ...]]:
    """The event dates of accepted records by the partition they landed in."""
    found = accepted.select("partition", EVENT_DATE).drop_nulls().unique().sort("partition", EVENT_DATE)
    return {str(partition[0]): tuple(rows[EVENT_DATE].to_list()) for partition, rows in found.group_by("partition")}


def _load(store: ObjectStore, landed: LandedObject) -> bytes | str:
    """The text of an object, or why it can't be read."""
    try:
        return decompress(bytes(obstore.get(store, landed.key).bytes()))
    except FileNotFoundError:
        return "not found any more; it was deleted after it was admitted"
    except UnreadableObjectError as error:
        return str(error)
