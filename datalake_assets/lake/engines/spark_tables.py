"""Tables of the lake as Spark frames: their files read, and written, by tasks; keys told to tasks, or joined.

Belongs here: what crosses between the lake's store and Spark. What a step asks for is in `spark.py`, what runs inside
of a task in `spark_tasks.py`.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import date
from functools import reduce
from operator import and_
from typing import TYPE_CHECKING, TypeVar

import polars as pl
import pyarrow as pa
from deltalake.transaction import AddAction

from datalake_assets.lake.engines.spark_tasks import (
    ACTION,
    WriteRows,
    action_of,
    arrow_schema,
    as_arrow,
    as_batches,
    as_polars,
    told_actions,
)
from datalake_assets.lake.spec.columns import EVENT_DATE, EVENT_MONTH
from datalake_assets.lake.store.file_pruning import may_hold_all, within_days
from datalake_assets.lake.store.place import TablePlace
from datalake_assets.lake.store.snapshot import SchemaChangeError, Snapshot
from datalake_assets.lake.store.table_files import Convert, TableFiles, Within

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession
    from pyspark.sql.types import StructType

TASK_BYTES = 32 * 1024**2
"""How much a task reads: of landed objects, or of a table's files."""
_FEW_KEYS = 200_000  # are told to every task; more are met by Spark's joins
_FILE = pl.Schema({"_file": pl.String()})  # no column of a dataset begins so
Piece = TypeVar("Piece")
Work = Callable[[TableFiles], pl.LazyFrame]


class SparkTables:
    """Reads and writes tables in the tasks of a session."""

    def __init__(self, session: "SparkSession") -> None:
        self._session = session

    def of(self, rows: pl.DataFrame) -> "DataFrame":
        """Rows of this process."""
        return self._session.createDataFrame(as_arrow(rows))

    def kept(self, rows: "DataFrame") -> "DataFrame":
        """Rows computed once, and kept by the executors."""
        from pyspark import StorageLevel

        # On disk, which the system keeps in memory where there is room: of a heap it would take what tasks need.
        return rows.localCheckpoint(eager=True, storageLevel=StorageLevel.DISK_ONLY)

    def rows(self, seen: TableFiles, files: pl.DataFrame, columns: Sequence[str] | None = None) -> "DataFrame":
        """The rows of some live files in some columns (None: all)."""
        dtypes = picked(seen.table.dtypes, columns)
        return self._parts(seen, files, lambda part: part.scan_files(part.files, list(dtypes)).drop("_file"), dtypes)

    def of_days(self, seen: TableFiles, days: list[date], *, by: str) -> "DataFrame":
        """The rows of some days, told by a column, from the files that can hold them."""
        dtypes = seen.table.dtypes
        among = within_days(by, days, dtypes[by])
        files = seen.files_of_days(days, by=by)
        return self._parts(seen, files, lambda part: part.scan_files(part.files).drop("_file").filter(among), dtypes)

    def with_keys(self, seen: Snapshot, keys: "DataFrame", columns: Sequence[str] | None) -> "DataFrame":
        """The rows with the values of distinct keys, in some columns (None: all), from the files that can hold them."""
        if (few := self.few(keys)) is None:
            return joined(self.rows(seen, self._near(seen, keys), columns), keys, "semi")
        files = may_hold_all(seen.files, few)
        dtypes = picked(seen.table.dtypes, columns)
        return self._parts(seen, files, lambda part: part.scan_keys(few, columns=columns), dtypes)

    def change(self, seen: Snapshot, add: "DataFrame | None", remove: "DataFrame | None", within: Within) -> "Change":
        """What `Snapshot.change` does with rows in this process: the files written, and those that they replace.

        `remove` are distinct keys. Raises `SchemaChangeError`.
        """
        seen.require_form()
        added = None if add is None else in_columns(add, seen.table)
        few = None if remove is None else self.few(remove)
        gone = seen.files.clear() if remove is None else self._holding(seen, remove, few, within)
        some = gone.height > 0 or (added is not None and not added.isEmpty())
        absorbed = seen.small_files(within) if some else gone.clear()
        rewritten = pl.concat([gone, absorbed.join(gone, on="path", how="anti")])
        if rewritten.height:
            kept = self.kept(self._without(seen, rewritten, remove, few))
            added = kept if added is None else kept.unionByName(added)
        return ([] if added is None else self.written(added, seen.table)), rewritten

    def written(self, rows: "DataFrame", table: TablePlace) -> list[AddAction]:
        """Rows written as files of a table, in the order of its clusters; one that a task lost is in no action."""
        spec = table.spec
        cut = [EVENT_DATE if name == EVENT_MONTH else name for name in spec.partition_by]
        by = list(dict.fromkeys([*cut, *(spec.clustered_by or spec.key)]))
        placed = rows.repartitionByRange(*by) if by else rows
        told = placed.mapInArrow(WriteRows(TablePlace(spec, table.uri)), struct(pl.Schema(ACTION))).toArrow()
        return [action_of(text) for text in told.column("action").to_pylist()]

    def converted(self, built: TableFiles, table: TablePlace, by: Convert) -> list[AddAction]:
        """A table's rows as files of another one, in whose columns they are brought by each task for itself."""
        place = TablePlace(table.spec, table.uri)
        lots = [built.part(files) for files in built.in_lots(built.files)]

        def work(part: TableFiles) -> Iterator[pa.RecordBatch]:
            yield from told_actions(part.written_to(place, by=by))

        told = self.each(lots, work, pl.Schema(ACTION)).toArrow()
        return [action_of(text) for text in told.column("action").to_pylist()]

    def each(
        self, pieces: Sequence[Piece], work: Callable[[Piece], Iterator[pa.RecordBatch]], columns: pl.Schema
    ) -> "DataFrame":
        """What `work` gives of some pieces, each in a task of its own."""

        def run(numbers: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
            for batch in numbers:
                for number in batch.column(0).to_pylist():
                    yield from work(pieces[number])

        tasks = self._session.range(0, len(pieces), 1, max(len(pieces), 1))
        return tasks.mapInArrow(run, struct(columns))

    def told(self, keys: "DataFrame") -> "DataFrame":
        """Keys to join with: few are told to each task, so that the rows they are joined with stay where they are."""
        from pyspark.sql.functions import broadcast

        few = self.few(keys)
        return keys if few is None else broadcast(self.of(few))

    def few(self, keys: "DataFrame") -> pl.DataFrame | None:
        """Keys as rows of this process; None where they are many."""
        found = keys.limit(_FEW_KEYS + 1).toArrow()
        return as_polars(found).unique() if found.num_rows <= _FEW_KEYS else None

    def _parts(self, seen: TableFiles, files: pl.DataFrame, work: Work, columns: pl.Schema) -> "DataFrame":
        """What `work` gives of some files, lot by lot, each in a task of its own."""
        lots = files.with_columns((pl.col("size_bytes").cum_sum() // TASK_BYTES).alias("_lot"))
        parts = [seen.part(lot.drop("_lot")) for lot in lots.partition_by("_lot", maintain_order=True)]
        return self.each(parts, lambda part: as_batches(work(part).collect()), columns)

    def _without(
        self, seen: Snapshot, files: pl.DataFrame, keys: "DataFrame | None", few: pl.DataFrame | None
    ) -> "DataFrame":
        """The rows of some live files that equal none of some keys."""
        if few is None:
            rows = self.rows(seen, files)
            return rows if keys is None else joined(rows, keys, "anti")
        on = few.columns

        def work(part: TableFiles) -> pl.LazyFrame:
            return part.scan_files(part.files).drop("_file").join(few.lazy(), on=on, how="anti", nulls_equal=True)

        return self._parts(seen, files, work, seen.table.dtypes)

    def _holding(self, seen: Snapshot, rows: "DataFrame", few: pl.DataFrame | None, within: Within) -> pl.DataFrame:
        """The live files (of some partitions) with a row that equals one of `rows` in all their columns."""
        files = seen.files_within(within)
        if few is not None:
            candidates = may_hold_all(files, few) if few.height else files.clear()
            held = self._parts(
                seen, candidates, lambda part: part.files_holding(few).lazy().select(_file="path"), _FILE
            )
        else:
            candidates = files.join(self._near(seen, rows), on="path", how="semi")
            on = rows.columns
            dtypes = pl.Schema({**picked(seen.table.dtypes, on), **_FILE})
            places = self._parts(seen, candidates, lambda part: part.scan_files(part.files, on), dtypes)
            held = joined(places, rows, "semi").select("_file").distinct()
        return candidates.join(as_polars(held.toArrow()), left_on="path", right_on="_file", how="semi")

    def _near(self, seen: Snapshot, keys: "DataFrame") -> pl.DataFrame:
        """The files whose bounds meet those of many keys, column by column."""
        from pyspark.sql.functions import max as greatest
        from pyspark.sql.functions import min as least

        names, width = keys.columns, len(keys.columns)
        bounds = [bound(name) for bound in (least, greatest) for name in names]
        (row,) = as_polars(keys.agg(*(bound.alias(f"_{n}") for n, bound in enumerate(bounds))).toArrow()).rows()
        files = seen.files
        for n, name in enumerate(names):
            low, high = f"min.{name}", f"max.{name}"
            if low in files.columns and files.schema[low] == seen.table.dtypes[name] and row[n] is not None:
                outside = (pl.col(high) < row[n]) | (pl.col(low) > row[width + n])
                files = files.filter(~outside.fill_null(value=False))
        return files


Change = tuple[list[AddAction], pl.DataFrame]
"""Files written, and the live files whose place they take."""


def struct(columns: pl.Schema) -> "StructType":
    """Columns as Spark has them."""
    from pyspark.sql.pandas.types import from_arrow_schema

    return from_arrow_schema(arrow_schema(columns), prefer_timestamp_ntz=False)


def picked(dtypes: pl.Schema, columns: Sequence[str] | None) -> pl.Schema:
    """Some columns of a table, in the order given; None: all."""
    return dtypes if columns is None else pl.Schema({name: dtypes[name] for name in columns})


def joined(rows: "DataFrame", keys: "DataFrame", how: str) -> "DataFrame":
    """The rows that have (`semi`) or lack (`anti`) an equal among keys, by all their columns; null equals null."""
    beside = keys.toDF(*(f"_key_{n}" for n in range(len(keys.columns))))
    equal = [rows[name].eqNullSafe(beside[f"_key_{n}"]) for n, name in enumerate(keys.columns)]
    return rows.join(beside, reduce(and_, equal), f"left_{how}")


def in_columns(rows: "DataFrame", table: TablePlace) -> "DataFrame":
    """Rows in a table's columns and order. Raises `SchemaChangeError` where a type is another."""
    wanted = struct(table.dtypes)
    has = {field.name: field.dataType for field in rows.schema}
    wrong = [f"{f.name}: {has.get(f.name)} instead of {f.dataType}" for f in wanted if has.get(f.name) != f.dataType]
    if wrong:
        raise SchemaChangeError(f"{table.uri}: these rows are not the table's: {'; '.join(wrong)}")
    return rows.select(*(field.name for field in wanted))
