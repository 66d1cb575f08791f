"""Ordinary tables of other shapes than the demo's: what they cost beside the same rows in a kinder shape.

- **Ten years**: 100,000 customers created over ten years against the same rows created in one day; then 1,000 updates
  of random rows. Timed is the whole `datalake run`, to gold, start-up included; then the updates' merge alone
  against two by delta-rs, written by hand, into uncut tables: one of the same rows, one of the same rows without the
  columns that the lake keeps for order and scores.
- **UUIDs**: 50,000 inserts into four million rows under random keys against such under rising numbers: the step.
- **A thousand hours**: a step of 20 changes an hour, with history; the last hundred steps against the first hundred of
  another lake, in turns, and how many files lie on disk beside the live ones after
  `datalake maintain --retention-hours 0`.
- **A flat folder**: a look for landed objects and for what gold owes where DMS has put 20,000 files into one folder,
  against 200.
"""

import itertools
import os
import random
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import polars as pl
from deltalake import DeltaTable, write_deltalake

from benchmarks.harness import (
    Job,
    Options,
    Result,
    Sample,
    alone,
    cost,
    interleaved,
    middle,
    peak_mb,
    say,
    whole_process,
)
from benchmarks.lakes import copied, emptied, lake_at
from datalake_assets.lake.engines.polars import PolarsEngine
from datalake_assets.lake.lake import Lake
from datalake_assets.lake.steps.execute import execute
from datalake_assets.lake.steps.maintain import maintain
from datalake_assets.lake.steps.messages import StepRequest
from datalake_assets.lake.steps.planning import admit, gold_work, landing_work
from datalake_assets.lake.store.outcome import ObjectOutcome

_DATASET = """
name: customers
kind: cdc_table
description: Customers of a benchmark.
owner: team:bench
landing: {{prefix: dms/public/customers}}
key: [id]
order_by: [seq]
timestamp_column: committed
columns:
  id: {{type: {key}, required: true}}
  name: {{type: string}}
  country: {{type: string}}
  created_at: {{type: timestamp}}
event_time: {{column: created_at}}
history: {history}
"""
_LOADED = datetime(2026, 1, 10, tzinfo=UTC)
_HOUR = "2026-01-10-05:00"
_PREFIX = "dms/public/customers"
_UPDATES = "2026/01/10/05/20260110-051500000.parquet"
_SAME_ROWS, _FEWER_COLUMNS = "same-rows-by-hand", "fewer-columns-by-hand"
_COLUMNS_BY_HAND = ("id", "name", "country", "created_at", "event_date", "etl_timestamp", "source_filename")


def run(options: Options) -> Iterator[Result]:
    """Compare each shape with its kinder one."""
    yield from _ten_years(options)
    yield from _uuids(options)
    yield from _a_thousand_hours(options)
    yield from _flat_folder(options)


def _ten_years(options: Options) -> Iterator[Result]:
    rows = 2_000 if options.quick else 100_000
    updates = rows // 100
    jobs = {
        name: partial(_load_and_update, options.folder / f"layout-{days}", days, rows, updates)
        for name, days in (("one day", 1), ("ten years", 3_650))
    }
    loads: dict[str, list[Sample]] = {name: [] for name in jobs}
    updated: dict[str, list[Sample]] = {name: [] for name in jobs}
    for _ in range(options.rounds):
        for name, job in jobs.items():
            load, update = job()
            loads[name].append(load)
            updated[name].append(update)
    ours, peer = middle(loads["ten years"]), middle(loads["one day"])
    yield cost(f"load of {rows:,} rows of ten years to gold against one day's", ours=ours, peer=peer, target=3.0)
    ours, peer = middle(updated["ten years"]), middle(updated["one day"])
    name = f"{updates:,} random updates of ten years to gold (seconds: at most)"
    yield Result(name, ours.seconds, peer.seconds, "s", ours.seconds, 10.0, at_most=True)
    yield from _beside_delta_rs(options, rows, updates)


def _load_and_update(folder: Path, days: int, rows: int, updates: int) -> tuple[Sample, Sample]:
    datasets = _datasets(emptied(folder), history=True)
    land_updates = _land_customers(folder, days=days, rows=rows, updates=updates)
    load = _run(folder, datasets)
    land_updates()
    return load, _run(folder, datasets)


def _land_customers(folder: Path, *, days: int, rows: int, updates: int) -> Callable[[], None]:
    """Land a load of customers that were created over some days; returns what lands updates of random ones."""
    chance = random.Random(1)
    created = [datetime(2016, 1, 1) + timedelta(seconds=chance.randrange(days * 86_400)) for _ in range(rows)]  # noqa: DTZ001 (DMS writes no zone)
    _land(folder, "LOAD00000001.parquet", range(rows), created=created)
    some = chance.sample(range(rows), updates)
    return partial(_land, folder, _UPDATES, some, created=[created[n] for n in some], op="U", seq=1)


def _run(root: Path, datasets: Path) -> Sample:
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("DATALAKE_", "DAGSTER_"))}
    environment |= {"DATALAKE_ROOT": str(root), "DATALAKE_DATASETS": str(datasets)}
    return whole_process([sys.executable, "-m", "datalake_assets.cli", "run"], environment=environment)


def _beside_delta_rs(options: Options, rows: int, updates: int) -> Iterator[Result]:
    """The step's merge of the updates against such by delta-rs, written by hand, into uncut tables.

    Ours are the step's reading, transforming and writing, tombstones and commit notes included; not the ledger.
    """
    root = emptied(options.folder / "layout-merge")
    datasets = _datasets(root)
    land_updates = _land_customers(root, days=3_650, rows=rows, updates=updates)
    alone(_load_all, root, datasets)
    land_updates()
    copy = options.folder / "layout-copy"
    jobs = {"ours": _merge_step, "the same rows": _merge_into_same_rows, "fewer columns": _merge_into_fewer_columns}
    measured = interleaved(
        {name: partial(_job_on_copy, job, root, copy, datasets) for name, job in jobs.items()}, rounds=options.rounds
    )
    for name in ("the same rows", "fewer columns"):
        title = f"{updates:,} random updates of ten years: the merge against one by hand into {name}"
        yield cost(title, ours=measured["ours"], peer=measured[name], target=1.3)


def _merge_step(root: Path, datasets: Path) -> float:
    lake = lake_at(root, datasets=datasets)
    admit(lake, lake.datasets["customers"], [_HOUR], now=datetime.now(UTC))
    request = StepRequest(zone="silver", name="customers", partitions=(_HOUR,))
    spent = execute(request, lake=lake, engine=PolarsEngine()).seconds
    say(f"    seconds: {', '.join(f'{stage} {took:.3f}' for stage, took in spent.items())}")
    return sum(spent[stage] for stage in ("read", "transform", "write"))


def _load_all(root: Path, datasets: Path) -> float:
    lake = lake_at(root, datasets=datasets)
    spent = _step(lake)
    rows = lake.silver(lake.datasets["customers"]).open().scan().collect()
    write_deltalake(root / _SAME_ROWS, rows)
    write_deltalake(root / _FEWER_COLUMNS, rows.select(_COLUMNS_BY_HAND))
    return spent


def _merge_into_same_rows(root: Path, _: Path) -> float:
    return _merge_by_hand(root, root / _SAME_ROWS)


def _merge_into_fewer_columns(root: Path, _: Path) -> float:
    return _merge_by_hand(root, root / _FEWER_COLUMNS)


def _merge_by_hand(root: Path, folder: Path) -> float:
    """What one would write: the file's last change of each row, typed, merged by the key."""
    began = time.perf_counter()
    table = DeltaTable(folder)
    changes = pl.read_parquet(root / "bronze" / _PREFIX / _UPDATES).sort("seq").unique("id", keep="last")
    created = pl.col("created_at").dt.replace_time_zone("UTC")
    now = pl.lit(datetime.now(UTC))
    typed = changes.select(
        "id",
        "name",
        "country",
        created,
        event_date=created.dt.date(),
        etl_timestamp=now,
        source_filename=pl.lit(_UPDATES),
        quality_score=pl.lit(1.0),
        _unknown=pl.lit(None, pl.String),
        _event_time=created,
        _is_change=pl.lit(value=True),
        _sequence_1=pl.col("seq").cast(pl.Decimal(38, 0)),
        _committed_at=pl.col("committed").str.to_datetime("%Y-%m-%d %H:%M:%S", time_zone="UTC"),
        _file_time=now,
        _row_number=pl.int_range(1, pl.len() + 1),
    ).select([field.name for field in table.schema().fields])
    values = {name: f"s.{name}" for name in typed.columns}
    merge = table.merge(typed, "t.id = s.id", source_alias="s", target_alias="t")
    merge.when_matched_update(values).when_not_matched_insert(values).execute()
    return time.perf_counter() - began


def _uuids(options: Options) -> Iterator[Result]:
    rows, inserts = (20_000, 1_000) if options.quick else (4_000_000, 50_000)
    jobs = {}
    for key in ("int64", "string"):
        root = emptied(options.folder / f"layout-{key}")
        datasets = _datasets(root, key=key)
        alone(_load_keys, root, datasets, rows, inserts)
        jobs[key] = partial(_job_on_copy, _insert, root, options.folder / "layout-copy", datasets)
    measured = interleaved(jobs, rounds=options.rounds)
    ours, peer = measured["string"], measured["int64"]
    name = f"{inserts:,} inserts into {rows:,} rows under uuids against rising numbers"
    yield cost(name, ours=ours, peer=peer, target=2.0)


def _load_keys(root: Path, datasets: Path, rows: int, inserts: int) -> float:
    keys = _keys(rows + inserts, as_text="string" in str(root))
    created = [datetime(2026, 1, 9) + timedelta(milliseconds=20 * n) for n in range(rows + inserts)]  # noqa: DTZ001 (DMS writes no zone)
    _land(root, "LOAD00000001.parquet", keys[:rows], created=created[:rows])
    spent = _step(lake_at(root, datasets=datasets))
    _land(root, _UPDATES, keys[rows:], created=created[rows:], op="I", seq=1)
    return spent


def _keys(count: int, *, as_text: bool) -> pl.Series:
    numbers = pl.Series("id", range(count), dtype=pl.Int64)
    if not as_text:
        return numbers
    words = [numbers.hash(seed).cast(pl.String) for seed in (1, 2)]
    return (words[0] + "-" + words[1]).alias("id")


def _job_on_copy(job: Job, root: Path, copy: Path, datasets: Path) -> Sample:
    return alone(job, copied(root, copy), datasets)


def _insert(root: Path, datasets: Path) -> float:
    return _step(lake_at(root, datasets=datasets), _HOUR)


def _a_thousand_hours(options: Options) -> Iterator[Result]:
    steps = 40 if options.quick else 1_000
    part = steps // 10
    old, young = (emptied(options.folder / f"layout-{name}-hours") for name in ("old", "young"))
    of_old = _hourly_steps(old, _datasets(old, history=True))
    for _ in itertools.islice(of_old, steps - part):
        pass
    # In turns, as a machine's own speed changes more in some minutes than a lake's.
    both = list(itertools.islice(zip(of_old, _hourly_steps(young, _datasets(young, history=True)), strict=True), part))
    last, first = (middle(samples) for samples in zip(*both, strict=True))
    yield cost(f"an hourly step after {steps:,} against the first {part}", ours=last, peer=first, target=1.2)
    on_disk, live = _files_after_upkeep(old)
    name = "files on disk after upkeep against live ones (at most)"
    yield Result(name, on_disk, live, "files", on_disk / live, 3.0, at_most=True)


def _hourly_steps(root: Path, datasets: Path) -> Iterator[Sample]:
    """Load a table, and bring 20 updates of random rows to silver, hour after hour."""
    lake = lake_at(root, datasets=datasets)
    chance = random.Random(2)
    rows, day = 20_000, datetime(2025, 1, 1)  # noqa: DTZ001 (DMS writes no zone)
    _land(root, "LOAD00000001.parquet", range(rows), created=[day + timedelta(minutes=n) for n in range(rows)])
    _step(lake)
    for number in itertools.count():
        hour = datetime(2025, 3, 1, tzinfo=UTC) + timedelta(hours=number)
        ids = chance.sample(range(rows + number), 20)
        name = f"{hour:%Y/%m/%d/%H/%Y%m%d-%H}1500000.parquet"
        _land(root, name, ids, created=[day + timedelta(minutes=n) for n in ids], op="U", seq=number)
        before = time.process_time()
        seconds = _step(lake, f"{hour:%Y-%m-%d-%H:00}")
        yield Sample(seconds, peak_mb(), time.process_time() - before)


def _files_after_upkeep(root: Path) -> tuple[int, int]:
    """How many files of a lake's silver lie on disk after upkeep, and how many of them are live."""
    lake = lake_at(root, datasets=root / "datasets")
    list(maintain(lake, retention=timedelta(0)))
    folders = [Path(lake.table(spec).uri) for spec in lake.specs() if spec.zone == "silver"]
    on_disk = sum(1 for folder in folders for file in folder.rglob("*.parquet") if "_delta_log" not in file.parts)
    live = sum(lake.table(spec).open().files.height for spec in lake.specs() if spec.zone == "silver")
    return on_disk, live


def _flat_folder(options: Options) -> Iterator[Result]:
    many, few = (400, 200) if options.quick else (20_000, 200)
    jobs = {}
    for count in (few, many):
        root = emptied(options.folder / f"layout-flat-{count}")
        datasets = _datasets(root)
        alone(_remember_flat, root, datasets, count)
        jobs[f"{count:,} flat objects"] = partial(alone, _ticks, root, datasets)
    measured = interleaved(jobs, rounds=options.rounds)
    ours, peer = (measured[f"{count:,} flat objects"] for count in (many, few))
    name = f"tick over {many:,} flat objects against {few:,}"
    yield cost(name, ours=ours, peer=peer, target=1.5)


def _remember_flat(root: Path, datasets: Path, count: int) -> float:
    """Land files over the last 300 days (200: of three hours) and let the ledger know them."""
    began = time.perf_counter()
    folder = root / "bronze" / _PREFIX
    folder.mkdir(parents=True)
    apart = timedelta(days=300) / count if count > 1_000 else timedelta(hours=3) / count
    for n in range(count):
        (folder / f"{_LOADED - n * apart:%Y%m%d-%H%M%S%f}"[:-3]).with_suffix(".parquet").write_bytes(b"x")
    time.sleep(2.5)  # a file that has just been written is recognised by no later listing
    lake = lake_at(root, datasets=datasets)
    dataset = lake.datasets["customers"]
    listed = lake.landing.sweep(dataset, after=None, limit=10**9, now=_LOADED).objects
    lake.ledger.admit(dataset, listed, identify=lake.landing.identified, now=_LOADED)
    known = [o for o in map(lake.landing.identified, listed) if o is not None]
    done = [ObjectOutcome(key=o.key, etag=o.etag, size=o.size, partition=o.partition) for o in known]
    lake.ledger.note(dataset, begun={}, completed=done, now=_LOADED)
    return time.perf_counter() - began


def _ticks(root: Path, datasets: Path) -> float:
    lake = lake_at(root, datasets=datasets)
    position: str | None = None
    spent = []
    for _ in range(20):
        began = time.perf_counter()
        work = landing_work(
            lake, lake.datasets["customers"], after=position, lookback=timedelta(hours=6), limit=250, now=_LOADED
        )
        gold_work(lake, now=_LOADED)
        spent.append(time.perf_counter() - began)
        position = work.position
    return median(spent[1:])


def _step(lake: Lake, *partitions: str) -> float:
    """Admit what landed in some partitions (of the load, when none is named) and bring it to silver."""
    dataset = lake.datasets["customers"]
    now = datetime.now(UTC)
    began = time.perf_counter()
    if not partitions:
        work = landing_work(lake, dataset, after=None, lookback=timedelta(0), limit=10**9, now=now)
        partitions = tuple(work.waiting)
    admit(lake, dataset, partitions, now=now)
    execute(StepRequest(zone="silver", name=dataset.name, partitions=partitions), lake=lake, engine=PolarsEngine())
    return time.perf_counter() - began


def _datasets(root: Path, *, key: str = "int64", history: bool = False) -> Path:
    folder = root / "datasets"
    folder.mkdir(parents=True)
    (folder / "customers.yaml").write_text(_DATASET.format(key=key, history=str(history).lower()), encoding="utf-8")
    return folder


def _land(
    root: Path, name: str, ids: Sequence[Any] | pl.Series, *, created: Sequence[datetime], op: str = "", seq: int = 0
) -> None:
    """Land a file as DMS writes it; without `op` a full load."""
    file = root / "bronze" / _PREFIX / name
    file.parent.mkdir(parents=True, exist_ok=True)
    frame = pl.DataFrame({"id": ids, "created_at": created}).with_columns(
        committed=pl.lit(f"{_LOADED:%Y-%m-%d %H:%M:%S}"),
        seq=pl.lit(f"{seq:020d}") + pl.int_range(pl.len()).cast(pl.String).str.zfill(10)
        if op
        else pl.lit(None, pl.String),
        name=pl.lit("name ") + pl.int_range(pl.len()).cast(pl.String),
        country=pl.lit("NL"),
    )
    header = ["committed", "seq"]
    operation = [pl.lit(op).alias("Op")] if op else []
    frame.select(*operation, *header, pl.exclude(header)).write_parquet(file, row_group_size=10_000)
