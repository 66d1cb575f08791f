"""The lake's commands as services, looked at from outside: started in a fresh folder, stopped as Ctrl-C would."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg

from benchmarks.harness import say

LOOK_SECONDS = 1.0
_PROJECT = Path(__file__).parents[1]
_STOP_SECONDS = 15


class Services:
    """Commands on one lake, `root`, with Dagster's home beside it."""

    def __init__(self, folder: Path) -> None:
        """Prepare a folder; nothing is started."""
        self._folder = folder
        self.root, home = folder / "lake", folder / "home"
        home.mkdir(parents=True)
        (home / "dagster.yaml").write_text((_PROJECT / "dagster.yaml").read_text())
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("DATALAKE_", "DAGSTER_"))}
        self._environment = environment | {"DATALAKE_ROOT": str(self.root), "DAGSTER_HOME": str(home)}
        os.environ["DAGSTER_HOME"] = str(home)

    @contextmanager
    def command(self, *arguments: str) -> Iterator[None]:
        """`datalake ARGUMENTS` while the block runs; what it prints is in a file of its name."""
        with (self._folder / f"{arguments[0]}.log").open("wb") as log:
            program = [sys.executable, "-m", "datalake_assets.cli", *arguments]
            process = subprocess.Popen(
                program, env=self._environment, cwd=_PROJECT, stdout=log, stderr=subprocess.STDOUT
            )
        try:
            yield
        finally:
            if process.poll() is not None:
                say(f"datalake {arguments[0]} ended by itself; see {log.name}")
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                say(f"datalake {arguments[0]} did not stop in {_STOP_SECONDS} s")
                process.kill()

    @contextmanager
    def dev(self) -> Iterator[dg.DagsterInstance]:
        """`datalake dev` while the block runs, from its daemon's first tick on."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = str(free.getsockname()[1])
        with self.command("dev", "-h", "127.0.0.1", "-p", port), dg.DagsterInstance.get() as instance:
            say("waiting for the first tick")
            while not instance.get_daemon_heartbeats():
                time.sleep(LOOK_SECONDS)
            yield instance
