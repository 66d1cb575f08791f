"""Found columns: what landed files of replicated tables have otherwise than their dataset files declare.

Belongs here: the memory of it, which only grows until a rebuild reads everything anew. So what is made of it is the
same in whatever order files were read. What tables are made of it is told in `spec/drift.py`.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from datalake_assets.lake.spec.drift import Found
from datalake_assets.lake.store.snapshot import Snapshot
from datalake_assets.lake.store.table import Table


@dataclass(frozen=True, slots=True)
class FoundColumns:
    """The types that columns had in landed files, in their table."""

    table: Table

    def all(self) -> dict[str, dict[str, frozenset[str]]]:
        """What was found, by dataset and column."""
        return _by_dataset(self.table.open())

    def enter(self, dataset: str, found: Mapping[str, str]) -> None:
        """Enter the types that columns of a file have; no commit where all of them are known."""
        rows = self._rows(dataset, {name: [text] for name, text in found.items()})

        def decide(seen: Snapshot) -> None:
            known = seen.scan().collect()
            if (new := rows.join(known, on=rows.columns, how="anti")).height:
                seen.change(add=new, exactly_here=True)

        self.table.transact(decide)

    def keep_only(self, dataset: str, found: Found, *, known: Found) -> None:
        """Forget what of all that was `known` no file of a dataset has any more, unless more is known by now."""
        old, new = self._rows(dataset, known), self._rows(dataset, found)

        def decide(seen: Snapshot) -> None:
            now = seen.scan().filter(pl.col("dataset") == dataset).collect()
            gone = now.join(new, on=new.columns, how="anti")
            if gone.height and now.join(old, on=old.columns, how="anti").is_empty():
                seen.change(remove=gone, on=gone.columns, exactly_here=True)

        self.table.transact(decide)

    def _rows(self, dataset: str, found: Found) -> pl.DataFrame:
        rows = [(dataset, name, text) for name, texts in found.items() for text in sorted(texts)]
        return pl.DataFrame(rows, schema=self.table.dtypes, orient="row")


def _by_dataset(seen: Snapshot) -> dict[str, dict[str, frozenset[str]]]:
    found: dict[str, dict[str, frozenset[str]]] = {}
    if seen.exists:
        for dataset, column, type_ in seen.scan().collect().iter_rows():
            known = found.setdefault(dataset, {})
            known[column] = known.get(column, frozenset()) | {type_}
    return found
