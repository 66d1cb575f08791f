"""A lake whose zones are buckets, worked on by commands over a network that loses requests, equals one in a folder."""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import polars as pl
import pytest

from datalake_assets.settings import Settings
from datalake_assets_tests.aws import Aws
from datalake_assets_tests.s3.proxy import Proxy, no_faults, random_faults

# What tells one reading, or one copy of an object, from another.
OF_THE_COPY = {"etl_timestamp", "etag", "stamp", "last_modified", "partition", "bucket"}
OF_THE_READING = {"admitted_at", "begun_at", "processed_at", "writing_since", "retry_at", "attempts"}


def command(environment: Mapping[str, str], *arguments: str) -> str:
    """What a command prints; it must succeed."""
    program = [sys.executable, "-m", "datalake_assets.cli", *arguments]
    done = subprocess.run(
        program,
        env={**os.environ, **environment, "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    assert done.returncode == 0, f"{arguments}: {done.stdout}\n{done.stderr}"
    return done.stdout


def work(environment: Mapping[str, str]) -> None:
    """The life of a small lake: data, more data, tables made anew, tables kept lean."""
    for hours in ("2", "3"):
        command(environment, "simulate", "--hours", hours, "--rate", "60")
        command(environment, "run")
    command(environment, "rebuild", "orders")
    command(environment, "rebuild", "web_events")
    command(environment, "run")
    command(environment, "maintain")


def tables(settings: Settings) -> dict[str, pl.DataFrame]:
    """The rows of every table, in an order of their own, without what tells one reading from another."""
    lake, found = settings.lake(), {}
    for spec in lake.specs():
        if spec.sql_name in {"verdicts", "pending"}:
            continue
        rows = lake.table(spec).open().scan().drop(OF_THE_COPY | OF_THE_READING, strict=False).collect()
        lists = [name for name, dtype in rows.schema.items() if dtype.is_nested()]
        texts = rows.with_columns(pl.col(lists).map_elements(str, pl.String, skip_nulls=False))
        found[spec.sql_name] = texts.sort(pl.all())
    return found


def environment(home: Path, **places: str) -> dict[str, str]:
    home.mkdir(parents=True)
    (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    return {"DAGSTER_HOME": str(home), **{f"DATALAKE_{name.upper()}": place for name, place in places.items()}}


def two_datasets(folder: Path) -> Path:
    """A stream and a table with its history, of the packaged datasets: one of each kind."""
    packaged = Path(__file__).parents[2] / "datalake_assets/datasets"
    folder.mkdir()
    for name in ("orders.yaml", "web_events.yaml"):
        shutil.copy(packaged / name, folder)
    return folder


def copy_bronze(aws: Aws, place: str, folder: Path) -> None:
    """What landed in a bucket as files of the same times: objects without a date in their keys go by these."""
    bucket, prefix = place.removeprefix("s3://").split("/", 1)
    s3 = aws.client("s3")
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=f"{prefix}/"):
        for found in page["Contents"]:
            file = folder / found["Key"].removeprefix(f"{prefix}/")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(s3.get_object(Bucket=bucket, Key=found["Key"])["Body"].read())
            moment = found["LastModified"].timestamp()
            os.utime(file, (moment, moment))


def check(folder: Path, aws: Aws, proxy: Proxy, *, seed: int) -> None:
    zones = {zone: f"s3://{aws.bucket()}/{zone}" for zone in ("root", "bronze", "silver", "gold")}
    local = {"root": str(folder / "lake")}
    zones["datasets"] = local["datasets"] = str(two_datasets(folder / "datasets"))
    in_buckets = environment(folder / "home_s3", **zones)
    proxy.plan = random_faults(seed, share=0.05)
    work(in_buckets)
    proxy.plan = no_faults
    print(f"{len(proxy.requests):,} requests, {len(proxy.faults):,} faults")  # noqa: T201 (shown by a test that fails)
    assert len(proxy.faults) > 50
    copy_bronze(aws, zones["bronze"], folder / "lake/bronze")
    command(environment(folder / "home", **local), "run")
    expected, found = tables(Settings(**local)), tables(Settings(**zones))  # type: ignore[arg-type]  # places alone
    assert expected.keys() == found.keys()
    for name, rows in expected.items():
        assert rows.height == found[name].height, name
        assert rows.equals(found[name]), name
    assert "gold    daily_summary" in command(in_buckets, "status")
    counted = command(in_buckets, "query", "SELECT count(*) AS n FROM silver.orders", "--format", "csv")
    assert counted == f"n\n{expected['silver.orders'].height}\n"
    assert command(in_buckets, "rejects", "web_events")
    assert "Nothing new had landed" in command(in_buckets, "run")


@pytest.mark.soak
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("seed", range(1, 8))
def test_a_lake_in_four_buckets_under_faults_equals_an_undisturbed_one_in_a_folder(
    seed: int, tmp_path: Path, aws: Aws, proxy: Proxy
) -> None:
    check(tmp_path, aws, proxy, seed=seed)
