"""Schedules: what is looked after by the clock rather than by events."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import dagster as dg

from datalake_assets.lake.lake import Lake
from datalake_assets.sensors.landing import landing_requests
from datalake_assets.sensors.late_data import gold_requests
from datalake_assets.sensors.requests import still_wanted
from datalake_assets.settings import Settings

_EVERYTHING = 2**62


def build_backfill_schedule(lake: Lake, job_name: str, job: Any, settings: Settings) -> dg.ScheduleDefinition:
    """Every night: backfill the partitions of a job's assets that were missed, whatever the reason.

    Looks through all that ever landed, not only where news is likely, or at all that gold owes; asks for ranges.
    """

    @dg.schedule(
        name=f"backfill_missed_{job_name}",
        cron_schedule="0 2 * * *",
        job=job,
        description=f"Backfills the partitions of {job_name} that were missed, in ranges.",
        default_status=dg.DefaultScheduleStatus.RUNNING if lake.layout.is_local else dg.DefaultScheduleStatus.STOPPED,
    )
    def backfill_missed(context: dg.ScheduleEvaluationContext) -> Iterator[dg.RunRequest | dg.SkipReason]:
        now = datetime.now(UTC)
        requests = _missed(lake, job_name, settings=settings, now=now)
        wanted = [still_wanted(r, context.instance, now=now, patient=False) for r in requests]
        ask = [r for r in wanted if r is not None]
        yield from ask
        if not ask:
            yield dg.SkipReason("no partition was missed")

    return backfill_missed


def _missed(lake: Lake, job_name: str, *, settings: Settings, now: datetime) -> list[dg.RunRequest]:
    if job_name.startswith("gold_"):
        found = gold_requests(lake, settings=settings, now=now)[0]
    else:
        found = [
            request
            for dataset in lake.datasets.values()
            for request in landing_requests(lake, dataset, after=None, limit=_EVERYTHING, settings=settings, now=now)[0]
        ]
    return [request for request in found if request.job_name == job_name]
