"""Quarantine: the rejected records of a dataset, with the reasons, as they landed.

The rejects of an object take the place of those that its name had before, whichever object lay there.
"""

from collections.abc import Collection, Sequence
from datetime import date

import polars as pl

from datalake_assets.lake.spec.columns import SOURCE_FILENAME
from datalake_assets.lake.store.landing import parse_partition
from datalake_assets.lake.store.outcome import ObjectOutcome
from datalake_assets.lake.store.table import CommitNotes, Snapshot, Table

_CONTENT = ["partition", SOURCE_FILENAME, "etag", "row_number", "raw", "raw_bytes", "errors"]


def replace_rejects(
    table: Table, rejected: pl.DataFrame, outcomes: Sequence[ObjectOutcome], *, fresh: Collection[str]
) -> None:
    """Put the rejects of the objects just read in the place of those that their keys had; no commit without a change.

    `fresh` are the keys of which the table can hold nothing yet. The landing dates whose rejects changed are noted in
    the commit as touched.
    """
    read = [o.key for o in outcomes if o.is_read]
    known = sorted({key for key in read if key not in fresh})

    def decide(seen: Snapshot) -> None:
        old = _rejects_of(seen, known)
        if rejected.is_empty() and old.is_empty():
            return
        new = rejected.filter(pl.col(SOURCE_FILENAME).is_in(known)) if known else rejected.clear()
        if old.height and new.select(_CONTENT).sort(_CONTENT[:4]).equals(old.select(_CONTENT).sort(_CONTENT[:4])):
            added, gone = rejected.filter(~pl.col(SOURCE_FILENAME).is_in(known)), None
            if added.is_empty():
                return
        else:
            added, gone = rejected, old.select(SOURCE_FILENAME).unique() if old.height else None
        changed = {*added["partition"], *(old["partition"] if gone is not None else ())}
        seen.change(
            add=added,
            remove=gone,
            on=[SOURCE_FILENAME],
            notes=CommitNotes(landing_dates(changed)),
            exactly_here=gone is not None,
        )

    table.transact(decide)


def _rejects_of(seen: Snapshot, keys: Sequence[str]) -> pl.DataFrame:
    """The rejects that the table has of some keys."""
    if not keys:
        return seen.table.dtypes.to_frame()
    wanted = pl.LazyFrame({SOURCE_FILENAME: keys}, schema={SOURCE_FILENAME: pl.String})
    near = seen.scan().filter(pl.col(SOURCE_FILENAME).is_between(pl.lit(keys[0]), pl.lit(keys[-1])))
    return near.join(wanted, on=SOURCE_FILENAME, how="semi").collect()


def landing_dates(partitions: Collection[str]) -> set[date]:
    """The days on which partitions landed: rejects have no event date, so they are counted on these."""
    return {parse_partition(p).date() for p in partitions}
