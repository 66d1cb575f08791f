"""`datalake ingest`, as a process that is posted to, stopped and killed."""

import http.client
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from datalake_assets_tests.gateway.landed import landed_ids
from datalake_assets_tests.sources import CLICKS, write_datasets

_PLAIN = CLICKS.replace("name: clicks", "name: plain").replace("firehose/clicks", "api/plain")
_ODD = (
    b'[{\r\n "id": "\xc3\xa9\\n",\r\n\t"at": 1767225600.0\n}, {"at":1767225601,"id":"\\u00e9"} ,'
    b' {"id": "}{", "at": 1767225602}]'
)
_NEVER = ("--flush-seconds", "3600")


class Lake:
    """A lake with a source that has a stream and one that has none."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.root = folder, folder / "lake"
        self.bronze = self.root / "bronze"
        self.environment = {k: v for k, v in os.environ.items() if not k.startswith(("DATALAKE_", "DAGSTER_"))} | {
            "DATALAKE_ROOT": str(self.root),
            "DATALAKE_DATASETS": str(write_datasets(folder / "datasets", CLICKS, _PLAIN)),
            "DAGSTER_DISABLE_TELEMETRY": "1",
        }

    def datalake(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        program = [sys.executable, "-m", "datalake_assets.cli", *arguments]
        return subprocess.run(
            program, env=self.environment, cwd=self.folder, capture_output=True, text=True, check=False
        )

    @contextmanager
    def ingest(self, *arguments: str) -> Iterator["Server"]:
        """A server while the block runs; killed at its end where it is still there."""
        program = [sys.executable, "-m", "datalake_assets.cli", "ingest", "--port", "0", *arguments]
        with subprocess.Popen(
            program,
            env=self.environment,
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            process_group=0,
        ) as process:
            try:
                yield Server(process)
            finally:
                process.kill()


class Server:
    """A server that listens; `greeting` is what it printed first."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        assert process.stdout is not None
        self.process = process
        self.greeting = [process.stdout.readline() for _ in range(3)]
        found = re.search(r"http://127\.0\.0\.1:(\d+)/", self.greeting[0])
        assert found, process.communicate()
        self.port = int(found[1])

    def post(self, body: Any, source: str = "clicks") -> tuple[int, dict[str, Any]]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        headers = {"Content-Type": "application/json"}
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        connection.request("POST", f"/ingest/{source}", data, headers)
        response = connection.getresponse()
        told = response.status, json.loads(response.read())
        connection.close()
        return told

    def stop(self) -> tuple[int, str, str]:
        """Stop as Ctrl-C does; the exit code, and what was printed."""
        self.process.send_signal(signal.SIGINT)
        out, err = self.process.communicate(timeout=60)
        return self.process.returncode, out, err


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path)


def test_what_is_posted_is_in_silver_by_its_id(lake: Lake) -> None:
    with lake.ingest(*_NEVER) as server:
        posted = [
            server.post(_ODD, "clicks"),
            server.post([{"id": f"{n}", "at": 1_767_225_600} for n in range(3)], "plain"),
        ]
        status, told = server.post([{"id": "bad"}])
        assert (status, told["rejected"][0]["errors"][0]["rule"]) == (400, "required")
        code, out, err = server.stop()
    assert (code, err) == (0, "")
    assert "Landed 6 records: 2 objects" in out
    assert lake.datalake("run").returncode == 0
    for (status, told), table in zip(posted, ("clicks", "plain"), strict=True):
        assert status == 202
        rows = lake.datalake("query", f"SELECT record_hash FROM silver.{table}", "--format", "json")
        hashes = {row["record_hash"] for row in json.loads(rows.stdout)}
        assert hashes == {accepted["id"] for accepted in told["accepted"]}


def test_the_example_that_it_prints_works(lake: Lake) -> None:
    lake.environment.pop("DATALAKE_DATASETS")
    with lake.ingest() as server:
        command = shlex.split(server.greeting[2])
        assert command[0] == "curl"
        data = json.loads(command[command.index("-d") + 1])
        status, told = server.post(data, command[-1].rpartition("/")[2])
        assert (status, told["rejected"]) == (202, [])
        assert server.stop()[0] == 0
    assert landed_ids(lake.bronze)


def test_killed_under_load_it_loses_nothing_that_it_acknowledged(lake: Lake) -> None:
    acknowledged: set[str] = set()
    enough = threading.Event()

    def send(server: Server, name: str) -> None:
        for n in range(10_000):
            try:
                _, told = server.post([{"id": f"{name}-{n}", "at": n}, {"id": f"{name}-{n}b", "at": n}])
            except (OSError, http.client.HTTPException):
                return
            acknowledged.update(accepted["id"] for accepted in told["accepted"])
            if len(acknowledged) > 200:
                enough.set()

    with lake.ingest("--flush-seconds", "0.1") as server:
        senders = [threading.Thread(target=send, args=(server, f"s{n}")) for n in range(6)]
        for sender in senders:
            sender.start()
        assert enough.wait(60)
        server.process.kill()
        for sender in senders:
            sender.join()
    with lake.ingest(*_NEVER) as server:
        assert server.stop()[0] == 0
    assert acknowledged <= landed_ids(lake.bronze)
    assert len(acknowledged) > 200


def test_killed_before_anything_landed_the_next_start_lands_it(lake: Lake) -> None:
    with lake.ingest(*_NEVER) as server:
        acknowledged = {a["id"] for n in range(5) for a in server.post({"id": f"{n}", "at": n})[1]["accepted"]}
        server.process.kill()
        server.process.wait()
    assert not lake.bronze.exists()
    with lake.ingest(*_NEVER) as server:
        code, out, err = server.stop()
    assert (code, err) == (0, "landing 1 file that a server left which was killed\n")
    assert "Landed 5 records: 1 object" in out
    assert landed_ids(lake.bronze) == acknowledged


def test_a_port_that_is_taken_is_told(lake: Lake) -> None:
    with lake.ingest() as server:
        done = lake.datalake("ingest", "--port", str(server.port))
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.strip() == (
            f"127.0.0.1:{server.port} can't be listened on: Address already in use; "
            "stop what listens there, or give another --port"
        )
        assert server.post({"id": "a", "at": 1})[0] == 202
        assert server.stop()[0] == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--port", "70000"), "65535"),
        (("--host", "no-such-host.invalid"), "can't be listened on"),
        (("--flush-seconds", "0"), "flush-seconds"),
        (("--spool", "/dev/null/spool"), "give another --spool"),
    ],
)
def test_wrong_options_are_told(lake: Lake, arguments: tuple[str, ...], words: str) -> None:
    done = lake.datalake("ingest", "--port", "0", *arguments)
    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr
