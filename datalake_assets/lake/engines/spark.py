"""The Spark engine: steps computed on a cluster, tables changed by the same files and commits as by Polars.

Tasks read landed objects and tables' files with the lake's own readers, and write files with its own store; Spark does
what lies between: it shuffles, joins, and keeps what does not fit into memory. The step's own process commits, on the
version that was decided on. So verdicts, values, statistics and protocol are those of the Polars engine by
construction, and two engines may work on one table at once: there is one kind of commit (law 7).
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import date
from typing import TYPE_CHECKING, Any

import narwhals as nw
import polars as pl
from deltalake.transaction import AddAction

from datalake_assets.lake.engines.base import Frame, Prepare
from datalake_assets.lake.engines.key_hashes import KeyHashes
from datalake_assets.lake.engines.spark_tables import TASK_BYTES, SparkTables, in_columns, joined, struct
from datalake_assets.lake.engines.spark_tasks import REJECTS, TOLD, ObjectsRead, ReadObjects, as_polars
from datalake_assets.lake.readers.batch import Batch, Limits, Load
from datalake_assets.lake.readers.rejects import SCHEMA
from datalake_assets.lake.spec.columns import EVENT_DATE, SOURCE_FILENAME
from datalake_assets.lake.spec.dataset import Dataset
from datalake_assets.lake.spec.parts import Column
from datalake_assets.lake.store.dtypes import dtype_of
from datalake_assets.lake.store.landing import LandedObject
from datalake_assets.lake.store.notes import CommitNotes
from datalake_assets.lake.store.place import TablePlace
from datalake_assets.lake.store.snapshot import Snapshot
from datalake_assets.lake.store.table_files import Convert, TableFiles

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

_TASK_MEMORY = 512 * 1024**2  # several tasks share a machine
_BATCH_BYTES, _BATCH_OBJECTS = 8 * 1024**3, 20_000


class SparkEngine:
    """Computes with Spark; see `engines.base.Engine` for what each verb promises."""

    name = "spark"

    def __init__(self, session: "SparkSession") -> None:
        """Compute in a session, such as `spark_session.spark_session` gives."""
        self._tables = SparkTables(session)
        self._parallelism = session.sparkContext.defaultParallelism

    def read(
        self, dataset: Dataset, load: Load, objects: Sequence[LandedObject], *, limits: Limits, prepare: Prepare
    ) -> Iterator[Batch]:
        """Read landed objects in tasks of about the same size, in batches of some gigabytes."""
        within = Limits(limits.object_bytes, limits.record_bytes, min(limits.memory_bytes, _TASK_MEMORY))
        work = ReadObjects(dataset, load, within, prepare)
        for some in _in_batches(objects):
            yield self._batch(work, some)

    def _batch(self, work: ReadObjects, objects: Sequence[LandedObject]) -> Batch:
        from pyspark.sql.functions import col

        size = sum(o.size for o in objects)
        tasks = min(len(objects), max(self._parallelism, size // TASK_BYTES))
        by_size = sorted(objects, key=lambda o: o.size, reverse=True)
        # Kept, not made again from its lineage: a second reading could find other bytes than the first one told of.
        read = self._tables.kept(self._tables.each([by_size[n::tasks] for n in range(tasks)], work, work.columns))
        told = as_polars(read.filter(col(TOLD).isNotNull()).select(TOLD, REJECTS).toArrow())
        found = ObjectsRead.of(told.iter_rows(named=True), none=SCHEMA.to_frame())
        accepted = read.filter(col(TOLD).isNull()).drop(TOLD, REJECTS)
        ended = {o.key for o in found.outcomes if o.is_read}
        broken_off = sorted({o.key for o in found.unfinished if o.rows_out} - ended)
        if broken_off:
            accepted = accepted.filter(~col(SOURCE_FILENAME).isin(broken_off))
        return Batch(_frame(accepted), found.rejected, found.outcomes, found.bytes_in)

    def take(self, rows: pl.DataFrame) -> Frame:
        """Rows of this process as a frame."""
        return _frame(self._tables.of(rows))

    def scan(
        self, seen: Snapshot, *, dates: Collection[date | None] | None = None, dated_by: str = EVENT_DATE
    ) -> Frame:
        """A table's rows (of some dates) in the registry's columns."""
        if dates is None:
            return _frame(self._tables.rows(seen, seen.files))
        return _frame(self._tables.of_days(seen, sorted(day for day in dates if day), by=dated_by))

    def lots(
        self,
        seen: Snapshot,
        *,
        dates: Collection[date] | None,
        dated_by: str,
        rows: int | None,  # noqa: ARG002 (tasks hold what each of them can)
    ) -> Sequence[Frame]:
        """What `scan` gives, in one lot."""
        return [self.scan(seen, dates=dates, dated_by=dated_by)]

    def scan_keys(self, seen: Snapshot, keys: Frame, *, columns: Sequence[str] | None = None) -> Frame:
        """The rows of a table that have the values of `keys` in its columns."""
        return _frame(self._tables.with_keys(seen, _native(keys).distinct(), columns))

    def changed_since(self, seen: Snapshot, older: Snapshot, columns: Sequence[str]) -> Frame:
        """The values of some columns in the rows that came or went since an older state of a table."""
        came, went = seen.files_beside(older)
        after, before = self._tables.rows(seen, came, columns), self._tables.rows(older, went, columns)
        return _frame(after.subtract(before).union(before.subtract(after)))

    def compute(self, frame: Frame, *, of_tables: bool = False) -> Frame:  # noqa: ARG002 (Spark streams all there is)
        """The frame computed once, and kept by the executors."""
        return _frame(self._tables.kept(_native(frame)))

    def contested(
        self,
        frame: Frame,
        seen: Snapshot,
        *,
        on: Sequence[str],
        dates: Collection[date],
        known: KeyHashes,  # noqa: ARG002 (the table is read anew for each batch)
    ) -> tuple[Frame, Frame, Frame]:
        """The rows that share their values in the columns `on` with others, by the keys alone; a step has few batches.

        So nothing is remembered for the next one.
        """
        from pyspark.sql.functions import count, lit

        tables, rows = self._tables, _native(frame)
        keys = rows.select(*on)
        files = seen.files_within({EVENT_DATE: sorted(dates)})
        table = tables.rows(seen, files, on)
        met = tables.kept(joined(table, keys, "semi").distinct() if files.height else table)
        repeated = keys.groupBy(*on).agg(count(lit(1)).alias("_n")).filter("_n > 1").select(*on)
        shared = tables.told(tables.kept(repeated.union(met).distinct()))
        copies, others = tables.kept(joined(rows, shared, "semi")), joined(rows, shared, "anti")
        return _frame(copies), _frame(others), self.compute(self.scan_keys(seen, _frame(met)))

    def rows(self, frame: Frame) -> list[dict[str, Any]]:
        """A small frame as Python rows."""
        return as_polars(_native(frame).toArrow()).to_dicts()

    def conform(self, frame: Frame, columns: Mapping[str, Column]) -> Frame:
        """The frame's columns in the order and the types given; a value that does not fit raises."""
        from pyspark.sql.functions import col, lit, raise_error, when

        native = _native(frame)
        has, picked = native.schema, []
        for field in struct(pl.Schema({name: dtype_of(c.lake_type) for name, c in columns.items()})):
            value, to, was = col(field.name), field.dataType, has[field.name].dataType
            if was != to:
                message = f"{field.name}: values of type {was.simpleString()} would be changed by {to.simpleString()}"
                same = value.cast(to).cast(was).eqNullSafe(value)
                value = when(same, value.cast(to)).otherwise(raise_error(lit(message)).cast(to))
            picked.append(value.alias(field.name))
        return _frame(native.select(*picked))

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
        gone = None if remove is None else _native(remove).select(*on).distinct()
        within = None if dates is None else {EVENT_DATE: sorted(dates)}
        actions, rewritten = self._tables.change(seen, None if add is None else _native(add), gone, within)
        seen.commit(actions, rewritten, within=within, notes=notes, exactly_here=exactly_here)

    def write(self, table: TablePlace, rows: Frame) -> list[AddAction]:
        """Rows as files of a table, which nobody sees yet."""
        return self._tables.written(in_columns(_native(rows), table), table)

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
        table = seen.table
        if dates is None:
            seen.swap([*written, *self.write(table, rows)], notes=notes)
        elif EVENT_DATE in table.spec.partition_by:
            seen.require_form()
            within = {EVENT_DATE: sorted(dates)}
            actions = [*written, *self.write(table, rows)]
            seen.commit(actions, seen.files_within(within), within=within, notes=notes, exactly_here=False)
        else:
            days = self._tables.of(pl.DataFrame({EVENT_DATE: sorted(dates)}, schema={EVENT_DATE: pl.Date}))
            actions, rewritten = self._tables.change(seen, _native(rows), days, None)
            seen.commit([*written, *actions], rewritten, within=None, notes=notes, exactly_here=True)

    def copy(self, built: TableFiles, table: TablePlace, *, by: Convert | None = None) -> list[AddAction]:
        """A table's rows as files of another one."""
        if by is not None:
            return self._tables.converted(built, table, by)
        return self._tables.written(self._tables.rows(built, built.files), table)


def _frame(native: "DataFrame") -> Frame:
    return nw.from_native(native)


def _native(frame: Frame) -> "DataFrame":
    native: DataFrame = frame.to_native()
    return native


def _in_batches(objects: Sequence[LandedObject]) -> Iterator[list[LandedObject]]:
    some: list[LandedObject] = []
    size = 0
    for landed in objects:
        some.append(landed)
        size += landed.size
        if size >= _BATCH_BYTES or len(some) >= _BATCH_OBJECTS:
            yield some
            some, size = [], 0
    if some:
        yield some
