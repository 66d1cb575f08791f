"""What there is to do: landed objects that are not in silver yet, and event dates that gold owes.

Belongs here: finding work from the lake's own memory. Who asks (a sensor, a schedule, the command line) and how it is
run is told elsewhere.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from datalake_assets.lake.engines.base import Engine
from datalake_assets.lake.gold.registry import gold_tables
from datalake_assets.lake.gold.table import GoldTable
from datalake_assets.lake.lake import Lake
from datalake_assets.lake.spec.columns import EVENT_DATE
from datalake_assets.lake.spec.dataset import Dataset
from datalake_assets.lake.store import delta
from datalake_assets.lake.store.landing import LandedObject, parse_partition
from datalake_assets.lake.store.step_log import Owed, is_stale, owed_dates


@dataclass(frozen=True, slots=True)
class LandingWork:
    """Objects of a dataset that wait, by partition, and where its sweep goes on (None: it has come round)."""

    waiting: Mapping[str, tuple[LandedObject, ...]]
    position: str | None


def find_landed(
    lake: Lake, dataset: Dataset, *, after: str | None, lookback: timedelta, limit: int, now: datetime
) -> LandingWork:
    """Look for landed objects that are not in silver yet.

    Looks at the folders of the last hours, where news is likely, and at the next `limit` objects of a sweep through
    everything, which finds what landed anywhere else. So a look costs the same however much the lake holds.
    """
    page = lake.landing.sweep(dataset, after=after, limit=limit, now=now)
    recent = lake.landing.recent(dataset, since=now - lookback, now=now)
    listed = {o.key: o for o in (*page.objects, *recent.objects)}
    seen = [o for o in map(lake.landing.identified, listed.values()) if o is not None]
    waiting: dict[str, list[LandedObject]] = {}
    for landed in lake.ledger.waiting(dataset.name, sorted(seen)):
        waiting.setdefault(landed.partition, []).append(landed)
    return LandingWork({p: tuple(objects) for p, objects in sorted(waiting.items())}, page.position)


def consecutive(partitions: Sequence[str], *, step: timedelta, most: int) -> Iterator[tuple[str, ...]]:
    """Partition keys in runs without a gap, of at most `most` each: each can be one range of one Dagster run."""
    run: list[str] = []
    for key in sorted(partitions):
        if run and (len(run) == most or parse_partition(key) - parse_partition(run[-1]) != step):
            yield tuple(run)
            run = []
        run.append(key)
    if run:
        yield tuple(run)


def owed_by_gold(lake: Lake, engine: Engine, *, now: datetime) -> dict[str, Owed]:
    """What each daily gold table has to compute, by its name; tables that owe nothing are left out."""
    rows = lake.step_log.recent_rows(now=now)
    owed: dict[str, Owed] = {}
    for name, table in gold_tables(lake.datasets).items():
        if not table.daily:
            continue
        debt = owed_dates(rows, table=name, sources=table.sources)
        stale = _stale_dates(lake, table, engine, now=now) - debt.withheld
        if debt.dates or debt.withheld or stale:
            lookups = {source: delta.position(lake.uri(source)) for source in table.lookups} if stale else {}
            owed[name] = Owed(debt.dates | stale, debt.withheld, {**debt.upto, **lookups})
    return owed


def clamp_date(day: date, *, first: date, today: date) -> date:
    """The gold partition that computes an event date: its own, or the first or the current one for dates outside."""
    return min(max(day, first), today)


def dates_of_partitions(lake: Lake, table: GoldTable, partitions: Sequence[str], *, now: datetime) -> set[date]:
    """The event dates that a run of gold partitions computes.

    They are the partitions' own dates; the first and the current partition take in the owed dates before and after.
    """
    dates = {date.fromisoformat(key) for key in partitions}
    edges = {lake.first_event_date, now.date()}
    if dates & edges:
        owed = owed_dates(lake.step_log.recent_rows(now=now), table=table.name, sources=table.sources)
        dates |= {
            d for d in owed.dates if clamp_date(d, first=lake.first_event_date, today=now.date()) in dates & edges
        }
    return dates


def stale_totals(lake: Lake, *, now: datetime) -> dict[str, dict[str, int]]:
    """The gold tables that are computed whole and whose sources have moved on, and how far these have come."""
    rows = lake.step_log.recent_rows(now=now)
    return {
        table.name: {source: delta.position(lake.uri(source)) for source in table.sources}
        for table in gold_tables(lake.datasets).values()
        if not table.daily
        and any(is_stale(rows, table=table.name, source=source.partition("/")[2]) for source in table.sources)
    }


def _stale_dates(lake: Lake, table: GoldTable, engine: Engine, *, now: datetime) -> frozenset[date]:
    """The dates whose rows show an older state of a lookup; looked for only when a lookup has moved on."""
    if table.stale is None:
        return frozenset()
    positions = {source: delta.position(lake.uri(source)) for source in table.lookups}
    if positions == lake.step_log.lookup_positions(table.name, sources=table.lookups, now=now):
        return frozenset()
    frames = {
        source: engine.scan(lake.uri(source), columns=lake.datasets[source.partition("/")[2]].columns)
        for source in table.lookups
    }
    frames[f"gold/{table.name}"] = engine.scan(lake.layout.gold_table(table.name), columns=table.columns)
    known = {source: frame for source, frame in frames.items() if frame is not None}
    if len(known) < len(frames):
        return frozenset()
    days = frozenset(row[EVENT_DATE] for row in engine.rows(table.stale(known)))
    if not days:
        lake.step_log.note_lookups(table.name, positions, engine=engine.name)
    return days
