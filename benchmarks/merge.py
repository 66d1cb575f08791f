"""The same 50,000 changes merged into a table of orders, ten and forty times as long.

A longer table has more days of history at the same 50,000 orders a day; its last days are those of the short one, and
so are the changes: updates and deletes of orders of the last five days, and new orders, in one DMS file. Each table
was loaded by the lake itself from DMS load files. A run admits the file and refreshes silver as the assets do, on a
copy of the lake; so it counts the ledger, the look for live rows and tombstones, and the merge. The peer of the longer
table is the shorter one: the cost of a merge has to follow the changes.
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

from benchmarks.harness import Options, Result, Sample, alone, cost, interleaved, say
from benchmarks.lakes import DATASETS, copied, emptied, kept, lake_at
from datalake_assets.lake.engines.polars import PolarsEngine
from datalake_assets.lake.lake import Lake
from datalake_assets.lake.steps.execute import execute
from datalake_assets.lake.steps.messages import StepRequest
from datalake_assets.lake.steps.planning import admit

_LANDED = datetime(2026, 1, 10, tzinfo=UTC)
_LOAD_PARTITION, _CHANGE_PARTITION = "2026-01-10-00:00", "2026-01-10-05:00"
_RECENT_DAYS = 5
_ROWS_PER_FILE = 500_000
_MEMORY_MB = 2_000.0


def run(options: Options) -> Iterator[Result]:
    """Compare merges into tables of growing length."""
    per_day, changes = (500, 500) if options.quick else (50_000, 50_000)
    days = [10, 20] if options.quick else [10, 100, 400]
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


def _merge_into_copy(root: Path, copy: Path, datasets: Path) -> Sample:
    return alone(_merge, copied(root, copy), datasets)


def _load(root: Path, datasets: Path) -> float:
    return _refresh(lake_at(root, datasets=datasets), _LOAD_PARTITION)


def _merge(root: Path, datasets: Path) -> float:
    return _refresh(lake_at(root, datasets=datasets), _CHANGE_PARTITION)


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
    hour = table / "2026/01/10/05"
    hour.mkdir(parents=True)
    newest = 10**9  # ids rise with time, and the newest order has the same id in every table
    total = days * per_day
    for number, begin in enumerate(range(0, total, _ROWS_PER_FILE), start=1):
        age = pl.int_range(total - begin, max(total - begin - _ROWS_PER_FILE, 0), -1, eager=True)
        frame = _orders(newest - age, age, per_day=per_day)
        load = frame.with_columns(Op=pl.lit("I"), dms_timestamp=pl.lit(_text(_LANDED)), ar_h_change_seq=pl.lit(""))
        _write(load, table / f"LOAD{number:08X}.parquet")
        _land_at(table / f"LOAD{number:08X}.parquet")
    recent = pl.int_range(1, _RECENT_DAYS * per_day + 1, eager=True).sample(changes * 7 // 10, seed=1)
    new = pl.int_range(0, -(changes - recent.len()), -1, eager=True)
    age = pl.concat([recent, new])
    changed = _orders(newest - age, age, per_day=per_day).with_row_index("row")
    committed = _LANDED + timedelta(hours=5, minutes=10)
    operation = pl.when(pl.col("row") >= recent.len()).then(pl.lit("I")).when(pl.col("row") % 7 == 0).then(pl.lit("D"))
    sequence = pl.lit("2026011005100000") + pl.col("row").cast(pl.String).str.zfill(19)
    marked = changed.with_columns(
        Op=operation.otherwise(pl.lit("U")),
        dms_timestamp=pl.lit(_text(committed)),
        ar_h_change_seq=sequence,
        status=pl.lit("shipped"),
    )
    _write(marked.drop("row"), hour / "20260110-051500000.parquet")


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
