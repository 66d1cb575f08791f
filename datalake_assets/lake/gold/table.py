"""What a gold table is: where it comes from, what it holds, how it is computed."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import narwhals as nw

from datalake_assets.lake.spec.columns import COMMITTED_AT, ETL_TIMESTAMP, EVENT_DATE
from datalake_assets.lake.spec.dataset import Dataset, EventStream
from datalake_assets.lake.spec.parts import Column
from datalake_assets.lake.spec.table_spec import TableColumn, TableSpec
from datalake_assets.lake.spec.tables import of_columns

Frame = nw.LazyFrame[Any]
Compute = Callable[[Mapping[str, Frame]], Frame]


@dataclass(frozen=True, slots=True)
class Source:
    """A table that a gold table is made of, read day by day where that is.

    `table` goes by zone and name (`silver/orders`); `dataset` is whose verdicts hold its rows back (None: a gold
    table). `dated_by` is the column that tells a row's day: its event date, or when its newest change was committed.
    """

    table: str
    dataset: str | None
    dated_by: str = EVENT_DATE


def rows_of(dataset: Dataset) -> Source:
    """A dataset's silver, by event date."""
    return Source(f"silver/{dataset.name}", dataset.name)


def records_of(dataset: Dataset) -> Source:
    """What came of a dataset, by the day it came about: events when they happened, changes when they were committed.

    Changes are counted from the history where the table keeps one, else by the newest change of each live row. So a
    table that was made over ten years and loaded today is one day's work.
    """
    if isinstance(dataset, EventStream):
        return rows_of(dataset)
    suffix = "_history" if dataset.history else ""
    return Source(f"silver/{dataset.name}{suffix}", dataset.name, COMMITTED_AT)


def rejects_of(dataset: Dataset) -> Source:
    """A dataset's quarantine, by the day its records landed."""
    return Source(f"quarantine/{dataset.name}", dataset.name)


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

    `compute` gets those of the `sources` that exist, and the lookups, by the tables' names, and returns one frame with
    `columns`. A `daily` table is computed event date by event date from its sources' rows of the same days; the others
    are computed whole. `key` is what makes its rows distinct.

    A daily table over events is cut by event date, in Delta and in Dagster. Over replicated tables, whose rows may be
    of any year, it is `monthly`: not cut in Delta, and by months in Dagster, of which only the days are computed that
    are due.

    A table is made `row_by_row` where each of its rows is made of one row of one source: however many rows there are,
    it is computed in lots of them, in each of which rows are `ordered_by` some columns.

    A table that is `by_source` has a column `source` with the dataset's name, and each of its rows depends on that
    dataset alone: when one dataset's date is held back, the others' rows of the date go on.
    """

    name: str
    description: str
    sources: tuple[Source, ...]
    columns: dict[str, Column]
    key: tuple[str, ...]
    compute: Compute
    daily: bool = True
    monthly: bool = False
    by_source: bool = False
    lookups: tuple[Lookup, ...] = ()
    row_by_row: bool = False
    ordered_by: tuple[str, ...] = ()

    @property
    def datasets(self) -> tuple[str, ...]:
        """The datasets whose changes touch its event dates."""
        return tuple(dict.fromkeys(s.dataset for s in self.sources if s.dataset is not None))

    def dataset_of(self, table: str) -> str | None:
        """The dataset that a table it reads belongs to, be it a source or a lookup; None for a gold table."""
        owners = {s.table: s.dataset for s in self.sources}
        owners |= {lookup.table: lookup.table.partition("/")[2] for lookup in self.lookups}
        return owners.get(table)

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
            partition_by=(EVENT_DATE,) if self.daily and not self.monthly else (),
            clustered_by=(EVENT_DATE,) if self.monthly else (),
        )


def column(type_: str, description: str) -> Column:
    """A column of a gold table."""
    return Column(type=type_, description=description)
