"""The lake's own metric in CloudWatch: its name and dimensions, which alarms go by, and how a value gets there."""

from collections.abc import Mapping
from typing import Any

METRIC = "SecondsSinceNewestData"
"""How old the newest landed object is that silver has: it grows while nothing lands, and while nothing is processed."""

DATASET, KIND = "Dataset", "Kind"
"""Its dimensions: a dataset by name, and all of one kind, of which the freshest is told."""

EVERY_SECONDS = 300
"""How often values are put; alarms look at periods of this length."""

_MOST_AT_ONCE = 1_000  # values that one call takes


def put_ages(namespace: str, ages: Mapping[str, Mapping[str, float]]) -> None:
    """Tell CloudWatch ages in seconds, by dimension and its value. Raises what boto3 raises."""
    from datalake_assets.resources.clients import client

    data: list[dict[str, Any]] = [
        {"MetricName": METRIC, "Dimensions": [{"Name": dimension, "Value": name}], "Value": age, "Unit": "Seconds"}
        for dimension, of_names in ages.items()
        for name, age in of_names.items()
    ]
    cloudwatch = client("cloudwatch")
    for start in range(0, len(data), _MOST_AT_ONCE):
        cloudwatch.put_metric_data(Namespace=namespace, MetricData=data[start : start + _MOST_AT_ONCE])
