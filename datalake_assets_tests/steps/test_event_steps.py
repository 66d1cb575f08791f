"""A step over landed events: what it writes, what it leaves alone, and what it makes good after a crash."""

import gzip
from datetime import UTC, date, datetime
from hashlib import sha256
from pathlib import Path

import pytest

from datalake_assets.lake.lake import Lake
from datalake_assets.lake.steps.planning import gold_work
from datalake_assets_tests import lakes
from datalake_assets_tests.lakes import values as rows
from datalake_assets_tests.streams import AT, FOLDER, HOUR, lake_in, land, process, stream

CLICKS = stream(properties={"amount": {"type": "number", "minimum": 0}})
MENDED = stream(properties={"amount": {"type": "number"}})
NEXT_HOUR = "2026-03-01-11:00"
GOOD = {"id": "1", "at": AT}
BAD = {"id": "2", "at": AT, "amount": -1}
DAMAGED = gzip.compress(b'{"id": "9", "at": 1}', mtime=0)[:-8] + b"\0" * 8  # its checksum is another text's


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """A lake of clicks."""
    return lake_in(tmp_path, CLICKS)


def key(name: str, folder: str = FOLDER) -> str:
    return f"firehose/clicks/{folder}/{name}"


def versions(lake: Lake) -> dict[str, int]:
    return lakes.versions(lake, "silver/clicks", "silver/clicks_duplicates", "quarantine/clicks")


def outcomes(lake: Lake, *partitions: str) -> dict[str, tuple[str, str | None]]:
    """Status and reason of objects by their names."""
    found = lake.ledger.rows("clicks", partitions or (HOUR,))
    return {k.rpartition("/")[2]: (s, e) for k, s, e in found.select("key", "status", "reason").iter_rows()}


def test_good_records_go_to_silver_and_bad_ones_to_quarantine(lake: Lake) -> None:
    land(lake, key("a"), [GOOD, BAD])
    report = process(lake, CLICKS, HOUR)
    assert rows(lake, "silver/clicks", "id", "source_filename") == [("1", key("a"))]
    ((errors, number),) = rows(lake, "quarantine/clicks", "errors", "row_number")
    assert (errors, number) == (["/amount minimum: -1 is less than the minimum of 0"], 2)
    assert (report.rows_in, report.rows_out, report.rows_rejected, report.rows_written) == (2, 1, 1, 1)
    assert report.rejects == {"minimum": 1}
    assert report.touched_dates == (date(2026, 3, 1),)


def test_reading_a_partition_again_changes_nothing_and_commits_nothing(lake: Lake) -> None:
    land(lake, key("a"), [GOOD, BAD])
    process(lake, CLICKS, HOUR)
    before = versions(lake)
    report = process(lake, CLICKS, HOUR, replay=True)
    assert versions(lake) == before
    assert (report.rows_in, report.rows_written, report.touched_dates) == (2, 0, ())


def test_a_mended_contract_and_another_run_bring_rejects_to_silver(lake: Lake, tmp_path: Path) -> None:
    land(lake, key("a"), [GOOD, BAD])
    process(lake, CLICKS, HOUR)
    mended = lake_in(tmp_path, MENDED)
    report = process(mended, MENDED, HOUR, replay=True)
    assert rows(mended, "silver/clicks", "id", "amount") == [("1", None), ("2", -1.0)]
    assert rows(mended, "quarantine/clicks", "raw") == []
    assert report.rows_rejected == 0


def test_rejects_of_other_objects_and_partitions_stay(lake: Lake) -> None:
    land(lake, key("a"), [BAD])
    land(lake, key("a", "2026/03/01/11"), [BAD | {"id": "3"}])
    process(lake, CLICKS, HOUR, NEXT_HOUR)
    land(lake, key("b"), [BAD | {"id": "4"}])
    process(lake, CLICKS, HOUR)
    assert rows(lake, "quarantine/clicks", "partition", "source_filename") == [
        (HOUR, key("a")),
        (HOUR, key("b")),
        (NEXT_HOUR, key("a", "2026/03/01/11")),
    ]


def test_an_object_that_changed_its_rejects_has_only_the_new_ones(lake: Lake) -> None:
    land(lake, key("it's"), [BAD, BAD | {"id": "3"}])
    process(lake, CLICKS, HOUR)
    land(lake, key("it's"), [GOOD, BAD | {"id": "4"}, GOOD])
    process(lake, CLICKS, HOUR)
    ((raw,),) = rows(lake, "quarantine/clicks", "raw")
    assert '"4"' in raw


def test_a_damaged_object_does_not_stop_its_partition(lake: Lake) -> None:
    land(lake, key("a"), DAMAGED)
    land(lake, key("b"), [GOOD])
    report = process(lake, CLICKS, HOUR)
    status, error = outcomes(lake)["a"]
    assert status == "failed"
    assert error is not None
    assert error.startswith("gzip: ")
    assert outcomes(lake)["b"] == ("processed", None)
    assert rows(lake, "silver/clicks", "id") == [("1",)]
    assert rows(lake, "quarantine/clicks", "source_filename", "row_number", "errors") == [
        (key("a"), 0, [f"object: {error}"])
    ]
    assert report.rejects == {"object": 1}


def test_a_damaged_object_that_lands_again_is_read(lake: Lake) -> None:
    land(lake, key("a"), DAMAGED)
    process(lake, CLICKS, HOUR)
    land(lake, key("a"), [GOOD])
    process(lake, CLICKS, HOUR)
    assert rows(lake, "silver/clicks", "id") == [("1",)]
    assert rows(lake, "quarantine/clicks", "raw") == []


def test_a_partition_of_nothing_but_bad_records_makes_no_silver_table(lake: Lake) -> None:
    land(lake, key("a"), [BAD])
    report = process(lake, CLICKS, HOUR)
    assert versions(lake) == {"silver/clicks": -1, "silver/clicks_duplicates": -1, "quarantine/clicks": 0}
    assert report.table_version == -1


def test_an_empty_partition_is_a_step_too(lake: Lake) -> None:
    report = process(lake, CLICKS, HOUR)
    assert (report.rows_in, report.objects, report.partitions[0].partition) == (0, (), HOUR)


def test_one_event_stands_once_with_the_copy_that_ranks_highest(lake: Lake) -> None:
    land(lake, key("a"), [GOOD | {"amount": 1}, GOOD | {"amount": 1}])
    process(lake, CLICKS, HOUR)
    land(lake, key("b"), [GOOD | {"at": AT + 1, "amount": 2}])
    process(lake, CLICKS, HOUR)
    land(lake, key("c"), [GOOD | {"amount": 3}])
    report = process(lake, CLICKS, HOUR)
    assert rows(lake, "silver/clicks", "id", "amount", "source_filename") == [("1", 2.0, key("b"))]
    assert report.rows_written == 0


@pytest.mark.parametrize("lines", [("-0.0", "0.0"), ("0.0", "-0.0")])
def test_a_row_has_the_zero_that_its_record_has(tmp_path: Path, lines: tuple[str, str]) -> None:
    clicks = stream(key=["amount"], properties={"amount": {"type": "number"}})
    lake = lake_in(tmp_path, clicks)
    records = {f'{{"id":"1","at":{AT},"amount":{zero}}}': zero for zero in lines}
    land(lake, key("a"), [*records])
    process(lake, clicks, HOUR)
    of_hash = {sha256(line.encode()).hexdigest(): zero for line, zero in records.items()}
    found = rows(lake, "silver/clicks", "record_hash", "amount")
    found += rows(lake, "silver/clicks_duplicates", "record_hash", "amount")
    assert sorted(str(amount) for _, amount in found) == ["-0.0", "0.0"]
    assert all(of_hash[record] == str(amount) for record, amount in found)


def test_events_of_one_key_on_two_dates_are_two_events(lake: Lake) -> None:
    land(lake, key("a"), [GOOD, GOOD | {"at": AT + 86_400}])
    process(lake, CLICKS, HOUR)
    assert rows(lake, "silver/clicks", "id", "event_date") == [("1", date(2026, 3, 1)), ("1", date(2026, 3, 2))]


def test_events_from_the_first_to_the_last_year_can_be_merged(lake: Lake) -> None:
    ends = [-62_135_596_800, 253_402_300_799]
    for amount in (1, 2, 3):
        land(lake, key(f"{amount}"), [{"id": "1", "at": at, "amount": amount} for at in ends])
        process(lake, CLICKS, HOUR)
    assert rows(lake, "silver/clicks", "event_date") == [(date(1, 1, 1),), (date(9999, 12, 31),)]


def test_late_events_touch_their_own_dates_alone(lake: Lake) -> None:
    land(lake, key("a"), [GOOD])
    process(lake, CLICKS, HOUR)
    land(lake, key("b"), [GOOD | {"id": "2", "at": AT - 9 * 86_400}])
    assert process(lake, CLICKS, HOUR).touched_dates == (date(2026, 2, 20),)


def test_a_partition_with_too_many_rejects_withholds_its_dates_from_gold(tmp_path: Path) -> None:
    strict = stream(max_rejected_fraction=0.4, min_records=2, properties={"amount": {"type": "number", "minimum": 0}})
    lake = lake_in(tmp_path, strict)
    land(lake, key("a"), [GOOD, BAD])
    process(lake, strict, HOUR)
    work = gold_work(lake, now=datetime.now(UTC))["daily_summary"]
    assert work.withheld.keys() == {date(2026, 3, 1)}
    assert work.dates == frozenset()
    assert "1 of 2 records rejected (50.0%)" in work.withheld[date(2026, 3, 1)]


def test_a_partition_of_few_records_withholds_nothing(tmp_path: Path) -> None:
    strict = stream(max_rejected_fraction=0.4, properties={"amount": {"type": "number", "minimum": 0}})
    lake = lake_in(tmp_path, strict)
    land(lake, key("a"), [GOOD, BAD])
    process(lake, strict, HOUR)
    assert lakes.owed(lake)["daily_summary"] == {date(2026, 3, 1)}


def test_columns_with_awkward_names_can_be_written_and_merged(tmp_path: Path) -> None:
    awkward = stream(key=["Event-ID"], properties={"Event-ID": {"type": "string"}, "a:b": {}, "#1": {}, "é/ü": {}})
    lake = lake_in(tmp_path, awkward)
    record = GOOD | {"Event-ID": "x", "#1": [2], "é/ü": "3"}
    for n in range(4):
        land(lake, key(f"{n}"), [record | {"a:b": n}])
        process(lake, awkward, HOUR)
    assert len(rows(lake, "silver/clicks", "Event-ID")) == 1
