"""Events: one row for each, and the copy that stays is chosen by the data."""

from datetime import UTC, date, datetime
from typing import Any

import pytest

from datalake_assets.lake.transforms.events import choose_copies, news
from datalake_assets_tests.frames import Constructor, assert_equal_rows

TYPES = {"id": "string", "event_date": "date", "_event_time": "timestamp", "record_hash": "string"}


def event(name: str, *, hour: int = 1, day: int = 1, content: str = "a") -> dict[str, Any]:
    return {
        "id": name,
        "event_date": date(2026, 1, day),
        "_event_time": datetime(2026, 1, day, hour, tzinfo=UTC),
        "record_hash": content,
    }


def test_of_copies_the_latest_stays_then_the_greatest_content_and_the_same_key_on_two_dates_is_two_events(
    frame: Constructor,
) -> None:
    alone = event("alone")
    later = [event("later", hour=2), event("later", hour=3, content="0"), event("later", hour=1, content="z")]
    equal_time = [event("content", content="b"), event("content", content="c"), event("content", content="a")]
    equal = [event("equal"), event("equal"), event("equal")]
    dates = [event("dates", day=1), event("dates", day=2)]
    chosen = choose_copies(frame([alone, *later, *equal_time, *equal, *dates], TYPES), identity=["id"])
    assert_equal_rows(chosen, [alone, later[1], equal_time[1], equal[0], *dates])


def test_without_a_key_equal_records_are_one_event(frame: Constructor) -> None:
    rows = [event("x", content="a"), event("x", content="b"), event("x", content="a")]
    assert_equal_rows(choose_copies(frame(rows, TYPES), identity=["record_hash"]), rows[:2])


def test_news_are_what_the_table_lacks_and_what_outranks_the_copy_it_has(frame: Constructor) -> None:
    have = [event(n, hour=5, content="m") for n in ("same", "earlier", "later", "less", "more")]
    batch = {
        "same": event("same", hour=5, content="m"),
        "earlier": event("earlier", hour=4, content="z"),
        "later": event("later", hour=6, content="a"),
        "less": event("less", hour=5, content="l"),
        "more": event("more", hour=5, content="n"),
        "other date": event("same", day=2),
        "new": event("new"),
    }
    found = news(frame(list(batch.values()), TYPES), frame(have, TYPES), identity=["id"])
    assert_equal_rows(
        found,
        [
            batch["later"] | {"_replaces": True},
            batch["more"] | {"_replaces": True},
            batch["other date"] | {"_replaces": False},
            batch["new"] | {"_replaces": False},
        ],
    )


@pytest.mark.parametrize("table", [None, []])
def test_all_is_news_to_a_table_that_is_missing_or_empty(
    frame: Constructor, table: list[dict[str, Any]] | None
) -> None:
    existing = None if table is None else frame(table, TYPES)
    found = news(frame([event("a"), event("b")], TYPES), existing, identity=["id"])
    assert_equal_rows(found, [event("a") | {"_replaces": False}, event("b") | {"_replaces": False}])


def test_without_a_key_what_the_table_has_is_no_news(frame: Constructor) -> None:
    existing = frame([event("x", content="a")], TYPES)
    found = news(frame([event("x", content="a"), event("x", content="b")], TYPES), existing, identity=["record_hash"])
    assert_equal_rows(found, [event("x", content="b") | {"_replaces": False}])
