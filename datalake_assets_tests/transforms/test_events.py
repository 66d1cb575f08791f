"""Events: one row for each, and the copy that stays is chosen by the data."""

from datetime import UTC, date, datetime
from typing import Any

from datalake_assets.lake.transforms.events import beside_existing, winners, without
from datalake_assets_tests.frames import Constructor, assert_equal_rows, rows_of

TYPES = {
    "id": "string",
    "event_date": "date",
    "_event_time": "timestamp",
    "record_hash": "string",
    "quality_score": "double",
    "source_filename": "string",
    "_row_number": "int64",
}


def event(
    name: str, *, hour: int = 1, day: int = 1, content: str = "a", score: float = 1.0, file: str = "f", row: int = 1
) -> dict[str, Any]:
    return {
        "id": name,
        "event_date": date(2026, 1, day),
        "_event_time": datetime(2026, 1, day, hour, tzinfo=UTC),
        "record_hash": content,
        "quality_score": score,
        "source_filename": file,
        "_row_number": row,
    }


def test_of_copies_the_latest_wins_then_the_greatest_content_and_the_same_key_on_two_dates_is_two_events(
    frame: Constructor,
) -> None:
    alone = event("alone")
    later = [event("later", hour=2), event("later", hour=3, content="0"), event("later", hour=1, content="z")]
    equal_time = [event("content", content="b"), event("content", content="c"), event("content", content="a")]
    dates = [event("dates", day=1), event("dates", day=2)]
    chosen = winners(frame([alone, *later, *equal_time, *dates], TYPES), identity=["id"])
    assert_equal_rows(chosen, [alone, later[1], equal_time[1], *dates])


def test_of_equal_copies_the_one_that_landed_in_time_is_shown(frame: Constructor) -> None:
    copies = [event("a", score=0.5, file="z"), event("a", score=0.8, file="b"), event("a", score=0.8, file="a")]
    assert_equal_rows(winners(frame(copies, TYPES), identity=["id"]), [copies[1]])


def test_of_equal_copies_the_last_landed_record_is_shown(frame: Constructor) -> None:
    copies = [event("a", file="f", row=9), event("a", file="g", row=2), event("a", file="g", row=1)]
    assert_equal_rows(winners(frame(copies, TYPES), identity=["id"]), [copies[1]])


def test_without_a_key_equal_records_are_one_event(frame: Constructor) -> None:
    rows = [event("x", content="a"), event("x", content="b"), event("x", content="a", row=2)]
    assert_equal_rows(winners(frame(rows, TYPES), identity=["record_hash"]), rows[1:])


def test_a_copy_is_new_to_the_table_or_outranks_the_one_it_has_or_neither(frame: Constructor) -> None:
    have = [event(n, hour=5, content="m") for n in ("same", "earlier", "later", "less", "more")]
    have += [event(n, hour=5, content="m", score=0.5) for n in ("better", "worse")]
    batch = {
        "same": event("same", hour=5, content="m"),
        "earlier": event("earlier", hour=4, content="z"),
        "later": event("later", hour=6, content="a"),
        "less": event("less", hour=5, content="l"),
        "more": event("more", hour=5, content="n"),
        "better": event("better", hour=5, content="m", score=0.6),
        "worse": event("worse", hour=5, content="m", score=0.4),
        "other date": event("same", day=2),
        "new": event("new"),
    }
    found = beside_existing(frame(list(batch.values()), TYPES), frame(have, TYPES), identity=["id"])
    outranks, is_new = (False, True), (True, False)
    ranks = {"later": outranks, "more": outranks, "better": outranks, "other date": is_new, "new": is_new}
    told = {name: dict(zip(("_is_new", "_outranks"), ranks.get(name, (False, False)), strict=True)) for name in batch}
    assert_equal_rows(found, [row | told[name] for name, row in batch.items()])


def test_all_is_new_to_an_empty_table(frame: Constructor) -> None:
    found = beside_existing(frame([event("a"), event("b")], TYPES), frame([], TYPES), identity=["id"])
    assert {(row["id"], row["_is_new"], row["_outranks"]) for row in rows_of(found)} == {
        ("a", True, False),
        ("b", True, False),
    }


def test_without_a_key_what_the_table_has_is_not_new(frame: Constructor) -> None:
    existing = frame([event("x", content="a")], TYPES)
    batch = frame([event("x", content="a"), event("x", content="b")], TYPES)
    found = beside_existing(batch, existing, identity=["record_hash"])
    marks = {row["record_hash"]: (row["_is_new"], row["_outranks"]) for row in rows_of(found)}
    assert marks == {"a": (False, False), "b": (True, False)}


def test_a_record_is_another_where_other_bytes_lie_in_its_place(frame: Constructor) -> None:
    kept = [event("a"), event("b", row=2)]
    again = [event("a"), event("a", content="b"), event("c", row=3)]
    assert_equal_rows(without(frame(again, TYPES), frame(kept, TYPES)), again[1:])
