"""Dagster's event log on SQLite, made fast enough for a command that writes much of it.

Dagster makes an engine and opens and closes a connection three times for each event, each a commit of its own. Here the
connections of the command stay open, events that Dagster hands over together are one commit, and none is synced by
itself: a machine that loses its power loses the last words of Dagster's log then, never the file, and nothing of the
lake.
"""

import math
import os
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import dagster as dg
from alembic.config import Config
from alembic.script import ScriptDirectory
from dagster._core.events import ASSET_EVENTS
from dagster._core.storage.event_log import SqlEventLogStorageTable, SqliteEventLogStorage
from sqlalchemy import Connection, create_engine, event
from sqlalchemy.engine import Engine

_RUNS = Path("history", "runs.db")
_OF_ALL_RUNS = "index"
_BATCH_SIZE = "DAGSTER_EVENT_BATCH_SIZE"  # Dagster's own switch: how many events it hands over together
_MOST_TOGETHER = "500"
_MILLISECOND = 0.0011  # and a bit, as pages cut a time down to the millisecond


@contextmanager
def swift_event_log(instance: dg.DagsterInstance) -> Iterator[None]:
    """Let this process write an instance's log of events and runs swiftly; what is in it and who reads it is the same.

    Does nothing for an instance whose storage is no SQLite.
    """
    storage = instance.event_log_storage
    with ExitStack() as stack:
        if isinstance(storage, SqliteEventLogStorage):
            stack.enter_context(revisions_read_once())
            stack.enter_context(_seldom_synced())
            stack.enter_context(_KeptConnections(storage))
            # SQLite takes the last connection that closes for the end of all work and moves its log into the file.
            runs = stack.enter_context(closing(sqlite3.connect(Path(instance.root_directory) / _RUNS)))
            runs.execute("SELECT count(*) FROM sqlite_master").fetchone()  # it opens its log with this
            batch_size = os.environ.get(_BATCH_SIZE)
            os.environ[_BATCH_SIZE] = batch_size or _MOST_TOGETHER
            stack.callback(_set_back, _BATCH_SIZE, batch_size)
        yield


@contextmanager
def revisions_read_once() -> Iterator[None]:
    """Have Alembic read the revisions of Dagster's tables once; each file that is made has it read them twice."""
    read, kept = vars(ScriptDirectory)["from_config"], dict[str | None, ScriptDirectory]()

    def from_config(config: Config) -> ScriptDirectory:
        location = config.get_main_option("script_location")
        if location not in kept:
            kept[location] = read.__get__(None, ScriptDirectory)(config)
        return kept[location]

    ScriptDirectory.from_config = staticmethod(from_config)  # type: ignore[method-assign]
    try:
        yield
    finally:
        ScriptDirectory.from_config = read  # type: ignore[method-assign]


class _KeptConnections:
    """A storage's connections to the file of all runs and to that of the run at hand, kept from event to event."""

    def __init__(self, storage: SqliteEventLogStorage) -> None:
        self._storage = storage
        self._lock = threading.RLock()
        self._kept: dict[str, Connection] = {}
        self._has_table: dict[str, bool] = {}

    def __enter__(self) -> None:
        replaced = {"_connect": self._connect, "has_table": self._has, "store_event_batch": self._store}
        vars(self._storage).update(replaced)

    def __exit__(self, *_: object) -> None:
        for name in ("_connect", "has_table", "store_event_batch"):
            del vars(self._storage)[name]
        self._close(set(self._kept))

    def _close(self, shards: set[str]) -> None:
        for shard in shards:
            connection = self._kept.pop(shard)
            connection.close()
            connection.engine.dispose()

    @contextmanager
    def _connect(self, shard: str) -> Iterator[Connection]:
        """As the storage's own; within a transaction on the same file it is part of that."""
        with self._lock:
            if (connection := self._kept.get(shard)) is None:
                self._close({other for other in self._kept if _OF_ALL_RUNS not in (shard, other)})
                with SqliteEventLogStorage._connect(self._storage, shard):  # noqa: SLF001 (makes the file)
                    pass
                engine = create_engine(
                    self._storage.conn_string_for_shard(shard),
                    connect_args={"timeout": 60, "check_same_thread": False},
                )
                connection = self._kept[shard] = engine.connect()
            if connection.in_transaction():
                yield connection
            else:
                with connection.begin():
                    yield connection

    def _has(self, table: str) -> bool:
        if table not in self._has_table:
            self._has_table[table] = SqliteEventLogStorage.has_table(self._storage, table)
        return self._has_table[table]

    def _store(self, events: Sequence[dg.EventLogEntry]) -> None:
        """Store events of one run by one commit to each file, those of assets by one statement."""
        of_assets: list[dg.EventLogEntry] = []
        others: list[dg.EventLogEntry] = []
        for entry in events:
            (of_assets if entry.dagster_event and entry.dagster_event_type in ASSET_EVENTS else others).append(entry)
        with self._connect(events[0].run_id) as run, self._connect(_OF_ALL_RUNS) as all_runs:
            if of_assets:
                self._store_together(of_assets, run, all_runs)
            for entry in others:
                self._storage.store_event(entry)

    def _store_together(self, events: Sequence[dg.EventLogEntry], run: Connection, all_runs: Connection) -> None:
        """What `store_event` does with each of some events of assets, with one statement for each table.

        The table of assets tells of the last event of a kind alone, so only that is written there.
        """
        storage, table, events = self._storage, SqlEventLogStorageTable, _apart(events)
        rows = [storage._event_to_row(entry) for entry in events]  # noqa: SLF001 (as what `store_event` is made of)
        run.execute(table.insert(), rows)
        ids = all_runs.scalars(table.insert().returning(table.c.id, sort_by_parameter_order=True), rows).all()
        storage._store_asset_event_tags(all_runs, events, ids)  # noqa: SLF001
        last = {(row["asset_key"], row["dagster_event_type"]): n for n, row in enumerate(rows)}
        for n in last.values():
            storage._store_asset_event(all_runs, events[n], ids[n])  # noqa: SLF001


def _apart(events: Sequence[dg.EventLogEntry]) -> list[dg.EventLogEntry]:
    """The events with a millisecond at least between those of an asset: its page shows one event of each moment.

    The last one keeps its time.
    """
    apart: list[dg.EventLogEntry] = []
    later: dict[dg.AssetKey | None, float] = {}
    for entry in reversed(events):
        asset = entry.get_dagster_event().asset_key
        later[asset] = min(entry.timestamp, later.get(asset, math.inf) - _MILLISECOND)
        apart.append(entry._replace(timestamp=later[asset]))
    return apart[::-1]


@contextmanager
def _seldom_synced() -> Iterator[None]:
    """Have SQLite sync a file when its log is moved into it, not at each commit; on connections made meanwhile."""
    event.listen(Engine, "connect", _sync_seldom)
    try:
        yield
    finally:
        event.remove(Engine, "connect", _sync_seldom)


def _sync_seldom(connection: object, _record: object) -> None:
    if isinstance(connection, sqlite3.Connection):
        connection.execute("PRAGMA synchronous = NORMAL")


def _set_back(name: str, value: str | None) -> None:
    if value is None:
        os.environ.pop(name, None)
    else:
        os.environ[name] = value
