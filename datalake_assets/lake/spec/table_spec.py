"""What a table is declared to be: columns, key, how it is cut and pruned.

Belongs here: one table. Which tables the lake has is in `tables.py`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from datalake_assets.lake.spec.columns import EVENT_MONTH, IS_CURRENT
from datalake_assets.lake.spec.types import LakeType

Zone = Literal["silver", "gold", "quarantine", "lake"]
_PRUNING = frozenset({"date", "timestamp", "string", "int8", "int16", "int32", "int64"})
_ROWS_PER_CUT_FILE, _ROWS_PER_UNCUT_FILE = 1_000_000, 100_000
_EXACT_DIGITS = 15  # delta-rs writes a decimal's bounds as doubles: with more digits they would hide rows


@dataclass(frozen=True, slots=True)
class TableColumn:
    """A column: its type as dataset files write it (or `list<type>`), what it holds, whether it always has a value."""

    type: str
    description: str = ""
    required: bool = False


_MONTH = {
    EVENT_MONTH: TableColumn("date", "The first day of the month of `event_date`; filter by both to read few files")
}


@dataclass(frozen=True, slots=True)
class TableSpec:
    """A table: `name` within its zone (`lake`: the lake's own memory), its columns in order, what makes rows distinct.

    `partition_by` are the columns whose values become folders: dates, the lake's own words, yes or no; never free text.
    `clustered_by` are those by which rows lie together in files that hold rows of many days, or that a merge rewrites.
    """

    zone: Zone
    name: str
    description: str
    columns: Mapping[str, TableColumn]
    key: tuple[str, ...] = ()
    partition_by: tuple[str, ...] = ()
    pruned_by: tuple[str, ...] = field(default=())
    clustered_by: tuple[str, ...] = ()

    @property
    def sql_name(self) -> str:
        """The table's name in SQL, such as `silver.web_events` or `ledger`."""
        return self.name if self.zone == "lake" else f"{self.zone}.{self.name}"

    @property
    def rows_per_file(self) -> int:
        """How many rows a file holds at most: few where a change rewrites what holds its keys or its days."""
        cut_by_date = set(self.partition_by) - {IS_CURRENT}
        return _ROWS_PER_CUT_FILE if cut_by_date and not self.clustered_by else _ROWS_PER_UNCUT_FILE

    @property
    def stored_columns(self) -> Mapping[str, TableColumn]:
        """The columns that readers of the table see: `columns`, and the month of the event date where that cuts it.

        Inside the lake rows have `columns` alone: the month is made of the date where they are written.
        """
        return {**self.columns, **_MONTH} if EVENT_MONTH in self.partition_by else self.columns

    @property
    def statistics(self) -> tuple[str, ...]:
        """The columns whose bounds stand in the table's log: keys, dates and times, where bounds never misstate.

        None for free text and JSON, which would bloat every commit, nor for decimals whose bounds would be rounded.
        """
        wanted = (*self.pruned_by, *self.key, *(n for n, c in self.columns.items() if c.type in {"date", "timestamp"}))
        return tuple(
            name
            for name in dict.fromkeys(wanted)
            if name not in self.partition_by and name.isidentifier() and name.isascii() and _prunes(self.columns[name])
        )


def _prunes(column: TableColumn) -> bool:
    if column.type.startswith("list<"):
        return False
    kind = LakeType.parse(column.type)
    return kind.name in _PRUNING or (kind.name == "decimal" and kind.precision <= _EXACT_DIGITS)
