"""How assets are cut into partitions: landing hours or days for bronze and silver, event dates for gold."""

from collections.abc import Iterator, Sequence
from datetime import date, datetime, timedelta

import dagster as dg

from datalake_assets.lake.spec.dataset import Dataset
from datalake_assets.lake.store.landing import parse_partition

CADENCE_STEPS = {"hourly": timedelta(hours=1), "daily": timedelta(days=1)}
DAY = timedelta(days=1)
PARTITION_TAG = "dagster/partition"
RANGE_START_TAG = "dagster/asset_partition_range_start"
RANGE_END_TAG = "dagster/asset_partition_range_end"

# The period that is still running is a partition too (end_offset): live data belong to it.


def landing_partitions(dataset: Dataset, *, start: datetime) -> dg.TimeWindowPartitionsDefinition:
    """The landing partitions of a dataset, the current one included."""
    if dataset.landing.cadence == "daily":
        return dg.DailyPartitionsDefinition(start_date=start, end_offset=1)
    return dg.HourlyPartitionsDefinition(start_date=start, end_offset=1)


def event_dates(*, first: date) -> dg.TimeWindowPartitionsDefinition:
    """The event dates of gold, today included."""
    return dg.DailyPartitionsDefinition(start_date=first.isoformat(), end_offset=1)


def range_tags(partitions: Sequence[str]) -> dict[str, str]:
    """The run tags that make one run of consecutive partitions."""
    return {RANGE_START_TAG: partitions[0], RANGE_END_TAG: partitions[-1]}


def consecutive(partitions: Sequence[str], *, step: timedelta, most: int) -> Iterator[tuple[str, ...]]:
    """Partition keys in runs without a gap, of at most `most` each: each can be one range of one Dagster run."""
    run: list[str] = []
    for key in sorted(partitions):
        if run and (len(run) == most or parse_partition(key) - parse_partition(run[-1]) != step):
            yield tuple(run)
            run = []
        run.append(key)
    if run:
        yield tuple(run)


def count_partitions(first: str, last: str) -> int:
    """How many partitions a range holds, both ends included; the keys tell whether they are hours or days."""
    step = DAY if len(first) == len("2026-01-31") else CADENCE_STEPS["hourly"]
    return (parse_partition(last) - parse_partition(first)) // step + 1
