"""Changes: their total order, the newest of each key, what they do to the live rows, and the history."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import combinations
from typing import Any

import narwhals as nw
import pytest

from datalake_assets.lake.transforms import cdc
from datalake_assets_tests.frames import Constructor, assert_equal_rows, rows_of
from datalake_assets_tests.streams import table

NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)
LANDED = {
    "pair": "int64",
    "name": "string",
    "_is_change": "boolean",
    "_sequence_1": "decimal(38,0)",
    "_committed_at": "timestamp",
    "_file_time": "timestamp",
    "source_filename": "string",
    "_row_number": "int64",
}
CHANGE = {
    "id": "int64",
    "shop": "string",
    "_change_order": "string",
    "operation": "string",
    "event_date": "date",
    "_event_time": "timestamp",
    "_committed_at": "timestamp",
    "_content_hash": "string",
}
KEY = ["id", "shop"]
ORDER = ["_change_order", "_committed_at"]
HISTORY = [c for c in CHANGE if c != "_event_time"]


def landed(
    name: str, *, seq: int = 0, second: float = 0, hour: int = 0, path: str = "a", row: int = 1, load: bool = False
) -> dict[str, Any]:
    return {
        "name": name,
        "_is_change": not load,
        "_sequence_1": Decimal(seq),
        "_committed_at": NOON + timedelta(seconds=second),
        "_file_time": NOON + timedelta(hours=hour),
        "source_filename": path,
        "_row_number": row,
    }


def change(
    id_: int, order: str, operation: str = "U", *, day: int | None = 1, second: int = 0, content: str | None = None
) -> dict[str, Any]:
    """A change of a key; `day` is that of its event date in January, `second` its commit after noon."""
    return {
        "id": id_,
        "shop": "s",
        "_change_order": order,
        "operation": operation,
        "event_date": day and date(2026, 1, day),
        "_event_time": day and datetime(2026, 1, day, tzinfo=UTC),
        "_committed_at": NOON + timedelta(seconds=second),
        "_content_hash": order if content is None else content,
    }


def at(second: int) -> datetime:
    return NOON + timedelta(seconds=second)


IN_ORDER = [
    landed("the load comes first, though it was transferred later", second=9, load=True),
    landed("and so does its next file", second=9, load=True, path="b"),
    landed("a change without a sequence", second=8),
    landed("sequence 9", seq=9, second=7),
    landed("sequence 10 is more than 9", seq=10, second=6),
    landed("one sequence, another commit", seq=11, second=4.000001),
    landed("a microsecond later", seq=11, second=4.000002),
    landed("a second later", seq=11, second=5, path="z"),
    landed("a later file", seq=11, second=5, hour=1, path="a"),
    landed("the next file of this time", seq=11, second=5, hour=1, path="b", row=9),
    landed("row 10 is after row 9", seq=11, second=5, hour=1, path="b", row=10),
]
WITHOUT_SEQUENCE = [
    landed("load", second=99, load=True),
    landed("first", seq=9),
    landed("same commit, next row", seq=1, row=2),
    landed("same commit, next file", hour=1),
    landed("later, in the first file", second=1, row=3),
]


@pytest.mark.parametrize(("in_order", "sequences"), [(IN_ORDER, ("seq",)), (WITHOUT_SEQUENCE, ())])
def test_changes_have_a_total_order(
    frame: Constructor, in_order: Sequence[dict[str, Any]], sequences: tuple[str, ...]
) -> None:
    order = table(order_by=sequences).order_columns
    pairs = list(combinations(in_order, 2))
    rows = [change | {"pair": n} for n, pair in enumerate(pairs) for change in pair[::-1]]
    newest = rows_of(cdc.newest(frame(rows, LANDED), key=["pair"], order=order))
    assert {row["pair"]: row["name"] for row in newest} == {n: later["name"] for n, (_, later) in enumerate(pairs)}


def test_the_newest_change_of_each_key_stays(frame: Constructor) -> None:
    other_shop = change(1, "1") | {"shop": "t"}
    rows = [change(1, "1"), change(1, "3", "D"), change(1, "2"), other_shop, change(2, "1")]
    assert_equal_rows(cdc.newest(frame(rows, CHANGE), key=KEY, order=ORDER), [rows[1], other_shop, rows[4]])


DECISIONS: dict[str, tuple[dict[str, Any], str | None, str | None, dict[str, Any] | None]] = {
    # name: newest change of a batch, order of the live row, order of the tombstone, what comes of it
    "a new row": (change(1, "5", "I"), None, None, {"_deleted": False, "_replaces": False}),
    "an update": (change(2, "5"), "4", None, {"_deleted": False, "_replaces": True}),
    "an update that came before the row": (change(3, "5"), "6", None, None),
    "the same change again": (change(4, "5"), "5", None, None),
    "a delete": (change(5, "5", "D", day=None), "4", None, {"_deleted": True, "_replaces": True}),
    "a delete older than the row": (change(6, "5", "D", day=None), "6", None, None),
    "a delete of no row": (change(7, "5", "D", day=None), None, None, None),
    "an insert after a delete": (change(8, "5", "I"), None, "4", {"_deleted": False, "_replaces": False}),
    "a late change of a deleted row": (change(9, "5"), None, "6", None),
    "a delete whose tombstone alone was written": (
        change(10, "5", "D", day=None), "4", "5", {"_deleted": True, "_replaces": True}
    ),
    "a change between the row and its delete": (change(11, "5"), "4", "6", None),
    "an update after an old delete": (change(12, "5"), "4", "3", {"_deleted": False, "_replaces": True}),
}  # fmt: skip


OLD = {"_old_date": date(2026, 1, 20), "_old_commit": NOON}
NONE = {"_old_date": None, "_old_commit": None}


def test_what_the_newest_change_does_to_the_live_row(frame: Constructor) -> None:
    changes = [c for c, *_ in DECISIONS.values()]
    live = [change(c["id"], order, day=20, content=order) for c, order, *_ in DECISIONS.values() if order]
    tombstones = [change(c["id"], order) for c, _, order, _ in DECISIONS.values() if order]
    decided = cdc.decide(
        frame(changes, CHANGE), key=KEY, order=ORDER, live=frame(live, CHANGE), tombstones=frame(tombstones, CHANGE)
    )
    assert_equal_rows(
        decided,
        [
            c | outcome | (OLD if outcome["_replaces"] else NONE)
            for c, _, _, outcome in DECISIONS.values()
            if outcome is not None
        ],
    )


def test_a_first_batch_finds_no_tables(frame: Constructor) -> None:
    changes = frame([change(1, "1", "I"), change(2, "1", "D", day=None)], CHANGE)
    none = frame([], CHANGE)
    decided = cdc.decide(changes, key=KEY, order=ORDER, live=none, tombstones=none)
    assert_equal_rows(decided, [change(1, "1", "I") | {"_deleted": False, "_replaces": False} | NONE])


@pytest.mark.parametrize("known", [{}, {1: "1", 2: "2", 3: "3"}])
def test_a_delete_that_is_newer_than_the_known_leaves_a_tombstone(frame: Constructor, known: dict[int, str]) -> None:
    changes = [change(1, "2", "D"), change(2, "2", "D"), change(3, "2", "D"), change(4, "2", "D"), change(5, "2", "I")]
    tombstones = frame([change(i, o) for i, o in known.items()], CHANGE)
    found = cdc.new_tombstones(frame(changes, CHANGE), key=KEY, order=ORDER, tombstones=tombstones)
    expected = [1, 4] if known else [1, 2, 3, 4]
    assert_equal_rows(found, [{"id": i, "shop": "s", "_change_order": "2", "_committed_at": NOON} for i in expected])


def test_a_delete_that_an_insert_undid_leaves_its_tombstone_too(frame: Constructor) -> None:
    changes = [change(1, "2", "D"), change(1, "3", "I"), change(1, "1", "D")]
    found = cdc.new_tombstones(frame(changes, CHANGE), key=KEY, order=ORDER, tombstones=frame([], CHANGE))
    assert_equal_rows(found, [{"id": 1, "shop": "s", "_change_order": "2", "_committed_at": NOON}])


def validity(changes: nw.LazyFrame[Any]) -> nw.LazyFrame[Any]:
    return cdc.with_validity(changes, key=KEY, order=ORDER, columns=HISTORY)


def spans(rows: Sequence[dict[str, Any]], id_: int) -> list[tuple[Any, ...]]:
    """Operation, begin and end (seconds after noon), day and whether it is current, of one key in order."""
    return [
        (
            row["operation"],
            (row["valid_from"] - NOON).seconds,
            row["valid_to"] and (row["valid_to"] - NOON).seconds,
            row["event_date"] and row["event_date"].day,
            row["is_current"],
        )
        for row in sorted(rows, key=lambda r: r["_change_order"])
        if row["id"] == id_
    ]


def test_each_change_is_valid_until_the_next(frame: Constructor) -> None:
    plain = [change(1, "1", "L", second=1), change(1, "2", second=5), change(1, "3", "D", day=None, second=7)]
    again = [change(2, "1", "D", day=None, second=1), change(2, "2", "I", day=2, second=1)]
    back_in_time = [change(3, "1", "L", second=9), change(3, "2", second=4), change(3, "3", second=10)]
    one_transaction = [change(4, "1", content="A"), change(4, "2", content="B"), change(4, "3", content="A")]
    twice = [change(5, "1", content="A"), change(5, "2", content="A"), change(5, "3", second=3)]
    # What the history said before an insert came late: it held the delete for one of the row of day 1.
    date_comes_late = [
        change(6, "1", "I", day=1),
        change(6, "2", "U", day=2, second=1),
        change(6, "3", "D", second=2) | {"_event_time": None},
        change(6, "4", "D", day=None, second=3),
    ]
    full_delete = [change(7, "1", "I", day=1), change(7, "2", "D", day=3, second=1)]
    groups = (plain, again, back_in_time, one_transaction, twice, date_comes_late, full_delete)
    rows = rows_of(validity(frame([c for group in groups for c in group], CHANGE)))
    assert set(rows[0]) == {*HISTORY, "valid_from", "valid_to", "is_current"}
    assert spans(rows, 1) == [("L", 1, 5, 1, False), ("U", 5, 7, 1, False), ("D", 7, None, 1, False)]
    assert spans(rows, 2) == [("D", 1, 1, None, False), ("I", 1, None, 2, True)]
    assert spans(rows, 3) == [("L", 9, 9, 1, False), ("U", 9, 10, 1, False), ("U", 10, None, 1, True)]
    assert spans(rows, 4) == [("U", 0, 0, 1, False), ("U", 0, None, 1, True)]
    assert max(rows, key=lambda r: (r["id"] == 4, r["_change_order"]))["_content_hash"] == "A"
    assert spans(rows, 5) == [("U", 0, 3, 1, False), ("U", 3, None, 1, True)]
    assert spans(rows, 6) == [
        ("I", 0, 1, 1, False),
        ("U", 1, 2, 2, False),
        ("D", 2, 3, 2, False),
        ("D", 3, None, 2, False),
    ]
    assert spans(rows, 7) == [("I", 0, 1, 1, False), ("D", 1, None, 3, False)]


def test_only_what_differs_from_the_table_is_written_to_the_history(frame: Constructor) -> None:
    types = {c: CHANGE[c] for c in HISTORY} | {
        "valid_from": "timestamp",
        "valid_to": "timestamp",
        "is_current": "boolean",
    }

    def row(id_: int, order: str, *, day: int = 1, to: int | None = None) -> dict[str, Any]:
        made = change(id_, order, content="x", day=day) | {"valid_from": NOON, "is_current": to is None}
        made["valid_to"] = to and at(to)
        return {name: made[name] for name in types}

    same, ended, moved = row(1, "1"), row(2, "1"), row(3, "1", day=2)
    history = [same, row(2, "1", to=5), row(3, "1", day=3), row(4, "1"), row(5, "2", to=7)]
    existing = [same, ended, moved, row(5, "1", to=7)]
    changed = cdc.changed_history(frame(history, types), frame(existing, types), key=KEY, order=ORDER)
    assert_equal_rows(changed, [h | {"_replaces": n != 3} for n, h in enumerate(history) if n])
    first = cdc.changed_history(frame(history, types), frame([], types), key=KEY, order=ORDER)
    assert_equal_rows(first, [h | {"_replaces": False} for h in history])


def test_a_landed_record_that_is_read_again_stands_once(frame: Constructor) -> None:
    existing = [change(1, "1"), change(1, "2"), change(2, "1")]
    read = [change(1, "1"), change(1, "3")]
    known = cdc.known_changes(frame(read, CHANGE), frame(existing, CHANGE), key=KEY, order=ORDER, columns=list(CHANGE))
    assert_equal_rows(known, [*read, *existing[1:]])
    alone = cdc.known_changes(
        frame(read, CHANGE), frame([], CHANGE), key=KEY, order=ORDER, columns=["id", "_change_order"]
    )
    assert_equal_rows(alone, [{"id": 1, "_change_order": "1"}, {"id": 1, "_change_order": "3"}])
