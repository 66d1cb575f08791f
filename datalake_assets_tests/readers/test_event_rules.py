"""Rules that a dataset declares beside its schema: values of another type that say the same, and events ahead."""

import json
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from datalake_assets_tests.readers.reading import Read
from datalake_assets_tests.streams import AT, ndjson, stream

PROPERTIES: dict[str, Any] = {
    "whole": {"type": "integer", "minimum": 0},
    "number": {"type": ["number", "null"]},
    "amount": {"type": "number", "x-lake-type": "decimal(12,2)"},
    "open": {"type": "boolean"},
    "text": {"type": "string"},
    "price": {"type": "string", "x-lake-type": "decimal(12,2)"},
    "either": {"type": ["string", "integer"]},
    "any": {},
}
LOSSLESS = [
    ("whole", '"7"', 7),
    ("whole", '"-0"', 0),
    ("whole", '"9223372036854775807"', 2**63 - 1),
    ("number", '"0.1"', 0.1),
    ("number", '"1e3"', 1000.0),
    ("number", "null", None),
    ("amount", '"9999999999.99"', Decimal("9999999999.99")),
    ("amount", '"1.50"', Decimal("1.50")),
    ("open", '"true"', True),
    ("text", "7", "7"),
    ("text", "1.50", "1.50"),
    ("text", "12345678901234567890.123456789", "12345678901234567890.123456789"),
    ("text", "false", "false"),
    ("price", "12.5", Decimal("12.50")),
    ("either", '"7"', '"7"'),
    ("either", "7", "7"),
    ("any", '"7"', '"7"'),
]
LOSSY = [
    ("whole", '"7.0"', "type"),
    ("whole", '"07"', "type"),
    ("whole", '" 7"', "type"),
    ("whole", '"+7"', "type"),
    ("whole", '""', "type"),
    ("whole", '"-7"', "minimum"),
    ("whole", '"9223372036854775808"', "x-lake-type"),
    ("whole", "true", "type"),
    ("number", '"NaN"', "type"),
    ("number", '"1,5"', "type"),
    ("number", '"null"', "type"),
    ("amount", '"1.505"', "x-lake-type"),
    ("open", '"True"', "type"),
    ("open", "1", "type"),
    ("text", "null", "type"),
    ("text", "[7]", "type"),
    ("either", "true", "type"),
]


def record(name: str, text: str) -> str:
    return json.dumps({"id": "1", "at": AT})[:-1] + f', "{name}": {text}}}'


@pytest.mark.parametrize(("name", "text", "value"), LOSSLESS)
def test_a_value_that_says_the_same_in_another_type_is_read_where_the_dataset_asks_for_it(
    name: str, text: str, value: Any
) -> None:
    found = Read({"a": record(name, text).encode()}, dataset=stream(properties=PROPERTIES, coerce="lossless"))
    assert [row[name] for row in found.accepted] == [value]
    assert [type(row[name]) for row in found.accepted] == [type(value)]


@pytest.mark.parametrize(("name", "text", "rule"), LOSSY)
def test_a_value_that_would_be_changed_is_rejected_all_the_same(name: str, text: str, rule: str) -> None:
    found = Read({"a": record(name, text).encode()}, dataset=stream(properties=PROPERTIES, coerce="lossless"))
    (reject,) = found.rejected
    assert reject["errors"][0].startswith(f"/{name} {rule}: ")


@pytest.mark.parametrize("entry", [case for case in LOSSLESS if case[0] not in {"either", "any"} and case[1] != "null"])
def test_no_value_is_taken_for_another_type_otherwise(entry: tuple[str, str, Any]) -> None:
    name, text, _ = entry
    found = Read({"a": record(name, text).encode()}, dataset=stream(properties=PROPERTIES))
    (reject,) = found.rejected
    assert reject["errors"][0].startswith(f"/{name} type: ")


def test_a_time_and_a_key_are_read_so_too_beside_other_records() -> None:
    dataset = stream(coerce="lossless")
    found = Read(
        {"a": ndjson([{"id": 1, "at": f"{AT}"}, {"id": "2", "at": AT}, {"id": None, "at": AT}])}, dataset=dataset
    )
    assert [(row["id"], row["at"]) for row in found.accepted] == [("1", AT), ("2", AT)]
    assert [row["row_number"] for row in found.rejected] == [3]


def test_an_event_dated_too_long_after_it_landed_is_rejected() -> None:
    hour_end = AT + 3_600
    records = [{"id": f"{n}", "at": hour_end + n} for n in (-5_000_000, 0, 600, 601, 10**8)]
    found = Read({"a": ndjson([*records, "torn"])}, dataset=stream(max_ahead="PT10M"))
    assert [row["_row_number"] for row in found.accepted] == [1, 2, 3]
    assert [row["row_number"] for row in found.rejected] == [4, 5, 6]
    (reason,) = found.rejected[0]["errors"]
    assert reason == (
        "/at max_ahead: 2026-03-01 11:10:01.000000+00:00 is more than 0:10:00 after 2026-03-01 11:00:00+00:00, "
        "when its landing partition ended"
    )
    assert found.outcomes["a"].rows_out == 3
    assert len(Read({"a": ndjson(records)}).accepted) == 5


@pytest.mark.parametrize("text", ["P", "PT", "P1M", "P1Y", "15", 15, "-PT1H", "PT1H1D", "P2913000D", "1:00"])
def test_a_length_of_time_that_is_none_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match="write one such as PT15M"):
        stream(max_ahead=text)


def test_a_length_of_time_may_be_any_of_days_hours_minutes_and_seconds() -> None:
    assert stream(max_ahead="P9999DT1H2M3S").max_ahead == timedelta(days=9999, hours=1, minutes=2, seconds=3)
    assert len(Read({"a": ndjson([{"id": "1", "at": AT}])}, dataset=stream(max_ahead="P9999D")).accepted) == 1


def test_how_far_ahead_is_part_of_what_decides_how_a_record_is_read() -> None:
    plain, strict = stream(), stream(max_ahead="PT10M")
    assert strict.max_ahead == timedelta(minutes=10)
    assert plain.contract != strict.contract
    assert plain.shape == strict.shape
    assert stream(coerce="lossless").contract not in {plain.contract, strict.contract}
