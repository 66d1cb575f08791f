"""What every table of the lake is declared to be: zone, name, columns, key, partitioning.

One registry: SQL names, Dagster's schemas, status, statistics in the log and the dtypes that are written all come from
here, and so will catalogues and templates. Where a table lies is told by the store's layout.
"""

from collections.abc import Iterator, Mapping

from datalake_assets.lake.spec.columns import (
    COMMITTED_AT,
    CONTENT_HASH,
    ETL_TIMESTAMP,
    EVENT_DATE,
    EVENT_MONTH,
    EVENT_TIME,
    FILE_TIME,
    IS_CHANGE,
    IS_CURRENT,
    LEFT_OUT,
    OPERATION,
    QUALITY_SCORE,
    RECORD_HASH,
    ROW_NUMBER,
    SOURCE_FILENAME,
    UNKNOWN,
    VALID_FROM,
    VALID_TO,
)
from datalake_assets.lake.spec.dataset import CdcTable, Dataset, EventStream
from datalake_assets.lake.spec.parts import Column, Partitioning
from datalake_assets.lake.spec.table_spec import TableColumn, TableSpec

_PARTITIONED: Mapping[Partitioning, tuple[str, ...]] = {"none": (), "month": (EVENT_MONTH,), "day": (EVENT_DATE,)}

_LINEAGE = {
    EVENT_TIME: TableColumn("timestamp", "When it happened, UTC"),
    EVENT_DATE: TableColumn("date", "The day it happened, UTC"),
    SOURCE_FILENAME: TableColumn("string", "The landed object it came with, relative to bronze", required=True),
    QUALITY_SCORE: TableColumn("double", "The share of columns with a value, or as its file weighs", required=True),
    ETL_TIMESTAMP: TableColumn("timestamp", "When the lake wrote the row, UTC", required=True),
}
_UNKNOWN = {UNKNOWN: TableColumn("string", "What the dataset file does not declare, as JSON text")}
_RECORD = {
    RECORD_HASH: TableColumn("string", "SHA-256 (hex) of the record's bytes as landed", required=True),
    ROW_NUMBER: TableColumn("int64", "The record's line in its object, from 1", required=True),
}
_ORDER = {
    IS_CHANGE: TableColumn("boolean", "Whether its newest change is one, or a row of a full load", required=True),
    COMMITTED_AT: TableColumn("timestamp", "When its newest change was committed at the source, UTC", required=True),
    FILE_TIME: TableColumn("timestamp", "The time that its file's name tells, UTC; 0001-01-01 for none", required=True),
    SOURCE_FILENAME: _LINEAGE[SOURCE_FILENAME],
    ROW_NUMBER: TableColumn("int64", "Its row in its file, from 1", required=True),
}
_LEFT_OUT = {LEFT_OUT: TableColumn("string", "What the update left out: the names of columns that keep their value")}
_VALIDITY = {
    OPERATION: TableColumn("string", "L (load), I, U or D", required=True),
    CONTENT_HASH: TableColumn("string", "SHA-256 (hex) of the row's values, to tell changes apart", required=True),
    VALID_FROM: TableColumn("timestamp", "From when the row was so, UTC", required=True),
    VALID_TO: TableColumn("timestamp", "When the next change was committed; null for the newest"),
    IS_CURRENT: TableColumn("boolean", "Whether this is the live row", required=True),
}


def silver_table(dataset: Dataset) -> TableSpec:
    """A dataset's cleaned rows: each event once, or a replicated table's live rows."""
    stream = isinstance(dataset, EventStream)
    own = _RECORD if isinstance(dataset, EventStream) else _order(dataset)
    return TableSpec(
        zone="silver",
        name=dataset.name,
        description=dataset.description,
        columns=_declared(dataset) | _unknown(dataset) | _LINEAGE | own,
        key=dataset.key or (RECORD_HASH,),
        partition_by=_PARTITIONED[dataset.partition_by],
        # A stream's file of one day is rewritten for that day alone: it needs no order, and may be large.
        clustered_by=() if stream and dataset.partition_by == "day" else (EVENT_DATE, *dataset.key),
    )


def duplicates_table(dataset: EventStream) -> TableSpec:
    """Accepted records that another copy of the same event outranks: what silver falls back on when that goes."""
    silver = silver_table(dataset)
    return TableSpec(
        zone="silver",
        name=f"{dataset.name}_duplicates",
        description=f"Accepted records of {dataset.name} whose event silver shows by another copy.",
        columns=silver.columns,
        key=(SOURCE_FILENAME, ROW_NUMBER),
        partition_by=silver.partition_by,
        clustered_by=(EVENT_DATE, SOURCE_FILENAME) if silver.clustered_by else (),
    )


def history_table(dataset: CdcTable) -> TableSpec:
    """Every change of a replicated table with the time it was valid.

    What is current lies apart from what is closed, which is never written again: so a change costs what the live table
    costs, however long its history is.
    """
    live = silver_table(dataset)
    return TableSpec(
        zone="silver",
        name=f"{dataset.name}_history",
        description=f"Every change of {dataset.name} with the time it was valid (type 2).",
        columns={**live.columns, **_VALIDITY, **(_LEFT_OUT if dataset.kept_columns else {})},
        key=(*dataset.key, VALID_FROM),
        pruned_by=dataset.key,
        partition_by=(IS_CURRENT, *live.partition_by),
        clustered_by=live.clustered_by if live.partition_by else (),
    )


def tombstones_table(dataset: CdcTable) -> TableSpec:
    """The keys that a replicated table deleted, so that an older change arriving later revives nothing."""
    declared = _declared(dataset)
    return TableSpec(
        zone="silver",
        name=f"{dataset.name}_tombstones",
        description=f"The newest delete of each key of {dataset.name}.",
        columns={name: declared[name] for name in dataset.key} | _order(dataset),
        key=dataset.key,
    )


def quarantine_table(dataset: Dataset) -> TableSpec:
    """A dataset's rejected records, as they landed, with the reasons."""
    return TableSpec(
        zone="quarantine",
        name=dataset.name,
        description=f"Rejected records of {dataset.name} with the reasons.",
        columns={
            "dataset": TableColumn("string", "The dataset", required=True),
            "partition": TableColumn("string", "The partition in which it landed", required=True),
            SOURCE_FILENAME: TableColumn("string", "The landed object, relative to bronze", required=True),
            "etag": TableColumn("string", "Which object of that name", required=True),
            ROW_NUMBER.removeprefix("_"): TableColumn("int64", "The line or row, from 1; 0: the whole object"),
            "raw": TableColumn("string", "The record as it landed, readable"),
            "raw_bytes": TableColumn("binary", "The record's exact bytes, where text can't hold them"),
            "errors": TableColumn("list<string>", "Each reason as `/pointer rule: message`"),
            ETL_TIMESTAMP: TableColumn("timestamp", "When the lake wrote the row, UTC", required=True),
        },
        key=(SOURCE_FILENAME, "row_number"),
        pruned_by=("partition",),
    )


LEDGER = TableSpec(
    zone="lake",
    name="ledger",
    description="Every landed object, once: the partition it was admitted to, and what became of it.",
    columns={
        "dataset": TableColumn("string", "The dataset", required=True),
        "bucket": TableColumn("string", "The month that the object's name tells; `undated` where it tells none"),
        "key": TableColumn("string", "The object's path, relative to bronze", required=True),
        "etag": TableColumn("string", "Its etag, or version, or the hash of its bytes", required=True),
        "size": TableColumn("int64", "Bytes", required=True),
        "stamp": TableColumn("string", "What a listing shows of the object, so that it is recognised unread"),
        "last_modified": TableColumn("timestamp", "When it was last modified, UTC", required=True),
        "partition": TableColumn("string", "The landing partition, fixed at admission", required=True),
        "status": TableColumn("string", "admitted, processed, failed, missing or superseded", required=True),
        "attempts": TableColumn("int64", "Tries that failed since it was admitted"),
        "reason": TableColumn("string", "Why it failed or is missing"),
        "retry_at": TableColumn("timestamp", "When it is tried again; null: not by itself"),
        "rows_in": TableColumn("int64", "Records read"),
        "rows_out": TableColumn("int64", "Records accepted"),
        "rows_rejected": TableColumn("int64", "Records sent to quarantine"),
        "bytes_rejected": TableColumn("int64", "How many of its bytes could not be used"),
        "counted": TableColumn("json", "How many accepted records break a row rule, or belong to a share, by rule"),
        "event_dates": TableColumn("list<date>", "The event dates on which silver may hold records of it"),
        "loaded_at": TableColumn("timestamp", "Of a full load's file: when its first row was transferred, UTC"),
        "loaded_until": TableColumn("timestamp", "Of a full load's file: when its last row was transferred, UTC"),
        "ends_load": TableColumn("boolean", "Whether a full load's file says that it is the last one"),
        "load_settled": TableColumn("boolean", "Whether what its whole load lacks was taken out of silver"),
        "contract": TableColumn(
            "string", "The contract under which it was read last; `several` while it is read under another"
        ),
        "admitted_at": TableColumn("timestamp", "When the lake first saw it, UTC"),
        "begun_at": TableColumn("timestamp", "When a step first wrote records of it, UTC"),
        "writing_since": TableColumn(
            "timestamp", "When a step began to write its records that has not told yet what became of them, UTC"
        ),
        "processed_at": TableColumn("timestamp", "When its records were last in place, UTC"),
    },
    key=("key", "etag", "size"),
    partition_by=("dataset", "bucket"),
    pruned_by=("partition",),
)

VERDICTS = TableSpec(
    zone="lake",
    name="verdicts",
    description="What steps found about a dataset's partitions; a blocking one holds back gold for its dates.",
    columns={
        "dataset": TableColumn("string", "The dataset", required=True),
        "rule": TableColumn("string", "The check", required=True),
        "partition": TableColumn("string", "The landing partition, or the event date, that it is about", required=True),
        "passed": TableColumn("boolean", "Whether it holds", required=True),
        "blocking": TableColumn("boolean", "Whether gold waits while it does not", required=True),
        "dates": TableColumn("list<date>", "The event dates that the partition's records have"),
        "detail": TableColumn("string", "The figures, and what to do", required=True),
        "decided_at": TableColumn("timestamp", "When, UTC", required=True),
    },
    key=("dataset", "rule", "partition"),
    partition_by=("dataset",),
)

PENDING = TableSpec(
    zone="lake",
    name="pending",
    description="What gold owes: event dates to compute, and how far each source has been read.",
    columns={
        "table": TableColumn("string", "The gold table", required=True),
        "source": TableColumn("string", "The source that changed, such as silver/orders; empty: a failed try"),
        "kind": TableColumn(
            "string", "due (to be computed), watermark (read so far), retry (failed tries)", required=True
        ),
        "event_date": TableColumn("date", "The date; null: the table as a whole"),
        "version": TableColumn("int64", "The source's version at which it became due, or has been read"),
        "since": TableColumn("int64", "The version of a lookup that its rows in gold show; null where none is known"),
        "table_id": TableColumn("string", "The identity of the source's table that the version belongs to"),
        "stamp": TableColumn("string", "What the log's newest commit looked like, so that it is recognised unread"),
        "attempts": TableColumn("int64", "Tries that failed"),
        "retry_at": TableColumn("timestamp", "When it is tried again"),
        "reason": TableColumn("string", "Why the last try failed"),
    },
    key=("table", "source", "kind", "event_date"),
)

FOUND_COLUMNS = TableSpec(
    zone="lake",
    name="found_columns",
    description="What landed files of replicated tables have otherwise than their dataset files declare.",
    columns={
        "dataset": TableColumn("string", "The dataset", required=True),
        "column": TableColumn("string", "A column of its files", required=True),
        "type": TableColumn("string", "A type that it had there, as dataset files write it", required=True),
    },
    key=("dataset", "column", "type"),
)


def dataset_tables(dataset: Dataset) -> Iterator[TableSpec]:
    """The tables of one dataset: silver's and quarantine's."""
    yield silver_table(dataset)
    if isinstance(dataset, EventStream):
        yield duplicates_table(dataset)
    else:
        yield tombstones_table(dataset)
        if dataset.history:
            yield history_table(dataset)
    yield quarantine_table(dataset)


def of_columns(columns: Mapping[str, Column], key: tuple[str, ...]) -> dict[str, TableColumn]:
    """Declared columns as a table's."""
    return {n: TableColumn(c.type, c.description, required=c.required or n in key) for n, c in columns.items()}


def _order(dataset: CdcTable) -> dict[str, TableColumn]:
    """What orders changes (see `CdcTable.order_columns`)."""
    sequence = {
        column: TableColumn("decimal(38,0)", f"{name} of its newest change as a number; 0 for a load", required=True)
        for name, column in dataset.sequence_columns.items()
    }
    return {name: (sequence | _ORDER)[name] for name in dataset.order_columns}


def _declared(dataset: Dataset) -> dict[str, TableColumn]:
    return of_columns(dataset.columns, dataset.key)


def _unknown(dataset: Dataset) -> dict[str, TableColumn]:
    return _UNKNOWN if dataset.unknown_fields == "keep" else {}
