"""The same 50,000 changes merged into a table of orders, ten and forty times as long.

A longer table has more days of history at the same 50,000 orders a day; its last days are those of the short one, and
so are the changes: updates and deletes of orders of the last five days, and new orders, in one DMS file. Each table
was loaded by the lake itself from DMS load files. A run admits the file and refreshes silver as the assets do, on a
copy of the lake; so it counts the ledger, the look for live rows and tombstones, and the merge. The peer of the longer
table is the shorter one: the cost of a merge has to follow the changes. Into the middle one the changes are merged by
hand too (`merge_peers.py`). Last, one refresh brings 5 million changes of orders of all ages to the longest.
"""

import os
import shutil
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import pairwise
from pathlib import Path

import polars as pl

from benchmarks import merge_peers
from benchmarks.harness import Job, Options, Result, Sample, alone, cost, interleaved, say, speed
from benchmarks.lakes import DATASETS, copied, emptied, kept, lake_at
from datalake_assets.lake.engines.polars import PolarsEngine
from datalake_assets.lake.lake import Lake
from datalake_assets.lake.steps.execute import execute
from datalake_assets.lake.steps.messages import StepRequest
from datalake_assets.lake.steps.planning import admit

_LANDED = datetime(2026, 1, 10, tzinfo=UTC)
_LOAD_PARTITION, _CHANGE_PARTITION, _MANY_PARTITION = "2026-01-10-00:00", "2026-01-10-05:00", "2026-01-10-06:00"
_CHANGES = "dms/public/orders/2026/01/10/05/20260110-051500000.parquet"
_RECENT_DAYS = 5
_ROWS_PER_FILE = 500_000
_MEMORY_MB = 2_000.0
_NEWEST = 10**9  # ids rise with time, and the newest order has the same id in every table


def run(options: Options) -> Iterator[Result]:
    """Compare merges into tables of growing length."""
    per_day, changes, many = (500, 500, 5_000) if options.quick else (50_000, 50_000, 5_000_000)
    days = [10, 20, 40] if options.quick else [10, 100, 400]
    folder = emptied(options.folder / "merge")
    datasets = _datasets_without_history(folder / "datasets")
    jobs = {}
    for count in days:
        rows = count * per_day
        landed = kept(
            options.folder / f"orders-{rows}",
            make=partial(_land, days=count, per_day=per_day, changes=changes),
        )
        shutil.copytree(landed, folder / f"{rows}" / "bronze", copy_function=os.link)
        sample = alone(_load, folder / f"{rows}", datasets)
        say(f"  loaded {rows:,} orders: {sample.seconds:.1f} s, {sample.peak_mb:,.0f} MB")
        name = f"memory of a load of {rows:,} orders (MB: at most)"
        yield Result(name, sample.peak_mb, _MEMORY_MB, "MB", sample.peak_mb, _MEMORY_MB, at_most=True)
        jobs[f"{rows:,} orders"] = partial(_merge_into_copy, folder / f"{rows}", folder / "copy", datasets)
    measured = interleaved(jobs, rounds=options.rounds)
    names = list(measured)
    for shorter, longer in pairwise(names):
        ours, peer = measured[longer], measured[shorter]
        name = f"merge of {changes:,} changes / {longer} against {shorter}"
        yield cost(name, ours=ours, peer=peer, target=1.5)
    yield from _beside_peers(folder / f"{days[1] * per_day}", folder / "copy", datasets, options, changes=changes)
    yield _many_changes(
        folder / f"{days[2] * per_day}", folder / "copy", datasets, days=days[2], per_day=per_day, changes=many
    )


def _beside_peers(root: Path, copy: Path, datasets: Path, options: Options, *, changes: int) -> Iterator[Result]:
    """The merge into one table beside those that one would write by hand."""
    alone(merge_peers.keep_by_hand, root, datasets)
    jobs = {
        "ours": partial(_merge_into_copy, root, copy, datasets),
        "delta-rs": partial(_by_peer, merge_peers.by_delta_rs, root, copy),
        "Spark": partial(_by_peer, merge_peers.by_spark, root, copy),
    }
    measured = interleaved(jobs, rounds=options.rounds)
    for name, target in (("delta-rs", 0.9), ("Spark", 5.0)):
        title = f"merge of {changes:,} changes as fast as by hand with {name}"
        yield speed(title, ours=measured["ours"], peer=measured[name], target=target)


def _by_peer(merge: Job, root: Path, copy: Path) -> Sample:
    return alone(merge, copied(root, copy), f"bronze/{_CHANGES}")


def _many_changes(root: Path, copy: Path, datasets: Path, *, days: int, per_day: int, changes: int) -> Result:
    """The memory of one refresh that brings many changes of orders of all ages."""
    table = copied(root, copy) / "bronze/dms/public/orders"
    _land_many(table / "2026/01/10/06", total=days * per_day, per_day=per_day, changes=changes)
    sample = alone(_merge_many, copy, datasets)
    say(f"  merged {changes:,} changes of all ages: {sample.seconds:.1f} s, {sample.peak_mb:,.0f} MB")
    name = f"memory of a merge of {changes:,} changes into {days * per_day:,} orders (MB: at most)"
    return Result(name, sample.peak_mb, _MEMORY_MB, "MB", sample.peak_mb, _MEMORY_MB, at_most=True)


def _merge_into_copy(root: Path, copy: Path, datasets: Path) -> Sample:
    return alone(_merge, copied(root, copy), datasets)


def _load(root: Path, datasets: Path) -> float:
    return _refresh(lake_at(root, datasets=datasets), _LOAD_PARTITION)


def _merge(root: Path, datasets: Path) -> float:
    return _refresh(lake_at(root, datasets=datasets), _CHANGE_PARTITION)


def _merge_many(root: Path, datasets: Path) -> float:
    return _refresh(lake_at(root, datasets=datasets), _MANY_PARTITION)


def _refresh(lake: Lake, partition: str) -> float:
    dataset = lake.datasets["orders"]
    began = time.perf_counter()
    admit(lake, dataset, [partition], now=datetime.now(UTC))
    request = StepRequest(zone="silver", name=dataset.name, partitions=(partition,))
    report = execute(request, lake=lake, engine=PolarsEngine())
    seconds = time.perf_counter() - began
    stages = ", ".join(f"{stage} {spent:.2f}" for stage, spent in report.seconds.items())
    say(f"    {report.rows_in:,} in, {report.rows_written:,} written; seconds: {stages}")
    return seconds


def _datasets_without_history(folder: Path) -> Path:
    folder.mkdir(parents=True)
    text = (DATASETS / "orders.yaml").read_text(encoding="utf-8")
    (folder / "orders.yaml").write_text(text.replace("history: true", "history: false"), encoding="utf-8")
    return folder


def _land(folder: Path, *, days: int, per_day: int, changes: int) -> None:
    """The load files of `days` days until the tenth of January, and one file of changes, as DMS writes them."""
    table = folder / "dms/public/orders"
    (folder / _CHANGES).parent.mkdir(parents=True)
    total = days * per_day
    for number, begin in enumerate(range(0, total, _ROWS_PER_FILE), start=1):
        age = pl.int_range(total - begin, max(total - begin - _ROWS_PER_FILE, 0), -1, eager=True)
        frame = _orders(_NEWEST - age, age, per_day=per_day)
        load = frame.with_columns(Op=pl.lit("I"), dms_timestamp=pl.lit(_text(_LANDED)), ar_h_change_seq=pl.lit(""))
        _write(load, table / f"LOAD{number:08X}.parquet")
        _land_at(table / f"LOAD{number:08X}.parquet")
    recent = pl.int_range(1, _RECENT_DAYS * per_day + 1, eager=True).sample(changes * 7 // 10, seed=1)
    new = pl.int_range(0, -(changes - recent.len()), -1, eager=True)
    _write(_changed(pl.concat([recent, new]), per_day=per_day, first=0), folder / _CHANGES)


def _land_many(hour: Path, *, total: int, per_day: int, changes: int) -> None:
    """Files of changes of orders of all ages, each order once."""
    hour.mkdir(parents=True)
    ages = pl.int_range(1, total + 1, eager=True).sample(changes, seed=2, shuffle=True)
    for number, begin in enumerate(range(0, changes, _ROWS_PER_FILE)):
        some = ages.slice(begin, _ROWS_PER_FILE)
        _write(_changed(some, per_day=per_day, first=changes + begin), hour / f"20260110-06{number:02}00000.parquet")


def _changed(ages: pl.Series, *, per_day: int, first: int) -> pl.DataFrame:
    """Changes, by how many orders ago those were placed that they change: new ones, one delete in seven, updates."""
    row = pl.int_range(pl.len())
    operation = pl.when(pl.col("age") <= 0).then(pl.lit("I")).when(row % 7 == 0).then(pl.lit("D"))
    committed = _LANDED + timedelta(hours=5, minutes=10)
    orders = _orders(_NEWEST - ages, ages, per_day=per_day).with_columns(age=ages)
    return orders.select(
        pl.exclude("age", "status"),
        Op=operation.otherwise(pl.lit("U")),
        dms_timestamp=pl.lit(_text(committed)),
        ar_h_change_seq=pl.lit("2026011005100000") + (row + first).cast(pl.String).str.zfill(19),
        status=pl.lit("shipped"),
    )


def _orders(ids: pl.Series, age: pl.Series, *, per_day: int) -> pl.DataFrame:
    """Orders by how many orders ago they were placed."""
    placed = pl.lit(_LANDED) - pl.duration(microseconds=pl.col("age") * (86_400_000_000 // per_day))
    return pl.DataFrame({"id": ids, "age": age}).select(
        "id",
        customer_id=pl.col("id") % 99_991,
        product_name=pl.lit("Product ") + (pl.col("id") % 97).cast(pl.String),
        price=((pl.col("id") % 10_000 + 100) / 100).cast(pl.Decimal(10, 2)),
        status=pl.lit("placed"),
        created_at=placed,
        updated_at=placed,
    )


def _write(frame: pl.DataFrame, file: Path) -> None:
    header = ["Op", "dms_timestamp", "ar_h_change_seq"]
    frame.select(*header, pl.exclude(header)).write_parquet(file, compression="uncompressed")


def _land_at(file: Path) -> None:
    """A load file's name tells no time: its partition is that of its last modification."""
    os.utime(file, (_LANDED.timestamp(), _LANDED.timestamp()))


def _text(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S.%f}"
