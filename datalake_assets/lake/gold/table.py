"""What a gold table is: where it comes from, what it holds, how it is computed."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import narwhals as nw

from datalake_assets.lake.spec.columns import ETL_TIMESTAMP, EVENT_DATE
from datalake_assets.lake.spec.parts import Column
from datalake_assets.lake.spec.tables import TableColumn, TableSpec, of_columns

Frame = nw.LazyFrame[Any]
Compute = Callable[[Mapping[str, Frame]], Frame]


@dataclass(frozen=True, slots=True)
class Lookup:
    """A table whose rows stand beside a gold table's source, whatever the date.

    `table` (such as `silver/customers`) is read whole; the source's column `column` holds its `key`; `shows` are the
    lookup's columns that the gold table shows. When they change for some keys, the dates of the source's rows with
    these keys are computed anew.
    """

    table: str
    key: str
    column: str
    shows: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class GoldTable:
    """One of the business's tables.

    `sources` are tables named by zone and name (`silver/orders`); `compute` gets those of them that exist, and the
    lookups, by name, and returns one frame with `columns`. A `daily` table is computed event date by event date from
    its sources' rows of the same dates; the others are computed whole. `key` is what makes its rows distinct.

    A table that is `by_source` has a column `source` with the dataset's name, and each of its rows depends on that
    dataset alone: when one dataset's date is held back, the others' rows of the date go on.
    """

    name: str
    description: str
    sources: tuple[str, ...]
    columns: dict[str, Column]
    key: tuple[str, ...]
    compute: Compute
    daily: bool = True
    by_source: bool = False
    lookups: tuple[Lookup, ...] = ()
    ordered_by: tuple[str, ...] = ()

    @property
    def datasets(self) -> tuple[str, ...]:
        """The datasets whose changes touch its event dates."""
        zones = ("silver/", "quarantine/")
        return tuple(dict.fromkeys(s.partition("/")[2] for s in self.sources if s.startswith(zones)))

    @property
    def spec(self) -> TableSpec:
        """The table as the registry has it."""
        written = {ETL_TIMESTAMP: TableColumn("timestamp", "When the lake wrote the row, UTC", required=True)}
        return TableSpec(
            zone="gold",
            name=self.name,
            description=self.description,
            columns=of_columns(self.columns, self.key) | written,
            key=self.key,
            partition_by=(EVENT_DATE,) if self.daily else (),
        )


def column(type_: str, description: str) -> Column:
    """A column of a gold table."""
    return Column(type=type_, description=description)
