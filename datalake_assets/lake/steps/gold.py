"""A gold step: some event dates of a gold table computed from silver as it is, and taken out of what gold owes.

Dates that a blocking verdict holds back are left as they are, and so are, in a table by source, the held source's rows;
in a table that gets other columns they are left out.
A date that can't be computed stops no other: a range that fails is cut in two until the date is found, and that one is
tried again later. A commit rests on the rows of its dates as they were before anything was read, so that a step that
read older sources never writes over one that read newer ones.
"""

from calendar import monthrange
from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any

import narwhals as nw
import polars as pl
from deltalake.exceptions import DeltaError
from deltalake.transaction import AddAction

from datalake_assets.lake.gold.table import GoldTable, Lookup
from datalake_assets.lake.lake import Lake
from datalake_assets.lake.spec.columns import EVENT_DATE
from datalake_assets.lake.steps.context import Step
from datalake_assets.lake.steps.gold_rows import rows_in_lots
from datalake_assets.lake.steps.messages import PartitionCounts, StepReport
from datalake_assets.lake.store.conflicts import ConflictError, until_undisturbed
from datalake_assets.lake.store.notes import CommitNotes
from datalake_assets.lake.store.pending import Debt, Version
from datalake_assets.lake.store.snapshot import Snapshot

_STORAGE_FAULTS = (ConflictError, OSError, DeltaError, MemoryError)  # not of a date's making: they fail the step
_SHOWN = 300


@dataclass(slots=True)
class _Done:
    """What a step has computed: rows by date, and why dates failed."""

    rows: dict[date | None, int] = field(default_factory=dict)
    failed: dict[date | None, str] = field(default_factory=dict)
    withheld: dict[date, str] = field(default_factory=dict)


def compute_gold(
    step: Step, gold: GoldTable, partitions: Collection[date], *, only_due: bool = False, earlier: bool = False
) -> StepReport:
    """Compute some partitions of a gold table (all of a table that is not daily), or `only_due` what they owe.

    A partition goes by its first day. The current one takes in what is due after it, and the first of these, with
    `earlier`, what is due before it.
    """
    lake = step.lake
    debt = lake.pending.look([lake.consumer(gold)], lake.sources())[gold.name]
    done = _Done()
    if debt.lookups:
        with step.stage("lookups"):
            _find_dates_of_lookups(step, gold, debt)
        debt = lake.pending.look([lake.consumer(gold)], lake.sources())[gold.name]
    if not gold.daily:
        _attempt(step, gold, None, frozenset(), done)
    elif not lake.table(gold.spec).open().fits:
        without = {name: days for name, days in lake.verdicts.held().items() if name in gold.datasets}
        done.withheld = {day: reason for days in without.values() for day, reason in days.items()}
        settles = {*debt.due, *debt.retries} - done.withheld.keys()
        _attempt(step, gold, None, frozenset(), done, settles=settles, without=without)
    else:
        first = min(partitions) if earlier else date.min
        wanted = dates_to_compute(gold, partitions, debt, first=first, today=step.started_at.date())
        wanted = wanted & debt.due.keys() if only_due else wanted
        for held, days in _groups(lake, gold, wanted, done).items():
            _attempt(step, gold, days, held, done)
    if done.failed:
        lake.pending.postpone(gold.name, done.failed, now=datetime.now(UTC))
    return _report(step, gold, done)


def partition_of(gold: GoldTable, day: date, *, first: date, today: date) -> date:
    """The partition that computes an event date, by its first day.

    Its day or month, or the first or the current one for dates outside.
    """
    within = min(max(day, first), today)
    return within.replace(day=1) if gold.monthly else within


def dates_to_compute(
    gold: GoldTable, partitions: Collection[date], debt: Debt, *, first: date, today: date
) -> set[date]:
    """The event dates that gold partitions stand for: their own, and the due ones that belong to an outermost one."""

    def begin(day: date) -> date:
        return partition_of(gold, day, first=first, today=today)

    begins = {begin(day) for day in partitions}
    due = {day for day in debt.due if day is not None and begin(day) in begins}
    if gold.monthly:
        return due | {day.replace(day=n + 1) for day in begins for n in range(monthrange(day.year, day.month)[1])}
    return due | set(partitions)


def _groups(lake: Lake, gold: GoldTable, dates: Collection[date], done: _Done) -> dict[frozenset[str], set[date]]:
    """Dates by the datasets that are held back on them; those on which nothing can be computed are withheld."""
    held = {name: days for name, days in lake.verdicts.held().items() if name in gold.datasets}
    groups: defaultdict[frozenset[str], set[date]] = defaultdict(set)
    for day in sorted(dates):
        names = frozenset(name for name, days in held.items() if day in days)
        if names and (not gold.by_source or names >= set(gold.datasets)):
            done.withheld[day] = held[min(names)][day]
        else:
            if names:
                done.withheld[day] = held[max(names)][day]
            groups[names].add(day)
    return groups


def _attempt(
    step: Step,
    gold: GoldTable,
    dates: set[date] | None,
    held: frozenset[str],
    done: _Done,
    *,
    settles: Collection[date | None] | None = None,
    without: Mapping[str, Collection[date]] | None = None,
) -> None:
    """Compute dates (None: the whole table, `without` those of some datasets) and settle them.

    A range that fails is cut in two.
    """
    try:
        read = until_undisturbed(
            lambda: _compute(step, gold, dates, held, done, without=without or {}), what=f"gold/{gold.name}"
        )
    except _STORAGE_FAULTS:
        raise
    except (Exception, pl.exceptions.PanicException) as error:  # noqa: BLE001 (whatever a value provokes in a library)
        if dates is None or len(dates) == 1:
            reason = f"{type(error).__name__}: {error}"[:_SHOWN]
            done.failed[next(iter(dates)) if dates else None] = reason
            return
        ordered = sorted(dates)
        half = len(ordered) // 2
        for part in (ordered[:half], ordered[half:]):
            _attempt(step, gold, set(part), held, done)
        return
    settled: Collection[date | None] = settles if settles is not None else (dates if dates is not None else {None})
    with step.stage("settle"):
        step.lake.pending.settle(gold.name, settled, read)


def _compute(
    step: Step,
    gold: GoldTable,
    dates: set[date] | None,
    held: frozenset[str],
    done: _Done,
    *,
    without: Mapping[str, Collection[date]],
) -> dict[str, Version]:
    """Compute and commit; returns how far the sources were read."""
    engine, places = step.engine, step.lake.sources()
    seen = step.lake.table(gold.spec).open()
    with step.stage("read"):
        tables = [*(source.table for source in gold.sources), *(lookup.table for lookup in gold.lookups)]
        opened = {name: places[name].open() for name in tables if gold.dataset_of(name) not in held}
        lots = rows_in_lots(gold, opened, engine, dates=dates, without=without, made_at=step.started_at)
        if not lots and seen.exists:  # nothing is left of what its rows came from
            lots = [engine.scan(seen, dates=dates).head(0)]
        if lots and held and seen.exists:
            kept = engine.scan(seen, dates=dates).filter(nw.col("source").is_in(sorted(held)))
            lots[-1] = nw.concat([lots[-1], kept], how="vertical")
    counts: dict[date | None, int] = {None: 0} if dates is None else dict.fromkeys(sorted(dates), 0)
    written: list[AddAction] = []
    for number, lot in enumerate(lots, start=1):
        with step.stage("compute"):
            # Sorted as a stream, all rows are held twice.
            rows = lot.sort(*gold.ordered_by) if gold.ordered_by else lot
            rows = engine.compute(rows, of_tables=not gold.ordered_by)
            by = [EVENT_DATE] if gold.daily else []
            height = nw.len().alias("rows")
            for row in engine.rows(rows.group_by(*by).agg(height) if by else rows.select(height)):
                day = row.get(EVENT_DATE)
                counts[day] = counts.get(day, 0) + row["rows"]
        with step.stage("write"):
            if number < len(lots):
                written += engine.write(seen.table, rows)
            else:
                days = {day for day in counts if day is not None}
                engine.replace(seen, rows, written=written, dates=dates, notes=CommitNotes(days))
                step.touched |= days
                step.rows_written += sum(counts.values())
        del rows  # before there are those of the next lot
    done.rows |= counts
    return {source: Version(snapshot.table_id, snapshot.version) for source, snapshot in opened.items()}


def _find_dates_of_lookups(step: Step, gold: GoldTable, debt: Debt) -> None:
    """Enter the dates whose rows show something of a lookup that has changed, in the place of the change itself."""
    places = step.lake.sources()
    for lookup in gold.lookups:
        if lookup.table not in debt.lookups:
            continue
        now = places[lookup.table].open()
        dates: set[date] = set()
        for source in gold.sources:
            dates |= _dates_showing(step, places[source.table].open(), lookup, now, debt.lookups[lookup.table])
        version = Version(now.table_id, now.version)
        step.lake.pending.add(gold.name, dates, lookup.table, version)


def _dates_showing(step: Step, source: Snapshot, lookup: Lookup, now: Snapshot, since: Version | None) -> set[date]:
    engine = step.engine
    if not source.exists:
        return set()
    rows = engine.scan(source).select(EVENT_DATE, lookup.column)
    older = None
    if since is not None and since.table_id == now.table_id:
        try:
            older = now.at(since.version)
        except DeltaError:  # the log does not reach back that far
            older = None
        if older is not None and not older.has([lookup.key, *lookup.shows]):  # a column was widened since
            older = None
    if older is not None:
        try:
            changed = engine.compute(engine.changed_since(now, older, [lookup.key, *lookup.shows]))
        except (FileNotFoundError, pl.exceptions.ComputeError):  # files of then are vacuumed
            pass
        else:
            keys = changed.select(nw.col(lookup.key).alias(lookup.column)).unique()
            rows = rows.join(keys, on=lookup.column, how="semi")
    found: list[dict[str, Any]] = engine.rows(engine.compute(rows.select(EVENT_DATE).unique(), of_tables=True))
    return {row[EVENT_DATE] for row in found if row[EVENT_DATE] is not None}


def _report(step: Step, gold: GoldTable, done: _Done) -> StepReport:
    def name(day: date | None) -> str:
        return "" if day is None else day.isoformat()

    rows: Mapping[date | None, int] = dict(sorted(done.rows.items(), key=lambda item: item[0] or date.min))
    return StepReport(
        zone="gold",
        name=gold.name,
        engine=step.engine.name,
        started_at=step.started_at,
        partitions=tuple(PartitionCounts(partition=name(day), rows_out=n) for day, n in rows.items()),
        rows_written=step.rows_written,
        touched_dates=tuple(sorted(step.touched)),
        table_version=step.lake.table(gold.spec).open().version,
        seconds=dict(step.seconds),
        failed=tuple(f"gold/{gold.name} {name(day)}: {reason}".strip() for day, reason in done.failed.items()),
        withheld=done.withheld,
    )
