"""When the newest object landed that is in silver.

Belongs here: what the ledger tells of it. Who is told, and how often, is told in `sensors/freshness.py`.
"""

from datetime import datetime

import polars as pl

from datalake_assets.lake.store.ledger import Ledger
from datalake_assets.lake.store.outcome import PROCESSED


def newest_processed(ledger: Ledger, dataset: str) -> datetime | None:
    """When the newest object of a dataset landed that was brought to silver, UTC; None where there is none.

    The months of objects' names are looked through from the newest to the oldest and no further than the first that
    has one, so that a look costs the same after years.
    """
    seen = ledger.table.open()
    if not seen.files.height:
        return None
    buckets = seen.files.filter(pl.col("partition.dataset") == dataset)["partition.bucket"].unique()
    for bucket in sorted(buckets, reverse=True):
        rows = seen.scan({"dataset": [dataset], "bucket": [bucket]}).filter(pl.col("status") == PROCESSED)
        newest: datetime | None = rows.select(pl.col("last_modified").max()).collect().item()
        if newest is not None:
            return newest
    return None
