"""The Spark engine, on the session that all tests of a process share."""

import pytest

from datalake_assets.lake.engines.spark import SparkEngine
from datalake_assets_tests.frames import require_spark, spark_session


@pytest.fixture
def spark() -> SparkEngine:
    """An engine for lakes that compute on Spark."""
    require_spark()
    return SparkEngine(spark_session())
