"""Sessions with the Postgres that is replicated, and the words for what goes wrong in them.

Belongs here: connections, whatever for. What the source's catalogue says of tables is in `source.py`.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread
from typing import Any, TypeAlias

import psycopg
from psycopg import Connection, sql
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import TupleRow

Source: TypeAlias = "Connection[TupleRow]"

APPLICATION = "datalake replicate"
"""What the server calls a task's sessions."""
SESSION = {
    "client_encoding": "UTF8",
    "datestyle": "ISO, YMD",
    "timezone": "UTC",
    "intervalstyle": "postgres",
    "extra_float_digits": "1",
    "bytea_output": "hex",
    "lc_monetary": "C",
    "statement_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
}
"""How values are written as text, by COPY and by the decoding plugin alike."""

_ENCODED = "in its user and password percent-encode what has a meaning in URLs: / is %2F, @ is %40, % is %25"
_CONNECT_SECONDS = 10
_LOOKS_FOR_STOP = 0.2  # seconds
_CANCEL_SECONDS = 2.0


class ReplicationError(Exception):
    """Replication can't begin, or go on: says why and what to do, in one line, and never tells a password."""


class UnreachableError(ReplicationError):
    """The server can't be reached, or went away; the same command goes on once it is back."""


def shown(url: str) -> str:
    """A source's URL as it may be printed: user, server and database, no password and nothing that may be of one."""
    parts = _parts(url)
    if parts is None:
        return "the source"
    user = f"{parts['user']}@" if parts.get("user") else ""
    port = f":{parts['port']}" if parts.get("port") else ""
    return f"postgresql://{user}{parts.get('host') or 'localhost'}{port}/{parts.get('dbname') or ''}"


def _parts(url: str) -> dict[str, Any] | None:
    """The parts of a source's URL; None where a password that is not percent-encoded may have got into others."""
    try:
        parts = conninfo_to_dict(url)
    except psycopg.ProgrammingError:
        return None
    ports = str(parts.get("port") or "").split(",")
    is_odd = "@" in f"{parts.get('host')}{parts.get('dbname')}" or not all(p.isdigit() for p in ports if p)
    return None if is_odd else parts


@contextmanager
def connected(url: str, *, application: str = APPLICATION) -> Iterator[Source]:
    """A session with the source, in autocommit, whose texts are those of `SESSION`.

    Raises `ReplicationError` for what is no URL of a Postgres, or may be one whose password is not percent-encoded;
    `UnreachableError` where the server does not answer.
    """
    try:
        conninfo_to_dict(url)
    except psycopg.ProgrammingError:
        raise ReplicationError(
            f"this is no URL of a Postgres; write postgresql://USER@HOST:PORT/DATABASE, and {_ENCODED}"
        ) from None
    try:
        connection = psycopg.connect(
            url, autocommit=True, connect_timeout=_CONNECT_SECONDS, application_name=application
        )
    except psycopg.OperationalError as error:
        if _parts(url) is None:  # what libpq says may hold a part of the password
            raise ReplicationError(f"can't connect to the source; {_ENCODED}") from None
        raise UnreachableError(f"can't connect to {shown(url)}: {one_line(error)}") from None
    with connection:
        for name, value in SESSION.items():
            connection.execute("SELECT set_config(%s, %s, false)", (name, value))
        yield connection


@contextmanager
def in_words(url: str) -> Iterator[None]:
    """Make errors of a server into `ReplicationError`: `UnreachableError` where it went away."""
    try:
        yield
    except (psycopg.OperationalError, psycopg.InterfaceError) as error:
        if isinstance(error, psycopg.errors.QueryCanceled):
            raise ReplicationError(f"{shown(url)} cancelled the work: {one_line(error)}") from None
        raise UnreachableError(f"lost {shown(url)}: {one_line(error)}") from None
    except psycopg.Error as error:
        raise ReplicationError(f"{shown(url)} refused: {one_line(error)}") from None


def one_line(error: psycopg.Error) -> str:
    """What the server said, in one line."""
    return " ".join((error.diag.message_primary or str(error) or type(error).__name__).split())


def value(connection: Source, query: sql.SQL | sql.Composed, *arguments: object) -> object:
    """The first value of a query's first row; None where there is none."""
    row = connection.execute(query, arguments or None).fetchone()
    return row[0] if row else None


@contextmanager
def cancelled(connection: Source, stop: Event) -> Iterator[None]:
    """Cancel what the server does for a session when `stop` is set, as a look at a long log takes its time."""
    done = Event()

    def watch() -> None:
        while not done.wait(_LOOKS_FOR_STOP):
            if stop.is_set():  # again and again: what was between two statements the first time begins another one
                connection.cancel_safe(timeout=_CANCEL_SECONDS)

    watcher = Thread(target=watch, name="cancel", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        done.set()
        watcher.join()
