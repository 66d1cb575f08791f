"""A silver step: the waiting objects of some partitions, read and brought to silver.

The order of writing, for each batch: the ledger learns which objects and dates are about to be written; verdicts that
block; rejects enter quarantine; silver; rejects that are none any more leave quarantine. Last the ledger learns what
became of the objects (with the next batch's beginning, in one commit), and the verdicts that pass are entered. So a
record that moves is at no moment in neither silver nor quarantine, and a step may die anywhere: its objects still wait,
and the ledger tells where records of them may be.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime

import narwhals as nw
import polars as pl

from datalake_assets.lake.readers.batch import Batch
from datalake_assets.lake.readers.rejects import rules_of
from datalake_assets.lake.spec.columns import SOURCE_FILENAME
from datalake_assets.lake.spec.dataset import CdcTable, Dataset, EventStream
from datalake_assets.lake.steps.changes import ChangeWriter
from datalake_assets.lake.steps.checks import PartitionChecks, check_repeated_keys, store_verdicts
from datalake_assets.lake.steps.context import Step
from datalake_assets.lake.steps.drift_checks import drift_verdicts
from datalake_assets.lake.steps.events import EventWriter
from datalake_assets.lake.steps.evolving import is_up_to_date, learn, up_to_date
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
    taking_back = [k for k in waiting if isinstance(dataset, CdcTable) and needs_rebuild(k, dataset)]
    if taking_back:
        try:
            return rebuild_table(step, dataset, partitions)
        except RebuildRefusedError as refusal:  # which must not keep what landed beside these objects from silver
            _postpone(step, dataset, taking_back, refusal)
            others = [known for known in waiting if known not in taking_back]
            done = bring_to_silver(step, dataset, others, partitions)
            if replay:
                raise
            return done.model_copy(update={"failed": (str(refusal), *done.failed)})
    return bring_to_silver(step, dataset, waiting, partitions)


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


def needs_rebuild(known: Known, dataset: CdcTable) -> bool:
    """Whether an object takes something back: it lies where another lay, or is read under another contract."""
    return known.overwrites or (known.begun and known.contract != dataset.contract)


def bring_to_silver(step: Step, dataset: Dataset, waiting: Sequence[Known], partitions: Sequence[str]) -> StepReport:
    """Read objects and write them: to quarantine, silver and the ledger, in this order.

    Where objects turn out to have columns that silver lacks, it is evolved, and what is not written yet is read again.
    """
    lake = step.lake
    by_identity = {known.landed.identity: known for known in waiting}
    checks = PartitionChecks(dataset, lake.ledger.rows(dataset.name, partitions))
    overwriting = {identity for identity, known in by_identity.items() if known.overwrites}
    rejects: Counter[str] = Counter()
    outcomes: list[ObjectOutcome] = []
    done: tuple[ObjectOutcome, ...] = ()
    batches: Iterator[Batch] | None = None
    write = _writer(step, dataset, by_identity)
    while True:
        with step.stage("read"):
            if batches is None:
                ended = {(o.key, o.etag, o.size) for o in outcomes}
                batches = read(step, dataset, [known.landed for i, known in by_identity.items() if i not in ended])
            batch = next(batches, None)
        if batch is None:
            break
        if learn(step, dataset, batch.begun):
            dataset = up_to_date(step, dataset)
            batches, write = None, _writer(step, dataset, by_identity)
            continue
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
        try:
            write(batch)
        except ColumnsGrownError:
            dataset = up_to_date(step, dataset)
            batches, write = None, _writer(step, dataset, by_identity)
            continue
        with step.stage("quarantine"):
            if left:
                replace_rejects(quarantine, batch.rejected, batch.outcomes)
        if not is_up_to_date(step, dataset):  # what is in quarantine may have been read by types that are too narrow
            dataset = up_to_date(step, dataset)
            batches, write = None, _writer(step, dataset, by_identity)
            continue
        rejects.update(rules_of(batch.rejected))
        done = batch.outcomes
        outcomes.extend(done)
    with step.stage("ledger"):
        lake.ledger.note(dataset, begun={}, completed=done, now=datetime.now(UTC))
        judged = {p for known in waiting for p in (known.landed.partition, *known.before)}
        store_verdicts(lake, dataset, judged, drift_verdicts(lake, dataset, judged, rejects))
        check_repeated_keys(step, dataset)
    return report(step, dataset, outcomes, partitions, rejects)


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


def _writer(step: Step, dataset: Dataset, known: dict[Identity, Known]) -> Callable[[Batch], None]:
    if isinstance(dataset, EventStream):
        return EventWriter(step, dataset, step.lake.stream_tables(dataset), known).write
    return ChangeWriter(step, dataset, step.lake.replica_tables(dataset)).write
