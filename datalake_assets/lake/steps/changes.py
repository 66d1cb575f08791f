"""Writing changes: a replicated table's live rows, its tombstones, its history.

The quick way: the newest change of each key wins over what the tables have. Nothing is taken back here; where something
is (an overwritten object, another contract) the table is rebuilt. History is written first and rests on itself alone.
Tombstones are written before the live rows, and every step that writes one commits on the live table too, so that a
concurrent step, which read the tombstones before, must decide again.
"""

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import narwhals as nw

from datalake_assets.lake.engines.base import Frame
from datalake_assets.lake.lake import ReplicaTables
from datalake_assets.lake.readers.batch import Batch
from datalake_assets.lake.spec.columns import (
    COMMITTED_AT,
    CONTENT_HASH,
    DELETE,
    EVENT_DATE,
    EVENT_TIME,
    GENERATION,
    IS_CHANGE,
    IS_CURRENT,
    LEFT_OUT,
    OPERATION,
    RELOADED,
    UNKNOWN,
    VALID_FROM,
    VALID_TO,
)
from datalake_assets.lake.spec.dataset import CdcTable
from datalake_assets.lake.spec.tables import history_table, silver_table
from datalake_assets.lake.steps.checks import note_repeated_keys
from datalake_assets.lake.steps.context import Step
from datalake_assets.lake.steps.shape import require_columns
from datalake_assets.lake.store.conflicts import until_undisturbed
from datalake_assets.lake.store.full_loads import FullLoad
from datalake_assets.lake.store.notes import CommitNotes
from datalake_assets.lake.store.snapshot import Snapshot
from datalake_assets.lake.transforms import cdc, quality


class EarlierLoadError(RuntimeError):
    """A load of the table was found to come before others that are in silver: changes are in another order by it."""


class _ReloadedError(Exception):
    """A reload of the table has begun, or is complete by now: what comes after what is to be told anew."""


class ChangeWriter:
    """Writes the batches of one step over a replicated table."""

    def __init__(self, step: Step, dataset: CdcTable, tables: ReplicaTables) -> None:
        """Prepare to write into some tables."""
        self._step = step
        self._dataset = dataset
        self._tables = tables
        self._key = list(dataset.key)
        self._stored = dataset.order_columns
        self._kept = dataset.kept_columns
        self._loads: tuple[int, tuple[FullLoad, ...]] | None = None  # and the ledger's version that tells them

    def write(self, batch: Batch) -> None:
        """Bring a batch of changes to history, tombstones and live rows.

        Raises `ColumnsGrownError` where a table has other columns by now than the batch was read in, and, once,
        `EarlierLoadError` where what the batch tells of the table's loads asks for a rebuild.
        """
        if not any(outcome.rows_out for outcome in batch.begun):
            return
        before = [load.started_at for load in self._known_loads()]
        self._step.lake.ledger.tell_loads(self._dataset, batch.begun)
        now = [load.started_at for load in self._known_loads()]
        is_later = now[1 : len(before)] == before[1:] and (len(now) == len(before) or now[:1] == before[:1])
        if before and not is_later:
            raise EarlierLoadError(f"{self._dataset.name}: one of its loads lay before another that is in silver")
        self.add(batch.accepted)

    def add(self, changes: Frame) -> None:
        """Bring changes to the tables, in whatever order."""
        while True:
            self._look()
            with suppress(_ReloadedError):
                self._write(changes)
                return

    def settle(self, *, noted: bool = True) -> None:
        """Take the rows out of silver that a complete reload of the table lacks; note it, unless tables lie beside."""
        while True:
            self._look()
            # Who writes after a reload is known to be complete writes nothing that it lacks: once settled, it stays so.
            unsettled = [number for number in self._complete if not noted or not self._reloads[number - 1].is_settled]
            if not unsettled:
                return
            with suppress(_ReloadedError):
                if self._tables.history is not None:
                    for number in unsettled:
                        self._tell_what_a_reload_lacks(number)
                until_undisturbed(self._remove_what_reloads_lack, what=self._tables.silver.uri)
                if noted:
                    settled = [self._reloads[number - 1] for number in unsettled]
                    self._step.lake.ledger.settle_loads(self._dataset, settled)
                return

    def _look(self) -> None:
        """See which reloads there are."""
        self._reloads = self._known_loads()[1:]
        self._complete = [n for n, load in enumerate(self._reloads, start=1) if load.is_complete]
        self._order = [*([GENERATION] if self._reloads else ()), *self._stored]

    def _known_loads(self) -> tuple[FullLoad, ...]:
        if self._dataset.timestamp_column is None:
            return ()
        ledger = self._step.lake.ledger
        version = ledger.table.open().version
        if self._loads is None or self._loads[0] != version:
            self._loads = version, ledger.loads(self._dataset)
        return self._loads[1]

    def _require_reloads(self) -> None:
        """Raise where a reload has begun, or has become complete, since we looked.

        It is asked after a table is opened, on which is decided then.
        """
        now, then = (
            [(load.started_at, load.is_complete) for load in r] for r in (self._known_loads()[1:], self._reloads)
        )
        if now != then:
            raise _ReloadedError

    def _placed(self, changes: Frame) -> Frame:
        """Changes, or rows of a table, with all that orders them."""
        return cdc.with_generation(changes, [load.started_at for load in self._reloads]) if self._reloads else changes

    def _write(self, accepted: Frame) -> None:
        engine = self._step.engine
        with self._step.stage("transform"):
            changes = self._placed(accepted)
            newest = engine.compute(cdc.newest(changes, key=self._key, order=self._order))
        if self._tables.history is not None:
            self._tables.history.transact(lambda seen: self._write_history(seen, changes, changes))
        until_undisturbed(lambda: self._write_live(changes, newest), what=self._tables.silver.uri)

    def _write_history(self, seen: Snapshot, keys: Frame, changes: Frame | None) -> None:
        """Add changes to the history and mend the validity of their neighbours; of some keys without a change too."""
        require_columns(seen, self._dataset)
        self._require_reloads()
        engine = self._step.engine
        columns = [name for name in history_table(self._dataset).columns if name not in _VALIDITY]
        with self._step.stage("transform"):
            existing = engine.compute(self._of_keys(seen, keys))
            known = self._known(existing, changes, columns=[*columns, *([GENERATION] if self._reloads else ())])
            history = cdc.with_validity(known, key=self._key, order=self._order, columns=columns)
            history = engine.compute(history) if self._reloads else history
            changed = engine.compute(
                cdc.changed_history(history, existing, key=self._key, order=self._stored, kept=self._kept)
            )
            identity = cdc.history_identity(self._key)
            replaced = changed.filter(nw.col(cdc.REPLACES)).select(*identity)
            if self._reloads:
                gone = existing.select(*identity).join(history.select(*identity), on=identity, how="anti")
                replaced = engine.compute(nw.concat([replaced, gone], how="vertical"))
        commits = changed.select(cdc.REPLACES, nw.col(COMMITTED_AT).dt.date()).unique()
        known_by_commit = engine.rows(commits)
        if not known_by_commit:
            return
        replaces = bool(self._reloads) or any(row[cdc.REPLACES] for row in known_by_commit)
        committed = {row[COMMITTED_AT] for row in known_by_commit if not row[cdc.REPLACES]}
        with self._step.stage("write"):
            engine.change(
                seen,
                add=changed.drop(cdc.REPLACES),
                remove=replaced if replaces else None,
                on=identity,
                notes=CommitNotes(shape=self._dataset.shape_text, committed=committed),
                exactly_here=True,
            )

    def _known(self, existing: Frame, changes: Frame | None, *, columns: Sequence[str]) -> Frame:
        """All changes of some keys: those of the history, those read now, and those that a reload stands for."""
        known = self._placed(existing.filter(nw.col(CONTENT_HASH) != RELOADED)).select(*columns)
        if changes is not None:
            known = cdc.known_changes(changes, known, key=self._key, order=self._order, columns=columns)
        if self._kept:
            known = cdc.with_kept_values(known, key=self._key, order=self._order, kept=self._kept)
            known = quality.score(known, columns=list(self._dataset.declared.columns)).select(*columns)
        declared = (name for name in self._dataset.columns if name not in self._key)
        blank = [name for name in (*declared, UNKNOWN, EVENT_TIME, EVENT_DATE, LEFT_OUT) if name in columns]
        for number in self._complete:
            load = self._reloads[number - 1]
            known = self._step.engine.compute(known)
            gone = cdc.removals(
                known,
                key=self._key,
                order=self._order,
                blank=blank,
                generation=number,
                at=load.started_at,
                file=load.first_file,
            )
            known = nw.concat([known, gone], how="vertical")
        return known

    def _write_live(self, changes: Frame, newest: Frame) -> None:
        """Decide what the newest changes do, and do it; the live table is opened before the tombstones are read."""
        engine = self._step.engine
        live = self._tables.silver.open()
        require_columns(live, self._dataset)
        self._require_reloads()
        if self._kept:
            newest = self._newest_of_history(newest)
        buried = self._tables.tombstones.open()
        with self._step.stage("transform"):
            tombstones = engine.compute(self._placed(self._of_keys(buried, newest)))
            new = cdc.new_tombstones(changes, key=self._key, order=self._order, tombstones=tombstones)
            new = engine.compute(new.select(*self._key, *self._stored))
            rows = engine.compute(self._placed(self._of_keys(live, newest, columns=(*self._stored, EVENT_DATE))))
            note_repeated_keys(self._step, self._dataset, rows)
            if self._complete:  # what came before lives only where the reload has it
                newest = newest.filter((nw.col(GENERATION) >= self._complete[-1]) | (nw.col(OPERATION) == DELETE))
            decided = engine.compute(
                cdc.decide(
                    newest, key=self._key, order=self._order, live=rows, tombstones=tombstones, again=bool(self._kept)
                )
            )
        buries = self._count(new) > 0
        if buries:
            self._bury(buried, new)
        self._change_live(live, decided, buries=buries)

    def _tell_what_a_reload_lacks(self, number: int) -> None:
        """Add to the history that a reload lacks rows, also those of keys that changed since."""
        assert self._tables.history is not None  # noqa: S101 (asked by the caller)

        def tell(seen: Snapshot) -> None:
            self._require_reloads()
            with self._step.stage("transform"):
                known = self._placed(self._step.engine.scan(seen)).select(*self._key, *_PLACE)
                keys = cdc.without_row(known, key=self._key, generation=number, at=self._reloads[number - 1].started_at)
                keys = self._step.engine.compute(keys)
            if self._count(keys):
                self._write_history(seen, keys, None)

        self._tables.history.transact(tell)

    def _remove_what_reloads_lack(self) -> None:
        """Take out the live rows that come before the newest complete reload: it has none of their keys."""
        engine = self._step.engine
        live = self._tables.silver.open()
        if not live.exists:
            return
        require_columns(live, self._dataset)
        self._require_reloads()
        number = self._complete[-1]
        with self._step.stage("transform"):
            # By the commit alone first: by its statistics files without such rows are not read.
            older = engine.scan(live).filter(nw.col(COMMITTED_AT) < self._reloads[number - 1].started_at)
            stale = engine.compute(self._placed(older).filter(nw.col(GENERATION) < number))
            if not self._count(stale):
                return
        if self._tables.history is not None:
            self._tables.history.transact(lambda seen: self._write_history(seen, stale, None))
        decided = stale.with_columns(
            nw.lit(value=True).alias(cdc.DELETED),
            nw.lit(value=True).alias(cdc.REPLACES),
            nw.col(EVENT_DATE).alias(cdc.OLD_DATE),
            nw.col(COMMITTED_AT).alias(cdc.OLD_COMMIT),
        )
        self._change_live(live, decided, buries=False)

    def _newest_of_history(self, newest: Frame) -> Frame:
        """The newest changes of some keys as the history has them: with what updates left out.

        It is asked after the live table was opened: whoever adds to it then changes the live table too.
        """
        assert self._tables.history is not None  # noqa: S101 (a dataset that keeps values has one)
        seen = self._tables.history.open()
        with self._step.stage("transform"):
            known = self._of_keys(seen, newest)
            return self._step.engine.compute(cdc.newest(self._placed(known), key=self._key, order=self._order))

    def _bury(self, seen: Snapshot, new: Frame) -> None:
        with self._step.stage("write"):
            self._step.engine.change(seen, add=new, remove=new, on=self._key, notes=self._notes(), exactly_here=True)

    def _change_live(self, seen: Snapshot, decided: Frame, *, buries: bool) -> None:
        engine = self._step.engine
        days = [nw.col(name).dt.date().alias(name) for name in (COMMITTED_AT, cdc.OLD_COMMIT)]
        by = [EVENT_DATE, cdc.OLD_DATE, COMMITTED_AT, cdc.OLD_COMMIT, cdc.REPLACES, cdc.DELETED]
        counts = engine.rows(decided.with_columns(*days).group_by(*by).agg(nw.len().alias("rows")))
        if not counts and not buries:
            return
        touched, committed = (
            {c[old] for c in counts if c[cdc.REPLACES]} | {c[new] for c in counts if not c[cdc.DELETED]}
            for old, new in ((cdc.OLD_DATE, EVENT_DATE), (cdc.OLD_COMMIT, COMMITTED_AT))
        )
        touched.discard(None)
        replaced = decided.filter(nw.col(cdc.REPLACES))
        kept = decided.filter(~nw.col(cdc.DELETED)).select(*silver_table(self._dataset).columns)
        with self._step.stage("write"):
            engine.change(
                seen,
                add=kept,
                remove=replaced if any(c[cdc.REPLACES] for c in counts) else None,
                on=self._key,
                notes=CommitNotes(touched, self._dataset.shape_text, committed),
                exactly_here=True,
            )
        self._step.rows_written += sum(c["rows"] for c in counts)
        self._step.touched |= touched

    def _of_keys(self, seen: Snapshot, changes: Frame, *, columns: Sequence[str] | None = None) -> Frame:
        """The rows that a table has for the keys of some changes: their keys and some columns (None: all)."""
        wanted = None if columns is None else list(dict.fromkeys((*self._key, *columns)))
        return self._step.engine.scan_keys(seen, changes.select(*self._key), columns=wanted)

    def _notes(self) -> CommitNotes:
        return CommitNotes(shape=self._dataset.shape_text)

    def _count(self, frame: Frame) -> int:
        rows: list[dict[str, Any]] = self._step.engine.rows(frame.select(nw.len().alias("rows")))
        return int(rows[0]["rows"])


_PLACE = (GENERATION, IS_CHANGE, OPERATION, VALID_TO)
_VALIDITY = {VALID_FROM, VALID_TO, IS_CURRENT}
