"""`gold/<table>`: the business's figures, event date by event date."""

from collections import Counter
from collections.abc import Collection, Iterator
from datetime import UTC, date, datetime

import dagster as dg

from datalake_assets.assets.beginnings import EARLIER_TAG, Beginnings
from datalake_assets.assets.failures import only_transient_retries
from datalake_assets.assets.metadata import step_metadata, step_over, table_metadata
from datalake_assets.assets.partitions import gold_partitions
from datalake_assets.assets.silver import ONLY_WAITING_TAG
from datalake_assets.lake.gold.table import GoldTable
from datalake_assets.lake.lake import Lake
from datalake_assets.lake.steps.gold import partition_of
from datalake_assets.lake.steps.messages import StepRequest
from datalake_assets.resources.runners.runner import Runner


def gold_key(table: GoldTable) -> dg.AssetKey:
    """The asset of a gold table."""
    return dg.AssetKey(["gold", table.name])


def build_gold(
    lake: Lake,
    table: GoldTable,
    begins: Beginnings,
    *,
    partitions_per_run: int,
    freshness: dg.FreshnessPolicy,
    engines: Collection[str],
) -> dg.AssetsDefinition:
    """The asset of one gold table; `engines` are those that it may be computed with."""
    written, partitions = lake.table(table.spec), gold_partitions(table, begins)
    sources = [s.table for s in table.sources if not s.table.startswith("quarantine/")]
    # Of a source in partitions Dagster would list all of them, ten years of hours, in each run of a table in none.
    mapping = None if partitions else dg.LastPartitionMapping()
    spec = dg.AssetSpec(
        gold_key(table),
        deps=[
            dg.AssetDep(source.split("/"), partition_mapping=mapping)
            for source in (*sources, *(lookup.table for lookup in table.lookups))
        ],
        description=table.description,
        group_name="gold",
        owners=sorted({lake.datasets[name].owner for name in table.datasets if name in lake.datasets}),
        kinds={"gold", "deltalake", *engines},
        partitions_def=partitions,
        metadata=table_metadata(written),
        freshness_policy=freshness,
    )

    @dg.multi_asset(
        name=f"gold_{table.name}",
        specs=[spec],
        backfill_policy=dg.BackfillPolicy.multi_run(partitions_per_run) if table.daily else None,
        pool=f"gold_{table.name}",
    )
    def gold(
        context: dg.AssetExecutionContext, runner: dg.ResourceParam[Runner]
    ) -> Iterator[dg.MaterializeResult[None]]:
        keys = list(context.partition_keys) if table.daily else []
        request = StepRequest(
            zone="gold",
            name=table.name,
            dates=tuple(date.fromisoformat(key) for key in keys),
            only_due=ONLY_WAITING_TAG in context.run.tags,
            earlier=bool(keys) and (EARLIER_TAG in context.run.tags or keys[0] == begins.first(table).isoformat()),
        )
        with only_transient_retries():
            report = runner.run(request, lake=lake, context=context)
        rows = Counter[str]()
        today = datetime.now(UTC).date()
        for counts in report.partitions if table.daily else ():
            day = date.fromisoformat(counts.partition) if counts.partition else today
            rows[partition_of(table, day, first=request.dates[0], today=today).isoformat()] += counts.rows_out
        for key in keys:
            metadata = {"dagster/partition_row_count": rows[key]}
            context.add_asset_metadata(metadata, asset_key=gold_key(table), partition_key=key)
        for day, reason in report.withheld.items():
            context.log.warning("%s is held back: %s", day, reason)
        grown = lake.as_found()
        metadata = step_metadata(report, table=grown.table(grown.gold_tables[table.name].spec))
        several = step_over(keys, ["dagster/partition_row_count"])
        yield dg.MaterializeResult(asset_key=gold_key(table), metadata=metadata | several)
        if report.failed:
            raise dg.Failure(description="; ".join(report.failed), allow_retries=False)

    return gold
