"""Steps in the process of the Dagster run, on a Spark session of this machine."""

from functools import cached_property
from typing import TYPE_CHECKING

import dagster as dg

from datalake_assets.lake.lake import Lake
from datalake_assets.lake.steps.execute import execute
from datalake_assets.lake.steps.messages import StepReport, StepRequest

if TYPE_CHECKING:
    from datalake_assets.lake.engines.spark import SparkEngine


class SparkNotInstalledError(Exception):
    """A step is to run on Spark, and Spark is not installed here; says what to install."""


class SparkLocalRunner:
    """Runs steps on Spark in the process of the Dagster run.

    The session is made for the first step and kept: Spark has one for each process, and starting it takes seconds.
    """

    def run(self, request: StepRequest, *, lake: Lake, context: dg.AssetExecutionContext | None) -> StepReport:  # noqa: ARG002 (a step here needs none)
        """Run one step here. Raises `SparkNotInstalledError`."""
        return execute(request, lake=lake, engine=self._engine)

    @cached_property
    def _engine(self) -> "SparkEngine":
        try:
            from dagster_pyspark import LazyPySparkResource

            from datalake_assets.lake.engines.spark import SparkEngine
            from datalake_assets.lake.engines.spark_session import SPARK_LOCAL, spark_session
        except ModuleNotFoundError as error:
            raise SparkNotInstalledError(
                f"{error.name} is not installed, which runner spark_local needs; run: "
                "pip install 'datalake-assets[dagster,spark]', and install Java 17"
            ) from None
        # The lake's session comes first: the resource's own `getOrCreate` then finds it, with the lake's settings.
        spark_session(SPARK_LOCAL)
        return SparkEngine(LazyPySparkResource(spark_config={}).spark_session)
