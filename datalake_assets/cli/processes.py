"""Processes of this machine: whether one is still the one that was seen, and which of them are Dagster's.

Read from /proc where there is one (Linux). Elsewhere a process is taken for alive when its id is in use, and no list
of Dagster's processes can be had.
"""

import os
import re
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

_PROC = Path("/proc")
_STATE, _GROUP, _STARTED = 0, 2, 19  # fields of /proc/<pid>/stat after the name, which may hold anything
_CLOCK_SLACK = 10.0  # seconds; process ids come round much later
_DAGSTER = re.compile(rb"(^|/)dagster([-_]webserver|-daemon|\._daemon)?$|multiprocessing\.spawn")


@dataclass(frozen=True, slots=True)
class Process:
    """A process: its id, its group's id, and when it started (Unix time)."""

    pid: int
    group: int
    started: float


def can_list() -> bool:
    """Whether the machine's processes can be listed."""
    return (_PROC / "self" / "stat").exists()


def is_alive(pid: int, *, seen: float) -> bool:
    """Whether the process that had this id at the time `seen` (Unix time) still exists."""
    if can_list():
        process = _read(_PROC / str(pid))
        return process is not None and process.started <= seen + _CLOCK_SLACK
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def of_deployment(home: str) -> list[Process]:
    """Dagster's processes that serve the instance in `home`: webserver, daemon, code servers, runs. Not this one."""
    return [p for p, command, place in _all() if _serves(command, place, home=home) and p.pid != os.getpid()]


def of_group(group: int) -> list[Process]:
    """The processes of a process group."""
    return [p for p, _, _ in _all() if p.group == group]


def _serves(command: bytes, place: Path, *, home: str) -> bool:
    if not any(_DAGSTER.search(argument) for argument in command.split(b"\0")):
        return False
    if os.fsencode(home) in command:  # `dagster dev` hands the instance on in an argument
        return True
    try:
        return f"DAGSTER_HOME={home}".encode() in (place / "environ").read_bytes().split(b"\0")
    except FileNotFoundError:
        return False
    except PermissionError:
        return True  # another user's: who can't be asked is taken for alive


def _all() -> Iterator[tuple[Process, bytes, Path]]:
    for place in _PROC.glob("[0-9]*"):
        with suppress(FileNotFoundError, ProcessLookupError):
            process = _read(place)
            if process is not None:
                yield process, (place / "cmdline").read_bytes(), place


def _read(place: Path) -> Process | None:
    """The process; None when it is gone, or dead and only not yet waited for."""
    try:
        fields = (place / "stat").read_text(errors="replace").rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    if fields[_STATE] in {"Z", "X"}:
        return None
    started = _boot_time() + int(fields[_STARTED]) / os.sysconf("SC_CLK_TCK")
    return Process(pid=int(place.name), group=int(fields[_GROUP]), started=started)


@cache
def _boot_time() -> float:
    """When the machine was started, by the clock as it stands now."""
    return time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
