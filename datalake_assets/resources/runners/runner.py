"""What a runner is: it takes a request and gives a report, and who asked can't tell where the step ran."""

from typing import Protocol

import dagster as dg

from datalake_assets.lake.lake import Lake
from datalake_assets.lake.steps.messages import StepReport, StepRequest


class Runner(Protocol):
    """Runs steps."""

    def run(self, request: StepRequest, *, lake: Lake, context: dg.AssetExecutionContext | None) -> StepReport:
        """Run one step to its end and give its report.

        `context` is that of the asset that asks; None where there is none, which a remote runner can't do without.
        Raises what the step raises, and what starting it elsewhere can raise.
        """
