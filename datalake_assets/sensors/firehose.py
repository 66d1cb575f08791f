"""The landing sensor of events that Kinesis Firehose or the ingest API land."""

import dagster as dg

from datalake_assets.assets.jobs import Jobs
from datalake_assets.lake.lake import Lake
from datalake_assets.lake.spec.dataset import EventStream
from datalake_assets.sensors.landing import build_landing_sensor
from datalake_assets.settings import Settings


def build_firehose_sensor(lake: Lake, jobs: Jobs, settings: Settings) -> dg.SensorDefinition | None:
    """One sensor for all event streams; None where there are none."""
    streams = {name: d for name, d in lake.datasets.items() if isinstance(d, EventStream)}
    if not streams:
        return None
    description = "Events that Firehose or the ingest API landed: asks for bronze and silver of their partitions."
    return build_landing_sensor(
        lake, streams, jobs=jobs, name="firehose_landing", description=description, settings=settings
    )
