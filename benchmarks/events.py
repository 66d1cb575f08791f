"""Web events from gzip NDJSON to silver, against DuckDB and PySpark reading the same objects.

The input is what the project's simulator lands: of its records 0.6 % break the contract, 2 % are copies and 2 % are
late, and one object in twenty was delivered twice. Ours is what the assets do with all objects into an empty lake: list
them, admit them to the ledger, parse, the contract's verdict on each record, hash of its bytes, one copy of each event,
rejects to quarantine, Delta commits.

- **DuckDB, same verdicts** comes to the same good and bad records (the run checks that), hashes the text, keeps one
  row per event, and writes both to Parquet. It writes no table format, keeps no unknown fields and gives no reasons.
- **DuckDB, lenient** types what it can and takes the rest for NULL; no verdicts, no hash, nothing kept of bad lines.
- **PySpark** in `local[2]` reads with a schema, drops bad lines and copies, hashes, and writes Parquet; its session is
  up before the clock starts.

All have two threads and write zstd.
"""

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from benchmarks import events_peers
from benchmarks.harness import Job, Options, Result, Sample, alone, interleaved, say, speed
from benchmarks.lakes import emptied, kept, lake_at
from datalake_assets.lake.engines.base import Engine
from datalake_assets.lake.engines.polars import PolarsEngine
from datalake_assets.lake.steps.execute import execute
from datalake_assets.lake.steps.messages import StepRequest
from datalake_assets.lake.store.landing import open_store
from datalake_assets.simulate.delivery import Landing
from datalake_assets.simulate.simulation import Simulation
from datalake_assets.simulate.web import web_objects

_DATASET = "web_events"


def run(options: Options) -> Iterator[Result]:
    """Compare events to silver with each peer."""
    landing = simulation(hours=3, rate=2_000) if options.quick else simulation(hours=50)
    bronze = kept(options.folder / f"events-{landing.hours}x{landing.rate}", make=partial(land, landing))
    (bronze / events_peers.VERDICTS).unlink(missing_ok=True)
    out = options.folder / "events-out"
    jobs = {
        "ours": into_silver,
        "DuckDB, same verdicts": events_peers.duckdb_strict,
        "DuckDB, lenient": events_peers.duckdb_lenient,
    }
    into_empty = {name: partial(_into_empty, job, bronze, out) for name, job in jobs.items()}
    measured = interleaved(into_empty, rounds=options.rounds)
    ours = measured["ours"]
    targets = {"DuckDB, same verdicts": 1.15, "DuckDB, lenient": 0.6}
    for name, target in targets.items():
        yield speed(f"events to silver / {name}", ours=ours, peer=measured[name], target=target)
    if options.quick:
        return
    if reason := events_peers.no_spark():
        say(f"  PySpark left out: {reason}")
        return
    spark = interleaved({"PySpark": partial(_into_empty, events_peers.spark, bronze, out)}, rounds=1)["PySpark"]
    yield speed("events to silver / PySpark local[2]", ours=ours, peer=spark, target=4.0)


def _into_empty(job: Job, bronze: Path, out: Path) -> Sample:
    return alone(job, bronze, emptied(out))


def simulation(*, hours: int, rate: int = 60_000) -> Simulation:
    """What is landed."""
    return Simulation(hours=hours, rate=rate, seed=7, start=datetime(2026, 1, 1, tzinfo=UTC))


def into_silver(bronze: Path, out: Path) -> float:
    """One step of Polars over all that landed."""
    return to_silver(bronze, out, engine=PolarsEngine())


def to_silver(bronze: Path, out: Path, *, engine: Engine) -> float:
    """One step over all that landed, into an empty lake; its verdicts must be the peers'."""
    lake = lake_at(out, bronze=bronze)
    dataset, now = lake.datasets[_DATASET], datetime.now(UTC)
    began = time.perf_counter()
    objects = lake.landing.sweep(dataset, after=None, limit=10**9, now=now).objects
    lake.ledger.admit(dataset, objects, identify=lake.landing.identified, now=now)
    request = StepRequest(zone="silver", name=_DATASET, partitions=tuple(sorted({o.partition for o in objects})))
    report = execute(request, lake=lake, engine=engine)
    seconds = time.perf_counter() - began
    stages = ", ".join(f"{stage} {spent:.2f}" for stage, spent in report.seconds.items())
    say(f"    {report.rows_in:,} records, {report.bytes_in / 1e6:,.0f} MB; seconds: {stages}")
    events_peers.check(bronze, good=lake.silver(dataset).open().row_count, bad=report.rows_rejected)
    return seconds


def land(simulation: Simulation, folder: Path) -> None:
    """Land the web events of a simulation."""
    landing = Landing(open_store(str(folder)))
    for hour in simulation.landing_hours():
        for delivery in web_objects(simulation, hour=hour):
            landing.put(delivery)
