"""A folder that can't hold a lake is one line and exit 2, and looking at a lake makes nothing."""

import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

from datalake_assets.cli.app import app
from datalake_assets_tests.sources import CLICKS, write_datasets

COMMANDS = [["simulate", "--hours", "1"], ["run"], ["status"], ["query", "SELECT 1"], ["rejects", "clicks"]]


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A working directory of the test's own, with a dataset file."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    monkeypatch.setenv("DATALAKE_DATASETS", str(write_datasets(tmp_path / "datasets", CLICKS)))


@pytest.fixture(params=["a file", "under a file", "under a device", "in proc"])
def unusable(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A place where no folder can be."""
    (tmp_path / "file").write_text("not a folder")
    return {
        "a file": str(tmp_path / "file"),
        "under a file": str(tmp_path / "file" / "lake"),
        "under a device": "/dev/null/lake",
        "in proc": "/proc/lake",
    }[request.param]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_an_unusable_root_is_one_line_and_exit_2(unusable: str, command: list[str]) -> None:
    """It was 86 lines of stderr and exit 0 for `run`, and tracebacks for the others."""
    result = CliRunner().invoke(app, command, env={"DATALAKE_ROOT": unusable})
    assert result.exit_code == 2
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"DATALAKE_ROOT: {unusable} can't be used as a folder: ")
    assert result.stdout == ""


def test_an_unusable_zone_is_named_by_its_own_variable(tmp_path: Path) -> None:
    environment = {"DATALAKE_ROOT": str(tmp_path / "lake"), "DATALAKE_SILVER": "/dev/null/silver"}
    result = CliRunner().invoke(app, ["status"], env=environment)
    assert result.exit_code == 2
    assert result.stderr.startswith("DATALAKE_SILVER: /dev/null/silver can't be used")


@pytest.mark.parametrize("variable", ["ROOT", "BRONZE", "SILVER", "GOLD", "QUARANTINE", "CODE", "PIPES"])
@pytest.mark.parametrize(
    ("place", "told"),
    [
        ("s3://", "names no bucket; write s3://BUCKET/PREFIX"),
        ("s3:///lake", "names no bucket; write s3://BUCKET/PREFIX"),
        ("s3:/lake", "names no bucket; write s3://BUCKET/PREFIX"),
        ("s3:lake", "names no bucket; write s3://BUCKET/PREFIX"),
        ("https://lake.s3.amazonaws.com/x", "is neither a folder nor s3://BUCKET/PREFIX, and only these are supported"),
        ("gs://lake/x", "is neither a folder nor s3://BUCKET/PREFIX, and only these are supported"),
        ("S3://lake/x", "is neither a folder nor s3://BUCKET/PREFIX, and only these are supported"),
    ],
)
def test_a_place_that_is_neither_a_folder_nor_on_s3_is_refused(
    variable: str, place: str, told: str, tmp_path: Path
) -> None:
    """It became a folder of that name in the working directory."""
    result = CliRunner().invoke(app, ["status"], env={f"DATALAKE_{variable}": place})
    assert (result.exit_code, result.stderr) == (2, f"DATALAKE_{variable}: {place!r} {told}\n")
    assert [path.name for path in tmp_path.iterdir()] == ["datasets"]


@pytest.mark.parametrize("command", COMMANDS[:2], ids=lambda command: command[0])
def test_a_lake_that_cannot_be_written_is_one_line(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> str:
        raise PermissionError(13, "Permission denied", str(tmp_path / "lake" / "x"))

    (tmp_path / "lake").mkdir()
    monkeypatch.setattr("tempfile.mkdtemp", refuse)
    result = CliRunner().invoke(app, command, env={"DATALAKE_ROOT": str(tmp_path / "lake")})
    assert result.exit_code == 2
    (line,) = result.stderr.splitlines()
    assert "Permission denied" in line


def test_a_lake_that_cannot_be_written_can_be_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "lake").mkdir()
    monkeypatch.setattr("tempfile.mkdtemp", lambda **_: pytest.fail("nothing is to be written"))
    result = CliRunner().invoke(app, ["rejects", "clicks"], env={"DATALAKE_ROOT": str(tmp_path / "lake")})
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize("there", [False, True])
def test_status_without_a_lake_says_so_and_makes_nothing(tmp_path: Path, there: bool) -> None:
    """It printed zeros, and made the folder."""
    root = tmp_path / "some" / "lake"
    if there:
        root.mkdir(parents=True)
    before = sorted(os.walk(tmp_path))
    result = CliRunner().invoke(app, ["status"], env={"DATALAKE_ROOT": str(root)})
    assert result.exit_code == 0
    assert result.stdout == f"No lake in {root} yet; `datalake simulate` lands sample data.\n"
    assert sorted(os.walk(tmp_path)) == before
