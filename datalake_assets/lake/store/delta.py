"""Delta tables: opening, appending, merging, replacing, and the guard that keeps them readable by everyone.

Belongs here: what any table of the lake needs from delta-rs. What is written, and when, is decided elsewhere.
Rules that come from delta-rs are measured ones: a merge inserts two source rows of one new key without an error, so
callers pass one row per key; a key that is NULL never equals itself, so keys are compared NULL-safe; a number is
cast silently, so types are compared first; a naive timestamp raises the table's protocol, so it is refused.
"""

import json
import random
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import polars as pl
from deltalake import ColumnProperties, CommitProperties, DeltaTable, WriterProperties, write_deltalake
from deltalake.exceptions import CommitFailedError, TableNotFoundError
from deltalake.table import TableMerger

from datalake_assets.lake.spec.columns import RECORD_HASH

READER_VERSION, WRITER_VERSION = 1, 2
_TOUCHED = "datalake.touched_dates"
_ATTEMPTS = 10
_CONFIGURATION: Mapping[str, str | None] = {"delta.checkpointInterval": "10"}
"""To open a table takes the last checkpoint and the commits after it: 2 to 5 ms, where 100 commits, the interval of
delta-rs, take 15. Delta's own interval is 10."""
_WRITER = WriterProperties(
    compression="ZSTD",
    compression_level=1,
    column_properties={RECORD_HASH: ColumnProperties(dictionary_enabled=False)},  # every value is another one
)


class ProtocolError(RuntimeError):
    """A write that would make a table unreadable for some readers (law 6)."""


class SchemaChangeError(RuntimeError):
    """A write whose column types are not those of the table."""


@dataclass(frozen=True, slots=True)
class Commit:
    """A table's version and the event dates whose rows it changed."""

    version: int
    touched_dates: frozenset[date]


def open_table(uri: str) -> DeltaTable | None:
    """The table at a place, or None when there is none yet."""
    try:
        return DeltaTable(uri)
    except TableNotFoundError:
        return None


def position(uri: str) -> int:
    """How far a table has come: the number of its versions; 0 when there is none."""
    table = open_table(uri)
    return 0 if table is None else table.version() + 1


def row_count(uri: str) -> int:
    """The number of rows of a table, from its log alone."""
    table = open_table(uri)
    return 0 if table is None else int(pl.DataFrame(table.get_add_actions(flatten=True))["num_records"].sum())


def scan(uri: str) -> pl.LazyFrame | None:
    """The table as a lazy frame, or None when there is none yet."""
    table = open_table(uri)
    return None if table is None else pl.scan_delta(table)


def append(uri: str, frame: pl.DataFrame, *, partition_by: Sequence[str] = (), touched: Collection[date] = ()) -> None:
    """Add rows in one commit; the table is made when there is none. New columns are added to it.

    Raises `ProtocolError` or `SchemaChangeError` before anything is written.
    """
    table = _guarded(uri, frame)
    write_deltalake(
        uri if table is None else table,
        frame,
        mode="append",
        partition_by=list(partition_by) or None,
        schema_mode="merge",
        configuration=_CONFIGURATION if table is None else None,
        writer_properties=_WRITER,
        commit_properties=_properties(touched),
    )


def replace(
    uri: str,
    frame: pl.DataFrame,
    *,
    predicate: str | None,
    partition_by: Sequence[str] = (),
    touched: Collection[date] = (),
) -> None:
    """Put rows in the place of those that `predicate` picks (None: all), in one commit."""
    table = _guarded(uri, frame)
    write_deltalake(
        uri if table is None else table,
        frame,
        mode="overwrite",
        partition_by=list(partition_by) or None,
        schema_mode="merge",
        predicate=None if table is None else predicate,
        configuration=_CONFIGURATION if table is None else None,
        writer_properties=_WRITER,
        commit_properties=_properties(touched),
    )


def merge(
    uri: str,
    frame: pl.DataFrame,
    *,
    key: Sequence[str],
    within: str | None,
    touched: Collection[date] = (),
    deleted: str | None = None,
) -> None:
    """Update the rows whose key the table has, insert the others, in one commit; tried again on a conflict.

    `frame` has one row per key. `within` is a condition on the target `t` that holds for every row to be updated; it
    spares the reading of the rest. Rows for which the boolean column `deleted` is true are deleted instead.
    """
    columns = [name for name in frame.columns if name != deleted]
    _guarded(uri, frame.select(columns))
    same_key = [f"(s.{quoted(name)} IS NOT DISTINCT FROM t.{quoted(name)})" for name in key]
    predicate = " AND ".join([*([f"({within})"] if within else []), *same_key])
    values = {quoted(name): f"s.{quoted(name)}" for name in columns}

    def attempt() -> None:
        merger: TableMerger = DeltaTable(uri).merge(
            frame,
            predicate=predicate,
            source_alias="s",
            target_alias="t",
            merge_schema=True,
            writer_properties=_WRITER,
            commit_properties=_properties(touched),
        )
        if deleted:
            merger = merger.when_matched_delete(predicate=f"s.{quoted(deleted)}")
            merger = merger.when_matched_update(values).when_not_matched_insert(
                values, predicate=f"NOT s.{quoted(deleted)}"
            )
        else:
            merger = merger.when_matched_update(values).when_not_matched_insert(values)
        merger.execute()

    retry_conflicts(attempt)


def retry_conflicts(write: Callable[[], None]) -> None:
    """Call `write` again when another writer's commit came between; raises the last conflict after ten tries."""
    for attempt in range(_ATTEMPTS):
        try:
            write()
        except CommitFailedError:
            if attempt == _ATTEMPTS - 1:
                raise
            time.sleep(random.uniform(0.01, 0.05) * 2**attempt)  # noqa: S311 (spreads retries, is no secret)
        else:
            return


def compact(uri: str, partition: Mapping[str, str], *, most_files: int) -> None:
    """Put the small files of one partition together when there are more than `most_files` of them."""
    filters: list[tuple[str, str, Any]] = [(name, "=", value) for name, value in partition.items()]

    def attempt() -> None:
        table = DeltaTable(uri)
        if len(table.file_uris(file_pruning_predicate=filters)) > most_files:
            table.optimize.compact(filters)

    retry_conflicts(attempt)


def commits_since(uri: str, since: int) -> list[Commit]:
    """The commits of a table from position `since` on (0: all that its log still holds), oldest first."""
    table = open_table(uri)
    if table is None or table.version() + 1 <= since:
        return []
    history = table.history(table.version() + 1 - since)
    return [
        Commit(int(entry["version"]), frozenset(date.fromisoformat(d) for d in json.loads(entry.get(_TOUCHED, "[]"))))
        for entry in reversed(history)
        if int(entry["version"]) >= since
    ]


def quoted(name: str) -> str:
    """A column's name as an SQL identifier."""
    escaped = name.replace('"', '""')
    return f'"{escaped}"'


def one_of(column: str, values: Collection[date | str | None]) -> str:
    """An SQL condition on `column` (an identifier): it has one of `values`; None stands for NULL."""
    known = [v for v in values if v is not None]
    texts = [f"DATE '{v.isoformat()}'" if isinstance(v, date) else "'" + v.replace("'", "''") + "'" for v in known]
    parts = [f"{column} IN ({', '.join(texts)})"] if texts else []
    if len(known) < len(values):
        parts.append(f"{column} IS NULL")
    return " OR ".join(parts) or "false"


def _properties(touched: Collection[date]) -> CommitProperties:
    return CommitProperties(custom_metadata={_TOUCHED: json.dumps(sorted(d.isoformat() for d in touched))})


def _guarded(uri: str, frame: pl.DataFrame) -> DeltaTable | None:
    """The table that a frame may be written to; None when there is none yet."""
    for name, dtype in frame.schema.items():
        if isinstance(dtype, pl.Datetime) and (dtype.time_zone != "UTC" or dtype.time_unit != "us"):
            raise ProtocolError(
                f"{uri}: column {name!r} is {dtype}; a timestamp of the lake is UTC microseconds, as any other would "
                "raise the table's protocol"
            )
    table = open_table(uri)
    if table is None:
        return None
    protocol = table.protocol()
    if protocol.min_reader_version > READER_VERSION or protocol.min_writer_version > WRITER_VERSION:
        raise ProtocolError(
            f"{uri}: reader version {protocol.min_reader_version}, writer version {protocol.min_writer_version}; "
            f"the lake's tables stay at {READER_VERSION} and {WRITER_VERSION}; undo the change of the table's features"
        )
    known: dict[str, Any] = dict(pl.scan_delta(table).collect_schema())
    changed = [f"{n}: {known[n]} -> {dtype}" for n, dtype in frame.schema.items() if n in known and known[n] != dtype]
    if changed:
        raise SchemaChangeError(
            f"{uri}: column types differ from the table's ({'; '.join(changed)}); "
            "keep the old type, or give the column another name"
        )
    return table
