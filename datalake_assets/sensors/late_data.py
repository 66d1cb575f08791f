"""The sensor that re-opens gold: the event dates that silver touched, however old, and no others."""

from datetime import UTC, date, datetime

import dagster as dg

from datalake_assets.assets.gold import gold_key
from datalake_assets.assets.jobs import Jobs, gold_job_name
from datalake_assets.assets.partitions import DAY
from datalake_assets.lake.engines.polars import PolarsEngine
from datalake_assets.lake.gold.registry import gold_tables
from datalake_assets.lake.lake import Lake
from datalake_assets.lake.steps.planning import clamp_date, consecutive, owed_by_gold, stale_totals
from datalake_assets.sensors.landing import SweepCursor
from datalake_assets.sensors.requests import request_name, run_request, still_wanted
from datalake_assets.settings import Settings


def gold_requests(lake: Lake, *, settings: Settings, now: datetime) -> tuple[list[dg.RunRequest], set[date]]:
    """The runs that gold owes, and the dates that wait because a partition with events of them is blocked.

    Tables that owe the same dates are asked for together, in runs over consecutive dates.
    """
    tables = gold_tables(lake.datasets)
    together: dict[tuple[str, ...], list[str]] = {}
    withheld: set[date] = set()
    upto: dict[str, list[object]] = {}
    for name, owed in owed_by_gold(lake, PolarsEngine(), now=now).items():
        withheld |= owed.withheld
        upto[name] = [name, *sorted(owed.upto.items())]
        keys = {clamp_date(day, first=lake.first_event_date, today=now.date()).isoformat() for day in owed.dates}
        if keys:
            together.setdefault(tuple(sorted(keys)), []).append(name)
    requests = []
    for days, names in together.items():
        for partitions in consecutive(days, step=DAY, most=settings.partitions_per_run):
            request = request_name([lake.layout.root, *partitions, *(part for n in names for part in upto[n])])
            assets = [gold_key(tables[n]) for n in names]
            requests.append(run_request(assets, partitions, job=gold_job_name(tables[names[0]]), name=request))
    totals = {} if requests else stale_totals(lake, now=now)
    for name, positions in totals.items():
        request = request_name([lake.layout.root, name, *sorted(positions.items())])
        requests.append(run_request([gold_key(tables[name])], (), job=gold_job_name(tables[name]), name=request))
    return requests, withheld


def build_late_data_sensor(lake: Lake, jobs: Jobs, settings: Settings) -> dg.SensorDefinition:
    """One sensor for all of gold."""
    status = dg.DefaultSensorStatus.RUNNING if lake.layout.is_local else dg.DefaultSensorStatus.STOPPED
    names = sorted({gold_job_name(table) for table in gold_tables(lake.datasets).values()})

    @dg.sensor(
        name="late_data",
        description="Event dates that silver touched: asks for gold of exactly these, however old they are.",
        jobs=[jobs[n] for n in names],
        minimum_interval_seconds=settings.sensor_seconds,
        default_status=status,
    )
    def late_data(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        now = datetime.now(UTC)
        patient = SweepCursor.parse(context.cursor).patient
        requests, withheld = gold_requests(lake, settings=settings, now=now)
        wanted = (still_wanted(r, context.instance, now=now, patient=patient) for r in requests)
        ask = [r for r in wanted if r is not None]
        reason = "gold has every date that silver touched, or runs for the rest are under way"
        if withheld:
            days = ", ".join(sorted(day.isoformat() for day in withheld))
            reason = f"waiting: a blocking check of silver failed for partitions with events of {days}"
            context.log.warning(reason)
        return dg.SensorResult(run_requests=ask, skip_reason=None if ask else reason)

    return late_data
