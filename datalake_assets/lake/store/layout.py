"""Where things stand in the lake: the place of every zone, table and log.

Belongs here: names and places. What is inside a table is told by the modules that write it.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Layout:
    """The place of each zone as a URI or an absolute folder, without a slash at the end."""

    root: str
    bronze: str
    silver: str
    gold: str
    quarantine: str

    @property
    def is_local(self) -> bool:
        """Whether the landing zone is a folder of this machine (not an object store)."""
        return "://" not in self.bronze

    @property
    def ledger(self) -> str:
        """The table of landed objects."""
        return f"{self.root}/ledger"

    @property
    def steps(self) -> str:
        """The table of what each step did."""
        return f"{self.root}/steps"

    def silver_table(self, dataset: str) -> str:
        """The cleaned rows of a dataset: its events, or a table's live rows."""
        return f"{self.silver}/{dataset}"

    def history_table(self, dataset: str) -> str:
        """Every change of a CDC table with the time it was valid (type 2)."""
        return f"{self.silver}/{dataset}_history"

    def tombstone_table(self, dataset: str) -> str:
        """The keys that a CDC table deleted, so that an older change arriving later revives nothing."""
        return f"{self.silver}/{dataset}_tombstones"

    def quarantine_table(self, dataset: str) -> str:
        """The rejected records of a dataset."""
        return f"{self.quarantine}/{dataset}"

    def gold_table(self, table: str) -> str:
        """One of the business's tables."""
        return f"{self.gold}/{table}"
