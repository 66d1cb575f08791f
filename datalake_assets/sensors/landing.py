"""The landing sensor: looks for objects that are not in silver, and asks for runs over their partitions.

The memory is the ledger. The cursor only says how far the sweep through older objects has come; losing it costs
another sweep.
"""

from datetime import UTC, datetime, timedelta

import dagster as dg
from pydantic import BaseModel, Field, ValidationError

from datalake_assets.assets.beginnings import Beginnings
from datalake_assets.assets.jobs import Jobs, landing_job_name
from datalake_assets.lake.lake import Lake
from datalake_assets.lake.steps.planning import LandingWork
from datalake_assets.sensors.looking import Landed, look_for_landed
from datalake_assets.sensors.notifications import Queue
from datalake_assets.sensors.queued import Queued, look_at_queue
from datalake_assets.sensors.requests import landing_todos, planned_runs
from datalake_assets.sensors.under_way import under_way
from datalake_assets.settings import Settings

SENSOR = "landing"
_HELD_SHOWN = 5
_SECONDS = 20.0
"""How long one tick looks around; Dagster gives up on a tick after 60 seconds. The next goes on where it stopped."""


class SweepCursor(BaseModel):
    """Where each dataset's sweep goes on, the dataset at which the next tick begins, and when it last came round."""

    positions: dict[str, str] = Field(default_factory=dict)
    begin: str | None = None
    round_at: datetime | None = None

    @classmethod
    def parse(cls, text: str | None) -> "SweepCursor":
        """Read a cursor; one that is missing or unreadable is a new one."""
        try:
            return cls.model_validate_json(text) if text else cls()
        except ValidationError:
            return cls()

    @property
    def is_round(self) -> bool:
        """Whether everything has been looked through since the sweep began."""
        return not self.positions and self.begin is None

    def is_due(self, now: datetime, *, every: timedelta) -> bool:
        """Whether a sweep is under way, or should begin."""
        return not self.is_round or self.round_at is None or now - self.round_at >= every


def merged(*works: LandingWork | None) -> LandingWork:
    """What several looks at one dataset found, as one; an object may have been seen by each."""
    found = [work for work in works if work is not None]
    partitions = sorted({partition for work in found for partition in work.waiting})
    waiting = {p: max(work.waiting.get(p, 0) for work in found) for p in partitions}
    return LandingWork(waiting, tuple(dict.fromkeys(line for work in found for line in work.later)))


def build_landing_sensor(lake: Lake, jobs: Jobs, settings: Settings, begins: Beginnings) -> dg.SensorDefinition:
    """One sensor over the landed objects of all datasets."""
    status = dg.DefaultSensorStatus.RUNNING if lake.layout.is_local else dg.DefaultSensorStatus.STOPPED

    @dg.sensor(
        name=SENSOR,
        description="Objects that DMS, Firehose or the ingest API landed: asks for silver of their partitions.",
        jobs=[jobs[name] for name in sorted({landing_job_name(dataset) for dataset in lake.datasets.values()})],
        minimum_interval_seconds=settings.sensor_seconds,
        default_status=status,
    )
    def landing(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        cursor = SweepCursor.parse(context.cursor)
        now = datetime.now(UTC)
        queued, reconciles, faults = Queued(), True, list[str]()
        if settings.sensor == "sqs":
            try:
                queued = look_at_queue(lake, Queue(settings.queue_url or ""), now=now, seconds=_SECONDS)
            except Exception as error:  # noqa: BLE001 (whatever it is, a listing finds what the queue would have told)
                faults.append(_queue_fault(settings, error))
            else:
                context.log.info(queued.told)
                reconciles = cursor.is_due(now, every=timedelta(minutes=settings.reconcile_minutes))
        found = Landed()
        if reconciles:
            names = [n for n in sorted(lake.datasets) if cursor.begin is None or n >= cursor.begin]
            found = look_for_landed(
                lake,
                names,
                after=cursor.positions,
                limit=settings.sweep_objects,
                settings=settings,
                now=now,
                seconds=_SECONDS,
            )
        faults += found.faults.values()
        for fault in faults:
            context.log.error(fault)
        work = {n: merged(found.work.get(n), queued.work.get(n)) for n in found.work.keys() | queued.work.keys()}
        known = under_way(context.instance, now=now, most=settings.partitions_per_run)
        runs = planned_runs(landing_todos(lake, work, begins), limit=known.limit, most=known.most)
        ask = [run.request(reason="objects landed that are not in silver") for run in runs[: known.room(SENSOR)]]
        looked_at = found.work.keys() | found.faults.keys()
        positions = {n: p for n, p in cursor.positions.items() if n in lake.datasets and n not in looked_at}
        positions |= {n: w.position for n, w in found.work.items() if w.position is not None}
        after = SweepCursor(positions=positions, begin=found.unseen, round_at=cursor.round_at)
        if reconciles and after.is_round:
            after = after.model_copy(update={"round_at": now})
        idle = "nothing waits that is not under way" if not runs else "enough runs wait already"
        held = [line for waiting in work.values() for line in waiting.later]
        return dg.SensorResult(
            run_requests=ask,
            skip_reason=None if ask else "; ".join([idle, *faults, *held[:_HELD_SHOWN]]),
            cursor=after.model_dump_json(),
        )

    return landing


def _queue_fault(settings: Settings, error: Exception) -> str:
    told = " ".join(str(error).split())
    return (
        f"the queue of DATALAKE_QUEUE_URL, {settings.queue_url}, can't be used, and bronze is listed in its place: "
        f"{type(error).__name__}: {told}"
    )
