"""Steps as runs of an AWS Glue job.

The job itself is provisioned once: its script is `entry.py` of what `make wheel` builds.
"""

from dataclasses import dataclass
from functools import cached_property
from math import ceil
from typing import Any

from datalake_assets.resources.clients import client, console, log_tail
from datalake_assets.resources.runners.jobs import JobCall, JobState

TOKEN = "--datalake-token"  # noqa: S105 (tells runs apart, opens nothing)
_ENDED = frozenset({"SUCCEEDED", "FAILED", "ERROR", "STOPPED", "TIMEOUT", "EXPIRED"})
_LOOKED_THROUGH = 400  # runs, newest first: a job run that is taken up again is a recent one


@dataclass(frozen=True)
class GlueService:
    """The runs of one Glue job.

    `worker_type` is Glue's name for the size of a worker. `modules`, where given, is what the run installs in the place
    of what the job's definition says: the value of `--additional-python-modules`.
    """

    job_name: str
    worker_type: str = "G.1X"
    modules: str | None = None
    name: str = "glue"

    @cached_property
    def _glue(self) -> Any:
        return client("glue")

    def start(self, call: JobCall) -> str:
        """Start a run; it is found again by an argument that it does not read."""
        arguments = dict(zip(call.arguments[::2], call.arguments[1::2], strict=True))
        if self.modules:
            arguments["--additional-python-modules"] = self.modules
        answer = self._glue.start_job_run(
            JobName=self.job_name,
            Arguments={**arguments, TOKEN: call.token},
            WorkerType=self.worker_type,
            NumberOfWorkers=max(2, call.workers),
            Timeout=ceil(call.timeout_seconds / 60),
        )
        return str(answer["JobRunId"])

    def find(self, token: str) -> str | None:
        """The run that was started with a token."""
        pages = self._glue.get_paginator("get_job_runs").paginate(
            JobName=self.job_name, PaginationConfig={"MaxItems": _LOOKED_THROUGH, "PageSize": 200}
        )
        runs = (run for page in pages for run in page.get("JobRuns", []))
        return next((str(run["Id"]) for run in runs if run.get("Arguments", {}).get(TOKEN) == token), None)

    def state(self, job: str) -> JobState:
        """How a run is, and what it has cost in DPU-seconds (of a DPU: 4 vCPU and 16 GB)."""
        run = self._run(job)
        word = run["JobRunState"]
        # Glue itself counts only where workers come and go; else it bills all of them for as long as the run took.
        seconds = run.get("DPUSeconds") or run.get("ExecutionTime", 0) * run.get("MaxCapacity", 0.0)
        return JobState(
            word=word,
            ended=word in _ENDED,
            succeeded=word == "SUCCEEDED",
            reason=run.get("ErrorMessage") or run.get("StateDetail") or "",
            cost={"dpu_seconds": float(seconds)} if word in _ENDED else {},
        )

    def stop(self, job: str) -> None:
        """Stop a run."""
        answer = self._glue.batch_stop_job_run(JobName=self.job_name, JobRunIds=[job])
        for error in answer.get("Errors", []):
            detail = error.get("ErrorDetail", {})
            if not self.state(job).ended:
                raise OSError(f"Glue can't stop {job}: {detail.get('ErrorCode')}: {detail.get('ErrorMessage')}")

    def log_tail(self, job: str) -> list[str]:
        """The end of the driver's log: what it wrote to stderr, else to stdout."""
        group = self._run(job).get("LogGroupName") or "/aws-glue/jobs"
        return log_tail(f"{group}/error", job) or log_tail(f"{group}/output", job)

    def link(self, job: str) -> str:
        """The run's page in the AWS console."""
        return console(self._glue, f"gluestudio/home?region={{region}}#/job/{self.job_name}/run/{job}")

    def _run(self, job: str) -> dict[str, Any]:
        run: dict[str, Any] = self._glue.get_job_run(JobName=self.job_name, RunId=job)["JobRun"]
        return run
