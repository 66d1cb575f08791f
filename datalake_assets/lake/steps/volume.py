"""The check of volume: whether a landing partition has about as many records as those of the same hour before.

It warns alone. That there are too few is said of a partition when something of a later one has landed, of one in which
nothing landed too; that there are too many, at any time.
"""

from collections.abc import Collection, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from statistics import median

from datalake_assets.lake.lake import Lake
from datalake_assets.lake.spec.dataset import Dataset, EventStream
from datalake_assets.lake.spec.quality import Volume
from datalake_assets.lake.store.landing import parse_partition, partition_end, partition_key
from datalake_assets.lake.store.verdicts import Verdict

VOLUME = "volume"
_LEAST_DAYS = 3
_LONGEST_GAP = timedelta(days=1)
_FIRST, _LAST = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)


def descriptions(dataset: EventStream) -> dict[str, str]:
    """The check by its name; none where the dataset file asks for none."""
    rule = dataset.quality.volume
    if rule is None:
        return {}
    text = (
        f"A partition has {rule.minimum:g} to {rule.maximum:g} times as many records as is usual (median) at its hour "
        f"on the {rule.days} days before."
    )
    return {VOLUME: text}


def verdicts(lake: Lake, dataset: Dataset, partitions: Collection[str]) -> Iterator[Verdict]:
    """The verdicts on some landing partitions, of which objects were read, and on others for which that matters.

    These are the ones before in which nothing landed, of a day at most, and the ones after that are compared with them.
    """
    rule = dataset.quality.volume if isinstance(dataset, EventStream) else None
    if rule is None or not partitions:
        return
    moments = [parse_partition(partition) for partition in partitions]
    days = timedelta(days=rule.days)
    since = max(min(moments), _FIRST + _LONGEST_GAP + days) - _LONGEST_GAP - days
    until = min(max(moments), _LAST - days) + days
    last, counts = lake.ledger.figures.record_counts(
        dataset.name, partition_key(dataset, since), partition_key(dataset, until)
    )
    judged = _judged(dataset, partitions, counts)
    for partition in sorted(judged | _compared_with(dataset, judged, counts, days=rule.days)):
        yield _verdict(dataset, rule, partition, counts, is_over=partition < last)


def _compared_with(dataset: Dataset, judged: Collection[str], counts: Mapping[str, int], *, days: int) -> set[str]:
    """The later partitions, among those in which something landed, that some are compared with."""
    found: set[str] = set()
    for partition in judged:
        moment = parse_partition(partition)
        ahead = min(days, (_LAST - moment).days)
        found.update(partition_key(dataset, moment + timedelta(days=n)) for n in range(1, ahead + 1))
    return found & counts.keys()


def _judged(dataset: Dataset, partitions: Collection[str], counts: Mapping[str, int]) -> set[str]:
    """The partitions, and before each those in which nothing landed, with the one before these."""
    first = min(counts, default=None)
    found = set(partitions)
    for partition in partitions:
        moment = begins = parse_partition(partition)
        length = partition_end(dataset, partition) - begins
        while first is not None and begins - moment < _LONGEST_GAP and partition_key(dataset, moment) > first:
            moment -= length
            found.add(before := partition_key(dataset, moment))
            if before in counts:
                break
    return found


def _verdict(dataset: Dataset, rule: Volume, partition: str, counts: Mapping[str, int], *, is_over: bool) -> Verdict:
    moment = parse_partition(partition)
    days = min(rule.days, (moment - _FIRST).days)
    earlier = [partition_key(dataset, moment - timedelta(days=n)) for n in range(1, days + 1)]
    usual = [counts[before] for before in earlier if before in counts]
    records = counts.get(partition, 0)
    detail = f"{records:,} records"
    passed = True
    if len(usual) < _LEAST_DAYS:
        detail += f"; {len(usual)} earlier days to compare with, {_LEAST_DAYS} are needed"
    else:
        middle = median(usual)
        few = is_over and records < rule.minimum * middle
        passed = not few and records <= max(rule.maximum * middle, 1)
        detail += f", {middle:,.0f} are usual at its hour ({len(usual)} of {rule.days} days before)"
        if not passed:
            detail += f": {'too few. See whether its producer and its delivery run' if few else 'too many'}"
    return Verdict(VOLUME, partition, passed=passed, blocking=False, detail=detail, dates=())
