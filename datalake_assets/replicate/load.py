"""The full load of a table: its rows as one snapshot shows them, streamed into load files.

Belongs here: one table's load. When a table is loaded is decided in `task.py`.
"""

import json
from collections.abc import Callable
from datetime import UTC, datetime

import pyarrow as pa
from psycopg import errors, sql
from pyarrow import csv

from datalake_assets.lake.store.full_loads import LOAD_METADATA
from datalake_assets.replicate.dms_format import time_text
from datalake_assets.replicate.files import Bronze
from datalake_assets.replicate.form import Form
from datalake_assets.replicate.rows import FILE_BYTES, Header, check_columns, file_of
from datalake_assets.replicate.session import ReplicationError, Source, one_line, value
from datalake_assets.replicate.source import SourceTable, find_table, wait_for_older_transactions

_INSERT = "I"


def checked_table(connection: Source, name: str, form: Form, *, known_oid: int | None = None) -> SourceTable:
    """A table as `find_table` gives it. Raises `ReplicationError` where it can't be replicated in this form."""
    table = find_table(connection, name, known_oid=known_oid)
    columns = [column.name for column in table.columns]
    check_columns(form, table.full_name, columns, table.key, rename="rename the column, or leave the table out")
    return table


def load_table(
    connection: Source,
    name: str,
    form: Form,
    bronze: Bronze,
    *,
    after: str,
    between: Callable[[int], None],
    tell: Callable[[str], None],
) -> int:
    """Write a table's load files; gives how many rows they have.

    `name` is `schema.table`, `after` the sequence of the newest change that has landed. `between` is called after each
    file with the number of its rows, `tell` with lines about the work.

    The table can't be altered meanwhile, but written. Of an empty table there is no file. All rows have the time at
    which the load began (DMS: UseTaskStartTimeForFullLoadTimestamp), by the clock of the source, as that of commits.
    Raises `ReplicationError` where the table may not be read.
    """
    began = value(connection, sql.SQL("SELECT clock_timestamp()"))
    if not isinstance(began, datetime):
        raise TypeError(f"clock_timestamp() gave {began!r}")
    # Their writes may be neither in the log, should they be older than the table's publication, nor in the snapshot.
    wait_for_older_transactions(connection, tell=tell)
    table = find_table(connection, name)
    try:
        with connection.transaction():
            connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
            # Locked before the snapshot is taken: one from before a rewrite of the table would show no rows of it.
            connection.execute(sql.SQL("LOCK TABLE {} IN ACCESS SHARE MODE").format(table.sql))
            table = checked_table(connection, name, form)
            files = _LoadFiles(table, form, bronze, began.astimezone(UTC), after)
            return _stream(connection, files, between)
    except errors.InsufficientPrivilege as error:
        raise ReplicationError(f"{name} can't be read: {one_line(error)}; run GRANT SELECT ON {name} TO …") from None


def _stream(connection: Source, files: "_LoadFiles", between: Callable[[int], None]) -> int:
    names = sql.SQL(", ").join(sql.Identifier(column.name) for column in files.table.columns)
    query = sql.SQL("COPY (SELECT {} FROM {}) TO STDOUT (FORMAT csv, FORCE_QUOTE *)").format(names, files.table.sql)
    rows: list[bytes] = []
    size = total = 0
    with connection.cursor() as cursor, cursor.copy(query) as copy:
        for row in copy:  # the server sends each row as a message of its own
            if len(rows) >= files.form.load_rows or size >= FILE_BYTES:
                files.write(rows, is_last=False)
                between(len(rows))
                rows, size = [], 0
            rows.append(bytes(row))
            size += len(row)
            total += 1
    if rows:
        files.write(rows, is_last=True)
        between(len(rows))
    return total


class _LoadFiles:
    """The files of one load, numbered as they are written."""

    def __init__(self, table: SourceTable, form: Form, bronze: Bronze, began: datetime, after: str) -> None:
        self.table = table
        self.form = form
        self._bronze = bronze
        self._began = began
        self._after = after
        self._number = 0

    def write(self, rows: list[bytes], *, is_last: bool) -> None:
        """Write the next file, of rows as lines of CSV whose values are all quoted but NULL."""
        self._number += 1
        names = [column.name for column in self.table.columns]
        data = b"".join(rows)
        texts = csv.read_csv(
            pa.BufferReader(data),
            read_options=csv.ReadOptions(column_names=names, block_size=len(data) + 1),
            parse_options=csv.ParseOptions(newlines_in_values=True, ignore_empty_lines=False),
            convert_options=csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()),
                strings_can_be_null=True,
                quoted_strings_can_be_null=False,
                null_values=[""],
            ),
        ).combine_chunks()
        count = len(rows)
        header = Header(
            operations=pa.repeat(_INSERT, count) if self.form.load_operation else None,
            times=pa.repeat(time_text(self._began), count),
            sequences=pa.repeat("", count),
        )
        told = {
            "load": self._began.isoformat(),
            "file": self._number,
            "last": is_last,
            "after": self._after,
        }
        body = file_of(
            self.form,
            self.table.columns,
            [texts[name].combine_chunks() for name in names],
            header,
            before={name: pa.nulls(count, pa.string()) for name in self.table.key},
            metadata={LOAD_METADATA: json.dumps(told)},
        )
        self._bronze.put_load(self.table.full_name, self._number, body, extension=self.form.file_format)
