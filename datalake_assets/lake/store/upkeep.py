"""Keeping tables lean: small files put together, files that nobody needs any more deleted.

Commits put the small files of the partitions they write together by themselves, where these have become many
(`Snapshot.change`); here is what is left to be done now and then. Neither changes a row: no commit here touches a date.
"""

from dataclasses import dataclass
from datetime import timedelta
from functools import partial

import polars as pl

from datalake_assets.lake.store.dead_files import delete_dead_files
from datalake_assets.lake.store.snapshot import Snapshot
from datalake_assets.lake.store.table import Table

_MEMORY = timedelta(hours=1)
_FULL = 0.5
"""A file with this share of the rows that it may have is let be."""


@dataclass(frozen=True, slots=True)
class Upkeep:
    """What was done for one table: live files before and after, dead files deleted and their bytes (local ones)."""

    table: str
    live_before: int
    live_after: int
    deleted: int
    bytes_freed: int

    @property
    def changed(self) -> bool:
        """Whether there was anything to do."""
        return self.live_before != self.live_after or self.deleted > 0


def keep_up(table: Table, *, retention: timedelta) -> Upkeep | None:
    """Put the small files of a table together and delete those that went before `retention`; None without a table.

    A reader that opened the table within `retention` finds its files. The files of a table that waits for a rebuild,
    which writes them all anew, are left as they are. Raises `ConflictError` where other writers come
    between many times.
    """
    before = table.open()
    if not before.exists:
        return None
    small = before.files.filter(pl.col("num_records") < _FULL * table.spec.rows_per_file, before.fits)
    for lot in before.in_lots(small):
        if lot.height > 1:
            table.transact(partial(_put_together, lot=lot))
    after = before.at(None)  # for itself: deleting files moves a handle on
    assert after.handle is not None  # noqa: S101 (a table that was there is there)
    of_memory = table.spec.zone == "lake"  # every step and every look reads it, whoever asked for no retention
    deleted, freed = delete_dead_files(after.handle, retention=max(retention, _MEMORY) if of_memory else retention)
    return Upkeep(table.spec.sql_name, before.files.height, after.files.height, deleted, freed)


def _put_together(seen: Snapshot, *, lot: pl.DataFrame) -> None:
    """Put files of one partition together, those that the table still has, unless it must be rebuilt by now."""
    left = seen.files.join(lot.select("path"), on="path", how="semi")
    part = {name: [lot[f"partition.{name}"][0]] for name in seen.partition_by}
    if left.height > 1 and seen.fits:
        seen.rewrite(left, within=part or None)
