"""What becomes of a job when its worker goes: cancelled, killed, taken up again by another."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import dagster as dg
import pytest

from datalake_assets.resources.runners.job_memory import JobMemory
from datalake_assets.resources.runners.jobs import JobCall, RemoteJobError
from datalake_assets.settings import Settings
from datalake_assets_tests.aws import Aws
from datalake_assets_tests.lakes import values
from datalake_assets_tests.runners import worker
from datalake_assets_tests.runners.conftest import LakeOf
from datalake_assets_tests.runners.fake_aws import FakeAws
from datalake_assets_tests.runners.fake_jobs import Job
from datalake_assets_tests.runners.lakes import SILVER, admit, clicks, land, metadata
from datalake_assets_tests.runners.steps import remote_runner, step

REMOTE = ["glue", "emr_serverless", "emr"]
# Where a worker is a process of its own each takes half a minute; `make soak` has them all.
_ONE_OF_THEM = ["glue", *(pytest.param(name, marks=pytest.mark.soak) for name in ("emr_serverless", "emr"))]
ARGUMENTS = ("--dagster-pipes-context", "none", "--dagster-pipes-messages", "none")
_LONGEST_WAIT = 60


def until(happened: Callable[[], object], process: "subprocess.Popen[str]") -> None:
    """Wait for something that another process does."""
    end = time.monotonic() + _LONGEST_WAIT
    while not happened():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < end
        time.sleep(0.05)


def environment(settings: Settings, jobs: FakeAws) -> dict[str, str]:
    """The variables of a process that works on a lake."""
    told = settings.model_dump(mode="json", exclude_none=True, exclude_unset=True)
    variables = {f"DATALAKE_{name.upper()}": str(value) for name, value in told.items()}
    return {"PATH": os.environ["PATH"], "HOME": os.environ["HOME"], **jobs.environment, **jobs.endpoints, **variables}


def started(command: list[str], settings: Settings, jobs: FakeAws, home: Path) -> "subprocess.Popen[str]":
    variables = {**environment(settings, jobs), "DAGSTER_HOME": str(home), "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.Popen(
        [sys.executable, "-m", *command], env=variables, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


@pytest.mark.parametrize("runner", _ONE_OF_THEM)
def test_a_cancelled_run_stops_its_job(
    runner: str, lake_of: LakeOf, jobs: FakeAws, aws: Aws, instance: dg.DagsterInstance
) -> None:
    """A run process that is told to end (as Dagster's Terminate does) left its job running, and paid for."""
    settings, jobs.holds = lake_of(runner), True
    land(settings, "one", clicks(10))
    admit(settings, instance)
    home = Path(instance.root_directory)
    process = started(["datalake_assets_tests.runners.worker", str(home)], settings, jobs, home)
    until(lambda: jobs.jobs and len(jobs.calls) > 2, process)
    (run,) = [run for run in instance.get_runs() if run.status == dg.DagsterRunStatus.STARTED]
    instance.report_run_canceling(run)
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=_LONGEST_WAIT)
    assert jobs.the_job().stopped, output
    found = instance.get_run_by_id(run.run_id)
    assert found is not None
    assert found.status == dg.DagsterRunStatus.CANCELED
    bucket, _, prefix = settings.pipes_place.removeprefix("s3://").partition("/")
    assert aws.keys(bucket, prefix) == []


@pytest.mark.parametrize("runner", _ONE_OF_THEM)
def test_the_job_of_a_killed_worker_is_taken_up_again(
    runner: str, lake_of: LakeOf, jobs: FakeAws, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, jobs.holds = lake_of(runner), True
    land(settings, "one", clicks(10))
    admit(settings, instance)
    home = Path(instance.root_directory)
    process = started(["datalake_assets_tests.runners.worker", str(home)], settings, jobs, home)
    until(lambda: jobs.jobs and len(jobs.calls) > 2, process)
    process.kill()
    process.communicate()
    jobs.release(jobs.the_job())
    for name, value in environment(settings, jobs).items():
        monkeypatch.setenv(name, value)
    (killed,) = [run for run in instance.get_runs() if run.status == dg.DagsterRunStatus.STARTED]
    with worker.execute(instance, parent=killed.run_id) as result:
        assert result.success
    assert len(jobs.jobs) == 1
    assert not jobs.the_job().stopped
    told = metadata(instance, SILVER)
    assert (told["job"], told["rows_out"]) == (jobs.the_job().id, 10)
    assert len(values(settings.lake(), "silver/clicks", "id")) == 10


@pytest.mark.parametrize("runner", REMOTE)
def test_a_job_whose_worker_died_before_it_noted_the_id_is_found(
    runner: str, lake_of: LakeOf, jobs: FakeAws, instance: dg.DagsterInstance
) -> None:
    settings, jobs.holds = lake_of(runner), True
    land(settings, "one", clicks(10))
    admit(settings, instance)
    made = remote_runner(settings)

    def die_after_the_start(memory: JobMemory) -> None:
        """As the worker that is killed between the call and its answer: the service has the job, the note no id."""
        attempt = memory.begin()
        made.service.start(JobCall(attempt.token, "silver/clicks", ARGUMENTS, workers=2, timeout_seconds=600))
        job = jobs.the_job()
        job.word = "RUNNING"
        threading.Thread(target=fail_once_it_is_watched, args=[job], daemon=True).start()

    def fail_once_it_is_watched(job: Job) -> None:
        looks = ("GetJobRun", "DescribeStep")  # the first is by whoever asks whether it is to be taken up
        while sum(name in looks for name, _ in jobs.calls) < 2:
            time.sleep(0.05)
        job.word = "FAILED"

    with pytest.raises(RemoteJobError, match="ended FAILED"):
        step(settings, before=die_after_the_start)
    assert len(jobs.jobs) == 1


@pytest.mark.parametrize("runner", REMOTE)
def test_a_job_that_failed_is_not_taken_up_again_but_made_anew(
    runner: str, lake_of: LakeOf, jobs: FakeAws, instance: dg.DagsterInstance
) -> None:
    settings = lake_of(runner)
    land(settings, "one", clicks(10))
    admit(settings, instance)
    made = remote_runner(settings)

    def leave_a_failed_job(memory: JobMemory) -> None:
        attempt = memory.begin()
        jobs.on_start = Job.kill
        id_ = made.service.start(JobCall(attempt.token, "silver/clicks", ARGUMENTS, workers=2, timeout_seconds=600))
        memory.started(attempt, id_)
        jobs.on_start = None

    report = step(settings, before=leave_a_failed_job)
    assert report.rows_out == 10
    assert len(jobs.jobs) == 2
