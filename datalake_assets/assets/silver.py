"""`silver/<dataset>` (and `silver/<dataset>_history`): admitted objects become cleaned rows."""

from collections.abc import Collection, Iterator

import dagster as dg

from datalake_assets.assets.beginnings import EARLIER_TAG, Beginnings
from datalake_assets.assets.bronze import bronze_key
from datalake_assets.assets.checks import check_results, check_specs
from datalake_assets.assets.failures import only_transient_retries
from datalake_assets.assets.metadata import partition_metadata, step_metadata, step_over, table_metadata
from datalake_assets.assets.partitions import landing_partitions
from datalake_assets.lake.lake import Lake
from datalake_assets.lake.spec import tables
from datalake_assets.lake.spec.dataset import CdcTable, Dataset
from datalake_assets.lake.steps.messages import PartitionCounts, StepRequest
from datalake_assets.lake.store.table import Table
from datalake_assets.resources.runners.runner import Runner

ONLY_WAITING_TAG = "datalake/only_waiting"
"""A run with this tag passes over objects that were processed before; sensors set it, people who replay do not."""


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


def _tables(lake: Lake, dataset: Dataset) -> dict[dg.AssetKey, Table]:
    """The tables of a dataset's silver assets, in the columns that the dataset has."""
    found = {silver_key(dataset): lake.silver(dataset)}
    if isinstance(dataset, CdcTable) and dataset.history:
        found[history_key(dataset)] = lake.table(tables.history_table(dataset))
    return found


def build_silver(
    lake: Lake,
    dataset: Dataset,
    begins: Beginnings,
    *,
    partitions_per_run: int,
    freshness: dg.FreshnessPolicy,
    engines: Collection[str],
) -> dg.AssetsDefinition:
    """The silver assets of a dataset; one step writes them together. `engines` are those that it may compute with."""
    written = _tables(lake, dataset)

    def spec(key: dg.AssetKey, table: Table) -> dg.AssetSpec:
        return dg.AssetSpec(
            key,
            deps=[bronze_key(dataset)],
            description=table.spec.description,
            group_name="silver",
            owners=[dataset.owner],
            kinds={"silver", "deltalake", *engines},
            partitions_def=landing_partitions(dataset, begins),
            metadata=table_metadata(table),
            freshness_policy=freshness,
            skippable=True,
        )

    @dg.multi_asset(
        name=f"silver_{dataset.name}",
        specs=[spec(key, table) for key, table in written.items()],
        check_specs=check_specs(dataset, silver_key(dataset)),
        can_subset=True,
        backfill_policy=dg.BackfillPolicy.multi_run(partitions_per_run),
        pool=f"silver_{dataset.name}",
    )
    def silver(
        context: dg.AssetExecutionContext, runner: dg.ResourceParam[Runner]
    ) -> Iterator[dg.MaterializeResult[None] | dg.AssetCheckResult]:
        if context.selected_asset_keys:
            yield from write(context, runner)
        yield from check_results(lake, dataset, context.selected_asset_check_keys)

    def write(context: dg.AssetExecutionContext, runner: Runner) -> Iterator[dg.MaterializeResult[None]]:
        request = StepRequest(
            zone="silver",
            name=dataset.name,
            partitions=tuple(context.partition_keys),
            replay=ONLY_WAITING_TAG not in context.run.tags,
            earlier=EARLIER_TAG in context.run.tags or context.partition_keys[0] == begins.first_landing(dataset),
        )
        with only_transient_retries():
            report = runner.run(request, lake=lake, context=context)
        for failure in report.failed:
            context.log.warning("not read, tried again later: %s", failure)
        grown = _tables(found := lake.as_found(), found.datasets[dataset.name])
        shown: dict[str, PartitionCounts] = {}
        for counts in report.partitions:
            partition = max(counts.partition, context.partition_keys[0])
            shown[partition] = counts.as_part_of(partition, shown.get(partition))
        for key in sorted(context.selected_asset_keys):
            for partition in context.partition_keys:
                counts = shown.get(partition) or PartitionCounts(partition=partition)
                context.add_asset_metadata(partition_metadata(counts), asset_key=key, partition_key=counts.partition)
            metadata = step_metadata(report, table=grown[key])
            several = step_over(context.partition_keys, partition_metadata(PartitionCounts(partition="")))
            yield dg.MaterializeResult(asset_key=key, metadata=metadata | several)

    return silver
