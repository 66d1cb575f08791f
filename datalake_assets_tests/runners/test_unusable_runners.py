"""A runner that can't run any step is told of in one line before anything runs; it is no fault of a partition."""

import subprocess
import sys
from pathlib import Path

import obstore
import pytest
from typer.testing import CliRunner, Result

from datalake_assets.cli.app import app
from datalake_assets.lake.store.landing import open_store
from datalake_assets.resources.runners.choosing import make_runner
from datalake_assets.settings import Settings, UnusableRunnerError
from datalake_assets_tests.aws import Aws
from datalake_assets_tests.runners.lakes import clicks, land
from datalake_assets_tests.sources import CLICKS, write_datasets

REMEDY = "install Java 17 and pip install 'datalake-assets[dagster,spark]'\n"


class Lake:
    """A lake in which clicks wait, and `datalake run` on it."""

    def __init__(self, folder: Path) -> None:
        self.datasets = write_datasets(folder / "datasets", CLICKS)
        self.root = str(folder / "lake")
        land(Settings(root=self.root, datasets=self.datasets), "one", clicks(10))

    def run(self, **environment: str) -> Result:
        own = {"DATALAKE_ROOT": self.root, "DATALAKE_DATASETS": str(self.datasets)}
        return CliRunner().invoke(app, ["run"], env=own | environment)


@pytest.fixture
def lake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lake:
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.chdir(tmp_path)
    return Lake(tmp_path)


@pytest.fixture
def bucket(aws: Aws) -> str:
    return aws.bucket()


@pytest.fixture
def nothing_on_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "none"))


def test_without_pyspark_nothing_runs(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was 58 failed runs, each of them halved, and exit 1."""
    monkeypatch.setitem(sys.modules, "pyspark", None)
    monkeypatch.setattr(
        "datalake_assets.resources.runners.spark_local.find_spec", lambda name: name != "pyspark" or None
    )
    result = lake.run(DATALAKE_RUNNER="spark_local")
    assert result.exit_code == 2
    assert result.stderr == (
        "DATALAKE_RUNNER is spark_local: runner spark_local needs pyspark, which is not installed; " + REMEDY
    )
    assert not Path(lake.root, "ledger").exists()


@pytest.mark.usefixtures("nothing_on_path")
def test_without_java_nothing_runs(lake: Lake) -> None:
    pytest.importorskip("dagster_pyspark")
    write_datasets(lake.datasets, CLICKS + "runner: spark_local\n")
    result = lake.run()
    assert result.exit_code == 2
    assert result.stderr == (
        "`runner` of clicks is spark_local: runner spark_local needs Java, which is not on PATH; " + REMEDY
    )
    result = lake.run(JAVA_HOME="/no/java")
    assert "needs Java, which is not in JAVA_HOME, /no/java; " in result.stderr
    assert not Path(lake.root, "ledger").exists()


def test_a_java_that_does_not_start_is_told_of_by_its_name(lake: Lake, tmp_path: Path) -> None:
    pytest.importorskip("dagster_pyspark")
    java = tmp_path / "java" / "bin" / "java"
    java.parent.mkdir(parents=True)
    java.write_text("#!/bin/sh\nexit 1\n")
    java.chmod(0o755)
    program = (
        "from datalake_assets.resources.runners.spark_local import SparkLocalRunner as Runner\n"
        "try:\n    Runner().run(None, lake=None, context=None)\n"
        "except ValueError as error:\n    print(error)"
    )
    environment = {"JAVA_HOME": str(java.parents[1]), "PATH": "/usr/bin:/bin", "PYTHONPATH": ":".join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True, timeout=120
    )
    assert done.stdout.startswith("Spark does not start here; it needs Java 17, install that: "), done.stderr


@pytest.mark.parametrize(
    ("runner", "told"),
    [
        ("glue", "`runner` of dataset clicks is glue, which needs DATALAKE_GLUE_JOB; set what is missing\n"),
        (
            "auto",
            (
                "`runner` of dataset clicks is auto, and DATALAKE_REMOTE_RUNNER does not say which runner takes what "
                "is large; set it to one of glue, emr_serverless, emr\n"
            ),
        ),
    ],
)
def test_a_dataset_whose_runner_is_not_described_ends_the_command_in_a_line(runner: str, told: str, lake: Lake) -> None:
    """It was a traceback of 90 lines."""
    write_datasets(lake.datasets, CLICKS + f"runner: {runner}\n")
    result = lake.run()
    assert (result.exit_code, result.stderr) == (2, told)


@pytest.mark.parametrize("choice", [{"DATALAKE_RUNNER": "glue"}, {"DATALAKE_RUNNER": "auto"}])
def test_code_that_is_not_shipped_ends_the_command_in_a_line(choice: dict[str, str], lake: Lake, bucket: str) -> None:
    code, root = f"s3://{bucket}/code", f"s3://{bucket}/lake"
    remote = {"DATALAKE_REMOTE_RUNNER": "glue", "DATALAKE_GLUE_JOB": "steps", "DATALAKE_CODE": code}
    result = lake.run(**choice, **remote, DATALAKE_ROOT=root)
    assert result.exit_code == 2
    assert result.stderr == (
        f"DATALAKE_RUNNER is {choice['DATALAKE_RUNNER']}: DATALAKE_CODE: there is no {code}/requirements.txt; run "
        f"`make wheel` and copy what it makes: aws s3 sync dist/remote {code}\n"
    )


def test_a_runner_whose_code_is_gone_says_so_in_the_step_too(bucket: str) -> None:
    settings = Settings(runner="glue", glue_job="steps", root=f"s3://{bucket}/lake", code=f"s3://{bucket}/gone")
    with pytest.raises(UnusableRunnerError, match="run `make wheel`"):
        make_runner("glue", settings)


def test_a_runner_without_a_region_ends_the_command_in_a_line(
    lake: Lake, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")
    obstore.put(open_store(f"s3://{bucket}/code"), "requirements.txt", b"polars\n")
    given = {"DATALAKE_RUNNER": "glue", "DATALAKE_GLUE_JOB": "steps", "DATALAKE_CODE": f"s3://{bucket}/code"}
    result = lake.run(**given, DATALAKE_ROOT=f"s3://{bucket}/lake")
    assert result.exit_code == 2
    assert result.stderr == (
        "DATALAKE_RUNNER is glue: boto3 can't ask for glue: You must specify a region. (AWS_REGION and "
        "AWS_PROFILE tell it)\n"
    )
