"""The changes of a task's tables: read from the log, landed as files, and then only confirmed.

Belongs here: one look at the log, from the slot's position on. How often there is one is decided in `task.py`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pyarrow as pa

from datalake_assets.replicate.dms_format import change_sequence, sequence_time, time_text
from datalake_assets.replicate.files import Bronze
from datalake_assets.replicate.form import Form
from datalake_assets.replicate.pgoutput import Begin, Commit, Relation, RowChange, Truncate, Values, decode
from datalake_assets.replicate.rows import FILE_BYTES, Header, check_columns, file_of
from datalake_assets.replicate.session import Source
from datalake_assets.replicate.slot import Slot, flushed
from datalake_assets.replicate.source import Column, SourceTable, base_type
from datalake_assets.replicate.state import StateFile, TaskState

_MESSAGES = 200_000
"""Of one look, more or less: whole transactions are told. The source keeps them on disk while they are fetched."""
_FETCHED = 200
"""Rows that are fetched at once: each may be large."""
_CHECKED = 5_000
_VALUE_BYTES = 48
"""What a value takes in memory besides its text."""
_BYTES_TO_CONFIRM = 1024**2
"""Of log that has nothing for the task: when it grew by so much, the slot is told all the same."""
_RENAMED_LATE = "rename the column, run once without the table, then with it: so it is loaded anew"
"""What to do about a column that the log tells of, whatever it is named by now."""
_PEEK = """
SELECT data FROM pg_logical_slot_peek_binary_changes(%s, NULL, %s, 'proto_version', '1', 'publication_names', %s)
"""


@dataclass(slots=True)
class _File:
    """Rows for one file, as they gather: those of one table with the same columns."""

    shape: "_Shape"
    folder: str
    operations: list[str] = field(default_factory=list)
    times: list[str] = field(default_factory=list)
    sequences: list[str] = field(default_factory=list)
    values: list[Values] = field(default_factory=list)
    before: list[Values] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Shape:
    """A table's columns at a place in the log, and where those of its key are."""

    table: SourceTable
    columns: tuple[Column, ...]
    key: tuple[int, ...]
    no_values: Values


class Capture:
    """Lands the changes of some tables, which are known by their oids."""

    def __init__(
        self,
        connection: Source,
        slot: Slot,
        tables: Mapping[int, SourceTable],
        form: Form,
        bronze: Bronze,
        *,
        tell: Callable[[str], None],
        check: Callable[[], None],
    ) -> None:
        """Prepare; `tell` is given warnings, `check` is called now and then and may raise to stop the work."""
        self._connection = connection
        self._slot = slot
        self._tables = tables
        self._form = form
        self._bronze = bronze
        self._tell = tell
        self._check = check
        self._confirmed = slot.position()

    def land(self, state: TaskState, file: StateFile) -> bool:
        """Land what the log has; tells whether that was all of it.

        `state` is brought forward and kept in `file` before the slot is told.
        """
        look = _Look(self._connection, self._tables, self._form, self._bronze, state=state, tell=self._tell)
        reached = flushed(self._connection)
        messages = 0
        with (
            self._slot.read(),
            self._connection.transaction(),
            self._connection.cursor(name="datalake_changes") as cursor,
        ):
            cursor.itersize = _FETCHED
            cursor.execute(_PEEK, (self._slot.name, _MESSAGES, self._slot.name), binary=True)
            for (data,) in cursor:
                messages += 1
                if messages % _CHECKED == 0:
                    self._check()
                look.take(data)
        look.write_all()
        is_all = messages < _MESSAGES
        position = max(look.end, reached) if is_all else look.end
        state.position = max(position, state.position or 0)
        state.time, state.counter = look.time, look.counter
        if look.changes or state.position - self._confirmed >= _BYTES_TO_CONFIRM:
            file.write(state)
            self._slot.advance(state.position)
            self._confirmed = state.position
        return is_all


class _Look:
    """One look at the log: its messages in order, gathered into files."""

    def __init__(
        self,
        connection: Source,
        tables: Mapping[int, SourceTable],
        form: Form,
        bronze: Bronze,
        *,
        state: TaskState,
        tell: Callable[[str], None],
    ) -> None:
        self.end = 0
        self.changes = 0
        self.time, self.counter = state.time, state.counter
        self._connection = connection
        self._tables = tables
        self._form = form
        self._bronze = bronze
        self._tell = tell
        self._shapes: dict[int, _Shape] = {}
        self._files: dict[tuple[int, str], _File] = {}
        self._size = 0
        self._committed, self._folder = "", ""

    def take(self, data: bytes) -> None:
        """Take the next message."""
        match decode(data):
            case RowChange() as change:
                self._add(change, size=len(data))
            case Begin(committed):
                self._begin(committed)
            case Commit(end):
                self.end = end
            case Relation() as relation:
                self._shape(relation)
            case Truncate(relations):
                for oid in relations:
                    if oid in self._tables:
                        name = self._tables[oid].full_name
                        self._tell(
                            f"{name} was truncated in the source; as under DMS its rows stay in the lake until "
                            f"`datalake replicate --reload {name}`"
                        )
            case None:
                pass

    def write_all(self) -> None:
        """Write what has gathered."""
        for place in list(self._files):
            self._write(place)
        self._size = 0

    def _begin(self, committed: datetime) -> None:
        """Commit times need not rise from one transaction to the next, sequences do."""
        committed = committed.astimezone(UTC)
        self.time = max(self.time, sequence_time(committed))
        self._committed, self._folder = time_text(committed), self._form.folder(committed)

    def _shape(self, relation: Relation) -> None:
        table = self._tables.get(relation.oid)
        if table is None:
            return
        columns = tuple(Column(c.name, *base_type(self._connection, c.type_oid, c.modifier)) for c in relation.columns)
        # With an identity that is FULL all columns are in it; the catalogue knows the key, by the names of today.
        in_identity = tuple(n for n, c in enumerate(relation.columns) if c.in_identity)
        in_key = tuple(n for n, c in enumerate(relation.columns) if c.name in table.key)
        is_full = len(in_identity) == len(columns)
        shape = _Shape(table, columns, in_key if is_full and in_key else in_identity, (None,) * len(columns))
        names = [column.name for column in columns]
        check_columns(self._form, table.full_name, names, [names[n] for n in shape.key], rename=_RENAMED_LATE)
        if self._shapes.get(relation.oid) not in {None, shape}:  # a file has one form
            for place in [place for place in self._files if place[0] == relation.oid]:
                self._write(place)
        self._shapes[relation.oid] = shape

    def _add(self, change: RowChange, *, size: int) -> None:
        self.counter += 1  # of every change: sequences don't hang on which tables the task has when they are made
        shape = self._shapes.get(change.relation)
        if shape is None:  # of a table that left the task
            return
        values, before = change.new, shape.no_values
        if values is None:
            values = change.old or shape.no_values
        elif change.old is not None:
            old = change.old
            told = [n for n in change.unchanged if change.old_is_full or n in shape.key]
            if told:
                values = tuple(old[n] if n in told else v for n, v in enumerate(values))
            if any(old[n] != values[n] for n in shape.key):
                before = old
        place = change.relation, self._folder
        file = self._files.get(place)
        if file is None:
            file = self._files[place] = _File(shape, self._folder)
        self.changes += 1
        file.operations.append(change.operation)
        file.times.append(self._committed)
        file.sequences.append(change_sequence(self.time, self.counter))
        file.values.append(values)
        file.before.append(tuple(before[n] for n in shape.key))
        self._size += size + _VALUE_BYTES * len(values)
        if len(file.values) >= self._form.change_rows:
            self._write(place)
        elif self._size >= FILE_BYTES:
            self.write_all()

    def _write(self, place: tuple[int, str]) -> None:
        file = self._files.pop(place)
        columns = file.shape.columns
        key = [columns[n].name for n in file.shape.key]
        header = Header(pa.array(file.operations), pa.array(file.times), pa.array(file.sequences))
        texts = [pa.array(column, pa.string()) for column in zip(*file.values, strict=True)]
        old = [pa.array(column, pa.string()) for column in zip(*file.before, strict=True)]
        before = dict(zip(key, old, strict=True))
        data = file_of(self._form, columns, texts, header, before=before)
        name, extension = file.shape.table.full_name, self._form.file_format
        self._bronze.put_changes(name, file.folder, data, changes=len(file.values), extension=extension)
