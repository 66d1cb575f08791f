"""The Polars engine: steps computed in this process, tables changed by own Parquet files and one commit."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import date
from functools import partial
from typing import Any

import narwhals as nw
import polars as pl
from deltalake.transaction import AddAction

from datalake_assets.lake.engines.base import Frame, Prepare, ValueChangedError
from datalake_assets.lake.engines.key_hashes import KeyHashes, hash_of
from datalake_assets.lake.readers.batch import Batch, Limits, Load
from datalake_assets.lake.readers.read_ahead import read_ahead
from datalake_assets.lake.readers.reader import reader_of
from datalake_assets.lake.spec.columns import EVENT_DATE
from datalake_assets.lake.spec.dataset import Dataset, EventStream
from datalake_assets.lake.spec.parts import Column
from datalake_assets.lake.store.dtypes import dtype_of
from datalake_assets.lake.store.files import write_files
from datalake_assets.lake.store.landing import LandedObject
from datalake_assets.lake.store.notes import CommitNotes
from datalake_assets.lake.store.place import TablePlace
from datalake_assets.lake.store.snapshot import Snapshot
from datalake_assets.lake.store.table_files import Convert, TableFiles


class PolarsEngine:
    """Computes with Polars; see `engines.base.Engine` for what each verb promises."""

    name = "polars"

    def read(
        self, dataset: Dataset, load: Load, objects: Sequence[LandedObject], *, limits: Limits, prepare: Prepare
    ) -> Iterator[Batch]:
        """Read landed objects in batches; of events the next one is made ready while one is written."""
        batches = reader_of(dataset, limits).batches(load, objects)
        ready = (replace(batch, accepted=self.compute(prepare(batch.accepted))) for batch in batches)
        return read_ahead(ready, depth=1) if isinstance(dataset, EventStream) else ready

    def take(self, rows: pl.DataFrame) -> Frame:
        """Rows of this process as a frame."""
        return nw.from_native(rows.lazy())

    def scan(
        self, seen: Snapshot, *, dates: Collection[date | None] | None = None, dated_by: str = EVENT_DATE
    ) -> Frame:
        """A table's rows (of some dates) in the registry's columns."""
        return nw.from_native(seen.scan_dates(dates, by=dated_by))

    def lots(
        self, seen: Snapshot, *, dates: Collection[date] | None, dated_by: str, rows: int | None
    ) -> Sequence[Frame]:
        """What `scan` gives, in lots of about so many rows, those of neighbouring files together."""
        lots = [] if rows is None else list(seen.lots_of_dates(dates, by=dated_by, rows=rows))
        if len(lots) > 1:
            return [nw.from_native(lot) for lot in lots]
        return [self.scan(seen, dates=dates, dated_by=dated_by)]

    def scan_keys(self, seen: Snapshot, keys: Frame, *, columns: Sequence[str] | None = None) -> Frame:
        """The rows of a table that have the values of `keys` in its columns."""
        return nw.from_native(seen.scan_keys(_native(keys).unique().collect(), columns=columns))

    def changed_since(self, seen: Snapshot, older: Snapshot, columns: Sequence[str]) -> Frame:
        """The values of some columns in the rows that came or went since an older state of a table."""
        return nw.from_native(seen.changed_since(older, columns).lazy())

    def compute(self, frame: Frame, *, of_tables: bool = False) -> Frame:
        """The frame computed once."""
        return nw.from_native(_native(frame).collect(engine="streaming" if of_tables else "auto").lazy())

    def contested(
        self, frame: Frame, seen: Snapshot, *, on: Sequence[str], dates: Collection[date], known: KeyHashes
    ) -> tuple[Frame, Frame, Frame]:
        """The rows that may share their values in the columns `on` with others: told by hashes, four times as fast."""
        rows = _native(frame).collect()
        hashes = rows.select(hash_of(on)).to_series()
        met, files = known.met(seen, seen.files_within({EVENT_DATE: sorted(dates)}), hashes, on=on)
        is_met = hashes.is_in(met.implode())
        shared = is_met | hashes.is_duplicated()
        # By the columns that lie in the files: so Parquet's reader makes no value of the others but in rows that stay.
        within = [name for name in on if name not in seen.partition_by]
        keys = rows.filter(is_met).select(hash_of(within)).to_series()
        existing = seen.scan_files(files).drop("_file").filter(hash_of(within).is_in(keys.implode())).collect()
        found = (rows.filter(shared), rows.filter(~shared), existing)
        return nw.from_native(found[0].lazy()), nw.from_native(found[1].lazy()), nw.from_native(found[2].lazy())

    def rows(self, frame: Frame) -> list[dict[str, Any]]:
        """A small frame as Python rows."""
        return _native(frame).collect().to_dicts()

    def conform(self, frame: Frame, columns: Mapping[str, Column]) -> Frame:
        """The frame's columns in the order and the types given; a value that does not fit raises."""
        native = _native(frame)
        has = native.collect_schema()
        wanted = {name: dtype_of(column.lake_type) for name, column in columns.items()}
        return nw.from_native(
            native.select(
                pl.col(name) if has[name] == dtype else pl.col(name).map_batches(partial(_exactly, to=dtype), dtype)
                for name, dtype in wanted.items()
            )
        )

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

    def write(self, table: TablePlace, rows: Frame) -> list[AddAction]:
        """Rows as files of a table, which nobody sees yet."""
        return write_files(_native(rows).collect(), table.uri, table.spec)

    def replace(
        self,
        seen: Snapshot,
        rows: Frame,
        *,
        written: Sequence[AddAction] = (),
        dates: Collection[date] | None,
        notes: CommitNotes,
    ) -> None:
        """Put rows, and those of written files, in the place of those of some event dates (None: of all)."""
        if dates is None:
            seen.swap([*written, *self.write(seen.table, rows)], notes=notes)
        elif EVENT_DATE in seen.table.spec.partition_by:
            seen.replace(_native(rows).collect(), written=written, within={EVENT_DATE: sorted(dates)}, notes=notes)
        else:
            seen.change(
                add=_native(rows).collect(),
                written=written,
                remove=pl.DataFrame({EVENT_DATE: sorted(dates)}, schema={EVENT_DATE: pl.Date}),
                on=[EVENT_DATE],
                notes=notes,
                exactly_here=True,
            )

    def copy(self, built: TableFiles, table: TablePlace, *, by: Convert | None = None) -> list[AddAction]:
        """A table's rows as files of another one."""
        lots = built.in_lots(built.files)
        return [action for files in lots for action in built.part(files).written_to(table, by=by)]


def _native(frame: Frame) -> pl.LazyFrame:
    native: pl.LazyFrame = frame.to_native()
    return native


def _exactly(values: pl.Series, *, to: pl.DataType) -> pl.Series:
    """Values in another type. Raises `ValueChangedError` where one has no equal in it."""
    cast = values.cast(to)
    if not cast.cast(values.dtype).equals(values, null_equal=True):
        raise ValueChangedError(f"{values.name}: values of type {values.dtype} would be changed by {to}")
    return cast
