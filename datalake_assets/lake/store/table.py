"""A Delta table of the lake: what it is declared to be, at a place."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TypeVar

import obstore
import polars as pl
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError, TableNotFoundError

from datalake_assets.lake.spec.tables import TableSpec
from datalake_assets.lake.store.conflicts import until_undisturbed
from datalake_assets.lake.store.dtypes import dtype_of_text
from datalake_assets.lake.store.snapshot import Snapshot

Result = TypeVar("Result")


@dataclass(frozen=True)
class Table:
    """A table of the lake at a place."""

    spec: TableSpec
    uri: str
    storage_options: Mapping[str, str] = field(default_factory=dict)

    def open(self, version: int | None = None) -> Snapshot:
        """The table as it is now, or was at a version; one that does not exist has version -1 and no rows."""
        options = dict(self.storage_options) or None
        try:
            return Snapshot(self, DeltaTable(self.uri, version=version, storage_options=options))
        except TableNotFoundError:
            return Snapshot(self, None)

    def sweep(self) -> None:
        """Delete the files that the table has not needed for an hour."""
        handle = self.open().handle
        if handle is not None:
            with suppress(DeltaError):  # somebody else is at it, or commits: the next sweep will do
                handle.vacuum(retention_hours=1, dry_run=False, enforce_retention_duration=False)

    def moved(self, folder: str) -> "Table":
        """The same table in another folder."""
        return Table(self.spec, f"{folder}/{self.spec.name}", self.storage_options)

    @cached_property
    def dtypes(self) -> pl.Schema:
        """The columns that are written, with their dtypes."""
        return pl.Schema({name: dtype_of_text(column.type) for name, column in self.spec.columns.items()})

    def log_stamp(self, version: int) -> str | None:
        """What the log shows of the commit of a version without opening the table; None where there is none."""
        name = f"_delta_log/{version:020}.json"
        try:
            if "://" in self.uri:
                return str(obstore.head(obstore.store.from_url(self.uri), name)["e_tag"])
            state = Path(self.uri, name).stat()
        except FileNotFoundError:
            return None
        return f"{state.st_mtime_ns:x}-{state.st_size:x}"

    def transact(self, decide: Callable[[Snapshot], Result]) -> Result:
        """Call `decide` with the table as it is until what it commits is on the version that it saw.

        Raises `ConflictError` after many tries.
        """
        return until_undisturbed(lambda: decide(self.open()), what=self.uri)
