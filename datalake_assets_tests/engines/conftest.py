"""Reading files as DMS lands them, without a table being written."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pytest
from obstore.store import LocalStore

from datalake_assets.lake.engines.polars import PolarsEngine
from datalake_assets.lake.spec.dataset import CdcTable
from datalake_assets.lake.store.landing import LandedObject
from datalake_assets.lake.store.step import ObjectOutcome
from datalake_assets_tests.replicated import DMS_COLUMNS, Row, parquet

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
def read(tmp_path: Path) -> Reader:
    """Land files (rows or raw bytes by path below the prefix) and read them as the articles dataset.

    Keywords change the dataset; columns in `without` are left out of what is accepted.
    """

    def read(
        files: Mapping[str, Sequence[Row] | bytes | None],
        *,
        types: Mapping[str, str | pa.DataType] | None = None,
        without: Sequence[str] = (),
        **changed: Any,
    ) -> Read:
        dataset = CdcTable.model_validate(ARTICLES | changed)
        declared = {name: column.type for name, column in dataset.columns.items()}
        store = LocalStore(prefix=tmp_path)
        objects = []
        for path, rows in files.items():
            key = f"{dataset.landing.prefix}/{path}"
            data = b""
            if rows is not None:
                data = rows if isinstance(rows, bytes) else parquet(rows, {**DMS_COLUMNS, **declared, **(types or {})})
                (tmp_path / key).parent.mkdir(parents=True, exist_ok=True)
                (tmp_path / key).write_bytes(data)
            objects.append(LandedObject(key, "etag", len(data), MODIFIED, "2026-01-05-09:00"))
        batches = list(PolarsEngine().read_changes(dataset, store, objects))
        accepted: list[pl.LazyFrame] = [batch.accepted.drop(without).to_native() for batch in batches]
        rejected: list[pl.LazyFrame] = [batch.rejected.to_native() for batch in batches]
        return Read(
            accepted=[row for frame in accepted for row in frame.collect().to_dicts()],
            rejected=[row for frame in rejected for row in frame.collect().to_dicts()],
            outcomes={o.key.rpartition("/")[2]: o for batch in batches for o in batch.outcomes},
        )

    return read
