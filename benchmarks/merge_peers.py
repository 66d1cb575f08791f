"""What one would write instead of the lake: the same changes merged by delta-rs, and by Spark's `MERGE`.

Each reads the landed file, takes the newest change of each order, types it, and merges it by the key into a Delta table
that holds the same rows, uncut. Neither keeps tombstones, a ledger or quarantine, nor looks what landed before.
"""

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
from deltalake import DeltaTable, write_deltalake

from benchmarks.lakes import lake_at
from datalake_assets.lake.engines.spark_session import SPARK_LOCAL

_COLUMNS = ("id", "customer_id", "product_name", "price", "status", "created_at", "updated_at")
_DELTA = {
    "spark.jars.packages": "io.delta:delta-spark_4.1_2.13:4.2.0",
    "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
    "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
}
_FOLDER = "by-hand"


def keep_by_hand(root: Path, datasets: Path) -> float:
    """Write the rows of a lake's silver into the table that the peers merge into; returns the seconds."""
    began = time.perf_counter()
    lake = lake_at(root, datasets=datasets)
    rows = lake.silver(lake.datasets["orders"]).open().scan().select(*_COLUMNS, "event_date").collect()
    write_deltalake(root / _FOLDER, rows.with_columns(etl_timestamp=pl.lit(datetime.now(UTC))))
    return time.perf_counter() - began


def by_delta_rs(root: Path, landed: str) -> float:
    """Merge a landed file by delta-rs; returns the seconds."""
    began = time.perf_counter()
    newest = pl.scan_parquet(root / landed).sort("ar_h_change_seq").unique("id", keep="last", maintain_order=False)
    changes = newest.select(
        "Op",
        *_COLUMNS,
        event_date=pl.col("created_at").dt.date(),
        etl_timestamp=pl.lit(datetime.now(UTC)),
    ).collect()
    values = {name: f"s.{name}" for name in changes.columns if name != "Op"}
    (
        DeltaTable(root / _FOLDER)
        .merge(changes, "t.id = s.id", source_alias="s", target_alias="t")
        .when_matched_delete("s.Op = 'D'")
        .when_matched_update(values)
        .when_not_matched_insert(values, predicate="s.Op <> 'D'")
        .execute()
    )
    return time.perf_counter() - began


def by_spark(root: Path, landed: str) -> float:
    """Merge a landed file by Spark on this machine's two cores; returns the seconds, those of its session left out."""
    session = _session()
    began = time.perf_counter()
    changes: Any = session.read.parquet(str(root / landed))
    changes.createOrReplaceTempView("landed")
    names = [*_COLUMNS, "event_date", "etl_timestamp"]
    table = str(root / _FOLDER).replace("`", "``")
    session.sql(f"""
        MERGE INTO delta.`{table}` AS t
        USING (
            SELECT *, to_date(created_at) AS event_date, current_timestamp() AS etl_timestamp FROM (
                SELECT *, row_number() OVER (PARTITION BY id ORDER BY ar_h_change_seq DESC) AS newest FROM landed)
            WHERE newest = 1) AS s
        ON t.id = s.id
        WHEN MATCHED AND s.Op = 'D' THEN DELETE
        WHEN MATCHED THEN UPDATE SET {", ".join(f"t.{name} = s.{name}" for name in names)}
        WHEN NOT MATCHED AND s.Op <> 'D' THEN INSERT ({", ".join(names)})
            VALUES ({", ".join(f"s.{name}" for name in names)})
    """)
    seconds = time.perf_counter() - began
    session.stop()
    return seconds


def _session() -> Any:
    from pyspark.sql import SparkSession

    builder = SparkSession.builder
    for name, value in (SPARK_LOCAL | _DELTA | {"spark.master": "local[2]"}).items():
        builder = builder.config(name, value)
    session = builder.getOrCreate()
    session.sparkContext.setLogLevel("ERROR")
    return session
