"""A replication task, as AWS DMS has them: full loads, then changes, from one slot into one lake's bronze zone.

Belongs here: the order of things, so that a task killed at any moment repeats something and loses nothing. The slot
comes before the loads, files come before the memory of them, and that before the slot is told.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event
from time import monotonic

import psycopg

from datalake_assets.lake.store.landing import open_store
from datalake_assets.replicate.changes import Capture
from datalake_assets.replicate.dms_format import change_sequence
from datalake_assets.replicate.files import Bronze
from datalake_assets.replicate.load import checked_table, load_table
from datalake_assets.replicate.plan import Tally, Task
from datalake_assets.replicate.session import ReplicationError, Source, cancelled, connected, in_words
from datalake_assets.replicate.slot import Slot, written
from datalake_assets.replicate.source import SourceTable, check_server
from datalake_assets.replicate.state import StateFile, TableState, TaskState

_CATCHING_UP = 0.2  # seconds between two looks


class _StoppedError(Exception):
    """The run was told to stop."""


def replicate(
    task: Task,
    *,
    reload: tuple[str, ...] = (),
    until_caught_up: bool,
    stop: Event,
    tell: Callable[[str], None],
    progress: Callable[[Tally], None] = lambda _: None,
) -> Tally:
    """Run a task from where it is: load the tables that are not loaded yet, and land changes until `stop` is set.

    With `until_caught_up` it ends when all has landed that was committed before it began. The tables named in `reload`
    are loaded again. `tell` is given lines about the work, `progress` the tally after every file of a load and every
    look at the log.

    Raises `ReplicationError` for what the person who runs it has to mend, and `UnreachableError` where the source went
    away; nothing is lost then, and the next run goes on.
    """
    tally = Tally()
    try:
        with _told_in_words(task, stop), connected(task.source) as connection, cancelled(connection, stop):
            run = _Run(task, connection, tally, stop=stop, tell=tell, progress=progress)
            with run.slot.locked():
                run.begin(reload)
                run.go(until_caught_up=until_caught_up)
    except _StoppedError:
        tally.is_stopped = True
    return tally


def drop(task: Task) -> None:
    """End a task: remove its slot and publication from the source, and forget which tables it loaded.

    What has landed stays; the last sequence is remembered, should a task of this name begin again.
    """
    with _told_in_words(task, Event()), connected(task.source) as connection:
        slot, file = Slot(connection, task.name), StateFile(task.root, task.name)
        with slot.locked():
            slot.drop()
            state = file.read()
            if state is not None:
                file.write(TaskState(time=state.time, counter=state.counter))


class _Run:
    """One run of a task."""

    def __init__(
        self,
        task: Task,
        connection: Source,
        tally: Tally,
        *,
        stop: Event,
        tell: Callable[[str], None],
        progress: Callable[[Tally], None],
    ) -> None:
        self.slot = Slot(connection, task.name)
        self._tally = tally
        self._task = task
        self._connection = connection
        self._stop = stop
        self._tell = tell
        self._progress = progress
        self._file = StateFile(task.root, task.name)
        self._bronze = Bronze(open_store(task.bronze))
        self._state = TaskState()
        self._capture: Capture | None = None
        self._next_look = 0.0

    def begin(self, reload: tuple[str, ...]) -> None:
        """Check everything, and see to it that the log is kept from here on, before any table is read."""
        check_server(self._connection)
        self._state = state = self._file.read() or TaskState()
        oids = {name: table.oid for name, table in state.tables.items()}
        tables = [
            checked_table(self._connection, name, self._task.form, known_oid=oids.get(name))
            for name in self._task.tables
        ]
        names = {table.full_name for table in tables}
        for name in reload:
            if name not in names:
                raise ReplicationError(f"--reload {name}: no table of this task; it has {', '.join(sorted(names))}")
        if state.position is None:
            state.position = self._make_slot(tables)
        else:
            self._meet(state.position)
            self.slot.publish(tables)
        state.tables = {table.full_name: self._known(table, reload) for table in tables}
        self._file.write(state)
        by_oid = {table.oid: table for table in tables}
        self._capture = Capture(
            self._connection, self.slot, by_oid, self._task.form, self._bronze, tell=self._tell, check=self._check
        )

    def go(self, *, until_caught_up: bool) -> None:
        """Load what is not loaded, then look at the log until it is time to end."""
        target = written(self._connection)
        for name, table in self._state.tables.items():
            if not table.loaded:
                self._load(name, table)
        while True:
            began = monotonic()
            is_all = self._look()
            if until_caught_up and (self._state.position or 0) >= target:
                return
            self._check()
            pause = _CATCHING_UP if until_caught_up else self._task.interval
            if is_all and self._stop.wait(max(0.0, pause - (monotonic() - began))):
                raise _StoppedError

    def _known(self, table: SourceTable, reload: tuple[str, ...]) -> TableState:
        """What is remembered of a table; one that was made anew under its name has to be loaded, too."""
        known = self._state.tables.get(table.full_name)
        is_loaded = known is not None and known.oid == table.oid and known.loaded
        return TableState(oid=table.oid, loaded=is_loaded and table.full_name not in reload)

    def _make_slot(self, tables: list[SourceTable]) -> int:
        """Make publication and slot; gives the slot's position.

        A slot that is there is this lake's only when the lake was making one: a run was killed then.
        """
        state = self._state
        if self.slot.exists() and not state.is_making:
            raise ReplicationError(
                f"there is a slot {self._task.name} in the source, and this lake knows nothing of it: another lake may "
                f"read it. Name another --task, or end that one with `datalake replicate --drop --task "
                f"{self._task.name}`"
            )
        self.slot.publish(tables)
        self._tell(f"making the slot {self._task.name}, once all transactions have ended that write now")
        state.is_making = True
        self._file.write(state)
        try:
            self.slot.create()
        except (ReplicationError, psycopg.errors.QueryCanceled):  # there is none, and may soon be another lake's
            state.is_making = False
            self._file.write(state)
            raise
        position = self.slot.position()
        state.is_making = False
        return position

    def _meet(self, position: int) -> None:
        """Bring the slot to where this lake's files end. Raises `ReplicationError` where it is past that."""
        confirmed = self.slot.position()
        if confirmed > position:
            raise ReplicationError(
                f"the slot {self._task.name} was read past what has landed in this lake (by another lake, or a copy of "
                f"this one?), so that changes are missing; `datalake replicate --drop --task {self._task.name}` ends "
                "the task, and the next run loads its tables anew"
            )
        if confirmed < position:
            self.slot.advance(position)

    def _load(self, name: str, table: TableState) -> None:
        self._tell(f"{name}: loading")
        # A session of its own, as changes go on landing from this one while rows are read from that one.
        with connected(self._task.source) as connection, cancelled(connection, self._stop):
            rows = load_table(
                connection,
                name,
                self._task.form,
                self._bronze,
                after=self._newest(),
                between=self._between,
                tell=self._tell,
            )
        table.loaded = True
        self._file.write(self._state)
        self._tell(f"{name}: {rows:,} rows loaded")

    def _between(self, rows: int) -> None:
        self._tally.loaded += rows
        self._count()
        self._check()
        if monotonic() >= self._next_look:
            self._look()

    def _look(self) -> bool:
        if self._capture is None:
            raise RuntimeError("the run has not begun")
        try:
            is_all = self._capture.land(self._state, self._file)
        finally:
            self._count()  # a look that is cut off has landed files, too
        self._next_look = monotonic() + self._task.interval
        return is_all

    def _count(self) -> None:
        landed = self._bronze
        self._tally.objects, self._tally.bytes, self._tally.changes = landed.objects, landed.size, landed.changes
        self._progress(self._tally)

    def _newest(self) -> str:
        """The sequence of the newest change that has landed; empty before the first."""
        return change_sequence(self._state.time, self._state.counter) if self._state.counter else ""

    def _check(self) -> None:
        if self._stop.is_set():
            raise _StoppedError


@contextmanager
def _told_in_words(task: Task, stop: Event) -> Iterator[None]:
    """Make errors of the server into a line, and a work that was cancelled to stop it into `_StoppedError`."""
    with in_words(task.source):
        try:
            yield
        except psycopg.errors.QueryCanceled:
            if stop.is_set():
                raise _StoppedError from None
            raise
