"""Two `datalake run` on one lake, each with a Dagster home of its own: the tables are those of one."""

import gzip
import json
import os
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from datalake_assets.settings import Settings
from datalake_assets_tests.sources import CLICKS, write_datasets

ORDERS = """
name: orders
kind: cdc_table
description: Orders of a test.
owner: team:test
landing: {prefix: dms/public/orders}
key: [id]
order_by: [seq]
columns:
  id: {type: int64}
  amount: {type: int64}
  at: {type: timestamp}
event_time: {column: at}
history: true
"""
DAY = 1_767_225_600  # 1 January 2026, in seconds since 1970


def land_events(bronze: Path, *, events: int, hours: int) -> None:
    """Events of some hours, one in ten of them a second time in a later object."""
    each = events // hours
    for hour in range(hours):
        first = hour * each
        ids = [*range(first, first + each), *range(max(0, first - each), first, 10)]
        lines = [json.dumps({"id": f"e{n}", "at": DAY + n * hours * 3600 // events, "page": f"/{n % 50}"}) for n in ids]
        lines += ["torn {"] * 3
        folder = bronze / f"firehose/clicks/2026/01/{1 + hour // 24:02d}/{hour % 24:02d}"
        folder.mkdir(parents=True)
        (folder / "clicks.gz").write_bytes(gzip.compress("\n".join(lines).encode(), compresslevel=1))


def land_changes(bronze: Path, *, keys: int, hours: int) -> None:
    """A full load of all keys, then in every hour changes of a tenth of them: updates, deletes, a few new rows."""
    folder = bronze / "dms/public/orders"
    folder.mkdir(parents=True)
    moment = pl.from_epoch(pl.lit(DAY) + pl.col("id") % 86_400 * 30).dt.replace_time_zone("UTC").dt.cast_time_unit("us")
    load = pl.DataFrame({"id": range(keys)}).with_columns(
        pl.lit("").alias("seq"), pl.lit(0, pl.Int64).alias("amount"), moment.alias("at")
    )
    load.write_parquet(folder / "LOAD00000001.parquet")
    for hour in range(hours):
        changed = pl.DataFrame({"id": range(hour % 10, keys + keys // 50, 10)}).with_columns(
            pl.when(pl.col("id") % 70 == hour).then(pl.lit("D")).otherwise(pl.lit("U")).alias("Op"),
            pl.format("{}", pl.lit(10**9 * (hour + 1)) + pl.col("id")).str.zfill(35).alias("seq"),
            pl.lit(hour, pl.Int64).alias("amount"),
            moment.alias("at"),
        )
        inner = folder / f"2026/01/{1 + hour // 24:02d}/{hour % 24:02d}"
        inner.mkdir(parents=True)
        changed.write_parquet(inner / f"202601{1 + hour // 24:02d}-{hour % 24:02d}1500000.parquet")


def expected_orders(*, keys: int, hours: int) -> dict[int, int]:
    """The live rows that follow from the changes: id to amount."""
    rows = dict.fromkeys(range(keys), 0)
    for hour in range(hours):
        for n in range(hour % 10, keys + keys // 50, 10):
            if n % 70 == hour:
                rows.pop(n, None)
            else:
                rows[n] = hour
    return rows


def start(root: Path, datasets: Path, home: Path) -> "subprocess.Popen[str]":
    home.mkdir(parents=True)
    environment = os.environ | {
        "DATALAKE_ROOT": str(root),
        "DATALAKE_DATASETS": str(datasets),
        "DAGSTER_HOME": str(home),
        "DATALAKE_PARTITIONS_PER_RUN": "3",
        "PYTHONPATH": str(Path(__file__).parents[2]),
    }
    program = [sys.executable, "-m", "datalake_assets.cli", "run"]
    return subprocess.Popen(
        program, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, stdin=subprocess.DEVNULL
    )


def check_two_writers(folder: Path, *, events: int, keys: int, hours: int) -> None:
    root = folder / "lake"
    datasets = write_datasets(folder / "datasets", CLICKS, ORDERS)
    land_events(root / "bronze", events=events, hours=hours)
    land_changes(root / "bronze", keys=keys, hours=hours)
    writers = [start(root, datasets, folder / f"home_{n}") for n in (1, 2)]
    for writer in writers:
        told, _ = writer.communicate(timeout=1500)
        assert writer.returncode == 0, told
    lake = Settings(root=str(root), datasets=datasets).lake()
    clicks = lake.silver(lake.datasets["clicks"]).open().scan().collect()
    assert (clicks.height, clicks["id"].n_unique()) == (events, events)
    rejects = lake.quarantine(lake.datasets["clicks"]).open().scan().collect()
    assert rejects.height == 3 * hours
    orders = lake.silver(lake.datasets["orders"]).open().scan().collect()
    assert dict(orders.select("id", "amount").iter_rows()) == expected_orders(keys=keys, hours=hours)
    assert orders.height == orders["id"].n_unique()
    summary = lake.table(lake.gold_tables["daily_summary"].spec).open().scan().filter(pl.col("source") == "clicks")
    assert summary.select(pl.col("records").sum(), pl.col("rejects").sum()).collect().row(0) == (events, 3 * hours)
    ledger = lake.ledger.all_rows().collect()
    assert ledger.height == ledger.select("key", "etag", "size").n_unique() == 2 * hours + 1
    assert ledger["status"].unique().to_list() == ["processed"]


@pytest.mark.soak
def test_two_runs_with_homes_of_their_own_write_what_one_would(tmp_path: Path) -> None:
    """Two runs at once wrote every event twice and lost updates of tables, and the next run noticed nothing."""
    check_two_writers(tmp_path, events=12_000, keys=4_000, hours=6)


@pytest.mark.soak
@pytest.mark.parametrize("number", range(10))
def test_two_runs_over_a_large_lake_ten_times(tmp_path: Path, number: int) -> None:
    check_two_writers(tmp_path, events=600_000, keys=200_000, hours=24)


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DATALAKE_ROOT", "DATALAKE_DATASETS", "DAGSTER_HOME"):
        monkeypatch.delenv(name, raising=False)
