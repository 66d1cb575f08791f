"""Steps as job runs of an EMR Serverless application, which is provisioned once."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from math import ceil
from typing import Any

from datalake_assets.resources.clients import client, console, log_tail
from datalake_assets.resources.runners.jobs import JobCall, JobState

_ENDED = frozenset({"SUCCESS", "FAILED", "CANCELLED"})
_LOOKED_BACK = timedelta(days=2)
_COSTS = {"vCPUHour": "vcpu_hours", "memoryGBHour": "memory_gb_hours", "storageGBHour": "storage_gb_hours"}
_ENVIRONMENT = "./environment"  # where Spark unpacks the archive


@dataclass(frozen=True)
class EmrServerlessService:
    """The job runs of one application.

    `role` is the ARN of the role that they take, `code` the place of what `make wheel` builds.
    """

    application: str
    role: str
    code: str
    name: str = "emr_serverless"

    @property
    def _log_group(self) -> str:
        return f"/aws/emr-serverless/{self.application}"  # `infra` makes it, with its retention

    @cached_property
    def _emr(self) -> Any:
        return client("emr-serverless")

    def start(self, call: JobCall) -> str:
        """Start a job run; starting it again with the same token gives the same run."""
        executors = max(1, call.workers - 1)
        settings = {
            "spark.archives": f"{self.code}/environment.tar.gz#environment",
            "spark.emr-serverless.driverEnv.PYTHONPATH": _ENVIRONMENT,
            "spark.executorEnv.PYTHONPATH": _ENVIRONMENT,
            "spark.dynamicAllocation.initialExecutors": str(min(executors, 3)),
            "spark.dynamicAllocation.maxExecutors": str(executors),
        }
        answer = self._emr.start_job_run(
            applicationId=self.application,
            clientToken=call.token,
            executionRoleArn=self.role,
            name=_named(call),
            executionTimeoutMinutes=ceil(call.timeout_seconds / 60),
            jobDriver={
                "sparkSubmit": {
                    "entryPoint": f"{self.code}/entry.py",
                    "entryPointArguments": list(call.arguments),
                    "sparkSubmitParameters": " ".join(f"--conf {key}={value}" for key, value in settings.items()),
                }
            },
            configurationOverrides={
                "monitoringConfiguration": {
                    "cloudWatchLoggingConfiguration": {"enabled": True, "logGroupName": self._log_group}
                }
            },
        )
        return str(answer["jobRunId"])

    def find(self, token: str) -> str | None:
        """The job run that was started with a token."""
        pages = self._emr.get_paginator("list_job_runs").paginate(
            applicationId=self.application, createdAtAfter=datetime.now(UTC) - _LOOKED_BACK
        )
        runs = (run for page in pages for run in page["jobRuns"])
        return next((str(run["id"]) for run in runs if run.get("name", "").endswith(token)), None)

    def state(self, job: str) -> JobState:
        """How a job run is, and what it has cost: what is billed, or used where that is not counted yet."""
        run = self._run(job)
        word = run["state"]
        used = run.get("billedResourceUtilization") or run.get("totalResourceUtilization") or {}
        return JobState(
            word=word,
            ended=word in _ENDED,
            succeeded=word == "SUCCESS",
            reason=run.get("stateDetails") or "",
            cost={name: float(used[unit]) for unit, name in _COSTS.items() if unit in used} if word in _ENDED else {},
        )

    def stop(self, job: str) -> None:
        """Cancel a job run."""
        try:
            self._emr.cancel_job_run(applicationId=self.application, jobRunId=job)
        except self._emr.exceptions.ValidationException:
            if self.state(job).word not in {*_ENDED, "CANCELLING"}:
                raise

    def log_tail(self, job: str) -> list[str]:
        """The end of what the driver wrote to stderr, else to stdout."""
        streams = f"applications/{self.application}/jobs/{job}/SPARK_DRIVER"
        return log_tail(self._log_group, f"{streams}/stderr") or log_tail(self._log_group, f"{streams}/stdout")

    def link(self, job: str) -> str:
        """The application's page in the AWS console, with the job run's id."""
        path = f"emr/home?region={{region}}#/serverless/applications/{self.application}/job-runs/{job}"
        return console(self._emr, path)

    def _run(self, job: str) -> dict[str, Any]:
        answer: dict[str, Any] = self._emr.get_job_run(applicationId=self.application, jobRunId=job)
        run: dict[str, Any] = answer["jobRun"]
        return run


def _named(call: JobCall) -> str:
    return f"{call.title[:200]} {call.token}"
