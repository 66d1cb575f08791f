"""What Dagster loads. Importing this reads nothing; `defs()` reads the environment and the dataset files."""

from datetime import UTC, datetime, timedelta

import dagster as dg

from datalake_assets.assets.beginnings import Beginnings, beginnings
from datalake_assets.assets.bronze import build_bronze
from datalake_assets.assets.gold import build_gold
from datalake_assets.assets.jobs import build_jobs
from datalake_assets.assets.maintenance import build_maintenance
from datalake_assets.assets.reconciled import build_reconciled, reconciled_keys
from datalake_assets.assets.silver import build_silver
from datalake_assets.lake.lake import Lake
from datalake_assets.lake.store.store_check import UnreachableStoreError, check_stores
from datalake_assets.resources.runners.choosing import ChoosingRunner, engines_of
from datalake_assets.schedules import (
    build_backfill_schedule,
    build_maintenance_schedule,
    build_reconcile_schedule,
    build_replay_schedule,
)
from datalake_assets.sensors.freshness import build_freshness_sensor
from datalake_assets.sensors.gold import build_gold_sensor
from datalake_assets.sensors.landing import build_landing_sensor
from datalake_assets.settings import Settings

_FRESH = dg.FreshnessPolicy.time_window(fail_window=timedelta(hours=26), warn_window=timedelta(hours=3))


def build_definitions(
    settings: Settings, *, lake: Lake | None = None, begins: Beginnings | None = None
) -> dg.Definitions:
    """A fresh `Definitions` for some settings (of their `lake`, where that is built already).

    Partitions begin where `begins` says, else with the first data. Raises `DatasetError` where a dataset file is wrong,
    and `UnusableRunnerError` where one names a runner that the settings do not describe.
    """
    lake = lake or settings.lake()
    begins = begins or first_partitions(lake, settings)
    most = settings.partitions_per_run
    datasets = lake.datasets.values()
    tables = lake.gold_tables.values()
    jobs = build_jobs(lake, apart=reconciled_keys(lake, settings))
    for dataset in datasets:
        settings.require_runner(settings.runner_of(dataset)[0], by=f"`runner` of dataset {dataset.name}")
    engines_of_gold = engines_of(settings, None)
    return dg.Definitions(
        assets=[
            *(build_bronze(lake, d, begins, partitions_per_run=most) for d in datasets),
            *(
                build_silver(
                    lake, d, begins, partitions_per_run=most, freshness=_FRESH, engines=engines_of(settings, d)
                )
                for d in datasets
            ),
            *(
                build_gold(lake, t, begins, partitions_per_run=most, freshness=_FRESH, engines=engines_of_gold)
                for t in tables
            ),
            build_maintenance(lake, settings),
        ],
        asset_checks=build_reconciled(lake, settings),
        sensors=[
            build_landing_sensor(lake, jobs, settings, begins),
            build_gold_sensor(lake, jobs, settings, begins),
            *build_freshness_sensor(lake, settings),
        ],
        schedules=[
            build_backfill_schedule(lake, settings, begins),
            build_replay_schedule(lake, settings, begins),
            build_maintenance_schedule(lake, jobs),
            *build_reconcile_schedule(jobs),
        ],
        jobs=list(jobs.values()),
        resources={"runner": ChoosingRunner(settings)},
        executor=dg.in_process_executor,
    )


def first_partitions(lake: Lake, settings: Settings, *, looks: bool = True) -> Beginnings:
    """Where a lake's partitions begin under some settings, as of now; without `looks` by these alone."""
    moment = datetime.now(UTC)
    return beginnings(lake if looks else None, landing=settings.start, dates=settings.first_event_date, now=moment)


@dg.definitions
def defs() -> dg.Definitions:
    """The definitions of the lake that the environment describes.

    Raises `UnusableStoreError` where it is in an object store that can't hold one. One that can't be reached now, or
    may not be written by whoever loads this, is no reason: those who work there tell of it.
    """
    settings = Settings()
    lake = settings.lake()
    try:
        check_stores(lake.layout, writes=True)
    except UnreachableStoreError as error:
        dg.get_dagster_logger().warning("%s", error)
        return build_definitions(settings, lake=lake, begins=first_partitions(lake, settings, looks=False))
    return build_definitions(settings, lake=lake)
