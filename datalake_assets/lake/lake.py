"""The lake as one thing: its datasets, its places, its landing zone, its tables and its memory.

Building one reads nothing; each part touches the disk or the network when it is first asked for something.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property

from datalake_assets.lake.gold.registry import gold_tables
from datalake_assets.lake.gold.table import GoldTable
from datalake_assets.lake.readers.batch import Limits
from datalake_assets.lake.spec import drift, tables
from datalake_assets.lake.spec.dataset import CdcTable, Dataset, EventStream
from datalake_assets.lake.spec.table_spec import TableSpec
from datalake_assets.lake.store.found_columns import FoundColumns
from datalake_assets.lake.store.landing import LandingZone
from datalake_assets.lake.store.layout import Layout
from datalake_assets.lake.store.ledger import Ledger
from datalake_assets.lake.store.objects import open_objects
from datalake_assets.lake.store.pending import Consumer, Pending
from datalake_assets.lake.store.table import Table
from datalake_assets.lake.store.verdicts import Verdicts


@dataclass(frozen=True, slots=True)
class StreamTables:
    """The tables that a step over events writes."""

    silver: Table
    duplicates: Table

    def beside(self, folder: str) -> "StreamTables":
        """The same tables in a folder of their own."""
        return StreamTables(self.silver.moved(folder), self.duplicates.moved(folder))

    @property
    def all(self) -> tuple[Table, ...]:
        """Every table, in the order in which they are swapped: silver, which others serve, last."""
        return self.duplicates, self.silver


@dataclass(frozen=True, slots=True)
class ReplicaTables:
    """The tables that a step over changes writes; `history` where the dataset keeps one."""

    silver: Table
    tombstones: Table
    history: Table | None

    def beside(self, folder: str) -> "ReplicaTables":
        """The same tables in a folder of their own."""
        history = self.history.moved(folder) if self.history else None
        return ReplicaTables(self.silver.moved(folder), self.tombstones.moved(folder), history)

    @property
    def all(self) -> tuple[Table, ...]:
        """Every table, in the order in which they are swapped: silver, which others serve, last."""
        return (*([self.history] if self.history else []), self.tombstones, self.silver)


_SHARED = ("landing", "ledger", "verdicts", "pending", "found_columns", "_tables")
"""What a lake and itself as found have in common: it remembers what it has looked at."""


@dataclass(frozen=True)
class Lake:
    """A lake: where it is, and the datasets that it has.

    They are as their files declare them, or (in the lake that `as_found` gives) with what landed files have besides.
    """

    layout: Layout
    datasets: dict[str, Dataset]
    limits: Limits = field(default_factory=Limits)
    _tables: dict[str, Table] = field(default_factory=dict, init=False, repr=False, compare=False)
    _as_found: list["Lake"] = field(default_factory=list, init=False, repr=False, compare=False)

    def as_found(self) -> "Lake":
        """The lake with replicated tables as they have grown by what was found in their files, as of now.

        Whoever reads or writes their tables asks for it first; the same one is given until something new is found.
        """
        replicated = {name: d for name, d in self.datasets.items() if isinstance(d, CdcTable)}
        found = self.found_columns.all() if replicated else {}
        grown = {name: drift.with_found(d, found.get(name, {})) for name, d in replicated.items()}
        datasets: dict[str, Dataset] = {**self.datasets, **grown}
        for lake in (self, *self._as_found):
            if lake.datasets == datasets:
                return lake
        lake = replace(self, datasets=datasets)
        vars(lake).update({name: getattr(self, name) for name in _SHARED})
        self._as_found[:] = [lake]
        return lake

    @cached_property
    def landing(self) -> LandingZone:
        """The landed objects."""
        return LandingZone(open_objects(self.layout.bronze))

    @cached_property
    def gold_tables(self) -> dict[str, GoldTable]:
        """The gold tables that the datasets give, by name: of the columns that are declared."""
        return gold_tables(
            {n: drift.without_added(d) if isinstance(d, CdcTable) else d for n, d in self.datasets.items()}
        )

    @cached_property
    def ledger(self) -> Ledger:
        """The memory of what landed."""
        return Ledger(self.table(tables.LEDGER))

    @cached_property
    def verdicts(self) -> Verdicts:
        """The memory of what was found wrong."""
        return Verdicts(self.table(tables.VERDICTS))

    @cached_property
    def found_columns(self) -> FoundColumns:
        """The memory of what landed files have otherwise than their dataset files declare."""
        return FoundColumns(self.table(tables.FOUND_COLUMNS))

    @cached_property
    def pending(self) -> Pending:
        """The memory of what gold owes."""
        return Pending(self.table(tables.PENDING))

    def table(self, spec: TableSpec) -> Table:
        """A table of the registry at its place; the same one each time, as it knows what it has looked at."""
        place = self.layout.place_of(spec)
        table = self._tables.get(place)
        if table is None or table.spec != spec:
            table = self._tables[place] = Table(spec, place)
        return table

    def specs(self) -> Iterator[TableSpec]:
        """Every table that the lake can have."""
        for dataset in self.datasets.values():
            yield from tables.dataset_tables(dataset)
        for gold in self.gold_tables.values():
            yield gold.spec
        yield from (tables.LEDGER, tables.PENDING, tables.VERDICTS, tables.FOUND_COLUMNS)

    def silver(self, dataset: Dataset) -> Table:
        """A dataset's cleaned rows."""
        return self.table(tables.silver_table(dataset))

    def quarantine(self, dataset: Dataset) -> Table:
        """A dataset's rejected records."""
        return self.table(tables.quarantine_table(dataset))

    def stream_tables(self, dataset: EventStream) -> StreamTables:
        """What a step over a stream's events writes."""
        return StreamTables(self.silver(dataset), self.table(tables.duplicates_table(dataset)))

    def replica_tables(self, dataset: CdcTable) -> ReplicaTables:
        """What a step over a table's changes writes."""
        history = self.table(tables.history_table(dataset)) if dataset.history else None
        return ReplicaTables(self.silver(dataset), self.table(tables.tombstones_table(dataset)), history)

    def sources(self) -> dict[str, Table]:
        """The tables that gold reads, by the names that gold has for them, such as `silver/orders`."""
        found = {f"silver/{d.name}": self.silver(d) for d in self.datasets.values()}
        for dataset in self.datasets.values():
            if isinstance(dataset, CdcTable) and dataset.history:
                history = tables.history_table(dataset)
                found[f"silver/{history.name}"] = self.table(history)
        found |= {f"quarantine/{d.name}": self.quarantine(d) for d in self.datasets.values()}
        return found | {f"gold/{g.name}": self.table(g.spec) for g in self.gold_tables.values()}

    def consumer(self, gold: GoldTable) -> Consumer:
        """A gold table as its debts see it."""
        lookups = tuple(lookup.table for lookup in gold.lookups)
        sources = {source.table: source.dated_by for source in gold.sources}
        return Consumer(gold.name, self.table(gold.spec), sources, lookups, daily=gold.daily)
