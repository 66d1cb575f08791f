"""The jobs that sensors run: Dagster wants the assets of one job to be cut into the same partitions, or into none."""

from collections.abc import Collection
from typing import Any

import dagster as dg

from datalake_assets.assets.bronze import bronze_key
from datalake_assets.assets.gold import gold_key
from datalake_assets.assets.maintenance import MAINTENANCE_KEY
from datalake_assets.assets.silver import silver_keys
from datalake_assets.lake.gold.table import GoldTable
from datalake_assets.lake.lake import Lake
from datalake_assets.lake.spec.dataset import Dataset

Jobs = dict[str, Any]
"""Jobs by name; the type of an unresolved asset job is not public in Dagster."""

GOLD_JOB = "gold"
"""The job that computes gold tables: those of some event dates, and those that are computed whole."""

MONTHLY_GOLD_JOB = "gold_monthly"
"""The job that computes gold tables over replicated tables: what is due of some months."""

ANY_ASSETS_JOB = "__ASSET_JOB"
"""Dagster's own job over all assets: what a schedule names when its runs are cut into different partitions."""

MAINTENANCE_JOB = "maintenance"
"""The job that keeps the tables lean."""

RECONCILE_JOB = "reconcile"
"""The job that compares replicated tables with their source."""

_LANDING = "Admits the objects that landed in {cadence} partitions to the ledger and brings them to silver."
_GOLD = "Computes gold tables of the event dates that silver touched, and those that are computed whole."
_MONTHLY_GOLD = "Computes what is due of some months of the gold tables that are made of replicated tables."
_RECONCILE = "Compares replicated tables with their source, key range by key range."


def landing_job_name(dataset: Dataset) -> str:
    """The job that brings a dataset's landed objects to silver."""
    return f"landed_{dataset.landing.cadence}"


def gold_job_name(table: GoldTable) -> str:
    """The job that computes a gold table."""
    return MONTHLY_GOLD_JOB if table.monthly else GOLD_JOB


def build_jobs(lake: Lake, *, apart: Collection[dg.AssetCheckKey] = ()) -> Jobs:
    """One job for each way of cutting assets into partitions; the checks that go `apart` have one of their own."""
    assets: dict[str, list[dg.AssetKey]] = {}
    descriptions = {GOLD_JOB: _GOLD, MONTHLY_GOLD_JOB: _MONTHLY_GOLD}
    for dataset in lake.datasets.values():
        name = landing_job_name(dataset)
        assets.setdefault(name, []).extend([bronze_key(dataset), *silver_keys(dataset)])
        descriptions[name] = _LANDING.format(cadence=dataset.landing.cadence)
    assets[MAINTENANCE_JOB] = [MAINTENANCE_KEY]
    descriptions[MAINTENANCE_JOB] = "Puts small files together and deletes dead ones, in all tables."
    for table in lake.gold_tables.values():
        assets.setdefault(gold_job_name(table), []).append(gold_key(table))
    checks = dg.AssetSelection.checks(*apart)
    jobs: Jobs = {
        name: dg.define_asset_job(
            name, selection=dg.AssetSelection.assets(*keys) - checks, description=descriptions[name]
        )
        for name, keys in assets.items()
    }
    if apart:
        jobs[RECONCILE_JOB] = dg.define_asset_job(RECONCILE_JOB, selection=checks, description=_RECONCILE)
    return jobs
