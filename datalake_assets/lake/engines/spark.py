"""The Spark engine: steps computed on a cluster, tables changed by the same files and commits as by Polars.

Tasks read landed objects and tables' files with the lake's own readers, and write files with its own store; Spark does
what lies between: it shuffles, joins, and keeps what does not fit into memory. The step's own process commits, on the
version that was decided on. So verdicts, values, statistics and protocol are those of the Polars engine by
construction, and two engines may work on one table at once: there is one kind of commit (law 7).
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import date
from functools import reduce
from operator import and_
from typing import TYPE_CHECKING, Any, TypeVar

import narwhals as nw
import polars as pl
import pyarrow as pa
from deltalake.transaction import AddAction

from datalake_assets.lake.engines.base import Frame, Prepare
from datalake_assets.lake.engines.spark_tasks import (
    ACTION,
    REJECTS,
    TOLD,
    ObjectsRead,
    ReadObjects,
    WriteRows,
    action_of,
    arrow_schema,
    as_arrow,
    as_batches,
    as_polars,
)
from datalake_assets.lake.readers.batch import Batch, Limits, Load
from datalake_assets.lake.readers.rejects import SCHEMA
from datalake_assets.lake.spec.columns import EVENT_DATE, EVENT_MONTH, SOURCE_FILENAME
from datalake_assets.lake.spec.dataset import Dataset
from datalake_assets.lake.spec.parts import Column
from datalake_assets.lake.store.dtypes import dtype_of
from datalake_assets.lake.store.landing import LandedObject
from datalake_assets.lake.store.notes import CommitNotes
from datalake_assets.lake.store.place import TablePlace
from datalake_assets.lake.store.snapshot import SchemaChangeError, Snapshot
from datalake_assets.lake.store.table import Table
from datalake_assets.lake.store.table_files import TableFiles, Within, may_hold, within_days

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession
    from pyspark.sql.types import StructType

_TASK_BYTES = 32 * 1024**2  # of landed objects, or of a table's files
_TASK_MEMORY = 512 * 1024**2  # several tasks share a machine
_BATCH_BYTES, _BATCH_OBJECTS = 8 * 1024**3, 20_000
_FEW_KEYS = 200_000  # are told to every task; more are met by Spark's joins
Piece = TypeVar("Piece")
Work = Callable[[TableFiles], pl.LazyFrame]


class SparkEngine:
    """Computes with Spark; see `engines.base.Engine` for what each verb promises."""

    name = "spark"

    def __init__(self, session: "SparkSession") -> None:
        """Compute in a session, such as `spark_session.spark_session` gives."""
        self._session = session

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
        tasks = min(len(objects), max(self._session.sparkContext.defaultParallelism, size // _TASK_BYTES))
        by_size = sorted(objects, key=lambda o: o.size, reverse=True)
        # Kept, not made again from its lineage: a second reading could find other bytes than the first one told of.
        read = self._kept(self._each([by_size[n::tasks] for n in range(tasks)], work, work.columns))
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
        return _frame(self._session.createDataFrame(as_arrow(rows)))

    def scan(
        self, seen: Snapshot, *, dates: Collection[date | None] | None = None, dated_by: str = EVENT_DATE
    ) -> Frame:
        """A table's rows (of some dates) in the registry's columns."""
        days = None if dates is None else sorted(day for day in dates if day)
        return _frame(self._of_days(seen, days, by=dated_by))

    def scan_keys(self, seen: Snapshot, keys: Frame, *, columns: Sequence[str] | None = None) -> Frame:
        """The rows of a table that have the values of `keys` in its columns."""
        wanted = _native(keys).distinct()
        few = self._few(wanted)
        dtypes = _picked(seen.table.dtypes, columns)
        if few is None:
            rows = self._parts(seen, self._near(seen, wanted), _reading(list(dtypes)), dtypes)
            return _frame(_join(rows, wanted, "semi"))
        files = _may_hold_all(seen.files, few)
        return _frame(self._parts(seen, files, lambda part: part.scan_keys(few, columns=columns), dtypes))

    def changed_since(self, seen: Snapshot, older: Snapshot, columns: Sequence[str]) -> Frame:
        """The values of some columns in the rows that came or went since an older state of a table."""
        came = seen.files.join(older.files, on="path", how="anti")
        went = older.files.join(seen.files, on="path", how="anti")
        dtypes = _picked(seen.table.dtypes, columns)
        after = self._parts(seen, came, _reading(columns), dtypes)
        before = self._parts(older, went, _reading(columns), dtypes)
        return _frame(after.subtract(before).union(before.subtract(after)))

    def compute(self, frame: Frame) -> Frame:
        """The frame computed once, and kept by the executors."""
        return _frame(self._kept(_native(frame)))

    def contested(
        self, frame: Frame, seen: Snapshot, *, on: Sequence[str], dates: Collection[date]
    ) -> tuple[Frame, Frame, Frame]:
        """The rows that share their values in the columns `on` with others, by the keys alone."""
        from pyspark.sql.functions import count, lit

        rows = _native(frame)
        keys = rows.select(*on)
        files = seen.files_within({EVENT_DATE: sorted(dates)})
        table = self._parts(seen, files, _reading(on), _picked(seen.table.dtypes, on))
        met = self._kept(_join(table, keys, "semi").distinct() if files.height else table)
        repeated = keys.groupBy(*on).agg(count(lit(1)).alias("_n")).filter("_n > 1").select(*on)
        shared = self._told(self._kept(repeated.union(met).distinct()))
        copies, others = self._kept(_join(rows, shared, "semi")), _join(rows, shared, "anti")
        return _frame(copies), _frame(others), self.compute(self.scan_keys(seen, _frame(met)))

    def rows(self, frame: Frame) -> list[dict[str, Any]]:
        """A small frame as Python rows."""
        return as_polars(_native(frame).toArrow()).to_dicts()

    def conform(self, frame: Frame, columns: Mapping[str, Column]) -> Frame:
        """The frame's columns in the order and the types given; a value that does not fit raises."""
        from pyspark.sql.functions import col, lit, raise_error, when

        native = _native(frame)
        has, picked = native.schema, []
        for field in _struct(pl.Schema({name: dtype_of(c.lake_type) for name, c in columns.items()})):
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
        self._change(seen, None if add is None else _native(add), gone, within, notes, exactly_here=exactly_here)

    def replace(self, seen: Snapshot, rows: Frame, *, dates: Collection[date] | None, notes: CommitNotes) -> None:
        """Put rows in the place of those of some event dates (None: of all) in one commit."""
        add, table = _native(rows), seen.table
        if dates is None:
            seen.swap(self._written(_as_table(add, table), table), notes=notes)
        elif EVENT_DATE in table.spec.partition_by:
            seen.require_form()
            within = {EVENT_DATE: sorted(dates)}
            actions = self._written(_as_table(add, table), table)
            seen.commit(actions, seen.files_within(within), within=within, notes=notes, exactly_here=False)
        else:
            days = pl.DataFrame({EVENT_DATE: sorted(dates)}, schema={EVENT_DATE: pl.Date})
            gone = self._session.createDataFrame(as_arrow(days))
            self._change(seen, add, gone, None, notes, exactly_here=True)

    def copy(self, built: Snapshot, table: Table) -> list[AddAction]:
        """A table's rows as files of another one."""
        rows = self._parts(built, built.files, _reading(list(built.table.dtypes)), built.table.dtypes)
        return self._written(rows, table)

    def _change(
        self,
        seen: Snapshot,
        add: "DataFrame | None",
        remove: "DataFrame | None",
        within: Within,
        notes: CommitNotes,
        *,
        exactly_here: bool,
    ) -> None:
        """As `Snapshot.change`, with the rows of files that are written anew read and written by tasks."""
        seen.require_form()
        dtypes = seen.table.dtypes
        added = None if add is None else _as_table(add, seen.table)
        few = None if remove is None else self._few(remove)
        gone = seen.files.clear() if remove is None else self._holding(seen, remove, few, within)
        some = gone.height > 0 or (added is not None and not added.isEmpty())
        absorbed = seen.small_files(within) if some else gone.clear()
        rewritten = pl.concat([gone, absorbed.join(gone, on="path", how="anti")])
        if rewritten.height:
            if few is not None:
                kept = self._parts(seen, rewritten, _without(few), dtypes)
            else:
                kept = self._parts(seen, rewritten, _reading(list(dtypes)), dtypes)
                kept = kept if remove is None else _join(kept, remove, "anti")
            added = self._kept(kept) if added is None else self._kept(kept).unionByName(added)
        actions = [] if added is None else self._written(added, seen.table)
        seen.commit(actions, rewritten, within=within, notes=notes, exactly_here=exactly_here)

    def _holding(self, seen: Snapshot, rows: "DataFrame", few: pl.DataFrame | None, within: Within) -> pl.DataFrame:
        """The live files (of some partitions) with a row that equals one of `rows` in all their columns."""
        files = seen.files_within(within)
        if few is not None:
            candidates = _may_hold_all(files, few) if few.height else files.clear()
            held = self._parts(
                seen, candidates, lambda part: part.files_holding(few).lazy().select(_file="path"), _FILE
            ).toArrow()
        else:
            candidates = files.join(self._near(seen, rows), on="path", how="semi")
            on, dtypes = rows.columns, seen.table.dtypes
            places = self._parts(
                seen,
                candidates,
                lambda part: part.scan_files(part.files, on),
                pl.Schema({**_picked(dtypes, on), **_FILE}),
            )
            held = _join(places, rows, "semi").select("_file").distinct().toArrow()
        return candidates.join(as_polars(held), left_on="path", right_on="_file", how="semi")

    def _near(self, seen: Snapshot, keys: "DataFrame") -> pl.DataFrame:
        """The files whose bounds meet those of many keys, column by column."""
        from pyspark.sql.functions import max as greatest
        from pyspark.sql.functions import min as least

        bounds = [function(name).alias(f"{name}") for function in (least, greatest) for name in keys.columns]
        (row,) = as_polars(keys.agg(*(b.alias(f"_{n}") for n, b in enumerate(bounds))).toArrow()).rows()
        files, width = seen.files, len(keys.columns)
        for n, name in enumerate(keys.columns):
            low, high = f"min.{name}", f"max.{name}"
            if low in files.columns and files.schema[low] == seen.table.dtypes[name] and row[n] is not None:
                outside = (pl.col(high) < row[n]) | (pl.col(low) > row[width + n])
                files = files.filter(~outside.fill_null(value=False))
        return files

    def _of_days(self, seen: Snapshot, days: list[date] | None, *, by: str) -> "DataFrame":
        dtypes = seen.table.dtypes
        if days is None:
            return self._parts(seen, seen.files, _reading(list(dtypes)), dtypes)
        among = pl.col(by).is_in(days) if dtypes[by] == pl.Date else within_days(by, days)
        return self._parts(seen, seen.files_of_days(days, by=by), _reading(list(dtypes), where=among), dtypes)

    def _parts(self, seen: TableFiles, files: pl.DataFrame, work: Work, columns: pl.Schema) -> "DataFrame":
        """What `work` gives of some files, lot by lot, each in a task of its own."""
        lots = files.with_columns((pl.col("size_bytes").cum_sum() // _TASK_BYTES).alias("_lot"))
        parts = [seen.part(lot.drop("_lot")) for lot in lots.partition_by("_lot", maintain_order=True)]

        def run(part: TableFiles) -> Iterator[pa.RecordBatch]:
            return as_batches(work(part).collect())

        return self._each(parts, run, columns)

    def _each(
        self, pieces: Sequence[Piece], work: Callable[[Piece], Iterator[pa.RecordBatch]], columns: pl.Schema
    ) -> "DataFrame":
        """What `work` gives of some pieces, each in a task of its own."""

        def run(numbers: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
            for batch in numbers:
                for number in batch.column(0).to_pylist():
                    yield from work(pieces[number])

        tasks = self._session.range(0, len(pieces), 1, max(len(pieces), 1))
        return tasks.mapInArrow(run, _struct(columns))

    def _written(self, rows: "DataFrame", table: TablePlace) -> list[AddAction]:
        """Rows written as files of a table, in the order of its clusters; one that a task lost is in no action."""
        spec = table.spec
        cut = [EVENT_DATE if name == EVENT_MONTH else name for name in spec.partition_by]
        by = list(dict.fromkeys([*cut, *(spec.clustered_by or spec.key)]))
        placed = rows.repartitionByRange(*by) if by else rows
        place = TablePlace(spec, table.uri)
        told = placed.mapInArrow(WriteRows(place), _struct(pl.Schema(ACTION))).toArrow()
        return [action_of(text) for text in told.column("action").to_pylist()]

    def _kept(self, rows: "DataFrame") -> "DataFrame":
        from pyspark import StorageLevel

        # On disk, which the system keeps in memory where there is room: of a heap it would take what tasks need.
        return rows.localCheckpoint(eager=True, storageLevel=StorageLevel.DISK_ONLY)

    def _told(self, keys: "DataFrame") -> "DataFrame":
        """Keys to join with: few are told to each task, so that the rows they are joined with stay where they are."""
        from pyspark.sql.functions import broadcast

        few = self._few(keys)
        return keys if few is None else broadcast(self._session.createDataFrame(as_arrow(few)))

    def _few(self, keys: "DataFrame") -> pl.DataFrame | None:
        """Keys as rows of this process; None where they are many."""
        found = keys.limit(_FEW_KEYS + 1).toArrow()
        return as_polars(found).unique() if found.num_rows <= _FEW_KEYS else None


_FILE = pl.Schema({"_file": pl.String()})  # no column of a dataset begins so


def _frame(native: "DataFrame") -> Frame:
    return nw.from_native(native)


def _native(frame: Frame) -> "DataFrame":
    native: DataFrame = frame.to_native()
    return native


def _struct(columns: pl.Schema) -> "StructType":
    from pyspark.sql.pandas.types import from_arrow_schema

    return from_arrow_schema(arrow_schema(columns), prefer_timestamp_ntz=False)


def _picked(dtypes: pl.Schema, columns: Sequence[str] | None) -> pl.Schema:
    return dtypes if columns is None else pl.Schema({name: dtypes[name] for name in columns})


def _reading(columns: Sequence[str], *, where: pl.Expr | None = None) -> Work:
    """All rows of a part in some columns, or those that pass."""

    def work(part: TableFiles) -> pl.LazyFrame:
        rows = part.scan_files(part.files, columns).drop("_file")
        return rows if where is None else rows.filter(where)

    return work


def _without(keys: pl.DataFrame) -> Work:
    """The rows of a part that equal none of some keys."""

    def work(part: TableFiles) -> pl.LazyFrame:
        rows = part.scan_files(part.files).drop("_file")
        return rows.join(keys.lazy(), on=keys.columns, how="anti", nulls_equal=True)

    return work


def _may_hold_all(files: pl.DataFrame, keys: pl.DataFrame) -> pl.DataFrame:
    for name in keys.columns:
        files = may_hold(files, name, keys[name])
    return files


def _join(rows: "DataFrame", keys: "DataFrame", how: str) -> "DataFrame":
    """The rows that have (`semi`) or lack (`anti`) an equal among keys, by all their columns; null equals null."""
    beside = keys.toDF(*(f"_key_{n}" for n in range(len(keys.columns))))
    equal = [rows[name].eqNullSafe(beside[f"_key_{n}"]) for n, name in enumerate(keys.columns)]
    return rows.join(beside, reduce(and_, equal), f"left_{how}")


def _as_table(rows: "DataFrame", table: TablePlace) -> "DataFrame":
    """Rows in a table's columns and order. Raises `SchemaChangeError` where a type is another."""
    wanted = _struct(table.dtypes)
    has = {field.name: field.dataType for field in rows.schema}
    wrong = [f"{f.name}: {has.get(f.name)} instead of {f.dataType}" for f in wanted if has.get(f.name) != f.dataType]
    if wrong:
        raise SchemaChangeError(f"{table.uri}: these rows are not the table's: {'; '.join(wrong)}")
    return rows.select(*(field.name for field in wanted))


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
