"""`gold/<table>`: the business's figures, event date by event date."""

from datetime import UTC, date, datetime

import dagster as dg

from datalake_assets.assets.failures import only_transient_retries
from datalake_assets.assets.metadata import step_metadata, table_metadata, table_schema
from datalake_assets.assets.partitions import event_dates
from datalake_assets.lake.gold.table import GoldTable
from datalake_assets.lake.lake import Lake
from datalake_assets.lake.steps.planning import clamp_date, dates_of_partitions
from datalake_assets.lake.steps.refresh import refresh_gold
from datalake_assets.resources.runners import Runner


def gold_key(table: GoldTable) -> dg.AssetKey:
    """The asset of a gold table."""
    return dg.AssetKey(["gold", table.name])


def build_gold(
    lake: Lake, table: GoldTable, *, partitions_per_run: int, freshness: dg.FreshnessPolicy
) -> dg.AssetsDefinition:
    """The asset of one gold table."""
    uri = lake.layout.gold_table(table.name)
    owners = sorted({lake.datasets[name].owner for name in table.datasets if name in lake.datasets})
    spec = dg.AssetSpec(
        gold_key(table),
        deps=[source.split("/") for source in (*table.sources, *table.lookups) if not source.startswith("quarantine/")],
        description=table.description,
        group_name="gold",
        owners=owners,
        kinds={"gold", "polars", "deltalake"},
        partitions_def=event_dates(first=lake.first_event_date) if table.daily else None,
        metadata=table_metadata(name=f"gold.{table.name}", uri=uri, schema=table_schema(table.columns, key=table.key)),
        freshness_policy=freshness,
    )

    @dg.multi_asset(
        name=f"gold_{table.name}",
        specs=[spec],
        backfill_policy=dg.BackfillPolicy.multi_run(partitions_per_run) if table.daily else None,
        pool=f"gold_{table.name}",
    )
    def gold(context: dg.AssetExecutionContext, runner: dg.ResourceParam[Runner]) -> dg.MaterializeResult[None]:
        keys = list(context.partition_keys) if table.daily else []
        with only_transient_retries():
            dates = dates_of_partitions(lake, table, keys, now=datetime.now(UTC))
            report = refresh_gold(lake, table, dates, run=lambda request: runner.run(request, lake=lake))
        for key in keys:
            own = [c for c in report.partitions if _partition_of(c.event_dates[0], lake) == key]
            rows = {"dagster/partition_row_count": sum(c.rows_out for c in own)}
            context.add_asset_metadata(rows, asset_key=gold_key(table), partition_key=key)
        return dg.MaterializeResult(asset_key=gold_key(table), metadata=step_metadata(report, uri=uri))

    return gold


def _partition_of(day: date, lake: Lake) -> str:
    return clamp_date(day, first=lake.first_event_date, today=datetime.now(UTC).date()).isoformat()
