"""How the lake stands: what landed, what became of it, and what the tables hold."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

import polars as pl

from datalake_assets.lake.gold.registry import gold_tables
from datalake_assets.lake.lake import Lake
from datalake_assets.lake.spec.columns import EVENT_DATE, SOURCE_FILENAME
from datalake_assets.lake.spec.dataset import CdcTable, Dataset
from datalake_assets.lake.store import delta
from datalake_assets.lake.store.ledger import FAILED, PROCESSED

_EVERYTHING = 2**62


@dataclass(frozen=True, slots=True)
class SourceStatus:
    """One dataset: its objects (landed, admitted, processed, failed) and its records (in, rejected, late).

    An event is late when it happened on a day before the one on which it landed.
    """

    dataset: str
    landed: int
    admitted: int
    processed: int
    failed: int
    rows_in: int
    rejected: int
    late: int


@dataclass(frozen=True, slots=True)
class TableStatus:
    """One asset: records in, rows that its table holds, records in quarantine, seconds of all its steps."""

    zone: str
    name: str
    rows_in: int | None
    rows: int | None
    rejected: int | None
    seconds: float


def source_status(lake: Lake) -> Iterator[SourceStatus]:
    """How each dataset stands; lists everything that it landed."""
    ledger = lake.ledger.all_rows()
    for name, dataset in lake.datasets.items():
        landed = lake.landing.sweep(dataset, after=None, limit=_EVERYTHING, now=datetime.now(UTC)).objects
        known = ledger.filter(pl.col("dataset") == name).select("key", "partition", "status", "rows_in").collect()
        yield SourceStatus(
            dataset=name,
            landed=len(landed),
            admitted=known.height,
            processed=known.filter(pl.col("status") == PROCESSED).height,
            failed=known.filter(pl.col("status") == FAILED).height,
            rows_in=int(known["rows_in"].sum() or 0),
            rejected=delta.row_count(lake.layout.quarantine_table(name)),
            late=_late(lake, dataset, known),
        )


def table_status(lake: Lake) -> Iterator[TableStatus]:
    """How each table stands, zone by zone."""
    steps = lake.step_log.all_rows().group_by("zone", "name").agg(pl.col("seconds").sum()).collect()
    seconds = {(zone, name): total for zone, name, total in steps.iter_rows()}
    landed = lake.ledger.all_rows().group_by("dataset").agg(pl.col("rows_in").sum()).collect()
    rows_in: dict[str, int] = dict(landed.iter_rows())
    for name in lake.datasets:
        yield TableStatus("bronze", name, rows_in.get(name, 0), rows_in.get(name, 0), None, 0.0)
    for name, dataset in lake.datasets.items():
        rows = delta.row_count(lake.layout.silver_table(name))
        rejected = delta.row_count(lake.layout.quarantine_table(name))
        took = seconds.get(("silver", name), 0.0)
        yield TableStatus("silver", name, rows_in.get(name, 0), rows, rejected, took)
        if isinstance(dataset, CdcTable) and dataset.history:
            history = delta.row_count(lake.layout.history_table(name))
            yield TableStatus("silver", f"{name}_history", rows_in.get(name, 0), history, None, 0.0)
    for name in gold_tables(lake.datasets):
        rows = delta.row_count(lake.layout.gold_table(name))
        yield TableStatus("gold", name, None, rows, None, seconds.get(("gold", name), 0.0))


def _late(lake: Lake, dataset: Dataset, known: pl.DataFrame) -> int:
    table = delta.scan(lake.layout.silver_table(dataset.name))
    if table is None or known.is_empty():
        return 0
    landing_day = pl.col("partition").str.slice(0, len("2026-01-31")).str.to_date("%Y-%m-%d")
    days = known.select(pl.col("key").alias(SOURCE_FILENAME), landing_day.alias("landed_on")).unique(SOURCE_FILENAME)
    counted = table.group_by(SOURCE_FILENAME, EVENT_DATE).len().join(days.lazy(), on=SOURCE_FILENAME)
    return counted.filter(pl.col(EVENT_DATE) < pl.col("landed_on")).select(pl.col("len").sum()).collect().item() or 0
