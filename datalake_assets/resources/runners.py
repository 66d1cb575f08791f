"""Where a step runs. Every runner takes a request and gives a report; who asked can't tell where it ran."""

from typing import Protocol

from datalake_assets.lake.engines.polars import PolarsEngine
from datalake_assets.lake.lake import Lake
from datalake_assets.lake.steps.execute import execute
from datalake_assets.lake.steps.messages import StepReport, StepRequest


class Runner(Protocol):
    """Runs steps."""

    def run(self, request: StepRequest, *, lake: Lake) -> StepReport:
        """Run one step to its end and give its report."""


class InProcessRunner:
    """Runs steps on Polars in the process of the Dagster run."""

    def run(self, request: StepRequest, *, lake: Lake) -> StepReport:
        """Run one step here."""
        return execute(request, lake=lake, engine=PolarsEngine())
