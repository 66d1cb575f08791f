"""The Polars engine: steps computed in this process, tables written with delta-rs."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import date
from typing import Any

import narwhals as nw
import polars as pl

from datalake_assets.lake.readers.batch import Batch, Limits, Load
from datalake_assets.lake.readers.changes import ChangeReader
from datalake_assets.lake.readers.columns import dtype_of
from datalake_assets.lake.readers.events import EventReader
from datalake_assets.lake.spec.columns import EVENT_DATE
from datalake_assets.lake.spec.dataset import CdcTable, Column, EventStream
from datalake_assets.lake.store import delta, quarantine
from datalake_assets.lake.store.landing import LandedObject
from datalake_assets.lake.store.step import ObjectOutcome


class PolarsEngine:
    """Computes with Polars; see `engines.base.Engine` for what each verb promises."""

    name = "polars"

    def read_events(
        self, dataset: EventStream, load: Load, objects: Sequence[LandedObject], *, limits: Limits
    ) -> Iterator[Batch]:
        """Read JSON objects under the dataset's contract, in batches."""
        return EventReader(dataset, limits).batches(load, objects)

    def read_changes(
        self, dataset: CdcTable, load: Load, objects: Sequence[LandedObject], *, limits: Limits
    ) -> Iterator[Batch]:
        """Read DMS objects into typed changes, in batches."""
        return ChangeReader(dataset, limits).batches(load, objects)

    def scan(
        self, uri: str, *, dates: Collection[date | None] | None = None, columns: Mapping[str, Column] | None = None
    ) -> nw.LazyFrame[Any] | None:
        """A table, or its rows of some event dates; None when there is no such table."""
        table = delta.scan(uri)
        if table is None:
            return None
        if dates is not None:
            picked = pl.col(EVENT_DATE).is_in(sorted(d for d in dates if d is not None))
            table = table.filter(picked | pl.col(EVENT_DATE).is_null() if None in dates else picked)
        if columns:
            known = table.collect_schema()
            new = {name: dtype_of(column.lake_type) for name, column in columns.items() if name not in known}
            table = table.with_columns(pl.lit(None, dtype).alias(name) for name, dtype in new.items())
        return nw.from_native(table)

    def compute(self, frame: nw.LazyFrame[Any]) -> nw.LazyFrame[Any]:
        """The frame computed once."""
        return nw.from_native(_native(frame).collect().lazy())

    def rows(self, frame: nw.LazyFrame[Any]) -> list[dict[str, Any]]:
        """A small frame as Python rows."""
        return _native(frame).collect().to_dicts()

    def conform(self, frame: nw.LazyFrame[Any], columns: dict[str, Column]) -> nw.LazyFrame[Any]:
        """The frame's columns in the order and the types given; a value that does not fit raises."""
        types = {name: dtype_of(column.lake_type) for name, column in columns.items()}
        return nw.from_native(_native(frame).select(pl.col(name).cast(dtype) for name, dtype in types.items()))

    def append(
        self, uri: str, frame: nw.LazyFrame[Any], *, partition_by: Sequence[str], touched: Collection[date]
    ) -> None:
        """Add rows in one commit."""
        delta.append(uri, _native(frame).collect(), partition_by=partition_by, touched=touched)

    def merge(
        self,
        uri: str,
        frame: nw.LazyFrame[Any],
        *,
        key: Sequence[str],
        dates: Collection[date | None] | None,
        touched: Collection[date],
        deleted: str | None = None,
        partition_by: Sequence[str] = (),
    ) -> None:
        """Update or insert rows in one commit; the first rows of a table make it."""
        rows = _native(frame).collect()
        if delta.open_table(uri) is None:
            kept = rows.filter(~pl.col(deleted)).drop(deleted) if deleted else rows
            delta.append(uri, kept, partition_by=partition_by, touched=touched)
            return
        within = None if dates is None else delta.one_of(f"t.{EVENT_DATE}", dates)
        delta.merge(uri, rows, key=key, within=within, touched=touched, deleted=deleted)

    def replace(
        self,
        uri: str,
        frame: nw.LazyFrame[Any],
        *,
        dates: Collection[date] | None,
        partition_by: Sequence[str],
        touched: Collection[date],
    ) -> None:
        """Put rows in the place of those of some event dates (None: of all) in one commit."""
        predicate = None if dates is None else delta.one_of(EVENT_DATE, sorted(dates))
        rows = _native(frame).collect()
        delta.replace(uri, rows, predicate=predicate, partition_by=partition_by, touched=touched)

    def replace_rejects(self, uri: str, rejected: nw.LazyFrame[Any], outcomes: Sequence[ObjectOutcome]) -> None:
        """Put the rejects of these objects in the place of those they had."""
        quarantine.replace_rejects(uri, _native(rejected).collect(), outcomes)


def _native(frame: nw.LazyFrame[Any]) -> pl.LazyFrame:
    native: pl.LazyFrame = frame.to_native()
    return native
