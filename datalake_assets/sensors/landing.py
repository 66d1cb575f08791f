"""What both landing sensors do: look for objects that are not in silver, and ask for runs over their partitions.

The memory is the ledger. The cursor only says how far the sweep through older objects has come; losing it costs
another sweep.
"""

import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

import dagster as dg
from deltalake.exceptions import DeltaError
from obstore.exceptions import BaseError
from pydantic import BaseModel, Field, ValidationError

from datalake_assets.assets.bronze import bronze_key
from datalake_assets.assets.jobs import Jobs, landing_job_name
from datalake_assets.assets.partitions import CADENCE_STEPS
from datalake_assets.assets.silver import ONLY_WAITING_TAG, silver_keys
from datalake_assets.lake.lake import Lake
from datalake_assets.lake.spec.dataset import Dataset
from datalake_assets.lake.steps.planning import consecutive, find_landed
from datalake_assets.sensors.requests import request_name, run_request, still_wanted
from datalake_assets.settings import Settings

_SECONDS = 20.0
"""How long one tick looks around; Dagster gives up on a tick after 60 seconds. The next goes on where it stopped."""


class SweepCursor(BaseModel):
    """Where each dataset's sweep goes on, and the dataset at which the next tick begins.

    `patient` is whether failed work waits before it is asked for again; the command line does not.
    """

    positions: dict[str, str] = Field(default_factory=dict)
    begin: str | None = None
    patient: bool = True

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


def landing_requests(
    lake: Lake, dataset: Dataset, *, after: str | None, limit: int, settings: Settings, now: datetime
) -> tuple[list[dg.RunRequest], str | None]:
    """The runs that a dataset's waiting objects ask for, and where its sweep goes on."""
    lookback = timedelta(hours=settings.lookback_hours)
    work = find_landed(lake, dataset, after=after, lookback=lookback, limit=limit, now=now)
    step = CADENCE_STEPS[dataset.landing.cadence]
    requests = []
    for partitions in consecutive(list(work.waiting), step=step, most=settings.partitions_per_run):
        objects = [o.identity for p in partitions for o in work.waiting[p]]
        name = request_name([lake.layout.root, dataset.name, *partitions, *objects])
        assets = [bronze_key(dataset), *silver_keys(dataset)]
        tags = {ONLY_WAITING_TAG: "true"}
        requests.append(run_request(assets, partitions, job=landing_job_name(dataset), name=name, tags=tags))
    return requests, work.position


def build_landing_sensor(
    lake: Lake, datasets: Mapping[str, Dataset], *, jobs: Jobs, name: str, description: str, settings: Settings
) -> dg.SensorDefinition:
    """A sensor over the landed objects of some datasets."""
    status = dg.DefaultSensorStatus.RUNNING if lake.layout.is_local else dg.DefaultSensorStatus.STOPPED
    names = sorted({landing_job_name(d) for d in datasets.values()})

    @dg.sensor(
        name=name,
        description=description,
        jobs=[jobs[n] for n in names],
        minimum_interval_seconds=settings.sensor_seconds,
        default_status=status,
    )
    def landing(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        cursor = SweepCursor.parse(context.cursor)
        began = time.monotonic()
        now = datetime.now(UTC)
        positions = {n: p for n, p in cursor.positions.items() if n in datasets}
        requests: list[dg.RunRequest] = []
        begin = None
        for dataset_name in _from(sorted(datasets), cursor.begin):
            if time.monotonic() - began > _SECONDS:
                begin = dataset_name
                break
            after = positions.pop(dataset_name, None)
            try:
                found, position = landing_requests(
                    lake,
                    datasets[dataset_name],
                    after=after,
                    limit=settings.sweep_objects,
                    settings=settings,
                    now=now,
                )
            except (OSError, BaseError, DeltaError):  # one dataset's fault stops no other
                context.log.exception("%s: can't look for landed objects", dataset_name)
                continue
            requests.extend(found)
            if position is not None:
                positions[dataset_name] = position
        wanted = (still_wanted(r, context.instance, now=now, patient=cursor.patient) for r in requests)
        ask = [r for r in wanted if r is not None]
        after_tick = SweepCursor(positions=positions, begin=begin, patient=cursor.patient)
        return dg.SensorResult(
            run_requests=ask,
            skip_reason=None if ask else "nothing has landed that is not in silver, or runs for it are under way",
            cursor=after_tick.model_dump_json(),
        )

    return landing


def _from(names: Sequence[str], begin: str | None) -> list[str]:
    """The names from `begin` on."""
    return [n for n in names if begin is None or n >= begin]
