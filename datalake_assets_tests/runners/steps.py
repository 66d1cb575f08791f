"""One step of a Dagster run, asked of a remote runner."""

from typing import Any

import dagster as dg

from datalake_assets.lake.steps.messages import StepReport, StepRequest
from datalake_assets.resources.runners.choosing import make_runner
from datalake_assets.resources.runners.job_memory import JobMemory
from datalake_assets.resources.runners.patience import Patience
from datalake_assets.resources.runners.remote_runner import RemoteRunner
from datalake_assets.settings import Settings
from datalake_assets_tests.runners.lakes import PARTITION

REQUEST = StepRequest(zone="silver", name="clicks", partitions=(PARTITION,))


def remote_runner(settings: Settings, **patience: float) -> RemoteRunner:
    """The runner of some settings that looks often."""
    made = make_runner(settings.runner, settings)
    assert isinstance(made, RemoteRunner)
    return RemoteRunner(
        made.service,
        made.pipes,
        made.engine,
        Patience(**{"poll": 0.5, **patience}),
        made.workers,
    )


def step(
    settings: Settings,
    *,
    request: StepRequest = REQUEST,
    run_id: str | None = None,
    instance: dg.DagsterInstance | None = None,
    before: Any = None,
    **patience: float,
) -> StepReport:
    """The report of one step; raises what the runner raises. `before` is called with what the step's jobs left."""
    reports: list[StepReport] = []
    runner, lake = remote_runner(settings, **patience), settings.lake()

    @dg.asset
    def silver(context: dg.AssetExecutionContext) -> Any:
        if before is not None:
            before(JobMemory.of(runner.pipes, runner.service.name, request, context))
        reports.append(runner.run(request, lake=lake, context=context))
        yield dg.MaterializeResult()

    job = dg.Definitions(assets=[silver]).resolve_implicit_global_asset_job_def()
    job.execute_in_process(instance=instance, run_id=run_id)
    return reports[0]
