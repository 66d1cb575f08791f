"""`silver/<dataset>` (and `silver/<dataset>_history`): admitted objects become cleaned rows."""

from collections.abc import Iterator

import dagster as dg

from datalake_assets.assets.bronze import bronze_key
from datalake_assets.assets.failures import TRANSIENT, only_transient_retries
from datalake_assets.assets.metadata import (
    partition_metadata,
    silver_schema,
    step_metadata,
    table_metadata,
    table_schema,
)
from datalake_assets.assets.partitions import landing_partitions
from datalake_assets.lake.lake import Lake
from datalake_assets.lake.spec.dataset import CdcTable, Dataset
from datalake_assets.lake.spec.parts import Column
from datalake_assets.lake.steps.refresh import refresh_silver
from datalake_assets.resources.runners import Runner

ONLY_WAITING_TAG = "datalake/only_waiting"
"""A run with this tag passes over objects that were processed before; sensors set it, people who replay do not."""

_VALIDITY = {
    "operation": Column(type="string", description="L (load), I, U or D"),
    "valid_from": Column(type="timestamp", description="When the change was committed, UTC"),
    "valid_to": Column(type="timestamp", description="When the next change was committed; null for the newest"),
    "is_current": Column(type="boolean", description="Whether this is the live row"),
}


def silver_key(dataset: Dataset) -> dg.AssetKey:
    """The asset of a dataset's cleaned rows."""
    return dg.AssetKey(["silver", dataset.name])


def history_key(dataset: Dataset) -> dg.AssetKey:
    """The asset of a CDC table's history."""
    return dg.AssetKey(["silver", f"{dataset.name}_history"])


def silver_keys(dataset: Dataset) -> list[dg.AssetKey]:
    """All silver assets of a dataset."""
    with_history = isinstance(dataset, CdcTable) and dataset.history
    return [silver_key(dataset), *([history_key(dataset)] if with_history else [])]


def build_silver(
    lake: Lake, dataset: Dataset, *, partitions_per_run: int, freshness: dg.FreshnessPolicy
) -> dg.AssetsDefinition:
    """The silver assets of a dataset; one step writes them together."""

    def spec(key: dg.AssetKey, description: str, uri: str, schema: dg.TableSchema) -> dg.AssetSpec:
        return dg.AssetSpec(
            key,
            deps=[bronze_key(dataset)],
            description=description,
            group_name="silver",
            owners=[dataset.owner],
            kinds={"silver", "polars", "deltalake"},
            partitions_def=landing_partitions(dataset, start=lake.start),
            metadata=table_metadata(name=".".join(key.path), uri=uri, schema=schema),
            freshness_policy=freshness,
            skippable=True,
        )

    uris = {silver_key(dataset): lake.layout.silver_table(dataset.name)}
    specs = [spec(silver_key(dataset), dataset.description, uris[silver_key(dataset)], silver_schema(dataset))]
    if history_key(dataset) in silver_keys(dataset):
        uris[history_key(dataset)] = lake.layout.history_table(dataset.name)
        specs.append(
            spec(
                history_key(dataset),
                f"Every change of {dataset.name} with the time it was valid (type 2).",
                uris[history_key(dataset)],
                table_schema(dict(dataset.columns) | _VALIDITY, key=dataset.key),
            )
        )

    @dg.multi_asset(
        name=f"silver_{dataset.name}",
        specs=specs,
        can_subset=True,
        backfill_policy=dg.BackfillPolicy.multi_run(partitions_per_run),
        retry_policy=TRANSIENT,
        pool=f"silver_{dataset.name}",
    )
    def silver(
        context: dg.AssetExecutionContext, runner: dg.ResourceParam[Runner]
    ) -> Iterator[dg.MaterializeResult[None]]:
        with only_transient_retries():
            report = refresh_silver(
                lake,
                dataset,
                list(context.partition_keys),
                run=lambda request: runner.run(request, lake=lake),
                only_waiting=ONLY_WAITING_TAG in context.run.tags,
            )
        for key in sorted(context.selected_asset_keys):
            for counts in report.partitions:
                context.add_asset_metadata(partition_metadata(counts), asset_key=key, partition_key=counts.partition)
            yield dg.MaterializeResult(asset_key=key, metadata=step_metadata(report, uri=uris[key]))

    return silver
