"""Timing side by side: each run in a process of its own, peers in turn, medians, ratios and peak memory.

Belongs here: what every benchmark needs. What is compared, and why that is fair, is told in the benchmark's module.
"""

import json
import multiprocessing
import resource
import sys
from collections.abc import Callable, Iterable, Mapping
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
    """One run: seconds of the work, and the peak memory of its process and those it started, in MB (10^6 bytes)."""

    seconds: float
    peak_mb: float


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


def speed(name: str, *, ours: float, peer: float, target: float, note: str = "") -> Result:
    """How many times as fast as a peer we are, from both medians in seconds."""
    return Result(name, ours, peer, "s", peer / ours, target, note=note)


def cost(name: str, *, ours: float, peer: float, target: float, note: str = "") -> Result:
    """How many times the seconds of the peer ours are."""
    return Result(f"{name} (cost: at most)", ours, peer, "s", ours / peer, target, at_most=True, note=note)


def interleaved(jobs: Mapping[str, Callable[[], Sample]], *, rounds: int) -> dict[str, Sample]:
    """Run the jobs in turn, `rounds` times each; returns the median seconds and the greatest memory of each."""
    samples: dict[str, list[Sample]] = {name: [] for name in jobs}
    for number in range(1, rounds + 1):
        for name, job in jobs.items():
            sample = job()
            samples[name].append(sample)
            _SHOWN.print(
                f"  {number}/{rounds} {name}: {sample.seconds:.3f} s, {sample.peak_mb:,.0f} MB", highlight=False
            )
    return {name: Sample(median(s.seconds for s in ran), max(s.peak_mb for s in ran)) for name, ran in samples.items()}


def alone(job: Job, *args: object) -> Sample:
    """Run a job in a new process, so that its memory is its own and nothing is warm but the page cache."""
    with ProcessPoolExecutor(max_workers=1, mp_context=multiprocessing.get_context("spawn")) as processes:
        return processes.submit(_sampled, job, *args).result()


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
    return Sample(job(*args), _peak_mb())


def _peak_mb() -> float:
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
