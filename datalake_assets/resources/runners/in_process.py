"""Steps in the process of the Dagster run, on Polars."""

import dagster as dg

from datalake_assets.lake.engines.polars import PolarsEngine
from datalake_assets.lake.lake import Lake
from datalake_assets.lake.steps.execute import execute
from datalake_assets.lake.steps.messages import StepReport, StepRequest


class InProcessRunner:
    """Runs steps on Polars in the process of the Dagster run."""

    def run(self, request: StepRequest, *, lake: Lake, context: dg.AssetExecutionContext | None) -> StepReport:  # noqa: ARG002 (a step here needs none)
        """Run one step here."""
        return execute(request, lake=lake, engine=PolarsEngine())
