"""Quarantine: the rejected records of a dataset, with the reasons, as they landed.

The rejects of an object are replaced whenever it is read again, so a mended contract and another run of the
partition are the replay: what is accepted now is gone from here.
"""

from collections.abc import Sequence
from datetime import date, datetime

import polars as pl

from datalake_assets.lake.readers.contract import Reject
from datalake_assets.lake.store import delta
from datalake_assets.lake.store.landing import parse_partition
from datalake_assets.lake.store.step import ObjectOutcome

SCHEMA = pl.Schema(
    {
        "dataset": pl.String(),
        "partition": pl.String(),
        "source_filename": pl.String(),
        "row_number": pl.Int64(),
        "raw": pl.String(),
        "errors": pl.List(pl.String()),
        "etl_timestamp": pl.Datetime("us", "UTC"),
    }
)


def as_frame(
    rejects: Sequence[Reject], *, dataset: str, partition: str, source_filename: str, at: datetime
) -> pl.DataFrame:
    """The rejects of one object as rows of the quarantine table."""
    return pl.DataFrame(
        {
            "dataset": [dataset] * len(rejects),
            "partition": [partition] * len(rejects),
            "source_filename": [source_filename] * len(rejects),
            "row_number": [r.row_number for r in rejects],
            "raw": [r.raw for r in rejects],
            "errors": [list(r.errors) for r in rejects],
            "etl_timestamp": [at] * len(rejects),
        },
        schema=SCHEMA,
    )


def replace_rejects(uri: str, rejected: pl.DataFrame, outcomes: Sequence[ObjectOutcome]) -> None:
    """Put the rejects of the objects just read in the place of those they had; no commit when nothing changes.

    The landing dates whose rejects changed are noted in the commit as touched.
    """
    table = delta.scan(uri)
    content = ["partition", "source_filename", "row_number", "raw", "errors"]
    new = rejected.select(content).sort(content[:3])
    old = new.clear()
    if table is not None:
        read = pl.col("source_filename").is_in([o.key for o in outcomes])
        near = pl.col("partition").is_in(sorted({o.partition for o in outcomes}))
        old = table.filter(near, read).select(content).sort(content[:3]).collect()
    if new.equals(old):
        return
    touched = landing_dates([*new["partition"].unique(), *old["partition"].unique()])
    if old.is_empty():
        delta.append(uri, rejected, touched=touched)
        return
    names = {*new["source_filename"].unique(), *old["source_filename"].unique()}
    partitions = {*new["partition"].unique(), *old["partition"].unique()}
    picked = f"({delta.one_of('partition', sorted(partitions))}) AND ({delta.one_of('source_filename', sorted(names))})"
    delta.replace(uri, rejected, predicate=picked, touched=touched)


def landing_dates(partitions: Sequence[str]) -> set[date]:
    """The days on which partitions landed: rejects have no event date, so they are counted on these."""
    return {parse_partition(p).date() for p in partitions}
