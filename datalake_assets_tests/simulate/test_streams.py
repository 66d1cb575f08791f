"""The events of pages and devices: in objects as AWS names them, and as dirty as the tally says."""

import gzip
import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import jsonschema_rs
import pytest
import yaml

import datalake_assets
from datalake_assets.simulate.faults import Fault
from datalake_assets.simulate.simulation import LOOK_BACK
from datalake_assets_tests.simulate.conftest import Bronze

STREAMS = {"web_events": "firehose/web_events/", "device_readings": "api/devices/"}
UUID = "[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"
FIREHOSE_KEY = re.compile(
    rf"firehose/web_events/(\d{{4}})/(\d\d)/(\d\d)/(\d\d)/web_events-1-(\d{{4}}-\d\d-\d\d-\d\d-\d\d-\d\d)-{UUID}\.gz"
)
DEVICE_KEY = re.compile(
    rf"api/devices/year=(\d{{4}})/month=(\d\d)/day=(\d\d)/(north|south|harbour)-\d{{6}}-{UUID}\.json"
)


@dataclass(frozen=True, slots=True)
class Line:
    """A landed line, and the record in it where the contract accepts it."""

    key: str
    text: bytes
    record: dict[str, object] | None


def read(bronze: Bronze, dataset: str) -> Iterator[Line]:
    """Every line of a stream, judged by the contract that ships with the package."""
    file = Path(datalake_assets.__path__[0]) / "datasets" / f"{dataset}.yaml"
    contract = jsonschema_rs.validator_for(yaml.safe_load(file.read_text())["schema"])
    for key in bronze.keys(STREAMS[dataset]):
        body = (bronze.folder / key).read_bytes()
        text = gzip.decompress(body) if key.endswith(".gz") else body
        for line in text.splitlines():
            try:
                record = json.loads(line)
            except ValueError:
                record = None
            yield Line(key, line, record if contract.is_valid(record) else None)


@pytest.mark.parametrize("dataset", STREAMS)
def test_the_contract_refuses_what_the_tally_calls_refused(bronze: Bronze, dataset: str) -> None:
    lines = list(read(bronze, dataset))
    good = {line.text for line in lines if line.record is not None}
    copies = bronze.landed.faults[dataset][Fault.DUPLICATE]
    refused = sum(line.record is None for line in lines)
    assert len(lines) == bronze.landed.records[dataset]
    assert 0 < refused == bronze.landed.rejected(dataset)
    assert copies > 0
    assert len(good) == len(lines) - refused - copies
    assert refused / len(lines) < 0.02, "a demo that trips its own blocking check shows nothing"


def test_every_kind_of_flaw_is_there(bronze: Bronze) -> None:
    assert set(bronze.landed.faults["web_events"]) == {
        Fault.DUPLICATE,
        Fault.LATE,
        Fault.UNKNOWN_FIELD,
        Fault.TRUNCATED,
        Fault.WRONG_TYPE,
        Fault.MISSING_FIELD,
        Fault.PATTERN,
        Fault.NEGATIVE,
    }
    kinds = {Fault.DUPLICATE, Fault.LATE, Fault.OUT_OF_RANGE, Fault.MISSING_FIELD, Fault.WRONG_TYPE}
    assert set(bronze.landed.faults["device_readings"]) <= kinds
    assert {Fault.DUPLICATE, Fault.LATE} < set(bronze.landed.faults["device_readings"])


def test_copies_of_an_event_are_the_same_to_the_byte(bronze: Bronze) -> None:
    texts: dict[object, set[bytes]] = {}
    for line in read(bronze, "web_events"):
        if line.record:
            texts.setdefault(line.record["event_id"], set()).add(line.text)
    assert {len(copies) for copies in texts.values()} == {1}


def test_firehose_objects_are_named_by_their_oldest_record_and_some_land_twice(bronze: Bronze) -> None:
    bodies: Counter[bytes] = Counter()
    for key in bronze.keys("firehose/"):
        match = FIREHOSE_KEY.fullmatch(key)
        assert match
        assert "-".join(match.groups()[:4]) == match[5][:13]
        body = (bronze.folder / key).read_bytes()
        assert body[4:8] == bytes(4), "no time in the gzip header"
        bodies[body] += 1
    assert set(bodies.values()) == {1, 2}


def test_events_happen_before_they_arrive_and_a_few_long_before(bronze: Bronze) -> None:
    late = 0
    for line in read(bronze, "web_events"):
        created = line.record["created_at"] if line.record else None
        if not isinstance(created, int):
            continue
        happened = datetime.fromtimestamp(created, UTC)
        arrived = datetime.strptime(line.key.split("-1-")[1][:19], "%Y-%m-%d-%H-%M-%S").replace(tzinfo=UTC)
        assert arrived - LOOK_BACK < happened < arrived + timedelta(minutes=15)
        late += happened < arrived - timedelta(hours=1)
    assert late == bronze.landed.faults["web_events"][Fault.LATE]


def test_unknown_fields_are_in_good_records(bronze: Bronze) -> None:
    found = sum("campaign" in line.record for line in read(bronze, "web_events") if line.record)
    assert found == bronze.landed.faults["web_events"][Fault.UNKNOWN_FIELD]


def test_devices_land_every_day_under_the_day_of_arrival(bronze: Bronze) -> None:
    matches = [DEVICE_KEY.fullmatch(key) for key in bronze.keys("api/")]
    assert {"-".join(match.groups()[:3]) for match in matches if match} == {
        "2026-10-31",
        "2026-11-01",
        "2026-11-02",
    }
    assert all(matches)


def test_readings_of_devices_that_were_offline_come_with_a_later_upload(bronze: Bronze) -> None:
    late = 0
    readings = [line for line in read(bronze, "device_readings") if line.record]
    for line in readings:
        assert line.record
        digits = "".join(re.findall(r"(?<==)\d+|(?<=-)\d{6}(?=-)", line.key))
        upload = datetime.strptime(digits[:10], "%Y%m%d%H").replace(tzinfo=UTC)
        late += upload - datetime.fromisoformat(str(line.record["measured_at"])) > timedelta(hours=3)
    assert late == bronze.landed.faults["device_readings"][Fault.LATE]
    assert {str(line.record["measured_at"])[19:] for line in readings if line.record} == {"Z", "+02:00"}
    assert None in {line.record["humidity"] for line in readings if line.record}
