"""Which gold tables a lake has: those whose sources its datasets give. A new gold table is entered here."""

from collections.abc import Mapping

from datalake_assets.lake.gold.by_source import daily_summary, hourly_metrics, source_statistics
from datalake_assets.lake.gold.shop import daily_sales, orders_enriched
from datalake_assets.lake.gold.streams import events_by_type
from datalake_assets.lake.gold.table import GoldTable
from datalake_assets.lake.spec.dataset import Dataset


def gold_tables(datasets: Mapping[str, Dataset]) -> dict[str, GoldTable]:
    """The gold tables of a lake with these datasets, by name."""
    tables = (
        daily_summary(datasets),
        hourly_metrics(datasets),
        source_statistics(datasets),
        events_by_type(datasets),
        daily_sales(datasets),
        orders_enriched(datasets),
    )
    return {table.name: table for table in tables if table is not None}
