"""`python -m benchmarks.ingest`: how many requests the ingest server takes, and whether what it acknowledged lands.

A client with 64 connections posts web events, each connection its next when the last is answered: first to a bare
Starlette handler, which reads the body and answers 202, then to `datalake ingest`, which parses, judges, writes and
waits for the disk. Both are one process of uvicorn's, and the client has another; so on two cores neither has one to
itself alone. At the end the server is killed under load (SIGKILL), started again and stopped as Ctrl-C would; every id
that was acknowledged must then lie in bronze.
"""

import argparse
import asyncio
import gzip
import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import uvloop

from benchmarks.harness import say

_PROJECT = Path(__file__).parents[1]
_ADDRESS = re.compile(r"http://127\.0\.0\.1:(\d+)")
_ID = re.compile(rb'"id":"([0-9a-f]{64})"')
_LENGTH = re.compile(rb"content-length: (\d+)", re.IGNORECASE)
_HEAD = b"POST /ingest/web_events HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
_ACCEPTED = b"HTTP/1.1 202"
_BARE = """
import socket, uvicorn
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route

async def take(request):
    await request.body()
    return Response(b"{}", 202, media_type="application/json")

listening = socket.create_server(("127.0.0.1", 0), backlog=2048)
print(f"http://127.0.0.1:{listening.getsockname()[1]}", flush=True)
app = Starlette(routes=[Route("/{path:path}", take, methods=["POST"])])
config = uvicorn.Config(app, access_log=False, lifespan="off", log_level="warning", server_header=False)
uvicorn.Server(config).run(sockets=[listening])
"""


@dataclass(slots=True)
class Load:
    """What a load came to: seconds of each request that was answered, and the ids that were acknowledged."""

    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)
    ids: set[bytes] = field(default_factory=set)
    refused: int = 0

    def told(self, name: str, *, records: int) -> str:
        """The rate and the latencies in a line."""
        self.latencies.sort()
        p50, p99 = (self.latencies[int(len(self.latencies) * part)] * 1e3 for part in (0.5, 0.99))
        rate = len(self.latencies) / self.seconds
        return (
            f"{name}: {rate:,.0f} requests/s, {rate * records:,.0f} records/s; p50 {p50:.1f} ms, p99 {p99:.1f} ms, "
            f"at most {self.latencies[-1] * 1e3:.0f} ms"
        )


def main() -> None:
    """Load both servers and print how they did; exits with 1 where anything acknowledged is missing."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ingest", description=main.__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--records", type=int, default=1, help="records of a request")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        complete = _compare(Path(folder), chosen.seconds, chosen.connections, chosen.records)
    sys.exit(0 if complete else 1)


def _compare(folder: Path, seconds: float, connections: int, records: int) -> bool:
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("DATALAKE_", "DAGSTER_"))}
    environment |= {"DATALAKE_ROOT": str(folder / "lake")}
    ingest = (sys.executable, "-m", "datalake_assets.cli", "ingest", "--port", "0")
    with _served((sys.executable, "-c", _BARE), environment) as (process, port):
        bare = uvloop.run(_load(port, seconds=seconds, connections=connections, records=records))
        process.terminate()
    say(bare.told("bare Starlette", records=records))
    with _served(ingest, environment) as (process, port):
        ours = uvloop.run(_load(port, seconds=seconds, connections=connections, records=records, then=process.kill))
    say(ours.told("datalake ingest", records=records))
    say(f"{len(ours.latencies) / len(bare.latencies):.2f} times the bare rate; {ours.refused} requests were refused")
    with _served(ingest, environment) as (process, _):
        process.send_signal(signal.SIGINT)
        process.wait()
    missing = ours.ids - _landed(folder / "lake" / "bronze")
    say(f"killed under load, started again: {len(ours.ids):,} records acknowledged, {len(missing):,} of them missing")
    return not missing and not ours.refused


@contextmanager
def _served(command: tuple[str, ...], environment: Mapping[str, str]) -> Iterator[tuple["subprocess.Popen[str]", int]]:
    """A server while the block runs, and its port."""
    with subprocess.Popen(command, env=environment, cwd=_PROJECT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        found = _ADDRESS.search(process.stdout.readline())
        assert found
        try:
            yield process, int(found[1])
        finally:
            process.kill()


async def _load(port: int, *, seconds: float, connections: int, records: int, then: object = None) -> Load:
    """Post for some seconds; then call `then`, with requests under way."""
    load = Load()
    began = time.perf_counter()
    senders = [asyncio.create_task(_send(load, port, name=n, records=records)) for n in range(connections)]
    await asyncio.sleep(seconds)
    if callable(then):
        then()
    load.seconds = time.perf_counter() - began
    for sender in senders:
        sender.cancel()
    await asyncio.gather(*senders, return_exceptions=True)
    return load


async def _send(load: Load, port: int, *, name: int, records: int) -> None:
    """Post one request after the other until cancelled, or until the server is gone."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    number = 0
    while True:
        body = _body(f"{name}-{number}", records)
        number += 1
        head = b"%bContent-Length: %d\r\n\r\n" % (_HEAD, len(body))
        began = time.perf_counter()
        writer.write(head + body)
        answer = await reader.readuntil(b"\r\n\r\n")
        length = _LENGTH.search(answer)
        text = await reader.readexactly(int(length[1])) if length else b""
        load.latencies.append(time.perf_counter() - began)
        load.ids.update(_ID.findall(text))
        load.refused += not answer.startswith(_ACCEPTED)


def _body(name: str, records: int) -> bytes:
    some = [
        {
            "event_id": f"{name}-{n}",
            "event_name": "cart:add",
            "created_at": 1_767_225_600,
            "user_id": 7,
            "page": "/products/17",
            "amount": 12.5,
            "payload": {"product": 17, "quantity": 2},
        }
        for n in range(records)
    ]
    return json.dumps(some[0] if records == 1 else some).encode()


def _landed(bronze: Path) -> set[bytes]:
    """The ids of all that lies in bronze."""
    lines = (line for file in bronze.rglob("*.gz") for line in gzip.decompress(file.read_bytes()).splitlines())
    return {hashlib.sha256(line).hexdigest().encode() for line in lines}


if __name__ == "__main__":
    main()
