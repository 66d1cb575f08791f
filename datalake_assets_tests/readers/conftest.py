"""Reading files as DMS lands them, without a table being written."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import polars as pl
import pyarrow as pa
import pytest

from datalake_assets.lake.readers.batch import Limits
from datalake_assets.lake.readers.changes import ChangeReader
from datalake_assets.lake.spec.dataset import CdcTable
from datalake_assets.lake.store.landing import LandedObject
from datalake_assets.lake.store.outcome import ObjectOutcome
from datalake_assets_tests.dms_files import DMS_COLUMNS, Row, parquet
from datalake_assets_tests.readers.bronze import loading

ARTICLES: dict[str, Any] = {
    "name": "articles",
    "kind": "cdc_table",
    "description": "Articles of a test: a column of every kind.",
    "owner": "team:test",
    "landing": {"prefix": "dms/public/articles"},
    "key": ["id"],
    "order_by": ["ar_h_change_seq"],
    "timestamp_column": "dms_timestamp",
    "columns": {
        "id": {"type": "int64"},
        "title": {"type": "string", "required": True},
        "price": {"type": "decimal(10,2)", "minimum": 0, "maximum": 1000},
        "stock": {"type": "int32"},
        "listed": {"type": "boolean"},
        "changed": {"type": "timestamp"},
    },
    "event_time": {"column": "changed"},
}
MODIFIED = datetime(2026, 1, 5, 8, 30, tzinfo=UTC)
HOUR = "2026/01/05/09/20260105-091500123.parquet"


@dataclass(frozen=True, slots=True)
class Read:
    """What came of reading some files."""

    accepted: list[dict[str, Any]]
    rejected: list[dict[str, Any]]
    outcomes: dict[str, ObjectOutcome]

    def values(self, *columns: str) -> list[Any]:
        """A tuple of these columns of each accepted row; the plain value where it is one column."""
        rows = [tuple(row[c] for c in columns) for row in self.accepted]
        return [row[0] for row in rows] if len(columns) == 1 else rows

    @property
    def reasons(self) -> dict[int, list[str]]:
        """The reasons of each rejected row by its number."""
        return {row["row_number"]: row["errors"] for row in self.rejected}


Reader = Callable[..., Read]


@pytest.fixture
def read() -> Reader:
    """Read files (rows, raw bytes, or what reading them raises, by path below the prefix) as the articles dataset.

    Keywords change the dataset; columns in `without` are left out of what is accepted. With `arrow` the files hold
    Arrow's types too, such as durations, which DMS does not write.
    """

    def read(
        files: Mapping[str, Sequence[Row] | bytes | BaseException],
        *,
        types: Mapping[str, str | pa.DataType] | None = None,
        without: Sequence[str] = (),
        limits: Limits | None = None,
        arrow: bool = False,
        **changed: Any,
    ) -> Read:
        dataset = CdcTable.model_validate(ARTICLES | changed)
        declared = {name: column.type for name, column in dataset.columns.items()}
        landed: dict[str, bytes | BaseException] = {}
        for path, rows in files.items():
            key = f"{dataset.landing.prefix}/{path}"
            if isinstance(rows, bytes | BaseException):
                landed[key] = rows
            else:
                landed[key] = parquet(rows, {**DMS_COLUMNS, **declared, **(types or {})}, arrow=arrow)
        objects = [
            LandedObject(key, "etag", len(data) if isinstance(data, bytes) else 1, MODIFIED, "2026-01-05-09:00")
            for key, data in landed.items()
        ]
        batches = list(ChangeReader(dataset, limits or Limits()).batches(loading(landed), objects))
        accepted: list[pl.LazyFrame] = [batch.accepted.drop(without).to_native() for batch in batches]
        return Read(
            accepted=[row for frame in accepted for row in frame.collect().to_dicts()],
            rejected=[row for batch in batches for row in batch.rejected.to_dicts()],
            outcomes={o.key.rpartition("/")[2]: o for batch in batches for o in batch.outcomes},
        )

    return read
