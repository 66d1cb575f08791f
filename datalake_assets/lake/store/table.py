"""A Delta table of the lake: opened, and changed by compare-and-swap."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from datalake_assets.lake.store.conflicts import until_undisturbed
from datalake_assets.lake.store.place import TablePlace
from datalake_assets.lake.store.snapshot import Snapshot, open_snapshot

Result = TypeVar("Result")


@dataclass(frozen=True)
class Table(TablePlace):
    """A table of the lake."""

    def open(self) -> Snapshot:
        """The table as it is now; one that does not exist has version -1 and no rows."""
        return open_snapshot(self)

    def moved(self, folder: str) -> "Table":
        """The same table in another folder."""
        return Table(self.spec, f"{folder}/{self.spec.name}", self.storage_options)

    def transact(self, decide: Callable[[Snapshot], Result]) -> Result:
        """Call `decide` with the table as it is until what it commits is on the version that it saw.

        Raises `ConflictError` after many tries.
        """
        return until_undisturbed(lambda: decide(self.open()), what=self.uri)
