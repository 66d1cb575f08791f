"""What Dagster's runs say about work: what is under way is not asked for again, what failed is asked for later.

Read from the run records by dataset and partition. Back-off for an object or a date is the lake's; the waits here are
for runs that fail without leaving a trace there (out of memory, a full disk).
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import dagster as dg
from dagster import DagsterRunStatus as Status
from dagster._core.execution.stats import StepEventStatus

from datalake_assets.assets.partitions import PARTITION_TAG, RANGE_END_TAG, RANGE_START_TAG, count_partitions
from datalake_assets.sensors.requests import REASON_TAG, Todo

CUT_TAG = "datalake/cut"
"""Marks a run that ended because its process was stopped or killed: its work is asked for again at once."""
UNFINISHED = [s for s in Status if s not in {Status.SUCCESS, Status.FAILURE, Status.CANCELED}]
MOST_WAITING = {"landing": 2, "gold_refresh": 3}
"""Runs of one sensor that wait at once, and one of a schedule: never more than 6 in all. Gold has one more, as its
newest days and its newest month are due at each tick while data land, and older ones must not wait for that to end."""

_REMEMBERED = timedelta(hours=2)
_LONGEST_WAIT = timedelta(minutes=30)
_FAILURES_READ = 50
_WAITING = {Status.QUEUED, Status.NOT_STARTED}


@dataclass(frozen=True, slots=True)
class KnownRun:
    """A run, as far as requests care.

    `assets` None: all of its job. `first` and `last` are its partitions, empty without. `done` are the steps that
    succeeded, and `ended` is when it failed (UTC); None while it is unfinished.
    """

    assets: frozenset[dg.AssetKey] | None
    first: str
    last: str
    done: frozenset[str] = frozenset()
    ended: datetime | None = None
    waiting: bool = False
    asked_by: str = ""

    def covers(self, todo: Todo, partition: str) -> bool:
        """Whether it is (or was) to do this partition."""
        if self.assets is not None and todo.table not in self.assets:
            return False
        # Keys of another cadence have another length; a table without partitions is done by a run over any.
        return not partition or (len(partition) == len(self.first) and self.first <= partition <= self.last)


@dataclass(frozen=True, slots=True)
class UnderWay:
    """What is under way at the moment `now`, and what failed lately; ranges have at most `most` partitions."""

    runs: tuple[KnownRun, ...]
    now: datetime
    most: int

    def limit(self, todo: Todo, partition: str) -> int:
        """How long a range with this partition may be; 0 while it is under way or waits after a failure.

        The wait after the n-th failure within two hours is 2^(n-1) minutes, half an hour at most. What failed in a
        range is asked for in one half as long.
        """
        known = [r for r in self.runs if r.covers(todo, partition)]
        if any(r.ended is None for r in known):
            return 0
        failures = [r for r in known if r.ended is not None and todo.step not in r.done]
        if not failures:
            return self.most
        wait = min(timedelta(minutes=2 ** min(len(failures) - 1, 10)), _LONGEST_WAIT)
        if self.now < max(r.ended for r in failures if r.ended) + wait:
            return 0
        every = todo.every
        return max(1, min(count_partitions(r.first, r.last, every=every) if every else 1 for r in failures) // 2)

    def room(self, asked_by: str) -> int:
        """How many more runs this sensor or schedule may ask for."""
        most = MOST_WAITING.get(asked_by, 1)
        return max(0, most - sum(r.waiting and r.asked_by == asked_by for r in self.runs))


def under_way(instance: dg.DagsterInstance, *, now: datetime, most: int) -> UnderWay:
    """Read the unfinished runs, whoever launched them, and the latest failed ones that were asked for here."""
    unfinished = instance.get_run_records(dg.RunsFilter(statuses=UNFINISHED))
    ended = dg.RunsFilter(statuses=[Status.FAILURE, Status.CANCELED], updated_after=now - _REMEMBERED)
    failed = [
        record
        for record in instance.get_run_records(ended, limit=_FAILURES_READ)
        if REASON_TAG in record.dagster_run.tags and CUT_TAG not in record.dagster_run.tags
    ]
    runs = (*(_known(r) for r in unfinished), *(_failed(instance, r) for r in failed))
    return UnderWay(runs, now, most)


def _known(record: dg.RunRecord, *, done: frozenset[str] = frozenset(), ended: datetime | None = None) -> KnownRun:
    run = record.dagster_run
    single = run.tags.get(PARTITION_TAG, "")
    return KnownRun(
        assets=None if run.asset_selection is None else frozenset(run.asset_selection),
        first=run.tags.get(RANGE_START_TAG, single),
        last=run.tags.get(RANGE_END_TAG, single),
        done=done,
        ended=ended,
        waiting=run.status in _WAITING,
        asked_by=run.tags.get("dagster/sensor_name") or run.tags.get("dagster/schedule_name", ""),
    )


def _failed(instance: dg.DagsterInstance, record: dg.RunRecord) -> KnownRun:
    stats = instance.get_run_step_stats(record.dagster_run.run_id)
    # A step that materialized did its work, or noted in the lake what it could not do, which has its own retries.
    done = frozenset(s.step_key for s in stats if s.status is StepEventStatus.SUCCESS or s.materialization_events)
    ended = datetime.fromtimestamp(record.end_time, UTC) if record.end_time else record.update_timestamp
    return _known(record, done=done, ended=ended)
