"""Hashes of the keys that a table's files hold, remembered by a step.

A step that writes many batches asks before each which of its keys the table has. Each file is read for that once, also
those that the step writes itself: without it the keys of a day were read again for every batch. Eight bytes a row.
"""

from collections.abc import Sequence

import polars as pl

from datalake_assets.lake.store.table_files import TableFiles


class KeyHashes:
    """What one step knows of the keys of one table."""

    def __init__(self) -> None:
        """Begin with nothing known."""
        self._hashes = pl.Series(dtype=pl.UInt64)
        self._files: list[frozenset[str]] = []  # those of each reading
        self._ends: list[int] = []  # of each reading among the hashes

    def met(
        self, seen: TableFiles, files: pl.DataFrame, hashes: pl.Series, *, on: Sequence[str]
    ) -> tuple[pl.Series, pl.DataFrame]:
        """Those of some hashes that keys of a table have, in the columns `on`, and which of some live files hold them.

        There may be some more: what a file holds that is live no more.
        """
        self._read(seen, files, on)
        places = self._hashes.is_in(hashes.implode()).arg_true()
        readings = pl.Series(self._ends, dtype=pl.UInt32).search_sorted(places, side="right").unique()
        holding = frozenset[str]().union(*(self._files[n] for n in readings))
        return self._hashes.gather(places).unique(), files.filter(pl.col("path").is_in(sorted(holding)))

    def _read(self, seen: TableFiles, files: pl.DataFrame, on: Sequence[str]) -> None:
        known = frozenset[str]().union(*self._files)
        new = files.filter(~pl.col("path").is_in(sorted(known)))
        if new.height:
            found = seen.scan_files(new, on).select(hash_of(on)).collect(engine="streaming").to_series()
            self._hashes = pl.concat([self._hashes, found], rechunk=False)
            self._files.append(frozenset(new["path"]))
            self._ends.append(len(self._hashes))


def hash_of(on: Sequence[str]) -> pl.Expr:
    """The hash of a key, the same for as long as this process lives."""
    return pl.struct(on).hash().alias("hash")
