"""What a comparison of a table with its source came to, as the command and the asset check tell it."""

from dataclasses import dataclass, field
from typing import Any, Literal

Kind = Literal["missing in silver", "not in the source", "changed"]


@dataclass(frozen=True, slots=True)
class Difference:
    """A row that differs. `columns` has for each column that does the source's value and silver's, as text.

    Values are cut to a few hundred characters; of a row that only one side has there are none.
    """

    key: dict[str, str | None]
    kind: Kind
    columns: dict[str, tuple[str | None, str | None]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """A table of the source beside silver.

    `missing`, `extra` and `changed` count the keys that differ, of which `shown` are told; where `is_cut_short` there
    are more than were looked for. `unsettled` keys went on changing in the source, so that nothing can be said of them.
    `rows_read` counts the rows that were fetched by key and hash: none where all ranges agree. `silver_moved` tells
    whether silver got a new version meanwhile; `left_out` are columns that were not compared, with the reason.
    """

    dataset: str
    table: str
    source_rows: int
    silver_rows: int
    silver_version: int
    ranges: int
    ranges_differing: int
    rows_read: int
    missing: int = 0
    extra: int = 0
    changed: int = 0
    unsettled: int = 0
    looks: int = 1
    is_cut_short: bool = False
    silver_moved: bool = False
    shown: tuple[Difference, ...] = ()
    left_out: dict[str, str] = field(default_factory=dict)

    @property
    def differing(self) -> int:
        """How many keys differ for good."""
        return self.missing + self.extra + self.changed

    @property
    def agrees(self) -> bool:
        """Whether every row is the same on both sides, or was once since the comparison began."""
        return not self.differing and not self.unsettled and not self.is_cut_short

    def told(self, *, values: bool) -> dict[str, Any]:
        """The result for a program: what differs by key and column, with the values where they may be shown."""
        rows = [
            {
                "key": one.key,
                "kind": one.kind,
                "columns": {name: {"source": a, "silver": b} for name, (a, b) in one.columns.items()}
                if values
                else list(one.columns),
            }
            for one in self.shown
        ]
        figures = {
            name: getattr(self, name)
            for name in (
                *("dataset", "table", "agrees", "source_rows", "silver_rows", "silver_version", "ranges"),
                *("ranges_differing", "rows_read", "looks", "differing", "missing", "extra", "changed", "unsettled"),
                *("is_cut_short", "left_out"),
            )
        }
        return figures | {"differences": rows}
