"""Quarantine: the rejected records of a dataset, with the reasons, as they landed.

The rejects of an object take the place of those that its name had before, whichever object lay there. New ones enter
before silver is written and old ones leave after it, so that a record that moves is at no moment in neither.
"""

from collections.abc import Collection, Sequence
from datetime import date

import polars as pl

from datalake_assets.lake.spec.columns import SOURCE_FILENAME
from datalake_assets.lake.store.landing import parse_partition
from datalake_assets.lake.store.notes import CommitNotes
from datalake_assets.lake.store.outcome import ObjectOutcome
from datalake_assets.lake.store.snapshot import Snapshot
from datalake_assets.lake.store.table import Table

_CONTENT = ["partition", SOURCE_FILENAME, "etag", "row_number", "raw", "raw_bytes", "errors"]


def replace_rejects(
    table: Table, rejected: pl.DataFrame, outcomes: Sequence[ObjectOutcome], *, keep_old: bool = False
) -> bool:
    """Put the rejects of the objects just read in the place of those that their keys had; no commit without a change.

    With `keep_old` those that the keys had stay for the time being. Returns whether some are left that are to go. The
    landing dates whose rejects changed are noted in the commit as touched.
    """
    read = sorted({o.key for o in outcomes if o.is_read})

    def decide(seen: Snapshot) -> bool:
        old = _rejects_of(seen, read)
        same = _same_rejects(old, rejected)
        added = rejected.join(same, on=SOURCE_FILENAME, how="anti")
        gone = old.join(same, on=SOURCE_FILENAME, how="anti")
        left = keep_old and gone.height > 0
        if keep_old:
            added, gone = _lacking(added, gone), gone.clear()
        if added.height or gone.height:
            seen.change(
                add=added,
                remove=gone.select(SOURCE_FILENAME).unique() if gone.height else None,
                on=[SOURCE_FILENAME],
                notes=CommitNotes(landing_dates([*added["partition"].unique(), *gone["partition"].unique()])),
                exactly_here=True,
            )
        return left

    return table.transact(decide)


def _same_rejects(old: pl.DataFrame, new: pl.DataFrame) -> pl.DataFrame:
    """The keys whose rejects are the same before and after."""
    keys = old.select(SOURCE_FILENAME).unique()
    if keys.is_empty():
        return keys
    order = [SOURCE_FILENAME, "row_number"]
    before = old.select(_CONTENT).sort(order).partition_by(SOURCE_FILENAME, as_dict=True)
    after = new.join(keys, on=SOURCE_FILENAME, how="semi").select(_CONTENT).sort(order)
    now = after.partition_by(SOURCE_FILENAME, as_dict=True)
    return keys.filter(
        pl.Series([key in now and now[key].equals(before[key]) for key in ((k,) for k in keys[SOURCE_FILENAME])])
    )


def _lacking(rejected: pl.DataFrame, old: pl.DataFrame) -> pl.DataFrame:
    """The rejects that are not among old ones; the same line of the same object may be rejected for other reasons."""
    reasons = pl.col("errors").list.join("\n").alias("_reasons")
    place = [SOURCE_FILENAME, "etag", "row_number", "_reasons"]
    known = old.with_columns(reasons).select(place)
    return rejected.with_columns(reasons).join(known, on=place, how="anti", nulls_equal=True).drop("_reasons")


def _rejects_of(seen: Snapshot, keys: Sequence[str]) -> pl.DataFrame:
    """The rejects that the table has of some keys, read from the files whose bounds can hold them."""
    return seen.scan_keys(pl.DataFrame({SOURCE_FILENAME: keys}, schema={SOURCE_FILENAME: pl.String})).collect()


def landing_dates(partitions: Collection[str]) -> set[date]:
    """The days on which partitions landed: rejects have no event date, so they are counted on these."""
    return {parse_partition(p).date() for p in partitions}
