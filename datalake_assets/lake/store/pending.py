"""What gold owes: event dates to compute, kept as rows, not computed from history.

Whoever looks moves the watermark of each source (table id and version) and enters the dates that its commits touched,
in one commit. A date leaves when it was computed from the version at which it became due, or a later one. Where a log
does not tell what was touched (another table, a log cut short, a gold table that is not there) all dates are due.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any

import polars as pl

from datalake_assets.lake.spec.columns import EVENT_DATE
from datalake_assets.lake.store.landing import parse_partition
from datalake_assets.lake.store.snapshot import Snapshot
from datalake_assets.lake.store.table import Table

_DUE, _WATERMARK, _RETRY = "due", "watermark", "retry"
_FIRST_WAIT, _LONGEST_WAIT = timedelta(minutes=1), timedelta(hours=6)
Key = tuple[str, str, str, date | None]
Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Consumer:
    """A gold table as its debts see it: where it lies, what it reads, whether it is computed date by date.

    `sources` maps the tables that are read day by day to the column that tells the day of their rows; `lookups` are
    read beside any day. Tables are told by their names.
    """

    name: str
    table: Table
    sources: Mapping[str, str]
    lookups: tuple[str, ...] = ()
    daily: bool = True


@dataclass(frozen=True, slots=True)
class Version:
    """How far a source was read: which table, and which version of it."""

    table_id: str
    version: int


@dataclass(slots=True)
class Debt:
    """What one gold table owes.

    `due` maps each event date (None: the table as a whole) to the sources that changed; `lookups` maps a lookup that
    changed to the version that gold's rows show (None: not known); `retries` tells when what failed is tried again.
    """

    due: dict[date | None, set[str]] = field(default_factory=dict)
    lookups: dict[str, Version | None] = field(default_factory=dict)
    retries: dict[date | None, tuple[datetime, str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Pending:
    """The debts in their table."""

    table: Table

    def look(self, consumers: Iterable[Consumer], sources: Mapping[str, Table]) -> dict[str, Debt]:
        """Move the watermarks of all sources to where these are now, and tell what each gold table owes."""
        wanted = list(consumers)

        def decide(seen: Snapshot) -> dict[Key, Row]:
            rows = _rows(seen)
            before = dict(rows)
            opened: dict[str, Snapshot] = {}
            for consumer in wanted:
                _advance(rows, consumer, sources, opened)
            if rows != before:
                self._write(seen, rows)
            return rows

        return _debts(self.table.transact(decide), wanted)

    def settle(self, name: str, dates: Collection[date | None], read: Mapping[str, Version]) -> None:
        """Take out what a gold table owed for some dates, where it was computed from what became due or later."""

        def decide(seen: Snapshot) -> None:
            rows = _rows(seen)
            left = {k: r for k, r in rows.items() if not _is_settled(r, name, dates, read)}
            if left != rows:
                self._write(seen, left)

        self.table.transact(decide)

    def add(self, name: str, dates: Collection[date], source: str, version: Version) -> None:
        """Enter the dates that a changed lookup touches, in the place of the change itself."""

        def decide(seen: Snapshot) -> None:
            rows = _rows(seen)
            change = rows.get((name, source, _DUE, None))
            for day in dates:
                _enter(rows, name, source, day, version)
            if change and change["table_id"] == version.table_id and change["version"] <= version.version:
                del rows[name, source, _DUE, None]
            elif change:
                change["since"] = version.version if change["table_id"] == version.table_id else None
            self._write(seen, rows)

        self.table.transact(decide)

    def postpone(self, name: str, failed: Mapping[date | None, str], *, now: datetime) -> None:
        """Note that some dates of a gold table could not be computed, and why: they are tried again later."""

        def decide(seen: Snapshot) -> None:
            rows = _rows(seen)
            for day, reason in failed.items():
                old = rows.get((name, "", _RETRY, day))
                attempts = (old["attempts"] or 0) + 1 if old else 1
                wait = min(_FIRST_WAIT * 2 ** min(attempts - 1, 20), _LONGEST_WAIT)
                rows[name, "", _RETRY, day] = _row(
                    name, "", _RETRY, day, attempts=attempts, retry_at=now + wait, reason=reason
                )
            self._write(seen, rows)

        self.table.transact(decide)

    def _write(self, seen: Snapshot, rows: Mapping[Key, Row]) -> None:
        ordered = [rows[key] for key in sorted(rows, key=lambda k: (k[0], k[1], k[2], k[3] or date.min))]
        seen.replace(pl.DataFrame(ordered, schema=self.table.dtypes), exactly_here=True)


def _rows(seen: Snapshot) -> dict[Key, Row]:
    found = seen.scan().collect().iter_rows(named=True)
    return {(r["table"], r["source"], r["kind"], r["event_date"]): r for r in found}


def _row(name: str, source: str, kind: str, day: date | None, **values: Any) -> Row:
    empty = dict.fromkeys(("version", "since", "table_id", "stamp", "attempts", "retry_at", "reason"))
    return {"table": name, "source": source, "kind": kind, "event_date": day, **empty, **values}


def _enter(rows: dict[Key, Row], name: str, source: str, day: date | None, version: Version) -> None:
    rows[name, source, _DUE, day] = _row(name, source, _DUE, day, version=version.version, table_id=version.table_id)


def _advance(
    rows: dict[Key, Row],
    consumer: Consumer,
    sources: Mapping[str, Table],
    opened: dict[str, Snapshot],
) -> None:
    """Enter what the sources' commits touched since the watermarks of a gold table, and move these."""
    fresh = consumer.table.log_stamp(0) is None and not consumer.table.open().exists
    own = [key for key in rows if key[0] == consumer.name and key[2] in {_WATERMARK, _DUE}]
    if not {source for _, source, _, _ in own} <= {*consumer.sources, *consumer.lookups}:  # a dataset was taken away
        for key in own:
            del rows[key]
    for source in (*consumer.sources, *consumer.lookups):
        table = sources[source]
        mark = rows.get((consumer.name, source, _WATERMARK, None))
        if mark and not fresh and mark["version"] >= 0 and _stands(table, mark):
            continue
        if source not in opened:
            opened[source] = table.open()
        now = opened[source]
        if not now.exists and (mark is None or mark["version"] < 0):
            continue
        version = Version(now.table_id, now.version)
        known = mark is not None and not fresh and mark["table_id"] == now.table_id
        if source in consumer.lookups:
            _enter_lookup(rows, consumer, source, now, mark if known else None)
            days: set[date | None] = set() if known else set(_dates_of(consumer.table.open(), EVENT_DATE))
        else:
            days = _touched_dates(consumer, source, now, mark if known else None)
            known_due = [r["event_date"] for r in rows.values() if _is_due(r, consumer.name, source)]
            days |= set(known_due) if not known else set()
        for day in days:
            _enter(rows, consumer.name, source, day, version)
        rows[consumer.name, source, _WATERMARK, None] = _row(
            consumer.name,
            source,
            _WATERMARK,
            None,
            version=now.version,
            table_id=now.table_id,
            stamp=table.log_stamp(now.version) if now.exists else None,
        )


def _enter_lookup(rows: dict[Key, Row], consumer: Consumer, source: str, now: Snapshot, mark: Row | None) -> None:
    version = Version(now.table_id, now.version)
    if mark is None or mark["version"] == version.version:
        return
    commits = now.commits_since(mark["version"])
    if commits is not None and not any(commit.changes_rows for commit in commits):
        return
    older = rows.get((consumer.name, source, _DUE, None))
    since = older["since"] if older else mark["version"]
    _enter(rows, consumer.name, source, None, version)
    rows[consumer.name, source, _DUE, None]["since"] = since


def _touched_dates(consumer: Consumer, source: str, now: Snapshot, mark: Row | None) -> set[date | None]:
    """The dates that a source's commits touched since a watermark; all where that can't be told."""
    if mark and mark["version"] == now.version:
        return set()
    by = consumer.sources[source]
    commits = now.commits_since(mark["version"]) if mark else None
    if not consumer.daily:
        return {None} if commits is None or any(commit.changes_rows for commit in commits) else set()
    days: set[date | None] = set()
    for touched in [None] if commits is None else [commit.touched[by] for commit in commits]:
        if touched is None:
            return {*_dates_of(now, by), *_shown_dates(consumer)}  # all that there are
        days |= touched
    return days


def _shown_dates(consumer: Consumer) -> set[date | None]:
    """All event dates that the gold table shows: those that a lookup of which nothing is known can concern."""
    return {*_dates_of(consumer.table.open(), EVENT_DATE)} if consumer.daily else {None}


def _dates_of(seen: Snapshot, by: str) -> Iterable[date]:
    spec = seen.table.spec
    if not seen.exists or seen.files.is_empty():
        return []
    if by in seen.partition_by:
        return seen.files[f"partition.{by}"].drop_nulls().unique().to_list()
    if spec.zone == "quarantine":
        partitions = seen.scan().select(pl.col("partition").unique()).collect(engine="streaming")["partition"]
        return {parse_partition(p).date() for p in partitions}
    return seen.scan().select(pl.col(by).cast(pl.Date).unique()).collect(engine="streaming")[by].drop_nulls().to_list()


def _stands(table: Table, mark: Row) -> bool:
    """Whether a source is where a watermark says, told by two looks at its log."""
    return table.log_stamp(mark["version"] + 1) is None and table.log_stamp(mark["version"]) == mark["stamp"]


def _is_due(row: Row, name: str, source: str) -> bool:
    return bool(row["kind"] == _DUE and row["table"] == name and row["source"] == source)


def _is_settled(row: Row, name: str, dates: Collection[date | None], read: Mapping[str, Version]) -> bool:
    if row["table"] != name or row["event_date"] not in dates or row["kind"] == _WATERMARK:
        return False
    if row["kind"] == _RETRY:
        return True
    version = read.get(row["source"])
    return version is not None and version.table_id == row["table_id"] and version.version >= row["version"]


def _debts(rows: Mapping[Key, Row], consumers: Iterable[Consumer]) -> dict[str, Debt]:
    lookups = {consumer.name: consumer.lookups for consumer in consumers}
    debts = {name: Debt() for name in lookups}
    for (name, source, kind, day), row in rows.items():
        if name not in debts:
            continue
        if kind == _RETRY:
            debts[name].retries[day] = row["retry_at"], row["reason"]
        elif kind == _DUE and day is None and source in lookups[name]:
            since = row["since"]
            debts[name].lookups[source] = None if since is None else Version(row["table_id"], since)
        elif kind == _DUE:
            debts[name].due.setdefault(day, set()).add(source)
    return debts
