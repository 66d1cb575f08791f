"""A silver step: the waiting objects of some partitions, read and brought to silver.

The order of writing, for each batch: the ledger learns which objects and dates are about to be written; verdicts that
block; rejects enter quarantine; silver; rejects that are none any more leave quarantine. Last the ledger learns what
became of the objects (with the next batch's beginning, in one commit), and the verdicts that pass are entered. So a
record that moves is at no moment in neither silver nor quarantine, and a step may die anywhere: its objects still wait,
and the ledger tells where records of them may be.
"""

from collections import Counter
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime

import narwhals as nw
import polars as pl

from datalake_assets.lake.readers.batch import Batch
from datalake_assets.lake.readers.rejects import rules_of
from datalake_assets.lake.spec.columns import SOURCE_FILENAME
from datalake_assets.lake.spec.dataset import CdcTable, Dataset, EventStream
from datalake_assets.lake.steps.changes import ChangeWriter, LoadsChangedError
from datalake_assets.lake.steps.checks import PartitionChecks, store_verdicts
from datalake_assets.lake.steps.context import Step
from datalake_assets.lake.steps.drift_checks import drift_verdicts
from datalake_assets.lake.steps.events import EventWriter
from datalake_assets.lake.steps.evolving import is_up_to_date, learn, up_to_date
from datalake_assets.lake.steps.key_checks import check_repeated_keys
from datalake_assets.lake.steps.messages import StepReport
from datalake_assets.lake.steps.reading import read, report
from datalake_assets.lake.steps.rebuild import RebuildRefusedError, rebuild_table
from datalake_assets.lake.steps.shape import ColumnsGrownError
from datalake_assets.lake.store.ledger_lookup import Known
from datalake_assets.lake.store.ledger_rows import Identity
from datalake_assets.lake.store.outcome import ObjectOutcome
from datalake_assets.lake.store.quarantine import replace_rejects


def refresh_silver(step: Step, dataset: Dataset, partitions: Sequence[str], *, replay: bool) -> StepReport:
    """Bring what waits of some partitions to silver; with `replay` all their objects, read again.

    Objects for which a replicated table would have to be rebuilt, and can't be, are told as failed (a replay raises
    `RebuildRefusedError` in the end); the others go on.
    Raises `ShapeChangedError` before anything is written when the dataset file asks for another table than there is.
    """
    ledger = step.lake.ledger
    dataset = up_to_date(step, dataset)
    if replay:
        ledger.reopen(dataset.name, partitions)
    waiting = ledger.to_read(dataset.name, partitions, now=step.started_at)
    taking_back = [k for k in waiting if isinstance(dataset, CdcTable) and needs_rebuild(step, k, dataset)]
    if taking_back:
        try:
            return rebuild_table(step, dataset, partitions)
        except RebuildRefusedError as refusal:  # which must not keep what landed beside these objects from silver
            _postpone(step, dataset, taking_back, refusal)
            others = [known for known in waiting if known not in taking_back]
            done = _brought(step, dataset, others, partitions)
            if replay:
                raise
            return done.model_copy(update={"failed": (str(refusal), *done.failed)})
    return _brought(step, dataset, waiting, partitions)


def _brought(step: Step, dataset: Dataset, waiting: Sequence[Known], partitions: Sequence[str]) -> StepReport:
    """Bring objects to silver; where it turns out that the table's loads ask for another, by a rebuild."""
    try:
        return bring_to_silver(step, dataset, waiting, partitions)
    except LoadsChangedError:
        with suppress(RebuildRefusedError):  # what is gone can't be put in order anew: the rest is
            return rebuild_table(step, dataset, partitions)
        if isinstance(dataset, CdcTable):
            step.lake.ledger.loads.unsettle(dataset)
        return refresh_silver(step, dataset, partitions, replay=False)


def _postpone(step: Step, dataset: Dataset, objects: Sequence[Known], refusal: RebuildRefusedError) -> None:
    """Note that objects can't take the place of what silver has: it keeps what they said, or they are tried again.

    That is later, or when what is missing for it is there again.
    """
    outcomes = [
        ObjectOutcome(
            key=known.landed.key,
            etag=known.landed.etag,
            size=known.landed.size,
            partition=known.landed.partition,
            state="missing" if known.was_processed and not known.overwrites else "failed",
            error=str(refusal),
        )
        for known in objects
    ]
    ledger = step.lake.ledger
    ledger.miss(dataset.name, [known.landed.key for known in refusal.lost])
    ledger.note(dataset, begun={}, completed=outcomes, now=datetime.now(UTC))


def needs_rebuild(step: Step, known: Known, dataset: CdcTable) -> bool:
    """Whether an object takes something back: it lies where another lay, or is read under another contract.

    A file of a full load that lies over one of an earlier load takes nothing back: the table was loaded again.
    """
    if known.overwrites:
        return not _is_of_reload(step, known, dataset)
    return known.begun and known.contract != dataset.contract


def _is_of_reload(step: Step, known: Known, dataset: CdcTable) -> bool:
    """Whether the rows of a full load's file were transferred later than those of what lay under its key.

    Or nothing in it can be read that tells: what lay there stays until a good copy lands.
    """
    if known.loaded_before is None or (known.was_processed and known.contract != dataset.contract):
        return False
    outcomes = [o for batch in read(step, dataset, [known.landed]) for o in (*batch.begun, *batch.outcomes)]
    times = [o.loaded_at for o in outcomes if o.loaded_at is not None]
    return not times or min(times) > known.loaded_before


def bring_to_silver(step: Step, dataset: Dataset, waiting: Sequence[Known], partitions: Sequence[str]) -> StepReport:
    """Read objects and write them: to quarantine, silver and the ledger, in this order."""
    lake = step.lake
    by_identity = {known.landed.identity: known for known in waiting}
    checks = PartitionChecks(dataset, lake.ledger.rows(dataset.name, partitions))
    work = _Work(step, dataset, by_identity)
    overwriting = {identity for identity, known in by_identity.items() if known.overwrites}
    rejects: Counter[str] = Counter()
    outcomes: list[ObjectOutcome] = []
    done: tuple[ObjectOutcome, ...] = ()
    while (batch := work.next_batch()) is not None:
        with step.stage("ledger"):
            begun = {(o.key, o.etag, o.size): o.event_dates for o in batch.begun}
            now = datetime.now(UTC)
            refused = lake.ledger.note(dataset, begun=begun, completed=done, now=now, overwriting=overwriting)
            done = ()
            batch = _without(batch, refused)
            checks.add(batch.outcomes)
            if checks.failing():
                lake.verdicts.store(dataset.name, checks.failing, now=now)
        quarantine = lake.quarantine(dataset)
        with step.stage("quarantine"):
            left = replace_rejects(quarantine, batch.rejected, batch.outcomes, keep_old=True)
        if not work.write(batch):
            continue
        with step.stage("quarantine"):
            if left:
                replace_rejects(quarantine, batch.rejected, batch.outcomes)
        if not work.end(batch):
            continue
        rejects.update(rules_of(batch.rejected))
        done = batch.outcomes
        outcomes.extend(done)
    with step.stage("ledger"):
        lake.ledger.note(dataset, begun={}, completed=done, now=datetime.now(UTC))
    work.settle()
    with step.stage("ledger"):
        judged = {p for known in waiting for p in (known.landed.partition, *known.before)}
        store_verdicts(lake, dataset, judged, drift_verdicts(lake, dataset, judged, rejects))
        check_repeated_keys(step, work.dataset)
    return report(step, work.dataset, outcomes, partitions, rejects)


class _Work:
    """The objects of a step, read and written by the columns that are known by then.

    Where it turns out that there are more, be it that a batch has them or that another step found them, the tables are
    evolved, and what is not ended is read again.
    """

    def __init__(self, step: Step, dataset: Dataset, known: dict[Identity, Known]) -> None:
        self._step = step
        self._known = known
        self._left = dict(known)
        self._begin(dataset)

    def _begin(self, dataset: Dataset) -> None:
        self.dataset = dataset
        self._batches = read(self._step, dataset, [known.landed for known in self._left.values()])
        self._writer = _writer(self._step, dataset, self._known)

    def next_batch(self) -> Batch | None:
        """What is read next; None at the end."""
        while True:
            with self._step.stage("read"):
                batch = next(self._batches, None)
            if batch is None or not learn(self._step, self.dataset, batch.begun):
                return batch
            self._begin(up_to_date(self._step, self.dataset))

    def write(self, batch: Batch) -> bool:
        """Bring a batch to silver; False where silver has other columns by now, and the batch is to be read again."""
        try:
            self._writer.write(batch)
        except ColumnsGrownError:
            self._begin(up_to_date(self._step, self.dataset))
            return False
        return True

    def end(self, batch: Batch) -> bool:
        """Count a batch as done; False where it may have been rejected by types that are too narrow by now."""
        if not is_up_to_date(self._step, self.dataset):
            self._begin(up_to_date(self._step, self.dataset))
            return False
        for outcome in batch.outcomes:
            self._left.pop((outcome.key, outcome.etag, outcome.size), None)
        return True

    def settle(self) -> None:
        """Do what the objects together ask for, once all are written."""
        while isinstance(self._writer, ChangeWriter):
            try:
                self._writer.settle()
            except ColumnsGrownError:
                self._begin(up_to_date(self._step, self.dataset))
            else:
                return


def _without(batch: Batch, refused: Collection[Identity]) -> Batch:
    """A batch without the objects whose key changed hands since they were asked for; they are looked at again."""
    if not refused:
        return batch
    keys = sorted({key for key, _, _ in refused})
    return replace(
        batch,
        accepted=batch.accepted.filter(~nw.col(SOURCE_FILENAME).is_in(keys)),
        rejected=batch.rejected.filter(~pl.col(SOURCE_FILENAME).is_in(keys)),
        outcomes=tuple(o for o in batch.outcomes if (o.key, o.etag, o.size) not in refused),
        unfinished=tuple(o for o in batch.unfinished if (o.key, o.etag, o.size) not in refused),
    )


def _writer(step: Step, dataset: Dataset, known: dict[Identity, Known]) -> EventWriter | ChangeWriter:
    if isinstance(dataset, EventStream):
        return EventWriter(step, dataset, step.lake.stream_tables(dataset), known)
    return ChangeWriter(step, dataset, step.lake.replica_tables(dataset))
