"""Some rows of a landed file, and the numbers that they have in it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import polars as pl

from datalake_assets.lake.readers.rejects import Reject
from datalake_assets.lake.spec.columns import ROW_NUMBER


@dataclass(frozen=True, slots=True)
class FileRows:
    """Rows of a file as its columns, without those that can't be read as such.

    `rejects` are these. `numbers` are those of the rows in their file, from `first` on; empty: none is left out.
    """

    frame: pl.DataFrame
    first: int = 1
    numbers: Sequence[int] = ()
    rejects: Sequence[Reject] = ()

    def placed(self, changes: pl.DataFrame, rejects: list[Reject]) -> tuple[pl.DataFrame, list[Reject]]:
        """What became of the rows when they were counted without those left out, by their numbers in the file."""
        if not self.rejects:
            return changes, rejects
        numbers = pl.Series(self.numbers, dtype=pl.Int64)
        changes = changes.with_columns(numbers.gather(changes[ROW_NUMBER] - self.first).alias(ROW_NUMBER))
        moved = [replace(r, row_number=self.numbers[r.row_number - self.first]) for r in rejects]
        return changes, sorted([*self.rejects, *moved], key=lambda reject: reject.row_number)
