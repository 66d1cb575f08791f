"""Writing changes: a replicated table's live rows, its tombstones, its history.

The quick way: the newest change of each key wins over what the tables have. Nothing is taken back here; where something
is (an overwritten object, another contract) the table is rebuilt. History is written first and rests on itself alone.
Tombstones are written before the live rows, and every step that writes one commits on the live table too, so that a
concurrent step, which read the tombstones before, must decide again.
"""

from collections.abc import Sequence
from typing import Any

import narwhals as nw

from datalake_assets.lake.engines.base import Frame
from datalake_assets.lake.lake import ReplicaTables
from datalake_assets.lake.readers.batch import Batch
from datalake_assets.lake.spec.columns import CHANGE_ORDER, COMMITTED_AT, EVENT_DATE, IS_CURRENT, VALID_FROM, VALID_TO
from datalake_assets.lake.spec.dataset import CdcTable
from datalake_assets.lake.spec.tables import history_table, silver_table
from datalake_assets.lake.steps.checks import note_repeated_keys
from datalake_assets.lake.steps.context import Step
from datalake_assets.lake.steps.shape import require_columns
from datalake_assets.lake.store.conflicts import until_undisturbed
from datalake_assets.lake.store.notes import CommitNotes
from datalake_assets.lake.store.snapshot import Snapshot
from datalake_assets.lake.transforms import cdc


class ChangeWriter:
    """Writes the batches of one step over a replicated table."""

    def __init__(self, step: Step, dataset: CdcTable, tables: ReplicaTables) -> None:
        """Prepare to write into some tables."""
        self._step = step
        self._dataset = dataset
        self._tables = tables
        self._key = list(dataset.key)

    def write(self, batch: Batch) -> None:
        """Bring a batch of changes to history, tombstones and live rows.

        Raises `ColumnsGrownError` where a table has other columns by now than the batch was read in.
        """
        if not any(outcome.rows_out for outcome in batch.begun):
            return
        engine = self._step.engine
        with self._step.stage("transform"):
            changes = batch.accepted
            newest = engine.compute(cdc.newest(changes, key=self._key))
        if self._tables.history is not None:
            self._tables.history.transact(lambda seen: self._write_history(seen, changes))
        until_undisturbed(lambda: self._write_live(changes, newest), what=self._tables.silver.uri)

    def _write_history(self, seen: Snapshot, changes: Frame) -> None:
        """Add changes to the history and mend the validity of their neighbours."""
        require_columns(seen, self._dataset)
        engine = self._step.engine
        columns = [name for name in history_table(self._dataset).columns if name not in _VALIDITY]
        with self._step.stage("transform"):
            existing = engine.compute(self._of_keys(seen, changes))
            known = cdc.known_changes(changes, existing, key=self._key, columns=columns)
            history = cdc.with_validity(known, key=self._key, columns=columns)
            changed = engine.compute(cdc.changed_history(history, existing, key=self._key))
        commits = changed.select(cdc.REPLACES, nw.col(COMMITTED_AT).dt.date()).unique()
        known_by_commit = engine.rows(commits)
        if not known_by_commit:
            return
        replaced = changed.filter(nw.col(cdc.REPLACES))
        committed = {row[COMMITTED_AT] for row in known_by_commit if not row[cdc.REPLACES]}
        with self._step.stage("write"):
            engine.change(
                seen,
                add=changed.drop(cdc.REPLACES),
                remove=replaced if any(row[cdc.REPLACES] for row in known_by_commit) else None,
                on=cdc.history_identity(self._key),
                notes=CommitNotes(shape=self._dataset.shape_text, committed=committed),
                exactly_here=True,
            )

    def _write_live(self, changes: Frame, newest: Frame) -> None:
        """Decide what the newest changes do, and do it; the live table is opened before the tombstones are read."""
        engine = self._step.engine
        live = self._tables.silver.open()
        require_columns(live, self._dataset)
        buried = self._tables.tombstones.open()
        with self._step.stage("transform"):
            tombstones = engine.compute(self._of_keys(buried, newest))
            new = engine.compute(cdc.new_tombstones(changes, key=self._key, tombstones=tombstones))
            rows = engine.compute(self._of_keys(live, newest, columns=(CHANGE_ORDER, EVENT_DATE, COMMITTED_AT)))
            note_repeated_keys(self._step, self._dataset, rows)
            decided = engine.compute(cdc.decide(newest, key=self._key, live=rows, tombstones=tombstones))
        buries = self._count(new) > 0
        if buries:
            self._bury(buried, new)
        self._change_live(live, decided, buries=buries)

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


_VALIDITY = {VALID_FROM, VALID_TO, IS_CURRENT}
