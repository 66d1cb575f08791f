"""`datalake run` as a whole process beside the silver step in it: what starting, planning and Dagster add.

Each run begins with an empty lake over kept objects and ends with gold; its peer is the sum of the seconds that its
silver steps report with their materializations. The target is on the difference. Then the same command once more, with
nothing new, whose target is on the whole of it.

- **events**: 48 objects of about 750,000 web events.
- **changes**: about 200 DMS files of some 300,000 changes of orders and customers, the load among them.
"""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from statistics import median

import dagster as dg

from benchmarks import events
from benchmarks.harness import Options, Result, say
from benchmarks.lakes import emptied, kept
from datalake_assets.lake.store.landing import open_store
from datalake_assets.simulate.delivery import Landing
from datalake_assets.simulate.replication import Replication
from datalake_assets.simulate.simulation import Simulation

_START = datetime(2026, 1, 1, tzinfo=UTC)
_OVERHEAD, _IDLE = 4.0, 2.0  # seconds
_STREAM, _REPLICAS = ("web_events",), ("orders", "customers")


def run(options: Options) -> Iterator[Result]:
    """Compare each run with its silver steps."""
    hours, rate = (2, 200) if options.quick else (12, 60_000)
    simulation = Simulation(hours=hours, rate=rate, seed=7, start=_START)
    landed = kept(options.folder / f"events-{hours}x{rate}", make=partial(events.land, simulation))
    yield from _beside_silver(options, landed, _STREAM, "events")
    hours, rate = (3, 200) if options.quick else (30, 50_000)
    simulation = Simulation(hours=hours, rate=rate, seed=7, start=_START)
    landed = kept(options.folder / f"changes-{hours}x{rate}", make=partial(_land_changes, simulation))
    yield from _beside_silver(options, landed, _REPLICAS, "changes")


def _beside_silver(options: Options, bronze: Path, names: tuple[str, ...], what: str) -> Iterator[Result]:
    whole, steps, idle = [], [], []
    for _ in range(options.rounds):
        root = emptied(options.folder / "overhead-out")
        whole.append(_timed(root, bronze))
        steps.append(_silver_seconds(root / ".dagster", names))
        idle.append(_timed(root, bronze))
        say(f"  {what}: {whole[-1]:.2f} s, silver {steps[-1]:.2f} s, idle {idle[-1]:.2f} s")
    objects = sum(1 for file in bronze.rglob("*") if file.is_file())
    ours, silver = median(whole), median(steps)
    over = median(w - s for w, s in zip(whole, steps, strict=True))
    name = f"`datalake run` over {objects:,} objects of {what} beside its silver steps (seconds more: at most)"
    yield Result(name, ours, silver, "s", over, _OVERHEAD, at_most=True)
    name = f"`datalake run` with no new objects of {what} (seconds: at most)"
    yield Result(name, median(idle), _IDLE, "s", median(idle), _IDLE, at_most=True)


def _timed(root: Path, bronze: Path) -> float:
    """The seconds of one `datalake run` from the start of its process to its end."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("DATALAKE_", "DAGSTER_"))}
    environment |= {"DATALAKE_ROOT": str(root), "DATALAKE_BRONZE": str(bronze)}
    command = [sys.executable, "-m", "datalake_assets.cli", "run"]
    began = time.perf_counter()
    subprocess.run(command, env=environment, check=True, capture_output=True)
    return time.perf_counter() - began


def _silver_seconds(home: Path, names: tuple[str, ...]) -> float:
    """What the silver steps of a lake's runs say that they took."""
    seconds: dict[tuple[str, str], float] = {}  # each partition of a run tells the same
    with dg.DagsterInstance.from_config(str(home)) as instance:
        for name in names:
            found = instance.fetch_materializations(dg.AssetKey(["silver", name]), limit=10_000).records
            for record in found:
                told = record.asset_materialization
                assert told is not None
                seconds[name, record.run_id] = float(str(told.metadata["seconds"].value))
    return sum(seconds.values())


def _land_changes(simulation: Simulation, folder: Path) -> None:
    """Land a simulation's files of DMS: the load, and its hours' changes."""
    landing, replication = Landing(open_store(str(folder))), Replication(simulation)
    for delivery in replication.load():
        landing.put(delivery)
    for hour in simulation.landing_hours():
        for batch in replication.hour(hour):
            landing.put(batch.deliver())
