"""Jobs that end otherwise than well, and services that answer with errors."""

import signal
import threading

import dagster as dg
import obstore
import pytest
from botocore.exceptions import ClientError

from datalake_assets.lake.steps.planning import admit as admit_landed
from datalake_assets.lake.store.landing import open_store
from datalake_assets.resources.runners.jobs import RemoteJobError
from datalake_assets.settings import Settings
from datalake_assets_tests.runners.conftest import LakeOf
from datalake_assets_tests.runners.fake_aws import FakeAws
from datalake_assets_tests.runners.fake_jobs import Job, Refused
from datalake_assets_tests.runners.lakes import PARTITION, SILVER, admit, clicks, land, materialize
from datalake_assets_tests.runners.steps import REQUEST, step

REMOTE = ["glue", "emr_serverless", "emr"]
START = {"glue": "StartJobRun", "emr_serverless": "StartJobRun", "emr": "AddJobFlowSteps"}
LOOK = {"glue": "GetJobRun", "emr_serverless": "GetJobRun", "emr": "DescribeStep"}
ENDS = [
    *(("glue", word) for word in ("FAILED", "ERROR", "STOPPED", "TIMEOUT", "EXPIRED")),
    *(("emr_serverless", word) for word in ("FAILED", "CANCELLED")),
    *(("emr", word) for word in ("FAILED", "CANCELLED", "INTERRUPTED")),
]
THROTTLED = Refused("ThrottlingException", "Rate exceeded")


def landed(settings: Settings) -> Settings:
    """A lake in which ten clicks wait."""
    from datetime import UTC, datetime

    land(settings, "one", clicks(10))
    lake = settings.lake()
    admit_landed(lake, lake.datasets["clicks"], [PARTITION], now=datetime.now(UTC))
    return settings


@pytest.mark.parametrize("runner", REMOTE)
def test_a_step_that_fails_in_its_job_fails_the_run_with_its_error_and_the_end_of_the_log(
    runner: str, lake_of: LakeOf, jobs: FakeAws, instance: dg.DagsterInstance
) -> None:
    settings = lake_of(runner)
    land(settings, "one", clicks(10))
    admit(settings, instance)
    broken = open_store(f"{settings.layout.silver}/clicks/_delta_log")
    obstore.put(broken, "00000000000000000000.json", b"no log of a table")
    result = materialize(settings, instance, SILVER, raise_on_error=False)
    assert not result.success
    (failure,) = [event for event in result.all_events if event.is_step_failure]
    error = failure.step_failure_data.error
    assert error is not None
    assert error.cause is not None
    told = error.cause.message
    job = jobs.the_job()
    assert f"silver/clicks: {runner} job {job.id} ended FAILED" in told
    assert "datalake_assets/lake/steps/silver.py" in told
    log = told.partition("The end of the driver's log:")[2]
    assert "Traceback" in log or "Error" in log
    assert told.rstrip().endswith(job.id)
    assert len(jobs.jobs) == 1, "what is wrong with the data is not tried again"


@pytest.mark.parametrize(("runner", "word"), ENDS)
def test_every_end_but_success_is_a_failure(runner: str, word: str, lake_of: LakeOf, jobs: FakeAws) -> None:
    """EXPIRED was no end for Dagster's own Glue client: it waited for ever."""

    def end(job: Job) -> None:
        job.word, job.reason = word, "for a reason"

    jobs.holds, jobs.on_start = True, end
    with pytest.raises(RemoteJobError, match=f"ended {word}: for a reason"):
        step(lake_of(runner))
    assert not jobs.the_job().stopped


@pytest.mark.parametrize("has_logs", [True, False])
@pytest.mark.parametrize("runner", REMOTE)
def test_a_killed_job_is_a_failure_whatever_is_left_of_its_log(
    runner: str, has_logs: bool, lake_of: LakeOf, jobs: FakeAws
) -> None:
    jobs.has_logs, jobs.on_start = has_logs, Job.kill
    with pytest.raises(RemoteJobError, match="ended FAILED") as failed:
        step(lake_of(runner))
    assert ("The driver's log is not there (yet)." in str(failed.value)) is (not has_logs or runner != "emr")


@pytest.mark.parametrize("runner", REMOTE)
def test_a_job_that_succeeded_without_a_report_is_no_success(runner: str, lake_of: LakeOf, jobs: FakeAws) -> None:
    words = {"glue": "SUCCEEDED", "emr_serverless": "SUCCESS", "emr": "COMPLETED"}

    def end(job: Job) -> None:
        job.word = words[runner]

    jobs.holds, jobs.on_start = True, end
    settings = lake_of(runner)
    with pytest.raises(RemoteJobError, match="its report did not arrive") as failed:
        step(settings)
    assert settings.pipes_place in str(failed.value)


@pytest.mark.parametrize("runner", REMOTE)
def test_a_throttled_service_is_asked_again(runner: str, lake_of: LakeOf, jobs: FakeAws) -> None:
    jobs.faults = {START[runner]: [THROTTLED] * 2, LOOK[runner]: [THROTTLED] * 3}
    assert step(landed(lake_of(runner))).rows_out == 10
    assert len(jobs.jobs) == 1


@pytest.mark.parametrize("runner", REMOTE)
def test_a_job_whose_start_seemed_to_fail_is_found_and_no_second_one_started(
    runner: str, lake_of: LakeOf, jobs: FakeAws
) -> None:
    jobs.lost_answers = [START[runner]]
    assert step(landed(lake_of(runner))).rows_out == 10
    assert len(jobs.jobs) == 1


def test_a_job_waits_for_its_turn_while_too_many_run(lake_of: LakeOf, jobs: FakeAws) -> None:
    full = Refused("ConcurrentRunsExceededException", "Concurrent runs exceeded for lake-steps")
    jobs.faults = {"StartJobRun": [full] * 3}
    assert step(landed(lake_of("glue"))).rows_out == 10
    jobs.faults = {"StartJobRun": [full] * 100}
    with pytest.raises(ClientError, match="Concurrent runs exceeded"):
        step(lake_of("glue"), start=0.1)


def test_a_job_that_may_not_be_started_is_told_at_once(lake_of: LakeOf, jobs: FakeAws) -> None:
    jobs.faults = {"StartJobRun": [Refused("AccessDeniedException", "no glue:StartJobRun for you")]}
    with pytest.raises(ClientError, match="no glue:StartJobRun for you"):
        step(lake_of("glue"))
    assert len(jobs.called("StartJobRun")) == 1


@pytest.mark.parametrize("runner", REMOTE)
def test_a_service_that_stays_away_fails_the_step_and_its_job_is_stopped(
    runner: str, lake_of: LakeOf, jobs: FakeAws
) -> None:
    jobs.holds, jobs.faults = True, {LOOK[runner]: [THROTTLED] * 12}
    with pytest.raises(ClientError, match="Rate exceeded"):
        step(lake_of(runner), api=0.3)
    assert jobs.the_job().stopped


@pytest.mark.parametrize("runner", REMOTE)
def test_a_job_that_takes_too_long_is_stopped(runner: str, lake_of: LakeOf, jobs: FakeAws) -> None:
    jobs.holds = True
    with pytest.raises(RemoteJobError, match="DATALAKE_JOB_SECONDS"):
        step(lake_of(runner), job=0.3)
    assert jobs.the_job().stopped


@pytest.mark.parametrize("runner", REMOTE)
def test_the_job_of_an_interrupted_run_is_stopped(runner: str, lake_of: LakeOf, jobs: FakeAws) -> None:
    def interrupt(_: Job) -> None:
        threading.Timer(0.5, signal.raise_signal, [signal.SIGINT]).start()

    jobs.holds, jobs.on_start = True, interrupt
    with pytest.raises((dg.DagsterExecutionInterruptedError, KeyboardInterrupt)):
        step(lake_of(runner))
    assert jobs.the_job().stopped


def test_a_large_request_makes_no_large_parameters(lake_of: LakeOf, jobs: FakeAws) -> None:
    hours = tuple(
        f"2026-01-{day:02}-{hour:02}:{minute:02}" for day in range(1, 32) for hour in range(24) for minute in range(60)
    )
    jobs.on_start = Job.kill
    with pytest.raises(RemoteJobError):
        step(lake_of("glue"), request=REQUEST.model_copy(update={"partitions": hours}))
    (request,) = jobs.called("StartJobRun")
    assert sum(len(k) + len(v) for k, v in request["Arguments"].items()) < 1_500
