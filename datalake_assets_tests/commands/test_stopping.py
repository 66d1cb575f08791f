"""Ctrl-C and SIGTERM stop `datalake run` within seconds, wherever it is, and leave nothing to clean."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import dagster as dg
import pytest

from datalake_assets.sensors.under_way import UNFINISHED
from datalake_assets_tests.frames import require_spark
from datalake_assets_tests.sources import CLICKS, land, write_datasets

_PROGRAM = """
import sys, time
from pathlib import Path
from datalake_assets.resources.runners.in_process import InProcessRunner

marker, how = Path(sys.argv.pop()), sys.argv.pop()

def hang(self, request, *, lake, context):
    if how == "spark":
        from datalake_assets.lake.engines.spark_session import SPARK_LOCAL, spark_session
        spark_session(SPARK_LOCAL)
    while True:
        try:
            marker.touch()  # in here: a signal that comes at once is not to be heard either
            time.sleep(600)
        except BaseException:
            if how != "deaf":
                raise

InProcessRunner.run = hang
from datalake_assets.cli.__main__ import main
main()
"""
_SECONDS = 10
_IN_THE_BACKGROUND = 'trap "" INT TERM; exec "$@"'  # as a script's background job: the signals are ignored


def _hanging(folder: Path, how: str) -> "subprocess.Popen[str]":
    """A `datalake run` that hangs inside a step; returns when it does."""
    land(folder / "lake" / "bronze", "firehose/clicks", "2026/01/01/00", "one", [{"id": "a", "at": 1_767_225_600}])
    (folder / "home").mkdir()
    (folder / "home" / "dagster.yaml").write_text(
        "telemetry: {enabled: false}\nconcurrency: {pools: {default_limit: 1}}\n"
    )
    environment = {
        "PATH": os.environ["PATH"],
        "DATALAKE_ROOT": str(folder / "lake"),
        "DATALAKE_DATASETS": str(write_datasets(folder / "datasets", CLICKS)),
        "DAGSTER_HOME": str(folder / "home"),
    }
    marker = folder / "marker"
    program = ["sh", "-c", _IN_THE_BACKGROUND, "sh", sys.executable, "-c", _PROGRAM, "run", how, str(marker)]
    process = subprocess.Popen(program, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while not marker.exists():
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    return process


@pytest.mark.parametrize(
    ("how", "number"),
    [
        ("listens", signal.SIGINT),
        pytest.param("listens", signal.SIGTERM, marks=pytest.mark.soak),
        ("deaf", signal.SIGTERM),
        # Spark listens to SIGINT itself, in the place of whoever did.
        pytest.param("spark", signal.SIGINT, marks=pytest.mark.spark),
    ],
)
def test_a_signal_stops_a_run_inside_a_step(tmp_path: Path, how: str, number: signal.Signals) -> None:
    """It went on at 100 % CPU for minutes; started by a script it never saw the signal."""
    if how == "spark":
        require_spark()
    process = _hanging(tmp_path, how)
    began = time.monotonic()
    process.send_signal(number)
    _, told = process.communicate(timeout=30)
    assert time.monotonic() - began < _SECONDS
    assert process.returncode == 128 + number, told
    goes_on = "what was committed is whole, and the same command" if how == "deaf" else "the next `datalake run`"
    assert told.strip().splitlines()[-1] == f"stopped by {number.name}; {goes_on} goes on from here"
    with dg.DagsterInstance.from_config(str(tmp_path / "home")) as instance:
        assert instance.get_runs_count() == 1
        assert instance.get_runs_count(dg.RunsFilter(statuses=UNFINISHED)) == 0
        assert instance.event_log_storage.get_concurrency_run_ids() == set()


def test_a_second_signal_ends_it_at_once(tmp_path: Path) -> None:
    process = _hanging(tmp_path, "deaf")
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=30)
    assert process.returncode == 128 + signal.SIGINT
    assert time.monotonic() - began < _SECONDS / 2
    assert told.strip().splitlines()[-1].startswith("stopped by SIGINT; what was committed is whole")
