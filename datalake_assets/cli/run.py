"""Running the lake to its end without a daemon: the same sensors and the same assets, one run after the other.

Belongs here: the Dagster instance of the command line, the loop of ticks and runs, and clearing up after a run that
was killed. What sensors ask for, and what assets do, is theirs.
"""

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import dagster as dg

from datalake_assets.sensors.landing import SweepCursor
from datalake_assets.sensors.requests import REQUEST_TAG
from datalake_assets.settings import Settings

_LAUNCHER_TAG, _LAUNCHER = "datalake/launched_by", "datalake run"
_LOCK = "datalake-run.lock"
_UNFINISHED = [
    status
    for status in dg.DagsterRunStatus
    if status not in {dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED}
]
Tell = Callable[[str, int, int], None]


class BusyError(RuntimeError):
    """Another `datalake run` is at work on the same instance."""


@dataclass
class Outcome:
    """The runs that were made: how many succeeded, and what became of those that failed (run id, reason)."""

    succeeded: int = 0
    failed: list[tuple[str, str]] = field(default_factory=list)
    interrupted: bool = False


def open_instance(settings: Settings) -> dg.DagsterInstance:
    """The Dagster instance of `DAGSTER_HOME`; without it one beside the lake's tables, made when missing.

    A local lake's own instance is `<root>/.dagster`; it takes up the `dagster.yaml` of the working directory.
    """
    if not os.environ.get("DAGSTER_HOME"):
        layout = settings.layout
        home = Path(layout.root if layout.is_local else ".").absolute() / ".dagster"
        home.mkdir(parents=True, exist_ok=True)
        config = Path("dagster.yaml").absolute()
        if config.exists() and not (home / config.name).exists():
            (home / config.name).symlink_to(config)
        os.environ["DAGSTER_HOME"] = str(home)
    Path(os.environ["DAGSTER_HOME"]).mkdir(parents=True, exist_ok=True)
    return dg.DagsterInstance.get()


def run_to_the_end(definitions: dg.Definitions, instance: dg.DagsterInstance, *, tell: Tell) -> Outcome:
    """Process all that has landed, to gold.

    `tell` is called before each run with what it is for, its number, and how many are known so far. Work whose run
    failed is not tried again. Raises `BusyError` while another `datalake run` uses the instance.
    """
    with alone(instance):
        _bury_orphans(instance)
        return _Loop(definitions, instance, tell).run()


class _Loop:
    def __init__(self, definitions: dg.Definitions, instance: dg.DagsterInstance, tell: Tell) -> None:
        self._definitions = definitions
        self._instance = instance
        self._tell = tell
        self._job = definitions.resolve_implicit_global_asset_job_def()
        self._tried: set[str] = set()
        self._outcome = Outcome()

    def run(self) -> Outcome:
        repository = self._definitions.get_repository_def()
        names = sorted(sensor.name for sensor in repository.sensor_defs)
        landing = [name for name in names if name.endswith("_landing")]
        others = [name for name in names if name not in landing]
        while not self._outcome.interrupted:
            before = len(self._tried)
            for name in landing:
                self._until_round(name)
            for name in others:
                while self._tick(name, SweepCursor(patient=False))[1]:
                    pass
            if len(self._tried) == before:
                break
        return self._outcome

    def _until_round(self, sensor: str) -> None:
        """Tick a landing sensor until its sweep has come round."""
        cursor, _ = self._tick(sensor, SweepCursor(patient=False))
        while not cursor.is_round and not self._outcome.interrupted:
            cursor, _ = self._tick(sensor, cursor)

    def _tick(self, sensor: str, cursor: SweepCursor) -> tuple[SweepCursor, int]:
        """Evaluate a sensor once and run what it asks for; returns its cursor and how many runs were made."""
        with dg.build_sensor_context(
            instance=self._instance,
            cursor=cursor.model_dump_json(),
            definitions=self._definitions,
            sensor_name=sensor,
        ) as context:
            tick = self._definitions.resolve_sensor_def(sensor).evaluate_tick(context)
        requests = [r for r in tick.run_requests or [] if r.tags[REQUEST_TAG] not in self._tried]
        for number, request in enumerate(requests, start=1):
            if self._outcome.interrupted:
                break
            self._tried.add(request.tags[REQUEST_TAG])
            self._tell(_title(request), number, len(requests))
            self._run(request)
        return SweepCursor.parse(tick.cursor), len(requests)

    def _run(self, request: dg.RunRequest) -> None:
        result = self._job.execute_in_process(
            instance=self._instance,
            asset_selection=list(request.asset_selection or []),
            partition_key=request.partition_key,
            tags={**request.tags, "dagster/run_key": request.run_key or "", _LAUNCHER_TAG: _LAUNCHER},
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
            raise_on_error=False,
        )
        if result.success:
            self._outcome.succeeded += 1
            return
        failures = [event.step_failure_data.error for event in result.all_events if event.is_step_failure]
        told = [f.cause or f for f in failures if f]
        self._outcome.interrupted = any("Interrupt" in (f.cls_name or "") for f in told)
        self._outcome.failed.append((result.run_id, "; ".join(f.message.strip() for f in told) or _title(request)))


def _title(request: dg.RunRequest) -> str:
    names = ", ".join(key.to_user_string() for key in request.asset_selection or [])
    first = request.partition_key or request.tags.get("dagster/asset_partition_range_start")
    last = request.tags.get("dagster/asset_partition_range_end")
    return f"{names} {first or ''}{f' to {last}' if last else ''}".strip()


def _bury_orphans(instance: dg.DagsterInstance) -> None:
    """Fail the runs of a `datalake run` that was killed, and free the pool slots that they still hold.

    The lock is held, so none of them can be alive; without this the next run would wait for their slots for ever.
    """
    unfinished = dg.RunsFilter(tags={_LAUNCHER_TAG: _LAUNCHER}, statuses=_UNFINISHED)
    for record in instance.get_run_records(filters=unfinished):
        instance.report_run_failed(record.dagster_run, "the process that ran it was killed")
    for run_id in instance.event_log_storage.get_concurrency_run_ids():
        run = instance.get_run_by_id(run_id)
        if run is None or run.is_finished:
            instance.event_log_storage.free_concurrency_slots_for_run(run_id)


@contextmanager
def alone(instance: dg.DagsterInstance) -> Iterator[None]:
    """Hold the instance for one `datalake run`; raises `BusyError` while another holds it."""
    with (Path(instance.root_directory) / _LOCK).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BusyError("another `datalake run` is at work on this lake; wait for it, or stop it") from None
        yield
