"""Where a table of the registry lies, and what can be told of it without opening it."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import obstore
import polars as pl

from datalake_assets.lake.spec.table_spec import TableSpec
from datalake_assets.lake.store.dtypes import dtype_of_text
from datalake_assets.lake.store.object_store import is_remote, store_and_key


def commit_name(version: int) -> str:
    """The path below a table's place of the commit that made a version."""
    return f"_delta_log/{version:020}.json"


@dataclass(frozen=True)
class TablePlace:
    """A table of the registry at a place: a local folder, or a URL of an object store."""

    spec: TableSpec
    uri: str

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
        name = commit_name(version)
        try:
            if is_remote(self.uri):
                store, key = store_and_key(self.uri, name)
                return str(obstore.head(store, key)["e_tag"])
            state = Path(self.uri, name).stat()
        except FileNotFoundError:
            return None
        return f"{state.st_mtime_ns:x}-{state.st_size:x}"
