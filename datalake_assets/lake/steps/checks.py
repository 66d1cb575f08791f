"""The checks that steps decide: how much of a landing partition could not be used, and whether keys stand once.

The verdict on a partition is about all its objects, those that other steps read too, so that it does not depend on how
the objects were shared out among steps. An object that could not be read at all counts with its bytes. Keys stand once
because every commit sees to it; a step that meets one twice all the same says so before it writes.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any

import narwhals as nw
import polars as pl

from datalake_assets.lake.lake import Lake
from datalake_assets.lake.spec.columns import EVENT_DATE, RECORD_HASH
from datalake_assets.lake.spec.dataset import CdcTable, Dataset, EventStream
from datalake_assets.lake.steps.context import Step
from datalake_assets.lake.steps.drift_checks import DESCRIPTION, SCHEMA_DRIFT
from datalake_assets.lake.store.landing import parse_partition
from datalake_assets.lake.store.ledger_rows import ADMITTED, Identity
from datalake_assets.lake.store.outcome import FAILED, MISSING, PROCESSED, ObjectOutcome
from datalake_assets.lake.store.verdicts import Verdict

REJECTED_FRACTION = "rejected_fraction"
KEY_UNIQUE = "key_unique"
RULES: dict[str, Callable[[Dataset], str]] = {
    KEY_UNIQUE: lambda dataset: (
        f"Each {', '.join(dataset.key) or 'record'} stands once{' in its event date' if _by_date(dataset) else ''}."
    ),
    REJECTED_FRACTION: lambda dataset: (
        f"At most {dataset.max_rejected_fraction:.1%} of a partition's records or bytes could not be used "
        f"(from {dataset.min_records} records on)."
    ),
}
"""The rules that steps decide for every dataset, each with its description."""


def rules(dataset: Dataset) -> dict[str, str]:
    """The rules that steps decide for a dataset, with their descriptions."""
    of_kind = {SCHEMA_DRIFT: DESCRIPTION} if isinstance(dataset, CdcTable) else {}
    return {rule: describe(dataset) for rule, describe in RULES.items()} | of_kind


Frame = nw.LazyFrame[Any]
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
        kept = (pl.col("status") == MISSING) & pl.col("processed_at").is_not_null()  # what it said counts as before
        for row in rows.filter(pl.col("status").is_in([PROCESSED, FAILED]) | kept).iter_rows(named=True):
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
            before = [own.pop(identity) for identity in [i for i in own if i[0] == outcome.key]]
            own[outcome.key, outcome.etag, outcome.size] = _Counts(
                rows_in=outcome.rows_in,
                rows_rejected=outcome.rows_rejected,
                size=outcome.size,
                unusable=outcome.unusable_bytes,
                unreadable=outcome.state == FAILED,
                dates={*outcome.event_dates, *(day for counts in before for day in counts.dates)},
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
                f". See `datalake rejects {self._dataset.name}`. Mend the contract and run "
                f"`datalake rebuild {self._dataset.name}`, land the objects again, or raise max_rejected_fraction in "
                "the dataset file"
            )
        dates = {day for o in objects for day in o.dates} | {parse_partition(partition).date()}
        return _blocking(REJECTED_FRACTION, partition, sorted(dates), passed=passed, detail=detail)


def store_verdicts(lake: Lake, dataset: Dataset, partitions: Collection[str], drift: Sequence[Verdict] = ()) -> None:
    """Judge partitions by what the ledger has of them now, and enter the verdicts, with those on drift.

    Whoever is last to complete an object of a partition sees all of them, however they were shared out among steps.
    """

    def judge() -> list[Verdict]:
        return [*PartitionChecks(dataset, lake.ledger.rows(dataset.name, partitions)).on(partitions), *drift]

    if partitions:
        lake.verdicts.store(dataset.name, judge, now=datetime.now(UTC))


def judge_again(lake: Lake) -> None:
    """Judge anew the partitions that failed, by what the ledger has of them now and by the limits as they are.

    A step may have died after its objects were in place, or a limit may have been raised. A partition of which objects
    are still to be read keeps its verdict: it was decided on what a step is about to write.
    """
    for name, verdicts in lake.verdicts.failing().items():
        dataset = lake.datasets.get(name)
        failing = {v.partition for v in verdicts if v.rule == REJECTED_FRACTION}
        if dataset is not None and failing:
            rows = lake.ledger.rows(dataset.name, failing)
            store_verdicts(lake, dataset, failing - set(rows.filter(pl.col("status") == ADMITTED)["partition"]))


def note_repeated_keys(step: Step, dataset: Dataset, rows: Frame) -> None:
    """Enter a verdict for the event dates on which some rows of silver, read to be changed, share a key."""
    key = _identity(dataset)
    repeated = step.engine.rows(
        rows.with_columns(nw.len().over(*key).alias("_rows"))
        .filter(nw.col("_rows") > 1)
        .group_by(EVENT_DATE)
        .agg(nw.len().alias("rows"))
    )
    verdicts = [_key_verdict(dataset, r[EVENT_DATE], r["rows"]) for r in repeated if r[EVENT_DATE] is not None]
    if verdicts:
        step.lake.verdicts.store(dataset.name, lambda: verdicts, now=datetime.now(UTC))


def check_repeated_keys(step: Step, dataset: Dataset) -> None:
    """Look again at the event dates of which a step has said that keys stand on them twice."""
    failing = {v.dates[0] for v in step.lake.verdicts.of(dataset.name) if v.rule == KEY_UNIQUE and not v.passed}
    if not failing:
        return
    seen = step.lake.silver(dataset).open()
    key = _identity(dataset)
    rows = step.engine.scan(seen, dates=failing if _by_date(dataset) else None)
    repeated = rows.with_columns(nw.len().over(*key).alias("_rows")).filter(nw.col("_rows") > 1)
    counted = step.engine.rows(repeated.group_by(EVENT_DATE).agg(nw.len().alias("rows")))
    left = {row[EVENT_DATE]: row["rows"] for row in counted}
    verdicts = [_key_verdict(dataset, day, left.get(day, 0)) for day in sorted(failing)]
    step.lake.verdicts.store(dataset.name, lambda: verdicts, now=datetime.now(UTC))


def _key_verdict(dataset: Dataset, day: date, rows: int) -> Verdict:
    detail = f"{rows:,} rows of {day} share their {', '.join(dataset.key) or 'record'} with another"
    if rows:
        detail += f". Something else than the lake wrote them: run `datalake rebuild {dataset.name}`"
    return _blocking(KEY_UNIQUE, day.isoformat(), [day], passed=rows == 0, detail=detail)


def _blocking(rule: str, about: str, dates: Sequence[date], *, passed: bool, detail: str) -> Verdict:
    return Verdict(rule, about, passed=passed, blocking=True, detail=detail, dates=tuple(dates))


def _by_date(dataset: Dataset) -> bool:
    return isinstance(dataset, EventStream)


def _identity(dataset: Dataset) -> list[str]:
    key = list(dataset.key) or [RECORD_HASH]
    return [EVENT_DATE, *key] if _by_date(dataset) else key
