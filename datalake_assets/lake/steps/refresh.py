"""What the assets do, told without Dagster: admit, refresh silver, refresh gold.

Belongs here: the order of ledger, step and step log around one step. Each function may die anywhere and be called
again.
"""

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from datetime import UTC, date, datetime

from datalake_assets.lake.gold.table import GoldTable
from datalake_assets.lake.lake import Lake
from datalake_assets.lake.spec.dataset import Dataset
from datalake_assets.lake.store.landing import LandedObject
from datalake_assets.lake.store.step import PartitionCounts, StepReport, StepRequest

Run = Callable[[StepRequest], StepReport]


def admit(lake: Lake, dataset: Dataset, partitions: Sequence[str]) -> tuple[list[LandedObject], int]:
    """Enter the landed objects of some partitions in the ledger.

    Returns all objects that the ledger then holds for them, and how many of these were new.
    """
    landed = lake.landing.objects_of(dataset, partitions, now=datetime.now(UTC))
    new = lake.ledger.admit(dataset.name, landed)
    return lake.ledger.admitted(dataset.name, partitions), new


def refresh_silver(
    lake: Lake, dataset: Dataset, partitions: Sequence[str], *, run: Run, only_waiting: bool
) -> StepReport:
    """Bring the admitted objects of some partitions to silver.

    With `only_waiting` those that were processed before are passed over; without it all are read again, which is the
    replay after a contract was mended.
    """
    objects = lake.ledger.admitted(dataset.name, partitions, only_waiting=only_waiting)
    request = StepRequest(
        zone="silver",
        name=dataset.name,
        partitions=tuple(partitions),
        objects=tuple(objects),
        since_position=lake.step_log.last_positions(dataset.name, now=datetime.now(UTC)),
    )
    report = run(request)
    lake.step_log.record(report, blocked=_blocked_partitions(lake, dataset, report))
    lake.ledger.complete(dataset.name, report.objects, contract=dataset.contract)
    return report


def refresh_gold(lake: Lake, table: GoldTable, dates: Collection[date], *, run: Run) -> StepReport:
    """Compute some event dates of a gold table (all of a table that is not daily) from silver as it is now."""
    report = run(StepRequest(zone="gold", name=table.name, dates=tuple(sorted(dates))))
    if not table.daily and not report.partitions:
        report = report.model_copy(update={"partitions": (PartitionCounts(partition=""),)})
    lake.step_log.record(report)
    return report


def _blocked_partitions(lake: Lake, dataset: Dataset, report: StepReport) -> set[str]:
    """The partitions of which more was rejected than the dataset allows: gold waits for their dates.

    All objects of a partition count, those that other steps processed too, so that the verdict does not depend on how
    the objects were shared out among steps.
    """
    own = {(o.key, o.etag, o.size) for o in report.objects}
    seen: Counter[str] = Counter()
    rejected: Counter[str] = Counter()
    for row in lake.ledger.rows(dataset.name, [p.partition for p in report.partitions]).iter_rows(named=True):
        if (row["key"], row["etag"], row["size"]) not in own:
            seen[row["partition"]] += row["rows_in"] or 0
            rejected[row["partition"]] += row["rows_rejected"] or 0
    for outcome in report.objects:
        seen[outcome.partition] += outcome.rows_in
        rejected[outcome.partition] += outcome.rows_rejected
    return {p for p, count in rejected.items() if count > dataset.max_rejected_fraction * seen[p]}
