"""The landing sensor of tables that AWS DMS replicates."""

import dagster as dg

from datalake_assets.assets.jobs import Jobs
from datalake_assets.lake.lake import Lake
from datalake_assets.lake.spec.dataset import CdcTable
from datalake_assets.sensors.landing import build_landing_sensor
from datalake_assets.settings import Settings


def build_dms_sensor(lake: Lake, jobs: Jobs, settings: Settings) -> dg.SensorDefinition | None:
    """One sensor for all CDC tables; None where there are none."""
    tables = {name: d for name, d in lake.datasets.items() if isinstance(d, CdcTable)}
    if not tables:
        return None
    description = "Full loads and changes that DMS landed: asks for bronze and silver of their partitions."
    return build_landing_sensor(lake, tables, jobs=jobs, name="dms_landing", description=description, settings=settings)
