"""Timing side by side: each run in a process of its own, peers in turn, medians, ratios, peak memory and CPU.

Belongs here: what every benchmark needs. What is compared, and why that is fair, is told in the benchmark's module.
"""

import json
import multiprocessing
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from rich.console import Console
from rich.table import Table

Job = Callable[..., float]
"""Does its preparations, then the work; returns the seconds that the work took."""

_PROC = Path("/proc")
_SHOWN = Console()


@dataclass(frozen=True, slots=True)
class Options:
    """How to run: `folder` keeps generated input between runs, `quick` is a smoke run over little of it."""

    folder: Path
    quick: bool
    rounds: int


@dataclass(frozen=True, slots=True)
class Sample:
    """One run: seconds of the work, and of its process and those it started the peak memory in MB and CPU seconds.

    The CPU seconds are those of the job with its preparations, without Python's start and the imports of its module.
    """

    seconds: float
    peak_mb: float
    cpu_seconds: float


@dataclass(frozen=True, slots=True)
class Result:
    """One comparison.

    `ours` and `peer` are in `unit`. The target is met by a `ratio` of at least `target`, or of at most `target` where
    `at_most` is set (the ratio is a cost then, and the name says so).
    """

    name: str
    ours: float
    peer: float
    unit: str
    ratio: float
    target: float
    at_most: bool = False
    note: str = ""

    @property
    def met(self) -> bool:
        """Whether the target is met."""
        return self.ratio <= self.target if self.at_most else self.ratio >= self.target


def speed(name: str, *, ours: Sample, peer: Sample, target: float) -> Result:
    """How many times as fast as a peer we are, by the seconds of both."""
    return Result(name, ours.seconds, peer.seconds, "s", peer.seconds / ours.seconds, target, note=_beside(ours, peer))


def cost(name: str, *, ours: Sample, peer: Sample, target: float) -> Result:
    """How many times the seconds of the peer ours are."""
    ratio = ours.seconds / peer.seconds
    name = f"{name} (cost: at most)"
    return Result(name, ours.seconds, peer.seconds, "s", ratio, target, at_most=True, note=_beside(ours, peer))


def _beside(ours: Sample, peer: Sample) -> str:
    """What else two samples tell: wall time depends on the machine's other work, these less so."""
    cpu = f"CPU {ours.cpu_seconds:.1f} and {peer.cpu_seconds:.1f} s"
    return f"{cpu}; peak {ours.peak_mb:,.0f} and {peer.peak_mb:,.0f} MB"


def interleaved(jobs: Mapping[str, Callable[[], Sample]], *, rounds: int) -> dict[str, Sample]:
    """Run the jobs in turn, `rounds` times each; of each the median seconds (CPU's too) and the greatest memory."""
    samples: dict[str, list[Sample]] = {name: [] for name in jobs}
    for number in range(1, rounds + 1):
        for name, job in jobs.items():
            sample = job()
            samples[name].append(sample)
            _SHOWN.print(
                f"  {number}/{rounds} {name}: {sample.seconds:.3f} s, CPU {sample.cpu_seconds:.2f} s, "
                f"{sample.peak_mb:,.0f} MB",
                highlight=False,
            )
    return {name: middle(ran) for name, ran in samples.items()}


def middle(ran: Sequence[Sample]) -> Sample:
    """The median seconds of some samples, and their greatest memory."""
    seconds, cpu = median(s.seconds for s in ran), median(s.cpu_seconds for s in ran)
    return Sample(seconds, max(s.peak_mb for s in ran), cpu)


def alone(job: Job, *args: object) -> Sample:
    """Run a job in a new process, so that its memory is its own and nothing is warm but the page cache."""
    with ProcessPoolExecutor(max_workers=1, mp_context=multiprocessing.get_context("spawn")) as processes:
        return processes.submit(_sampled, job, *args).result()


def whole_process(command: Sequence[str], *, environment: Mapping[str, str]) -> Sample:
    """Run a program from its start to its end. Raises `subprocess.CalledProcessError` where it fails."""
    began = time.perf_counter()
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=output)
        _, status, used = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            output.seek(0)
            raise subprocess.CalledProcessError(process.returncode, command, output.read())
    return Sample(seconds, used.ru_maxrss / 1e3, used.ru_utime + used.ru_stime)


def report(results: Iterable[Result], *, file: Path | None) -> None:
    """Print the results as a table; put them in the place of those of the same names in `file`."""
    found = list(results)
    table = Table("benchmark", "ours", "peer", "ratio", "target", "met", "note", title="Benchmarks (medians)")
    for r in found:
        sign = "<=" if r.at_most else ">="
        shown = (f"{r.ours:,.3f} {r.unit}", f"{r.peer:,.3f} {r.unit}", f"{r.ratio:.2f}", f"{sign} {r.target:g}")
        table.add_row(r.name, *shown, "[green]yes[/]" if r.met else "[red]no[/]", r.note)
    _SHOWN.print(table)
    if file is not None:
        names = {r.name for r in found}
        before = json.loads(file.read_text(encoding="utf-8")) if file.exists() else []
        keys = ("name", "ours", "peer", "unit", "ratio", "target", "met")
        rows = [{key: getattr(r, key) for key in keys} for r in found]
        rows = [row for row in before if row["name"] not in names] + rows
        file.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


def say(text: str) -> None:
    """Tell what is being done."""
    _SHOWN.print(text, highlight=False)


def _sampled(job: Job, *args: object) -> Sample:
    began = _cpu_seconds()
    seconds = job(*args)
    return Sample(seconds, peak_mb(), _cpu_seconds() - began)


def _cpu_seconds() -> float:
    """The CPU seconds of this process and those it started, ended or not; where /proc is missing, of the ended ones."""
    times = os.times()
    spent = times.user + times.system + times.children_user + times.children_system
    if not _PROC.exists():
        return spent
    return spent + sum(_ticks(folder) for folder in _family(_PROC / "self") if folder != _PROC / "self")


def _ticks(process: Path) -> float:
    """CPU seconds of a process and its ended children (`man 5 proc_pid_stat`, fields 14 to 17)."""
    fields = (process / "stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


def peak_mb() -> float:
    """The peak memory of this process and its living children (a JVM); where /proc is missing, of this one alone."""
    if not _PROC.exists():
        used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return used / 1e6 if sys.platform == "darwin" else used / 1e3
    return sum(_high_water(folder) for folder in _family(_PROC / "self"))


def _family(process: Path) -> Iterable[Path]:
    yield process
    for listed in process.glob("task/*/children"):
        for number in listed.read_text().split():
            yield from _family(_PROC / number)


def _high_water(process: Path) -> float:
    """`VmHWM`, in MB; of a process alone, as `ru_maxrss` of a child begins with what its parent held."""
    status = (process / "status").read_text()
    return next((int(line.split()[1]) * 1024 / 1e6 for line in status.splitlines() if line.startswith("VmHWM")), 0.0)
