"""Running the lake to its end without a daemon: the work that the planning functions find, one run after the other.

Belongs here: the loop of planning and runs, and what is told of it. What there is to do, and which runs do it, is
asked of the functions that sensors ask too. Signals and dead runs have modules of their own.
"""

import time
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property

import dagster as dg

from datalake_assets.assets.beginnings import Beginnings
from datalake_assets.cli.dead_runs import bury_dead_runs, end_run, free_slots, process_tag
from datalake_assets.cli.event_log import swift_event_log
from datalake_assets.cli.instance import alone
from datalake_assets.cli.outcome import Outcome, look_around
from datalake_assets.cli.stopping import Stop
from datalake_assets.definitions import build_definitions, first_partitions
from datalake_assets.lake.lake import Lake
from datalake_assets.lake.steps.planning import gold_undone, gold_work, landing_undone, unfit_tables
from datalake_assets.sensors.looking import Landed
from datalake_assets.sensors.requests import PlannedRun, Todo, gold_todos, landing_todos, planned_runs
from datalake_assets.sensors.under_way import CUT_TAG
from datalake_assets.settings import Settings

COMMAND = "datalake run"
_QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
_MOST_FAILURES = 10
"""Failed runs of one dataset or gold table after which the rest of it is left; halving 168 partitions takes 8."""
_MOST_TIMES = 3
"""How often the same partition is done in one invocation: more is for what lands meanwhile."""
Tell = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class _Failed:
    """A failed run: its id, why it failed, and the pieces it left, with how often each had been done before."""

    run_id: str
    reason: str
    left: dict[tuple[str, str], int]


class Runs:
    """The runs of one `datalake run`; `running` is the id of the one that executes now.

    `found` is what a look around has found just now; the first runs go by it.
    """

    def __init__(
        self,
        settings: Settings,
        instance: dg.DagsterInstance,
        *,
        tell: Tell,
        stop: Stop | None = None,
        lake: Lake | None = None,
        found: Landed | None = None,
    ) -> None:
        self.outcome = Outcome()
        self.running: str | None = None
        self._settings = settings
        self._instance = instance
        self._tell = tell
        self._stop = stop or Stop()
        self._stop.clear_up = self.cut
        self._lake = lake or settings.lake()
        self._found = found
        self._limits: dict[tuple[str, str], int] = {}
        self._failures: dict[str, int] = {}
        self._times: dict[tuple[str, str], int] = {}
        self._failed: list[_Failed] = []
        self._left: list[str] = []

    @cached_property
    def _begins(self) -> Beginnings:
        """Where the partitions of runs begin, looked for when there is something to run."""
        return first_partitions(self._lake, self._settings)

    @cached_property
    def _job(self) -> dg.JobDefinition:
        """The job over all assets, built when there is something to run."""
        definitions = build_definitions(self._settings, lake=self._lake, begins=self._begins)
        return definitions.resolve_implicit_global_asset_job_def()

    def _begin_anew(self) -> None:
        """Let the partitions begin with the first data that there are by now."""
        before = vars(self).pop("_begins", None)
        if self._begins != before:
            vars(self).pop("_job", None)

    def to_the_end(self) -> Outcome:
        """Process all that has landed, to gold, until nothing is left or all that is left failed here.

        Raises `BusyError` while another `datalake run` uses the instance, and `StoppedError` at a signal.
        """
        began = time.monotonic()
        with alone(self._instance, command=COMMAND), swift_event_log(self._instance):
            bury_dead_runs(self._instance)
            while self._land() + self._refresh_gold():
                pass
            self.outcome.failed = [(f.run_id, f.reason) for f in self._failed if not self._is_made_good(f)]
            last_look = [*unfit_tables(self._lake), *self._left]  # nothing was left to run
            self.outcome.undone = list(dict.fromkeys(last_look))
            self.outcome.seconds = time.monotonic() - began
            return self.outcome

    def cut(self, reason: str) -> None:
        """End what was under way when the process has to go, and free its pool slots."""
        if self.running is not None:
            end_run(self._instance, self.running, reason=reason)
        free_slots(self._instance)

    def _land(self) -> int:
        found, self._found = self._found or look_around(self._settings, self._lake), None
        self._left = [*found.faults.values(), *landing_undone(found.work)]
        if not any(work.waiting for work in found.work.values()):
            return 0
        todos = landing_todos(self._lake, found.work, self._begins)
        return self._do(todos, reason="objects landed that are not in silver")

    def _refresh_gold(self) -> int:
        now = datetime.now(UTC)
        work = gold_work(self._lake, now=now)
        self._left += gold_undone(work)
        if not any(owed.is_due for owed in work.values()):
            return 0
        self._begin_anew()  # silver has event dates that nobody knew of before
        todos = gold_todos(self._lake, work, self._begins, today=now.date())
        return self._do(todos, reason="silver touched these dates")

    def _do(self, todos: Iterable[Todo], *, reason: str) -> int:
        """Make the runs that do some work; returns how many were made."""
        runs = planned_runs(todos, limit=self._limit, most=self._settings.partitions_per_run)
        for number, run in enumerate(runs, start=1):
            self._stop.check()
            self._tell(run.title, number, len(runs))
            self._execute(run, reason=reason)
            self._stop.check()
        return len(runs)

    def _limit(self, todo: Todo, partition: str) -> int:
        """As a sensor's, for one invocation: no waits, and what failed alone is not tried again."""
        piece = (todo.step, partition)
        if self._failures.get(todo.step, 0) >= _MOST_FAILURES or self._times.get(piece, 0) >= _MOST_TIMES:
            return 0
        return self._limits.get(piece, self._settings.partitions_per_run)

    def _execute(self, run: PlannedRun, *, reason: str) -> None:
        self.running = str(uuid.uuid4())
        single = run.partitions[0] if len(run.partitions) == 1 else None
        result = self._job.execute_in_process(
            instance=self._instance,
            run_id=self.running,
            asset_selection=run.assets,
            partition_key=single,
            tags={**run.tags(reason=reason), **process_tag()},
            run_config=_QUIET,
            raise_on_error=False,
        )
        if self._stop.signal is not None:
            self._instance.add_run_tags(self.running, {CUT_TAG: self._stop.reason})
        self._note(run, result)
        self.running = None

    def _note(self, run: PlannedRun, result: dg.ExecuteInProcessResult) -> None:
        # A step that materialized did its work, or noted in the lake what it could not do, which has its own retries.
        done = {e.step_key for e in result.all_events if e.is_step_success or e.is_step_materialization}
        left = frozenset(piece for piece in run.pieces if piece[0] not in done)
        length = len(run.partitions) or 1
        for step in {step for step, _ in left}:
            self._failures[step] = self._failures.get(step, 0) + 1
        self._limits |= dict.fromkeys(left, length // 2)
        self._count(result)
        for piece in run.pieces - left:
            self._times[piece] = self._times.get(piece, 0) + 1
        if result.success:
            self.outcome.succeeded += 1
            return
        failures = [event.step_failure_data.error for event in result.all_events if event.is_step_failure]
        told = [(error.cause or error).message.strip() for error in failures if error]
        reason = f"{run.title}: {'; '.join(told) or 'no step told why'}"
        self._failed.append(_Failed(result.run_id, reason, {piece: self._times.get(piece, 0) for piece in left}))

    def _count(self, result: dg.ExecuteInProcessResult) -> None:
        new: dict[str, int] = {}  # what a run over several partitions says of itself stands with each of them
        for event in result.all_events:
            if not event.is_step_materialization or event.asset_key is None:
                continue
            zone, name = event.asset_key.path[0], event.asset_key.path[-1]
            metadata = event.step_materialization_data.materialization.metadata
            told = {key: str(found.value) for key, found in metadata.items()}
            if zone == "bronze":
                new[name] = int(told.get("objects_new", 0))
            if zone == "silver" and name in self._lake.datasets:  # a history is written from the same records
                self.outcome.records += int(told.get("rows_in", 0))
            self.outcome.dates += zone == "gold" and event.partition is not None
        self.outcome.objects += sum(new.values())

    def _is_made_good(self, failed: "_Failed") -> bool:
        """Whether what a run left was done by later ones; what a check refused is not made good by doing it again."""
        return bool(failed.left) and all(self._times.get(piece, 0) > before for piece, before in failed.left.items())


def run_to_the_end(settings: Settings, instance: dg.DagsterInstance, *, tell: Tell) -> Outcome:
    """Process all that has landed, to gold.

    `tell` is called before each run with what it is for, its number, and how many are known so far. Work that failed
    in a range is tried again in halves of it, so that one bad partition stops no neighbour. Raises `BusyError` while
    another `datalake run` uses the instance.
    """
    return Runs(settings, instance, tell=tell).to_the_end()
