"""The sensor that refreshes gold: the event dates that silver touched, however old, and no others."""

from datetime import UTC, datetime

import dagster as dg

from datalake_assets.assets.beginnings import Beginnings
from datalake_assets.assets.jobs import GOLD_JOB, MONTHLY_GOLD_JOB, Jobs
from datalake_assets.lake.lake import Lake
from datalake_assets.lake.steps.planning import gold_withheld, gold_work
from datalake_assets.sensors.requests import gold_todos, planned_runs
from datalake_assets.sensors.under_way import under_way
from datalake_assets.settings import Settings

SENSOR = "gold_refresh"


def build_gold_sensor(lake: Lake, jobs: Jobs, settings: Settings, begins: Beginnings) -> dg.SensorDefinition:
    """One sensor for all of gold."""
    status = dg.DefaultSensorStatus.RUNNING if lake.layout.is_local else dg.DefaultSensorStatus.STOPPED

    @dg.sensor(
        name=SENSOR,
        description="Event dates that silver touched: asks for gold of exactly these, however old they are.",
        jobs=[jobs[name] for name in (GOLD_JOB, MONTHLY_GOLD_JOB) if name in jobs],
        minimum_interval_seconds=settings.sensor_seconds,
        default_status=status,
    )
    def gold_refresh(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        now = datetime.now(UTC)
        work = gold_work(lake, now=now)
        held = gold_withheld(work)
        for line in held:
            context.log.warning(line)
        known = under_way(context.instance, now=now, most=settings.partitions_per_run)
        runs = planned_runs(gold_todos(lake, work, begins, today=now.date()), limit=known.limit, most=known.most)
        ask = [run.request(reason="silver touched these dates") for run in runs[: known.room(SENSOR)]]
        idle = "gold has all that silver touched, or it is under way" if not runs else "enough runs wait already"
        return dg.SensorResult(run_requests=ask, skip_reason=None if ask else "; ".join([idle, *held]))

    return gold_refresh
