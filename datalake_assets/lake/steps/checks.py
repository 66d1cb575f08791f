"""The checks of a landing partition: how much of it could not be used.

The verdict is about all objects of the partition, those that other steps read too, so that it does not depend on how
the objects were shared out among steps. An object that could not be read at all counts with its bytes.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime

import polars as pl

from datalake_assets.lake.lake import Lake
from datalake_assets.lake.spec.dataset import Dataset
from datalake_assets.lake.store.landing import parse_partition
from datalake_assets.lake.store.ledger import Identity
from datalake_assets.lake.store.outcome import FAILED, PROCESSED, ObjectOutcome
from datalake_assets.lake.store.verdicts import Verdict

REJECTED_FRACTION = "rejected_fraction"
RULES: dict[str, Callable[[Dataset], str]] = {
    REJECTED_FRACTION: lambda dataset: (
        f"At most {dataset.max_rejected_fraction:.1%} of a partition's records or bytes could not be used "
        f"(from {dataset.min_records} records on)."
    )
}
"""The rules that steps decide, each with its description for a dataset."""

_BYTES_OF_A_RECORD = 100  # of a compressed event: to guess how many records an unreadable object would have had


@dataclass(slots=True)
class _Counts:
    """One object: records read and rejected, bytes landed and unusable; whether it could not be read at all."""

    rows_in: int
    rows_rejected: int
    size: int
    unusable: int
    unreadable: bool
    dates: set[date] = field(default_factory=set)


class PartitionChecks:
    """What is known of the partitions of a step: from the ledger, and from what was read since."""

    def __init__(self, dataset: Dataset, rows: pl.DataFrame) -> None:
        """Begin with the ledger's rows of the partitions."""
        self._dataset = dataset
        self._objects: defaultdict[str, dict[Identity, _Counts]] = defaultdict(dict)
        self._read: set[str] = set()
        for row in rows.filter(pl.col("status").is_in([PROCESSED, FAILED])).iter_rows(named=True):
            unreadable = row["status"] == FAILED
            self._objects[row["partition"]][row["key"], row["etag"], row["size"]] = _Counts(
                rows_in=row["rows_in"] or 0,
                rows_rejected=row["rows_rejected"] or 0,
                size=row["size"],
                unusable=row["size"] if unreadable else row["bytes_rejected"] or 0,
                unreadable=unreadable,
                dates=set(row["event_dates"] or ()),
            )

    def add(self, outcomes: Iterable[ObjectOutcome]) -> None:
        """Take in what was read."""
        for outcome in outcomes:
            if not outcome.is_read:
                continue
            self._read.add(outcome.partition)
            own = self._objects[outcome.partition]
            for other in [identity for identity in own if identity[0] == outcome.key]:
                del own[other]
            own[outcome.key, outcome.etag, outcome.size] = _Counts(
                rows_in=outcome.rows_in,
                rows_rejected=outcome.rows_rejected,
                size=outcome.size,
                unusable=outcome.unusable_bytes,
                unreadable=outcome.state == FAILED,
                dates=set(outcome.event_dates),
            )

    def failing(self) -> list[Verdict]:
        """The verdicts that fail on the partitions of which something was read."""
        return [v for v in (self._verdict(partition) for partition in sorted(self._read)) if not v.passed]

    def on(self, partitions: Iterable[str]) -> list[Verdict]:
        """The verdicts on some partitions."""
        return [self._verdict(partition) for partition in sorted(set(partitions))]

    def _verdict(self, partition: str) -> Verdict:
        objects = list(self._objects.get(partition, {}).values())
        records = sum(o.rows_in for o in objects)
        rejected = sum(o.rows_rejected for o in objects)
        size, unusable = sum(o.size for o in objects), sum(o.unusable for o in objects)
        unreadable = [o for o in objects if o.unreadable]
        guessed = records + sum(o.size for o in unreadable) // _BYTES_OF_A_RECORD
        by_records = rejected / records if records else 0.0
        by_bytes = unusable / size if size else 0.0
        limit = self._dataset.max_rejected_fraction
        passed = guessed < self._dataset.min_records or max(by_records, by_bytes) <= limit
        detail = f"{rejected:,} of {records:,} records rejected ({by_records:.1%})"
        if unreadable:
            detail += f", {len(unreadable)} of {len(objects)} objects unreadable"
        detail += f", {by_bytes:.1%} of {size:,} bytes unusable; the limit is {limit:.1%}"
        if not passed:
            detail += (
                f". See `datalake rejects {self._dataset.name}`. Mend the contract, or raise max_rejected_fraction, and "
                f"materialize silver/{self._dataset.name} for the partition again; or land the objects again"
            )
        dates = {day for o in objects for day in o.dates} | {parse_partition(partition).date()}
        return Verdict(REJECTED_FRACTION, partition, passed, True, detail, tuple(sorted(dates)))


def store_verdicts(lake: Lake, dataset: Dataset, partitions: Collection[str]) -> None:
    """Judge partitions by what the ledger has of them now, and enter the verdicts.

    Whoever is last to complete an object of a partition sees all of them, however they were shared out among steps.
    """

    def judge() -> list[Verdict]:
        return PartitionChecks(dataset, lake.ledger.rows(dataset.name, partitions)).on(partitions)

    if partitions:
        lake.verdicts.store(dataset.name, judge, now=datetime.now(UTC))
