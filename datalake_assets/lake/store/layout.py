"""Where things stand in the lake: the place of every zone and table.

Belongs here: places. What a table is, is told by the registry in `spec/tables.py`.
"""

from dataclasses import dataclass

from datalake_assets.lake.spec.table_spec import TableSpec


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

    def place_of(self, spec: TableSpec) -> str:
        """The place of a table."""
        zones = {"silver": self.silver, "gold": self.gold, "quarantine": self.quarantine, "lake": self.root}
        return f"{zones[spec.zone]}/{spec.name}"
