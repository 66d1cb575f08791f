"""Runs whose process is dead are ended, whoever launched them, and their slots freed; the living are left alone."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import dagster as dg
import polars as pl
import pytest
from dagster import DagsterRunStatus as Status

from datalake_assets.cli.dead_runs import PROCESS_TAG, bury_dead_runs
from datalake_assets.cli.processes import is_alive
from datalake_assets.sensors.under_way import CUT_TAG, UNFINISHED
from datalake_assets.settings import Settings
from datalake_assets_tests.orchestration.conftest import Process
from datalake_assets_tests.sources import land

_POOL = "silver_clicks"


def _run(
    instance: dg.DagsterInstance, status: Status, *, pid: int | None = None, tags: dict[str, str] | None = None
) -> str:
    """A run of that status that holds the pool; `pid` is told by its events, as each of Dagster's launchers does."""
    run = instance.add_run(dg.DagsterRun("landed_hourly", status=status, tags=tags or {}))
    if pid is not None:
        from dagster._core.events import EngineEventData

        instance.report_engine_event("Started process for run", run, EngineEventData.in_process(pid))
    instance.event_log_storage.initialize_concurrency_limit_to_default(_POOL)
    instance.event_log_storage.claim_concurrency_slot(_POOL, run.run_id, "silver_clicks")
    return run.run_id


def _status(instance: dg.DagsterInstance, run_id: str) -> Status:
    run = instance.get_run_by_id(run_id)
    assert run is not None
    return run.status


def _dead_pid() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


@pytest.mark.parametrize("status", [Status.STARTED, Status.STARTING, Status.CANCELING])
def test_a_run_whose_process_is_gone_is_ended_and_its_slot_is_free(
    instance: dg.DagsterInstance, status: Status
) -> None:
    """After a killed `dagster dev` its runs kept their slots: `datalake run` waited for them, or did nothing."""
    run_id = _run(instance, status, pid=_dead_pid())
    assert bury_dead_runs(instance) == [run_id]
    run = instance.get_run_by_id(run_id)
    assert run is not None
    assert run.is_finished
    assert CUT_TAG in run.tags
    assert instance.event_log_storage.get_concurrency_run_ids() == set()


def test_a_run_that_nobody_is_there_to_start_is_ended(instance: dg.DagsterInstance) -> None:
    run_id = _run(instance, Status.NOT_STARTED)
    bury_dead_runs(instance)
    assert _status(instance, run_id) is Status.CANCELED


def test_a_run_that_lives_is_left_alone(instance: dg.DagsterInstance) -> None:
    by_its_events = _run(instance, Status.STARTED, pid=os.getpid())
    by_its_tag = _run(instance, Status.STARTING, tags={PROCESS_TAG: f"{os.uname().nodename}:{os.getpid()}"})
    elsewhere = _run(instance, Status.STARTED, pid=_dead_pid(), tags={PROCESS_TAG: "another-host:1"})
    assert bury_dead_runs(instance) == []
    assert {_status(instance, run_id) for run_id in (by_its_events, elsewhere)} == {Status.STARTED}
    assert _status(instance, by_its_tag) is Status.STARTING


def test_a_queued_run_waits_for_the_dagster_that_is_there(instance: dg.DagsterInstance) -> None:
    run_id = _run(instance, Status.NOT_STARTED)
    sleep = "import time; time.sleep(60)"
    daemon = [sys.executable, "-c", sleep, "-m", "dagster._daemon", "run"]
    with subprocess.Popen(daemon, env={"DAGSTER_HOME": instance.root_directory}) as process:
        assert bury_dead_runs(instance) == []
        process.kill()
    assert bury_dead_runs(instance) == [run_id]


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="when a process started is told by /proc")
def test_another_process_that_got_the_same_id_is_told_from_the_dead_one() -> None:
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as process:
        assert is_alive(process.pid, seen=time.time())
        assert not is_alive(process.pid, seen=time.time() - 60)
        process.kill()
    assert not is_alive(process.pid, seen=time.time())


def test_a_finished_run_does_not_keep_its_slot(instance: dg.DagsterInstance) -> None:
    _run(instance, Status.FAILURE, pid=os.getpid())
    assert bury_dead_runs(instance) == []
    assert instance.event_log_storage.get_concurrency_run_ids() == set()


_HANG = """
import sys, time
from pathlib import Path
from datalake_assets.resources.runners.in_process import InProcessRunner

marker = Path(sys.argv.pop())

def hang(self, request, *, lake, context):
    marker.touch()
    time.sleep(600)

InProcessRunner.run = hang
from datalake_assets.cli.__main__ import main
main()
"""


def test_what_a_killed_run_left_is_done_by_the_next(
    settings: Settings, bronze: Path, instance: dg.DagsterInstance, process: Process, tmp_path: Path
) -> None:
    land(bronze, "firehose/clicks", "2026/01/01/00", "one", [{"id": "a", "at": 1_767_225_600}])
    environment = {
        "PATH": os.environ["PATH"],
        "DATALAKE_ROOT": settings.root,
        "DATALAKE_DATASETS": str(settings.datasets),
        "DAGSTER_HOME": instance.root_directory,
    }
    marker = tmp_path / "in the step"
    with subprocess.Popen([sys.executable, "-c", _HANG, "run", str(marker)], env=environment) as killed:
        while not marker.exists():
            assert killed.poll() is None
            time.sleep(0.05)
        killed.send_signal(signal.SIGKILL)
    assert instance.get_runs_count(dg.RunsFilter(statuses=UNFINISHED)) == 1
    assert process().is_complete
    assert instance.get_runs_count(dg.RunsFilter(statuses=UNFINISHED)) == 0
    assert pl.read_delta(f"{settings.layout.silver}/clicks")["id"].to_list() == ["a"]
