"""Where a table of the registry lies, and what can be told of it without opening it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import obstore
import polars as pl

from datalake_assets.lake.spec.table_spec import TableSpec
from datalake_assets.lake.store.dtypes import dtype_of_text


@dataclass(frozen=True)
class TablePlace:
    """A table of the registry at a place; `storage_options` are delta-rs' and Polars' for an object store."""

    spec: TableSpec
    uri: str
    storage_options: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def dtypes(self) -> pl.Schema:
        """The columns of the rows that are written and read, with their dtypes."""
        return pl.Schema({name: dtype_of_text(column.type) for name, column in self.spec.columns.items()})

    @cached_property
    def stored_dtypes(self) -> pl.Schema:
        """The columns that the table has, for whoever reads it: `dtypes`, and the month that cuts it where one does."""
        return pl.Schema({name: dtype_of_text(column.type) for name, column in self.spec.stored_columns.items()})

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
