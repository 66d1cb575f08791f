"""Reading a Delta table as somebody saw it: its live files, its rows, what its log tells.

Belongs here: reading. Which files can hold what is asked for is in `file_pruning.py`, changing a table is in
`snapshot.py`. A table may be cut otherwise than the registry asks for, until it is rebuilt: it is read as it is.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import date
from functools import cached_property
from itertools import islice
from typing import Any
from urllib.parse import unquote

import polars as pl
from deltalake import DeltaTable
from deltalake.transaction import AddAction

from datalake_assets.lake.spec.columns import EVENT_DATE, EVENT_MONTH
from datalake_assets.lake.store.file_pruning import bounds_of_days, may_hold, may_hold_all, picked, within_days
from datalake_assets.lake.store.files import write_files
from datalake_assets.lake.store.notes import Commit, commit_of, entry_of, notes_of
from datalake_assets.lake.store.object_store import get, polars_options
from datalake_assets.lake.store.place import TablePlace, commit_name

_FEW_FILES = 2
_ROWS_AT_A_TIME = 500_000
Within = Mapping[str, Collection[Any]] | None
"""Part of a table: values of columns that cut it, or event dates, however it is cut; None is all of it."""
Convert = Callable[[pl.LazyFrame], pl.LazyFrame]
"""What makes rows of some columns rows of others, one by one."""


class TableFiles:
    """A table as it was when it was opened."""

    def __init__(self, table: TablePlace, handle: DeltaTable | None) -> None:
        """Take an opened table; None stands for one that does not exist."""
        self.table = table
        self.handle = handle
        self.version = -1 if handle is None else handle.version()
        metadata = None if handle is None else handle.metadata()
        self.table_id = "" if metadata is None else str(metadata.id)
        self.partition_by: tuple[str, ...] = table.spec.partition_by
        """The columns by which the table is cut; those of the registry where there is no table yet."""
        if metadata is not None:
            self.partition_by = tuple(metadata.partition_columns)

    @property
    def exists(self) -> bool:
        """Whether there is such a table."""
        return self.handle is not None

    @cached_property
    def files(self) -> pl.DataFrame:
        """The table's live files: `path`, `size_bytes`, `num_records`, `partition.<column>`, `min.<c>`, `max.<c>`."""
        if self.handle is None:
            return pl.DataFrame(schema={"path": pl.String, "size_bytes": pl.Int64, "num_records": pl.Int64})
        return pl.DataFrame(self.handle.get_add_actions(flatten=True))

    def files_within(self, within: Within) -> pl.DataFrame:
        """The live files of some partitions (None: all); of event dates those that can hold rows of them."""
        files = self.files
        if within is None or files.is_empty():
            return files
        for name, values in self._with_months(within).items():
            if name in self.partition_by:
                files = files.filter(picked(name, values, prefix="partition."))
            else:
                files = may_hold(files, name, pl.Series(list(values), dtype=self.table.dtypes[name]))
        return files

    def files_of_days(self, days: Sequence[date], *, by: str) -> pl.DataFrame:
        """The live files that can hold rows of some days, told by a column as `within_days` knows them."""
        low, high = f"min.{by}", f"max.{by}"
        if by == EVENT_DATE:
            return self.files_within({by: days})
        if low not in self.files.columns or not days:
            return self.files if days else self.files.clear()
        first, last = bounds_of_days(days[0], days[-1], self.table.dtypes[by])
        return self.files.filter(~((pl.col(high) < first) | (pl.col(low) > last)).fill_null(value=False))

    def _with_months(self, within: Mapping[str, Collection[Any]]) -> Mapping[str, Collection[Any]]:
        """Event dates with their months, where these cut the table."""
        if EVENT_DATE not in within or EVENT_MONTH not in self.partition_by:
            return within
        return {EVENT_MONTH: {day and day.replace(day=1) for day in within[EVENT_DATE]}, **within}

    def in_lots(self, files: pl.DataFrame) -> Iterator[pl.DataFrame]:
        """Some live files, partition by partition, in lots with about as many rows as a file may have."""
        for _, group in _grouped(files, [f"partition.{name}" for name in self.partition_by]):
            yield from in_lots(group, self.table.spec.rows_per_file)

    @property
    def row_count(self) -> int:
        """The number of rows, from the log alone."""
        return int(self.files["num_records"].sum() or 0)

    def scan(self, within: Within = None) -> pl.LazyFrame:
        """The rows (of some partitions or dates), in the registry's columns; a column that the table lacks is null."""
        dtypes = self.table.dtypes
        if self.handle is None or self.files.is_empty():
            return pl.LazyFrame(schema=dtypes)
        frame = pl.scan_delta(self.handle, storage_options=polars_options(self.table.uri))
        for name, values in self._with_months(within or {}).items():
            frame = frame.filter(picked(name, values))
        known = frame.collect_schema()
        return frame.select(
            pl.col(name) if name in known else pl.lit(None, dtype).alias(name) for name, dtype in dtypes.items()
        )

    def scan_dates(self, dates: Collection[date | None] | None, *, by: str) -> pl.LazyFrame:
        """The rows of some dates (None: all), told by a column as `within_days` knows them."""
        if dates is None:
            return self.scan()
        days = sorted(day for day in dates if day)
        if by == EVENT_DATE:
            return self.scan({by: days})
        return self.scan().filter(within_days(by, days, self.table.dtypes[by]))

    def lots_of_dates(self, dates: Collection[date] | None, *, by: str, rows: int) -> Iterator[pl.LazyFrame]:
        """What `scan_dates` gives in lots of files with about so many rows; none where it must be read as a whole."""
        if not self.fits or self.files.is_empty():
            return
        days = None if dates is None else sorted(dates)
        files = self.files if days is None else self.files_of_days(days, by=by)
        if (cut := f"partition.{EVENT_DATE}") in files.columns:
            files = files.sort(cut, maintain_order=True)
        for lot in in_lots(files, rows):
            found = self.scan_files(lot).drop("_file")
            yield found if days is None else found.filter(within_days(by, days, self.table.dtypes[by]))

    def part(self, files: pl.DataFrame) -> "TableFiles":
        """Some of the live files as a table of their own, without its log: another process can be given it."""
        place = self.table
        found = TableFiles(TablePlace(place.spec, place.uri), None)
        found.partition_by = self.partition_by
        found.files = files
        return found

    def written_to(self, table: TablePlace, *, by: Convert | None = None) -> list[AddAction]:
        """The rows as files of another table with the same columns, or those that `by` makes, which nobody sees yet.

        A column that `by` does not give is null.
        """
        rows = self.scan_files(self.files).drop("_file")
        if by is not None:
            rows = by(rows).match_to_schema(table.dtypes, missing_columns="insert")
        return write_files(rows.collect(), table.uri, table.spec)

    def scan_files(self, files: pl.DataFrame, columns: Sequence[str] | None = None) -> pl.LazyFrame:
        """The rows of some live files, with `_file` (the path of each) as the last column."""
        wanted, dtypes = list(columns or self.table.dtypes), self.table.dtypes
        if files.is_empty():
            return pl.LazyFrame(schema={**{name: dtypes[name] for name in wanted}, "_file": pl.String()})
        places = [f"{self.table.uri}/{unquote(path)}" for path in files["path"]]
        # One scan, be the partitions many: a scan for each of 900 had Polars warn of a deadlock.
        rows = pl.scan_parquet(
            places,
            include_file_paths="_place",
            hive_partitioning=False,
            missing_columns="insert",
            extra_columns="ignore",
            schema={n: t for n, t in dtypes.items() if n not in self.partition_by},
            storage_options=polars_options(self.table.uri),
        )
        told = {name: files[f"partition.{name}"].cast(dtypes[name]) for name in self.partition_by if name in wanted}
        told["_file"] = files["path"]
        return rows.with_columns(_of_place(places, v).alias(n) for n, v in told.items()).select(*wanted, "_file")

    def scan_keys(
        self, keys: pl.DataFrame, *, within: Within = None, columns: Sequence[str] | None = None
    ) -> pl.LazyFrame:
        """The rows (of some partitions) with the values of `keys` in its columns, from the files that can hold them.

        `columns` must hold those of `keys`; None: all that there are. Of many files the columns of the keys are read
        first, and the others only where these are found: most of what lands is new.
        """
        candidates = may_hold_all(self.files_within(within), keys)
        if candidates.height > _FEW_FILES:
            candidates = self._holding(candidates, keys)
        return self._equal(candidates, keys, columns).drop("_file")

    def files_holding(self, rows: pl.DataFrame, *, within: Within = None) -> pl.DataFrame:
        """The live files (of some partitions) with a row that equals one of `rows` in all their columns."""
        candidates = may_hold_all(self.files_within(within), rows)
        return self._holding(candidates, rows) if rows.height else candidates.clear()

    def _holding(self, files: pl.DataFrame, rows: pl.DataFrame) -> pl.DataFrame:
        """Those of some live files that have a row which equals one of `rows`."""
        holding = self._equal(files, rows, rows.columns).select(pl.col("_file").unique()).collect()
        return files.join(holding, left_on="path", right_on="_file", how="semi")

    def _equal(self, files: pl.DataFrame, rows: pl.DataFrame, columns: Sequence[str] | None) -> pl.LazyFrame:
        """The rows of some live files, with their `_file`, that equal one of `rows` in all its columns.

        Of many files some are read after the others: of all together Polars holds more than those rows.
        """
        on = rows.columns
        lots = [*in_lots(files, _ROWS_AT_A_TIME)] or [files]
        found = (self.scan_files(lot, columns).join(rows.lazy(), on=on, how="semi", nulls_equal=True) for lot in lots)
        return next(found) if len(lots) == 1 else pl.concat([part.collect() for part in found]).lazy()

    def files_beside(self, older: "TableFiles") -> tuple[pl.DataFrame, pl.DataFrame]:
        """The live files that came since an older state of the table, and those of it that went."""
        came = self.files.join(older.files, on="path", how="anti")
        return came, older.files.join(self.files, on="path", how="anti")

    def changed_since(self, older: "TableFiles", columns: Sequence[str]) -> pl.DataFrame:
        """The values of some columns in the rows that came or went since an older state of the table.

        Reads the files that came or went, and no others.
        """
        came, went = self.files_beside(older)
        after = self.scan_files(came, columns).drop("_file")
        before = older.scan_files(went, columns).drop("_file")
        on = list(columns)
        parts = [
            after.join(before, on=on, how="anti", nulls_equal=True),
            before.join(after, on=on, how="anti", nulls_equal=True),
        ]
        return pl.concat(parts).unique().collect()

    @property
    def fits(self) -> bool:
        """Whether the table has the registry's columns and is cut by them (true where there is no table yet)."""
        return not self.other_columns()

    @cached_property
    def shape(self) -> str | None:
        """The shape of the dataset that the table was last written with; None where no commit tells one.

        Commits of other tools, such as a compaction, tell none: then the last one that does counts.
        """
        if self.handle is None:
            return None
        for entry in self._entries():
            if (notes := notes_of(entry)) and notes.get("shape"):
                return str(notes["shape"])
        return None

    def commits_since(self, version: int) -> list[Commit] | None:
        """The commits after a version, oldest first; None when the log does not reach back that far."""
        if self.handle is None:
            return []
        missing = self.version - version
        if missing <= 0:
            return [] if missing == 0 else None
        commits = [commit_of(entry) for entry in islice(self._entries(), missing)]
        return commits[::-1] if len(commits) == missing else None

    def _entries(self) -> Iterator[dict[str, Any]]:
        """What each commit tells of itself, the newest first, as far back as the log reaches.

        Read one by one: delta-rs lists the log before, and lets no other thread of Python run meanwhile.
        """
        for version in range(self.version, -1, -1):
            try:
                yield entry_of(version, get(self.table.uri, commit_name(version)))
            except FileNotFoundError:
                return

    def has(self, columns: Collection[str]) -> bool:
        """Whether the table has some columns in the registry's types."""
        return not {text.partition(":")[0] for text in self.other_columns()} & set(columns)

    def other_columns(self) -> list[str]:
        """What the table has otherwise than the registry, column by column, and by which it is cut."""
        if self.handle is None:
            return []
        found = pl.Schema(pl.DataFrame(self.handle.schema().to_arrow().empty_table()).schema)
        wanted = self.table.stored_dtypes
        changed = [
            f"{name}: {found.get(name, 'none')} -> {wanted.get(name, 'none')}"
            for name in dict.fromkeys([*wanted, *found])
            if found.get(name) != wanted.get(name)
        ]
        if self.partition_by != self.table.spec.partition_by:
            cut = [", ".join(names) or "none" for names in (self.partition_by, self.table.spec.partition_by)]
            changed.append(f"partition_by: {' -> '.join(cut)}")
        return changed


def in_lots(files: pl.DataFrame, rows: int) -> Iterator[pl.DataFrame]:
    """Some files, in their order, in lots of about so many rows."""
    if (files["num_records"].sum() or 0) <= rows:
        yield from [files] if files.height else []
        return
    lot = (pl.col("num_records").cum_sum() - 1) // rows
    yield from (part for _, part in files.group_by(lot, maintain_order=True))


def _grouped(files: pl.DataFrame, by: Sequence[str]) -> Iterator[tuple[tuple[Any, ...], pl.DataFrame]]:
    if by and files.height:
        yield from files.group_by(by, maintain_order=True)
    elif files.height:
        yield (), files


def _of_place(places: Sequence[str], values: pl.Series) -> pl.Expr:
    """The value that each row has by the place of its file."""
    if values.n_unique() == 1:
        return pl.lit(values[0], values.dtype)
    return pl.col("_place").replace_strict(places, values, return_dtype=values.dtype)
