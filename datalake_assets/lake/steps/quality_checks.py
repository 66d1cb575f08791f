"""The checks that a stream's dataset file declares on the records of a landing partition: row rules and shares.

Belongs here: verdicts on what was counted. Which records keep a condition is told by the readers (`row_rules.py`).
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date

from datalake_assets.lake.spec.dataset import EventStream
from datalake_assets.lake.spec.quality import PartitionRule
from datalake_assets.lake.store.verdicts import Verdict


def descriptions(dataset: EventStream) -> dict[str, str]:
    """The checks of a dataset by the names of their rules."""
    rows = {
        name: f"Each accepted record keeps: {rule.expect}{_holds(rule.severity)}"
        for name, rule in dataset.quality.counted_rows.items()
    }
    shares = {
        name: f"Of a partition's accepted records {_bounds(rule)} have: {rule.share_of} "
        f"(from {dataset.min_records} records on){_holds(rule.severity)}"
        for name, rule in dataset.quality.partitions.items()
    }
    return rows | shares


def verdicts(
    dataset: EventStream,
    partition: str,
    counts: Iterable[tuple[int, Mapping[str, int]]],
    *,
    dates: Sequence[date],
) -> Iterator[Verdict]:
    """The verdicts on a landing partition.

    `counts` has for each of its objects that was read how many records were accepted, and how many of them the rules
    counted. An object that was read before a rule was worded so says nothing to it.
    """
    known, counted_as = list(counts), dataset.quality.counted_as
    for name, rule in dataset.quality.counted_rows.items():
        records, broken = _sums(known, counted_as[name])
        detail = f"{broken:,} of {records:,} accepted records do not keep {rule.expect}"
        if broken:
            detail += f". In silver.{dataset.name} it is false for them; mend their producer, or the rule"
        yield _verdict(name, partition, dates, passed=broken == 0, severity=rule.severity, detail=detail)
    for name, share in dataset.quality.partitions.items():
        records, having = _sums(known, counted_as[name])
        found = having / records if records else 0.0
        passed = records < dataset.min_records or share.minimum <= found <= share.maximum
        detail = f"{having:,} of {records:,} accepted records ({found:.1%}) have {share.share_of}"
        detail += f"; {_bounds(share)} are asked"
        detail += "" if passed else ". See what its producer sends, land what is missing, or change the rule"
        yield _verdict(name, partition, dates, passed=passed, severity=share.severity, detail=detail)


def _sums(known: Iterable[tuple[int, Mapping[str, int]]], name: str) -> tuple[int, int]:
    having = [(records, counted[name]) for records, counted in known if name in counted]
    return sum(records for records, _ in having), sum(n for _, n in having)


def _holds(severity: str) -> str:
    return "; while it fails gold waits for the partition's dates" if severity == "error" else ""


def _bounds(rule: PartitionRule) -> str:
    if rule.minimum and rule.maximum < 1:
        return f"{rule.minimum:.1%} to {rule.maximum:.1%}"
    return f"at least {rule.minimum:.1%}" if rule.minimum else f"at most {rule.maximum:.1%}"


def _verdict(name: str, partition: str, dates: Sequence[date], *, passed: bool, severity: str, detail: str) -> Verdict:
    return Verdict(name, partition, passed=passed, blocking=severity == "error", detail=detail, dates=tuple(dates))
