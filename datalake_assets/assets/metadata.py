"""What a materialization shows: schemas, counts, places, seconds."""

from collections.abc import Mapping
from typing import Any

import dagster as dg

from datalake_assets.lake.spec.columns import (
    ADDED_COLUMNS,
    CHANGE_ORDER,
    ETL_TIMESTAMP,
    EVENT_DATE,
    EVENT_TIME,
    QUALITY_SCORE,
    RECORD_HASH,
    SOURCE_FILENAME,
    UNKNOWN,
)
from datalake_assets.lake.spec.dataset import Dataset, EventStream
from datalake_assets.lake.spec.parts import Column
from datalake_assets.lake.store import delta
from datalake_assets.lake.store.step import PartitionCounts, StepReport

_ADDED = {
    EVENT_TIME: ("timestamp", "When it happened, UTC"),
    EVENT_DATE: ("date", "The day it happened, UTC; the table's partition"),
    SOURCE_FILENAME: ("string", "The landed object it came with, relative to bronze"),
    RECORD_HASH: ("string", "SHA-256 (hex) of the canonical record"),
    QUALITY_SCORE: ("double", "The share of declared columns that have a value, 0 to 1"),
    ETL_TIMESTAMP: ("timestamp", "When the lake wrote the row, UTC"),
    UNKNOWN: ("string", "What the contract does not declare, as JSON text"),
    CHANGE_ORDER: ("string", "The place of the row's newest change in the total order of changes"),
}
assert _ADDED.keys() == ADDED_COLUMNS  # noqa: S101 (a new column must be described)


def silver_schema(dataset: Dataset) -> dg.TableSchema:
    """The columns of a silver table: the declared ones, then those the lake adds."""
    left_out = {CHANGE_ORDER} if isinstance(dataset, EventStream) else set()
    if dataset.unknown_fields != "keep":
        left_out.add(UNKNOWN)
    added = {n: Column(type=t, description=d) for n, (t, d) in _ADDED.items() if n not in left_out}
    return table_schema(dict(dataset.columns) | added, key=dataset.key)


def table_schema(columns: Mapping[str, Column], *, key: tuple[str, ...] = ()) -> dg.TableSchema:
    """Declared columns as Dagster shows them."""
    return dg.TableSchema(
        columns=[
            dg.TableColumn(
                name,
                type=column.type,
                description=column.description or None,
                constraints=dg.TableColumnConstraints(nullable=not (column.required or name in key)),
                tags={"key": ""} if name in key else {},
            )
            for name, column in columns.items()
        ]
    )


def table_metadata(*, name: str, uri: str, schema: dg.TableSchema) -> dict[str, Any]:
    """What is known of a table before it is ever written."""
    return {
        "dagster/table_name": name,
        "dagster/uri": uri,
        "dagster/column_schema": schema,
        "dagster/storage_kind": "deltalake",
    }


def step_metadata(report: StepReport, *, uri: str) -> dict[str, Any]:
    """What a step did, for the materializations it made."""
    days = [day.isoformat() for day in report.touched_dates]
    return {
        "dagster/row_count": delta.row_count(uri),
        "rows_in": report.rows_in,
        "rows_out": report.rows_out,
        "rows_rejected": report.rows_rejected,
        "rows_written": report.rows_written,
        "bytes_in": report.bytes_in,
        "table_version": report.table_version,
        "touched_dates": dg.MetadataValue.json(days),
        "rejects_by_reason": dg.MetadataValue.json(report.rejects),
        "engine": report.engine,
        "seconds": round(sum(report.seconds.values()), 3),
        **{f"seconds_{stage}": round(seconds, 3) for stage, seconds in report.seconds.items()},
    }


def partition_metadata(counts: PartitionCounts) -> dict[str, Any]:
    """The counts of one partition of a step."""
    return {
        "dagster/partition_row_count": counts.rows_out,
        "partition_rows_in": counts.rows_in,
        "partition_rows_rejected": counts.rows_rejected,
    }
