"""Writing the history of a replicated table: all versions of its rows, type 2.

The history is a set of changes that only grows; when each was valid follows from those around it, so that an old change
that arrives late mends its neighbours. It rests on itself alone: nothing of it is read from the live rows.
"""

from collections.abc import Sequence

import narwhals as nw

from datalake_assets.lake.engines.base import Frame
from datalake_assets.lake.spec.columns import (
    COMMITTED_AT,
    CONTENT_HASH,
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
from datalake_assets.lake.spec.tables import history_table
from datalake_assets.lake.steps.context import Step
from datalake_assets.lake.steps.reloads import Reloads
from datalake_assets.lake.steps.shape import require_columns
from datalake_assets.lake.store.notes import CommitNotes
from datalake_assets.lake.store.snapshot import Snapshot
from datalake_assets.lake.store.table import Table
from datalake_assets.lake.transforms import cdc, quality

_PLACE = (GENERATION, IS_CHANGE, OPERATION, VALID_TO)
_VALIDITY = {VALID_FROM, VALID_TO, IS_CURRENT}


class HistoryWriter:
    """Writes the history of one replicated table."""

    def __init__(self, step: Step, dataset: CdcTable, table: Table, reloads: Reloads) -> None:
        """Prepare to write into a table."""
        self._step = step
        self._dataset = dataset
        self._table = table
        self._reloads = reloads
        self._key = list(dataset.key)
        self._kept = dataset.kept_columns

    def write(self, keys: Frame, changes: Frame | None) -> None:
        """Add changes to the history and mend the validity of their neighbours; of some keys without a change too."""
        self._table.transact(lambda seen: self._write(seen, keys, changes))

    def tell_what_a_reload_lacks(self, number: int) -> None:
        """Add to the history that a reload lacks rows, also those of keys that changed since."""

        def tell(seen: Snapshot) -> None:
            self._reloads.require_unchanged()
            with self._step.stage("transform"):
                known = self._reloads.placed(self._step.engine.scan(seen)).select(*self._key, *_PLACE)
                keys = cdc.without_row(known, key=self._key, generation=number, at=self._reloads[number].started_at)
                keys = self._step.engine.compute(keys)
            if self._step.count(keys):
                self._write(seen, keys, None)

        self._table.transact(tell)

    def newest(self, keys: Frame) -> Frame:
        """The newest changes of some keys as the history has them: with what updates left out.

        It is asked after the live table was opened: whoever adds to it then changes the live table too.
        """
        seen = self._table.open()
        with self._step.stage("transform"):
            known = self._step.engine.scan_keys(seen, keys.select(*self._key))
            placed = self._reloads.placed(known)
            return self._step.engine.compute(cdc.newest(placed, key=self._key, order=self._reloads.order))

    def _write(self, seen: Snapshot, keys: Frame, changes: Frame | None) -> None:
        require_columns(seen, self._dataset)
        self._reloads.require_unchanged()
        engine = self._step.engine
        columns = [name for name in history_table(self._dataset).columns if name not in _VALIDITY]
        with self._step.stage("transform"):
            existing = engine.compute(self._step.engine.scan_keys(seen, keys.select(*self._key)))
            known = self._known(existing, changes, columns=[*columns, *([GENERATION] if self._reloads else ())])
            history = cdc.with_validity(known, key=self._key, order=self._reloads.order, columns=columns)
            history = engine.compute(history) if self._reloads else history
            changed = engine.compute(
                cdc.changed_history(
                    history, existing, key=self._key, order=self._dataset.order_columns, kept=self._kept
                )
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
        known = self._reloads.placed(existing.filter(nw.col(CONTENT_HASH) != RELOADED)).select(*columns)
        if changes is not None:
            known = cdc.known_changes(changes, known, key=self._key, order=self._reloads.order, columns=columns)
        if self._kept:
            known = cdc.with_kept_values(known, key=self._key, order=self._reloads.order, kept=self._kept)
            known = quality.score(known, columns=list(self._dataset.declared.columns)).select(*columns)
        declared = (name for name in self._dataset.columns if name not in self._key)
        blank = [name for name in (*declared, UNKNOWN, EVENT_TIME, EVENT_DATE, LEFT_OUT) if name in columns]
        for number in self._reloads.complete:
            load = self._reloads[number]
            known = self._step.engine.compute(known)
            gone = cdc.removals(
                known,
                key=self._key,
                order=self._reloads.order,
                blank=blank,
                generation=number,
                at=load.started_at,
                file=load.first_file,
            )
            known = nw.concat([known, gone], how="vertical")
        return known
