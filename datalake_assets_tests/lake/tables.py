"""Small tables for the tests of the store: their rows as tuples of id, number and event date."""

from collections.abc import Iterable
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl
from deltalake import DeltaTable

from datalake_assets.lake.spec.table_spec import TableColumn, TableSpec
from datalake_assets.lake.store.table import Table

MARCH, APRIL = date(2026, 3, 1), date(2026, 4, 1)
COLUMNS = {"id": TableColumn("string"), "n": TableColumn("int64"), "event_date": TableColumn("date")}
KEY = ["id"]
BY_DATE = {"event_date": [MARCH]}
Row = tuple[str | None, int, date | None]


def spec(*, by_date: bool = False, cut: tuple[str, ...] = (), **columns: str) -> TableSpec:
    """A table's declaration, `cut` by some columns or by the event date; keywords add columns by their types."""
    return TableSpec(
        zone="silver",
        name="table",
        description="A table of a test.",
        columns=COLUMNS | {name: TableColumn(type_) for name, type_ in columns.items()},
        key=("id",),
        partition_by=("event_date",) if by_date else cut,
    )


def table(folder: Path, *, by_date: bool = False, cut: tuple[str, ...] = (), **columns: str) -> Table:
    """A table in a folder; it does not exist before it is written."""
    return Table(spec(by_date=by_date, cut=cut, **columns), str(folder / "table"))


def frame(*rows: Row, **values: Any) -> pl.DataFrame:
    """Rows; keywords are columns that have one value in all of them."""
    made = pl.DataFrame(rows, schema={"id": pl.String, "n": pl.Int64, "event_date": pl.Date}, orient="row")
    return made.with_columns(**values)


def ids(*names: str | None) -> pl.DataFrame:
    """Rows to be removed, by their ids."""
    return pl.DataFrame({"id": list(names)}, schema={"id": pl.String})


def added(place: Table, *rows: Row) -> int:
    """Add rows; returns the table's version."""
    return place.open().change(add=frame(*rows))


def content(place: Table) -> list[Row]:
    """The rows of a table as another reader sees them, in order."""
    read = pl.from_arrow(DeltaTable(place.uri).to_pyarrow_table())
    assert isinstance(read, pl.DataFrame)
    found: Iterable[Row] = read.select("id", "n", "event_date").sort("id", "n", nulls_last=False).rows()
    return list(found)
