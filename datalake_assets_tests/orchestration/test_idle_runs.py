"""A `datalake run` that finds nothing to do says so without Dagster, and leaves nothing aside for that."""

import shutil
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest
from dagster import DagsterRunStatus as Status

from datalake_assets.cli.outcome import Outcome, look_around, outcome_of_nothing
from datalake_assets.settings import Settings
from datalake_assets_tests.orchestration.conftest import Process
from datalake_assets_tests.sources import land

_JAN_1 = 1_767_225_600


@pytest.fixture
def home(instance: dg.DagsterInstance) -> Path:
    return Path(instance.root_directory)


def _landed(bronze: Path, name: str = "one") -> None:
    land(bronze, "firehose/clicks", "2026/01/01/00", name, [{"id": name, "at": _JAN_1}])


def _idle(settings: Settings, home: Path) -> Outcome | None:
    lake = settings.lake()
    return outcome_of_nothing(lake, look_around(settings, lake), home=home)


def test_what_has_landed_is_something_to_do_until_it_is_done(
    settings: Settings, bronze: Path, process: Process, home: Path
) -> None:
    _landed(bronze)
    assert _idle(settings, home) is None
    assert process().is_complete
    idle = _idle(settings, home)
    assert idle is not None
    assert (idle.is_complete, idle.summary) == (True, "Nothing new had landed, and gold owed nothing.")


def test_gold_that_is_owed_is_something_to_do(settings: Settings, bronze: Path, process: Process, home: Path) -> None:
    _landed(bronze)
    process()
    shutil.rmtree(f"{settings.layout.gold}/daily_summary")
    assert _idle(settings, home) is None


def test_what_is_withheld_is_told(settings: Settings, bronze: Path, process: Process, home: Path) -> None:
    land(bronze, "firehose/clicks", "2026/01/01/00", "one", [{"id": "1", "at": _JAN_1}, *["not json"] * 30])
    assert not process().is_complete
    idle = _idle(settings, home)
    assert idle is not None
    assert any("30 of 31 records rejected" in line for line in idle.undone)


@pytest.mark.parametrize("status", [Status.STARTED, Status.NOT_STARTED])
def test_a_run_that_did_not_end_is_something_to_do(
    settings: Settings, instance: dg.DagsterInstance, home: Path, status: Status
) -> None:
    assert _idle(settings, home) is not None
    instance.add_run(dg.DagsterRun("landed_hourly", status=status))
    assert _idle(settings, home) is None


def test_runs_that_can_not_be_read_are_left_to_dagster(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "history").mkdir()
    (tmp_path / "history" / "runs.db").write_text("no database")
    assert _idle(settings, tmp_path) is None


def test_the_command_loads_no_dagster_where_there_is_nothing_to_do(settings: Settings, tmp_path: Path) -> None:
    script = (
        "import sys\n"
        "from datalake_assets.cli.app import app\n"
        "sys.argv = ['datalake', 'run']\n"
        "try:\n    app()\nexcept SystemExit as ended:\n    assert not ended.code, ended.code\n"
        "print([name for name in ('dagster', 'boto3', 'pandas') if name in sys.modules])\n"
    )
    environment = {"DATALAKE_ROOT": settings.root, "DATALAKE_DATASETS": str(settings.datasets), "PATH": ""}
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, cwd=tmp_path, check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[]"
