"""From a Postgres to silver: what the lake has is what the source has, in a folder and on S3."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

import datalake_assets
from datalake_assets.cli.app import app
from datalake_assets_tests.aws import Aws
from datalake_assets_tests.postgres import Database
from datalake_assets_tests.replicate.replica import Replica
from datalake_assets_tests.replicated import ReplicatedLake

pytestmark = pytest.mark.xdist_group("postgres")
_TABLE = """
CREATE TABLE orders (
  id bigint PRIMARY KEY, customer_id bigint, product_name text, price numeric(10,2), created_at timestamptz
)
"""
_FIRST = """
INSERT INTO orders SELECT n, n % 7, 'item ' || n, n * 1.01, timestamptz '2026-03-01 00:00:00+01' + n * interval '1 h'
FROM generate_series(1, 300) n
"""
_WORK = (
    "UPDATE orders SET price = NULL, product_name = 'tea ☕' WHERE id % 5 = 0",
    "DELETE FROM orders WHERE id % 7 = 0; INSERT INTO orders SELECT 7, 1, 'again', 9.99, now()",
    "UPDATE orders SET price = 1 WHERE id = 3; UPDATE orders SET price = 2 WHERE id = 3",
    "DELETE FROM orders WHERE id = 9; INSERT INTO orders VALUES (9, 9, 'in one transaction', 1, now())",
)


def _in_source(postgres: Database) -> dict[int, tuple[object, ...]]:
    rows = postgres.rows("SELECT id, customer_id, product_name, price, created_at FROM orders")
    return {id_: tuple(values) for id_, *values in rows}


def test_silver_equals_the_source_after_a_load_and_changes(postgres: Database, tmp_path: Path) -> None:
    lake = ReplicatedLake(tmp_path)
    replica = Replica(postgres, Path(lake.lake.layout.root))
    postgres.execute(_TABLE, _FIRST)
    replica.catch_up("orders")
    lake.refresh()
    assert lake.silver() == _in_source(postgres)
    postgres.execute(*_WORK)
    replica.catch_up("orders")
    report = lake.refresh()
    assert report.rows_rejected == 0
    assert lake.silver() == _in_source(postgres)


def test_a_task_lands_in_a_bucket(postgres: Database, aws: Aws) -> None:
    postgres.execute(_TABLE, _FIRST)
    environment = {"DATALAKE_ROOT": f"s3://{aws.bucket()}/lake", "DATALAKE_SOURCE_URL": postgres.url}
    command = ["replicate", "--table", "public.orders", "--until-caught-up"]
    for landed in ("300 rows and 0 changes", "0 rows and 1 change:"):
        result = CliRunner().invoke(app, command, env=environment)
        assert result.exit_code == 0, result.output
        assert f"Landed {landed}" in result.stdout
        postgres.execute("DELETE FROM orders WHERE id = (SELECT min(id) FROM orders)")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_task_runs_until_it_is_told_to_stop(postgres: Database, tmp_path: Path, number: signal.Signals) -> None:
    postgres.execute(_TABLE, _FIRST)
    replica = Replica(postgres, tmp_path / "lake")
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(Path(datalake_assets.__file__).parents[1]),
        "DATALAKE_ROOT": str(replica.root),
        "DATALAKE_SOURCE_URL": postgres.url,
    }
    command = [sys.executable, "-m", "datalake_assets.cli", "replicate", "--table", "orders", "--interval", "0.2"]
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        for files, statement in (
            (1, "DELETE FROM orders WHERE id = 1"),
            (2, "DELETE FROM orders WHERE id = 2"),
            (3, ""),
        ):
            while len(replica.files("orders")) < files:
                assert process.poll() is None, process.communicate()
                time.sleep(0.05)
            if statement:
                postgres.execute(statement)
        process.send_signal(number)
        told, complaint = process.communicate(timeout=10)
    assert process.returncode == 0, complaint
    assert told.splitlines()[-1] == "Stopped; the same command goes on from here."
    assert [row["id"] for row in replica.changes("orders")] == [1, 2]
