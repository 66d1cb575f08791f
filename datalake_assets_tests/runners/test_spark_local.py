"""`spark_local` in a process of its own, as people run it; the other tests of Spark share a session of the tests."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from datalake_assets.settings import Settings
from datalake_assets_tests.frames import require_spark
from datalake_assets_tests.runners.lakes import clicks, content, land
from datalake_assets_tests.sources import CLICKS, write_datasets

pytestmark = [pytest.mark.soak, pytest.mark.spark]


def _run(folder: Path, **environment: str) -> Settings:
    """A lake with clicks, an overwritten one and a bad one among them, run to gold by the command."""
    settings = Settings(root=str(folder / "lake"), datasets=write_datasets(folder / "datasets", CLICKS))
    land(settings, "one", clicks(10))
    land(settings, "two", [*clicks(5, first=8), '{"id": "cut'])
    own = {"DATALAKE_ROOT": settings.root, "DATALAKE_DATASETS": str(settings.datasets)}
    kept = {name: os.environ[name] for name in ("PATH", "JAVA_HOME") if name in os.environ}
    program = [sys.executable, "-m", "datalake_assets.cli", "run"]
    done = subprocess.run(
        program, check=False, env=kept | own | environment, cwd=folder, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return settings


def test_the_command_gives_the_tables_that_it_gives_on_polars(tmp_path: Path) -> None:
    """Session, settings and workers are the runner's own here, not those of the tests."""
    require_spark()
    for name in ("polars", "spark"):
        (tmp_path / name).mkdir()
    polars = _run(tmp_path / "polars", DATALAKE_RUNNER="in_process")
    spark = _run(tmp_path / "spark", DATALAKE_RUNNER="spark_local")
    expected = content(polars.lake())
    assert expected["silver/clicks"]
    assert content(spark.lake()) == expected
