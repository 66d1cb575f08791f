"""A tick of the sensors in a lake that is a year old, and in one that is a day old.

Thirty event streams, one object a minute each: so the ledger of the older lake has 15.8 million rows, its silver tables
and quarantines 365 event dates each. Its memory is written by the tables' own changes, with the sizes of files that the
lake's own compaction leaves; gold has taken in everything. In bronze lie the last 24 hours, of which both lakes know
all but the last five minutes.

A tick is what the two sensors ask: `planning.landing_work` of every dataset with the sensor's own settings (the last 24
hours, and the next piece of the sweep), and `planning.gold_work`. Before each, some silver tables get a commit,
as they do in a lake where objects land: only the work of looking is timed.
"""

import hashlib
import time
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path
from statistics import median

import polars as pl
import yaml

from benchmarks.harness import Options, Result, Sample, alone, cost, interleaved
from benchmarks.lakes import DATASETS, emptied, kept, lake_at, settings_for
from datalake_assets.lake.lake import Lake
from datalake_assets.lake.spec.dataset import Dataset
from datalake_assets.lake.steps.planning import gold_work, landing_work
from datalake_assets.lake.store.landing import LandedObject, parse_partition
from datalake_assets.lake.store.ledger_rows import bucket_of
from datalake_assets.lake.store.notes import CommitNotes
from datalake_assets.lake.store.outcome import PROCESSED
from datalake_assets.lake.store.pending import Version
from datalake_assets.lake.store.snapshot import Snapshot
from datalake_assets.lake.store.verdicts import Verdict

_END = datetime(2026, 6, 15, 12, tzinfo=UTC)
_NEW_MINUTES = 5
_TICKS = 9
_COMMITS_A_TICK = 5
_ROWS_PER_FILE = 6_000
"""Files of more than 5,000 rows are not put together any more in the lake's memory, so they are a little longer."""
_ETAG = hashlib.sha256().hexdigest()[:32]  # of an object without bytes
_MEMORY_MB = 250.0


def run(options: Options) -> Iterator[Result]:
    """Compare ticks after a year and after a day; the memory of the former has a limit of its own."""
    tables, days = (2, 30) if options.quick else (30, 365)
    bronze = kept(options.folder / f"minutes-{tables}", make=partial(_land, tables=tables))
    datasets = _dataset_files(emptied(options.folder / "tick-datasets"), tables=tables)
    jobs = {}
    for age in (1, days):
        root = emptied(options.folder / f"tick-{age}")
        alone(_remember, root, bronze, datasets, age)
        jobs[f"tick of {tables} tables after {age:,} days"] = partial(_sampled, root, bronze, datasets)
    young, old = interleaved(jobs, rounds=options.rounds).values()
    name = f"tick of {tables} tables after {days} days against after one day"
    yield cost(name, ours=old, peer=young, target=1.2)
    yield Result(
        f"memory of a tick of {tables} tables after {days} days (MB: at most)",
        old.peak_mb,
        young.peak_mb,
        "MB",
        old.peak_mb,
        _MEMORY_MB,
        at_most=True,
    )


def _sampled(root: Path, bronze: Path, datasets: Path) -> Sample:
    return alone(_tick, root, bronze, datasets)


def _tick(root: Path, bronze: Path, datasets: Path) -> float:
    """The median seconds of some ticks, each going on where the one before stopped."""
    lake, settings = lake_at(root, bronze=bronze, datasets=datasets), settings_for(root)
    lookback = timedelta(hours=settings.lookback_hours)
    after: dict[str, str | None] = {}
    spent = []
    for number in range(_TICKS):
        _commit_to_some(lake, number)
        began = time.perf_counter()
        for name, dataset in lake.datasets.items():
            work = landing_work(
                lake, dataset, after=after.get(name), lookback=lookback, limit=settings.sweep_objects, now=_END
            )
            after[name] = work.position
            assert sum(work.waiting.values()) == _NEW_MINUTES, "the last minutes are not known yet"
        owed = gold_work(lake, now=_END)
        spent.append(time.perf_counter() - began)
        assert {day for work in owed.values() for day in work.dates} == {_END.date()}, "silver touched today"
    return median(spent[1:])


def _commit_to_some(lake: Lake, number: int) -> None:
    """One more commit in some silver tables, with rows of today: what steps leave between two ticks."""
    datasets = list(lake.datasets.values())
    for i in range(min(_COMMITS_A_TICK, len(datasets))):
        table = lake.silver(datasets[(number * _COMMITS_A_TICK + i) % len(datasets)])
        table.transact(partial(_add_days, days=[_END.date()]))


def _remember(root: Path, bronze: Path, datasets: Path, days: int) -> float:
    """Make the memory of a lake of some age; returns the seconds that it took."""
    began = time.perf_counter()
    lake = lake_at(root, bronze=bronze, datasets=datasets)
    dates = [_END.date() - timedelta(days=n) for n in range(days)]
    for dataset in lake.datasets.values():
        page = lake.landing.recent(dataset, since=_END - timedelta(hours=24), now=_END)
        known = page.objects[:-_NEW_MINUTES]
        rows = pl.concat([_older(lake, dataset, days=days, until=known[0]), _entries(lake, dataset, known)])
        seen = lake.ledger.table.open()
        for month in rows.partition_by("bucket"):
            seen.change(add=month, within={"dataset": [dataset.name]}, rows_per_file=_ROWS_PER_FILE)
            seen = seen.at(None)
        for table in (lake.silver(dataset), lake.quarantine(dataset)):
            table.transact(partial(_add_days, days=dates))
        lake.verdicts.store(dataset.name, partial(_passed, known[-1].partition, dates), now=_END)
    _settle(lake)
    return time.perf_counter() - began


def _passed(partition: str, dates: list[date]) -> list[Verdict]:
    """What the newest step found: of verdicts that pass, only that is kept."""
    detail = "0 of 6,000 records rejected"
    return [Verdict("rejected_fraction", partition, passed=True, blocking=True, detail=detail, dates=tuple(dates[:1]))]


def _settle(lake: Lake) -> None:
    """Let gold have taken in all that its sources hold."""
    for gold in lake.gold_tables.values():
        table = lake.table(gold.spec)
        table.open().change(add=table.dtypes.to_frame())
    debts = lake.pending.look([lake.consumer(gold) for gold in lake.gold_tables.values()], lake.sources())
    opened = {name: table.open() for name, table in lake.sources().items()}
    read = {name: Version(seen.table_id, seen.version) for name, seen in opened.items()}
    for name, debt in debts.items():
        lake.pending.settle(name, [*debt.due, None], read)


def _add_days(seen: Snapshot, *, days: list[date]) -> None:
    """One row for each of some event dates."""
    table = seen.table
    known = pl.DataFrame({"event_date": days})
    if "partition" in table.dtypes:
        known = known.with_columns(partition=pl.col("event_date").dt.strftime("%Y-%m-%d-05:00"))
    rows = known.select(
        (pl.col(name) if name in known.columns else pl.lit(None)).cast(dtype).alias(name)
        for name, dtype in table.dtypes.items()
    )
    seen.change(add=rows, notes=CommitNotes(touched=days))


def _entries(lake: Lake, dataset: Dataset, known: list[LandedObject]) -> pl.DataFrame:
    """Ledger rows of objects that were processed as they lie in bronze."""
    frame = pl.DataFrame(
        {
            "bucket": [bucket_of(dataset, o.key) for o in known],
            "key": [o.key for o in known],
            "etag": [_ETAG] * len(known),
            "size": [o.size for o in known],
            "stamp": [o.stamp for o in known],
            "landed": [parse_partition(o.partition) for o in known],
            "partition": [o.partition for o in known],
        }
    )
    return _processed(lake, dataset, frame)


def _older(lake: Lake, dataset: Dataset, *, days: int, until: LandedObject) -> pl.DataFrame:
    """Ledger rows of the objects of the days before those that lie in bronze."""
    begin = _END - timedelta(days=days)
    moments = pl.datetime_range(begin, _END, "1m", time_zone="UTC", eager=True).alias("landed")
    hour = pl.col("landed").dt.strftime("%Y/%m/%d/%H")
    named = pl.col("landed").dt.strftime("%Y-%m-%d-%H-%M-00")
    prefix = dataset.landing.prefix
    digest = pl.col("key").hash().cast(pl.String).str.zfill(20)
    frame = (
        pl.DataFrame(moments)
        .with_columns(key=pl.format(f"{prefix}/{{}}/{dataset.name}-1-{{}}.gz", hour, named))
        .filter(pl.col("key") < until.key)
        .with_columns(
            bucket=pl.col("landed").dt.strftime("%Y-%m"),
            etag=digest + digest.str.slice(8),
            size=pl.lit(20_000),
            stamp=digest + "-" + digest,
            partition=pl.col("landed").dt.strftime("%Y-%m-%d-%H:00"),
        )
    )
    return _processed(lake, dataset, frame)


def _processed(lake: Lake, dataset: Dataset, frame: pl.DataFrame) -> pl.DataFrame:
    whole = frame.with_columns(
        dataset=pl.lit(dataset.name),
        status=pl.lit(PROCESSED),
        attempts=pl.lit(0),
        rows_in=pl.lit(100),
        rows_out=pl.lit(100),
        rows_rejected=pl.lit(0),
        bytes_rejected=pl.lit(0),
        event_dates=pl.concat_list(pl.col("landed").dt.date()),
        contract=pl.lit(dataset.contract),
        **dict.fromkeys(("last_modified", "admitted_at", "begun_at", "processed_at"), pl.col("landed")),
    )
    dtypes = lake.ledger.table.dtypes
    return whole.select(
        (pl.col(name) if name in whole.columns else pl.lit(None)).cast(dtype).alias(name)
        for name, dtype in dtypes.items()
    )


def _land(folder: Path, *, tables: int) -> None:
    for n in range(tables):
        for minute in range(24 * 60):
            moment = _END - timedelta(minutes=24 * 60 - minute)
            place = folder / f"firehose/stream_{n:02}/{moment:%Y/%m/%d/%H}"
            place.mkdir(parents=True, exist_ok=True)
            (place / f"stream_{n:02}-1-{moment:%Y-%m-%d-%H-%M}-00.gz").touch()


def _dataset_files(folder: Path, *, tables: int) -> Path:
    stream = yaml.safe_load((DATASETS / "web_events.yaml").read_text(encoding="utf-8"))
    for n in range(tables):
        name = f"stream_{n:02}"
        own = stream | {"name": name, "landing": {**stream["landing"], "prefix": f"firehose/{name}"}}
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(own), encoding="utf-8")
    return folder
