"""How assets are cut into partitions: landing hours or days for bronze and silver, event dates for gold."""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Literal

import dagster as dg

from datalake_assets.assets.beginnings import Beginnings
from datalake_assets.lake.gold.table import GoldTable
from datalake_assets.lake.spec.dataset import Dataset
from datalake_assets.lake.store.landing import parse_partition

Cadence = Literal["hourly", "daily", "monthly"]
_STEPS = {"hourly": timedelta(hours=1), "daily": timedelta(days=1)}
_FORMS = {"hourly": "%Y-%m-%d-%H:00", "daily": "%Y-%m-%d", "monthly": "%Y-%m-%d"}
_LONGER_THAN_A_MONTH = timedelta(days=32)
PARTITION_TAG = "dagster/partition"
RANGE_START_TAG = "dagster/asset_partition_range_start"
RANGE_END_TAG = "dagster/asset_partition_range_end"

# The period that is still running is a partition too (end_offset): live data belong to it.


def landing_partitions(dataset: Dataset, begins: Beginnings) -> dg.TimeWindowPartitionsDefinition:
    """The landing partitions of a dataset, the current one included."""
    if dataset.landing.cadence == "daily":
        return dg.DailyPartitionsDefinition(start_date=begins.landing_time, end_offset=1)
    return dg.HourlyPartitionsDefinition(start_date=begins.landing_time, end_offset=1)


def gold_partitions(table: GoldTable, begins: Beginnings) -> dg.TimeWindowPartitionsDefinition | None:
    """The event dates or months of a gold table, the current one included; None where it is computed whole."""
    if not table.daily:
        return None
    first = begins.first(table).isoformat()
    if table.monthly:
        return dg.MonthlyPartitionsDefinition(start_date=first, end_offset=1)
    return dg.DailyPartitionsDefinition(start_date=first, end_offset=1)


def range_tags(partitions: Sequence[str]) -> dict[str, str]:
    """The run tags that make one run of consecutive partitions."""
    return {RANGE_START_TAG: partitions[0], RANGE_END_TAG: partitions[-1]}


def consecutive(partitions: Sequence[str], *, every: Cadence, most: int, gap: int = 0) -> Iterator[tuple[str, ...]]:
    """Partition keys in ranges of at most `most`: each can be one Dagster run.

    Up to `gap` partitions that are not asked for may lie between two that are: they are in the range then.
    """
    run: list[str] = []
    for key in sorted(partitions):
        between = _between(run[-1], key, every, most=gap) if run else None
        if run and (between is None or len(run) + len(between) >= most):
            yield tuple(run)
            run, between = [], None
        run += [*(between or ()), key]
    if run:
        yield tuple(run)


def count_partitions(first: str, last: str, *, every: Cadence) -> int:
    """How many partitions a range holds, both ends included."""
    begin, end = parse_partition(first), parse_partition(last)
    if every == "monthly":
        return (end.year - begin.year) * 12 + end.month - begin.month + 1
    return (end - begin) // _STEPS[every] + 1


def _between(first: str, last: str, every: Cadence, *, most: int) -> list[str] | None:
    """The partitions between two; None where they are more than `most`."""
    found: list[str] = []
    moment = _following(parse_partition(first), every)
    while (key := moment.strftime(_FORMS[every])) != last:
        if len(found) == most:
            return None
        found.append(key)
        moment = _following(moment, every)
    return found


def _following(moment: datetime, every: Cadence) -> datetime:
    """When the partition after the one that begins at a moment begins."""
    if every == "monthly":
        return (moment + _LONGER_THAN_A_MONTH).replace(day=1)
    return moment + _STEPS[every]
