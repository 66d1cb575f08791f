"""The checks that steps decide on a landing partition: how much of it could not be used, and the rules of its file.

The verdicts on a partition are about all its objects, those that other steps read too, so that they do not depend on
how the objects were shared out among steps. An object that could not be read at all counts with its bytes.
"""

import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime

import polars as pl

from datalake_assets.lake.lake import Lake
from datalake_assets.lake.spec.dataset import CdcTable, Dataset, EventStream
from datalake_assets.lake.spec.shape import fingerprint
from datalake_assets.lake.steps import key_checks, quality_checks, volume
from datalake_assets.lake.steps.drift_checks import DESCRIPTION, SCHEMA_DRIFT
from datalake_assets.lake.steps.key_checks import KEY_UNIQUE
from datalake_assets.lake.store.landing import parse_partition
from datalake_assets.lake.store.ledger_rows import ADMITTED
from datalake_assets.lake.store.outcome import FAILED, MISSING, PROCESSED, ObjectOutcome
from datalake_assets.lake.store.verdicts import Verdict

REJECTED_FRACTION = "rejected_fraction"


def rules(dataset: Dataset) -> dict[str, str]:
    """The rules that steps decide for a dataset, with their descriptions."""
    rejected = (
        f"At most {dataset.max_rejected_fraction:.1%} of a partition's records or bytes could not be used "
        f"(from {dataset.min_records} records on)."
    )
    of_all = {KEY_UNIQUE: key_checks.description(dataset), REJECTED_FRACTION: rejected}
    if isinstance(dataset, CdcTable):
        return of_all | {SCHEMA_DRIFT: DESCRIPTION}
    return of_all | quality_checks.descriptions(dataset) | volume.descriptions(dataset)


_BYTES_OF_A_RECORD = 100  # of a compressed event: to guess how many records an unreadable object would have had


@dataclass(slots=True)
class _Counts:
    """One object: records read and rejected, bytes landed and unusable; whether it could not be read at all.

    `counted` as in `ObjectOutcome`.
    """

    rows_in: int
    rows_rejected: int
    size: int
    unusable: int
    unreadable: bool
    counted: Mapping[str, int]
    dates: set[date] = field(default_factory=set)


class PartitionChecks:
    """What is known of the partitions of a step: from the ledger, and from what was read since."""

    def __init__(self, dataset: Dataset, rows: pl.DataFrame) -> None:
        """Begin with the ledger's rows of the partitions."""
        self._dataset = dataset
        self._objects: defaultdict[str, defaultdict[str, list[_Counts]]] = defaultdict(lambda: defaultdict(list))
        self._read: set[str] = set()
        kept = (pl.col("status") == MISSING) & pl.col("processed_at").is_not_null()  # what it said counts as before
        for row in rows.filter(pl.col("status").is_in([PROCESSED, FAILED]) | kept).iter_rows(named=True):
            unreadable = row["status"] == FAILED
            counts = _Counts(
                rows_in=row["rows_in"] or 0,
                rows_rejected=row["rows_rejected"] or 0,
                size=row["size"],
                unusable=row["size"] if unreadable else row["bytes_rejected"] or 0,
                unreadable=unreadable,
                counted=json.loads(row["counted"] or "{}"),
                dates=set(row["event_dates"] or ()),
            )
            self._objects[row["partition"]][row["key"]].append(counts)

    def add(self, outcomes: Iterable[ObjectOutcome]) -> None:
        """Take in what was read."""
        for outcome in outcomes:
            if not outcome.is_read:
                continue
            self._read.add(outcome.partition)
            own = self._objects[outcome.partition]
            dates = {*outcome.event_dates, *(day for before in own[outcome.key] for day in before.dates)}
            counts = _Counts(
                rows_in=outcome.rows_in,
                rows_rejected=outcome.rows_rejected,
                size=outcome.size,
                unusable=outcome.unusable_bytes,
                unreadable=outcome.state == FAILED,
                counted=outcome.counted,
                dates=dates,
            )
            own[outcome.key] = [counts]  # in the place of what lay there before

    def failing(self) -> list[Verdict]:
        """The verdicts that fail on the partitions of which something was read."""
        return [verdict for verdict in self.on(self._read) if not verdict.passed]

    def on(self, partitions: Iterable[str]) -> list[Verdict]:
        """The verdicts on some partitions."""
        return [verdict for partition in sorted(set(partitions)) for verdict in self._verdicts(partition)]

    def _verdicts(self, partition: str) -> list[Verdict]:
        objects = [counts for of_key in self._objects[partition].values() for counts in of_key]
        dates = sorted({day for o in objects for day in o.dates} | {parse_partition(partition).date()})
        verdicts = [self._verdict_on_rejects(partition, objects, dates)]
        if isinstance(self._dataset, EventStream):
            counts = [(o.rows_in - o.rows_rejected, o.counted) for o in objects if not o.unreadable]
            verdicts += quality_checks.verdicts(self._dataset, partition, counts, dates=dates)
        return verdicts

    def _verdict_on_rejects(self, partition: str, objects: Sequence[_Counts], dates: Sequence[date]) -> Verdict:
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
                f". See `datalake rejects {self._dataset.name}`. Mend the contract and run "
                f"`datalake rebuild {self._dataset.name}`, land the objects again, or raise max_rejected_fraction in "
                "the dataset file"
            )
        return Verdict(REJECTED_FRACTION, partition, passed=passed, blocking=True, detail=detail, dates=tuple(dates))


def store_verdicts(lake: Lake, dataset: Dataset, partitions: Collection[str], drift: Sequence[Verdict] = ()) -> None:
    """Judge partitions by what the ledger has of them now, and enter the verdicts, with those on drift.

    Whoever is last to complete an object of a partition sees all of them, however they were shared out among steps.
    """

    def judge() -> list[Verdict]:
        checks = PartitionChecks(dataset, lake.ledger.rows(dataset.name, partitions))
        return [*checks.on(partitions), *volume.verdicts(lake, dataset, partitions), *drift]

    if partitions:
        first = dataset.name not in lake.verdicts.judged_by()
        lake.verdicts.store(dataset.name, judge, now=datetime.now(UTC), judged_by=_judging(dataset) if first else None)


def judge_again(lake: Lake) -> None:
    """Judge anew what holds gold though more was processed since, and all of a dataset whose rules have changed.

    A step may have died after its objects were in place. A partition of which objects are still to be read keeps its
    verdicts: they were decided on what a step is about to write.
    """
    judged_by = lake.verdicts.judged_by()
    for name, verdicts in lake.verdicts.failing().items():
        dataset = lake.datasets.get(name)
        holding = {v.partition for v in verdicts if v.blocking and v.rule != KEY_UNIQUE}
        if dataset is not None and holding:
            processed = lake.ledger.figures.last_processed(name, holding)
            store_verdicts(lake, dataset, lake.verdicts.undecided(name, processed))
    for name, rules_then in judged_by.items():
        dataset = lake.datasets.get(name)
        if dataset is not None and rules_then != _judging(dataset):
            _judge_all(lake, dataset)


def _judge_all(lake: Lake, dataset: Dataset) -> None:
    """Judge all partitions of a dataset by its rules as they are, and let go of verdicts on rules that are gone."""

    def judge() -> list[Verdict]:
        rows = lake.ledger.rows(dataset.name)
        settled = set(rows["partition"]) - set(rows.filter(pl.col("status") == ADMITTED)["partition"])
        known = rules(dataset)
        gone = [v for v in lake.verdicts.of(dataset.name) if v.rule not in known and not v.passed]
        checks = PartitionChecks(dataset, rows.filter(pl.col("partition").is_in(sorted(settled))))
        freed = [replace(v, passed=True, detail="no longer declared") for v in gone]
        return [*freed, *checks.on(settled), *volume.verdicts(lake, dataset, settled)]

    lake.verdicts.store(dataset.name, judge, now=datetime.now(UTC), judged_by=_judging(dataset))


def _judging(dataset: Dataset) -> str:
    """A hash of what decides verdicts beside what was counted."""
    quality = dataset.quality.model_dump_json(exclude={"score"}) if isinstance(dataset, EventStream) else ""
    return fingerprint(f"{dataset.max_rejected_fraction} {dataset.min_records} {quality}")
