"""The ledger remembers each landed object once, by its identity, in one partition, with what became of it."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from datalake_assets.lake.spec.tables import LEDGER
from datalake_assets.lake.store.landing import LandedObject
from datalake_assets.lake.store.ledger import Ledger
from datalake_assets.lake.store.ledger_lookup import Known, Waiting
from datalake_assets.lake.store.ledger_rows import Identity
from datalake_assets.lake.store.outcome import ObjectOutcome
from datalake_assets.lake.store.table import Table
from datalake_assets_tests.streams import HOUR, landed, stream

CLICKS = stream()
VIEWS = stream(name="views", landing={"prefix": "firehose/views"})
NEXT_HOUR = "2026-03-01-11:00"
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
SUNDAY, MONDAY = date(2026, 3, 1), date(2026, 3, 2)


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    """A ledger that does not exist yet."""
    return Ledger(Table(LEDGER, str(tmp_path / "ledger")))


def as_listed(landed: LandedObject) -> LandedObject:
    """Identify an object whose etag the listing tells."""
    return landed


def admit(ledger: Ledger, *objects: LandedObject, at: datetime = NOW) -> int:
    return ledger.admit(CLICKS, objects, identify=as_listed, now=at)


def waiting(ledger: Ledger, *objects: LandedObject, at: datetime = NOW) -> Waiting:
    return ledger.waiting(CLICKS, objects, identify=as_listed, now=at)


def outcome(o: LandedObject, **values: Any) -> ObjectOutcome:
    """What became of an object: it was processed, unless keywords tell otherwise."""
    return ObjectOutcome(key=o.key, etag=o.etag, size=o.size, partition=o.partition, **values)


def complete(ledger: Ledger, *outcomes: ObjectOutcome, at: datetime = NOW) -> None:
    ledger.note(CLICKS, begun={}, completed=outcomes, now=at)


def begin(ledger: Ledger, o: LandedObject, *dates: date, overwriting: Iterable[Identity] = ()) -> frozenset[Identity]:
    return ledger.note(CLICKS, begun={o.identity: dates}, completed=(), now=NOW, overwriting=set(overwriting))


def column(ledger: Ledger, name: str) -> dict[tuple[str, str], Any]:
    """A column of the ledger by key and etag."""
    rows = ledger.rows("clicks").select("key", "etag", name).rows()
    found = {(key, etag): value for key, etag, value in rows}
    assert len(found) == len(rows), "an identity stands twice"
    return found


def status(ledger: Ledger) -> dict[str, str]:
    """The status of objects by key and etag, such as `a 1`."""
    return {" ".join(identity): found for identity, found in column(ledger, "status").items()}


def to_read(ledger: Ledger, *partitions: str, at: datetime = NOW) -> dict[str, Known]:
    """What is to be read, by key and etag."""
    found = ledger.to_read("clicks", partitions or None, now=at)
    return {f"{k.landed.key} {k.landed.etag}": k for k in found}


def keys(objects: Sequence[LandedObject]) -> list[str]:
    return [o.key for o in objects]


def test_an_object_admitted_twice_is_entered_once(ledger: Ledger) -> None:
    assert admit(ledger, landed("a"), landed("b")) == 2
    assert admit(ledger, landed("a"), landed("b"), landed("c")) == 1
    assert admit(ledger, landed("a"), landed("a")) == 0
    assert list(to_read(ledger, HOUR)) == ["a 1", "b 1", "c 1"]
    assert ledger.all_rows().collect().height == 3


def test_each_dataset_has_its_own_objects(ledger: Ledger) -> None:
    admit(ledger, landed("a"))
    assert ledger.admit(VIEWS, [landed("a")], identify=as_listed, now=NOW) == 1
    assert ledger.to_read("orders", [HOUR], now=NOW) == []
    ledger.note(VIEWS, begun={}, completed=[outcome(landed("a"))], now=NOW)
    assert status(ledger) == {"a 1": "admitted"}


@pytest.mark.parametrize("change", [{"etag": "2"}, {"size": 11}])
def test_another_etag_or_size_makes_another_object_of_one_key(ledger: Ledger, change: dict[str, Any]) -> None:
    first, second = landed("LOAD00000001.parquet"), landed("LOAD00000001.parquet", **change)
    admit(ledger, first)
    assert waiting(ledger, second).now == [second]
    assert admit(ledger, second) == 1
    assert [k.landed.identity for k in to_read(ledger, HOUR).values()] == [second.identity]
    assert sorted(ledger.rows("clicks")["status"]) == ["admitted", "superseded"]  # the older bytes are gone


@pytest.mark.parametrize("age", [timedelta(hours=-1), timedelta(0), timedelta(hours=1)])
def test_new_bytes_supersede_the_old_ones_whatever_their_time_tells(ledger: Ledger, age: timedelta) -> None:
    """A restored file with an older time was never read, and waited for ever."""
    first = landed("a")
    second = landed("a", etag="2", last_modified=first.last_modified - age)
    admit(ledger, first)
    complete(ledger, outcome(first))
    admit(ledger, second)
    assert status(ledger) == {"a 1": "superseded", "a 2": "admitted"}
    complete(ledger, outcome(second))
    assert status(ledger) == {"a 1": "superseded", "a 2": "processed"}
    assert waiting(ledger, second).now == []


def test_bytes_that_are_put_back_are_the_object_that_they_were(ledger: Ledger) -> None:
    """The same bytes put again made a second row of one identity, and every completion failed from then on."""
    first, second = landed("a"), landed("a", etag="2")
    for o in (first, second):
        admit(ledger, o)
        complete(ledger, outcome(o))
    assert waiting(ledger, first).known == [first]
    assert admit(ledger, first) == 0
    assert status(ledger) == {"a 1": "admitted", "a 2": "superseded"}
    complete(ledger, outcome(first))
    assert status(ledger) == {"a 1": "processed", "a 2": "superseded"}


def test_an_object_waits_until_it_is_processed(ledger: Ledger) -> None:
    a, b, c = landed("a"), landed("b"), landed("c")
    assert keys(waiting(ledger, a, b, c).now) == ["a", "b", "c"]
    admit(ledger, a, b)
    assert keys(waiting(ledger, a, b, c).now) == ["a", "b", "c"]
    complete(ledger, outcome(a))
    assert keys(waiting(ledger, a, b, c).now) == ["b", "c"]
    assert list(to_read(ledger, HOUR)) == ["b 1"]
    assert to_read(ledger, NEXT_HOUR) == {}


def test_a_replay_opens_the_objects_of_its_partitions_and_keeps_what_is_known_of_them(ledger: Ledger) -> None:
    a, b, later = landed("a"), landed("b"), landed("c", partition=NEXT_HOUR)
    admit(ledger, a, b, later)
    complete(ledger, outcome(a, event_dates=(SUNDAY,)), outcome(b, state="failed", final=True, error="torn"))
    complete(ledger, outcome(later))
    assert ledger.reopen("clicks", [HOUR]) == 2
    assert status(ledger) == {"a 1": "admitted", "b 1": "admitted", "c 1": "processed"}
    known = to_read(ledger)["a 1"]
    assert (known.begun, known.was_processed, known.dates) == (True, True, frozenset({SUNDAY}))


def test_a_replay_of_event_dates_opens_the_objects_that_have_events_of_them(ledger: Ledger) -> None:
    a, b = landed("a"), landed("b", partition=NEXT_HOUR)
    admit(ledger, a, b)
    complete(ledger, outcome(a, event_dates=(SUNDAY,)), outcome(b, event_dates=(MONDAY,)))
    assert ledger.reopen_dates("clicks", MONDAY, None) == [NEXT_HOUR]
    assert status(ledger) == {"a 1": "processed", "b 1": "admitted"}


def test_a_damaged_object_is_tried_no_more_and_tells_why(ledger: Ledger) -> None:
    a = landed("a")
    admit(ledger, a)
    complete(ledger, outcome(a, state="failed", final=True, error="gzip: cut off"))
    rows = ledger.rows("clicks").select("status", "reason", "contract", "retry_at").to_dicts()
    assert rows == [{"status": "failed", "reason": "gzip: cut off", "contract": CLICKS.contract, "retry_at": None}]
    assert waiting(ledger, a, at=NOW + timedelta(days=99)) == Waiting([], [], [])


def test_an_object_that_failed_for_now_is_tried_again_after_growing_waits_up_to_a_day(ledger: Ledger) -> None:
    a, now, waits = landed("a"), NOW, []
    admit(ledger, a)
    for _ in range(14):
        complete(ledger, outcome(a, state="failed", error="forbidden"), at=now)
        again = column(ledger, "retry_at")["a", "1"]
        waits.append(again - now)
        assert waiting(ledger, a, at=again - timedelta(seconds=1)).now == []
        assert to_read(ledger, HOUR, at=again - timedelta(seconds=1)) == {}
        assert keys(waiting(ledger, a, at=again).now) == ["a"]
        assert list(to_read(ledger, HOUR, at=again)) == ["a 1"]
        now = again
    assert waits[:3] == [timedelta(minutes=1), timedelta(minutes=2), timedelta(minutes=4)]
    assert waits[-1] == timedelta(hours=24)
    (line,) = waiting(ledger, a, at=now - timedelta(seconds=1)).later
    assert line == f"a: forbidden; next try {now:%Y-%m-%d %H:%M} UTC"
    complete(ledger, outcome(a), at=now)
    assert column(ledger, "attempts") == {("a", "1"): 0}


def test_an_object_read_again_has_its_newest_counts_and_contract(ledger: Ledger) -> None:
    a, other = landed("a"), stream(properties={"n": {"type": "integer"}})
    admit(ledger, a)
    complete(ledger, outcome(a, state="failed", final=True, error="gzip: cut off"))
    ledger.note(other, begun={}, completed=[outcome(a, rows_in=8, rows_out=7, rows_rejected=1)], now=NOW)
    rows = ledger.rows("clicks").select("status", "rows_in", "rows_out", "rows_rejected", "reason", "contract").rows()
    assert rows == [("processed", 8, 7, 1, None, other.contract)]


def test_an_object_that_is_away_is_missing_and_looked_for_again(ledger: Ledger) -> None:
    """Away for one read, it was failed for ever."""
    a = landed("a")
    admit(ledger, a)
    complete(ledger, outcome(a, state="missing", error="there is no such object"))
    assert status(ledger) == {"a 1": "missing"}
    assert to_read(ledger) == {}
    assert waiting(ledger, a).now == [a]
    admit(ledger, a)
    assert status(ledger) == {"a 1": "admitted"}


def test_an_object_that_is_gone_after_it_was_processed_keeps_what_it_said(ledger: Ledger) -> None:
    """Replaying an object that bronze had let go turned it from processed to failed."""
    a = landed("a")
    admit(ledger, a)
    complete(ledger, outcome(a, rows_out=3, event_dates=(SUNDAY,)))
    ledger.reopen("clicks", [HOUR])
    complete(ledger, outcome(a, state="missing", error="there is no such object"))
    rows = ledger.rows("clicks").select("status", "rows_out", "event_dates").rows()
    assert rows == [("processed", 3, [SUNDAY])]
    assert "what it said is kept" in column(ledger, "reason")["a", "1"]


def test_an_object_overwritten_before_it_was_read_does_not_count_as_processed(ledger: Ledger) -> None:
    a = landed("a")
    admit(ledger, a)
    complete(ledger, outcome(a, state="superseded", error="other bytes lie there"))
    assert status(ledger) == {"a 1": "superseded"}


def test_what_is_about_to_be_written_is_noted_before_it_is(ledger: Ledger) -> None:
    a = landed("a")
    admit(ledger, a)
    assert not to_read(ledger)["a 1"].begun
    assert begin(ledger, a, SUNDAY) == frozenset()
    begin(ledger, a, MONDAY)  # another try, after the first died
    known = to_read(ledger)["a 1"]
    assert (known.begun, known.was_processed, known.dates) == (True, False, frozenset({SUNDAY, MONDAY}))
    complete(ledger, outcome(a, event_dates=(MONDAY,)))
    assert column(ledger, "event_dates") == {("a", "1"): [MONDAY]}


def test_one_commit_notes_what_begins_and_what_is_completed(ledger: Ledger) -> None:
    a, b = landed("a"), landed("b")
    admit(ledger, a, b)
    before = ledger.table.open().version
    ledger.note(CLICKS, begun={b.identity: [SUNDAY]}, completed=[outcome(a)], now=NOW)
    assert ledger.table.open().version == before + 1
    assert status(ledger) == {"a 1": "processed", "b 1": "admitted"}
    assert to_read(ledger)["b 1"].begun


def test_an_object_knows_of_the_dates_of_what_lay_under_its_key_until_these_are_taken_back(ledger: Ledger) -> None:
    first, second = landed("a"), landed("a", etag="2")
    admit(ledger, first)
    complete(ledger, outcome(first, event_dates=(SUNDAY,)))
    admit(ledger, second)
    known = to_read(ledger)["a 2"]
    assert (known.overwrites, known.begun, known.dates) == (True, True, frozenset({SUNDAY}))
    assert begin(ledger, second, MONDAY, overwriting=[second.identity]) == frozenset()
    complete(ledger, outcome(second, event_dates=(MONDAY,)))
    ledger.reopen("clicks", [HOUR])
    known = to_read(ledger)["a 2"]
    assert (known.overwrites, known.dates) == (False, frozenset({MONDAY}))


def test_what_a_step_may_still_write_is_taken_back_once_more_when_the_step_counts_as_dead(ledger: Ledger) -> None:
    first, second = landed("a"), landed("a", etag="2")
    admit(ledger, first)
    begin(ledger, first, SUNDAY)
    admit(ledger, second)
    complete(ledger, outcome(second, event_dates=(MONDAY,)))
    assert waiting(ledger, second, at=NOW + timedelta(minutes=14)).now == []
    later = NOW + timedelta(minutes=15)
    assert waiting(ledger, second, at=later).now == waiting(ledger, second, at=later).known == [second]
    admit(ledger, second, at=later)
    known = to_read(ledger)["a 2"]
    assert (known.overwrites, known.dates) == (True, frozenset({SUNDAY, MONDAY}))
    complete(ledger, outcome(second, event_dates=(MONDAY,)), at=later)
    assert waiting(ledger, second, at=later).now == []


def test_what_was_overwritten_since_a_step_asked_for_it_is_not_begun(ledger: Ledger) -> None:
    first, second = landed("a"), landed("a", etag="2")
    admit(ledger, first)
    admit(ledger, second)
    assert begin(ledger, first, SUNDAY) == {first.identity}
    assert status(ledger) == {"a 1": "superseded", "a 2": "admitted"}
    assert not to_read(ledger)["a 2"].overwrites


def test_what_overwrites_something_unknown_to_its_step_is_not_begun(ledger: Ledger) -> None:
    first, second = landed("a"), landed("a", etag="2")
    admit(ledger, first)
    begin(ledger, first, SUNDAY)
    admit(ledger, second)
    assert begin(ledger, second, MONDAY) == {second.identity}
    assert begin(ledger, second, MONDAY, overwriting=[second.identity]) == frozenset()


def test_an_object_that_was_overwritten_while_it_was_written_is_taken_back_by_the_next(ledger: Ledger) -> None:
    first, second = landed("a"), landed("a", etag="2")
    admit(ledger, first)
    begin(ledger, first, SUNDAY)
    admit(ledger, second)
    complete(ledger, outcome(second, event_dates=(MONDAY,)))
    complete(ledger, outcome(first, event_dates=(SUNDAY,)))  # the late one
    assert status(ledger) == {"a 1": "superseded", "a 2": "admitted"}
    assert to_read(ledger)["a 2"].dates == {SUNDAY, MONDAY}


def test_an_outcome_of_an_object_that_was_never_admitted_is_not_entered(ledger: Ledger) -> None:
    admit(ledger, landed("a"))
    complete(ledger, outcome(landed("b")))
    assert status(ledger) == {"a 1": "admitted"}


def test_objects_of_several_months_are_completed_together(ledger: Ledger) -> None:
    march, april = landed("2026/03/01/10/a"), landed("2026/04/01/00/b", partition="2026-04-01-00:00")
    admit(ledger, march, april)
    complete(ledger, outcome(march), outcome(april))
    assert set(status(ledger).values()) == {"processed"}
    assert set(column(ledger, "bucket").values()) == {"2026-03", "2026-04"}


@pytest.mark.parametrize("seconds", [-30, 30, 3_600])
def test_an_object_keeps_the_partition_it_was_admitted_to_whatever_the_clock_says(ledger: Ledger, seconds: int) -> None:
    """Half a minute of skew at the full hour, and one object stood in the ledger twice."""
    first = landed("2031/a")
    seen_otherwise = replace(first, partition=NEXT_HOUR, last_modified=first.last_modified + timedelta(seconds=seconds))
    admit(ledger, first)
    assert waiting(ledger, seen_otherwise).now == [replace(seen_otherwise, partition=HOUR)]
    assert admit(ledger, seen_otherwise) == 0
    complete(ledger, outcome(first))
    assert waiting(ledger, seen_otherwise).now == []


def test_an_object_is_recognised_by_what_its_listing_shows_and_not_read_for_it(ledger: Ledger) -> None:
    listed = landed("a", etag="", stamp="s1")
    identified: list[str] = []

    def identify(o: LandedObject) -> LandedObject:
        identified.append(o.stamp)
        return replace(o, etag="1")

    ledger.admit(CLICKS, [listed], identify=identify, now=NOW)
    identified.clear()
    complete(ledger, outcome(landed("a")))
    assert ledger.waiting(CLICKS, [listed], identify=identify, now=NOW) == Waiting([], [], [])
    assert identified == []


def test_a_copied_object_is_the_same_one_and_is_recognised_by_its_new_look_from_then_on(ledger: Ledger) -> None:
    """Copying a lake, with its files' new inodes, made it land once more."""
    admit(ledger, landed("a", stamp="s1"))
    complete(ledger, outcome(landed("a")))
    copied = landed("a", stamp="s2")
    assert waiting(ledger, copied) == Waiting([], [copied], [])
    assert admit(ledger, copied) == 0
    assert waiting(ledger, copied) == Waiting([], [], [])
    assert status(ledger) == {"a 1": "processed"}


def test_an_object_that_vanished_before_it_was_identified_is_no_object(ledger: Ledger) -> None:
    listed = [landed("a", etag="", stamp="s1")]
    assert ledger.waiting(CLICKS, listed, identify=lambda _: None, now=NOW) == Waiting([], [], [])
    assert ledger.admit(CLICKS, listed, identify=lambda _: None, now=NOW) == 0


def test_many_commits_leave_few_files_and_every_row(ledger: Ledger) -> None:
    names = [f"{n:03}" for n in range(40)]
    for name in names:
        admit(ledger, landed(name))
    assert [identity.removesuffix(" 1") for identity in status(ledger)] == names
    assert ledger.table.open().files.height < 20
