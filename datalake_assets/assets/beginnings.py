"""Where Dagster's partitions begin: with the first data, so that its pages show what is there.

A matter of display alone: what is older belongs to the first partition, whatever that is, and objects, rows and figures
keep the hours and dates that they have. Definitions are built with it, so it moves when they are loaded again.
"""

from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from deltalake.exceptions import DeltaError
from obstore.exceptions import BaseError

from datalake_assets.lake.gold.table import GoldTable
from datalake_assets.lake.lake import Lake
from datalake_assets.lake.spec.dataset import CdcTable, Dataset, EventStream
from datalake_assets.lake.steps.gold import partition_of
from datalake_assets.lake.store.landing import parse_partition, partition_key

EARLIER_TAG = "datalake/earlier"
"""A run with this tag does what is older than its first partition too.

Who asks for a run says so: the process of the run may have found earlier data, and let its partitions begin with them.
"""
_WITHOUT_DATA = date(2024, 1, 1)
_MOST_LANDING, _MOST_MONTHS = timedelta(days=3 * 365), timedelta(days=30 * 365)  # Dagster's pages bear 30,000 hours
_LATE = timedelta(days=31)
"""How long before the first object landed its events may have happened to have partitions of their own."""


@dataclass(frozen=True, slots=True)
class Beginnings:
    """The first landing day, the first event date of gold by day, and the first month of gold by month."""

    landing: date
    dates: date
    months: date

    @property
    def landing_time(self) -> datetime:
        """When the first landing partition begins, UTC."""
        return datetime(self.landing.year, self.landing.month, self.landing.day, tzinfo=UTC)

    def first_landing(self, dataset: Dataset) -> str:
        """Dagster's first landing partition of a dataset."""
        return partition_key(dataset, self.landing_time)

    def landing_partition(self, partition: str) -> str:
        """Dagster's partition of a landing hour or day."""
        return max(partition, f"{self.landing}-00:00"[: len(partition)])

    def first(self, table: GoldTable) -> date:
        """When a gold table's first partition begins."""
        return self.months if table.monthly else self.dates

    def gold_partition(self, table: GoldTable, day: date, *, today: date) -> str:
        """Dagster's partition of an event date of a gold table."""
        return partition_of(table, day, first=self.first(table), today=today).isoformat()


def beginnings(lake: Lake | None, *, landing: date | None, dates: date | None, now: datetime) -> Beginnings:
    """Where partitions begin: as the settings say (`landing`, `dates`), else with what landed, and happened, first.

    None begins later than today (UTC), whatever dates there are.

    Looks (None: does not look) at the ledger, and at the first object of each dataset that the ledger does not know; a
    place that can't be reached now is told of by those who work there.
    """
    today = now.date()
    first: date | None = None
    seen: dict[str, date] = {}
    with suppress(OSError, DeltaError, BaseError):
        if lake is not None:
            first, seen = _first_landing(lake, now=now), lake.ledger.figures.first_dates()
    landing = landing or min(max(first or _WITHOUT_DATA, today - _MOST_LANDING), today)
    datasets = {} if lake is None else lake.datasets
    events = [day for name, day in seen.items() if isinstance(datasets.get(name), EventStream)]
    rows = [day for name, day in seen.items() if isinstance(datasets.get(name), CdcTable)]
    by_day = dates or max(min([*events, landing]), landing - _LATE)
    by_month = dates or max(min([*rows, landing]), today - _MOST_MONTHS)
    return Beginnings(landing, by_day, by_month.replace(day=1))


def _first_landing(lake: Lake, *, now: datetime) -> date | None:
    unknown = [lake.datasets[name] for name in lake.datasets.keys() - lake.ledger.datasets()]
    pages = (lake.landing.sweep(dataset, after=None, limit=1, now=now) for dataset in unknown)
    partitions = [page.objects[0].partition for page in pages if page.objects]
    if (admitted := lake.ledger.figures.first_partition()) is not None:
        partitions.append(admitted)
    return parse_partition(min(partitions)).date() if partitions else None
