"""How assets are cut into partitions: landing hours or days for bronze and silver, event dates for gold."""

from collections.abc import Sequence
from datetime import date, datetime, timedelta

import dagster as dg

from datalake_assets.lake.spec.dataset import Dataset

CADENCE_STEPS = {"hourly": timedelta(hours=1), "daily": timedelta(days=1)}
DAY = timedelta(days=1)
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
