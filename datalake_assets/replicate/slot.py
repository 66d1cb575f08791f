"""What a task leaves in the source: a publication of its tables, and the slot that keeps the log for it.

Belongs here: both, and positions in the log (LSNs, as numbers). Reading the log is in `changes.py`.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from time import monotonic

from psycopg import errors, sql

from datalake_assets.replicate.session import ReplicationError, Source, one_line, value
from datalake_assets.replicate.source import STORED_GENERATED_FROM, SourceTable

_PATIENCE = 2.0  # seconds


def lsn(text: object) -> int:
    """A position in the log as a number: `0/152B1B8` is 22196664."""
    high, _, low = str(text).partition("/")
    return (int(high, 16) << 32) + int(low, 16)


def lsn_text(position: int) -> str:
    """A position in the log as Postgres writes it."""
    return f"{position >> 32:X}/{position & 0xFFFFFFFF:X}"


class Slot:
    """A logical replication slot and the publication of the same name."""

    def __init__(self, connection: Source, name: str) -> None:
        """A handle; nothing is made or looked at."""
        self.name = name
        self._connection = connection

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the task for this session. Raises `ReplicationError` where another process does.

        The server takes a moment to notice that a process which held it was killed.
        """
        key = sql.SQL("hashtextextended('datalake replicate ' || {}, 0)").format(sql.Literal(self.name))
        until = monotonic() + _PATIENCE
        while not value(self._connection, sql.SQL("SELECT pg_try_advisory_lock({})").format(key)):
            if monotonic() < until:
                self._connection.execute("SELECT pg_sleep(0.1)")
                continue
            raise ReplicationError(
                f"the task {self.name} is being run by another process; stop that one, or name another --task"
            )
        yield  # the lock ends with the session

    @property
    def _remedy(self) -> str:
        return f"`datalake replicate --drop --task {self.name}` ends the task, and the next run loads its tables anew"

    def exists(self) -> bool:
        """Whether there is a slot of the name, which all databases of the server share.

        Raises `ReplicationError` where it is another database's: that one is left alone.
        """
        query = "SELECT database, database = current_database() FROM pg_replication_slots WHERE slot_name = %s"
        row = self._connection.execute(query, (self.name,)).fetchone()
        if row is None:
            return False
        database, is_here = row
        if not is_here:
            whose = "no database" if database is None else f"another database of the server, {database}"
            raise ReplicationError(f"the slot {self.name} is of {whose}; name another --task")
        return True

    def create(self) -> None:
        """Make the slot, where there is none. All that is committed from then on can be read from it.

        Raises `ReplicationError` where the role may not, or the server has no room for another slot.
        """
        if self.exists():
            return
        query = "SELECT pg_create_logical_replication_slot(%s, 'pgoutput')"
        try:
            self._connection.execute(query, (self.name,))
        except errors.InsufficientPrivilege as error:
            raise ReplicationError(
                f"the source's role may not replicate: {one_line(error)}; run ALTER ROLE … REPLICATION (Amazon RDS: "
                "GRANT rds_replication TO …)"
            ) from None
        except errors.ConfigurationLimitExceeded as error:
            raise ReplicationError(f"{one_line(error)}; raise max_replication_slots, or drop a slot") from None

    def position(self) -> int:
        """Up to where the log was confirmed. Raises `ReplicationError` for a slot that can't be read any more."""
        query = "SELECT confirmed_flush_lsn, wal_status, active_pid FROM pg_replication_slots WHERE slot_name = %s"
        row = self._connection.execute(query, (self.name,)).fetchone() if self.exists() else None
        if row is None:
            raise ReplicationError(f"the slot {self.name} is gone from the source, and with it changes; {self._remedy}")
        confirmed, status, active = row
        if status == "lost" or confirmed is None:
            raise ReplicationError(
                f"the source no longer keeps the log that the slot {self.name} needs (max_slot_wal_keep_size); "
                f"{self._remedy}"
            )
        if active is not None:
            raise ReplicationError(f"the slot {self.name} is in use by process {active} of the server; stop its client")
        return lsn(confirmed)

    def advance(self, position: int) -> None:
        """Tell the source that the log up to here is needed no more."""
        query = "SELECT pg_replication_slot_advance(%s, %s::pg_lsn)"
        self._connection.execute(query, (self.name, lsn_text(position)))

    @contextmanager
    def read(self) -> Iterator[None]:
        """Read the log within the block. Raises `ReplicationError` where it is gone for good."""
        try:
            yield
        except (errors.ObjectNotInPrerequisiteState, errors.UndefinedObject) as error:
            raise ReplicationError(
                f"the log can't be read from the slot {self.name}: {one_line(error)}; {self._remedy}"
            ) from None

    def publish(self, tables: Sequence[SourceTable]) -> None:
        """Publish these tables and no others.

        A publication that somebody else made is used as it is when it has the tables. Raises `ReplicationError` where
        the role may not make or change one, or it leaves out changes.
        """
        published = self._published(by_root=any(table.is_partitioned for table in tables))
        if published == {table.oid for table in tables}:
            return
        publication = sql.Identifier(self.name)
        targets = sql.SQL(", ").join(
            sql.SQL("{}{}").format(
                sql.SQL("") if t.is_partitioned else sql.SQL("ONLY "), sql.Identifier(t.schema, t.name)
            )
            for t in tables
        )
        statement = sql.SQL("ALTER PUBLICATION {} SET TABLE {}")
        if published is None:
            options = "publish = 'insert, update, delete, truncate', publish_via_partition_root = true"
            if self._connection.info.server_version >= STORED_GENERATED_FROM:
                options += ", publish_generated_columns = stored"
            statement = sql.SQL("CREATE PUBLICATION {} FOR TABLE {} WITH (" + options + ")")
        try:
            self._connection.execute(statement.format(publication, targets))
        except errors.InsufficientPrivilege as error:
            raise ReplicationError(
                f"the source's role may not publish the tables: {one_line(error)}; it needs CREATE on the database and "
                f"to own them, or an owner makes the publication {self.name} for exactly these tables"
            ) from None

    def drop(self) -> None:
        """Remove slot and publication, where they are there.

        Raises `ReplicationError` where the role may not, the slot is in use, or it is another database's.
        """
        try:
            if self.exists():
                self._connection.execute("SELECT pg_drop_replication_slot(%s)", (self.name,))
            self._connection.execute(sql.SQL("DROP PUBLICATION IF EXISTS {}").format(sql.Identifier(self.name)))
        except (errors.InsufficientPrivilege, errors.ObjectInUse) as error:
            raise ReplicationError(f"the task {self.name} can't be dropped: {one_line(error)}") from None

    def _published(self, *, by_root: bool) -> set[int] | None:
        """The oids of the publication's tables; None where there is no such publication.

        Raises `ReplicationError` for one that leaves out changes; `by_root` tells that it must name partitioned tables
        and not their parts.
        """
        query = "SELECT oid, pubinsert AND pubupdate AND pubdelete, pubviaroot FROM pg_publication WHERE pubname = %s"
        row = self._connection.execute(query, (self.name,)).fetchone()
        if row is None:
            return None
        oid, is_whole, names_root = row
        if not is_whole or (by_root and not names_root):
            raise ReplicationError(
                f"the publication {self.name} leaves changes out; make it with publish = 'insert, update, delete' and, "
                "for a partitioned table, publish_via_partition_root = true"
            )
        query = "SELECT prrelid FROM pg_publication_rel WHERE prpubid = %s"
        return {table for (table,) in self._connection.execute(query, (oid,))}


def flushed(connection: Source) -> int:
    """How far the log is on disk: a look at it reads up to here at least."""
    return lsn(value(connection, sql.SQL("SELECT pg_current_wal_flush_lsn()")))


def written(connection: Source) -> int:
    """A position behind all that is committed now, to which the log gets flushed within moments."""
    position = lsn(value(connection, sql.SQL("SELECT pg_current_wal_insert_lsn()")))
    value(connection, sql.SQL("SELECT pg_current_xact_id()"))  # a commit of its own, so that there is what to flush
    return position
