"""One step: a request in, tables written, a report out, on whatever engine is given.

Belongs here: the order in which things are read and committed, so that a step may die anywhere and be run again. The
rules of the data are in `transforms/`, the reading and writing in `engines/`; whoever calls notes the report in the
ledger and the step log.
"""

import time
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any

import narwhals as nw

from datalake_assets.lake.engines.base import Engine
from datalake_assets.lake.gold.registry import gold_tables
from datalake_assets.lake.lake import Lake
from datalake_assets.lake.readers.batch import Batch
from datalake_assets.lake.readers.contract import rule_of
from datalake_assets.lake.readers.read_ahead import read_ahead
from datalake_assets.lake.spec.columns import (
    CHANGE_ORDER,
    ETL_TIMESTAMP,
    EVENT_DATE,
    EVENT_TIME,
    QUALITY_SCORE,
    RECORD_HASH,
    SOURCE_FILENAME,
    UNKNOWN,
)
from datalake_assets.lake.spec.dataset import CdcTable, Dataset, EventStream
from datalake_assets.lake.store import delta
from datalake_assets.lake.store.landing import open_store
from datalake_assets.lake.store.step import ObjectOutcome, PartitionCounts, StepReport, StepRequest
from datalake_assets.lake.transforms import cdc, events, quality

Frame = nw.LazyFrame[Any]
_LINEAGE = [EVENT_TIME, EVENT_DATE, SOURCE_FILENAME, RECORD_HASH, QUALITY_SCORE, ETL_TIMESTAMP]


def execute(request: StepRequest, *, lake: Lake, engine: Engine) -> StepReport:
    """Do what a request asks for and tell what was done.

    Raises `KeyError` for a dataset or gold table that the lake does not have, and whatever the storage raises; what
    was committed before that stays, and running the request again makes the rest.
    """
    clock = Clock()
    if request.zone == "gold":
        return _gold(request, lake, engine, clock)
    return _silver(request, lake, engine, clock)


class Clock:
    """Seconds by stage."""

    def __init__(self) -> None:
        """Start at zero."""
        self.started_at = datetime.now(UTC)
        self.seconds: defaultdict[str, float] = defaultdict(float)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Count the time of the block to a stage."""
        begin = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] += time.perf_counter() - begin


def _silver(request: StepRequest, lake: Lake, engine: Engine, clock: Clock) -> StepReport:
    dataset = lake.datasets[request.name]
    outcomes: list[ObjectOutcome] = []
    dates: defaultdict[str, set[date]] = defaultdict(set)
    rejects: Counter[str] = Counter()
    written = bytes_in = 0
    store = open_store(lake.layout.bronze)
    if isinstance(dataset, EventStream):
        read = engine.read_events(dataset, store, request.objects)
        batches = read_ahead((_with_copies_chosen(dataset, batch, engine) for batch in read), depth=1)
    else:
        batches = engine.read_changes(dataset, store, request.objects)
    while True:
        with clock.stage("read"):
            batch = next(batches, None)
        if batch is None:
            break
        with clock.stage("quarantine"):
            engine.replace_rejects(lake.layout.quarantine_table(dataset.name), batch.rejected, batch.outcomes)
            rejects.update(rule_of(e) for row in engine.rows(batch.rejected.select("errors")) for e in row["errors"])
        if any(outcome.rows_out for outcome in batch.outcomes):
            if isinstance(dataset, EventStream):
                written += _write_events(dataset, batch, lake, engine, clock)
            else:
                written += _write_changes(dataset, batch, lake, engine, clock)
        outcomes.extend(batch.outcomes)
        bytes_in += batch.bytes_in
        for partition, days in batch.event_dates.items():
            dates[partition].update(days)
    tables = [f"silver/{dataset.name}", f"quarantine/{dataset.name}"]
    with clock.stage("report"):
        touched = {
            day
            for table in tables
            for commit in delta.commits_since(lake.uri(table), request.since_position.get(table, 0))
            for day in commit.touched_dates
        }
        positions = {table: delta.position(lake.uri(table)) for table in tables}
    return StepReport(
        zone="silver",
        name=dataset.name,
        engine=engine.name,
        started_at=clock.started_at,
        partitions=tuple(_count(p, outcomes, dates[p]) for p in request.partitions),
        objects=tuple(outcomes),
        rows_written=written,
        bytes_in=bytes_in,
        rejects=dict(rejects),
        touched_dates=tuple(sorted(touched)),
        positions=positions,
        table_version=positions[tables[0]] - 1,
        seconds=dict(clock.seconds),
    )


def _count(partition: str, outcomes: Sequence[ObjectOutcome], dates: Collection[date]) -> PartitionCounts:
    own = [o for o in outcomes if o.partition == partition]
    return PartitionCounts(
        partition=partition,
        rows_in=sum(o.rows_in for o in own),
        rows_out=sum(o.rows_out for o in own),
        rows_rejected=sum(o.rows_rejected for o in own),
        event_dates=tuple(sorted(dates)),
    )


def _with_copies_chosen(dataset: EventStream, batch: Batch, engine: Engine) -> Batch:
    """A batch with one row per event: what can be done before the batch before it is written, and while it is."""
    scored = quality.score(batch.accepted, columns=list(dataset.columns))
    chosen = events.choose_copies(scored.select(*_event_columns(dataset)), identity=dataset.key or (RECORD_HASH,))
    return replace(batch, accepted=engine.compute(chosen))


def _write_events(dataset: EventStream, batch: Batch, lake: Lake, engine: Engine, clock: Clock) -> int:
    """Add a batch of events, one row for each, to silver; returns how many rows were added or replaced.

    One commit: an append, or a merge where a copy with more weight came for an event that the table has.
    """
    uri = lake.layout.silver_table(dataset.name)
    identity = dataset.key or (RECORD_HASH,)
    days = {day for days in batch.event_dates.values() for day in days}
    with clock.stage("transform"):
        news = engine.compute(events.news(batch.accepted, engine.scan(uri, dates=days), identity=identity))
        counts = engine.rows(
            news.group_by(EVENT_DATE).agg(nw.len().alias("rows"), nw.col(events.REPLACES).cast(nw.Int64).sum())
        )
    rows: int = sum(row["rows"] for row in counts)
    touched = {row[EVENT_DATE] for row in counts}
    fresh = news.drop(events.REPLACES)
    with clock.stage("write"):
        if any(row[events.REPLACES] for row in counts):
            engine.merge(uri, fresh, key=(EVENT_DATE, *identity), dates=touched, touched=touched)
        elif rows:
            engine.append(uri, fresh, partition_by=(EVENT_DATE,), touched=touched)
    return rows


def _write_changes(dataset: CdcTable, batch: Batch, lake: Lake, engine: Engine, clock: Clock) -> int:
    """Bring a batch of changes to silver; returns how many live rows were added, changed or removed.

    Tombstones are written before the live rows: a run that dies between them is repeated, and removes then the rows
    that they stand for.
    """
    key = dataset.key
    live_table = lake.layout.silver_table(dataset.name)
    grave_table = lake.layout.tombstone_table(dataset.name)
    with clock.stage("transform"):
        ordered = cdc.with_change_order(batch.accepted, order_by=dataset.order_by)
        changes = engine.compute(quality.score(ordered, columns=list(dataset.columns)))
        newest = engine.compute(cdc.newest(changes, key=key))
        tombstones = _of_keys(engine.scan(grave_table), newest, key=key, engine=engine)
        graves = engine.compute(cdc.graves(changes, key=key, tombstones=tombstones))
        live = _of_keys(engine.scan(live_table), newest, key=key, engine=engine)
        decided = engine.compute(cdc.decide(newest, key=key, live=live, tombstones=tombstones))
    if dataset.history:
        _write_history(dataset, changes, lake, engine, clock)
    if engine.rows(graves.select(nw.len().alias("rows")))[0]["rows"]:
        with clock.stage("write"):
            engine.merge(grave_table, graves, key=key, dates=None, touched=())
    return _upsert(
        live_table,
        decided.select(*_live_columns(dataset), cdc.DELETED, cdc.REPLACES, cdc.OLD_DATE),
        key=key,
        partition_by=_partition_by(dataset),
        engine=engine,
        clock=clock,
    )


def _write_history(dataset: CdcTable, changes: Frame, lake: Lake, engine: Engine, clock: Clock) -> None:
    """Add changes to a table's history and mend the validity of their neighbours."""
    uri = lake.layout.history_table(dataset.name)
    columns = [*_live_columns(dataset), cdc.OPERATION, cdc.COMMITTED_AT]
    with clock.stage("transform"):
        table = engine.scan(uri, columns=dataset.columns)
        existing = _of_keys(table, changes, key=dataset.key, engine=engine)
        known = cdc.known_changes(changes, existing, key=dataset.key, columns=columns)
        history = engine.compute(cdc.with_validity(known, key=dataset.key, columns=columns))
        changed = engine.compute(cdc.changed_history(history, existing, key=dataset.key))
    _upsert(
        uri,
        changed,
        key=cdc.history_identity(dataset.key),
        partition_by=_partition_by(dataset),
        engine=engine,
        clock=clock,
    )


def _upsert(
    uri: str, rows: Frame, *, key: Sequence[str], partition_by: Sequence[str], engine: Engine, clock: Clock
) -> int:
    """Write decided rows: an append where no row of the table is replaced, else a merge inside the dates that are."""
    marks = [EVENT_DATE, cdc.OLD_DATE, cdc.REPLACES, cdc.DELETED]
    counts = engine.rows(rows.group_by(marks).agg(nw.len().alias("rows")))
    if not counts:
        return 0
    replaced = [c for c in counts if c[cdc.REPLACES]]
    kept = [c for c in counts if not c[cdc.DELETED]]
    touched = {c[cdc.OLD_DATE] for c in replaced} | {c[EVENT_DATE] for c in kept}
    touched.discard(None)
    plain = rows.drop(cdc.OLD_DATE, cdc.REPLACES)
    with clock.stage("write"):
        if replaced:
            dates = {c[cdc.OLD_DATE] for c in replaced}
            engine.merge(uri, plain, key=key, dates=dates, touched=touched, deleted=cdc.DELETED)
        else:
            engine.append(uri, plain.drop(cdc.DELETED), partition_by=partition_by, touched=touched)
    total: int = sum(c["rows"] for c in counts)
    return total


def _of_keys(table: Frame | None, changes: Frame, *, key: Sequence[str], engine: Engine) -> Frame | None:
    """The rows that a table has for the keys of some changes, read from the files that can hold them."""
    if table is None:
        return None
    lead = nw.col(key[0])
    bounds = engine.rows(changes.select(lead.min().alias("least"), lead.max().alias("most")))[0]
    near = table.filter((lead >= bounds["least"]) & (lead <= bounds["most"]))
    return engine.compute(near.join(changes.select(*key).unique(), on=list(key), how="semi"))


def _event_columns(dataset: EventStream) -> list[str]:
    unknown = [UNKNOWN] if dataset.unknown_fields == "keep" else []
    return [*dataset.columns, *unknown, *_LINEAGE]


def _live_columns(dataset: CdcTable) -> list[str]:
    return [*dataset.columns, UNKNOWN, *_LINEAGE, CHANGE_ORDER]


def _partition_by(dataset: Dataset) -> tuple[str, ...]:
    """By event date where there is one: an entity's date hardly ever changes, so a merge stays inside few dates."""
    return (EVENT_DATE,) if dataset.event_time else ()


def _gold(request: StepRequest, lake: Lake, engine: Engine, clock: Clock) -> StepReport:
    table = gold_tables(lake.datasets)[request.name]
    uri = lake.layout.gold_table(table.name)
    dates = set(request.dates) if table.daily else None
    with clock.stage("read"):
        positions = {source: delta.position(lake.uri(source)) for source in (*table.sources, *table.lookups)}
        frames = {}
        for source in positions:
            by_date = dates is not None and source not in table.lookups and not source.startswith("quarantine/")
            zone, _, name = source.partition("/")
            columns = lake.datasets[name].columns if zone == "silver" else None
            frame = engine.scan(lake.uri(source), dates=dates if by_date else None, columns=columns)
            if frame is not None:
                frames[source] = frame
    counted: dict[date | None, int] = dict.fromkeys(request.dates, 0)
    with clock.stage("compute"):
        rows = None
        if frames.keys() & set(table.sources):
            rows = engine.conform(table.compute(frames), table.columns)
            if dates is not None:
                rows = rows.filter(nw.col(EVENT_DATE).is_in(sorted(dates)))
            rows = engine.compute(rows.with_columns(nw.lit(clock.started_at).alias(ETL_TIMESTAMP)))
            by = [EVENT_DATE] if table.daily else []
            for row in engine.rows(_heights(rows, by=by)):
                counted[row.get(EVENT_DATE)] = row["rows"]
    if rows is not None:
        with clock.stage("write"):
            touched = dates or ()
            engine.replace(uri, rows, dates=dates, partition_by=table.partition_by, touched=touched)
    position = delta.position(uri)
    return StepReport(
        zone="gold",
        name=table.name,
        engine=engine.name,
        started_at=clock.started_at,
        partitions=tuple(
            PartitionCounts(
                partition="" if day is None else day.isoformat(),
                rows_out=n,
                event_dates=() if day is None else (day,),
            )
            for day, n in sorted(counted.items(), key=lambda item: item[0] or date.min)
        ),
        rows_written=sum(counted.values()),
        touched_dates=tuple(sorted(dates or ())),
        positions=positions | {f"gold/{table.name}": position},
        table_version=position - 1,
        seconds=dict(clock.seconds),
    )


def _heights(rows: Frame, *, by: Sequence[str]) -> Frame:
    height = nw.len().alias("rows")
    return rows.group_by(*by).agg(height) if by else rows.select(height)
