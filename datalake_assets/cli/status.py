"""How the lake stands: what landed, what became of it, and what the tables hold."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

import polars as pl

from datalake_assets.lake.lake import Lake
from datalake_assets.lake.spec.columns import EVENT_DATE, SOURCE_FILENAME
from datalake_assets.lake.spec.dataset import Dataset
from datalake_assets.lake.steps.planning import outdated, outdated_partitions, still_landed, undone
from datalake_assets.lake.store.outcome import FAILED, MISSING, PROCESSED, SUPERSEDED

_EVERYTHING = 2**62


@dataclass(frozen=True, slots=True)
class SourceStatus:
    """One dataset: its objects (those that lie in bronze, those that the ledger has, by state), and its records.

    An event is late when it happened on a day before the one on which it landed. `older_contract` counts the objects
    that were read before the dataset file changed: `datalake rebuild`, or materializing their partitions, reads them
    again, those that have not been deleted since.
    """

    dataset: str
    landed: int
    admitted: int
    processed: int
    failed: int
    missing: int
    older_contract: int
    rows_in: int
    rejected: int
    late: int


@dataclass(frozen=True, slots=True)
class TableStatus:
    """One table: rows that it holds, and for silver the records read and those in quarantine."""

    zone: str
    name: str
    rows_in: int | None
    rows: int | None
    rejected: int | None


def source_status(lake: Lake) -> Iterator[SourceStatus]:
    """How each dataset stands; lists everything that it landed."""
    for name, dataset in lake.datasets.items():
        landed = lake.landing.sweep(dataset, after=None, limit=_EVERYTHING, now=datetime.now(UTC)).objects
        known = lake.ledger.rows(name)
        states = dict(known.group_by("status").len().iter_rows())
        yield SourceStatus(
            dataset=name,
            landed=len(landed),
            admitted=known.height - states.get(SUPERSEDED, 0),
            processed=states.get(PROCESSED, 0),
            failed=states.get(FAILED, 0),
            missing=states.get(MISSING, 0),
            older_contract=outdated(lake, dataset).height,
            rows_in=_records(known),
            rejected=lake.quarantine(dataset).open().row_count,
            late=_late(lake, dataset, known),
        )


def table_status(lake: Lake) -> Iterator[TableStatus]:
    """How each table stands, zone by zone."""
    records = {name: _records(lake.ledger.rows(name)) for name in lake.datasets}
    for name in lake.datasets:
        yield TableStatus("bronze", name, records[name], records[name], None)
    for spec in lake.specs():
        if spec.zone in {"quarantine", "lake"}:
            continue
        dataset = lake.datasets.get(spec.name) if spec.zone == "silver" else None
        rejected = lake.quarantine(dataset).open().row_count if dataset else None
        rows_in = records[spec.name] if dataset else None
        yield TableStatus(spec.zone, spec.name, rows_in, lake.table(spec).open().row_count, rejected)


def left_to_do(lake: Lake) -> list[str]:
    """What is left to do, one line each, with the reason and what to do about it.

    Looking for it enters what it finds in the lake's memory; where nothing may be written, that is told.
    """
    try:
        return _left(lake)
    except OSError as error:
        reason = str(error).splitlines()[0]
        return [f"what is left to do can't be told where the lake's memory can't be written: {reason}"]


def _left(lake: Lake) -> list[str]:
    now = datetime.now(UTC)
    lines = undone(lake, now=now) + unreadable(lake)
    for name, dataset in lake.datasets.items():
        if older := sum(outdated_partitions(lake, dataset, now=now).values()):
            was = "object was" if older == 1 else "objects were"
            lines.append(
                f"{name}: {older:,} {was} read under an older contract; `datalake rebuild {name}` reads them again"
            )
    lines += [
        f"{name}: the ledger has objects of it, but there is no dataset file; is DATALAKE_DATASETS the right folder?"
        for name in sorted(lake.ledger.datasets() - lake.datasets.keys())
    ]
    return lines


def unreadable(lake: Lake) -> list[str]:
    """The datasets with objects that can't be read, however often, one line each; not of those deleted since."""
    is_lost = (pl.col("status") == FAILED) & pl.col("retry_at").is_null() & pl.col("dataset").is_in(list(lake.datasets))
    found = lake.ledger.all_rows().filter(is_lost).select("dataset", "partition", "key", "reason").collect()
    lines = []
    for (name,), lost in found.sort("dataset", "key").group_by("dataset", maintain_order=True):
        there = still_landed(lake, lake.datasets[str(name)], lost, now=datetime.now(UTC))
        for key, reason in there.select("key", "reason").head(1).iter_rows():
            some = "an object" if there.height == 1 else f"{there.height:,} objects"
            lines.append(f"{name}: {some} can't be read: {key}: {reason}; see `datalake rejects {name}`")
    return lines


def _records(known: pl.DataFrame) -> int:
    return int(known.filter(pl.col("status") == PROCESSED)["rows_in"].sum() or 0)


def _late(lake: Lake, dataset: Dataset, known: pl.DataFrame) -> int:
    table = lake.silver(dataset).open()
    if not table.exists or known.is_empty():
        return 0
    landing_day = pl.col("partition").str.slice(0, len("2026-01-31")).str.to_date("%Y-%m-%d")
    days = known.select(pl.col("key").alias(SOURCE_FILENAME), landing_day.alias("landed_on")).unique(SOURCE_FILENAME)
    counted = table.scan().group_by(SOURCE_FILENAME, EVENT_DATE).len().join(days.lazy(), on=SOURCE_FILENAME)
    late = counted.filter(pl.col(EVENT_DATE) < pl.col("landed_on")).select(pl.col("len").sum())
    return late.collect(engine="streaming").item() or 0
