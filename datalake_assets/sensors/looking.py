"""Looking for landed objects that are not in silver, dataset by dataset, as sensors, schedules and commands do.

Belongs here: what needs no orchestrator, so that a command that finds nothing need not load one.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from datalake_assets.lake.lake import Lake
from datalake_assets.lake.steps.planning import LandingWork, landing_work
from datalake_assets.settings import Settings


@dataclass(frozen=True, slots=True)
class Landed:
    """What waits by dataset, why some could not be looked at, and the dataset at which time ran out."""

    work: dict[str, LandingWork] = field(default_factory=dict)
    faults: dict[str, str] = field(default_factory=dict)
    unseen: str | None = None


def look_for_landed(
    lake: Lake,
    names: Sequence[str],
    *,
    after: Mapping[str, str],
    limit: int,
    settings: Settings,
    now: datetime,
    seconds: float | None = None,
) -> Landed:
    """Ask the planning function about some datasets, one by one; a fault of one is told and stops no other."""
    found, began = Landed(), time.monotonic()
    lookback = timedelta(hours=settings.lookback_hours)
    for name in names:
        if seconds is not None and time.monotonic() - began > seconds:
            return Landed(found.work, found.faults, unseen=name)
        try:
            found.work[name] = landing_work(
                lake, lake.datasets[name], after=after.get(name), lookback=lookback, limit=limit, now=now
            )
        except Exception as error:  # noqa: BLE001 (whatever is wrong with one source, the others go on; it is told)
            found.faults[name] = f"{name} can't be looked at: {type(error).__name__}: {error}"
    return found
