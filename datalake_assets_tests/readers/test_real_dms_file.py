"""A file that AWS DMS wrote, under a dataset written for it: what is read equals the file, value for value."""

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml

from datalake_assets.lake.readers.batch import Batch, Limits
from datalake_assets.lake.readers.changes import ChangeReader
from datalake_assets.lake.spec.dataset import CdcTable
from datalake_assets.lake.store.landing import LandedObject
from datalake_assets_tests.frames import rows_of
from datalake_assets_tests.readers.bronze import loading

DATA = Path(os.environ.get("DATALAKE_TEST_DATA") or Path(__file__).parents[2] / "../shared/data")
FILE = DATA / "dms/dms_test_table_LOAD00000001.parquet"
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
KEY = "dms/public/test_table/LOAD00000001.parquet"
pytestmark = pytest.mark.skipif(not FILE.exists(), reason=f"{FILE} is not there (DATALAKE_TEST_DATA)")


def read(dataset: str) -> Batch:
    """The one batch that the file makes under a dataset file."""
    table = CdcTable.model_validate(yaml.safe_load(dataset))
    data = FILE.read_bytes()
    landed = LandedObject(KEY, "etag", len(data), datetime(2026, 1, 5, tzinfo=UTC), "2026-01-05-00:00")
    (batch,) = ChangeReader(table, Limits()).batches(loading({KEY: data}), [landed])
    return batch


@pytest.fixture
def landed() -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(FILE).to_pylist()
    return rows


def test_what_is_read_equals_the_file_value_for_value(landed: list[dict[str, Any]]) -> None:
    batch = read(TEST_TABLE)
    (outcome,) = batch.outcomes
    assert (outcome.rows_in, outcome.rows_out, outcome.rows_rejected) == (10, 10, 0)
    committed = {datetime.fromisoformat(row["DMS_TIMESTAMP"]).date() for row in landed}
    assert list(outcome.event_dates) == sorted({row["my_timestamp"].date() for row in landed} | committed)
    columns = [name for name in landed[0] if name != "DMS_TIMESTAMP"]
    accepted = {row["id"]: row for row in rows_of(batch.accepted)}
    assert {i: {c: row[c] for c in columns} for i, row in accepted.items()} == {
        row["id"]: {c: row[c] for c in columns} for row in landed
    }
    assert all(row["_unknown"] is None and row["operation"] == "L" for row in accepted.values())
    assert {i: row["event_date"] for i, row in accepted.items()} == {
        row["id"]: row["my_timestamp"].date() for row in landed
    }
    assert {i: row["_committed_at"] for i, row in accepted.items()} == {
        row["id"]: datetime.fromisoformat(row["DMS_TIMESTAMP"]).replace(tzinfo=UTC) for row in landed
    }


def test_a_dataset_that_declares_less_keeps_the_rest(landed: list[dict[str, Any]]) -> None:
    head, _, tail = TEST_TABLE.partition("  my_bytea:")
    batch = read(head + "  my_timestamp:" + tail.partition("  my_timestamp:")[2])
    kept = {row["id"]: row["_unknown"] for row in rows_of(batch.accepted)}
    assert kept == {row["id"]: f'{{"my_bytea":"{row["my_bytea"].hex()}"}}' for row in landed}
