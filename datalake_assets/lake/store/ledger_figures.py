"""What the ledger tells of many objects together: where a dataset begins, how much landed in which partition.

Belongs here: questions that read and change nothing, and that planners and checks ask. Rows of single objects are in
`ledger.py`.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date, datetime

import polars as pl

from datalake_assets.lake.store.ledger_rows import ADMITTED
from datalake_assets.lake.store.outcome import PROCESSED, SUPERSEDED
from datalake_assets.lake.store.table import Table


@dataclass(frozen=True, slots=True)
class LedgerFigures:
    """The figures of the ledger in its table."""

    table: Table

    def partitions_before(self, dataset: str, partition: str) -> list[str]:
        """The partitions of a dataset that begin before another."""
        rows = self.table.open().scan({"dataset": [dataset]}).filter(pl.col("partition") < partition)
        return sorted(rows.select(pl.col("partition").unique()).collect().to_series())

    def last_processed(self, dataset: str, partitions: Collection[str]) -> dict[str, datetime]:
        """When the objects of some partitions were last processed (UTC); of those only of which none waits."""
        rows = self.table.open().scan({"dataset": [dataset]}).filter(pl.col("partition").is_in(sorted(partitions)))
        waits = (pl.col("status") == ADMITTED).any().alias("waits")
        found = rows.group_by("partition").agg(pl.max("processed_at"), waits).filter(~pl.col("waits"))
        return dict(found.drop("waits").drop_nulls().collect().iter_rows())

    def newest_landed(self, dataset: str) -> datetime | None:
        """When the newest object of a dataset landed that was brought to silver, UTC; None where there is none.

        The months of objects' names are looked through from the newest to the oldest and no further than the first
        that has one, so that a look costs the same after years.
        """
        seen = self.table.open()
        files = seen.files
        own = files.filter(pl.col("partition.dataset") == dataset) if files.height else files
        for bucket in sorted(set(own["partition.bucket"]) if own.height else (), reverse=True):
            rows = seen.scan({"dataset": [dataset], "bucket": [bucket]}).filter(pl.col("status") == PROCESSED)
            newest: datetime | None = rows.select(pl.col("last_modified").max()).collect().item()
            if newest is not None:
                return newest
        return None

    def record_counts(self, dataset: str, first: str, last: str) -> tuple[str, dict[str, int]]:
        """How many records were read of each partition from the first to the last; and the last that the dataset has.

        Objects that were not read, or whose key belongs to another by now, don't count.
        """
        seen = self.table.open()
        part = pl.col("partition")
        rows = seen.scan({"dataset": [dataset]}).filter(part.is_between(pl.lit(first), pl.lit(last)))
        read = pl.col("processed_at").is_not_null() & (pl.col("status") != SUPERSEDED)
        counts = rows.filter(read).group_by(part).agg(pl.sum("rows_in").cast(pl.Int64))
        files = seen.files
        own = files.filter(pl.col("partition.dataset") == dataset) if files.height else files
        newest = own["max.partition"].max() if own.height else None
        return str(newest or ""), dict(counts.collect().iter_rows())

    def first_partition(self) -> str | None:
        """The partition that begins first, of any dataset, from the log alone; None while nothing was admitted."""
        files = self.table.open().files
        first = files["min.partition"].min() if files.height else None
        return None if first is None else str(first)

    def first_dates(self) -> dict[str, date]:
        """The first event date of each dataset that has any."""
        dates = pl.col("event_dates").list.min().min()
        found = self.table.open().scan().group_by("dataset").agg(dates).drop_nulls().collect()
        return dict(found.iter_rows())
