"""What a materialization shows: schemas, counts, places, seconds."""

from collections.abc import Iterable, Sequence
from typing import Any

import dagster as dg

from datalake_assets.lake.spec.table_spec import TableSpec
from datalake_assets.lake.steps.messages import PartitionCounts, StepReport
from datalake_assets.lake.store.table import Table


def table_metadata(table: Table) -> dict[str, Any]:
    """What is known of a table before it is ever written."""
    return {
        "dagster/table_name": table.spec.sql_name,
        "dagster/uri": table.uri,
        "dagster/column_schema": table_schema(table.spec),
        "dagster/storage_kind": "deltalake",
    }


def table_schema(spec: TableSpec) -> dg.TableSchema:
    """The columns of a table as Dagster shows them."""
    return dg.TableSchema(
        columns=[
            dg.TableColumn(
                name,
                type=column.type,
                description=column.description or None,
                constraints=dg.TableColumnConstraints(nullable=not (column.required or name in spec.key)),
                tags={"key": ""} if name in spec.key else {},
            )
            for name, column in spec.stored_columns.items()
        ]
    )


def step_metadata(report: StepReport, *, table: Table) -> dict[str, Any]:
    """What a step did, for the materializations it made; and the columns of the table, which may have grown by it."""
    days = [day.isoformat() for day in report.touched_dates]
    withheld = {day.isoformat(): reason for day, reason in report.withheld.items()}
    read = {
        "rows_in": report.rows_in,
        "rows_rejected": report.rows_rejected,
        "bytes_in": report.bytes_in,
        "rejects_by_reason": dg.MetadataValue.json(report.rejects),
    }
    return {
        "dagster/row_count": table.open().row_count,
        "dagster/column_schema": table_schema(table.spec),
        **(read if report.zone == "silver" else {}),  # gold reads tables, not records
        "rows_out": report.rows_out,
        "rows_written": report.rows_written,
        "table_version": report.table_version,
        "touched_dates": dg.MetadataValue.json(days),
        "engine": report.engine,
        "seconds": round(sum(report.seconds.values()), 3),
        **{f"lateness_{name}_seconds": round(seconds, 3) for name, seconds in report.lateness.items()},
        **({"watermark": dg.MetadataValue.timestamp(report.watermark)} if report.watermark else {}),
        **_where(report),
        **({"failed": dg.MetadataValue.json(list(report.failed))} if report.failed else {}),
        **({"withheld": dg.MetadataValue.json(withheld)} if withheld else {}),
        **{f"seconds_{stage}": round(seconds, 3) for stage, seconds in report.seconds.items()},
    }


def _where(report: StepReport) -> dict[str, Any]:
    """Where a step ran and why there, and of a remote job its page and what it has cost."""
    told: dict[str, Any] = {"runner": report.runner, "runner_reason": report.runner_reason}
    if report.job:
        told |= {"job": report.job, "job_link": dg.MetadataValue.url(report.job_link)}
        told |= {f"cost_{unit}": round(amount, 6) for unit, amount in report.cost.items()}
    return told


def partition_metadata(counts: PartitionCounts) -> dict[str, Any]:
    """The counts of one partition of a step, which stand on its page in the place of the step's."""
    return {
        "dagster/partition_row_count": counts.rows_out,
        "rows_in": counts.rows_in,
        "rows_out": counts.rows_out,
        "rows_rejected": counts.rows_rejected,
    }


def step_over(partitions: Sequence[str], own: Iterable[str]) -> dict[str, Any]:
    """What tells the reader of a partition's page that a step did several, and which figures are that partition's."""
    if len(partitions) <= 1:
        return {}
    step = f"{len(partitions):,} partitions, {partitions[0]} to {partitions[-1]}"
    return {"step_over": f"{step}; of this partition alone are {', '.join(own)}, all else is of the step"}
