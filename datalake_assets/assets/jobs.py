"""The jobs that sensors and schedules run: Dagster wants the assets of one job to be cut into the same partitions."""

from typing import Any

import dagster as dg

from datalake_assets.assets.bronze import bronze_key
from datalake_assets.assets.gold import gold_key
from datalake_assets.assets.silver import silver_keys
from datalake_assets.lake.gold.registry import gold_tables
from datalake_assets.lake.gold.table import GoldTable
from datalake_assets.lake.lake import Lake
from datalake_assets.lake.spec.dataset import Dataset

Jobs = dict[str, Any]
"""Jobs by name; the type of an unresolved asset job is not public in Dagster."""


def landing_job_name(dataset: Dataset) -> str:
    """The job that brings a dataset's landed objects to silver."""
    return f"landed_{dataset.landing.cadence}"


def gold_job_name(table: GoldTable) -> str:
    """The job that computes a gold table."""
    return "gold_dates" if table.daily else "gold_totals"


def build_jobs(lake: Lake) -> Jobs:
    """One job for each way of cutting assets into partitions."""
    assets: dict[str, list[dg.AssetKey]] = {}
    for dataset in lake.datasets.values():
        assets.setdefault(landing_job_name(dataset), []).extend([bronze_key(dataset), *silver_keys(dataset)])
    for table in gold_tables(lake.datasets).values():
        assets.setdefault(gold_job_name(table), []).append(gold_key(table))
    return {name: dg.define_asset_job(name, selection=dg.AssetSelection.assets(*keys)) for name, keys in assets.items()}
