"""What is shipped: it runs a step by itself, and what is told between run and job survives the way."""

import json
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from dagster_pipes import encode_param

from datalake_assets.lake.steps.messages import PartitionCounts, StepReport
from datalake_assets.lake.store.landing import open_store
from datalake_assets.remote import Payload, StoreMessageChannel, main, message_key
from datalake_assets.resources.runners.pipes_place import report_in
from datalake_assets.settings import Settings
from datalake_assets_tests.runners import shipped
from datalake_assets_tests.runners.lakes import clicks, land
from datalake_assets_tests.runners.steps import REQUEST
from datalake_assets_tests.sources import CLICKS, write_datasets

_PROGRAM = """
import importlib.util, json, sys
absent = ["dagster", "boto3", "botocore", "pydantic_settings", "typer", "rich", "pyspark", "dagster_aws"]
assert not [name for name in absent if importlib.util.find_spec(name)], sys.path
import datalake_assets.remote
from datalake_assets.lake.engines.polars import PolarsEngine
from datalake_assets.lake.steps.execute import execute
from datalake_assets.lake.steps.planning import admit
from datetime import UTC, datetime
payload = datalake_assets.remote.Payload.from_extras(json.load(sys.stdin))
lake = payload.lake
admit(lake, lake.datasets["clicks"], payload.request.partitions, now=datetime.now(UTC))
print(execute(payload.request, lake=lake, engine=PolarsEngine()).rows_out)
"""


def settings_in(tmp_path: Path) -> Settings:
    return Settings(root=str(tmp_path / "lake"), datasets=write_datasets(tmp_path / "datasets", CLICKS))


def test_what_is_shipped_runs_a_step_with_nothing_else_installed(built: tuple[Path, Path], tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    land(settings, "one", clicks(10))
    sent = json.dumps(Payload.of(REQUEST, settings.lake(), engine="polars").to_extras())
    done = subprocess.run(
        [shipped.interpreter(tmp_path), "-c", _PROGRAM],
        input=sent,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(built[0])},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert (done.returncode, done.stdout.strip()) == (0, "10"), done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["nonsense"],
        ["--help"],
        ["--dagster-pipes-context"],
        ["--dagster-pipes-context", "xx", "--dagster-pipes-messages", "yy"],
        ["--dagster-pipes-context", encode_param({"place": "s3://b"})],
        ["--dagster-pipes-context", encode_param({}), "--dagster-pipes-messages", encode_param(7)],
    ],
)
def test_whoever_starts_a_step_by_hand_is_told_what_it_is(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It was a warning of Dagster's and a KeyError, or whatever could not be decoded."""
    monkeypatch.setattr("sys.argv", ["remote.py", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    told = capsys.readouterr()
    assert (ended.value.code, told.out, told.err.count("\n")) == (2, "", 1)
    assert told.err.startswith("datalake_assets.remote executes one step of a Dagster run in a job of ")


def test_the_lake_arrives_as_it_is_declared() -> None:
    lake = Settings(root="s3://bucket/lake").lake()
    sent = json.dumps(Payload.of(REQUEST, lake, engine="spark").to_extras())
    arrived = Payload.from_extras(json.loads(sent))
    assert (arrived.request, arrived.engine) == (REQUEST, "spark")
    assert (arrived.lake.layout, arrived.lake.limits) == (lake.layout, lake.limits)
    assert arrived.lake.datasets == lake.datasets
    for name, dataset in lake.datasets.items():
        assert arrived.lake.datasets[name].contract == dataset.contract
        assert arrived.lake.datasets[name].shape == dataset.shape


def test_a_large_report_comes_by_an_object_beside_the_messages(tmp_path: Path) -> None:
    from datalake_assets import remote

    class Pipes:
        sent: list[Any] = []  # noqa: RUF012 (of this one test)

        def report_custom_message(self, payload: Any) -> None:
            self.sent.append(payload)

    counts = tuple(PartitionCounts(partition=f"2026-{n}", rows_in=n) for n in range(10_000))
    report = StepReport(zone="silver", name="clicks", engine="polars", started_at=datetime.now(UTC), partitions=counts)
    pipes: Any = Pipes()
    remote._send(pipes, report, open_store(str(tmp_path)))  # noqa: SLF001 (what `main` does last)
    assert pipes.sent == [{"report_at": "report.json"}]
    assert report_in(pipes.sent, str(tmp_path)) == report


def test_messages_that_can_not_be_put_are_put_again_and_none_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dagster's own channel stopped at the first fault, and the job went on without being heard."""
    channel = StoreMessageChannel(open_store(str(tmp_path)), interval=0.01)
    healthy, faults, arrived = StoreMessageChannel.upload_messages_chunk, iter([OSError("503")] * 2), Event()

    def upload(self: StoreMessageChannel, payload: Any, index: int) -> None:
        if (fault := next(faults, None)) is not None:
            raise fault
        healthy(self, payload, index)
        arrived.set()

    monkeypatch.setattr(StoreMessageChannel, "upload_messages_chunk", upload)
    with channel.buffered_upload_loop():
        for n in range(20):
            channel.write_message({"method": "log", "params": {"n": n}})  # type: ignore[typeddict-item]
        assert arrived.wait(30)
        channel.write_message({"method": "log", "params": {"n": 20}})  # type: ignore[typeddict-item]
    files = sorted((tmp_path / "messages").iterdir())
    assert [f"messages/{file.name}" for file in files] == [message_key(n + 1) for n in range(len(files))]
    lines = [json.loads(line) for file in files for line in file.read_text().splitlines()]
    assert [line["params"]["n"] for line in lines] == list(range(21))
