"""A small event stream, a lake in a folder of the test, and objects landed in it: what the tests of events share."""

import gzip
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from datalake_assets.lake.lake import Lake
from datalake_assets.lake.spec.dataset import CdcTable, Dataset, EventStream
from datalake_assets.lake.steps.messages import StepReport
from datalake_assets.lake.store.landing import LandedObject
from datalake_assets.lake.store.layout import Layout
from datalake_assets_tests import lakes

HOUR = "2026-03-01-10:00"
FOLDER = "2026/03/01/10"
AT = 1_772_359_200
"""10 o'clock on 1 March 2026, in seconds since 1970."""


def stream(**changes: Any) -> EventStream:
    """An event stream `clicks` with `id` and `at`; keywords change keys of its file (None takes one out)."""
    properties = changes.pop("properties", {})
    keys: dict[str, Any] = {
        "name": "clicks",
        "kind": "event_stream",
        "description": "Clicks.",
        "owner": "team:test",
        "landing": {"prefix": "firehose/clicks"},
        "key": ["id"],
        "event_time": {"column": "at", "unit": "s"},
        "schema": {
            "type": "object",
            "required": ["id", "at"],
            "properties": {"id": {"type": "string"}, "at": {"type": "integer"}} | properties,
        },
        "max_rejected_fraction": 1.0,
    }
    return EventStream.model_validate({k: v for k, v in (keys | changes).items() if v is not None})


def table(**changes: Any) -> CdcTable:
    """A CDC table `orders` with a key; keywords change keys of its file."""
    keys: dict[str, Any] = {
        "name": "orders",
        "kind": "cdc_table",
        "description": "Orders.",
        "owner": "team:test",
        "landing": {"prefix": "dms/public/orders"},
        "key": ["id"],
        "columns": {"id": {"type": "int64"}},
    }
    return CdcTable.model_validate(keys | changes)


def lake_in(folder: Path, *datasets: Dataset) -> Lake:
    """A lake whose zones lie in a folder."""
    zones = {zone: str(folder / zone) for zone in ("bronze", "silver", "gold", "quarantine")}
    return Lake(
        layout=Layout(root=str(folder), **zones),
        datasets={d.name: d for d in datasets},
    )


def ndjson(records: Sequence[Mapping[str, Any] | str]) -> bytes:
    """A line for each record; one that is text stands as it is."""
    return b"".join((r if isinstance(r, str) else json.dumps(r)).encode() + b"\n" for r in records)


def land(lake: Lake, key: str, records: Sequence[Mapping[str, Any] | str] | bytes) -> str:
    """Land records as gzip NDJSON, or bytes as they are; returns the key."""
    file = Path(lake.layout.bronze) / key
    file.parent.mkdir(parents=True, exist_ok=True)
    file.unlink(missing_ok=True)  # a copy of the lake may share its bytes
    file.write_bytes(records if isinstance(records, bytes) else gzip.compress(ndjson(records)))
    return key


def process(lake: Lake, dataset: Dataset, *partitions: str, replay: bool = False) -> StepReport:
    """Admit what landed in some partitions and bring it to silver."""
    return lakes.process(lake, dataset.name, partitions, replay=replay)


def landed(key: str, **changes: Any) -> LandedObject:
    """A landed object as the ledger sees it."""
    facts: dict[str, Any] = {
        "etag": "1",
        "size": 10,
        "last_modified": datetime(2026, 3, 1, 10, 5, tzinfo=UTC),
        "partition": HOUR,
    }
    return LandedObject(key=key, **(facts | changes))
