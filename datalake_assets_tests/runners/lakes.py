"""Landing in a lake on S3, running it to gold, and what its tables hold then."""

import gzip
import json
from collections.abc import Mapping
from typing import Any

import dagster as dg
import obstore

from datalake_assets.cli.outcome import Outcome
from datalake_assets.cli.run import run_to_the_end
from datalake_assets.definitions import build_definitions
from datalake_assets.lake.lake import Lake
from datalake_assets.lake.store.landing import open_store
from datalake_assets.settings import Settings
from datalake_assets_tests.lakes import rows

_JAN_1 = 1_767_225_600
PARTITION = "2026-01-01-00:00"
SILVER = dg.AssetKey(["silver", "clicks"])


def clicks(count: int, *, first: int = 0) -> list[dict[str, Any]]:
    """Some records of clicks."""
    return [{"id": f"c{first + n}", "at": _JAN_1 + n} for n in range(count)]


def land(settings: Settings, name: str, records: list[Any], *, source: str = "clicks") -> None:
    """Land records in the first hour of 2026, as Firehose does; a string among the records is a raw line."""
    lines = [r if isinstance(r, str) else json.dumps(r) for r in records]
    key = f"firehose/{source}/2026/01/01/00/{source}-1-2026-01-01-00-00-00-{name}.gz"
    obstore.put(open_store(settings.layout.bronze), key, gzip.compress("\n".join(lines).encode(), mtime=0))


def run(settings: Settings, instance: dg.DagsterInstance) -> Outcome:
    """All that has landed, to gold."""
    return run_to_the_end(settings, instance, tell=lambda *_: None)


def materialize(
    settings: Settings,
    instance: dg.DagsterInstance,
    *keys: dg.AssetKey,
    tags: Mapping[str, str] | None = None,
    **how: Any,
) -> dg.ExecuteInProcessResult:
    """One run over assets of the first hour."""
    job = build_definitions(settings).resolve_implicit_global_asset_job_def()
    return job.execute_in_process(
        instance=instance, asset_selection=list(keys), partition_key=PARTITION, tags=dict(tags or {}), **how
    )


def admit(settings: Settings, instance: dg.DagsterInstance, source: str = "clicks") -> None:
    """What landed, in the ledger."""
    assert materialize(settings, instance, dg.AssetKey(["bronze", source])).success


def content(lake: Lake) -> dict[str, list[dict[str, Any]]]:
    """The rows of all tables but those that remember, by name."""
    names = [spec.sql_name.replace(".", "/") for spec in lake.specs() if spec.zone != "lake"]
    return {name: rows(lake, name) for name in names}


def metadata(instance: dg.DagsterInstance, key: dg.AssetKey) -> dict[str, Any]:
    """What the newest materialization of an asset tells."""
    (record,) = instance.fetch_materializations(key, limit=1).records
    assert record.asset_materialization is not None
    return {name: value.value for name, value in record.asset_materialization.metadata.items()}


def logged(instance: dg.DagsterInstance, run_id: str) -> str:
    """What a run logged, one line for each entry."""
    return "\n".join(entry.user_message for entry in instance.all_logs(run_id))
