"""A week of hourly partitions backfilled through Dagster, against the same work without it.

Ours is what a range backfill is: one run in process over `bronze` and `silver` of all 168 hours, on an instance with
its storage on disk, as `datalake run` makes it. The first peer goes hour by hour through the same operations (admit,
refresh silver) without Dagster; the second does them once for all hours, which is the range backfill without Dagster.
Each begins with an empty lake and ends with the same silver rows.
"""

import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

from benchmarks.events import land
from benchmarks.harness import Job, Options, Result, Sample, alone, cost, interleaved
from benchmarks.lakes import emptied, kept, lake_at, settings_for
from datalake_assets.lake.engines.polars import PolarsEngine
from datalake_assets.lake.lake import Lake
from datalake_assets.lake.steps.execute import execute
from datalake_assets.lake.steps.messages import StepRequest
from datalake_assets.lake.steps.planning import admit
from datalake_assets.simulate.simulation import Simulation

_DATASET = "web_events"
_ROWS = "rows"
_START = datetime(2026, 1, 1, tzinfo=UTC)


def run(options: Options) -> Iterator[Result]:
    """Compare a backfill with both loops."""
    hours, rate = (6, 200) if options.quick else (168, 2_000)
    simulation = Simulation(hours=hours, rate=rate, seed=7, start=_START)
    bronze = kept(options.folder / f"events-{hours}x{rate}", make=partial(land, simulation))
    out = options.folder / "backfill-out"
    work = {"through Dagster": _through_dagster, "hour by hour": _hour_by_hour, "all hours at once": _at_once}
    (bronze / _ROWS).unlink(missing_ok=True)
    jobs = {name: partial(_into_empty, job, bronze, out, hours) for name, job in work.items()}
    measured = interleaved(jobs, rounds=min(options.rounds, 3))
    ours = measured["through Dagster"]
    for name in list(work)[1:]:
        yield cost(f"backfill of {hours} hours / {name}", ours=ours, peer=measured[name], target=1.2)


def _into_empty(job: Job, bronze: Path, out: Path, hours: int) -> Sample:
    return alone(job, bronze, emptied(out), hours)


def _through_dagster(bronze: Path, out: Path, hours: int) -> float:
    import dagster as dg

    from datalake_assets.assets.bronze import bronze_key
    from datalake_assets.assets.partitions import range_tags
    from datalake_assets.assets.silver import silver_keys
    from datalake_assets.definitions import build_definitions

    definitions = build_definitions(settings_for(out, bronze=bronze))
    lake = lake_at(out, bronze=bronze)
    dataset = lake.datasets[_DATASET]
    (out / "dagster").mkdir()
    with dg.instance_for_test(temp_dir=str(out / "dagster"), overrides={"telemetry": {"enabled": False}}) as instance:
        job = definitions.resolve_implicit_global_asset_job_def()
        began = time.perf_counter()
        result = job.execute_in_process(
            instance=instance,
            asset_selection=[bronze_key(dataset), *silver_keys(dataset)],
            tags=range_tags(_partitions(hours)),
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
        )
        seconds = time.perf_counter() - began
    assert result.success
    _check(lake, bronze)
    return seconds


def _hour_by_hour(bronze: Path, out: Path, hours: int) -> float:
    return _without_dagster(bronze, out, [[partition] for partition in _partitions(hours)])


def _at_once(bronze: Path, out: Path, hours: int) -> float:
    return _without_dagster(bronze, out, [_partitions(hours)])


def _without_dagster(bronze: Path, out: Path, parts: Sequence[Sequence[str]]) -> float:
    lake, engine = lake_at(out, bronze=bronze), PolarsEngine()
    dataset = lake.datasets[_DATASET]
    began = time.perf_counter()
    for partitions in parts:
        admit(lake, dataset, partitions, now=datetime.now(UTC))
        request = StepRequest(zone="silver", name=_DATASET, partitions=tuple(partitions))
        execute(request, lake=lake, engine=engine)
    seconds = time.perf_counter() - began
    _check(lake, bronze)
    return seconds


def _partitions(hours: int) -> list[str]:
    return [f"{_START + timedelta(hours=n):%Y-%m-%d-%H}:00" for n in range(hours)]


def _check(lake: Lake, bronze: Path) -> None:
    """Raises `AssertionError` where a run came to another number of rows than the one before it."""
    file, rows = bronze / _ROWS, str(lake.silver(lake.datasets[_DATASET]).open().row_count)
    if file.exists() and file.read_text() != rows:
        raise AssertionError(f"{rows} rows here, {file.read_text()} in the run before")
    file.write_text(rows)
