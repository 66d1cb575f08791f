"""What DMS is told: which tables it replicates, how it orders and names what it lands, how it works.

Belongs here: plain data, made of the dataset files; the resources are in `stacks/sources.py`. What the lake reads of it
is told in docs/dms-files.md.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from datalake_assets.lake.spec.dataset import CdcTable
from infra.declared import declared
from infra.settings import Settings, SettingsError

DMS_FOLDER = "dms"
"""The folder of bronze below which DMS has a folder for each schema, and in it one for each table."""
_REPLICATED_PARTS = 3
_ADDED = ("AR_H_CHANGE_SEQ", "AR_H_STREAM_POSITION", "AR_H_TIMESTAMP", "AR_H_COMMIT_TIMESTAMP")
"""What DMS can tell of a change, by which columns of `order_by` are filled that the source does not have."""
_LOB_KILOBYTES = 1_024
TARGET_SETTINGS: dict[str, Any] = {
    "data_format": "parquet",
    "parquet_version": "parquet-2-0",
    "compression_type": "GZIP",
    "enable_statistics": True,
    "date_partition_enabled": True,
    "date_partition_sequence": "YYYYMMDDHH",
    "date_partition_delimiter": "SLASH",
    "include_op_for_full_load": True,
    "use_task_start_time_for_full_load_timestamp": True,
    "parquet_timestamp_in_millisecond": False,
    "preserve_transactions": False,
    "cdc_max_batch_interval": 60,
    "cdc_min_file_size": 32_000,
}
"""What the lake's reader of DMS files builds on (docs/dms-files.md)."""


def replicated_tables(settings: Settings) -> list[CdcTable]:
    """The datasets that DMS replicates: those that land in `dms/SCHEMA/TABLE`. Others come from elsewhere."""
    tables = (d for d in declared(settings).datasets.values() if isinstance(d, CdcTable))
    return [d for d in tables if _is_replicated(d.landing.prefix)]


def _is_replicated(prefix: str) -> bool:
    parts = prefix.split("/")
    return len(parts) == _REPLICATED_PARTS and parts[0] == DMS_FOLDER


def timestamp_column(tables: Sequence[CdcTable]) -> str:
    """The column for commit times, which DMS names once for all tables of an endpoint.

    Raises `SettingsError` where there are no tables, or they have none or different ones.
    """
    if not tables:
        raise SettingsError("source: no dataset file lands in dms/SCHEMA/TABLE to be replicated; set source=none")
    names = {d.name: d.timestamp_column for d in tables}
    found = set(names.values())
    if len(found) != 1 or None in found:
        raise SettingsError(
            f"datasets: DMS gives all tables of an endpoint one timestamp_column, and these have {names}; write the "
            "same in each dataset file"
        )
    return str(found.pop())


def table_mappings(tables: Sequence[CdcTable], *, with_added: bool = True) -> dict[str, Any]:
    """DMS's table mappings: each table by name, and (`with_added`) the columns that order its changes.

    Raises `SettingsError` for an `order_by` that neither the table nor DMS has.
    """
    rules: list[dict[str, Any]] = []
    for dataset in tables:
        _, schema, table = dataset.landing.prefix.split("/")
        at = {"schema-name": schema, "table-name": table}
        rules.append(_rule(rules, {"rule-type": "selection", "object-locator": at, "rule-action": "include"}))
        for column in _added_columns(dataset) if with_added else ():
            added = {
                "rule-type": "transformation",
                "rule-target": "column",
                "object-locator": at,
                "rule-action": "add-column",
                "value": column,
                "expression": f"${column.upper()}",
                "data-type": {"type": "string", "length": 50},
            }
            rules.append(_rule(rules, added))
    return {"rules": rules}


def _rule(rules: Sequence[object], rule: dict[str, Any]) -> dict[str, Any]:
    number = str(len(rules) + 1)  # tables of two schemas may have one name, and rules may not
    return {"rule-id": number, "rule-name": number, **rule}


def _added_columns(dataset: CdcTable) -> Iterator[str]:
    for column in dataset.order_by:
        if column in dataset.columns:
            continue
        if column.upper() not in _ADDED:
            known = ", ".join(name.lower() for name in _ADDED)
            raise SettingsError(
                f"datasets: order_by of {dataset.name} has {column}, which is no column of the table, and DMS can add "
                f"only {known}; name one of these or declare the column"
            )
        yield column


def replication_settings() -> dict[str, Any]:
    """How DMS works: nothing that has landed is deleted or overwritten, and a table that fails stops no other."""
    lobs = {"SupportLobs": True, "FullLobMode": False, "LimitedSizeLobMode": True, "LobMaxSize": _LOB_KILOBYTES}
    kept = {"HandleSourceTableDropped": False, "HandleSourceTableTruncated": False, "HandleSourceTableAltered": True}
    errors = {"DataErrorPolicy": "LOG_ERROR", "DataTruncationErrorPolicy": "LOG_ERROR"}
    tries = {"TableErrorPolicy": "SUSPEND_TABLE", "RecoverableErrorCount": -1, "RecoverableErrorInterval": 5}
    return {
        "TargetMetadata": {**lobs, "BatchApplyEnabled": False},
        "FullLoadSettings": {"TargetTablePrepMode": "DO_NOTHING"},
        "ChangeProcessingDdlHandlingPolicy": kept,
        "ErrorBehavior": {**errors, **tries, "FailOnNoTablesCaptured": True},
        "Logging": {"EnableLogging": True},
    }
