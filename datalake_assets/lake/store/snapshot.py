"""Changing a Delta table by compare-and-swap: a change is committed on what it was decided on, or refused.

Belongs here: the one path to the log, and the guard that keeps tables readable by everyone (law 6). delta-rs is asked
for no retries: its own would commit a stale decision, and its merges and compactions do so silently (a change of files
is checked by nobody else, so it is checked here).
"""

import random
import time
import uuid
from collections.abc import Collection, Iterable, Sequence
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import polars as pl
from deltalake import DeltaTable, PostCommitHookProperties
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError
from deltalake.transaction import AddAction, RemoveAction, create_table_with_add_actions
from obstore.exceptions import BaseError

from datalake_assets.lake.spec.columns import EVENT_DATE
from datalake_assets.lake.spec.table_spec import TableSpec
from datalake_assets.lake.store.conflicts import ATTEMPTS, ConflictError
from datalake_assets.lake.store.dead_files import delete_dead_files
from datalake_assets.lake.store.files import partition_text, write_files
from datalake_assets.lake.store.notes import NO_NOTES, CommitNotes, properties
from datalake_assets.lake.store.object_store import answered, delete, is_lost_answer, is_remote
from datalake_assets.lake.store.place import TablePlace
from datalake_assets.lake.store.rewriting import rewritten
from datalake_assets.lake.store.table_files import TableFiles, Within
from datalake_assets.lake.store.table_form import (
    CHECKPOINT_EVERY,
    configuration,
    delta_schema,
    is_commit,
    put_commit,
    reformed,
    replacement,
)

READER_VERSION, WRITER_VERSION = 1, 2
_SMALL_FILE, _SMALL_MEMORY_FILE = 50_000, 5_000  # rows; the lake's memory is looked up by key
_MOST_SMALL_FILES = 16
_MOST_SMALL_MEMORY_FILES = 1  # each look opens the memory, at a cost that follows its files: one for a month will do
_LOST_ANSWERS = 4
_SWEPT_EVERY, _SWEPT_AFTER = 100, timedelta(hours=1)  # commits: each replaces a file or two of the lake's memory


class ProtocolError(RuntimeError):
    """A write that would make a table unreadable for some readers."""


class SchemaChangeError(RuntimeError):
    """Rows whose columns or types are not those of the table."""


class Snapshot(TableFiles):
    """A table as it was when it was opened, to be changed on condition that it still is so."""

    def at(self, version: int | None) -> "Snapshot":
        """The same table as it was at another version (None: as it is now)."""
        return open_snapshot(self.table, version)

    def change(
        self,
        *,
        add: pl.DataFrame | None = None,
        remove: pl.DataFrame | None = None,
        on: Sequence[str] = (),
        within: Within = None,
        notes: CommitNotes = NO_NOTES,
        exactly_here: bool = False,
        rows_per_file: int | None = None,
        written: Sequence[AddAction] = (),
    ) -> int:
        """Remove the rows that equal a row of `remove` in the columns `on`, add those of `add`; one commit.

        `within` are the partitions (column to values) or event dates that the decision rests on and in which rows are
        removed (None: all). A commit of somebody else that left their files alone does not disturb, unless the decision
        rests on this version `exactly_here`. `written` are files of more rows to add. Only files that hold removed rows
        are written anew; small files of the partitions are put together where they have become many. Returns the
        table's new version. Raises `ConflictError`, `SchemaChangeError`, `ProtocolError`.
        """
        added = self._conformed(add)
        gone = self.files.clear() if remove is None else self.files_holding(remove.select(on), within=within)
        absorbed = self.small_files(within) if added.height or gone.height else gone.clear()
        anew = pl.concat([gone, absorbed.join(gone, on="path", how="anti")])
        uri, spec = self.table.uri, self.table.spec
        parts = rewritten(self, anew, remove=remove, on=on, add=added)
        actions = [action for rows in parts for action in write_files(rows, uri, spec, rows_per_file=rows_per_file)]
        return self.commit([*written, *actions], anew, within=within, notes=notes, exactly_here=exactly_here)

    def replace(
        self,
        rows: pl.DataFrame,
        *,
        within: Within = None,
        notes: CommitNotes = NO_NOTES,
        exactly_here: bool = False,
        written: Sequence[AddAction] = (),
    ) -> int:
        """Put rows in the place of all those of some partitions (None: of the table); one commit, as `change`.

        `written` are files of more rows to put there.
        """
        actions = [*written, *write_files(self._conformed(rows), self.table.uri, self.table.spec)]
        return self.commit(actions, self.files_within(within), within=within, notes=notes, exactly_here=exactly_here)

    def rewrite(self, files: pl.DataFrame, *, within: Within = None) -> int:
        """Put some live files of some partitions together; one commit that changes no row."""
        self.require_form()
        rows = self.scan_files(files).drop("_file").collect()
        actions = write_files(rows, self.table.uri, self.table.spec, moved=True)
        notes = CommitNotes(shape=self.shape or "")  # so that the newest commit goes on telling it
        return self.commit(actions, files, within=within, notes=notes, exactly_here=False, moved=True)

    def swap(self, actions: Sequence[AddAction], *, notes: CommitNotes) -> int:
        """Make written files the table's only ones, and its form (columns, partitioning) the registry's; one commit.

        Raises `ConflictError` when the table has changed since it was opened.
        """
        if self.handle is None:
            return self._create(actions, notes)
        self._guard()
        try:
            return self._put(replacement(self, actions, notes))
        except ConflictError:
            self.discard(actions)
            raise

    def add_columns(self, *, notes: CommitNotes) -> int:
        """Give the table the columns of the registry that it lacks; one commit that writes no file.

        Raises `ConflictError` when the table has changed since it was opened.
        """
        self._guard()
        return self._put(reformed(self, notes))

    def _put(self, commit: bytes) -> int:
        """Make a commit the table's next one."""
        version = self.version + 1
        # Of a log that was cut short meanwhile, the next number could be free again: hence the look at the table.
        if self.at(None).version != self.version or not put_commit(self.table.uri, version, commit):
            raise ConflictError(f"{self.table.uri}: somebody else has committed version {version}")
        return version

    def discard(self, actions: Iterable[AddAction]) -> None:
        """Delete files that no commit names after all."""
        for action in actions:
            with suppress(FileNotFoundError, BaseError):  # what is left is deleted like a killed writer's
                if is_remote(self.table.uri):
                    delete(self.table.uri, action.path)
                else:
                    Path(self.table.uri, action.path).unlink()

    def commit(
        self,
        actions: Sequence[AddAction],
        removed: pl.DataFrame,
        *,
        within: Within,
        notes: CommitNotes,
        exactly_here: bool,
        moved: bool = False,
    ) -> int:
        """Enter written files in the log and take others out, as `change` does; returns the table's new version."""
        if self.handle is None:
            return self._create(actions, notes)
        self._guard()
        handle, version = self.handle, self.version
        removes = _removals(removed, self.table.spec, moved=moved)
        commit_id = str(uuid.uuid4())
        for attempt in range(ATTEMPTS):
            try:
                handle.create_write_transaction(
                    [*removes, *actions],
                    "append",
                    handle.schema(),
                    list(self.table.spec.partition_by),
                    commit_properties=properties(notes, commit_id=commit_id),
                    post_commithook_properties=_after_commit(version + 1),
                )
            except (DeltaError, OSError) as error:
                if is_commit(self.table.uri, version + 1, commit_id):  # its answer was lost, or its checkpoint failed
                    return version + 1
                if is_lost_answer(error) and attempt < _LOST_ANSWERS:
                    time.sleep(random.uniform(0, 0.1 * 4**attempt))  # noqa: S311 (spreads retries, is no secret)
                    continue
                if not isinstance(error, CommitFailedError):
                    raise  # with the files left where they are: the commit that names them may be under way
                now = self.at(None)
                if exactly_here or attempt == ATTEMPTS - 1 or not self._undisturbed(now, within, notes):
                    self.discard(actions)
                    raise ConflictError(f"{self.table.uri}: {error}") from None
                assert now.handle is not None  # noqa: S101 (it is the table that was opened before)
                handle, version = now.handle, now.version
                time.sleep(random.uniform(0, 0.005 * (attempt + 1)))  # noqa: S311 (spreads retries, is no secret)
            else:
                if self.table.spec.zone == "lake" and version % _SWEPT_EVERY == 0:
                    now = self.at(None)
                    assert now.handle is not None  # noqa: S101 (it was committed to)
                    delete_dead_files(now.handle, retention=_SWEPT_AFTER)
                return version + 1
        raise AssertionError  # the last try returns or raises

    def _create(self, actions: Sequence[AddAction], notes: CommitNotes) -> int:
        spec, commit_id = self.table.spec, str(uuid.uuid4())
        if not is_remote(self.table.uri):
            Path(self.table.uri).mkdir(parents=True, exist_ok=True)

        def create() -> None:
            create_table_with_add_actions(
                self.table.uri,
                delta_schema(self.table.stored_dtypes),
                list(actions),
                mode="error",
                partition_by=list(spec.partition_by),
                description=spec.description,
                configuration=configuration(spec),
                commit_properties=properties(notes, commit_id=commit_id),
            )

        try:
            answered(create)
        except (DeltaError, OSError) as error:
            if is_commit(self.table.uri, 0, commit_id):
                return 0
            if isinstance(error, OSError):
                raise  # with the files left where they are: the commit that names them may be under way
            self.discard(actions)
            if self.at(None).exists:
                raise ConflictError(f"{self.table.uri}: {error}") from None
            raise
        return 0

    def _undisturbed(self, now: "Snapshot", within: Within, notes: CommitNotes) -> bool:
        """Whether the files that a decision rested on are those that the table still has, and it has the same form."""
        if now.table_id != self.table_id or not now.fits:
            return False
        if notes.shape and now.shape not in {None, notes.shape}:
            return False
        if set(self.files_within(within)["path"]) != set(now.files_within(within)["path"]):
            return False
        return not self._was_touched(now, (within or {}).get(EVENT_DATE, ()))

    def _was_touched(self, now: "Snapshot", dates: Collection[Any]) -> bool:
        """Whether commits since this snapshot tell of some event dates, be it that these had no rows and have none."""
        if not dates:
            return False
        commits = now.commits_since(self.version)
        touched = None if commits is None else [commit.touched_dates for commit in commits]
        return touched is None or any(days is None or not days.isdisjoint(dates) for days in touched)

    def _conformed(self, rows: pl.DataFrame | None) -> pl.DataFrame:
        """Rows in the registry's columns and order. Raises `SchemaChangeError` where a type is another."""
        self.require_form()
        dtypes = self.table.dtypes
        if rows is None:
            return dtypes.to_frame()
        wrong = [f"{n}: {rows.schema.get(n)} instead of {t}" for n, t in dtypes.items() if rows.schema.get(n) != t]
        if wrong:
            raise SchemaChangeError(f"{self.table.uri}: these rows are not the table's: {'; '.join(wrong)}")
        return rows.select(dtypes.names())

    def require_form(self) -> None:
        """Raise `SchemaChangeError` where the table has other columns than the registry's, or is cut otherwise."""
        if changed := self.other_columns():
            remedy = "`datalake rebuild` makes a dataset's tables anew"
            raise SchemaChangeError(f"{self.table.uri}: the table has another form ({'; '.join(changed)}); {remedy}")

    def small_files(self, within: Within) -> pl.DataFrame:
        """The small files of those partitions that have too many of them."""
        of_memory = self.table.spec.zone == "lake"
        small = _SMALL_MEMORY_FILE if of_memory else _SMALL_FILE
        most = _MOST_SMALL_MEMORY_FILES if of_memory else _MOST_SMALL_FILES
        files = self.files_within(within).filter(pl.col("num_records") < small)
        by = [f"partition.{name}" for name in self.table.spec.partition_by]
        if files.height < most:
            return files.clear()
        count = pl.len().over(by) if by else pl.len()
        return files.filter(count >= most)

    def _guard(self) -> None:
        assert self.handle is not None  # noqa: S101 (callers know that the table exists)
        protocol = self.handle.protocol()
        if protocol.min_reader_version > READER_VERSION or protocol.min_writer_version > WRITER_VERSION:
            raise ProtocolError(
                f"{self.table.uri}: reader version {protocol.min_reader_version}, writer version "
                f"{protocol.min_writer_version}; the lake's tables stay at {READER_VERSION} and {WRITER_VERSION}; "
                "undo the change of the table's features"
            )


def open_snapshot(place: TablePlace, version: int | None = None) -> Snapshot:
    """The table at a place as it is now, or was at a version; one that does not exist has version -1 and no rows."""
    try:
        return Snapshot(place, answered(lambda: DeltaTable(place.uri, version=version)))
    except TableNotFoundError:
        return Snapshot(place, None)


def _after_commit(version: int) -> PostCommitHookProperties:
    """What delta-rs does after a commit: it looks through the whole log for what may go only where a checkpoint is."""
    return PostCommitHookProperties(cleanup_expired_logs=None if version % CHECKPOINT_EVERY == 0 else False)


def _removals(files: pl.DataFrame, spec: TableSpec, *, moved: bool) -> list[RemoveAction]:
    now = int(time.time() * 1000)
    return [
        RemoveAction(
            unquote(row["path"]),
            data_change=not moved,
            deletion_timestamp=now,
            size=row["size_bytes"],
            partition_values={n: partition_text(row[f"partition.{n}"]) for n in spec.partition_by},
        )
        for row in files.iter_rows(named=True)
    ]
