"""A tick of the landing sensor that knows 1,000 objects, and one that knows 1,000,000.

Forty objects land in an hour; the longer history has more hours. The objects are real files under Firehose's folders,
and the ledger has a row for each: the last 25 hours went through `Ledger.admit` and `complete` hour by hour, what is
older stands in one file a month, as it does after the ledger's own compaction. One more hour has landed and is not
known yet. A tick is `planning.find_landed` with the sensor's own settings (the last 24 hours, and the next 1,000
objects of the sweep), which is all of a sensor's tick that could grow with the lake; the sweep of the long history
begins in its middle.

Then the look for what gold owes (`planning.owed_by_gold`), over a step log of 2,500 hours and of 25,000: it reads the
last two months of either.
"""

import time
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path
from statistics import median

import polars as pl

from benchmarks.harness import Job, Options, Result, alone, cost, interleaved
from benchmarks.lakes import emptied, kept, lake_at, settings_for
from datalake_assets.lake.engines.polars import PolarsEngine
from datalake_assets.lake.gold.registry import gold_tables
from datalake_assets.lake.lake import Lake
from datalake_assets.lake.spec.dataset import Dataset
from datalake_assets.lake.steps.planning import find_landed, owed_by_gold
from datalake_assets.lake.store import delta, ledger, step_log
from datalake_assets.lake.store.landing import LandedObject
from datalake_assets.lake.store.step import ObjectOutcome

_END = datetime(2026, 6, 15, 12, tzinfo=UTC)
_PER_HOUR = 40
_HOURS_BY_HAND = 25
_TICKS = 9


def run(options: Options) -> Iterator[Result]:
    """Compare ticks over a short and a long history, and what gold owes after two months of steps and after years."""
    long = 1_000 if options.quick else 25_000
    yield _compared("sensor tick", _tick, "known objects", _PER_HOUR, options, hours=(25, long))
    yield _compared("what gold owes", _owed, "hours of steps", 1, options, hours=(long // 10, long))


def _compared(what: str, job: Job, things: str, per_hour: int, options: Options, *, hours: tuple[int, int]) -> Result:
    names = [f"{n * per_hour:,} {things}" for n in hours]
    jobs = {
        f"{what}, {name}": partial(alone, job, *_lake(options.folder, hours=n))
        for name, n in zip(names, hours, strict=True)
    }
    short, long = interleaved(jobs, rounds=options.rounds).values()
    note = f"peak {long.peak_mb:,.0f} and {short.peak_mb:,.0f} MB"
    name = f"{what} / {names[1]} against {names[0]}"
    return cost(name, ours=long.seconds, peer=short.seconds, target=1.5, note=note)


def _tick(root: Path, bronze: Path) -> float:
    """The median seconds of some ticks, each going on where the one before stopped."""
    lake, settings = lake_at(root, bronze=bronze), settings_for(root)
    dataset = lake.datasets["web_events"]
    folders = sorted(bronze.glob("firehose/web_events/????/??/??/??"))
    middle = folders[len(folders) // 2].relative_to(bronze / "firehose/web_events")
    after = f"{middle}/" if len(folders) > 2 * _HOURS_BY_HAND else None
    spent = []
    for _ in range(_TICKS):
        began = time.perf_counter()
        work = find_landed(
            lake,
            dataset,
            after=after,
            lookback=timedelta(hours=settings.lookback_hours),
            limit=settings.sweep_objects,
            now=_END + timedelta(hours=1),
        )
        spent.append(time.perf_counter() - began)
        after = work.position
        assert sum(map(len, work.waiting.values())) == _PER_HOUR, "one hour of objects is not known yet"
    return median(spent)


def _owed(root: Path, bronze: Path) -> float:
    lake = lake_at(root, bronze=bronze)
    spent = []
    for _ in range(_TICKS):
        began = time.perf_counter()
        owed = owed_by_gold(lake, PolarsEngine(), now=_END)
        spent.append(time.perf_counter() - began)
        assert not owed, "gold has consumed every step"
    return median(spent)


def _lake(folder: Path, *, hours: int) -> tuple[Path, Path]:
    """A lake that knows the objects of some hours until `_END`, and its bronze, where one more hour has landed."""
    bronze = kept(folder / f"objects-{hours}x{_PER_HOUR}", make=partial(_land, hours=hours + 1))
    root = emptied(folder / f"tick-{hours}")
    lake = lake_at(root, bronze=bronze)
    dataset = lake.datasets["web_events"]
    now = _END + timedelta(hours=1)
    listed = lake.landing.sweep(dataset, after=None, limit=10**9, now=now).objects[:-_PER_HOUR]
    landed = [o for o in map(lake.landing.identified, listed) if o is not None]
    begin = len(landed) - _HOURS_BY_HAND * _PER_HOUR
    if begin:
        _note_in_bulk(lake, dataset, landed[:begin])
    for n in range(begin, len(landed), _PER_HOUR):
        objects = landed[n : n + _PER_HOUR]
        lake.ledger.admit(dataset.name, objects)
        outcomes = [ObjectOutcome(key=o.key, etag=o.etag, size=o.size, partition=o.partition) for o in objects]
        lake.ledger.complete(dataset.name, outcomes, contract=dataset.contract)
    _note_steps(lake, dataset, hours=hours)
    return root, bronze


def _land(folder: Path, *, hours: int) -> None:
    for n in range(hours):
        hour = _END - timedelta(hours=hours - 1 - n)
        place = folder / f"firehose/web_events/{hour:%Y/%m/%d/%H}"
        place.mkdir(parents=True)
        for number in range(_PER_HOUR):
            (place / f"web_events-1-{hour:%Y-%m-%d-%H}-{number:02d}-00-{n:08x}.gz").touch()


def _note_in_bulk(lake: Lake, dataset: Dataset, landed: Sequence[LandedObject]) -> None:
    """Ledger rows of processed objects, a file for each month."""
    frame = pl.DataFrame(
        {
            "partition": [o.partition for o in landed],
            "key": [o.key for o in landed],
            "etag": [o.etag for o in landed],
            "size": [o.size for o in landed],
            "last_modified": [o.last_modified for o in landed],
        }
    ).with_columns(
        dataset=pl.lit(dataset.name),
        month=pl.col("partition").str.slice(0, 7),
        status=pl.lit(ledger.PROCESSED),
        contract=pl.lit(dataset.contract),
        admitted_at=pl.lit(_END),
        processed_at=pl.lit(_END),
    )
    schema = ledger._SCHEMA  # noqa: SLF001 (the layout that the ledger itself leaves)
    rows = pl.concat([schema.to_frame(), frame], how="diagonal_relaxed").select(*schema).cast(schema)
    for month in rows.partition_by("month"):
        delta.append(lake.layout.ledger, month, partition_by=("dataset", "month"))


def _note_steps(lake: Lake, dataset: Dataset, *, hours: int) -> None:
    """Step rows of as many hours: silver touched the day of each, and gold computed it at once."""
    tables = [name for name, table in gold_tables(lake.datasets).items() if table.daily]
    rows = []
    for n in range(hours):
        at = _END - timedelta(hours=hours - n)
        source, day = f"silver/{dataset.name}", at.date()
        rows.append(
            _step("silver", dataset.name, f"{at:%Y-%m-%d-%H}:00", at, day, positions=f'{{"{source}": {n + 1}}}')
        )
        rows.extend(
            _step("gold", name, day.isoformat(), at, day, positions=f'{{"{source}": {n + 1}, "gold/{name}": {n + 1}}}')
            for name in tables
        )
    schema = step_log._SCHEMA  # noqa: SLF001 (the layout that the step log itself leaves)
    frame = pl.concat([schema.to_frame(), pl.DataFrame(rows)], how="diagonal_relaxed").select(*schema).cast(schema)
    for month in frame.partition_by("month"):
        delta.append(lake.layout.steps, month, partition_by=("month",))


def _step(zone: str, name: str, partition: str, at: datetime, day: date, *, positions: str) -> dict[str, object]:
    return {
        "month": f"{at:%Y-%m}",
        "zone": zone,
        "name": name,
        "partition": partition,
        "status": step_log.OK,
        "engine": "polars",
        "started_at": at,
        "finished_at": at,
        "touched_dates": [day],
        "event_dates": [day],
        "positions": positions,
    }
