"""Steps in the process of the Dagster run, on a Spark session of this machine."""

import os
import shutil
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg

from datalake_assets.lake.lake import Lake
from datalake_assets.lake.steps.execute import execute
from datalake_assets.lake.steps.messages import StepReport, StepRequest
from datalake_assets.settings import UnusableRunnerError

if TYPE_CHECKING:
    from datalake_assets.lake.engines.spark import SparkEngine


_PACKAGES = ("pyspark", "dagster_pyspark")
_REMEDY = "install Java 17 and pip install 'datalake-assets[dagster,spark]'"


def check_spark() -> None:
    """Raise `UnusableRunnerError` where Spark or its Java is not installed; nothing is imported or started."""
    for package in _PACKAGES:
        if not _is_installed(package):
            raise UnusableRunnerError(f"runner spark_local needs {package}, which is not installed; {_REMEDY}")
    home = os.environ.get("JAVA_HOME")  # Spark's own script prefers it too
    if shutil.which(str(Path(home, "bin", "java")) if home else "java") is None:
        where = f"not in JAVA_HOME, {home}" if home else "not on PATH"
        raise UnusableRunnerError(f"runner spark_local needs Java, which is {where}; {_REMEDY}")


def _is_installed(package: str) -> bool:
    try:
        return find_spec(package) is not None
    except ModuleNotFoundError:  # so some finders say it
        return False


class SparkLocalRunner:
    """Runs steps on Spark in the process of the Dagster run.

    The session is made for the first step and kept: Spark has one for each process, and starting it takes seconds.
    """

    def run(self, request: StepRequest, *, lake: Lake, context: dg.AssetExecutionContext | None) -> StepReport:  # noqa: ARG002 (a step here needs none)
        """Run one step here. Raises `UnusableRunnerError` where Spark is not installed or does not start."""
        return execute(request, lake=lake, engine=self._engine)

    @cached_property
    def _engine(self) -> "SparkEngine":
        check_spark()
        from dagster_pyspark import LazyPySparkResource
        from pyspark.errors import PySparkRuntimeError

        from datalake_assets.lake.engines.spark import SparkEngine
        from datalake_assets.lake.engines.spark_session import SPARK_LOCAL, spark_session

        # The lake's session comes first: the resource's own `getOrCreate` then finds it, with the lake's settings.
        try:
            spark_session(SPARK_LOCAL)
        except PySparkRuntimeError as error:
            raise UnusableRunnerError(f"Spark does not start here; it needs Java 17, install that: {error}") from None
        return SparkEngine(LazyPySparkResource(spark_config={}).spark_session)
