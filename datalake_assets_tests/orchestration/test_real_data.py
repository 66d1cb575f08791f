"""Records that others made: 39,244 Wikipedia edits as Firehose would land them, and a full load that AWS DMS wrote.

The files lie beside the project, not in it; without them these tests are skipped.
"""

import gzip
import json
from collections import defaultdict
from datetime import datetime
from pathlib import Path

import dagster as dg
import duckdb
import polars as pl
import pyarrow.parquet as pq
import pytest

from datalake_assets.cli.run import run_to_the_end
from datalake_assets.settings import Settings
from datalake_assets_tests.sources import land, write_datasets

_DATA = Path(__file__).parents[2].parent / "shared" / "data"
_EDITS = _DATA / "events" / "wikiticker-2015-09-12-sampled.json.gz"
_LOAD = _DATA / "dms" / "dms_test_table_LOAD00000001.parquet"
_NULLABLE = {"cityName", "countryIsoCode", "countryName", "regionIsoCode", "regionName"}
_TEXTS = {"channel", "comment", "namespace", "page", "user"}
_FLAGS = {"isAnonymous", "isMinor", "isNew", "isRobot", "isUnpatrolled"}
_NUMBERS = {"delta", "added", "deleted"}


def _edits_dataset() -> str:
    fields = {"time": {"type": "string"}, "metroCode": {"type": ["integer", "null"]}}
    fields |= {name: {"type": ["string", "null"]} for name in _NULLABLE}
    fields |= {name: {"type": "string"} for name in _TEXTS}
    fields |= {name: {"type": "boolean"} for name in _FLAGS}
    fields |= {name: {"type": "integer"} for name in _NUMBERS}
    contract = {"type": "object", "required": sorted(fields), "properties": fields}
    return f"""
name: wikipedia_edits
kind: event_stream
description: Edits of Wikipedia's pages.
owner: team:test
landing: {{prefix: firehose/wikipedia_edits}}
event_time: {{column: time, unit: iso8601}}
schema: {json.dumps(contract)}
"""


_LOAD_DATASET = """
name: dms_table
kind: cdc_table
description: A table that AWS DMS loaded.
owner: team:test
landing: {prefix: dms/public/dms_table}
key: [COLUMN]
columns:
"""


def _run(settings: Settings, home: Path) -> None:
    home.mkdir()
    with dg.DagsterInstance.local_temp(str(home), overrides={"telemetry": {"enabled": False}}) as instance:
        outcome = run_to_the_end(settings, instance, tell=lambda *_: None)
    assert outcome.failed == []
    assert outcome.succeeded > 0


def _lines() -> list[str]:
    return gzip.decompress(_EDITS.read_bytes()).decode().splitlines()


@pytest.fixture(scope="module")
def edits(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """The edits landed by the hour they were made, some objects twice, and run to gold."""
    if not _EDITS.exists():
        pytest.skip("no Wikipedia edits beside the project")
    folder = tmp_path_factory.mktemp("edits")
    settings = Settings(root=str(folder / "lake"), datasets=write_datasets(folder / "datasets", _edits_dataset()))
    hours: defaultdict[str, list[str]] = defaultdict(list)
    for line in _lines():
        made = datetime.fromisoformat(json.loads(line)["time"])
        hours[made.strftime("2026/%m/%d/%H")].append(line)
    for n, (hour, lines) in enumerate(sorted(hours.items())):
        half = len(lines) // 2
        land(Path(settings.layout.bronze), "firehose/wikipedia_edits", hour, "first", lines[:half])
        land(Path(settings.layout.bronze), "firehose/wikipedia_edits", hour, "second", lines[half:])
        if n % 5 == 0:  # Firehose delivers at least once
            land(Path(settings.layout.bronze), "firehose/wikipedia_edits", hour, "again", lines[half:])
    _run(settings, folder / "dagster")
    return settings


@pytest.mark.xdist_group("edits")
def test_silver_has_every_edit_once_and_unchanged(edits: Settings) -> None:
    silver = pl.read_delta(f"{edits.layout.silver}/wikipedia_edits")
    landed = [json.loads(line) for line in _lines()]
    assert silver.height == len(landed) == 39_244
    fields = sorted(landed[0])
    found = sorted(json.dumps(row, sort_keys=True) for row in silver.select(fields).iter_rows(named=True))
    assert found == sorted(json.dumps(record, sort_keys=True) for record in landed)
    assert not Path(f"{edits.layout.quarantine}/wikipedia_edits").exists()


@pytest.mark.xdist_group("edits")
def test_gold_of_the_edits_equals_an_independent_query(edits: Settings) -> None:
    duckdb.sql("SET TimeZone = 'UTC'")
    source = duckdb.read_json(str(_EDITS), format="newline_delimited")  # noqa: F841 (DuckDB finds it by name)
    expected = duckdb.execute(
        """SELECT CAST("time" AS DATE) AS day, count(*) AS n, min("time") AS first, max("time") AS last
           FROM source GROUP BY 1 ORDER BY 1"""
    ).fetchall()
    daily = pl.read_delta(f"{edits.layout.gold}/daily_summary").sort("event_date")
    assert daily.select("event_date", "records", "first_event", "last_event").rows() == expected
    assert daily["unique_keys"].to_list() == daily["records"].to_list()
    hours = duckdb.execute("""SELECT date_trunc('hour', "time") AS hour, count(*) FROM source GROUP BY 1 ORDER BY 1""")
    hourly = pl.read_delta(f"{edits.layout.gold}/hourly_metrics").sort("hour")
    assert hourly.select("hour", "records").rows() == hours.fetchall()
    assert pl.read_delta(f"{edits.layout.gold}/events_by_type").height == 39_244


def test_a_full_load_that_dms_wrote_is_in_silver_value_for_value(tmp_path: Path) -> None:
    if not _LOAD.exists():
        pytest.skip("no DMS file beside the project")
    expected = pq.read_table(_LOAD)
    names = {
        "int16": "int16", "int32": "int32", "int64": "int64", "bool": "boolean", "string": "string",
        "binary": "binary", "float": "float", "double": "double", "date32[day]": "date",
    }  # fmt: skip
    types = {
        field.name: names.get(
            str(field.type),
            f"decimal({field.type.precision},{field.type.scale})" if "decimal" in str(field.type) else "timestamp",
        )
        for field in expected.schema
    }
    key = next(name for name, type_ in types.items() if type_ in {"int32", "int64"})
    columns = "\n".join(f'  "{name}": {{type: "{type_}"}}' for name, type_ in types.items())
    dataset = _LOAD_DATASET.replace("COLUMN", key) + columns
    settings = Settings(root=str(tmp_path / "lake"), datasets=write_datasets(tmp_path / "datasets", dataset))
    landed = Path(settings.layout.bronze) / "dms/public/dms_table" / "LOAD00000001.parquet"
    landed.parent.mkdir(parents=True)
    landed.write_bytes(_LOAD.read_bytes())
    _run(settings, tmp_path / "dagster")
    silver = pl.read_delta(f"{settings.layout.silver}/dms_table").sort(key)
    assert silver.height == expected.num_rows == 10
    rows = sorted(expected.to_pylist(), key=lambda row: row[key])
    assert silver.select(expected.column_names).to_dicts() == rows
