"""From work to run requests: which runs do what there is to do, and how a run is asked for.

Pure functions, shared by sensors, schedule and `datalake run`: what the planning functions found goes in, runs come
out. What is under way or failed lately is told by `under_way.py`, through a `Limit`.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

import dagster as dg

from datalake_assets.assets.beginnings import EARLIER_TAG, Beginnings
from datalake_assets.assets.bronze import bronze_key
from datalake_assets.assets.gold import gold_key
from datalake_assets.assets.jobs import GOLD_JOB, gold_job_name, landing_job_name
from datalake_assets.assets.partitions import PARTITION_TAG, Cadence, consecutive, range_tags
from datalake_assets.assets.silver import ONLY_WAITING_TAG, silver_key, silver_keys
from datalake_assets.lake.lake import Lake
from datalake_assets.lake.steps.planning import GoldWork, LandingWork

DATASET_TAG, REASON_TAG = "datalake/dataset", "datalake/reason"
_PRIORITY = {"dagster/priority": "-1"}  # people's runs have 0 and go first
_NAMES_SHOWN = 8
_GAP = 6
"""How many partitions without anything to do a run takes along: each costs about a tenth of another run."""


@dataclass(frozen=True, slots=True)
class Todo:
    """Partitions of one dataset or gold table that have work to do.

    `table` is the asset whose step does the work, `assets` all that are materialized with it. What is older than the
    partition `first` belongs to it. A table that is computed whole has no partitions: `every` is None, and its only
    partition key is the empty string.
    """

    name: str
    table: dg.AssetKey
    assets: tuple[dg.AssetKey, ...]
    job: str
    every: Cadence | None
    partitions: frozenset[str]
    first: str = ""

    @property
    def step(self) -> str:
        """The key of the step that does the work in a run."""
        return "_".join(self.table.path)


Limit = Callable[[Todo, str], int]
"""How long a range that holds this partition may be at most, in partitions; 0: it is not asked for now."""


@dataclass(frozen=True, slots=True)
class PlannedRun:
    """One run over consecutive partitions of some datasets, or of some gold tables."""

    todos: tuple[Todo, ...]
    partitions: tuple[str, ...]

    @property
    def title(self) -> str:
        """What it does, in a few words: `silver of orders, web_events 2026-01-01-00:00 to 2026-01-01-05:00`."""
        zone = self.todos[0].table.path[0]
        where = " to ".join(dict.fromkeys((*self.partitions[:1], *self.partitions[-1:])))
        return f"{zone} of {_names(self.todos)} {where}".rstrip()

    @property
    def assets(self) -> list[dg.AssetKey]:
        """What it materializes."""
        return [key for todo in self.todos for key in todo.assets]

    @property
    def pieces(self) -> frozenset[tuple[str, str]]:
        """The (step, partition) pairs that it does."""
        return frozenset((t.step, p) for t in self.todos for p in (self.partitions if t.every else ("",)))

    def request(self, *, reason: str, named: bool = False) -> dg.RunRequest:
        """Ask Dagster for it; `named`: for a schedule, which tells its runs apart by name and has one job for all."""
        single = self.partitions[0] if len(self.partitions) == 1 else None
        return dg.RunRequest(
            run_key=self.title if named else None,
            job_name=None if named else self.todos[0].job,
            asset_selection=self.assets,
            partition_key=None if named else single,
            tags=self.tags(reason=reason),
        )

    def tags(self, *, reason: str) -> dict[str, str]:
        """The tags of the run: what it is for and why, and its partitions."""
        tags = {DATASET_TAG: _names(self.todos), REASON_TAG: reason, **_PRIORITY}
        if self.todos[0].job != GOLD_JOB:
            tags[ONLY_WAITING_TAG] = "true"
        if self.partitions and any(todo.first == self.partitions[0] for todo in self.todos):
            tags[EARLIER_TAG] = "true"
        if len(self.partitions) > 1:
            tags |= range_tags(self.partitions)
        elif self.partitions:
            tags[PARTITION_TAG] = self.partitions[0]
        return tags


def landing_todos(lake: Lake, work: Mapping[str, LandingWork], begins: Beginnings) -> list[Todo]:
    """What waits in bronze, by dataset."""
    found = ((lake.datasets[name], waiting.waiting) for name, waiting in work.items() if waiting.waiting)
    return [
        Todo(
            name=dataset.name,
            table=silver_key(dataset),
            assets=(bronze_key(dataset), *silver_keys(dataset)),
            job=landing_job_name(dataset),
            every=dataset.landing.cadence,
            partitions=frozenset(map(begins.landing_partition, waiting)),
            first=begins.first_landing(dataset),
        )
        for dataset, waiting in found
    ]


def gold_todos(lake: Lake, work: Mapping[str, GoldWork], begins: Beginnings, *, today: date) -> list[Todo]:
    """What gold tables have to compute; dates outside the partitions belong to the first one or today's.

    A table that is computed whole is due with the gold tables that it is made of: one run does both, in that order.
    """
    changing = {f"gold/{name}" for name, owed in work.items() if owed.dates}
    todos = []
    for name, table in sorted(lake.gold_tables.items()):
        owed = work.get(name, GoldWork())
        whole = {""} if owed.whole or any(source.table in changing for source in table.sources) else set()
        daily = (begins.gold_partition(table, day, today=today) for day in owed.dates)
        partitions = frozenset(daily if table.daily else whole)
        if partitions:
            key, job = gold_key(table), gold_job_name(table)
            by_date: Cadence = "monthly" if table.monthly else "daily"
            every = by_date if table.daily else None
            first = begins.first(table).isoformat()
            todos.append(Todo(name, key, (key,), job=job, every=every, partitions=partitions, first=first))
    return todos


def planned_runs(todos: Iterable[Todo], *, limit: Limit, most: int) -> list[PlannedRun]:
    """As few runs as do the work, the newest partitions first.

    Datasets (or gold tables) that have the same range of partitions to do share a run. What `limit` puts below `most`
    failed lately: it runs by itself, in ranges as short as that, so that it takes no neighbour along. Tables that are
    computed whole join the first run of gold.
    """
    ranges: dict[tuple[str, str, tuple[str, ...]], list[Todo]] = {}
    for todo in todos:
        by_limit: dict[int, list[str]] = {}
        for partition in todo.partitions:
            by_limit.setdefault(min(limit(todo, partition), most), []).append(partition)
        for length, partitions in by_limit.items():
            by_itself = todo.step if length < most else ""
            for keys in _ranges(todo, partitions, length):
                ranges.setdefault((todo.job, by_itself, keys), []).append(todo)
    ordered = sorted(ranges.items(), key=lambda entry: entry[0][2][-1:], reverse=True)
    cut = [(by_itself, PlannedRun(tuple(together), keys)) for (_, by_itself, keys), together in ordered]
    return _with_totals(cut)


def _ranges(todo: Todo, partitions: Sequence[str], length: int) -> Iterable[tuple[str, ...]]:
    if not length:
        return ()
    gap = _GAP if todo.table.path[0] == "silver" else 0  # a date of gold would be computed for nothing
    return consecutive(partitions, every=todo.every, most=length, gap=gap) if todo.every else ((),)


def _with_totals(cut: Sequence[tuple[str, PlannedRun]]) -> list[PlannedRun]:
    """Let the tables without partitions that did not fail join the first run over dates of the same job."""
    totals = next((run for by_itself, run in cut if not by_itself and not run.partitions), None)
    runs = [run for _, run in cut]
    host = next((run for by_itself, run in cut if not by_itself and run.partitions), None)
    if totals is None or host is None or host.todos[0].job != totals.todos[0].job:
        return runs
    joined = PlannedRun(host.todos + totals.todos, host.partitions)
    return [joined if run is host else run for run in runs if run is not totals]


def _names(todos: Sequence[Todo]) -> str:
    names = [todo.name for todo in todos]
    more = len(names) - _NAMES_SHOWN
    return ", ".join(names[:_NAMES_SHOWN]) + (f" and {more} more" if more > 0 else "")
