"""Schedules: what is looked after by the clock rather than by events."""

from collections.abc import Iterator
from datetime import UTC, datetime

import dagster as dg

from datalake_assets.assets.bronze import bronze_key
from datalake_assets.assets.silver import silver_keys
from datalake_assets.lake.lake import Lake
from datalake_assets.sensors.landing import landing_requests
from datalake_assets.sensors.late_data import gold_requests
from datalake_assets.sensors.requests import still_wanted
from datalake_assets.settings import Settings

_EVERYTHING = 2**62


def build_backfill_schedule(lake: Lake, settings: Settings) -> dg.ScheduleDefinition:
    """Every night: backfill the partitions that were missed, whatever the reason.

    Looks through all that ever landed, not only where news is likely, and at all that gold owes; asks for ranges.
    """
    targets = [key for d in lake.datasets.values() for key in (bronze_key(d), *silver_keys(d))]

    @dg.schedule(
        name="backfill_missed_partitions",
        cron_schedule="0 2 * * *",
        target=dg.AssetSelection.assets(*targets) | dg.AssetSelection.groups("gold"),
        description="Backfills partitions with landed objects that are not in silver, and event dates that gold owes.",
        default_status=dg.DefaultScheduleStatus.RUNNING if lake.layout.is_local else dg.DefaultScheduleStatus.STOPPED,
    )
    def backfill_missed_partitions(
        context: dg.ScheduleEvaluationContext,
    ) -> Iterator[dg.RunRequest | dg.SkipReason]:
        now = datetime.now(UTC)
        requests: list[dg.RunRequest] = []
        for dataset in lake.datasets.values():
            found, _ = landing_requests(lake, dataset, after=None, limit=_EVERYTHING, settings=settings, now=now)
            requests.extend(found)
        requests.extend(gold_requests(lake, settings=settings, now=now)[0])
        wanted = [still_wanted(r, context.instance, now=now, patient=False) for r in requests]
        ask = [r for r in wanted if r is not None]
        yield from ask
        if not ask:
            yield dg.SkipReason("no partition was missed")

    return backfill_missed_partitions
