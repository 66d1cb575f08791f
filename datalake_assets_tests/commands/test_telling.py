"""What commands tell where there is nothing to do or to show, and of names that are none but near one."""

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from datalake_assets.cli.app import app
from datalake_assets_tests.sources import CLICKS, land, write_datasets


@pytest.fixture(autouse=True)
def lake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The root of a lake of one dataset, of which nothing has landed."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    monkeypatch.setenv("DAGSTER_DISABLE_TELEMETRY", "1")
    monkeypatch.setenv("DATALAKE_ROOT", str(tmp_path / "lake"))
    monkeypatch.setenv("DATALAKE_DATASETS", str(write_datasets(tmp_path / "datasets", CLICKS)))
    return tmp_path / "lake"


def datalake(*arguments: str, **environment: str) -> Result:
    return CliRunner().invoke(app, list(arguments), env=environment)


def test_run_where_nothing_ever_landed_says_so_and_what_to_do(lake: Path) -> None:
    result = datalake("run")
    assert result.exit_code == 0
    (line,) = result.stdout.splitlines()
    assert line.startswith(f"Nothing of a dataset has landed in {lake / 'bronze'} yet. `datalake simulate` lands")


def test_maintain_with_nothing_to_do_prints_no_table(lake: Path) -> None:
    land(lake / "bronze", "firehose/clicks", "2026/01/01/00", "one", [{"id": "a", "at": 1_767_225_600}])
    assert datalake("run").exit_code == 0
    datalake("maintain")
    assert datalake("maintain").stdout == "Every table is as it should be.\n"


@pytest.mark.parametrize(
    ("table", "told"),
    [
        ("silver.clics", "silver.clics is no table of this lake; near it: "),
        (
            "clicks",
            "clicks is no table of this lake; near it: quarantine.clicks, silver.clicks. `datalake status` lists all",
        ),
        ("gold.clicks", "near it: quarantine.clicks, silver.clicks"),
        ("xyz", "xyz is no table of this lake; near it: none. `datalake status` lists all"),
        ("silver.clicks", "silver.clicks holds nothing yet; run `datalake run`"),
    ],
)
def test_query_names_no_more_than_the_tables_near_an_unknown_one(table: str, told: str) -> None:
    result = datalake("query", f"SELECT * FROM {table}")
    assert result.exit_code == 2
    assert told in result.stderr
    assert result.stderr.count("gold.") <= 1, "not all of them"


def test_a_variable_that_is_no_setting_is_warned_of_with_the_nearest_name() -> None:
    result = datalake("status", DATALAKE_SOURCEURL="postgresql://me:hunter2@db/shop", DATALAKE_TEST_POSTGRES="")
    assert result.exit_code == 0
    assert result.stderr == "DATALAKE_SOURCEURL is no setting; did you mean DATALAKE_SOURCE_URL?\n"
    assert datalake("status", DATALAKE_XYZZY="1").stderr == "DATALAKE_XYZZY is no setting\n"
    assert datalake("status", DATALAKE_SETTLE_SECONDS="9", DATALAKE_REQUIRE_SPARK="1").stderr == ""
