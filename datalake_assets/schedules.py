"""Schedules: what is looked after by the clock rather than by events."""

from collections.abc import Iterator
from datetime import UTC, datetime

import dagster as dg

from datalake_assets.assets.beginnings import Beginnings
from datalake_assets.assets.jobs import ANY_ASSETS_JOB, MAINTENANCE_JOB, RECONCILE_JOB, Jobs
from datalake_assets.assets.silver import ONLY_WAITING_TAG
from datalake_assets.lake.lake import Lake
from datalake_assets.lake.steps.planning import EVERYTHING, LandingWork, gold_work, outdated_partitions
from datalake_assets.sensors.looking import look_for_landed
from datalake_assets.sensors.requests import gold_todos, landing_todos, planned_runs
from datalake_assets.sensors.under_way import under_way
from datalake_assets.settings import Settings

SCHEDULE = "nightly_backfill"
REPLAY_SCHEDULE = "nightly_replay"
MAINTENANCE_SCHEDULE = "nightly_maintenance"
RECONCILE_SCHEDULE = "nightly_reconcile"


def build_backfill_schedule(lake: Lake, settings: Settings, begins: Beginnings) -> dg.ScheduleDefinition:
    """Every night: all that ever landed is looked through, not only where news is likely, and all that gold owes.

    Asks for the newest few ranges that were missed; the sensors' sweeps come round to the others.
    """

    @dg.schedule(
        name=SCHEDULE,
        cron_schedule="0 2 * * *",
        job_name=ANY_ASSETS_JOB,
        description="Looks through all that ever landed for what was missed, and backfills it in ranges.",
        default_status=dg.DefaultScheduleStatus.RUNNING if lake.layout.is_local else dg.DefaultScheduleStatus.STOPPED,
    )
    def nightly_backfill(context: dg.ScheduleEvaluationContext) -> Iterator[dg.RunRequest | dg.SkipReason]:
        now = datetime.now(UTC)
        found = look_for_landed(lake, sorted(lake.datasets), after={}, limit=EVERYTHING, settings=settings, now=now)
        for fault in found.faults.values():
            context.log.error(fault)
        todos = landing_todos(lake, found.work, begins)
        todos += gold_todos(lake, gold_work(lake, now=now), begins, today=now.date())
        known = under_way(context.instance, now=now, most=settings.partitions_per_run)
        runs = planned_runs(todos, limit=known.limit, most=known.most)
        asked = runs[: known.room(SCHEDULE)]
        if len(runs) > len(asked):
            context.log.info("%s more ranges are left to the sensors", len(runs) - len(asked))
        for run in asked:
            yield run.request(reason="missed until the nightly look", named=True)
        if not asked:
            yield dg.SkipReason("; ".join(["no partition was missed", *found.faults.values()]))

    return nightly_backfill


def build_replay_schedule(lake: Lake, settings: Settings, begins: Beginnings) -> dg.ScheduleDefinition:
    """Every night, when it is switched on: objects that were read under an older contract are read again.

    Asks for the newest few ranges each night, so that a contract that changed reaches all that ever landed in time.
    """

    @dg.schedule(
        name=REPLAY_SCHEDULE,
        cron_schedule="0 4 * * *",
        job_name=ANY_ASSETS_JOB,
        description="Reads objects again that were read under an older contract. Off until you switch it on.",
        default_status=dg.DefaultScheduleStatus.STOPPED,
    )
    def nightly_replay(context: dg.ScheduleEvaluationContext) -> Iterator[dg.RunRequest | dg.SkipReason]:
        now = datetime.now(UTC)
        outdated = {name: outdated_partitions(lake, dataset, now=now) for name, dataset in lake.datasets.items()}
        todos = landing_todos(lake, {name: LandingWork(partitions) for name, partitions in outdated.items()}, begins)
        known = under_way(context.instance, now=now, most=settings.partitions_per_run)
        runs = planned_runs(todos, limit=known.limit, most=known.most)[: known.room(REPLAY_SCHEDULE)]
        for run in runs:
            request = run.request(reason="read under an older contract", named=True)
            tags = {tag: value for tag, value in request.tags.items() if tag != ONLY_WAITING_TAG}
            yield request.with_replaced_attrs(run_key=f"{request.run_key} {now:%Y-%m-%d}", tags=tags)
        if not runs:
            yield dg.SkipReason("every object was read under its dataset's contract")

    return nightly_replay


def build_maintenance_schedule(lake: Lake, jobs: Jobs) -> dg.ScheduleDefinition:
    """Every night: small files of all tables are put together, and dead ones deleted."""
    return dg.ScheduleDefinition(
        name=MAINTENANCE_SCHEDULE,
        cron_schedule="0 3 * * *",
        job=jobs[MAINTENANCE_JOB],
        description="Puts small files of all tables together and deletes the files that nobody needs any more.",
        default_status=dg.DefaultScheduleStatus.RUNNING if lake.layout.is_local else dg.DefaultScheduleStatus.STOPPED,
    )


def build_reconcile_schedule(jobs: Jobs) -> list[dg.ScheduleDefinition]:
    """Every night, when it is switched on: replicated tables are compared with their source, where there is one."""
    if RECONCILE_JOB not in jobs:
        return []
    return [
        dg.ScheduleDefinition(
            name=RECONCILE_SCHEDULE,
            cron_schedule="0 5 * * *",
            job=jobs[RECONCILE_JOB],
            description="Compares replicated tables with their source, which reads them whole. Off until switched on.",
            default_status=dg.DefaultScheduleStatus.STOPPED,
        )
    ]
