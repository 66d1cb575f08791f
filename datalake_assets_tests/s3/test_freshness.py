"""CloudWatch is told how old each dataset's newest data are, where a namespace is set for it."""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from pydantic import ValidationError

from datalake_assets.definitions import build_definitions
from datalake_assets.lake.steps.planning import admit
from datalake_assets.resources.metrics import DATASET, KIND, METRIC
from datalake_assets.sensors.freshness import SENSOR
from datalake_assets.settings import Settings
from datalake_assets_tests.aws import Aws
from datalake_assets_tests.lakes import process
from datalake_assets_tests.sources import CLICKS, land, write_datasets


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    folder = write_datasets(tmp_path / "datasets", CLICKS, CLICKS.replace("clicks", "quiet"))
    return Settings(root=str(tmp_path / "lake"), datasets=folder, metrics=f"Datalake/{tmp_path.name}")


def _land(settings: Settings, folder: str, name: str, *, hours_old: float) -> datetime:
    """Land an object that was last modified so long ago; returns when that was."""
    records = [{"id": name, "at": 1_767_225_600}]
    landed = land(Path(settings.layout.bronze), "firehose/clicks", folder, name, records)
    moment = datetime.now(UTC) - timedelta(hours=hours_old)
    os.utime(landed, (moment.timestamp(), moment.timestamp()))
    return moment


def _tick(settings: Settings, instance: dg.DagsterInstance) -> str | None:
    definitions = build_definitions(settings)
    with dg.build_sensor_context(instance=instance, definitions=definitions, sensor_name=SENSOR) as context:
        return definitions.resolve_sensor_def(SENSOR).evaluate_tick(context).skip_message


def _told(aws: Aws, namespace: str | None) -> dict[tuple[str, str], float]:
    """The highest value that CloudWatch has of each dimension."""
    cloudwatch = aws.client("cloudwatch")
    found: dict[tuple[str, str], float] = {}
    for metric in cloudwatch.list_metrics(Namespace=namespace, MetricName=METRIC)["Metrics"]:
        (dimension,) = metric["Dimensions"]
        answer: dict[str, Any] = cloudwatch.get_metric_statistics(
            Namespace=namespace,
            MetricName=METRIC,
            Dimensions=metric["Dimensions"],
            StartTime=datetime.now(UTC) - timedelta(hours=1),
            EndTime=datetime.now(UTC) + timedelta(hours=1),
            Period=86_400,
            Statistics=["Maximum"],
        )
        found[dimension["Name"], dimension["Value"]] = max(point["Maximum"] for point in answer["Datapoints"])
    return found


def test_cloudwatch_is_told_the_age_of_the_newest_data_that_are_in_silver(
    settings: Settings, aws: Aws, instance: dg.DagsterInstance
) -> None:
    _land(settings, "2026/01/01/00", "old", hours_old=5)
    _land(settings, "2026/01/01/01", "new", hours_old=3)
    lake = settings.lake()
    process(lake, "clicks", ["2026-01-01-00:00", "2026-01-01-01:00"])
    message = _tick(settings, instance)
    assert message is not None
    assert message.startswith("told the age of 1 datasets; the oldest, clicks: 10,")
    told = _told(aws, settings.metrics)
    assert told.keys() == {(DATASET, "clicks"), (KIND, "event_stream")}
    assert all(3 * 3_600 <= age < 4 * 3_600 for age in told.values())


def test_what_has_landed_but_is_not_in_silver_makes_nothing_fresh(settings: Settings) -> None:
    lake = settings.lake()
    old = _land(settings, "2026/01/01/00", "old", hours_old=5)
    process(lake, "clicks", ["2026-01-01-00:00"])
    _land(settings, "2026/02/01/01", "waits", hours_old=1)
    newest = lake.ledger.figures.newest_landed("clicks")
    assert newest is not None
    assert abs(newest - old) < timedelta(seconds=1)


def test_the_newest_month_that_has_processed_objects_is_looked_at_and_no_older_one(settings: Settings) -> None:
    lake = settings.lake()
    _land(settings, "2026/01/31/23", "a", hours_old=30)
    process(lake, "clicks", ["2026-01-31-23:00"])
    newer = _land(settings, "2026/02/01/00", "b", hours_old=29)
    process(lake, "clicks", ["2026-02-01-00:00"])
    _land(settings, "2026/03/01/00", "c", hours_old=1)
    admit(lake, lake.datasets["clicks"], ["2026-03-01-00:00"], now=datetime.now(UTC))
    newest = lake.ledger.figures.newest_landed("clicks")
    assert newest is not None
    assert abs(newest - newer) < timedelta(seconds=1)


def test_a_lake_without_data_tells_nothing(settings: Settings, aws: Aws, instance: dg.DagsterInstance) -> None:
    assert _tick(settings, instance) == "no dataset has data in silver yet"
    assert _told(aws, settings.metrics) == {}


def test_nobody_is_told_unless_a_namespace_is_set(settings: Settings) -> None:
    definitions = build_definitions(settings.model_copy(update={"metrics": None}))
    assert SENSOR not in {sensor.name for sensor in definitions.sensors or []}


@pytest.mark.parametrize("namespace", ["AWS/Lambda", "two words", "x" * 256])
def test_what_is_no_namespace_is_refused(namespace: str) -> None:
    with pytest.raises(ValidationError, match="is no CloudWatch namespace"):
        Settings(metrics=namespace)
