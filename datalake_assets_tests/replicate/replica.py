"""A replication task as tests run it, what it landed, and the table that somebody who replays the files gets."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from typing import Any

import pyarrow.parquet as pq

from datalake_assets.lake.readers.dms_files import LOAD_METADATA
from datalake_assets.replicate.form import Form
from datalake_assets.replicate.plan import Tally, Task
from datalake_assets.replicate.task import drop, replicate
from datalake_assets_tests.postgres import Database

ADDED = ("Op", "dms_timestamp", "ar_h_change_seq")
Row = dict[str, Any]


@dataclass
class Replica:
    """A task over a database, and the lake that it lands in."""

    postgres: Database
    root: Path
    form: Form = field(default_factory=Form)
    told: list[str] = field(default_factory=list)
    name: str = "datalake"

    def task(self, *tables: str) -> Task:
        """The task over these tables (`t` by default, of the schema public)."""
        names = tuple(t if "." in t else f"public.{t}" for t in tables or ("t",))
        return Task(
            name=self.name,
            source=self.postgres.url,
            tables=names,
            root=str(self.root),
            bronze=str(self.root / "bronze"),
            form=self.form,
            interval=0.1,
        )

    def catch_up(self, *tables: str, reload: Sequence[str] = ()) -> Tally:
        """Run the task until what is committed now has landed."""
        return replicate(
            self.task(*tables), reload=tuple(reload), until_caught_up=True, stop=Event(), tell=self.told.append
        )

    def drop(self, *tables: str) -> None:
        """End the task."""
        drop(self.task(*tables))

    def files(self, table: str = "t", *, schema: str = "public") -> list[Path]:
        """A table's files: loads, then changes by the time in their names."""
        found = list((self.root / "bronze" / "dms" / schema / table).rglob("*.parquet"))
        return sorted(found, key=lambda path: (not path.name.startswith("LOAD"), path.name))

    def names(self, table: str = "t") -> list[str]:
        """The files' paths below the table's folder."""
        folder = self.root / "bronze" / "dms" / "public" / table
        return [str(path.relative_to(folder)) for path in self.files(table)]

    def rows(self, table: str = "t", *, schema: str = "public") -> list[Row]:
        """All rows of a table's files, in the order of the files."""
        return [row for path in self.files(table, schema=schema) for row in pq.read_table(path).to_pylist()]

    def changes(self, table: str = "t") -> list[Row]:
        """The rows of files of changes."""
        paths = [path for path in self.files(table) if not path.name.startswith("LOAD")]
        return [row for path in paths for row in pq.read_table(path).to_pylist()]

    def loads(self, table: str = "t") -> list[dict[str, Any]]:
        """What the load files tell of themselves."""
        paths = [path for path in self.files(table) if path.name.startswith("LOAD")]
        return [json.loads(pq.read_metadata(path).metadata[LOAD_METADATA.encode()]) for path in paths]

    def replayed(self, table: str = "t", *, key: str = "id") -> dict[Any, Row]:
        """The live rows by key: loads first, then each change once, in the order of its sequence."""
        rows: dict[Any, Row] = {}
        loads = [row for row in self.rows(table) if not row["ar_h_change_seq"]]
        changes = {row["ar_h_change_seq"]: row for row in self.changes(table)}
        for row in (*loads, *(changes[sequence] for sequence in sorted(changes))):
            before = row.get(f"BI_{key}")
            rows.pop(row[key] if before is None else before, None)
            if row["Op"] != "D":
                rows[row[key]] = {n: v for n, v in row.items() if n not in ADDED and not n.startswith("BI_")}
        return rows

    def state(self) -> dict[str, Any]:
        """What the task remembers."""
        state: dict[str, Any] = json.loads((self.root / "_replication" / f"{self.name}.json").read_text())
        return state


def values(row: Row, *names: str) -> tuple[Any, ...]:
    """Some values of a row."""
    return tuple(row[name] for name in names)
