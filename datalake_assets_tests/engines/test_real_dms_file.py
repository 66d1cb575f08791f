"""A file that AWS DMS wrote, under a dataset written for it: silver equals the file, value for value."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from datalake_assets_tests.replicated import ReplicatedLake

FILE = Path(__file__).parents[2] / "../shared/data/dms/dms_test_table_LOAD00000001.parquet"
TEST_TABLE = """
name: test_table
kind: cdc_table
description: The table of a real replication task; the timestamp is the first column, and there is no Op.
owner: team:test
landing: {prefix: dms/public/test_table}
key: [id]
timestamp_column: DMS_TIMESTAMP
columns:
  id: {type: int64, required: true}
  my_int: {type: int32}
  my_smallint: {type: int16}
  my_numeric: {type: "decimal(15,2)"}
  my_real: {type: float}
  my_double: {type: double}
  my_money: {type: "decimal(38,4)"}
  my_varchar: {type: string}
  my_text: {type: string}
  my_bytea: {type: binary}
  my_timestamp: {type: timestamp}
  my_uuid: {type: string}
  my_json: {type: json}
  my_jsonb: {type: json}
  my_bool: {type: boolean}
event_time: {column: my_timestamp}
history: true
"""
pytestmark = pytest.mark.skipif(not FILE.exists(), reason=f"{FILE.name} of ../shared/data is not there")


@pytest.fixture
def landed() -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(FILE).to_pylist()
    return rows


def test_silver_equals_the_file_value_for_value(tmp_path: Path, landed: list[dict[str, Any]]) -> None:
    lake = ReplicatedLake(tmp_path, TEST_TABLE)
    lake.land("LOAD00000001.parquet", FILE.read_bytes(), table="test_table")
    report = lake.refresh("test_table")
    assert (report.rows_in, report.rows_out, report.rows_rejected) == (10, 10, 0)
    columns = [name for name in landed[0] if name != "DMS_TIMESTAMP"]
    silver = lake.rows("silver/test_table", *columns, "event_date", "_unknown")
    by_id = {row["id"]: row for row in silver}
    assert {i: {c: row[c] for c in columns} for i, row in by_id.items()} == {
        row["id"]: {c: row[c] for c in columns} for row in landed
    }
    assert all(row["_unknown"] is None for row in silver)
    assert {i: row["event_date"] for i, row in by_id.items()} == {
        row["id"]: row["my_timestamp"].date() for row in landed
    }
    history = lake.rows("silver/test_table_history", "id", "operation", "is_current", "valid_from", "valid_to")
    assert {row["id"]: row["valid_from"] for row in history} == {
        row["id"]: datetime.fromisoformat(row["DMS_TIMESTAMP"]).replace(tzinfo=UTC) for row in landed
    }
    assert {(row["operation"], row["is_current"], row["valid_to"]) for row in history} == {("L", True, None)}


def test_a_dataset_that_declares_less_keeps_the_rest(tmp_path: Path, landed: list[dict[str, Any]]) -> None:
    head, _, tail = TEST_TABLE.partition("  my_bytea:")
    lake = ReplicatedLake(tmp_path, head + "  my_timestamp:" + tail.partition("  my_timestamp:")[2])
    lake.land("LOAD00000001.parquet", FILE.read_bytes(), table="test_table")
    lake.refresh("test_table")
    kept = {row["id"]: row["_unknown"] for row in lake.rows("silver/test_table", "id", "_unknown")}
    assert kept == {row["id"]: f'{{"my_bytea":"{row["my_bytea"].hex()}"}}' for row in landed}
