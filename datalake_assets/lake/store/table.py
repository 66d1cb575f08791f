"""A Delta table: opened once, and changed by compare-and-swap.

A `Snapshot` is a table as somebody saw it; a change is committed on the snapshot that it was decided on, or refused
with `ConflictError`, and whoever decided looks again. Belongs here: that one path to the log, and the guard that keeps
tables readable by everyone (law 6). delta-rs is asked for no retries: its own would commit a stale decision, and its
merges and compactions do so silently (a change of files is checked by nobody else, so it is checked here).
"""

import json
import random
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import unquote

import obstore
import polars as pl
from deltalake import CommitProperties, DeltaTable, Schema
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError
from deltalake.transaction import AddAction, RemoveAction, create_table_with_add_actions

from datalake_assets.lake.spec.tables import TableSpec
from datalake_assets.lake.store.dtypes import dtype_of_text
from datalake_assets.lake.store.files import ROWS_PER_FILE, write_files

READER_VERSION, WRITER_VERSION = 1, 2
_ATTEMPTS = 40
_LONGEST_PAUSE = 1.0  # seconds
_SMALL_FILE, _MOST_SMALL_FILES = 50_000, 16
_SWEPT_EVERY = 100  # commits: each replaces a file or two of the lake's memory
_CONFIGURATION = {
    "delta.checkpointInterval": "10",  # opening reads the last checkpoint and what came after it
    "delta.logRetentionDuration": "interval 7 days",  # a log that is listed at every opening stays short
}
_MEMORY_LOG = {"delta.logRetentionDuration": "interval 1 hours"}  # nobody asks what the lake's memory was yesterday
Result = TypeVar("Result")


class ProtocolError(RuntimeError):
    """A write that would make a table unreadable for some readers."""


class SchemaChangeError(RuntimeError):
    """Rows whose columns or types are not those of the table."""


class ConflictError(RuntimeError):
    """The table changed since the snapshot that a decision was made on: look again and decide again."""


@dataclass(frozen=True, slots=True)
class CommitNotes:
    """What a commit tells whoever reads the log: the event dates whose rows changed, and the shape of the dataset."""

    touched: Collection[date] = ()
    shape: str = ""

    def as_text(self) -> str:
        """The notes as the commit's `userMetadata`, the field that Spark writes too."""
        return json.dumps({"touched_dates": sorted(d.isoformat() for d in self.touched), "shape": self.shape})


@dataclass(frozen=True, slots=True)
class Commit:
    """A version of a table and the event dates whose rows it changed; None when the commit does not tell."""

    version: int
    touched_dates: frozenset[date] | None


@dataclass(frozen=True)
class Table:
    """A table of the lake at a place."""

    spec: TableSpec
    uri: str
    storage_options: Mapping[str, str] = field(default_factory=dict)

    def open(self, version: int | None = None) -> "Snapshot":
        """The table as it is now, or was at a version; one that does not exist has version -1 and no rows."""
        options = dict(self.storage_options) or None
        try:
            return Snapshot(self, DeltaTable(self.uri, version=version, storage_options=options))
        except TableNotFoundError:
            return Snapshot(self, None)

    def sweep(self) -> None:
        """Delete the files that the table has not needed for an hour."""
        handle = self.open().handle
        if handle is not None:
            with suppress(DeltaError):  # somebody else is at it, or commits: the next sweep will do
                handle.vacuum(retention_hours=1, dry_run=False, enforce_retention_duration=False)

    def moved(self, folder: str) -> "Table":
        """The same table in another folder."""
        return Table(self.spec, f"{folder}/{self.spec.name}", self.storage_options)

    @cached_property
    def dtypes(self) -> pl.Schema:
        """The columns that are written, with their dtypes."""
        return pl.Schema({name: dtype_of_text(column.type) for name, column in self.spec.columns.items()})

    def log_stamp(self, version: int) -> str | None:
        """What the log shows of the commit of a version without opening the table; None where there is none."""
        name = f"_delta_log/{version:020}.json"
        try:
            if "://" in self.uri:
                return str(obstore.head(obstore.store.from_url(self.uri), name)["e_tag"])
            state = Path(self.uri, name).stat()
        except FileNotFoundError:
            return None
        return f"{state.st_mtime_ns:x}-{state.st_size:x}"

    def transact(self, decide: Callable[["Snapshot"], Result]) -> Result:
        """Call `decide` with the table as it is until what it commits is on the version that it saw.

        Raises `ConflictError` after many tries.
        """
        return until_undisturbed(lambda: decide(self.open()), what=self.uri)


def until_undisturbed(attempt: Callable[[], Result], *, what: str) -> Result:
    """Try again, after a growing pause of random length, while other writers come between.

    Raises the last `ConflictError`, with what it is about, after many tries.
    """
    for number in range(_ATTEMPTS):
        try:
            return attempt()
        except ConflictError as error:
            if number == _ATTEMPTS - 1:
                raise ConflictError(f"{what}: other writers came between {_ATTEMPTS} times; run it again") from error
            time.sleep(random.uniform(0, min(0.01 * 2**number, _LONGEST_PAUSE)))  # noqa: S311 (spreads retries, is no secret)
    raise AssertionError  # the last try returns or raises


class Snapshot:
    """A table as it was when it was opened."""

    def __init__(self, table: Table, handle: DeltaTable | None) -> None:
        """Take an opened table; None stands for one that does not exist."""
        self.table = table
        self.handle = handle
        self.version = -1 if handle is None else handle.version()
        self.table_id = "" if handle is None else str(handle.metadata().id)

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

    def files_within(self, within: "Within") -> pl.DataFrame:
        """The live files of some partitions (None: all)."""
        if within is None or self.files.is_empty():
            return self.files
        return self.files.filter(_picked(name, values, prefix="partition.") for name, values in within.items())

    @property
    def row_count(self) -> int:
        """The number of rows, from the log alone."""
        return int(self.files["num_records"].sum() or 0)

    def scan(self, within: "Within" = None) -> pl.LazyFrame:
        """The rows (of some partitions), in the registry's columns; a column that the table lacks is null."""
        dtypes = self.table.dtypes
        if self.handle is None or self.files.is_empty():
            return pl.LazyFrame(schema=dtypes)
        frame = pl.scan_delta(self.handle, storage_options=dict(self.table.storage_options) or None)
        for name, values in (within or {}).items():
            frame = frame.filter(_picked(name, values))
        known = frame.collect_schema()
        return frame.select(
            pl.col(name) if name in known else pl.lit(None, dtype).alias(name) for name, dtype in dtypes.items()
        )

    def scan_files(self, files: pl.DataFrame, columns: Sequence[str] | None = None) -> pl.LazyFrame:
        """The rows of some live files, with `_file` (the path of each) as the last column."""
        wanted = list(columns or self.table.dtypes)
        partitioned = [name for name in self.table.spec.partition_by if name in wanted]
        stored = [name for name in wanted if name not in partitioned]
        frames = []
        by = [f"partition.{name}" for name in partitioned]
        for values, group in _grouped(files, by):
            paths = {f"{self.table.uri}/{unquote(path)}": path for path in group["path"]}
            frame = pl.scan_parquet(
                list(paths),
                include_file_paths="_place",
                hive_partitioning=False,
                missing_columns="insert",
                extra_columns="ignore",
                schema={n: t for n, t in self.table.dtypes.items() if n not in self.table.spec.partition_by},
                storage_options=dict(self.table.storage_options) or None,
            )
            literals = [
                pl.lit(value, self.table.dtypes[name]).alias(name)
                for name, value in zip(partitioned, values, strict=True)
            ]
            place = pl.col("_place").replace_strict(paths, return_dtype=pl.String).alias("_file")
            frames.append(frame.select(*stored, place).with_columns(literals).select(*wanted, "_file"))
        if not frames:
            schema = {name: self.table.dtypes[name] for name in wanted}
            return pl.LazyFrame(schema={**schema, "_file": pl.String()})
        return pl.concat(frames)

    def scan_keys(self, keys: pl.DataFrame, columns: Sequence[str] | None = None) -> pl.LazyFrame:
        """The rows whose values in the columns of `keys` it has, read from the files that can hold them."""
        candidates = self.files
        for name in keys.columns:
            candidates = _may_hold(candidates, name, keys[name])
        wanted = list(dict.fromkeys([*keys.columns, *(columns or self.table.dtypes)]))
        rows = self.scan_files(candidates, wanted).drop("_file")
        return rows.join(keys.lazy(), on=keys.columns, how="semi", nulls_equal=True)

    def changed_since(self, older: "Snapshot", columns: Sequence[str]) -> pl.DataFrame:
        """The values of some columns in the rows that came or went since an older state of the table.

        Reads the files that came or went, and no others.
        """
        came = self.files.join(older.files, on="path", how="anti")
        went = older.files.join(self.files, on="path", how="anti")
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
        """Whether the table has the registry's columns (true where there is no table yet)."""
        return not self._other_columns()

    def files_by_partition(self) -> Iterator[pl.DataFrame]:
        """The live files, partition by partition."""
        by = [f"partition.{name}" for name in self.table.spec.partition_by]
        return (group for _, group in _grouped(self.files, by))

    @cached_property
    def shape(self) -> str | None:
        """The shape of the dataset that the table was last written with; None where no commit tells one."""
        if self.handle is None:
            return None
        notes = _notes(self.handle.history(1)[0])
        return str(notes["shape"]) if notes and notes.get("shape") else None

    def commits_since(self, version: int) -> list[Commit] | None:
        """The commits after a version, oldest first; None when the log does not reach back that far."""
        if self.handle is None:
            return []
        missing = self.version - version
        if missing <= 0:
            return [] if missing == 0 else None
        history = self.handle.history(missing)
        commits = [Commit(int(entry["version"]), _touched(entry)) for entry in reversed(history)]
        return commits if [c.version for c in commits] == list(range(version + 1, self.version + 1)) else None

    def change(
        self,
        *,
        add: pl.DataFrame | None = None,
        remove: pl.DataFrame | None = None,
        on: Sequence[str] = (),
        within: "Within" = None,
        notes: CommitNotes = CommitNotes(),
        exactly_here: bool = False,
        rows_per_file: int = ROWS_PER_FILE,
    ) -> int:
        """Remove the rows that equal a row of `remove` in the columns `on`, add those of `add`; one commit.

        `within` are the partitions (column to values) that the decision rests on and in which rows are removed (None:
        all). A commit of somebody else that left their files alone does not disturb, unless the decision rests on this
        version `exactly_here`. Only files that hold removed rows are written anew; small files of the partitions are
        put together where they have become many. Returns the table's new version. Raises `ConflictError`,
        `SchemaChangeError`, `ProtocolError`.
        """
        added = self._conformed(add)
        gone = self._files_to_rewrite(remove, on=on, within=within)
        absorbed = self._small_files(within) if added.height or gone.height else gone.clear()
        rewritten = pl.concat([gone, absorbed.join(gone, on="path", how="anti")])
        if rewritten.height:
            kept = self.scan_files(rewritten).drop("_file")
            if remove is not None:
                kept = kept.join(remove.lazy(), on=list(on), how="anti", nulls_equal=True)
            added = pl.concat([kept.collect(), added])
        actions = write_files(added, self.table.uri, self.table.spec, rows_per_file=rows_per_file)
        return self._commit(actions, rewritten, within=within, notes=notes, exactly_here=exactly_here)

    def replace(
        self,
        rows: pl.DataFrame,
        *,
        within: "Within" = None,
        notes: CommitNotes = CommitNotes(),
        exactly_here: bool = False,
    ) -> int:
        """Put rows in the place of all those of some partitions (None: of the table); one commit, as `change`."""
        actions = write_files(self._conformed(rows), self.table.uri, self.table.spec, rows_per_file=ROWS_PER_FILE)
        return self._commit(actions, self.files_within(within), within=within, notes=notes, exactly_here=exactly_here)

    def swap(self, actions: Sequence[AddAction], *, notes: CommitNotes) -> int:
        """Make written files the table's only ones and its registry's columns its schema, in one commit.

        Raises `ConflictError` when the table has changed since it was opened.
        """
        if self.handle is None:
            return self._create(actions, notes)
        self._guard()
        try:
            self.handle.create_write_transaction(
                list(actions),
                "overwrite",
                _delta_schema(self.table.dtypes),
                list(self.table.spec.partition_by),
                commit_properties=_properties(notes),
            )
        except CommitFailedError as error:
            self.discard(actions)
            raise ConflictError(f"{self.table.uri}: {error}") from None
        return self.version + 1

    def discard(self, actions: Iterable[AddAction]) -> None:
        """Delete files that no commit names after all."""
        for action in actions:
            with suppress(FileNotFoundError):
                if "://" in self.table.uri:
                    obstore.delete(obstore.store.from_url(self.table.uri), action.path)
                else:
                    Path(self.table.uri, action.path).unlink()

    def _commit(
        self,
        actions: list[AddAction],
        removed: pl.DataFrame,
        *,
        within: "Within",
        notes: CommitNotes,
        exactly_here: bool,
    ) -> int:
        if self.handle is None:
            return self._create(actions, notes)
        self._guard()
        handle, version = self.handle, self.version
        removes = _removals(removed, self.table.spec)
        for attempt in range(_ATTEMPTS):
            try:
                handle.create_write_transaction(
                    [*removes, *actions],
                    "append",
                    handle.schema(),
                    list(self.table.spec.partition_by),
                    commit_properties=_properties(notes),
                )
            except CommitFailedError as error:
                now = self.table.open()
                if exactly_here or attempt == _ATTEMPTS - 1 or not self._undisturbed(now, within):
                    self.discard(actions)
                    raise ConflictError(f"{self.table.uri}: {error}") from None
                assert now.handle is not None  # noqa: S101 (it is the table that was opened before)
                handle, version = now.handle, now.version
                time.sleep(random.uniform(0, 0.005 * (attempt + 1)))  # noqa: S311 (spreads retries, is no secret)
            else:
                if self.table.spec.zone == "lake" and version % _SWEPT_EVERY == 0:
                    self.table.sweep()
                return version + 1
        raise AssertionError  # the last try returns or raises

    def _create(self, actions: Sequence[AddAction], notes: CommitNotes) -> int:
        spec = self.table.spec
        pruned = ",".join(spec.statistics)
        configuration = dict(_CONFIGURATION) | ({"delta.dataSkippingStatsColumns": pruned} if pruned else {})
        if spec.zone == "lake":
            configuration |= _MEMORY_LOG
        if "://" not in self.table.uri:
            Path(self.table.uri).mkdir(parents=True, exist_ok=True)
        try:
            create_table_with_add_actions(
                self.table.uri,
                _delta_schema(self.table.dtypes),
                list(actions),
                mode="error",
                partition_by=list(spec.partition_by),
                description=spec.description,
                configuration=configuration,
                storage_options=dict(self.table.storage_options) or None,
                commit_properties=_properties(notes),
            )
        except (CommitFailedError, DeltaError) as error:
            self.discard(actions)
            if self.table.open().exists:
                raise ConflictError(f"{self.table.uri}: {error}") from None
            raise
        return 0

    def _undisturbed(self, now: "Snapshot", within: "Within") -> bool:
        """Whether the files that a decision rested on are those that the table still has."""
        if now.table_id != self.table_id:
            return False
        return set(self.files_within(within)["path"]) == set(now.files_within(within)["path"])

    def _conformed(self, rows: pl.DataFrame | None) -> pl.DataFrame:
        """Rows in the registry's columns and order. Raises `SchemaChangeError` where a type is another."""
        dtypes = self.table.dtypes
        if rows is None:
            return dtypes.to_frame()
        wrong = [f"{n}: {rows.schema.get(n)} instead of {t}" for n, t in dtypes.items() if rows.schema.get(n) != t]
        if wrong:
            raise SchemaChangeError(f"{self.table.uri}: these rows are not the table's: {'; '.join(wrong)}")
        self._require_columns()
        return rows.select(dtypes.names())

    def _require_columns(self) -> None:
        if changed := self._other_columns():
            raise SchemaChangeError(f"{self.table.uri}: the table's columns are others ({'; '.join(changed)})")

    def _other_columns(self) -> list[str]:
        if self.handle is None:
            return []
        found = pl.Schema(pl.DataFrame(self.handle.schema().to_arrow().empty_table()).schema)
        wanted = self.table.dtypes
        return [
            f"{name}: {found.get(name, 'none')} -> {wanted.get(name, 'none')}"
            for name in dict.fromkeys([*wanted, *found])
            if found.get(name) != wanted.get(name)
        ]

    def _files_to_rewrite(self, remove: pl.DataFrame | None, *, on: Sequence[str], within: "Within") -> pl.DataFrame:
        candidates = self.files_within(within)
        if remove is None or remove.is_empty() or candidates.is_empty():
            return candidates.clear()
        for name in on:
            candidates = _may_hold(candidates, name, remove[name])
        if candidates.is_empty():
            return candidates
        rows = self.scan_files(candidates, on).join(remove.lazy(), on=list(on), how="semi", nulls_equal=True)
        holding = rows.select(pl.col("_file").unique()).collect()
        return candidates.join(holding, left_on="path", right_on="_file", how="semi")

    def _small_files(self, within: "Within") -> pl.DataFrame:
        """The small files of those partitions that have too many of them."""
        files = self.files_within(within).filter(pl.col("num_records") < _SMALL_FILE)
        by = [f"partition.{name}" for name in self.table.spec.partition_by]
        if files.height < _MOST_SMALL_FILES:
            return files.clear()
        count = pl.len().over(by) if by else pl.len()
        return files.filter(count >= _MOST_SMALL_FILES)

    def _guard(self) -> None:
        assert self.handle is not None  # noqa: S101 (callers know that the table exists)
        protocol = self.handle.protocol()
        if protocol.min_reader_version > READER_VERSION or protocol.min_writer_version > WRITER_VERSION:
            raise ProtocolError(
                f"{self.table.uri}: reader version {protocol.min_reader_version}, writer version "
                f"{protocol.min_writer_version}; the lake's tables stay at {READER_VERSION} and {WRITER_VERSION}; "
                "undo the change of the table's features"
            )


Within = Mapping[str, Collection[Any]] | None
"""Partitions: the values of partition columns; None for all of a table."""


def _grouped(files: pl.DataFrame, by: Sequence[str]) -> Iterator[tuple[tuple[Any, ...], pl.DataFrame]]:
    if by and files.height:
        yield from files.group_by(by, maintain_order=True)
    elif files.height:
        yield (), files


def _picked(name: str, values: Collection[Any], prefix: str = "") -> pl.Expr:
    column = pl.col(f"{prefix}{name}")
    some = column.is_in([v for v in values if v is not None])
    return some | column.is_null() if None in values else some


def _may_hold(files: pl.DataFrame, name: str, wanted: pl.Series) -> pl.DataFrame:
    """The files whose bounds of a column allow one of some values; all where the log has no bounds of it."""
    low, high = f"min.{name}", f"max.{name}"
    if low not in files.columns or wanted.null_count() or files[low].dtype != wanted.dtype:
        return files
    bounded = files.filter(pl.col(low).is_not_null() & pl.col(high).is_not_null())
    unbounded = pl.col(low).is_null() | pl.col(high).is_null()
    if wanted.dtype == pl.String():  # no join by nearness for text: the range of the values must do
        return files.filter(unbounded | ((pl.col(low) <= wanted.max()) & (pl.col(high) >= wanted.min())))
    values = pl.DataFrame({"value": wanted.unique().sort()}).lazy()
    first = bounded.lazy().sort(low).join_asof(values, left_on=low, right_on="value", strategy="forward")
    hit = first.filter(pl.col("value") <= pl.col(high)).select("path").collect()
    return files.filter(unbounded | pl.col("path").is_in(hit["path"].to_list()))


def _removals(files: pl.DataFrame, spec: TableSpec) -> list[RemoveAction]:
    now = int(time.time() * 1000)
    return [
        RemoveAction(
            unquote(row["path"]),
            data_change=True,
            deletion_timestamp=now,
            size=row["size_bytes"],
            partition_values={n: _as_text(row[f"partition.{n}"]) for n in spec.partition_by},
        )
        for row in files.iter_rows(named=True)
    ]


def _as_text(value: Any) -> str | None:
    return None if value is None else str(value)


def _delta_schema(dtypes: pl.Schema) -> Schema:
    return Schema.from_arrow(dtypes.to_frame().to_arrow(compat_level=pl.CompatLevel.oldest()).schema)


def _properties(notes: CommitNotes) -> CommitProperties:
    return CommitProperties(max_commit_retries=0, custom_metadata={"userMetadata": notes.as_text()})


def _notes(entry: Mapping[str, Any]) -> dict[str, Any] | None:
    """The lake's notes of a commit, whoever wrote it; None for a commit that has none."""
    try:
        notes = json.loads(entry.get("userMetadata") or "null")
    except ValueError:
        return None
    return notes if isinstance(notes, dict) else None


def _touched(entry: Mapping[str, Any]) -> frozenset[date] | None:
    notes = _notes(entry)
    if notes is None:
        return frozenset() if entry.get("operation") in _MAINTENANCE else None
    return frozenset(date.fromisoformat(day) for day in notes.get("touched_dates", ()))


_MAINTENANCE = {"OPTIMIZE", "VACUUM START", "VACUUM END", "SET TBLPROPERTIES"}
