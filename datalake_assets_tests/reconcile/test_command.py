"""`datalake reconcile` as people type it: what it prints, and with what it exits."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from datalake_assets.cli.app import app
from datalake_assets_tests.postgres import Database
from datalake_assets_tests.reconcile.source import Compared
from datalake_assets_tests.sources import CLICKS, write_datasets

pytestmark = pytest.mark.xdist_group("postgres")


class Command:
    """The command over a small table."""

    def __init__(self, postgres: Database, root: Path) -> None:
        postgres.execute(
            "CREATE TABLE t (id bigint PRIMARY KEY, v text, secret text)",
            "INSERT INTO t SELECT n, 'v' || n, 's' || n FROM generate_series(1, 50) n",
        )
        self.compared = Compared(postgres, root, {"id": "int64", "v": "string", "secret": "string"})
        self.compared.catch_up()
        self.url = postgres.url
        self.environment = {
            "DATALAKE_ROOT": self.compared.lake.lake.layout.root,
            "DATALAKE_DATASETS": str(root / "datasets"),
            "DATALAKE_SOURCE_URL": postgres.url,
            "DATALAKE_SETTLE_SECONDS": "0",
        }

    def __call__(self, *arguments: str, **environment: str) -> Result:
        return CliRunner().invoke(app, ["reconcile", *arguments], env=self.environment | environment)


@pytest.fixture
def command(postgres: Database, tmp_path: Path) -> Command:
    return Command(postgres, tmp_path)


def test_tables_that_agree_exit_with_0(command: Command) -> None:
    result = command("t")
    assert result.exit_code == 0, result.output
    assert ["source", "50"] in [line.split() for line in result.stdout.splitlines()]
    assert "silver.t and public.t agree: 1 range of keys compared, 0 rows looked at one by one." in result.stdout


def test_differences_are_told_by_key_and_column_and_exit_with_1(command: Command) -> None:
    command.compared.postgres.execute(
        "UPDATE t SET v = 'new', secret = 'hidden' WHERE id = 7", "DELETE FROM t WHERE id = 9"
    )
    result = command("t", "--source", command.url, DATALAKE_SOURCE_URL="")
    assert result.exit_code == 1
    lines = [line.split() for line in result.stdout.splitlines()]
    assert ["id=7", "changed", "v,", "secret"] in lines
    assert ["id=9", "not", "in", "the", "source"] in lines
    assert "hidden" not in result.stdout
    assert "differ in 2 keys: 1 changed, 0 missing in silver, 1 not in the source" in result.stdout
    assert "Silver did not move meanwhile" in result.stdout
    shown = command("t", "--show-values", "--limit", "1")
    assert ["id=7", "changed", "secret", "hidden", "s7"] in [line.split() for line in shown.stdout.splitlines()]
    assert "The first 1 of 2 keys." in shown.stdout


def test_the_result_is_json_for_programs(command: Command) -> None:
    command.compared.postgres.execute("UPDATE t SET v = '[bold]\u0085' WHERE id = 7")
    found = json.loads(command("t", "--format", "json").stdout)
    assert (found["agrees"], found["changed"], found["source_rows"], found["rows_read"]) == (False, 1, 50, 100)
    assert found["differences"] == [{"key": {"id": "7"}, "kind": "changed", "columns": ["v"]}]
    found = json.loads(command("t", "--format", "json", "--show-values").stdout)
    assert found["differences"][0]["columns"] == {"v": {"source": "[bold]\u0085", "silver": "v7"}}
    assert command("t", "--ignore", "v").exit_code == 0
    assert "public.t differ in 1 key: 1 changed" in command("t").stdout


@pytest.mark.parametrize(
    ("arguments", "environment", "told"),
    [
        (["t"], {"DATALAKE_SOURCE_URL": ""}, "no source; give --source"),
        (["u"], {}, "no dataset 'u'; there are t"),
        (["t", "--table", "gone"], {}, "there is no table public.gone in the source; public has t"),
        (["t", "--ignore", "w"], {}, "t has no column 'w'; there are id, v, secret"),
        (
            ["t", "--source", "postgresql://me:hunter2@localhost:1/x"],
            {},
            "can't connect to postgresql://me@localhost:1/x",
        ),
        (["t", "--source", "mysql://me:hunter2@localhost"], {}, "this is no URL of a Postgres"),
    ],
)
def test_what_must_be_mended_exits_with_2(
    command: Command, arguments: list[str], environment: dict[str, str], told: str
) -> None:
    result = command(*arguments, **environment)
    assert result.exit_code == 2, result.output
    assert told in result.stderr
    assert "hunter2" not in result.output


def test_a_stream_of_events_has_no_source(command: Command, tmp_path: Path) -> None:
    datasets = str(write_datasets(tmp_path / "events", CLICKS))
    result = command("clicks", DATALAKE_DATASETS=datasets)
    assert (result.exit_code, "clicks is a stream of events" in result.stderr) == (2, True)


def test_a_table_that_may_not_be_read_is_told_with_the_remedy(command: Command) -> None:
    command.compared.postgres.execute(
        "DROP ROLE IF EXISTS nobody_reconciles; CREATE ROLE nobody_reconciles LOGIN PASSWORD 'x'"
    )
    try:
        url = command.compared.postgres.with_user("nobody_reconciles", "x")
        result = command("t", "--source", url)
    finally:
        command.compared.postgres.execute("DROP ROLE nobody_reconciles")
    assert result.exit_code == 2
    assert "run GRANT SELECT ON public.t TO" in result.stderr


def test_a_dataset_file_that_asks_for_another_table_is_told(command: Command, tmp_path: Path) -> None:
    file = tmp_path / "datasets" / "dataset_0.yaml"
    file.write_text(file.read_text().replace('"v": {type: "string"}', '"v": {type: "binary"}'))
    result = command("t")
    assert result.exit_code == 2
    assert "run `datalake rebuild t` first" in result.stderr
