"""Rows as DMS writes them: columns of texts as a file.

Belongs here: one file's content. Which rows go into which file is decided in `load.py` and `changes.py`.
"""

import gzip
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa

from datalake_assets.replicate.column_types import column_type
from datalake_assets.replicate.dms_format import OPERATION, csv, parquet
from datalake_assets.replicate.form import FileFormat, Form
from datalake_assets.replicate.session import ReplicationError
from datalake_assets.replicate.source import Column

BEFORE = "BI_"
FILE_BYTES = 32 * 1024**2
"""Of text, more or less: a file is closed when it has more than this, whatever its rows."""


@dataclass(frozen=True, slots=True)
class Header:
    """What DMS adds to rows: an operation for each (None: no such column), a commit time and a sequence as texts."""

    operations: pa.Array | None
    times: pa.Array
    sequences: pa.Array


def check_columns(form: Form, table: str, columns: Sequence[str], key: Sequence[str], *, rename: str) -> None:
    """Raise `ReplicationError` where a table's column has the name of one that its files have besides.

    `rename` tells what to do about one that has the name of the operation's, which the files can't do without.
    """
    added = [OPERATION, form.timestamp_column, form.sequence_column]
    before = [f"{BEFORE}{name}" for name in key if form.before_images]
    twice = sorted(name for name, times in Counter([*filter(None, added), *before, *columns]).items() if times > 1)
    if twice:
        remedy = "give theirs another name (--timestamp-column, --sequence-column, --no-before-images)"
        raise ReplicationError(
            f"the files of {table} would have two columns {twice[0]!r}; "
            f"{rename if twice[0] == OPERATION and OPERATION in columns else remedy}"
        )


def file_of(
    form: Form,
    columns: Sequence[Column],
    texts: Sequence[pa.Array],
    header: Header,
    *,
    before: Mapping[str, pa.Array],
    metadata: Mapping[str, str] | None = None,
) -> bytes:
    """A file of rows, whose values are given as columns of Postgres' texts; `metadata` is for a Parquet file's footer.

    `before` are the old values of key columns, as texts by the column's name. Which columns there can't be is checked
    before, by `check_columns`.
    """
    types = {c.name: column_type(c.type_oid, c.modifier, booleans=form.booleans) for c in columns}
    added: list[tuple[pa.Field, pa.Array]] = []
    if header.operations is not None:
        added.append((pa.field(OPERATION, pa.string()), header.operations))
    if form.timestamp_column is not None:
        added.append((pa.field(form.timestamp_column, pa.string(), nullable=False), header.times))
    if form.sequence_column is not None:
        added.append((pa.field(form.sequence_column, pa.string()), header.sequences))
    own = [(pa.field(name, t.arrow), t.convert(array)) for (name, t), array in zip(types.items(), texts, strict=True)]
    if form.before_images:
        own += [
            (pa.field(f"{BEFORE}{name}", types[name].arrow), types[name].convert(array))
            for name, array in before.items()
        ]
    fields = [field for field, _ in (*added, *own)]
    table = pa.table([array for _, array in (*added, *own)], schema=pa.schema(fields))
    match form.file_format:
        case FileFormat.PARQUET:
            return parquet(table, metadata=metadata)
        case FileFormat.CSV:
            return csv(table)
        case FileFormat.CSV_GZ:
            return gzip.compress(csv(table), mtime=0)
