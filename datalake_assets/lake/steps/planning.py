"""What there is to do: landed objects that are not in silver, and what gold owes.

Belongs here: finding work from the lake's own memory. Sensors, schedules, the command line and the computing step ask
the same functions, so what is asked for is what is computed. Who asks, and how it is run, is told elsewhere.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta

import polars as pl

from datalake_assets.lake.lake import Lake
from datalake_assets.lake.spec.dataset import Dataset
from datalake_assets.lake.steps.checks import judge_again
from datalake_assets.lake.steps.shape import ShapeChangedError, require_shape
from datalake_assets.lake.store.landing import LandedObject
from datalake_assets.lake.store.outcome import PROCESSED
from datalake_assets.lake.store.pending import Debt
from datalake_assets.lake.store.snapshot import Snapshot

_EVERYTHING = 2**62

EVERYTHING = 2**62
"""More objects than any lake holds: a look with this limit comes round at once."""


@dataclass(frozen=True, slots=True)
class LandingWork:
    """Objects of a dataset that wait.

    `waiting` counts those to be read now, by partition; `later` tells, one line each, what waits for a later try or
    could not be looked at; `position` is where a sweep goes on (None: it has come round).
    """

    waiting: Mapping[str, int]
    later: tuple[str, ...] = ()
    position: str | None = None


@dataclass(frozen=True, slots=True)
class GoldWork:
    """What a gold table owes: dates to compute now (or the `whole` table), dates held back, tries that come later."""

    dates: frozenset[date] = frozenset()
    whole: bool = False
    withheld: Mapping[date, str] = field(default_factory=dict)
    later: Mapping[str, datetime] = field(default_factory=dict)

    @property
    def is_due(self) -> bool:
        """Whether there is anything to compute now."""
        return self.whole or bool(self.dates)


def landing_work(
    lake: Lake, dataset: Dataset, *, after: str | None, lookback: timedelta, limit: int, now: datetime
) -> LandingWork:
    """Look for landed objects that are not in silver yet.

    Looks at the folders of the last hours, where news is likely, and at the next `limit` objects of a sweep through
    everything, which finds what landed anywhere else. So a look costs the same however much the lake holds. A dataset
    that must be rebuilt first has nothing to read: its objects wait.
    """
    page = lake.landing.sweep(dataset, after=after, limit=limit, now=now)
    recent = lake.landing.recent(dataset, since=now - lookback, now=now)
    found = waiting_work(lake, dataset, [*page.objects, *recent.objects], now=now)
    later = (*page.unlisted, *recent.unlisted, *found.later)
    return LandingWork(found.waiting, later, page.position)


def waiting_work(
    lake: Lake, dataset: Dataset, listed: Sequence[LandedObject], *, now: datetime, with_known: bool = False
) -> LandingWork:
    """Which of some landed objects are not in silver yet; `with_known` also what the ledger has waiting besides."""
    found = lake.ledger.waiting(dataset, listed, identify=lake.landing.identified, now=now)
    if found.known:
        lake.ledger.admit(dataset, found.known, identify=lake.landing.identified, now=now)
    due = {landed.key: landed.partition for landed in found.now}
    if with_known:
        due = {o.landed.key: o.landed.partition for o in lake.ledger.to_read(dataset.name, None, now=now)} | due
    if due:
        try:
            _require_shape(lake, dataset)
        except ShapeChangedError as error:
            return LandingWork({}, (*found.later, str(error)))
    return LandingWork(dict(sorted(Counter(due.values()).items())), tuple(found.later))


def gold_work(lake: Lake, *, now: datetime) -> dict[str, GoldWork]:
    """What each gold table owes, by its name; tables that owe nothing are left out."""
    lake = lake.as_found()
    consumers = [lake.consumer(gold) for gold in lake.gold_tables.values()]
    debts = lake.pending.look(consumers, lake.sources())
    judge_again(lake)
    held = lake.verdicts.held()
    work = {name: _work(lake, name, debt, held, now) for name, debt in debts.items()}
    return {name: w for name, w in work.items() if w.is_due or w.withheld or w.later}


def _work(lake: Lake, name: str, debt: Debt, held: Mapping[str, Mapping[date, str]], now: datetime) -> GoldWork:
    gold = lake.gold_tables[name]
    later: dict[str, datetime] = {}
    withheld: dict[date, str] = {}
    dates: set[date] = set()
    whole = False
    for day, sources in sorted(debt.due.items(), key=lambda item: item[0] or date.min):
        if day in debt.retries and debt.retries[day][0] > now:
            label = f"gold/{name} {day or ''}".strip()
            later[f"{label}: {debt.retries[day][1]}"] = debt.retries[day][0]
            continue
        if day is None:
            whole = True
            continue
        changed = {name for name in map(gold.dataset_of, sources) if name is not None}
        names = changed if gold.by_source else set(gold.datasets)
        reasons = {n: held[n][day] for n in sorted(names) if day in held.get(n, {})}
        if reasons and (not gold.by_source or reasons.keys() >= changed):
            withheld[day] = "; ".join(reasons.values())
        else:
            dates.add(day)
    if debt.lookups:
        dates.add(now.date())  # any run of the table finds the dates that show what changed
    return GoldWork(frozenset(dates), whole, withheld, later)


def landing_undone(work: Mapping[str, LandingWork]) -> list[str]:
    """What a look for landed objects (by dataset) left undone, one line each, with the reason."""
    lines: list[str] = []
    for name, found in work.items():
        lines += [f"{name} {partition}: {n} objects wait" for partition, n in found.waiting.items()]
        lines += [line if line.startswith(name) else f"{name}: {line}" for line in found.later]
    return lines


def gold_undone(work: Mapping[str, GoldWork]) -> list[str]:
    """What gold tables (by name) still owe, one line each, with the reason."""
    lines: list[str] = []
    for name, gold in work.items():
        lines += [f"gold/{name} {day}: not computed" for day in sorted(gold.dates)]
        lines += [f"gold/{name}: not computed"] if gold.whole else []
        lines += [f"{reason}; next try {at:%Y-%m-%d %H:%M} UTC" for reason, at in gold.later.items()]
    return lines + gold_withheld(work)


def gold_withheld(work: Mapping[str, GoldWork]) -> list[str]:
    """One line for each event date that gold tables (by name) withhold: which tables, and why."""
    tables: dict[tuple[date, str], list[str]] = {}
    for name, owed in sorted(work.items()):
        for day, reason in owed.withheld.items():
            tables.setdefault((day, reason), []).append(f"gold/{name}")
    return [f"{', '.join(names)} {day}: held back by {reason}" for (day, reason), names in sorted(tables.items())]


def undone(lake: Lake, *, now: datetime) -> list[str]:
    """What is left to do, one line each, with the reason; lists everything that ever landed."""
    seen = {
        name: landing_work(lake, dataset, after=None, lookback=timedelta(0), limit=_EVERYTHING, now=now)
        for name, dataset in lake.datasets.items()
    }
    lines = unfit_tables(lake) + landing_undone(seen) + gold_undone(gold_work(lake, now=now))
    return list(dict.fromkeys(lines))


def unfit_tables(lake: Lake) -> list[str]:
    """The datasets whose silver has to be rebuilt, one line each.

    It has another form than the dataset file asks for, or it is not there although the ledger has objects in it.
    """
    lines = []
    for name, dataset in lake.datasets.items():
        try:
            silver = _require_shape(lake, dataset)
        except ShapeChangedError as error:
            lines.append(str(error))
            continue
        if not silver.exists:
            objects = lake.ledger.rows(name).filter(pl.col("rows_out") > 0).height
            if objects:
                lines.append(
                    f"{name}: silver/{name} is gone, though {objects:,} objects were brought to it; "
                    f"run `datalake rebuild {name}`"
                )
    return lines


def _require_shape(lake: Lake, dataset: Dataset) -> Snapshot:
    """A dataset's silver as it is. Raises `ShapeChangedError` where it must be rebuilt first."""
    silver = lake.silver(dataset).open()  # before what was found is asked for, which is always ahead of it
    require_shape(silver, lake.as_found().datasets[dataset.name])
    return silver


def outdated_partitions(lake: Lake, dataset: Dataset, *, now: datetime) -> dict[str, int]:
    """The partitions with objects that were read under an older contract, and how many of these can be read again."""
    older = still_landed(lake, dataset, outdated(lake, dataset), now=now)
    return dict(older.group_by("partition").len().sort("partition").iter_rows())


def outdated(lake: Lake, dataset: Dataset) -> pl.DataFrame:
    """The rows of the ledger whose objects were read under an older contract, also of those deleted since."""
    rows = lake.ledger.rows(dataset.name)
    return rows.filter(pl.col("status") == PROCESSED, pl.col("contract") != dataset.contract)


def still_landed(lake: Lake, dataset: Dataset, rows: pl.DataFrame, *, now: datetime) -> pl.DataFrame:
    """Those of some rows of the ledger whose objects have not been deleted; lists their partitions."""
    partitions = rows["partition"].unique().to_list()
    there = {landed.key for landed in lake.landing.objects_of(dataset, partitions, now=now).objects}
    return rows.filter(pl.col("key").is_in(list(there)))


def admit(
    lake: Lake, dataset: Dataset, partitions: Sequence[str], *, now: datetime, earlier: bool = False
) -> tuple[list[LandedObject], int]:
    """Enter the landed objects of some partitions (with `earlier` those of all before them too) in the ledger.

    Returns the objects that lie there now, and how many of them the ledger did not know.
    """
    found = lake.landing.objects_of(dataset, partitions, now=now, earlier=earlier)
    return found.objects, lake.ledger.admit(dataset, found.objects, identify=lake.landing.identified, now=now)
