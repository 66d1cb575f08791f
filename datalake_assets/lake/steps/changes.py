"""Writing changes: a replicated table's live rows, its tombstones, its history.

The quick way: the newest change of each key wins over what the tables have. Nothing is taken back here; where something
is (an overwritten object, another contract) the table is rebuilt. History is written first and rests on itself alone.
Tombstones are written before the live rows, and every step that writes one commits on the live table too, so that a
concurrent step, which read the tombstones before, must decide again.
"""

from contextlib import suppress

import narwhals as nw

from datalake_assets.lake.engines.base import Frame
from datalake_assets.lake.lake import ReplicaTables
from datalake_assets.lake.readers.batch import Batch
from datalake_assets.lake.spec.columns import (
    COMMITTED_AT,
    DELETE,
    EVENT_DATE,
    GENERATION,
    OPERATION,
)
from datalake_assets.lake.spec.dataset import CdcTable
from datalake_assets.lake.spec.tables import silver_table
from datalake_assets.lake.steps.context import Step
from datalake_assets.lake.steps.history import HistoryWriter
from datalake_assets.lake.steps.key_checks import note_repeated_keys
from datalake_assets.lake.steps.reloads import ReloadedError, Reloads
from datalake_assets.lake.steps.shape import require_columns
from datalake_assets.lake.store.conflicts import until_undisturbed
from datalake_assets.lake.store.notes import CommitNotes
from datalake_assets.lake.store.snapshot import Snapshot
from datalake_assets.lake.transforms import cdc


class LoadsChangedError(RuntimeError):
    """What is known of the table's loads now asks for other rows than silver has, and which only a rebuild can tell.

    A load was found to come before others that are in silver, or one to be not complete that seemed so.
    """


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
        self._reloads = Reloads(step.lake.ledger, dataset)
        self._history = None if tables.history is None else HistoryWriter(step, dataset, tables.history, self._reloads)

    def write(self, batch: Batch) -> None:
        """Bring a batch of changes to history, tombstones and live rows.

        Raises `ColumnsGrownError` where a table has other columns by now than the batch was read in, and, once,
        `LoadsChangedError` where what the batch tells of the table's loads asks for a rebuild.
        """
        if not any(outcome.rows_out for outcome in batch.begun):
            return
        before = [load.started_at for load in self._reloads.loads()]
        self._step.lake.ledger.loads.tell(self._dataset, batch.begun)
        now = [load.started_at for load in self._reloads.loads()]
        is_later = now[1 : len(before)] == before[1:] and (len(now) == len(before) or now[:1] == before[:1])
        if before and not is_later:
            raise LoadsChangedError(f"{self._dataset.name}: one of its loads lay before another that is in silver")
        self.add(batch.accepted)

    def add(self, changes: Frame) -> None:
        """Bring changes to the tables, in whatever order."""
        while True:
            self._reloads.look()
            with suppress(ReloadedError):
                self._write(changes)
                return

    def settle(self, *, noted: bool = True) -> None:
        """Take the rows out of silver that a complete reload of the table lacks; note it, unless tables lie beside.

        Raises `LoadsChangedError` where some were taken out for one that is not complete after all.
        """
        while True:
            self._reloads.look()
            if noted and self._reloads.undone:
                raise LoadsChangedError(f"{self._dataset.name}: rows were taken out for a load that is not complete")
            # Who writes after a reload is known to be complete writes nothing that it lacks: once settled, it stays so.
            unsettled = [n for n in self._reloads.complete if not noted or not self._reloads[n].is_settled]
            if not unsettled:
                return
            with suppress(ReloadedError):
                if self._history is not None:
                    for number in unsettled:
                        self._history.tell_what_a_reload_lacks(number)
                until_undisturbed(self._remove_what_reloads_lack, what=self._tables.silver.uri)
                if noted:
                    settled = [self._reloads[number] for number in unsettled]
                    self._step.lake.ledger.loads.settle(self._dataset, settled)
                return

    def _write(self, accepted: Frame) -> None:
        engine = self._step.engine
        with self._step.stage("transform"):
            changes = self._reloads.placed(accepted)
            newest = engine.compute(cdc.newest(changes, key=self._key, order=self._reloads.order))
        if self._history is not None:
            self._history.write(changes, changes)
        until_undisturbed(lambda: self._write_live(changes, newest), what=self._tables.silver.uri)

    def _write_live(self, changes: Frame, newest: Frame) -> None:
        """Decide what the newest changes do, and do it; the live table is opened before the tombstones are read."""
        engine = self._step.engine
        live = self._tables.silver.open()
        require_columns(live, self._dataset)
        self._reloads.require_unchanged()
        if self._kept and self._history is not None:
            newest = self._history.newest(newest)
        buried = self._tables.tombstones.open()
        keys, order = newest.select(*self._key), self._reloads.order
        with self._step.stage("transform"):
            tombstones = engine.compute(self._reloads.placed(engine.scan_keys(buried, keys)))
            new = cdc.new_tombstones(changes, key=self._key, order=order, tombstones=tombstones)
            new = engine.compute(new.select(*self._key, *self._stored))
            columns = list(dict.fromkeys((*self._key, *self._stored, EVENT_DATE)))
            rows = engine.compute(self._reloads.placed(engine.scan_keys(live, keys, columns=columns)))
            note_repeated_keys(self._step, self._dataset, rows)
            if self._reloads.complete:  # what came before lives only where the reload has it
                in_reload = nw.col(GENERATION) >= self._reloads.complete[-1]
                newest = newest.filter(in_reload | (nw.col(OPERATION) == DELETE))
            decided = engine.compute(
                cdc.decide(newest, key=self._key, order=order, live=rows, tombstones=tombstones, again=bool(self._kept))
            )
        buries = self._step.count(new) > 0
        if buries:
            self._bury(buried, new)
        self._change_live(live, decided, buries=buries)

    def _remove_what_reloads_lack(self) -> None:
        """Take out the live rows that come before the newest complete reload: it has none of their keys."""
        engine = self._step.engine
        live = self._tables.silver.open()
        if not live.exists:
            return
        require_columns(live, self._dataset)
        self._reloads.require_unchanged()
        number = self._reloads.complete[-1]
        with self._step.stage("transform"):
            # By the commit alone first: by its statistics files without such rows are not read.
            older = engine.scan(live).filter(nw.col(COMMITTED_AT) < self._reloads[number].started_at)
            stale = engine.compute(self._reloads.placed(older).filter(nw.col(GENERATION) < number))
            if not self._step.count(stale):
                return
        if self._history is not None:
            self._history.write(stale, None)
        decided = stale.with_columns(
            nw.lit(value=True).alias(cdc.DELETED),
            nw.lit(value=True).alias(cdc.REPLACES),
            nw.col(EVENT_DATE).alias(cdc.OLD_DATE),
            nw.col(COMMITTED_AT).alias(cdc.OLD_COMMIT),
        )
        self._change_live(live, decided, buries=False)

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

    def _notes(self) -> CommitNotes:
        return CommitNotes(shape=self._dataset.shape_text)
