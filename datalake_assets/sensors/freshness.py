"""The sensor that tells CloudWatch how old each dataset's newest data in silver are, where a namespace is set for it.

It asks for no runs. An alarm that takes missing values for a breach also finds a daemon that stands still.
"""

from collections.abc import Iterator
from datetime import UTC, datetime

import dagster as dg

from datalake_assets.lake.lake import Lake
from datalake_assets.resources.metrics import DATASET, EVERY_SECONDS, KIND, put_ages
from datalake_assets.settings import Settings

SENSOR = "freshness_metrics"


def build_freshness_sensor(lake: Lake, settings: Settings) -> list[dg.SensorDefinition]:
    """The sensor; none where the settings name no namespace."""
    namespace = settings.metrics
    if namespace is None:
        return []

    @dg.sensor(
        name=SENSOR,
        description=f"Tells CloudWatch ({namespace}) how old the newest data of each dataset are. Asks for no runs.",
        minimum_interval_seconds=EVERY_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
    )
    def freshness_metrics() -> dg.SkipReason:
        ages = dict(_ages(lake, now=datetime.now(UTC)))
        if not ages:
            return dg.SkipReason("no dataset has data in silver yet")
        freshest: dict[str, float] = {}
        for name, age in ages.items():
            kind = lake.datasets[name].kind
            freshest[kind] = min(age, freshest.get(kind, age))
        put_ages(namespace, {DATASET: ages, KIND: freshest})
        oldest = max(ages, key=lambda name: ages[name])
        return dg.SkipReason(f"told the age of {len(ages)} datasets; the oldest, {oldest}: {ages[oldest]:,.0f} s")

    return [freshness_metrics]


def _ages(lake: Lake, *, now: datetime) -> Iterator[tuple[str, float]]:
    """Each dataset that has data in silver, and the seconds since the newest of them landed."""
    for name in sorted(lake.datasets):
        newest = lake.ledger.figures.newest_landed(name)
        if newest is not None:
            yield name, max(0.0, (now - newest).total_seconds())
