"""How many bytes a step will read, told from the lake's memory without reading any of them."""

from datetime import datetime

import polars as pl

from datalake_assets.lake.lake import Lake
from datalake_assets.lake.spec.columns import EVENT_DATE
from datalake_assets.lake.steps.messages import StepRequest
from datalake_assets.lake.store.ledger_rows import ADMITTED
from datalake_assets.lake.store.outcome import FAILED, SUPERSEDED


def step_bytes(request: StepRequest, lake: Lake, *, now: datetime) -> int:
    """The bytes that a step is to read.

    Of a silver step those of the landed objects that wait in its partitions (of a replay: all of them); of a gold step
    those of the files of its sources that can hold its event dates, and of all files where it goes by none.
    """
    return _silver_bytes(request, lake, now) if request.zone == "silver" else _gold_bytes(request, lake)


def _silver_bytes(request: StepRequest, lake: Lake, now: datetime) -> int:
    partition = pl.col("partition")
    wanted = partition.is_in(sorted(request.partitions))
    if request.earlier:
        wanted = wanted | (partition < min(request.partitions))
    waits = pl.col("status") == ADMITTED
    retried = (pl.col("status") == FAILED) & (pl.col("retry_at") <= now)
    chosen = (pl.col("status") != SUPERSEDED) if request.replay else waits | retried
    rows = lake.ledger.table.open().scan({"dataset": [request.name]}).filter(wanted, chosen)
    return int(rows.select(pl.col("size").sum()).collect().item() or 0)


def _gold_bytes(request: StepRequest, lake: Lake) -> int:
    gold, places = lake.gold_tables[request.name], lake.sources()
    total = 0
    for source in gold.sources:
        table = places[source.table].open()
        by_date = gold.daily and not gold.monthly and source.dated_by == EVENT_DATE and not request.earlier
        cut = by_date and request.dates and not source.table.startswith("quarantine/")
        files = table.files_within({EVENT_DATE: list(request.dates)} if cut else None)
        total += int(files["size_bytes"].sum() or 0)
    for lookup in gold.lookups:
        total += int(places[lookup.table].open().files["size_bytes"].sum() or 0)
    return total
