"""Killing `datalake run` at any moment and running it again ends in the tables of an undisturbed run."""

import os
import random
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from datalake_assets.cli.sql import tables
from datalake_assets.lake.store.landing import open_store
from datalake_assets.settings import Settings
from datalake_assets.simulate.producer import Simulation, simulate

_SEED = 20_260_101
_START_UP_SECONDS = 2.0
_OWN_COLUMNS = {"etl_timestamp", "source_filename", "_row_number"}  # may differ: the lineage of equal copies
_ZONES = {"silver", "gold", "quarantine"}


def _command(settings: Settings, home: Path) -> subprocess.Popen[bytes]:
    environment = {"PATH": os.environ["PATH"], "DATALAKE_ROOT": settings.root, "DAGSTER_HOME": str(home)}
    home.mkdir(exist_ok=True)
    (home / "dagster.yaml").write_text("telemetry: {enabled: false}\nconcurrency: {pools: {default_limit: 1}}\n")
    program = [sys.executable, "-m", "datalake_assets.cli", "run"]
    return subprocess.Popen(program, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def _run_to_the_end(settings: Settings, home: Path) -> None:
    process = _command(settings, home)
    output, _ = process.communicate(timeout=200)
    assert process.returncode == 0, output.decode()


def _land(settings: Settings, hours: int) -> None:
    simulation = Simulation(hours=hours, rate=150, seed=_SEED, start=datetime(2026, 1, 1, tzinfo=UTC))
    simulate(open_store(settings.layout.bronze), simulation)


def _content(settings: Settings) -> dict[str, pl.DataFrame]:
    found = {}
    for name, table in tables(settings.lake()).items():
        shown = name.partition(".")[0] in _ZONES and not name.endswith("_duplicates")  # which keep what may be needed
        if shown and Path(table.uri).exists():
            rows = pl.read_delta(table.uri)
            rows = rows.select(sorted(set(rows.columns) - _OWN_COLUMNS))
            rows = rows.with_columns(pl.selectors.binary().bin.encode("hex"))  # JSON, to sort by, has no bytes
            found[name] = rows.sort(pl.struct(rows.columns).struct.json_encode())
    return found


@pytest.mark.timeout(3000)
@pytest.mark.parametrize("kills", [3, pytest.param(100, marks=pytest.mark.soak)])
def test_kills_at_random_moments_leave_no_trace(tmp_path: Path, kills: int) -> None:
    print(f"seed {_SEED}")  # noqa: T201 (pytest shows it when the test fails)
    moments = random.Random(_SEED)
    disturbed, undisturbed = Settings(root=str(tmp_path / "disturbed")), Settings(root=str(tmp_path / "undisturbed"))
    killed = 0
    hours = 0
    while killed < kills:
        hours += 1
        _land(disturbed, hours)  # there is always something left to do
        process = _command(disturbed, tmp_path / "disturbed home")
        time.sleep(_START_UP_SECONDS + moments.uniform(0, 4))
        if process.poll() is None:
            process.kill()
            killed += 1
        process.communicate()
        assert hours < 3 * kills, "runs end before they can be killed"
    _run_to_the_end(disturbed, tmp_path / "disturbed home")

    _land(undisturbed, hours)
    _run_to_the_end(undisturbed, tmp_path / "undisturbed home")
    expected, found = _content(undisturbed), _content(disturbed)
    assert found.keys() == expected.keys()
    for name, rows in expected.items():
        assert rows.equals(found[name]), name
