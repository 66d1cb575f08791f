"""The form of a table in its log: columns, partitioning, configuration; and the one commit that gives a table another.

Belongs here: what a log's `metaData` says, and that commit, which we write ourselves. delta-rs can't: its overwrite
leaves the partitioning as it is, and its `create_table_with_add_actions` opens the table anew, so that it replaces rows
that nobody has decided about. Rows by rows, tables are changed in `snapshot.py`.
"""

import json
import time
import uuid
from collections.abc import Iterable, Iterator, Sequence
from typing import Any
from urllib.parse import quote

import polars as pl
from deltalake import Schema
from deltalake.transaction import AddAction

from datalake_assets.lake.spec.table_spec import TableSpec
from datalake_assets.lake.store.files import partition_text
from datalake_assets.lake.store.notes import CommitNotes
from datalake_assets.lake.store.object_store import get, put_new
from datalake_assets.lake.store.place import commit_name
from datalake_assets.lake.store.table_files import TableFiles

CHECKPOINT_EVERY = 10
"""Commits from one checkpoint to the next."""
_CONFIGURATION = {
    "delta.checkpointInterval": str(CHECKPOINT_EVERY),  # opening reads the last checkpoint and what came after it
    "delta.logRetentionDuration": "interval 1 days",  # a log that is listed at every opening stays short
}
_MEMORY_LOG = {  # nobody asks what the lake's memory was yesterday; a checkpoint names each file that went since
    "delta.logRetentionDuration": "interval 2 minutes",
    "delta.deletedFileRetentionDuration": "interval 1 hours",
}


def configuration(spec: TableSpec) -> dict[str, str]:
    """The Delta properties of a table of the registry."""
    pruned = ",".join(spec.statistics)
    found = _CONFIGURATION | ({"delta.dataSkippingStatsColumns": pruned} if pruned else {})
    return found | _MEMORY_LOG if spec.zone == "lake" else found


def delta_schema(dtypes: pl.Schema) -> Schema:
    """Columns as Delta has them."""
    return Schema.from_arrow(dtypes.to_frame().to_arrow(compat_level=pl.CompatLevel.oldest()).schema)


def replacement(seen: TableFiles, actions: Sequence[AddAction], notes: CommitNotes) -> bytes:
    """The commit that makes written files the only ones of an existing table, in the registry's form, as NDJSON.

    The table keeps its id, so that its readers follow it as before, its protocol and its properties.
    """
    return _as_bytes(_entries(seen, actions, notes))


def reformed(seen: TableFiles, notes: CommitNotes) -> bytes:
    """The commit that gives an existing table the registry's columns and leaves its files as they are, as NDJSON.

    Only columns may be added by it: files that lack one show null.
    """
    return _as_bytes([_info("ADD COLUMNS", {}, notes), _metadata(seen)])


def _as_bytes(entries: Iterable[dict[str, Any]]) -> bytes:
    return b"".join(json.dumps(entry).encode() + b"\n" for entry in entries)


def _entries(seen: TableFiles, actions: Sequence[AddAction], notes: CommitNotes) -> Iterator[dict[str, Any]]:
    """The entries by the Delta protocol, "Actions"."""
    parameters = {"mode": "Overwrite", "partitionBy": json.dumps(seen.table.spec.partition_by)}
    yield _info("WRITE", parameters, notes)
    yield _metadata(seen)
    now = int(time.time() * 1000)
    for file in seen.files.iter_rows(named=True):
        yield {
            "remove": {
                "path": file["path"],  # escaped, as the log told it
                "deletionTimestamp": now,
                "dataChange": True,
                "extendedFileMetadata": True,
                "partitionValues": {name: partition_text(file[f"partition.{name}"]) for name in seen.partition_by},
                "size": file["size_bytes"],
            }
        }
    for action in actions:
        yield {
            "add": {
                "path": quote(action.path, safe="/="),
                "partitionValues": action.partition_values,
                "size": action.size,
                "modificationTime": action.modification_time,
                "dataChange": True,
                "stats": action.stats,
            }
        }


def _info(operation: str, parameters: dict[str, str], notes: CommitNotes) -> dict[str, Any]:
    return {
        "commitInfo": {
            "timestamp": int(time.time() * 1000),
            "operation": operation,
            "operationParameters": parameters,
            "engineInfo": "datalake_assets",
            "txnId": str(uuid.uuid4()),
            "userMetadata": notes.as_text(),
        }
    }


def _metadata(seen: TableFiles) -> dict[str, Any]:
    """The registry's form of an existing table, which keeps its id and what else it is configured to."""
    assert seen.handle is not None  # noqa: S101 (callers know that the table exists)
    spec, was = seen.table.spec, seen.handle.metadata()
    return {
        "metaData": {
            "id": was.id,
            "name": was.name,
            "description": spec.description,
            "format": {"provider": "parquet", "options": {}},
            "schemaString": delta_schema(seen.table.stored_dtypes).to_json(),
            "partitionColumns": list(spec.partition_by),
            "createdTime": was.created_time,
            "configuration": {**was.configuration, **configuration(spec)},
        }
    }


def put_commit(uri: str, version: int, commit: bytes) -> bool:
    """Make a commit the one of a version; False where that has another one already, which is left as it is."""
    return put_new(uri, commit_name(version), commit)


def is_commit(uri: str, version: int, commit_id: str) -> bool:
    """Whether the commit of a version is the one that bears an id, as `notes.properties` gave it one."""
    try:
        return commit_id.encode() in get(uri, commit_name(version))
    except FileNotFoundError:
        return False
