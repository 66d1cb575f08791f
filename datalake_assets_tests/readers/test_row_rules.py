"""Conditions that a dataset file asks of its records: what they may be, who keeps them, and what they count."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datalake_assets.lake.readers.readable import check_readable
from datalake_assets.lake.spec.dataset import EventStream
from datalake_assets.lake.spec.fault import FaultError
from datalake_assets_tests.readers.reading import Read
from datalake_assets_tests.streams import AT, ndjson, stream

PROPERTIES: dict[str, Any] = {
    "n": {"type": ["integer", "null"]},
    "text": {"type": "string"},
    "open": {"type": "boolean"},
    "amount": {"type": "number", "x-lake-type": "decimal(18,10)"},
    "large": {"type": "number", "x-lake-type": "decimal(38,10)"},
    "began": {"type": "string", "x-lake-type": "timestamp"},
    "ended": {"type": "string", "x-lake-type": "timestamp"},
    "day": {"type": "string", "x-lake-type": "date"},
    "more": {"type": "object"},
}


def asked(expect: str, severity: str = "warn", **quality: Any) -> EventStream:
    """A stream with the row rule `kept`."""
    rules = {"rows": {"kept": {"expect": expect, "severity": severity}}}
    return stream(properties=PROPERTIES, quality=rules | quality)


def broken(expect: str, *records: dict[str, Any]) -> list[int]:
    """Which of some records (by their place) break a condition."""
    body = ndjson([{"id": str(n), "at": AT} | record for n, record in enumerate(records)])
    found = Read({"a": body}, dataset=asked(expect, "reject"))
    assert all(row["errors"] == [f"kept: it does not keep {expect}"] for row in found.rejected)
    return [row["row_number"] - 1 for row in found.rejected]


KEEPS_AND_BREAKS: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("n > 0", {"n": 1}, {"n": 0}),
    ("n > 0", {"n": None}, {"n": -1}),
    ("n IN (1, 2) OR text IS NOT NULL", {"text": ""}, {"n": 3}),
    ("text <> 'x' OR amount IS NOT NULL", {"text": "x", "amount": 1}, {"text": "x"}),
    ("amount BETWEEN 0.1 AND 0.3", {"amount": 0.3}, {"amount": 0.3000000001}),
    ("amount * amount < 100", {"amount": 9.9999999999}, {"amount": 10}),
    ("n * n > 9223372036854775807", {"n": 2**62}, {"n": 2}),
    ("n % 2 = 0", {"n": -4}, {"n": 3}),
    ("began <= ended", {"began": "2026-03-01T10:00:00Z", "ended": "2026-03-01T12:00:00+02:00"}, {
        "began": "2026-03-01T10:00:00Z", "ended": "2026-03-01T11:59:59+02:00"}),
    ("began + INTERVAL '1 hour' >= ended", {"began": "2026-03-01T10:00:00Z", "ended": "2026-03-01T11:00:00Z"}, {
        "began": "2026-03-01T10:00:00Z", "ended": "2026-03-01T11:00:01Z"}),
    ("began >= TIMESTAMP '2026-01-01'", {"began": "2026-01-01T00:00:00Z"}, {"began": "2025-12-31T23:59:59Z"}),
    ("day < DATE '2026-01-02'", {"day": "2026-01-01"}, {"day": "2026-01-02"}),
    ("text LIKE 'a%' AND LENGTH(text) = 3", {"text": "aéé"}, {"text": "aé"}),
    ("text ~ '^[a-z]+$'", {"text": "abc"}, {"text": "aBc"}),
    ("UPPER(text) = 'X' AND NOT open", {"text": "x", "open": False}, {"text": "x", "open": True}),
    ("COALESCE(n, 0) >= 0 AND ABS(n) < 5", {}, {"n": -1}),
    ("CASE WHEN open THEN n ELSE 1 END = 1", {"open": False, "n": 2}, {"open": True, "n": 2}),
    ("TRY_CAST(text AS BIGINT) > 3", {"text": "four"}, {"text": "3"}),
    ("more IS NOT NULL", {"more": {}}, {}),
    ("NULLIF(n, 0) > 0", {"n": 0}, {"n": -1}),
    ("ROUND(TRY_CAST(text AS DOUBLE), 1) = 1.5", {"text": "1.46"}, {"text": "1.44"}),
    ("GREATEST(n, 5) = 5", {"n": 4}, {"n": 6}),
    ("LOWER(text) IN ('a', 'b')", {"text": "B"}, {"text": "c"}),
    ("TRIM(text) <> ''", {"text": " x "}, {"text": "  "}),
    ("SUBSTR(text, 2, 1) = 'é'", {"text": "aéb"}, {"text": "éa"}),
    ("CONCAT(text, '!') = 'x!'", {"text": "x"}, {"text": "!x"}),
    ("text ILIKE 'A%'", {"text": "ab"}, {"text": "ba"}),
    ("EXTRACT(hour FROM began) < 12", {"began": "2026-03-01T13:00:00+02:00"}, {"began": "2026-03-01T12:00:00Z"}),
]  # fmt: skip


@pytest.mark.parametrize(("expect", "keeps", "breaks"), KEEPS_AND_BREAKS, ids=lambda value: str(value)[:40])
def test_a_condition_is_kept_or_broken(expect: str, keeps: dict[str, Any], breaks: dict[str, Any]) -> None:
    assert broken(expect, keeps, breaks, keeps) == [1]


SQUARE = "TRY_CAST(text AS DECIMAL(38, 0)) * TRY_CAST(text AS DECIMAL(38, 0)) > 1"


def test_what_cannot_be_computed_is_unknown_and_stops_nothing() -> None:
    too_much, breaks, keeps = {"text": "9" * 38}, {"text": "1"}, {"text": "2"}
    assert broken(SQUARE, too_much, breaks, too_much, keeps) == [1]


@pytest.mark.parametrize("others", [0, 1, 20])
def test_a_verdict_is_the_same_beside_any_others(others: int) -> None:
    """Polars divides a column by a number by way of the reciprocal, but in a frame of one row."""
    beside = [{"n": 1, "text": "x", "began": "2026-03-31T00:00:00Z"}] * others
    for expect in ("n * 0.1 = 0.1", "EXTRACT(DAY FROM began) + 100 > 120", "LENGTH(text) - 2 < 0"):
        assert broken(expect, {"n": 1, "text": "x", "began": "2026-03-31T00:00:00Z"}, *beside) == []


REFUSED = [
    ("SUM(n) > 3", "an aggregate can't stand"),
    ("n = MAX(n)", "an aggregate can't stand"),
    ("n > 0 OR COUNT(*) > 3", "LEN can't stand"),
    ("RANK() OVER (ORDER BY n) > 1", "can't stand"),
    ("SUM(n) OVER (PARTITION BY text) > 1", "OVER can't stand"),
    ("n IN (SELECT 1)", "a subquery can't stand"),
    ("1 = 1", "about no column"),
    ("n", "gives Int128, not true or false"),
    ("n >", "no condition in SQL"),
    ("*", "no condition in SQL"),
    ("n > 1; DROP TABLE clicks", "no condition in SQL"),
    ("day < CURRENT_DATE", "CURRENT_DATE changes with the clock"),
    ("began < now()", "now changes with the clock"),
    ("textt = 'x'", "column 'textt' is not declared; did you mean 'text'?"),
    ("text = n", "cannot compare string with numeric"),
    ("text::int > 3", "TRY_CAST gives NULL"),
    ("STRPTIME(text, '%Y') > began", "Strptime can't stand"),
    ("text ~ '('", "its pattern is no regular expression: unclosed group"),
    ("n / 2 > 1", "it divides; multiply instead"),
    ("n // 2 > 1", "it divides; multiply instead"),
    ("open IS NOT TRUE", "IS NOT TRUE is not told from ="),
    ("STRPOS(text, 'a') > 0", "can't stand"),
    ("LPAD(text, n, '0') = text", "PadStart can't stand"),
    ('text = "GET"', "a text stands in single quotes: 'GET'"),
    ("began > '2026-01-01'", "write TIMESTAMP '2026-01-31 12:00:00'"),
    ("large * large > 1", "it can't be computed for the largest values of its columns"),
    ("more ->> 'a' = 'b'", "no condition in SQL (invalid json/struct path-extract definition"),
    ("SQRT(n) > 1", "Pow can't stand"),
]


@pytest.mark.parametrize(("expect", "reason"), REFUSED)
def test_a_condition_that_is_not_about_one_record_is_refused(expect: str, reason: str) -> None:
    with pytest.raises(FaultError, match=r"`quality\.rows\.kept\.expect`: ") as refusal:
        check_readable(asked(expect))
    assert reason in str(refusal.value)
    assert refusal.value.at == ("quality", "rows", "kept", "expect")


def test_words_in_quotes_are_no_clock() -> None:
    assert broken("text <> 'now'", {"text": "now"}, {"text": "then"}) == [0]


def test_what_accepted_records_break_is_counted_by_object() -> None:
    quality: dict[str, Any] = {"partitions": {"open_ones": {"share_of": "open", "minimum": 0.1}}}
    objects = {
        "a": ndjson([{"id": "1", "at": AT, "n": -1, "open": True}, {"id": "2", "at": AT, "open": True}, {"id": 3}]),
        "b": ndjson([{"id": "4", "at": AT}]),
        "c": b"not json",
    }  # fmt: skip
    dataset = asked("n > 0", **quality)
    found = Read(objects, dataset=dataset)
    names = dataset.quality.counted_as
    counted = {
        key: {name: outcome.counted[told] for name, told in names.items() if outcome.counted}
        for key, outcome in found.outcomes.items()
    }
    assert counted == {"a": {"kept": 1, "open_ones": 2}, "b": {"kept": 0, "open_ones": 0}, "c": {}}
    assert {name for outcome in found.outcomes.values() for name in outcome.counted} == set(names.values())
    assert len(found.accepted) == 3


@given(st.lists(st.tuples(st.integers(-3, 3) | st.none(), st.booleans()), max_size=40))
def test_what_is_counted_is_what_a_filter_finds(records: list[tuple[int | None, bool]]) -> None:
    body = ndjson([{"id": str(n), "at": AT, "n": value, "open": open_} for n, (value, open_) in enumerate(records)])
    dataset = asked("n > 0 OR open")
    counted = Read({"a": body}, dataset=dataset).outcomes["a"].counted.get(dataset.quality.counted_as["kept"], 0)
    assert counted == sum(value is not None and value <= 0 and not open_ for value, open_ in records)
