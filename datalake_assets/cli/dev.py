"""`datalake dev`: `dagster dev` as a child that ends when it is told to, and leaves nothing to clean.

`dagster dev` alone keeps working; this adds what it lacks. It ignores signals that its parent ignored, waits a minute
for its services, and leaves runs that were under way unfinished, holding their pool slots. The child has a process
group of its own: signals reach it through this process, and what does not end is killed as a group.
"""

import argparse
import errno
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

import dagster as dg

from datalake_assets.cli import processes
from datalake_assets.cli.dead_runs import bury_dead_runs, processes_of
from datalake_assets.cli.instance import BusyError, alone
from datalake_assets.sensors.under_way import CUT_TAG

COMMAND = "datalake dev"
_MODULE = "datalake_assets.definitions"
_TARGETS = ("-m", "-w", "-f", "--module-name", "--workspace", "--python-file")
_GROUP_FILE = "datalake-dev.group"
_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_REASON = "Dagster was stopped"
_GRACE_SECONDS = 6.0
_LOOK_SECONDS = 0.1


def serve(instance: dg.DagsterInstance, arguments: Sequence[str]) -> int:
    """Run `dagster dev` with some arguments until it ends or a signal ends it; returns the exit code.

    Raises `BusyError` while another deployment serves the instance, or somebody else the port that is asked for.
    """
    home = Path(instance.root_directory)
    _require_free_port(arguments)
    with alone(instance, command=COMMAND), _signals() as arrived:
        _kill_leftovers(home)
        if others := processes.of_deployment(str(home)) if processes.can_list() else []:
            ids = ", ".join(str(p.pid) for p in others)
            raise BusyError(f"Dagster is at work on {home} already (processes {ids}); stop it first")
        bury_dead_runs(instance)
        target = [] if any(a.split("=")[0] in _TARGETS for a in arguments) or _is_declared() else ["-m", _MODULE]
        child = subprocess.Popen(  # noqa: S603 (this interpreter, and what the caller typed)
            [sys.executable, "-m", "dagster", "dev", *target, *arguments], stdin=subprocess.DEVNULL, process_group=0
        )
        (home / _GROUP_FILE).write_text(str(child.pid))
        while child.poll() is None and not arrived:
            time.sleep(_LOOK_SECONDS)
        _end(instance, child, arrived)
        (home / _GROUP_FILE).unlink(missing_ok=True)
        return 128 + arrived[0] if arrived else child.returncode


@contextmanager
def _signals() -> Iterator[list[int]]:
    """The signals that arrive; handlers are set even where the parent ignored them, so that the child does not."""
    arrived: list[int] = []

    def note(number: int, _frame: FrameType | None) -> None:
        arrived.append(number)

    before = {number: signal.signal(number, note) for number in _SIGNALS}
    try:
        yield arrived
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _is_declared() -> bool:
    """Whether the working directory says itself what `dagster dev` loads."""
    pyproject = Path("pyproject.toml")
    return Path("workspace.yaml").exists() or (pyproject.exists() and "[tool.dagster]" in pyproject.read_text())


def _require_free_port(arguments: Sequence[str]) -> None:
    """Raise `BusyError` where the UI's port is taken: `dagster dev` would go on without a UI.

    Without a port given it looks for a free one itself; what is no port it tells itself.
    """
    known = argparse.ArgumentParser(add_help=False, exit_on_error=False)
    known.add_argument("-p", "--port", type=int)
    known.add_argument("-h", "--host", default="127.0.0.1")
    try:
        given, _ = known.parse_known_args(arguments)
    except argparse.ArgumentError:
        return
    if given.port is None:
        return
    with suppress(OverflowError, socket.gaierror), socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the UI does: what has just ended holds none
        try:
            probe.bind((given.host, given.port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise BusyError(f"port {given.port} of {given.host} is taken; choose another with -p") from None


def _kill_leftovers(home: Path) -> None:
    """Kill what a `datalake dev` that was itself killed left running; its group is noted beside the lock."""
    file = home / _GROUP_FILE
    group = int(file.read_text() or 0) if file.exists() else 0
    if group and processes.can_list() and any(p.group == group for p in processes.of_deployment(str(home))):
        _kill(group)


def _end(instance: dg.DagsterInstance, child: "subprocess.Popen[bytes]", arrived: Sequence[int]) -> None:
    """Stop the services and the runs, kill what is left, and end every run that was cut."""
    until, first = time.monotonic() + _GRACE_SECONDS, len(arrived)
    if child.poll() is None:
        child.send_signal(signal.SIGINT)
    _interrupt_runs(instance, group=child.pid)
    while _is_there(child) and time.monotonic() < until and len(arrived) == first:
        time.sleep(_LOOK_SECONDS)
    _kill(child.pid)
    child.wait()
    bury_dead_runs(instance, reason=_REASON, since=time.time())


def _interrupt_runs(instance: dg.DagsterInstance, *, group: int) -> None:
    """Tell the runs of a process group to stop, as the UI's Terminate does: a step that is stopped so can clear up."""
    members = {process.pid for process in processes.of_group(group)}
    for record in instance.get_run_records(dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED])):
        for pid in members & {pid for pid, _ in processes_of(instance, record)}:
            instance.add_run_tags(record.dagster_run.run_id, {CUT_TAG: _REASON})
            instance.report_run_canceling(record.dagster_run)
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGINT)


def _is_there(child: "subprocess.Popen[bytes]") -> bool:
    """Whether a process of the child's group is alive."""
    ended = child.poll() is not None
    return bool(processes.of_group(child.pid)) if processes.can_list() else not ended


def _kill(group: int) -> None:
    try:
        os.killpg(group, signal.SIGKILL)
    except ProcessLookupError:
        return
    until = time.monotonic() + 1
    while processes.can_list() and processes.of_group(group) and time.monotonic() < until:
        time.sleep(_LOOK_SECONDS)
