"""Dagster's event log on SQLite, made fast enough for a command that writes much of it.

Dagster opens and closes a connection for each event. SQLite takes the last connection that closes for the end of all
work: it moves its log into the file, syncs both and deletes the log, at several times the cost of the event. While
another connection stays open it does not. Nor need each event be synced by itself: a machine that loses its power loses
the last words of Dagster's log then, never the file, and nothing of the lake.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import dagster as dg
from dagster._core.storage.event_log import SqliteEventLogStorage
from sqlalchemy import event
from sqlalchemy.engine import Engine

_RUNS = Path("history", "runs.db")
_OF_ALL_RUNS = "index"


@contextmanager
def kept_open(instance: dg.DagsterInstance, *, run_id: str | None = None) -> Iterator[None]:
    """Keep the files of an instance's storage open that all runs write, or with `run_id` the one that this run writes.

    Does nothing for an instance whose storage is no SQLite.
    """
    storage = instance.event_log_storage
    with ExitStack() as stack:
        if isinstance(storage, SqliteEventLogStorage):
            with storage.run_connection(run_id or _OF_ALL_RUNS):
                pass  # makes the file, where there is none yet
            files = [Path(storage.path_for_shard(run_id or _OF_ALL_RUNS))]
            files += [] if run_id else [Path(instance.root_directory) / _RUNS]
            for file in files:
                connection = stack.enter_context(closing(sqlite3.connect(file)))
                connection.execute("SELECT count(*) FROM sqlite_master").fetchone()  # it opens its log with this
        yield


@contextmanager
def seldom_synced() -> Iterator[None]:
    """Have SQLite sync a file when its log is moved into it, not at each commit; on connections made meanwhile."""
    event.listen(Engine, "connect", _sync_seldom)
    try:
        yield
    finally:
        event.remove(Engine, "connect", _sync_seldom)


def _sync_seldom(connection: object, _record: object) -> None:
    if isinstance(connection, sqlite3.Connection):
        connection.execute("PRAGMA synchronous = NORMAL")
