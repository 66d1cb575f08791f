"""Without an orchestrator the lake comes to the same: what the job of the fallback runs, with only what is shipped."""

import subprocess
from collections.abc import Mapping
from pathlib import Path

import dagster as dg
import pytest

from datalake_assets.settings import Settings
from datalake_assets.unattended import ZONES, main
from datalake_assets_tests.lakes import rows
from datalake_assets_tests.runners import shipped
from datalake_assets_tests.runners.lakes import clicks, content, land, run
from datalake_assets_tests.sources import CLICKS, write_datasets


def _lake(folder: Path) -> Settings:
    """A lake in which a batch of clicks landed, one of them without an id."""
    settings = Settings(root=str(folder / "lake"), datasets=write_datasets(folder / "datasets", CLICKS))
    land(settings, "one", [*clicks(10), {"at": 5}])
    return settings


def _arguments(settings: Settings) -> list[str]:
    places = {zone: getattr(settings.layout, zone) for zone in ZONES}
    told = {**places, "datasets": str(settings.datasets), "JOB_NAME": "datalake-dev-catch-up"}
    return [part for name, value in told.items() for part in (f"--{name}", value)]


def _left(settings: Settings, capsys: pytest.CaptureFixture[str]) -> int:
    with pytest.raises(SystemExit) as exit_:
        main(_arguments(settings))
    capsys.readouterr()
    return int(exit_.value.code or 0)


def test_without_dagster_the_tables_come_out_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    alone, with_dagster = _lake(tmp_path / "alone"), _lake(tmp_path / "dagster")
    assert _left(alone, capsys) == 0
    with dg.instance_for_test() as instance:
        assert run(with_dagster, instance).is_complete
    assert content(alone.lake()) == content(with_dagster.lake())
    assert _counts(content(alone.lake())) == {"silver/clicks": 10, "quarantine/clicks": 1}


def test_a_second_time_it_finds_nothing_to_do_and_dagster_neither(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = _lake(tmp_path)
    assert [_left(settings, capsys), _left(settings, capsys)] == [0, 0]
    with dg.instance_for_test() as instance:
        outcome = run(settings, instance)
    assert outcome.succeeded == 0


def test_a_table_that_cannot_be_read_stops_no_other_and_the_exit_tells_of_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    broken_source = CLICKS.replace("clicks", "aches")
    settings = Settings(
        root=str(tmp_path / "lake"), datasets=write_datasets(tmp_path / "datasets", broken_source, CLICKS)
    )
    for source in ("aches", "clicks"):
        land(settings, "one", clicks(10), source=source)
    log = Path(settings.layout.silver) / "aches" / "_delta_log"
    log.mkdir(parents=True)
    (log / f"{0:020}.json").write_text("no log")
    assert _left(settings, capsys) == 1
    assert "silver/aches" in caplog.text
    assert len(rows(settings.lake(), "silver/clicks")) == 10


def test_it_runs_where_only_what_is_shipped_is_installed(built: tuple[Path, Path], tmp_path: Path) -> None:
    settings = _lake(tmp_path)
    done = subprocess.run(
        [shipped.interpreter(tmp_path), "-m", "datalake_assets.unattended", *_arguments(settings)],
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(built[0])},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert _counts(content(settings.lake()))["silver/clicks"] == 10


def _counts(tables: Mapping[str, list[dict[str, object]]]) -> dict[str, int]:
    return {name: len(tables[name]) for name in ("silver/clicks", "quarantine/clicks")}
