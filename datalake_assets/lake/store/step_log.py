"""The step log: what each step did, and which event dates gold still has to compute.

Silver notes the event dates it touched and how far its tables had come; gold notes the dates it computed and how far
its sources had come when it read them. A date is pending for a gold table while some source has come further than
what gold consumed, so a lost sensor cursor or a failed run costs nothing: the log still says what is owed.
"""

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

import polars as pl

from datalake_assets.lake.store import delta
from datalake_assets.lake.store.step import PartitionCounts, StepReport

OK, BLOCKED = "ok", "blocked"
_LOOKUPS = "lookups"
_MOST_FILES = 50
_MEMORY = timedelta(days=62)
_SCHEMA = pl.Schema(
    {
        "month": pl.String(),
        "zone": pl.String(),
        "name": pl.String(),
        "partition": pl.String(),
        "status": pl.String(),
        "engine": pl.String(),
        "started_at": pl.Datetime("us", "UTC"),
        "finished_at": pl.Datetime("us", "UTC"),
        "rows_in": pl.Int64(),
        "rows_out": pl.Int64(),
        "rows_rejected": pl.Int64(),
        "rows_written": pl.Int64(),
        "bytes_in": pl.Int64(),
        "seconds": pl.Float64(),
        "touched_dates": pl.List(pl.Date()),
        "event_dates": pl.List(pl.Date()),
        "positions": pl.String(),
    }
)


@dataclass(frozen=True, slots=True)
class StepLog:
    """The step log at a place."""

    uri: str

    def record(self, report: StepReport, *, blocked: Collection[str] = ()) -> None:
        """Note a finished step, a row for each of its partitions; those in `blocked` are withheld from gold.

        What belongs to the step as a whole (rows written, bytes, seconds, touched dates) stands on its first row.
        """
        now = datetime.now(UTC)
        rows: list[dict[str, Any]] = [
            {
                "month": now.strftime("%Y-%m"),
                "zone": report.zone,
                "name": report.name,
                "partition": counts.partition,
                "status": BLOCKED if counts.partition in blocked else OK,
                "engine": report.engine,
                "started_at": report.started_at,
                "finished_at": now,
                "rows_in": counts.rows_in,
                "rows_out": counts.rows_out,
                "rows_rejected": counts.rows_rejected,
                "rows_written": report.rows_written if first else 0,
                "bytes_in": report.bytes_in if first else 0,
                "seconds": sum(report.seconds.values()) if first else 0.0,
                "touched_dates": list(report.touched_dates) if first else [],
                "event_dates": list(counts.event_dates),
                "positions": json.dumps(report.positions, sort_keys=True),
            }
            for first, counts in ((n == 0, c) for n, c in enumerate(report.partitions))
        ]
        if rows:
            frame = pl.DataFrame(rows, schema=_SCHEMA)
            delta.retry_conflicts(lambda: delta.append(self.uri, frame, partition_by=("month",)))
            delta.compact(self.uri, {"month": frame["month"][0]}, most_files=_MOST_FILES)

    def all_rows(self) -> pl.LazyFrame:
        """Every row, lazily."""
        table = delta.scan(self.uri)
        return _SCHEMA.to_frame().lazy() if table is None else table

    def recent_rows(self, *, now: datetime) -> pl.DataFrame:
        """The rows of the last two months, the oldest first."""
        since = now - _MEMORY
        months = pl.col("month") >= since.strftime("%Y-%m")
        return self.all_rows().filter(months, pl.col("finished_at") >= since).sort("finished_at").collect()

    def note_lookups(self, table: str, positions: Mapping[str, int], *, engine: str) -> None:
        """Note that a gold table shows what its lookups held at these positions."""
        self.record(
            StepReport(
                zone="gold",
                name=table,
                engine=engine,
                started_at=datetime.now(UTC),
                partitions=(PartitionCounts(partition=_LOOKUPS),),
                positions=dict(positions),
            )
        )

    def lookup_positions(self, table: str, *, sources: Collection[str], now: datetime) -> dict[str, int]:
        """How far a gold table's lookups had come when it was last found to show what they hold."""
        rows = self.recent_rows(now=now).filter(
            pl.col("zone") == "gold", pl.col("name") == table, pl.col("partition") == _LOOKUPS
        )
        noted = [json.loads(text) for text in rows["positions"]]
        return {source: max((n.get(source, 0) for n in noted), default=0) for source in sources}

    def last_positions(self, name: str, *, now: datetime) -> dict[str, int]:
        """How far a dataset's tables had come at its last step that is noted; empty when there is none."""
        own = (pl.col("zone") == "silver", pl.col("name") == name)
        rows = self.recent_rows(now=now).filter(*own)
        if rows.is_empty():  # a source that was silent for long
            rows = self.all_rows().filter(*own).collect()
        newest: dict[str, int] = {}
        for text in rows["positions"].unique():
            newest = _furthest(newest, json.loads(text))
        return newest


@dataclass(frozen=True, slots=True)
class Owed:
    """What gold owes: dates to compute, and dates that wait because a partition of them is blocked.

    `upto` tells how far the sources had come when the dates to compute were last touched: the same debt is told from
    a new one by it.
    """

    dates: frozenset[date]
    withheld: frozenset[date]
    upto: Mapping[str, int] = field(default_factory=dict, compare=False)


def owed_dates(rows: pl.DataFrame, *, table: str, sources: Collection[str]) -> Owed:
    """The event dates that a gold table has to compute.

    `rows` are rows of the step log, `sources` the tables it is computed from (`silver/orders`). A date is withheld
    while some partition that holds events of it is blocked, which its latest step tells.
    """
    datasets = {source.partition("/")[2] for source in sources}
    silver = rows.filter(pl.col("zone") == "silver", pl.col("name").is_in(sorted(datasets)))
    touched: dict[date, dict[str, int]] = {}
    for row in silver.filter(pl.col("touched_dates").list.len() > 0).iter_rows(named=True):
        positions = {name: come for name, come in json.loads(row["positions"]).items() if name in sources}
        for day in row["touched_dates"]:
            touched[day] = _furthest(touched.get(day, {}), positions)
    consumed: dict[date, dict[str, int]] = {}
    for row in rows.filter(pl.col("zone") == "gold", pl.col("name") == table).iter_rows(named=True):
        for day in row["event_dates"]:
            consumed[day] = _furthest(consumed.get(day, {}), json.loads(row["positions"]))
    pending = {
        day
        for day, positions in touched.items()
        if any(come > consumed.get(day, {}).get(name, 0) for name, come in positions.items())
    }
    landing = ["name", "partition"]
    latest = silver.unique(landing, keep="last", maintain_order=True)
    held = silver.join(latest.filter(pl.col("status") == BLOCKED), on=landing, how="semi")
    blocked = set(_flatten(held["event_dates"]))  # of all its steps, as the latest may have read few of its objects
    upto: dict[str, int] = {}
    for day in pending - blocked:
        upto = _furthest(upto, touched[day])
    return Owed(frozenset(pending - blocked), frozenset(pending & blocked), upto)


def is_stale(rows: pl.DataFrame, *, table: str, source: str) -> bool:
    """Whether an unpartitioned gold table has not yet read the newest version of the gold table it is made of."""
    produced = _newest_position(rows, table=source, of=f"gold/{source}")
    return produced > _newest_position(rows, table=table, of=f"gold/{source}")


def _newest_position(rows: pl.DataFrame, *, table: str, of: str) -> int:
    positions = rows.filter(pl.col("zone") == "gold", pl.col("name") == table)["positions"].unique()
    return max((json.loads(text).get(of, 0) for text in positions), default=0)


def _furthest(one: Mapping[str, int], other: Mapping[str, int]) -> dict[str, int]:
    return {name: max(one.get(name, 0), other.get(name, 0)) for name in one.keys() | other.keys()}


def _flatten(lists: Iterable[Collection[date]]) -> Iterable[date]:
    return (day for days in lists for day in days)
