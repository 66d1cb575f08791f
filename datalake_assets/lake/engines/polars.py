"""The Polars engine: steps computed in this process, tables changed by own Parquet files and one commit."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import date
from typing import Any

import narwhals as nw
import polars as pl

from datalake_assets.lake.engines.base import Frame
from datalake_assets.lake.readers.batch import Batch, Limits, Load
from datalake_assets.lake.readers.changes import ChangeReader
from datalake_assets.lake.readers.events import EventReader
from datalake_assets.lake.spec.columns import EVENT_DATE
from datalake_assets.lake.spec.dataset import CdcTable, EventStream
from datalake_assets.lake.spec.parts import Column
from datalake_assets.lake.store import quarantine
from datalake_assets.lake.store.dtypes import dtype_of
from datalake_assets.lake.store.files import write_files
from datalake_assets.lake.store.landing import LandedObject
from datalake_assets.lake.store.notes import CommitNotes
from datalake_assets.lake.store.outcome import ObjectOutcome
from datalake_assets.lake.store.snapshot import Snapshot
from datalake_assets.lake.store.table import Table


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

    def scan(self, seen: Snapshot, *, dates: Collection[date | None] | None = None) -> Frame:
        """A table's rows (of some event dates) in the registry's columns."""
        within = None if dates is None else {EVENT_DATE: sorted(d for d in dates if d)}
        return nw.from_native(seen.scan(within))

    def scan_keys(self, seen: Snapshot, keys: Frame, *, columns: Sequence[str] | None = None) -> Frame:
        """The rows of a table that have the values of `keys` in its columns."""
        return nw.from_native(seen.scan_keys(_native(keys).unique().collect(), columns=columns))

    def changed_since(self, seen: Snapshot, older: Snapshot, columns: Sequence[str]) -> Frame:
        """The values of some columns in the rows that came or went since an older state of a table."""
        return nw.from_native(seen.changed_since(older, columns).lazy())

    def compute(self, frame: Frame) -> Frame:
        """The frame computed once."""
        return nw.from_native(_native(frame).collect().lazy())

    def contested(
        self, frame: Frame, seen: Snapshot, *, on: Sequence[str], dates: Collection[date]
    ) -> tuple[Frame, Frame, Frame]:
        """The rows that may share their values in the columns `on` with others: told by hashes, four times as fast."""
        rows = _native(frame).collect()
        key = pl.struct(on).hash()
        hashes = rows.select(key).to_series()
        table = _native(self.scan(seen, dates=dates))
        met = table.select(on).filter(key.is_in(hashes.implode())).unique().collect()
        shared = hashes.is_duplicated() | hashes.is_in(met.select(key).to_series().implode())
        existing = table.join(met.lazy(), on=list(on), how="semi").collect() if met.height else table.clear().collect()
        found = (rows.filter(shared), rows.filter(~shared), existing)
        return nw.from_native(found[0].lazy()), nw.from_native(found[1].lazy()), nw.from_native(found[2].lazy())

    def rows(self, frame: Frame) -> list[dict[str, Any]]:
        """A small frame as Python rows."""
        return _native(frame).collect().to_dicts()

    def conform(self, frame: Frame, columns: Mapping[str, Column]) -> Frame:
        """The frame's columns in the order and the types given; a value that does not fit raises."""
        types = {name: dtype_of(column.lake_type) for name, column in columns.items()}
        return nw.from_native(_native(frame).select(pl.col(name).cast(dtype) for name, dtype in types.items()))

    def change(
        self,
        seen: Snapshot,
        *,
        add: Frame | None = None,
        remove: Frame | None = None,
        on: Sequence[str] = (),
        dates: Collection[date] | None = None,
        notes: CommitNotes,
        exactly_here: bool = False,
    ) -> None:
        """Remove the rows that equal one of `remove` in the columns `on`, and add rows, in one commit."""
        seen.change(
            add=None if add is None else _native(add).collect(),
            remove=None if remove is None else _native(remove).select(on).unique().collect(),
            on=on,
            within=None if dates is None else {EVENT_DATE: sorted(dates)},
            notes=notes,
            exactly_here=exactly_here,
        )

    def replace(self, seen: Snapshot, rows: Frame, *, dates: Collection[date] | None, notes: CommitNotes) -> None:
        """Put rows in the place of those of some event dates (None: of all) in one commit."""
        frame = _native(rows).collect()
        if dates is None:
            table = seen.table
            seen.swap(write_files(frame, table.uri, table.spec), notes=notes)
        elif EVENT_DATE in seen.table.spec.partition_by:
            seen.replace(frame, within={EVENT_DATE: sorted(dates)}, notes=notes)
        else:
            seen.change(
                add=frame,
                remove=pl.DataFrame({EVENT_DATE: sorted(dates)}, schema={EVENT_DATE: pl.Date}),
                on=[EVENT_DATE],
                notes=notes,
                exactly_here=True,
            )

    def replace_rejects(
        self,
        table: Table,
        rejected: Frame,
        outcomes: Sequence[ObjectOutcome],
        *,
        keep_old: bool = False,
    ) -> bool:
        """Put the rejects of these objects in the place of those that their keys had: `quarantine.replace_rejects`."""
        return quarantine.replace_rejects(table, _native(rejected).collect(), outcomes, keep_old=keep_old)


def _native(frame: Frame) -> pl.LazyFrame:
    native: pl.LazyFrame = frame.to_native()
    return native
