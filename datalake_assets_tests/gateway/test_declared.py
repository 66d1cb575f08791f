"""What dataset files say, as the ingest API is told it."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from datalake_assets.gateway.declared import contracts, sample_record
from datalake_assets.ingest.sources import sources_of
from datalake_assets.lake.spec.dataset import Dataset, EventStream
from datalake_assets.lake.spec.dataset_files import load_datasets
from datalake_assets_tests.sources import CLICKS, write_datasets

_NOW = datetime(2026, 1, 1, 12, 0, 0, 5, tzinfo=UTC)


def _datasets(folder: Path, *texts: str) -> dict[str, Dataset]:
    return load_datasets(write_datasets(folder, *texts))


def test_a_source_has_all_that_its_dataset_says_of_reading_records(tmp_path: Path) -> None:
    text = CLICKS.replace("key: [id]", "key: [id]\nunknown_fields: reject\nenvelope: Records")
    text = text.replace("page: {type: string}", 'page: {$ref: "#/$defs/page", description: Where}') + (
        "  $defs: {page: {type: string, maxLength: 3}}\n"
    )
    told = contracts(_datasets(tmp_path, text), stream_prefix="dev-")["clicks"]
    assert told == {
        "schema": {
            "type": "object",
            "required": ["id", "at"],
            "properties": {
                "id": {"type": "string", "minLength": 1},
                "at": {"type": "integer"},
                "page": {"type": "string", "maxLength": 3},
            },
        },
        "needed": ["at", "id"],
        "unknown_fields": "reject",
        "envelope": "Records",
        "prefix": "firehose/clicks",
        "stream": "dev-clicks",
    }
    contract = sources_of({"clicks": told})["clicks"].contract
    assert [r.rule for r in contract.reasons({"id": "a", "at": 1, "page": "long", "x": 1})] == [
        "maxLength",
        "unknown_fields",
    ]


def test_what_the_lake_may_read_as_another_type_is_left_to_it(tmp_path: Path) -> None:
    text = CLICKS.replace("key: [id]", "key: [id]\ncoerce: lossless")
    contract = sources_of(contracts(_datasets(tmp_path, text)))["clicks"].contract
    assert contract.reasons({"id": 1, "at": "1772359200"}) == []
    assert [r.rule for r in contract.reasons({"id": 1})] == ["required", "key"]


def test_a_sample_keeps_what_is_left_to_the_lake_too(tmp_path: Path) -> None:
    """The example that the server printed was acknowledged, and went to quarantine."""
    text = CLICKS.replace("key: [id]", "key: [id]\ncoerce: lossless").replace("minLength: 1", "minLength: 2")
    (dataset,) = _datasets(tmp_path, text).values()
    assert isinstance(dataset, EventStream)
    sample = sample_record(dataset, now=_NOW)
    assert sample is None or len(sample["id"]) > 1


def test_replicated_tables_are_no_sources() -> None:
    import datalake_assets

    packaged = load_datasets(Path(datalake_assets.__file__).parent / "datasets")
    assert sorted(contracts(packaged)) == ["device_readings", "web_events"]


@pytest.mark.parametrize("prefix", ["firehose/a/b", "api/clicks", "clicks", "firehose/ä"])
def test_only_a_folder_of_firehoses_is_a_stream(tmp_path: Path, prefix: str) -> None:
    datasets = _datasets(tmp_path, CLICKS.replace("firehose/clicks", prefix))
    assert contracts(datasets)["clicks"]["stream"] is None
    assert contracts(datasets)["clicks"]["prefix"] == prefix


@pytest.mark.parametrize(
    ("unit", "rule", "expected"),
    [
        ("s", "{type: integer}", 1_767_268_800),
        ("ms", "{type: integer}", 1_767_268_800_000),
        ("us", "{type: integer}", 1_767_268_800_000_000),
        ("iso8601", "{type: string, format: date-time}", "2026-01-01T12:00:00Z"),
    ],
)
def test_a_sample_happened_now(tmp_path: Path, unit: str, rule: str, expected: Any) -> None:
    text = CLICKS.replace("unit: s", f"unit: {unit}").replace("at: {type: integer}", f"at: {rule}")
    (dataset,) = _datasets(tmp_path, text).values()
    assert isinstance(dataset, EventStream)
    record = sample_record(dataset, now=_NOW)
    assert record is not None
    assert record["at"] == expected
    assert sorted(record) == ["at", "id"]


@pytest.mark.parametrize(
    ("rule", "found"),
    [
        ('{type: string, pattern: "^x{9}$"}', False),
        ('{type: string, pattern: "^x{2}$", examples: [xx]}', True),
        ("{enum: [seen, sold]}", True),
        ("{const: 7}", True),
        ("{type: [object, 'null']}", True),
        ("{type: 'null'}", True),
    ],
)
def test_a_sample_is_shown_only_where_the_contract_accepts_it(tmp_path: Path, rule: str, found: bool) -> None:
    text = CLICKS.replace("required: [id, at]", "required: [id, at, page]").replace(
        "page: {type: string}", f"page: {rule}"
    )
    (dataset,) = _datasets(tmp_path, text).values()
    assert isinstance(dataset, EventStream)
    assert (sample_record(dataset, now=_NOW) is not None) == found
