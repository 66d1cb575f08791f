"""Some rows of a landed file, and the numbers that they have in it."""

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from datalake_assets.lake.readers.rejects import Reject


@dataclass(frozen=True, slots=True)
class FileRows:
    """Rows of a file as its columns, without those that can't be read as such.

    `first` is the number of the first row. `rejects` are the rows that are left out, and `numbers` then those of the
    others.
    """

    frame: pl.DataFrame
    first: int = 1
    numbers: Sequence[int] = ()
    rejects: Sequence[Reject] = ()

    @property
    def row_numbers(self) -> pl.Series:
        """The number of each row in its file, counted from 1."""
        if self.rejects:
            return pl.Series(self.numbers, dtype=pl.Int64)
        return pl.int_range(self.first, self.first + self.frame.height, dtype=pl.Int64, eager=True)
