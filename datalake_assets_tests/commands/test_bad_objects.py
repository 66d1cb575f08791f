"""Objects of a replicated table that can't be read, as the `datalake` command tells of them, and good copies later."""

import gzip
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from datalake_assets.cli.app import app
from datalake_assets_tests.dms_files import DMS_COLUMNS, parquet
from datalake_assets_tests.replicated import ORDERS, change
from datalake_assets_tests.sources import write_datasets

TYPES = DMS_COLUMNS | {
    "id": "int64",
    "customer_id": "int64",
    "product_name": "string",
    "price": "decimal(10,2)",
    "created_at": "timestamp",
}
HOUR = "2026/01/05/09"
CSV_TIME = "2026-01-05 09:00:00"


def changes(first: int) -> bytes:
    """A file of thirty inserted rows."""
    return parquet([change("I", n, n) for n in range(first, first + 30)], TYPES)


def csv_changes(first: int) -> bytes:
    """The same as CSV."""
    rows = [f"I,{CSV_TIME}.{n:06d},{n},7,tea,NULL,{CSV_TIME},{n:035d}\n" for n in range(first, first + 30)]
    return gzip.compress("".join(rows).encode(), mtime=0)


@dataclass(frozen=True, slots=True)
class Bad:
    """A bad object: its name, its bytes, the reason that is told, and the good copy."""

    name: str
    data: bytes
    reason: str
    good: bytes


BAD = {
    "a truncated parquet": Bad("20260105-091501000.parquet", changes(100)[:-500], "not readable", changes(100)),
    "an empty file": Bad("20260105-091502000.parquet", b"", "the object is empty", changes(200)),
    "an empty csv": Bad("20260105-091503000.csv", b"", "the object is empty", gzip.decompress(csv_changes(300))),
    "a wrong schema": Bad(
        "20260105-091504000.parquet",
        parquet([{"Op": "I", "name": "x"}] * 30, {"Op": "string", "name": "string"}),
        "its columns are not those of the table: it has no id",
        changes(400),
    ),
    "no parquet": Bad("20260105-091505000.parquet", csv_changes(500), "not readable", changes(500)),
    "a truncated gzip": Bad("20260105-091506000.csv.gz", csv_changes(600)[:-20], "gzip: ", csv_changes(600)),
}
every_kind = pytest.mark.parametrize("kind", BAD)


class Lake:
    """A lake of orders, and the command run on it."""

    def __init__(self, folder: Path) -> None:
        self.hour = folder / "lake/bronze/dms/public/orders" / HOUR
        self.hour.mkdir(parents=True)
        self.environment = {"DATALAKE_ROOT": str(folder / "lake"), "DATALAKE_DATASETS": str(folder / "datasets")}
        strict = ORDERS.replace("max_rejected_fraction: 1\n", "csv: {}\n")
        write_datasets(folder / "datasets", strict)

    def datalake(self, *arguments: str) -> Result:
        return CliRunner().invoke(app, list(arguments), env=self.environment)

    def rows(self, sql: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(self.datalake("query", sql, "--format", "json").stdout)
        return found


@pytest.fixture(scope="module")
def patched() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("DAGSTER_HOME", raising=False)
        patch.setenv("DAGSTER_DISABLE_TELEMETRY", "1")
        yield


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory, patched: None) -> tuple[Lake, Result]:
    """A lake with an object of each bad kind and a good one in the same hour, run."""
    lake = Lake(tmp_path_factory.mktemp("broken"))
    (lake.hour / "20260105-091500000.parquet").write_bytes(changes(0))
    for bad in BAD.values():
        (lake.hour / bad.name).write_bytes(bad.data)
    return lake, lake.datalake("run")


@pytest.fixture(scope="module")
def healed(tmp_path_factory: pytest.TempPathFactory, patched: None) -> Lake:
    """Such a lake in which good copies landed later under the same keys, run again."""
    lake = Lake(tmp_path_factory.mktemp("healed"))
    (lake.hour / "20260105-091500000.parquet").write_bytes(changes(0))
    for bad in BAD.values():
        (lake.hour / bad.name).write_bytes(bad.data)
    lake.datalake("run")
    for bad in BAD.values():
        (lake.hour / bad.name).write_bytes(bad.good)
    result = lake.datalake("run")
    assert result.exit_code == 0, result.output
    return lake


@every_kind
def test_a_bad_object_is_in_the_ledger_and_in_quarantine_with_its_reason(
    broken: tuple[Lake, Result], kind: str
) -> None:
    lake, bad = broken[0], BAD[kind]
    (row,) = lake.rows(f"SELECT status, reason FROM ledger WHERE key LIKE '%{bad.name}'")
    assert row["status"] == "failed"
    assert row["reason"].startswith(bad.reason)
    (reject,) = lake.rows(f"SELECT row_number, errors FROM quarantine.orders WHERE source_filename LIKE '%{bad.name}'")
    assert reject == {"row_number": 0, "errors": [f"object: {row['reason']}"]}


def test_the_rest_of_its_partition_goes_on(broken: tuple[Lake, Result]) -> None:
    assert broken[0].rows("SELECT count(*) AS n, min(id) AS low, max(id) AS high FROM silver.orders") == [
        {"n": 30, "low": 0, "high": 29}
    ]


def test_run_status_rejects_and_a_check_tell_of_bad_objects(broken: tuple[Lake, Result]) -> None:
    lake, result = broken
    told = "orders: 6 objects can't be read: dms/public/orders/2026/01/05/09/20260105-091501000.parquet: not readable"
    assert told in " ".join(result.stderr.split())
    assert told in " ".join(lake.datalake("status").stdout.split())
    assert "6 records of orders are in quarantine" in lake.datalake("rejects", "orders").stdout
    (verdict,) = lake.rows("SELECT passed, blocking, detail FROM verdicts WHERE rule = 'rejected_fraction'")
    assert (verdict["passed"], verdict["blocking"]) == (False, True)
    assert "6 of 7 objects unreadable" in str(verdict["detail"])
    assert "6 of 7 objects unreadable" in result.stderr
    assert result.exit_code == 1


@every_kind
def test_a_good_copy_that_lands_later_heals_it(healed: Lake, kind: str) -> None:
    bad = BAD[kind]
    states = healed.rows(f"SELECT status FROM ledger WHERE key LIKE '%{bad.name}' ORDER BY status")
    assert [row["status"] for row in states] == ["processed", "superseded"]
    assert not healed.rows(f"SELECT * FROM quarantine.orders WHERE source_filename LIKE '%{bad.name}'")
    rows = f"SELECT count(*) AS n FROM silver.orders WHERE source_filename LIKE '%{bad.name}'"
    assert healed.rows(rows) == [{"n": 30}]


def test_nothing_is_left_to_do_when_all_are_healed(healed: Lake) -> None:
    status = healed.datalake("status").stdout
    assert "can't be read" not in status
    assert "Left to do" not in status


def test_csv_is_read_once_the_dataset_file_says_how(tmp_path: Path, patched: None) -> None:
    lake = Lake(tmp_path)
    file = tmp_path / "datasets/dataset_0.yaml"
    told = file.read_text()
    file.write_text(told.replace("csv: {}\n", ""))
    (lake.hour / "20260105-091500000.csv.gz").write_bytes(csv_changes(0))
    result = lake.datalake("run")
    assert "the dataset file does not say how to read it; add a `csv` part to it" in result.stderr
    file.write_text(told)
    assert lake.datalake("rebuild", "orders").exit_code == 0
    assert lake.rows("SELECT count(*) AS n FROM silver.orders") == [{"n": 30}]
    assert not lake.rows("SELECT * FROM quarantine.orders")
