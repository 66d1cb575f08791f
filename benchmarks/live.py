"""`python -m benchmarks.live`: how soon live data are in gold, and how many runs wait meanwhile.

Starts `datalake simulate --follow` and `datalake dev` on a fresh lake and looks at both from outside. An object has
arrived in gold when `gold.daily_summary` counts as many records of its dataset as silver then holds of it and of all
objects that landed before it; which rows of silver came with which object is read at the end. Objects that landed
before the services were up are left out. It is no part of `python -m benchmarks`, which compares; this one watches.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median, quantiles

import dagster as dg
import polars as pl
from dagster import DagsterRunStatus as Status
from deltalake import DeltaTable

from benchmarks.harness import say
from benchmarks.services import LOOK_SECONDS, Services

_DATASET = "web_events"
_SETTLE_SECONDS = 60.0
_TARGET_P50, _TARGET_P95, _TARGET_WAITING = 25.0, 60.0, 6


@dataclass
class Seen:
    """What was seen: records of the dataset in gold (when, how many), and how many runs waited at each look."""

    gold: list[tuple[float, int]] = field(default_factory=list)
    waiting: list[int] = field(default_factory=list)


def main() -> None:
    """Watch a live lake for some minutes and print how it did; exits with 1 where a target is missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.live", description=main.__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--rate", type=int, default=600, help="web events an hour")
    parser.add_argument("--folder", type=Path, help="where the lake is made; default a temporary folder")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        sys.exit(0 if _watch(chosen.folder or Path(temporary), minutes=chosen.minutes, rate=chosen.rate) else 1)


def _watch(folder: Path, *, minutes: float, rate: int) -> bool:
    services = Services(folder)
    seen = Seen()
    follow = ("simulate", "--hours", "1", "--rate", str(rate), "--follow")
    with services.dev() as instance:
        with services.command(*follow):
            began = time.time()
            say(f"watching for {minutes:g} minutes")
            _look(seen, services.root, instance, until=began + minutes * 60)
        say("waiting for what landed last")
        _look(seen, services.root, instance, until=time.time() + _SETTLE_SECONDS)
        runs = instance.get_run_records()
    return _report(seen, _delays(services.root, seen, since=began), runs, minutes=minutes)


def _look(seen: Seen, root: Path, instance: dg.DagsterInstance, *, until: float) -> None:
    while time.time() < until:
        seen.gold.append((time.time(), _records(root)))
        seen.waiting.append(instance.get_runs_count(dg.RunsFilter(statuses=[Status.QUEUED, Status.NOT_STARTED])))
        time.sleep(LOOK_SECONDS)


def _records(root: Path) -> int:
    table = str(root / "gold" / "daily_summary")
    if not DeltaTable.is_deltatable(table):
        return 0
    rows = pl.scan_delta(table).filter(pl.col("source") == _DATASET)
    return int(rows.select(pl.col("records").sum()).collect().item() or 0)


def _delays(root: Path, seen: Seen, *, since: float) -> list[float]:
    """The seconds from landing to gold of each object that landed since; infinite for those that never arrived."""
    rows = pl.read_delta(str(root / "silver" / _DATASET)).group_by("source_filename").len()
    held: dict[str, int] = dict(rows.iter_rows())
    objects = sorted((file.stat().st_mtime, file) for file in (root / "bronze").glob(f"firehose/{_DATASET}/**/*.gz"))
    delays, upto = [], 0
    for landed, file in objects:
        upto += held.get(str(file.relative_to(root / "bronze")), 0)
        if landed >= since:
            shown = next((at for at, records in seen.gold if at >= landed and records >= upto), float("inf"))
            delays.append(shown - landed)
    return delays


def _report(seen: Seen, delays: Sequence[float], runs: Sequence[dg.RunRecord], *, minutes: float) -> bool:
    p50, p95 = median(delays), quantiles(delays, n=20)[-1]
    most = max(seen.waiting)
    ended = [r for r in runs if r.start_time and r.end_time]
    queued = median(r.start_time - r.create_timestamp.timestamp() for r in ended if r.start_time)
    took = median(r.end_time - r.start_time for r in ended if r.start_time and r.end_time)
    failed = sum(r.dagster_run.status is Status.FAILURE for r in runs)
    say(f"objects of {_DATASET} that landed: {len(delays)}; not in gold at the end: {delays.count(float('inf'))}")
    say(
        f"landed to gold.daily_summary: p50 {p50:.1f} s (target < {_TARGET_P50:g}), p95 {p95:.1f} s (< {_TARGET_P95:g})"
    )
    say(f"runs waiting at once: at most {most} (target <= {_TARGET_WAITING}), median {median(seen.waiting):g}")
    say(f"runs: {len(runs)} ({len(runs) / minutes:.1f} a minute), {failed} failed")
    say(f"a run, median: asked for to started {queued:.1f} s, started to ended {took:.1f} s")
    return p50 < _TARGET_P50 and p95 < _TARGET_P95 and most <= _TARGET_WAITING


if __name__ == "__main__":
    main()
