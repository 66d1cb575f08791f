"""`datalake dev` and `dagster dev` as people use them: files land, gold changes; partitions are backfilled; they end."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest

from datalake_assets.cli.processes import of_deployment
from datalake_assets.cli.run import run_to_the_end
from datalake_assets.sensors.under_way import UNFINISHED
from datalake_assets.settings import Settings
from datalake_assets_tests.sources import land

_PROJECT = Path(__file__).parents[2]
_LOADED = """query { workspaceOrError { ... on Workspace { locationEntries {
  loadStatus locationOrLoadError { __typename ... on PythonError { message } } } } } }"""
_PARTITIONS = """query($k: AssetKeyInput!) { assetNodeOrError(assetKey: $k) { ... on AssetNode {
  partitionStats { numMaterialized numFailed } } } }"""
_BACKFILL = """mutation($p: LaunchBackfillParams!) { launchPartitionBackfill(backfillParams: $p) {
  __typename ... on LaunchBackfillSuccess { backfillId } ... on PythonError { message } } }"""
_BACKFILL_STATE = """query($id: String!) { partitionBackfillOrError(backfillId: $id) { ... on PartitionBackfill {
  status runs { runId status } } } }"""


class Dagster:
    """A `dagster dev` that runs, asked over GraphQL."""

    def __init__(self, port: int, process: subprocess.Popen[bytes], log: Path) -> None:
        self._port = port
        self.process = process
        self._log = log

    def ask(self, query: str, **variables: Any) -> Any:
        body = json.dumps({"query": query, "variables": variables}).encode()
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=30)
        with closing(connection):
            connection.request("POST", "/graphql", body, {"Content-Type": "application/json"})
            told = json.load(connection.getresponse())
        assert "errors" not in told, told
        return told["data"]

    def wait_for(self, what: str, is_so: Callable[[], Any], *, seconds: float) -> Any:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            assert self.process.poll() is None, self._log.read_text()
            try:
                if answer := is_so():
                    return answer
            except (OSError, http.client.HTTPException):
                pass
            time.sleep(0.5)
        pytest.fail(f"{what} did not happen in {seconds} s\n{self._log.read_text()[-4_000:]}")

    def is_loaded(self) -> bool:
        entries = self.ask(_LOADED)["workspaceOrError"]["locationEntries"]
        for entry in entries:
            error = (entry["locationOrLoadError"] or {}).get("message")
            assert error is None, error
        return bool(entries) and all(entry["loadStatus"] == "LOADED" for entry in entries)

    def materialized(self, *path: str) -> int:
        stats = self.ask(_PARTITIONS, k={"path": path})["assetNodeOrError"]["partitionStats"]
        count: int = stats["numMaterialized"]
        return count


@contextmanager
def _serving(environment: dict[str, str], folder: Path, *program: str) -> Iterator[Dagster]:
    """A deployment, started as a script starts its background jobs: with the signals ignored."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = folder / "dagster-dev.log"
    started = ["sh", "-c", 'trap "" INT TERM; exec "$@"', "sh", sys.executable, *program]
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*started, "-h", "127.0.0.1", "-p", str(port)],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield Dagster(port, process, log)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


_DATALAKE_DEV = ("-m", "datalake_assets.cli.app", "dev")
_DAGSTER_DEV = ("-m", "dagster", "dev", "-m", "datalake_assets.definitions")


@pytest.fixture
def environment(settings: Settings, tmp_path: Path) -> dict[str, str]:
    home = tmp_path / "home"
    home.mkdir()
    (home / "dagster.yaml").write_text((_PROJECT / "dagster.yaml").read_text())
    return {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(_PROJECT),
        "HOME": str(tmp_path),
        "DAGSTER_HOME": str(home),
        "DATALAKE_ROOT": settings.root,
        "DATALAKE_DATASETS": str(settings.datasets),
        "DATALAKE_SENSOR_SECONDS": "5",
    }


def _records(settings: Settings) -> dict[str, int]:
    table = Path(settings.layout.gold_table("daily_summary"))
    if not (table / "_delta_log").exists():
        return {}
    rows = pl.read_delta(str(table))
    return {day.isoformat(): count for day, count in rows.select("event_date", "records").iter_rows()}


@pytest.mark.timeout(400)
def test_a_file_landed_while_dagster_runs_reaches_gold_without_a_click(
    settings: Settings, bronze: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    land(bronze, "firehose/clicks", "2026/01/01/00", "one", [{"id": "a", "at": 1_767_225_600}])
    with _serving(environment, tmp_path, *_DATALAKE_DEV) as dagster:
        dagster.wait_for("loading", dagster.is_loaded, seconds=120)
        dagster.wait_for("the first day", lambda: _records(settings) == {"2026-01-01": 1}, seconds=120)

        late = [{"id": "b", "at": 1_767_225_601}, {"id": "c", "at": 1_767_139_200}]
        land(bronze, "firehose/clicks", "2026/01/03/07", "two", late)
        both = {"2025-12-31": 1, "2026-01-01": 2}
        dagster.wait_for("both days", lambda: _records(settings) == both, seconds=120)
        assert dagster.materialized("silver", "clicks") == 2

        keys = [f"2026-01-01-{hour:02}:00" for hour in range(12)]
        assets = [{"path": ["bronze", "clicks"]}, {"path": ["silver", "clicks"]}]
        launched = dagster.ask(_BACKFILL, p={"assetSelection": assets, "partitionNames": keys})
        backfill = launched["launchPartitionBackfill"]["backfillId"]

        def state() -> Any:
            told = dagster.ask(_BACKFILL_STATE, id=backfill)["partitionBackfillOrError"]
            return told if told["status"].startswith("COMPLETED") else None

        ended = dagster.wait_for("the backfill", state, seconds=120)
        assert [run["status"] for run in ended["runs"]] == ["SUCCESS"], "a range of hours is one run"
        assert dagster.materialized("silver", "clicks") == len(keys) + 1
        assert _records(settings) == both
        _stops_and_leaves_nothing(dagster, bronze, Path(environment["DAGSTER_HOME"]))


def _stops_and_leaves_nothing(dagster: Dagster, bronze: Path, home: Path) -> None:
    """Stop it while a run is under way: nothing of it is alive ten seconds later, and no run unfinished."""
    land(bronze, "firehose/clicks", "2026/01/05/00", "three", [{"id": "d", "at": 1_767_571_200}])
    with dg.DagsterInstance.from_config(str(home)) as instance:
        unfinished = dg.RunsFilter(statuses=UNFINISHED)
        dagster.wait_for("a run", lambda: instance.get_runs_count(unfinished), seconds=60)
        began = time.monotonic()
        dagster.process.send_signal(signal.SIGTERM)
        assert dagster.process.wait(20) == 128 + signal.SIGTERM
        assert time.monotonic() - began < 10
        assert of_deployment(str(home)) == []
        assert instance.get_runs_count(unfinished) == 0
        assert instance.event_log_storage.get_concurrency_run_ids() == set()


def test_what_a_killed_dagster_dev_left_is_done_by_datalake_run(
    settings: Settings, bronze: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    """Its runs stayed STARTED or QUEUED for ever: `datalake run` exited with 0 and nothing processed, or hung."""
    land(bronze, "firehose/clicks", "2026/01/01/00", "one", [{"id": "a", "at": 1_767_225_600}])
    with dg.DagsterInstance.from_config(environment["DAGSTER_HOME"]) as instance:
        unfinished = dg.RunsFilter(statuses=UNFINISHED)
        with _serving(environment, tmp_path, *_DAGSTER_DEV) as dagster:
            dagster.wait_for("a run", lambda: instance.get_runs_count(unfinished), seconds=120)
        assert instance.get_runs_count(unfinished) > 0
        assert run_to_the_end(settings, instance, tell=lambda *_: None).is_complete
        assert instance.get_runs_count(unfinished) == 0
    assert _records(settings) == {"2026-01-01": 1}


def test_two_deployments_of_one_instance_are_refused(
    settings: Settings, environment: dict[str, str], tmp_path: Path
) -> None:
    daemon = [sys.executable, "-c", "import time; time.sleep(60)", "-m", "dagster._daemon", "run"]
    with subprocess.Popen(daemon, env=environment) as other:
        program = [sys.executable, *_DATALAKE_DEV]
        done = subprocess.run(program, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 2
        assert f"Dagster is at work on {environment['DAGSTER_HOME']} already (processes {other.pid})" in done.stderr
        other.kill()


def test_one_partition_is_materialized_from_the_command_line(
    settings: Settings, bronze: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    land(bronze, "firehose/clicks", "2026/01/01/05", "one", [{"id": "a", "at": 1_767_225_600}])
    program = [sys.executable, "-m", "dagster", "asset", "materialize", "-m", "datalake_assets.definitions"]
    for asset in ("bronze/clicks", "silver/clicks"):
        selected = [*program, "--select", asset, "--partition", "2026-01-01-05:00"]
        done = subprocess.run(selected, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    assert pl.read_delta(settings.layout.silver_table("clicks"))["id"].to_list() == ["a"]
