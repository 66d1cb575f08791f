"""`maintenance`: small files put together, dead files deleted, with what that saved."""

import dagster as dg

from datalake_assets.lake.lake import Lake
from datalake_assets.lake.steps.maintain import maintain
from datalake_assets.lake.store.upkeep import Upkeep
from datalake_assets.settings import Settings

MAINTENANCE_KEY = dg.AssetKey(["maintenance"])


def build_maintenance(lake: Lake, settings: Settings) -> dg.AssetsDefinition:
    """The asset that stands for the upkeep of all tables."""

    @dg.multi_asset(
        name="maintain_tables",
        specs=[
            dg.AssetSpec(
                MAINTENANCE_KEY,
                description="Puts small files of all tables together and deletes the files that nobody needs any more.",
                group_name="maintenance",
                kinds={"deltalake"},
            )
        ],
        pool="maintenance",
    )
    def maintenance(context: dg.AssetExecutionContext) -> dg.MaterializeResult[None]:
        done: list[Upkeep] = []
        for one in maintain(lake, retention=settings.retention):
            if isinstance(one, Upkeep):
                done.append(one)
            else:
                context.log.warning(one)
        columns = [dg.TableColumn(name, "int") for name in ("files before", "files after", "deleted", "bytes freed")]
        table = dg.MetadataValue.table(
            [
                dg.TableRecord(
                    {
                        "table": one.table,
                        "files before": one.live_before,
                        "files after": one.live_after,
                        "deleted": one.deleted,
                        "bytes freed": one.bytes_freed,
                    }
                )
                for one in done
            ],
            dg.TableSchema([dg.TableColumn("table", "string"), *columns]),
        )
        return dg.MaterializeResult(
            asset_key=MAINTENANCE_KEY,
            metadata={
                "files_put_together": sum(one.live_before - one.live_after for one in done),
                "files_deleted": sum(one.deleted for one in done),
                "bytes_freed": sum(one.bytes_freed for one in done),
                "tables": table,
            },
        )

    return maintenance
