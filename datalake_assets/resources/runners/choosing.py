"""Which runner a step gets: its dataset's own, else that of the settings; `auto` goes by the bytes that wait.

Belongs here: the choice, making the runners that the settings describe, and finding out before any run whether they
can work.
"""

from datetime import UTC, datetime
from functools import cache

import dagster as dg
import obstore
from obstore.exceptions import BaseError
from pydantic import ByteSize

from datalake_assets.lake.lake import Lake
from datalake_assets.lake.spec.dataset import Dataset
from datalake_assets.lake.steps.messages import StepReport, StepRequest
from datalake_assets.lake.steps.sizes import step_bytes
from datalake_assets.lake.store.landing import open_store
from datalake_assets.resources.clients import client
from datalake_assets.resources.runners.emr_serverless import EmrServerlessService
from datalake_assets.resources.runners.emr_step import EmrStepService
from datalake_assets.resources.runners.glue import GlueService
from datalake_assets.resources.runners.in_process import InProcessRunner
from datalake_assets.resources.runners.jobs import JobService
from datalake_assets.resources.runners.patience import Patience
from datalake_assets.resources.runners.remote_runner import RemoteRunner
from datalake_assets.resources.runners.runner import Runner
from datalake_assets.resources.runners.spark_local import SparkLocalRunner, check_spark
from datalake_assets.resources.runners.workers import Workers
from datalake_assets.settings import Settings, UnusableRunnerError


class ChoosingRunner:
    """Runs each step where its dataset and the settings say, and notes where and why in the report."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._runners: dict[str, Runner] = {}

    def run(self, request: StepRequest, *, lake: Lake, context: dg.AssetExecutionContext | None) -> StepReport:
        """Run one step to its end. Raises what the chosen runner raises."""
        name, reason = self.choose(request, lake)
        if name not in self._runners:
            self._runners[name] = make_runner(name, self._settings)
        report = self._runners[name].run(request, lake=lake, context=context)
        return report.model_copy(update={"runner": name, "runner_reason": reason})

    def choose(self, request: StepRequest, lake: Lake) -> tuple[str, str]:
        """The runner of a step by name, and why it is this one."""
        dataset = lake.datasets[request.name] if request.zone == "silver" else None
        choice, why = self._settings.runner_of(dataset)
        if choice != "auto":
            return choice, why
        waiting, threshold = step_bytes(request, lake, now=datetime.now(UTC)), self._settings.auto_bytes
        size, most = f"{ByteSize(waiting).human_readable()} to read", threshold.human_readable()
        if waiting <= threshold or self._settings.remote_runner is None:
            return "in_process", f"{why}: {size}, at most {most} (DATALAKE_AUTO_BYTES)"
        return self._settings.remote_runner, f"{why}: {size}, above {most} (DATALAKE_AUTO_BYTES)"


def check_runners(settings: Settings, lake: Lake) -> None:
    """Raise `UnusableRunnerError` for a runner, of the settings or of a dataset's own, that can't run any step.

    No service is asked; of the shipped code its list is read.
    """
    for dataset in (None, *(dataset for dataset in lake.datasets.values() if dataset.runner)):
        choice, why = settings.runner_of(dataset)
        settings.require_runner(choice, by=f"`runner` of dataset {dataset.name}" if dataset else "DATALAKE_RUNNER")
        name = settings.remote_runner if choice == "auto" else choice
        try:
            if name == "spark_local":
                check_spark()
            elif name not in {None, "in_process"}:
                _check_service(str(name), settings)
        except UnusableRunnerError as error:
            raise UnusableRunnerError(f"{why}: {error}") from None


def _check_service(name: str, settings: Settings) -> None:
    from botocore.exceptions import BotoCoreError

    try:
        client(_service(name, settings).name.replace("_", "-"))
    except BotoCoreError as error:
        raise UnusableRunnerError(f"boto3 can't ask for {name}: {error} (AWS_REGION and AWS_PROFILE tell it)") from None
    except (BaseError, OSError) as error:
        told = str(error).partition("\n\n")[0]
        raise UnusableRunnerError(f"DATALAKE_CODE: {settings.code_place} can't be read: {told}") from None


def make_runner(name: str, settings: Settings) -> Runner:
    """The runner of a name, as the settings describe it. Raises `UnusableRunnerError` where its code is not shipped."""
    if name == "in_process":
        return InProcessRunner()
    if name == "spark_local":
        return SparkLocalRunner()
    return RemoteRunner(
        service=_service(name, settings),
        pipes=settings.pipes_place,
        engine=settings.remote_engine,
        patience=Patience(poll=settings.poll_seconds, start=settings.job_start_seconds, job=settings.job_seconds),
        workers=Workers(least=settings.workers_min, most=settings.workers_max),
    )


def engines_of(settings: Settings, dataset: Dataset | None) -> set[str]:
    """The engines that steps of a dataset (None: of gold) may compute with, as Dagster shows them."""
    choice, _ = settings.runner_of(dataset)
    names: set[str | None] = {"in_process", settings.remote_runner} if choice == "auto" else {choice}
    by_runner = {"in_process": "polars", "spark_local": "spark"}
    return {by_runner.get(name, settings.remote_engine) for name in names if name}


def _service(name: str, settings: Settings) -> JobService:
    if name == "glue":
        return GlueService(settings.glue_job or "", modules=_modules(settings.code_place))
    if name == "emr_serverless":
        return EmrServerlessService(
            settings.emr_application or "", role=settings.emr_role or "", code=settings.code_place or ""
        )
    return EmrStepService(settings.emr_cluster or "", code=settings.code_place or "")


@cache
def _modules(code: str | None) -> str | None:
    """What a Glue run installs, as `make wheel` wrote it down; None: what the job's definition says."""
    if code is None:
        return None
    try:
        listed = bytes(obstore.get(open_store(code), "requirements.txt").bytes()).decode().split()
    except FileNotFoundError:
        raise UnusableRunnerError(
            f"DATALAKE_CODE: there is no {code}/requirements.txt; run `make wheel` and copy what it makes: "
            f"aws s3 sync dist/remote {code}"
        ) from None
    return ",".join(f"{code}/{line}" if line.endswith(".whl") else line for line in listed)
