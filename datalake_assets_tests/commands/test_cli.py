"""The `datalake` command as people type it."""

import csv
import gzip
import io
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from unittest.mock import Mock

import polars as pl
import pytest
from typer.testing import CliRunner, Result

import datalake_assets
from datalake_assets.cli import rebuilding, working
from datalake_assets.cli.app import app
from datalake_assets_tests.sources import CLICKS, land, write_datasets

_JAN_1 = 1_767_225_600
PROJECT = str(Path(datalake_assets.__file__).parents[1])


class Lake:
    """A lake, and the command run on it."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "lake"
        self.environment = {"DATALAKE_ROOT": str(self.root), "DATALAKE_DATASETS": str(folder / "datasets")}
        write_datasets(folder / "datasets", CLICKS)

    def datalake(self, *arguments: str, **environment: str) -> Result:
        return CliRunner().invoke(app, list(arguments), env=self.environment | environment)


@pytest.fixture
def lake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lake:
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DAGSTER_DISABLE_TELEMETRY", "1")
    return Lake(tmp_path)


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lake]:
    """A lake with two days of clicks, one of them wrong, run to the end."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("filled")
        patch.delenv("DAGSTER_HOME", raising=False)
        patch.setenv("DAGSTER_DISABLE_TELEMETRY", "1")
        patch.chdir(folder)
        lake = Lake(folder)
        clicks = [{"id": f"{n}", "at": _JAN_1 + n * 3_600, "page": '/a,"b"'} for n in range(40)]
        land(lake.root / "bronze", "firehose/clicks", "2026/01/02/16", "one", [*clicks, '{"id": "x", "at": "soon"}'])
        result = lake.datalake("run")
        assert result.exit_code == 0, result.output
        yield lake


def test_run_prints_what_came_of_every_table(filled: Lake) -> None:
    result = filled.datalake("run")
    assert result.exit_code == 0
    lines = [line.split() for line in result.stdout.splitlines()]
    assert ["bronze", "clicks", "41", "41", "-"] in lines
    assert any(line[:5] == ["silver", "clicks", "41", "40", "1"] for line in lines)
    assert any(line[:4] == ["gold", "daily_summary", "-", "2"] for line in lines)
    assert "Look further" in result.stdout


def test_what_run_prints_is_what_query_and_any_reader_see(filled: Lake) -> None:
    counted = json.loads(filled.datalake("query", "SELECT count(*) AS n FROM silver.clicks", "--format", "json").stdout)
    assert counted == [{"n": 40}] == [{"n": pl.read_delta(str(filled.root / "silver" / "clicks")).height}]


def test_status_counts_objects_and_records(filled: Lake) -> None:
    result = filled.datalake("status")
    lines = [line.split() for line in result.stdout.splitlines()]
    assert ["clicks", "1", "1", "1", "0", "0", "0", "41", "1", "24"] in lines  # 24 hours of the day before it landed


def test_maintain_tells_what_it_saved(filled: Lake) -> None:
    assert filled.datalake("rebuild", "clicks").exit_code == 0  # whose files before it nobody needs any more
    before = filled.datalake("query", "SELECT * FROM silver.clicks ORDER BY id", "--format", "csv").stdout
    result = filled.datalake("maintain", "--retention-hours", "0")
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines()[0].split()[:3] == ["table", "files", "before"]
    assert "Every other table is as it should be." in result.stdout
    assert filled.datalake("query", "SELECT * FROM silver.clicks ORDER BY id", "--format", "csv").stdout == before


def test_query_prints_a_table_csv_or_json(filled: Lake) -> None:
    sql = "SELECT id, page, event_date FROM silver.clicks WHERE id = '7'"
    assert "2026-01-01" in filled.datalake("query", sql, "--format", "table").stdout
    assert filled.datalake("query", sql).stdout == filled.datalake("query", sql, "--format", "csv").stdout  # in a pipe
    rows = list(csv.reader(io.StringIO(filled.datalake("query", sql, "--format", "csv").stdout)))
    assert rows == [["id", "page", "event_date"], ["7", '/a,"b"', "2026-01-01"]]
    assert json.loads(filled.datalake("query", sql, "--format", "json").stdout) == [
        {"id": "7", "page": '/a,"b"', "event_date": "2026-01-01"}
    ]


def test_query_prints_as_many_rows_as_are_asked_for_and_says_how_many_there_are(filled: Lake) -> None:
    result = filled.datalake("query", "SELECT id FROM silver.clicks ORDER BY id", "--limit", "3")
    assert result.stdout.splitlines() == ["id", "0", "1", "10"]
    assert result.stderr.strip() == "the first 3 of 40 rows"


def test_query_joins_zones_and_reads_quarantine_and_ledger(filled: Lake) -> None:
    sql = (
        "SELECT l.rows_in, l.rows_rejected, q.row_number, q.errors FROM ledger l"
        " JOIN quarantine.clicks q ON q.source_filename = l.key"
    )
    (row,) = json.loads(filled.datalake("query", sql, "--format", "json").stdout)
    assert (row["rows_in"], row["rows_rejected"], row["row_number"]) == (41, 1, 41)
    assert row["errors"][0].startswith("/at type:")
    listed = filled.datalake("query", "SELECT errors FROM quarantine.clicks", "--format", "csv")
    assert list(csv.reader(io.StringIO(listed.stdout)))[1][0].startswith('["/at type:')


@pytest.mark.parametrize(
    ("sql", "words"),
    [
        ("SELECT * FROM silver.nothing", "silver.nothing is no table of this lake"),
        ("SELECT nothing FROM silver.clicks", "No field named nothing"),
        ("SELEC 1", "only a SELECT"),
        ("DROP TABLE silver.clicks", "only a SELECT"),
        ("COPY (SELECT 1) TO 'x.csv'", "only a SELECT"),
        ("SELECT 1 / (count(*) - count(*)) FROM silver.clicks", "Divide by zero"),
        ("SELECT a.id, b.id FROM silver.clicks a JOIN silver.clicks b ON a.id = b.id", "name it apart with AS"),
        ("SELECT interval '1 month'", "cast it to text"),
    ],
)
def test_a_wrong_query_says_what_is_wrong(filled: Lake, sql: str, words: str) -> None:
    result = filled.datalake("query", sql)
    assert result.exit_code == 2
    assert words in result.stderr


def test_a_table_that_holds_nothing_yet_is_told_from_one_that_is_none(lake: Lake) -> None:
    result = lake.datalake("query", "SELECT * FROM gold.daily_summary")
    assert result.exit_code == 2
    assert "gold.daily_summary holds nothing yet; run `datalake run`" in result.stderr


def test_rejects_are_summarised_with_examples(filled: Lake) -> None:
    result = filled.datalake("rejects", "clicks")
    assert "/at type" in result.stdout
    assert '{"id": "x", "at": "soon"}' in result.stdout
    assert "1 record of clicks is in quarantine" in result.stdout
    assert "soon" not in filled.datalake("rejects", "clicks", "--examples", "0").stdout


def test_rejects_of_records_that_look_like_markup_are_shown(lake: Lake) -> None:
    """`[/x]` in a rejected record made `rejects` raise a MarkupError."""
    hostile = '{"id": "[/x]\\u001b[31m", "at": "[red]"} \x1b[31m[/]'
    land(lake.root / "bronze", "firehose/clicks", "2026/01/02/16", "one", [hostile])
    lake.datalake("run")
    result = lake.datalake("rejects", "clicks")
    assert result.exit_code == 0, result.exception
    assert "[/x]" in result.stdout
    assert "\x1b" not in result.stdout
    text = lake.datalake("query", "SELECT * FROM quarantine.clicks", "--format", "table")
    assert text.exit_code == 0
    assert "\x1b" not in text.stdout


def test_rejects_of_a_clean_or_unknown_dataset(lake: Lake) -> None:
    assert "Nothing of clicks is in quarantine" in lake.datalake("rejects", "clicks").stdout
    unknown = lake.datalake("rejects", "clacks")
    assert unknown.exit_code == 2
    assert "no dataset 'clacks'; there are clicks" in unknown.stderr


def test_run_exits_with_1_when_a_step_failed_and_says_why(lake: Lake) -> None:
    land(lake.root / "bronze", "firehose/clicks", "2026/01/01/00", "one", [{"id": "a", "at": _JAN_1}])
    (lake.root / "silver").write_text("a file where the folder should be")
    result = lake.datalake("run")
    assert result.exit_code == 1
    assert "failed run" in result.stderr


def test_run_says_what_it_did_and_what_can_never_be_read(lake: Lake) -> None:
    """The tables show totals, the same whether anything new had landed or not; damaged files were not mentioned."""
    land(lake.root / "bronze", "firehose/clicks", "2026/01/01/00", "one", [{"id": "a", "at": _JAN_1}])
    broken = lake.root / "bronze/firehose/clicks/2026/01/01/00/broken.gz"
    broken.write_bytes(b"\x1f\x8b\x08 torn")
    first = lake.datalake("run")
    assert first.exit_code == 0
    assert "2 new objects, 1 record read, 3 dates of gold computed, by 2 runs in" in first.stdout
    assert "clicks: an object can't be read: firehose/clicks/2026/01/01/00/broken.gz: " in first.stderr
    assert "Nothing new had landed, and gold owed nothing." in lake.datalake("run").stdout
    assert "broken.gz:0" in lake.datalake("rejects", "clicks").stdout
    damaged = broken.with_name("damaged.gz")
    damaged.write_bytes(b"PAR1 torn")
    assert "clicks: 2 objects can't be read" in lake.datalake("run").stderr
    assert lake.datalake("rejects", "clicks").stdout.count(".gz:0") == 2  # unlike reasons, an example of each
    broken.unlink()
    damaged.unlink()
    assert "can't be read" not in lake.datalake("status").stdout  # nobody can land again what was given up


def test_a_rebuild_that_would_reject_most_records_is_refused_unless_it_is_forced(lake: Lake, tmp_path: Path) -> None:
    """It was the remedy that `run` named, and it emptied silver without a word."""
    clicks = [{"id": f"{n}", "at": _JAN_1} for n in range(30)]
    land(lake.root / "bronze", "firehose/clicks", "2026/01/02/00", "one", clicks)
    assert lake.datalake("run").exit_code == 0
    file = tmp_path / "datasets" / "dataset_0.yaml"
    file.write_text(file.read_text().replace("id: {type: string, minLength: 1}", "id: {type: integer}"))
    refused = lake.datalake("rebuild", "clicks")
    assert refused.exit_code == 2
    assert "30 of 30 records rejected" in refused.stderr
    assert "--force" in refused.stderr
    count = ("query", "SELECT count(*) AS n FROM gold.daily_summary WHERE records = 30")
    assert lake.datalake("rebuild", "clicks", "--force").exit_code == 0
    held = lake.datalake("run")
    assert held.exit_code == 1
    assert "2026-01-01: held back by clicks 2026-01-02-00:00: 30 of 30 records rejected" in held.stderr
    assert lake.datalake(*count).stdout.split() == ["n", "1"], "gold lost what silver was emptied of"


def test_a_rebuild_tells_of_wrong_dates_of_missing_objects_and_of_being_stopped(
    filled: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    reversed_ = filled.datalake("rebuild", "clicks", "--from", "2026-01-03", "--to", "2026-01-02")
    assert (reversed_.exit_code, "--from 2026-01-03 lies after --to 2026-01-02" in reversed_.stderr) == (2, True)
    (landed,) = (filled.root / "bronze/firehose/clicks/2026/01/02/16").iterdir()
    with monkeypatch.context() as patch:
        patch.setattr(working, "_SHOWN", 0)
        aside = landed.rename(filled.root / "aside")
        kept = filled.datalake("rebuild", "clicks")
        aside.rename(landed)
    assert "clicks: 0 objects read, 0 records" in kept.stdout
    assert "and 1 more are kept as they were" in kept.stderr
    assert filled.datalake("rebuild", "clicks").exit_code == 0
    monkeypatch.setattr(rebuilding, "rebuild_dataset", Mock(side_effect=KeyboardInterrupt))
    assert "stopped; silver is whole" in filled.datalake("rebuild", "clicks").stderr


def test_a_folder_of_bronze_that_is_not_there_is_told(filled: Lake, tmp_path: Path) -> None:
    """A disk that was not mounted looked healthy for ever, and a rebuild told of many objects it had read."""
    lost = {"DATALAKE_BRONZE": str(tmp_path / "nowhere")}
    told = f"DATALAKE_BRONZE: there is no folder {tmp_path / 'nowhere'}, from which the lake has read objects"
    for command in ("run", "status"):
        result = filled.datalake(command, **lost)
        assert (result.exit_code, told in " ".join(result.stderr.split())) == (0, True)
    refused = filled.datalake("rebuild", "clicks", **lost)
    assert (refused.exit_code, "nothing is rebuilt" in refused.stderr) == (2, True)
    assert "DATALAKE_BRONZE" not in filled.datalake("status").stderr


def test_rejects_name_an_object_of_which_a_part_was_read(lake: Lake) -> None:
    file = land(
        lake.root / "bronze",
        "firehose/clicks",
        "2026/01/01/00",
        "one",
        [{"id": f"{n} {n**99}", "at": _JAN_1} for n in range(200)],
    )
    file.write_bytes(file.read_bytes()[:-2_000])
    lake.datalake("run")
    rejects = " ".join(lake.datalake("rejects", "clicks").stdout.split())
    assert "object: gzip: it ends early" in rejects
    assert "land the object again" in rejects


def test_a_ui_whose_port_is_taken_does_not_start(lake: Lake) -> None:
    """Dagster went on without a UI."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        for arguments in (("-p", port), (f"--port={port}",)):
            result = lake.datalake("dev", *arguments)
            assert (result.exit_code, f"port {port} of 127.0.0.1 is taken" in result.stderr) == (2, True)


def test_run_says_which_check_holds_gold_back(lake: Lake) -> None:
    clicks = [{"id": f"{n}", "at": _JAN_1} for n in range(20)]
    land(lake.root / "bronze", "firehose/clicks", "2026/01/01/00", "one", [*clicks, *["not json"] * 10])
    result = lake.datalake("run")
    assert result.exit_code == 1
    tables = "gold/daily_summary, gold/events_by_type, gold/hourly_metrics"
    held = f"{tables} 2026-01-01: held back by clicks 2026-01-01-00:00: 10 of 30 records rejected"
    assert f"undone: {held}" in result.stderr
    assert result.stderr.count("max_rejected_fraction") == 1
    assert f"- {held}" in lake.datalake("status").stdout
    assert "gold owed nothing that could be computed" in lake.datalake("run").stdout


def test_status_says_what_is_left_to_do(lake: Lake, tmp_path: Path) -> None:
    """It gave numbers of objects, and no hint what to do about them."""
    land(lake.root / "bronze", "firehose/clicks", "2026/01/01/00", "one", [{"id": "a", "at": _JAN_1}])
    assert "- clicks 2026-01-01-00:00: 1 objects wait" in lake.datalake("status").stdout
    lake.datalake("run")
    assert "Left to do" not in lake.datalake("status").stdout
    file = tmp_path / "datasets" / "dataset_0.yaml"
    file.write_text(file.read_text().replace("{type: integer}", "{type: integer, minimum: 1}"))
    older = "- clicks: 1 object was read under an older contract; `datalake rebuild clicks` reads them again"
    assert older in lake.datalake("status").stdout
    (landed,) = (lake.root / "bronze/firehose/clicks/2026/01/01/00").iterdir()
    landed.rename(tmp_path / "aside")
    assert "older contract;" not in lake.datalake("status").stdout  # nothing can read it again
    (tmp_path / "aside").rename(landed)
    file.write_text(file.read_text().replace("unit: s", "unit: ms"))
    changed = "clicks: its dataset file has changed"
    assert changed in lake.datalake("status").stdout
    result = lake.datalake("run")
    assert (result.exit_code, result.stderr.count(changed)) == (1, 1)  # said before anything new lands
    write_datasets(tmp_path / "others", CLICKS.replace("clicks", "views"))
    undeclared = lake.datalake("status", DATALAKE_DATASETS=str(tmp_path / "others")).stdout
    assert "- clicks: the ledger has objects of it, but there is no dataset file" in undeclared


def test_a_torn_line_in_a_small_hour_holds_nothing_back(lake: Lake) -> None:
    """One bad line beside one good one withheld a month of figures."""
    land(lake.root / "bronze", "firehose/clicks", "2026/01/01/00", "one", [{"id": "a", "at": _JAN_1}, "not json"])
    assert lake.datalake("run").exit_code == 0


def test_run_on_an_empty_lake_does_nothing(lake: Lake) -> None:
    assert lake.datalake("run").exit_code == 0


def test_simulated_data_land_once(lake: Lake) -> None:
    first = lake.datalake("simulate", "--hours", "2", "--rate", "20", "--seed", "3")
    assert first.exit_code == 0, first.output
    assert "Landed" in first.stdout
    again = lake.datalake("simulate", "--hours", "2", "--rate", "20", "--seed", "3")
    assert "Landed 0 new objects" in again.stdout


def _ignore_interrupts() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_live_data_land_in_the_current_hour_until_the_command_is_stopped(lake: Lake, number: signal.Signals) -> None:
    """A shell starts its background jobs with SIGINT ignored: there nothing but SIGKILL stopped live data."""
    program = [sys.executable, "-m", "datalake_assets.cli", "simulate", "--hours", "1", "--rate", "20", "--follow"]
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": PROJECT, "DATALAKE_ROOT": str(lake.root)}
    with subprocess.Popen(
        program,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=_ignore_interrupts,  # noqa: PLW1509 (what a shell does to a background job)
    ) as process:
        today = datetime.now(UTC).strftime("%Y/%m/%d")
        while not list((lake.root / "bronze" / "firehose" / "web_events").glob(f"{today}/*/*.gz")):
            assert process.poll() is None, process.communicate()
            time.sleep(0.2)
        process.send_signal(number)
        told, complaint = process.communicate(timeout=10)
    assert process.returncode == 0, complaint
    assert told.splitlines()[-1].startswith("Stopped: ")
    half_written = [f for f in lake.root.rglob("*") if f.is_file() and (f.name.startswith((".", "_")) or "#" in f.name)]
    assert half_written == []
    for file in (lake.root / "bronze").rglob("*.gz"):
        gzip.decompress(file.read_bytes())


def test_simulated_data_until_now_go_on_where_they_ended(lake: Lake) -> None:
    command = ("simulate", "--until-now", "--rate", "20", "--seed", "3")
    assert "new objects" in lake.datalake(*command).stdout
    hours = sorted((lake.root / "bronze/firehose/web_events").glob("*/*/*/*"))
    began, last = ("-".join(hour.parts[-4:]) for hour in (hours[0], hours[-1]))
    now = datetime.now(UTC)
    assert began == f"{now - timedelta(days=1):%Y-%m-%d}-00"
    assert last in {f"{now - timedelta(hours=h):%Y-%m-%d-%H}" for h in (1, 2)}  # an hour may have begun meanwhile
    assert lake.datalake(*command).stdout.startswith("Landed 0 new objects")
    for object_ in hours[-1].glob("*"):
        object_.unlink()
    assert not lake.datalake(*command).stdout.startswith("Landed 0 new objects")


def test_simulated_hours_can_be_stopped_and_gone_on_with(lake: Lake) -> None:
    program = [
        sys.executable,
        "-m",
        "datalake_assets.cli",
        "simulate",
        "--hours",
        "2000",
        "--rate",
        "60",
        "--seed",
        "3",
    ]
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": PROJECT, "DATALAKE_ROOT": str(lake.root)}
    with subprocess.Popen(program, env=environment, stdout=subprocess.PIPE, text=True) as process:
        while not list((lake.root / "bronze").rglob("*.gz")):
            assert process.poll() is None
            time.sleep(0.1)
        process.send_signal(signal.SIGTERM)
        told, _ = process.communicate(timeout=10)
    assert process.returncode == 130
    assert told.splitlines()[-1].startswith("Stopped before all hours were landed")


def test_a_wrong_setting_or_dataset_file_is_named(lake: Lake, tmp_path: Path) -> None:
    wrong = lake.datalake("status", DATALAKE_LOOKBACK_HOURS="soon")
    assert wrong.exit_code == 2
    assert "DATALAKE_LOOKBACK_HOURS: " in wrong.stderr
    missing = lake.datalake("status", DATALAKE_DATASETS=str(tmp_path / "nowhere"))
    assert missing.exit_code == 2
    assert "nowhere: there is no such folder; point DATALAKE_DATASETS at" in missing.stderr
    empty = lake.datalake("status", DATALAKE_DATASETS=str(tmp_path))
    assert "no dataset file (*.yaml) here" in empty.stderr
    size = lake.datalake("status", DATALAKE_MEMORY_LIMIT="2GX")
    assert size.exit_code == 2
    assert "DATALAKE_MEMORY_LIMIT: '2GX' is no number of bytes; write one such as 2GiB or 500MB" in size.stderr
