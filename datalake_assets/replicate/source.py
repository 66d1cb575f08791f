"""The Postgres that is replicated: whether it can be, and what its catalogue says of the tables.

Belongs here: looking. What a task leaves in the source (a slot, a publication) is in `slot.py`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count

from psycopg import sql

from datalake_assets.replicate.session import ReplicationError, Source, value

_LOOKS_BEFORE_TELLING = 40  # two seconds
_OLDEST = 130_000
STORED_GENERATED_FROM = 180_000
"""Postgres 18 can publish stored generated columns, older ones leave them out of the log."""
_FIRST_OWN_OID = 16_384
"""Types with lower oids are Postgres' own."""
_TABLE = """
SELECT c.oid, c.relkind, c.relpersistence, c.relreplident
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = %s AND c.relname = %s
"""
_COLUMNS = """
SELECT attname, atttypid, atttypmod FROM pg_attribute
WHERE attrelid = %s AND attnum > 0 AND NOT attisdropped AND (attgenerated = '' OR (attgenerated = 's' AND %s))
ORDER BY attnum
"""
_KEY = """
SELECT a.attname FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey)
WHERE i.indrelid = %s AND i.indisprimary ORDER BY array_position(i.indkey::int2[], a.attnum)
"""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table; `type_oid` is a domain's base type."""

    name: str
    type_oid: int
    modifier: int


@dataclass(frozen=True, slots=True)
class SourceTable:
    """A table as the catalogue has it; `key` is its primary key."""

    oid: int
    schema: str
    name: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    is_partitioned: bool

    @property
    def full_name(self) -> str:
        """`schema.table`, without quotes."""
        return f"{self.schema}.{self.name}"

    @property
    def sql(self) -> sql.Composed:
        """The table as a target of SQL: a partitioned one with its parts, any other without its heirs."""
        name = sql.Identifier(self.schema, self.name)
        return sql.Composed([name]) if self.is_partitioned else sql.SQL("ONLY {}").format(name)


def check_server(connection: Source) -> None:
    """Raise `ReplicationError` where the server can't decode its log, or its texts have no encoding."""
    if connection.info.server_version < _OLDEST:
        raise ReplicationError("the source is older than Postgres 13, which is the oldest that can be replicated")
    level = value(connection, sql.SQL("SHOW wal_level"))
    if level != "logical":
        raise ReplicationError(
            f"the source has wal_level = {level}, and changes can be read under logical alone; run ALTER SYSTEM SET "
            "wal_level = logical and restart the server (Amazon RDS: rds.logical_replication = 1)"
        )
    if value(connection, sql.SQL("SHOW server_encoding")) == "SQL_ASCII":
        raise ReplicationError("the database has the encoding SQL_ASCII, so that its texts can't be read as Unicode")


def find_table(connection: Source, full_name: str, *, known_oid: int | None = None) -> SourceTable:
    """A table by `schema.table` (or its name in `public`), as it is spelt in the catalogue, without quotes.

    `known_oid` is the one that the table had when it was last seen, if it was: by it a renamed one is told. Raises
    `ReplicationError` for one that is not there, or whose updates and deletes the log would not tell.
    """
    schema, dot, name = full_name.partition(".")
    if not dot:
        schema, name = "public", full_name
    row = connection.execute(_TABLE, (schema, name)).fetchone()
    if row is None:
        since = _renamed(connection, known_oid) if known_oid is not None else None
        raise ReplicationError(f"there is no table {schema}.{name} in the source{since or _others(connection, schema)}")
    oid, kind, persistence, identity = row
    if kind not in {"r", "p"} or persistence != "p" or "/" in full_name:
        raise ReplicationError(f"{schema}.{name} can't be replicated: name an ordinary, logged table")
    key = tuple(name for (name,) in connection.execute(_KEY, (oid,)))
    if not key:
        raise ReplicationError(
            f"{schema}.{name} has no primary key, so that its updates and deletes can't be replicated; give it one "
            "(ALTER TABLE … ADD PRIMARY KEY …)"
        )
    if identity not in {"d", "f"}:
        raise ReplicationError(
            f"the replica identity of {schema}.{name} is not its primary key, so that the log does not tell which rows "
            "are deleted; run ALTER TABLE … REPLICA IDENTITY DEFAULT, or FULL"
        )
    stored = connection.info.server_version >= STORED_GENERATED_FROM
    columns = tuple(
        Column(name, *base_type(connection, type_oid, modifier))
        for name, type_oid, modifier in connection.execute(_COLUMNS, (oid, stored)).fetchall()
    )
    return SourceTable(oid, schema, name, columns, key, is_partitioned=kind == "p")


def base_type(connection: Source, type_oid: int, modifier: int) -> tuple[int, int]:
    """The type that a domain is made of, with its modifier; any other type is its own."""
    while type_oid >= _FIRST_OWN_OID:
        query = "SELECT typbasetype, typtypmod FROM pg_type WHERE oid = %s AND typtype = 'd'"
        row = connection.execute(query, (type_oid,)).fetchone()
        if row is None:
            break
        type_oid, modifier = row
    return type_oid, modifier


def wait_for_older_transactions(connection: Source, *, tell: Callable[[str], None]) -> None:
    """Return when every transaction has ended that began to write before now; new ones go on meanwhile.

    What a later snapshot does not show was then written after this call, by transactions that see what the catalogue
    has now.
    """
    own = value(connection, sql.SQL("SELECT pg_current_xact_id()"))
    ended = sql.SQL("SELECT pg_snapshot_xmin(pg_current_snapshot()) > {}::text::xid8").format(sql.Literal(str(own)))
    for look in count():
        if value(connection, ended):
            return
        if look == _LOOKS_BEFORE_TELLING:
            tell("waiting for transactions of the source that began to write before now (pg_stat_activity shows them)")
        connection.execute("SELECT pg_sleep(0.05)")


def _renamed(connection: Source, oid: int) -> str | None:
    """What to do about a table that is there under another name; None where it is gone."""
    query = "SELECT n.nspname || '.' || c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace WHERE "
    name = value(connection, sql.SQL(query + "c.oid = {}").format(sql.Literal(oid)))
    if name is None:
        return None
    return (
        f": it was renamed to {name}; name that by --table in its place, and it is loaded anew under its new name, "
        "while the dataset of the old one keeps what it has"
    )


def _others(connection: Source, schema: str) -> str:
    query = "SELECT tablename FROM pg_tables WHERE schemaname = %s ORDER BY tablename LIMIT 20"
    names: Sequence[str] = [name for (name,) in connection.execute(query, (schema,))]
    return f"; {schema} has {', '.join(names)}" if names else f"; the schema {schema} has none at all"
