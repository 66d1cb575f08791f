"""Steps as steps of an EMR cluster that runs already."""

import gzip
import re
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import Any

import obstore

from datalake_assets.lake.store.landing import open_store
from datalake_assets.resources.clients import client, console
from datalake_assets.resources.runners.jobs import JobCall, JobState

_ENDED = frozenset({"COMPLETED", "CANCELLED", "FAILED", "INTERRUPTED"})
_LOOKED_THROUGH = 500  # steps, newest first
_TAIL_LINES = 40
_ENVIRONMENT = "./environment"  # where YARN unpacks the archive
_APPLICATION = re.compile(r"application_\d+_\d+")


@dataclass(frozen=True)
class EmrStepService:
    """The steps of one cluster; `code` is the place of what `make wheel` builds."""

    cluster: str
    code: str
    name: str = "emr"

    @cached_property
    def _emr(self) -> Any:
        return client("emr")

    def start(self, call: JobCall) -> str:
        """Add a step; it is found again by its name."""
        settings = {
            "spark.yarn.appMasterEnv.PYTHONPATH": _ENVIRONMENT,
            "spark.executorEnv.PYTHONPATH": _ENVIRONMENT,
            "spark.dynamicAllocation.maxExecutors": str(max(1, call.workers - 1)),
        }
        options = [part for key, value in settings.items() for part in ("--conf", f"{key}={value}")]
        archive = f"{self.code}/environment.tar.gz#environment"
        command = ["spark-submit", "--deploy-mode", "cluster", "--archives", archive, *options]
        step = {
            "Name": f"{call.title[:200]} {call.token}",
            "ActionOnFailure": "CONTINUE",
            "HadoopJarStep": {
                "Jar": "command-runner.jar",
                "Args": [*command, f"{self.code}/entry.py", *call.arguments],
            },
        }
        answer = self._emr.add_job_flow_steps(JobFlowId=self.cluster, Steps=[step])
        return str(answer["StepIds"][0])

    def find(self, token: str) -> str | None:
        """The step that has a token in its name."""
        pages = self._emr.get_paginator("list_steps").paginate(ClusterId=self.cluster)
        steps = islice((step for page in pages for step in page.get("Steps", [])), _LOOKED_THROUGH)
        return next((str(step["Id"]) for step in steps if step["Name"].endswith(token)), None)

    def state(self, job: str) -> JobState:
        """How a step is, and for how many seconds it had the cluster."""
        status = self._step(job)["Status"]
        word, times = status["State"], status.get("Timeline", {})
        failure = status.get("FailureDetails", {})
        reason = failure.get("Message") or failure.get("Reason") or status.get("StateChangeReason", {}).get("Message")
        cost = {}
        if word in _ENDED and {"StartDateTime", "EndDateTime"} <= times.keys():
            cost["cluster_seconds"] = (times["EndDateTime"] - times["StartDateTime"]).total_seconds()
        return JobState(word=word, ended=word in _ENDED, succeeded=word == "COMPLETED", reason=reason or "", cost=cost)

    def stop(self, job: str) -> None:
        """Cancel a step, a running one too."""
        answer = self._emr.cancel_steps(
            ClusterId=self.cluster, StepIds=[job], StepCancellationOption="TERMINATE_PROCESS"
        )
        refused = [info for info in answer.get("CancelStepsInfoList", []) if info.get("Status") == "FAILED"]
        if refused and not self.state(job).ended:
            raise OSError(f"EMR can't cancel {job}: {refused[0].get('Reason')}")

    def log_tail(self, job: str) -> list[str]:
        """The end of the driver's log in the cluster's log bucket; EMR puts it there minutes after the fact.

        With it comes the end of what `spark-submit` wrote, which tells of drivers that never started.
        """
        cluster = self._emr.describe_cluster(ClusterId=self.cluster)["Cluster"]
        if not cluster.get("LogUri"):
            return []
        logs = re.sub("^s3n?://", "s3://", cluster["LogUri"]).rstrip("/") + f"/{self.cluster}"
        submitted = _lines(f"{logs}/steps/{job}", "stderr.gz")
        known = self._step(job).get("AdditionalInfo", {}).get("ResourceManagerApplicationIds", [])
        applications = known or _APPLICATION.findall("\n".join(submitted))
        driver: list[str] = []
        if applications:
            containers = f"{logs}/containers/{applications[-1]}"
            store = open_store(containers)
            names = sorted(meta["path"] for batch in obstore.list(store) for meta in batch)
            first = [name for name in names if "_000001/" in name and "/std" in name]  # the driver's container
            driver = [line for name in first for line in _lines(containers, name)[-_TAIL_LINES:]]
        return [*submitted[-_TAIL_LINES:], *driver]

    def link(self, job: str) -> str:
        """The cluster's page in the AWS console, at its steps."""
        return console(self._emr, f"emr/home?region={{region}}#/clusterDetails/{self.cluster}/steps/{job}")

    def _step(self, job: str) -> dict[str, Any]:
        step: dict[str, Any] = self._emr.describe_step(ClusterId=self.cluster, StepId=job)["Step"]
        return step


def _lines(place: str, name: str) -> list[str]:
    """The lines of a gzipped log; none where it is not there."""
    try:
        data = bytes(obstore.get(open_store(place), name).bytes())
    except FileNotFoundError:
        return []
    return gzip.decompress(data).decode(errors="replace").splitlines()
