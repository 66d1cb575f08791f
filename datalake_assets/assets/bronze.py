"""`bronze/<dataset>`: landed objects are admitted to the ledger."""

from collections import Counter
from datetime import UTC, datetime

import dagster as dg

from datalake_assets.assets.beginnings import EARLIER_TAG, Beginnings
from datalake_assets.assets.failures import only_transient_retries
from datalake_assets.assets.metadata import step_over
from datalake_assets.assets.partitions import landing_partitions
from datalake_assets.lake.lake import Lake
from datalake_assets.lake.spec.dataset import Dataset, EventStream
from datalake_assets.lake.steps.planning import admit


def bronze_key(dataset: Dataset) -> dg.AssetKey:
    """The asset of a dataset's landed objects."""
    return dg.AssetKey(["bronze", dataset.name])


def build_bronze(lake: Lake, dataset: Dataset, begins: Beginnings, *, partitions_per_run: int) -> dg.AssetsDefinition:
    """The bronze asset of a dataset."""
    stream = isinstance(dataset, EventStream)

    @dg.multi_asset(
        name=f"bronze_{dataset.name}",
        specs=[
            dg.AssetSpec(
                bronze_key(dataset),
                description=f"Landed objects of {dataset.name}, as they came. {dataset.description}",
                group_name="bronze",
                owners=[dataset.owner],
                kinds={"bronze", "json" if stream else "parquet"},
                partitions_def=landing_partitions(dataset, begins),
                metadata={"dagster/uri": f"{lake.layout.bronze}/{dataset.landing.prefix}"},
            )
        ],
        backfill_policy=dg.BackfillPolicy.multi_run(partitions_per_run),
        pool=f"bronze_{dataset.name}",
    )
    def bronze(context: dg.AssetExecutionContext) -> dg.MaterializeResult[None]:
        partitions = list(context.partition_keys)
        with only_transient_retries():
            earlier = EARLIER_TAG in context.run.tags or partitions[0] == begins.first_landing(dataset)
            objects, new = admit(lake, dataset, partitions, now=datetime.now(UTC), earlier=earlier)
        count, size = Counter[str](), Counter[str]()
        for landed in objects:
            partition = max(landed.partition, partitions[0])
            count[partition] += 1
            size[partition] += landed.size
        for partition in partitions:
            counts = {"objects": count[partition], "bytes": size[partition]}
            context.add_asset_metadata(counts, asset_key=bronze_key(dataset), partition_key=partition)
        context.log.info("%d objects lie in %d partitions, %d of them new", len(objects), len(partitions), new)
        return dg.MaterializeResult(
            asset_key=bronze_key(dataset),
            metadata={"objects": len(objects), "objects_new": new, "bytes": sum(o.size for o in objects)}
            | step_over(partitions, ["objects", "bytes"]),
        )

    return bronze
