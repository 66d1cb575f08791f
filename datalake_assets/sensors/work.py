"""The planning functions as sensors, the schedule and `datalake run` call them.

A stand-in: `lake.steps.planning` will say the same in these words, and this module goes.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta

from datalake_assets.lake.engines.polars import PolarsEngine
from datalake_assets.lake.lake import Lake
from datalake_assets.lake.spec.dataset import Dataset
from datalake_assets.lake.steps.planning import find_landed, owed_by_gold, stale_totals

_BLOCKED = "a blocking check of silver failed for a partition with events of this date"


@dataclass(frozen=True, slots=True)
class LandingWork:
    """How many objects wait, by partition; what waits for its retry (one line each); where the sweep goes on."""

    waiting: Mapping[str, int]
    later: tuple[str, ...] = ()
    position: str | None = None


@dataclass(frozen=True, slots=True)
class GoldWork:
    """What a gold table has to compute (`whole`: all of it), what is withheld and why, what waits until when."""

    dates: frozenset[date] = frozenset()
    whole: bool = False
    withheld: Mapping[date, str] = field(default_factory=dict)
    later: Mapping[str, datetime] = field(default_factory=dict)


def landing_work(
    lake: Lake, dataset: Dataset, *, after: str | None, lookback: timedelta, limit: int, now: datetime
) -> LandingWork:
    """The objects of a dataset that are not in silver yet."""
    found = find_landed(lake, dataset, after=after, lookback=lookback, limit=limit, now=now)
    return LandingWork({p: len(objects) for p, objects in found.waiting.items()}, position=found.position)


def gold_work(lake: Lake, *, now: datetime) -> Mapping[str, GoldWork]:
    """What each gold table has to compute; tables that have nothing to do are left out."""
    work = {
        name: GoldWork(dates=owed.dates, withheld=dict.fromkeys(sorted(owed.withheld), _BLOCKED))
        for name, owed in owed_by_gold(lake, PolarsEngine(), now=now).items()
    }
    return work | dict.fromkeys(stale_totals(lake, now=now), GoldWork(whole=True))


def undone(lake: Lake, *, now: datetime) -> list[str]:
    """One line for each thing that is left undone, and why."""
    days: dict[tuple[date, str], list[str]] = {}
    for name, work in gold_work(lake, now=now).items():
        for day, reason in work.withheld.items():
            days.setdefault((day, reason), []).append(f"gold.{name}")
    return [f"{', '.join(names)} of {day} withheld: {reason}" for (day, reason), names in sorted(days.items())]
