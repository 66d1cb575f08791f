"""The ledger remembers each landed object once, in one partition, with what became of it."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from datalake_assets.lake.spec.dataset import EventStream
from datalake_assets.lake.spec.tables import LEDGER
from datalake_assets.lake.store.landing import LandedObject
from datalake_assets.lake.store.ledger import Known, Ledger, Waiting
from datalake_assets.lake.store.outcome import ObjectOutcome
from datalake_assets.lake.store.table import Table
from datalake_assets_tests import streams
from datalake_assets_tests.streams import HOUR, stream

NEXT_HOUR = "2026-03-01-11:00"
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
MARCH, APRIL = date(2026, 3, 1), date(2026, 4, 1)
BOTH = frozenset({MARCH, APRIL})
CLICKS = stream()
VIEWS = stream(name="views", landing={"prefix": "firehose/views"})


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    """A ledger that does not exist yet."""
    return Ledger(Table(LEDGER, str(tmp_path / "ledger")))


def landed(name: str, **changes: Any) -> LandedObject:
    """An object in the folder of 10 o'clock, or in one of its own, whose stamp tells its bytes apart."""
    key = f"firehose/clicks/{name}" if "/" in name else f"firehose/clicks/2026/03/01/10/{name}"
    plain = streams.landed(key, **changes)
    return plain if "stamp" in changes else replace(plain, stamp=f"stamp-{plain.etag}-{plain.size}")


def identify(o: LandedObject) -> LandedObject | None:
    """What the bytes tell of an object whose listing has no etag."""
    return replace(o, etag="1")


def nothing_is_there(_: LandedObject) -> LandedObject | None:
    return None


def admit(ledger: Ledger, *objects: LandedObject, of: EventStream = CLICKS, now: datetime = NOW) -> int:
    return ledger.admit(of, objects, identify=identify, now=now)


def waiting(ledger: Ledger, *objects: LandedObject, now: datetime = NOW) -> Waiting:
    return ledger.waiting(CLICKS, objects, identify=identify, now=now)


def outcome(o: LandedObject, **changes: Any) -> ObjectOutcome:
    """What became of an object: one accepted record of 1 March, unless told otherwise."""
    facts: dict[str, Any] = {"rows_in": 1, "rows_out": 1, "event_dates": (MARCH,)}
    return ObjectOutcome(key=o.key, etag=o.etag, size=o.size, partition=o.partition, **(facts | changes))


def failure(o: LandedObject, error: str = "no network", **changes: Any) -> ObjectOutcome:
    return outcome(o, state="failed", error=error, rows_in=0, rows_out=0, event_dates=(), **changes)


def gone(o: LandedObject) -> ObjectOutcome:
    return outcome(o, state="missing", error="not there", rows_in=0, rows_out=0, event_dates=())


def begin(
    ledger: Ledger, o: LandedObject, *dates: date, of: EventStream = CLICKS, overwriting: Sequence[LandedObject] = ()
) -> bool:
    """Note that an object is about to be written; returns whether it may be."""
    over = [other.identity for other in overwriting]
    return not ledger.note(of, begun={o.identity: dates}, completed=[], now=NOW, overwriting=over)


def complete(ledger: Ledger, *outcomes: ObjectOutcome, of: EventStream = CLICKS, now: datetime = NOW) -> None:
    assert ledger.note(of, begun={}, completed=outcomes, now=now) == frozenset()


def facts(ledger: Ledger, *columns: str) -> list[tuple[Any, ...]]:
    return ledger.rows("clicks").select(columns).rows()


def status(ledger: Ledger) -> dict[tuple[str, str], str]:
    """The status of objects by name and etag."""
    return {(key.rpartition("/")[2], etag): at for key, etag, at in facts(ledger, "key", "etag", "status")}


def names(objects: Sequence[LandedObject | Known]) -> list[str]:
    keys = [o.landed.key if isinstance(o, Known) else o.key for o in objects]
    return [key.rpartition("/")[2] for key in keys]


def due(ledger: Ledger, *partitions: str, now: datetime = NOW) -> list[Known]:
    return ledger.to_read("clicks", partitions or None, now=now)


# --- one row for each object


def test_an_object_admitted_twice_is_entered_once(ledger: Ledger) -> None:
    a, b, c = landed("a"), landed("b"), landed("c")
    assert admit(ledger, a, b) == 2
    assert admit(ledger, a, b, c) == 1
    version = ledger.table.open().version
    assert admit(ledger, a, b, c) == 0
    assert ledger.table.open().version == version
    assert names(due(ledger)) == ["a", "b", "c"]
    assert ledger.all_rows().collect().height == 3


def test_an_object_that_is_listed_twice_is_entered_by_its_later_look(ledger: Ledger) -> None:
    assert admit(ledger, landed("a"), landed("a", etag="2")) == 1
    assert status(ledger) == {("a", "2"): "admitted"}


def test_each_source_has_its_own_objects(ledger: Ledger) -> None:
    admit(ledger, landed("a"))
    assert admit(ledger, landed("a"), of=VIEWS) == 1
    assert names(due(ledger)) == ["a"]
    assert ledger.to_read("orders", None, now=NOW) == []


def test_a_row_stays_one_through_everything_that_befalls_its_object(ledger: Ledger) -> None:
    a = landed("a")
    admit(ledger, a)
    complete(ledger, gone(a))
    admit(ledger, a)
    complete(ledger, failure(a))
    begin(ledger, a, MARCH)
    complete(ledger, outcome(a))
    ledger.reopen("clicks", [HOUR])
    complete(ledger, outcome(a))
    assert facts(ledger, "status", "rows_out", "attempts") == [("processed", 1, 0)]


@pytest.mark.parametrize("change", [{"etag": "2"}, {"size": 11}])
def test_other_bytes_under_a_key_supersede_what_lay_there(ledger: Ledger, change: dict[str, Any]) -> None:
    first, second = landed("a"), landed("a", **change)
    admit(ledger, first)
    complete(ledger, failure(first))
    assert admit(ledger, second) == 1
    assert [(k.landed, k.begun, k.overwrites) for k in due(ledger)] == [(second, False, False)]
    assert sorted(facts(ledger, "status", "retry_at")) == [("admitted", None), ("superseded", None)]


def test_bytes_that_return_are_the_object_that_they_were(ledger: Ledger) -> None:
    first, second = landed("a"), landed("a", etag="2")
    admit(ledger, first)
    complete(ledger, outcome(first))
    admit(ledger, second)
    begin(ledger, second, APRIL, overwriting=[second])
    assert waiting(ledger, first).known == [first]
    assert admit(ledger, first) == 0
    assert status(ledger) == {("a", "1"): "admitted", ("a", "2"): "superseded"}
    (known,) = due(ledger)
    assert (known.landed, known.dates, known.overwrites) == (first, BOTH, True)


def test_an_object_keeps_the_partition_that_it_was_admitted_to(ledger: Ledger) -> None:
    """One dated in the future is in the current partition, so that each look would have it in another."""
    first, later = landed("2031/a"), landed("2031/a", partition=NEXT_HOUR)
    admit(ledger, first)
    assert waiting(ledger, later).now == [first]
    assert admit(ledger, later) == 0
    complete(ledger, outcome(later))
    assert waiting(ledger, later).now == []
    assert facts(ledger, "partition", "status") == [(HOUR, "processed")]


def test_objects_whose_names_tell_no_date_are_kept_together(ledger: Ledger) -> None:
    undated, april = landed("no/date"), landed("2026/04/01/00/b", partition="2026-04-01-00:00")
    admit(ledger, landed("a"), undated, april)
    assert facts(ledger, "bucket", "partition") == [
        ("2026-03", HOUR),
        ("2026-04", "2026-04-01-00:00"),
        ("undated", HOUR),
    ]
    complete(ledger, *(outcome(o) for o in (landed("a"), undated, april)))
    assert waiting(ledger, undated, april).now == []
    assert set(status(ledger).values()) == {"processed"}
    assert admit(ledger, replace(undated, partition=NEXT_HOUR, etag="2", stamp="new")) == 1
    assert [b for b, at in facts(ledger, "bucket", "status") if at == "superseded"] == ["undated"]


# --- recognising


def test_an_object_is_recognised_by_its_stamp_without_its_bytes(ledger: Ledger) -> None:
    seen: list[str] = []

    def reading(o: LandedObject) -> LandedObject:
        seen.append(o.key)
        return replace(o, etag="1")

    unread = landed("a", etag="", stamp="s")
    for _ in range(3):
        ledger.admit(CLICKS, [unread], identify=reading, now=NOW)
    assert len(seen) == 1
    assert ledger.waiting(CLICKS, [unread], identify=reading, now=NOW).now == [replace(unread, etag="1")]
    assert len(seen) == 1


def test_the_same_bytes_by_another_look_get_the_new_stamp(ledger: Ledger) -> None:
    admit(ledger, landed("a", stamp="s"))
    complete(ledger, outcome(landed("a")))
    touched = landed("a", etag="", stamp="t")
    found = waiting(ledger, touched)
    assert (found.now, found.known) == ([], [replace(touched, etag="1")])
    assert admit(ledger, touched) == 0
    assert facts(ledger, "stamp", "status") == [("t", "processed")]
    assert waiting(ledger, touched).known == []


def test_an_object_that_goes_before_it_can_be_identified_is_not_entered(ledger: Ledger) -> None:
    listed = [landed("a", etag="", stamp="s")]
    assert ledger.waiting(CLICKS, listed, identify=nothing_is_there, now=NOW).now == []
    assert ledger.admit(CLICKS, listed, identify=nothing_is_there, now=NOW) == 0
    assert not ledger.table.open().exists


# --- what waits


def test_an_object_waits_until_it_is_processed(ledger: Ledger) -> None:
    a, b, c = landed("a"), landed("b"), landed("c", partition=NEXT_HOUR)
    assert waiting(ledger, a, b, c).now == [a, b, c]
    admit(ledger, a, b, c)
    assert waiting(ledger, a, b, c).now == [a, b, c]
    complete(ledger, outcome(a))
    assert waiting(ledger, a, b, c).now == [b, c]
    assert names(due(ledger, HOUR)) == ["b"]
    assert names(ledger.everything("clicks")) == ["a", "b", "c"]


def test_a_fault_that_may_pass_is_tried_again_after_a_pause_that_doubles(ledger: Ledger) -> None:
    a = landed("a")
    admit(ledger, a)
    now = NOW
    for pause in (1, 2, 4, 8):
        complete(ledger, failure(a), now=now)
        assert facts(ledger, "retry_at") == [(now + pause * MINUTE,)]
        early = waiting(ledger, a, now=now + pause * MINUTE - MINUTE / 2)
        assert early.now == []
        assert early.later[0].startswith(f"{a.key}: no network; next try 2026-03-01 12:")
        assert due(ledger, now=now) == []
        now += pause * MINUTE
        assert waiting(ledger, a, now=now).now == [a]
        assert names(due(ledger, now=now)) == ["a"]
    complete(ledger, outcome(a), now=now)
    assert facts(ledger, "status", "attempts", "reason", "retry_at") == [("processed", 0, None, None)]


def test_no_pause_is_longer_than_a_day(ledger: Ledger) -> None:
    a = landed("a")
    admit(ledger, a)
    for _ in range(13):
        complete(ledger, failure(a))
    assert facts(ledger, "attempts", "retry_at") == [(13, NOW + timedelta(days=1))]


def test_a_fault_of_the_bytes_waits_no_more_and_tells_why(ledger: Ledger) -> None:
    a = landed("a")
    admit(ledger, a)
    complete(ledger, failure(a, "gzip: cut off", final=True))
    wanted = [("failed", "gzip: cut off", None, 10, CLICKS.contract)]
    assert facts(ledger, "status", "reason", "retry_at", "bytes_rejected", "contract") == wanted
    found = waiting(ledger, a, now=NOW + timedelta(days=400))
    assert (found.now, found.later) == ([], [])
    assert due(ledger) == []


def test_an_object_that_is_not_there_is_missing_until_it_is_back(ledger: Ledger) -> None:
    a = landed("a")
    admit(ledger, a)
    complete(ledger, gone(a))
    assert facts(ledger, "status", "reason") == [("missing", "not there when it was to be read")]
    assert due(ledger) == []
    assert waiting(ledger, a).known == [a]
    assert admit(ledger, a) == 0
    assert status(ledger) == {("a", "1"): "admitted"}


def test_what_a_processed_object_said_is_kept_when_it_is_gone(ledger: Ledger) -> None:
    a = landed("a")
    admit(ledger, a)
    complete(ledger, outcome(a, rows_out=7))
    ledger.reopen("clicks", [HOUR])
    complete(ledger, gone(a))
    wanted = [("processed", 7, [MARCH], "what it said is kept: not there")]
    assert facts(ledger, "status", "rows_out", "event_dates", "reason") == wanted
    assert waiting(ledger, a).now == []


# --- begun and completed


def test_what_is_about_to_be_written_is_known_before_it_is(ledger: Ledger) -> None:
    a = landed("a")
    admit(ledger, a)
    assert [(k.begun, k.dates, k.contract) for k in due(ledger)] == [(False, frozenset(), None)]
    assert begin(ledger, a, MARCH)
    assert begin(ledger, a, APRIL)
    (known,) = due(ledger)
    assert (known.begun, known.dates, known.contract) == (True, BOTH, CLICKS.contract)
    assert not known.was_processed
    complete(ledger, outcome(a, event_dates=(APRIL,)))
    assert facts(ledger, "event_dates", "begun_at", "processed_at") == [([APRIL], NOW, NOW)]


def test_an_object_that_a_step_died_over_under_another_contract_has_several(ledger: Ledger) -> None:
    a, other = landed("a"), stream(properties={"colour": {"type": "string"}})
    admit(ledger, a)
    begin(ledger, a, MARCH)
    begin(ledger, a, APRIL, of=other)
    assert [k.contract for k in due(ledger)] == ["several"]
    complete(ledger, outcome(a), of=other)
    assert facts(ledger, "contract") == [(other.contract,)]


def test_an_object_read_again_has_its_newest_counts(ledger: Ledger) -> None:
    a = landed("a")
    admit(ledger, a)
    complete(ledger, failure(a, "gzip: cut off", final=True))
    complete(ledger, outcome(a, rows_in=9, rows_out=7, rows_rejected=2, bytes_read=100, bytes_rejected=20))
    wanted = [("processed", 9, 7, 2, 2, None)]
    assert facts(ledger, "status", "rows_in", "rows_out", "rows_rejected", "bytes_rejected", "reason") == wanted


def test_an_outcome_of_an_object_that_was_never_admitted_is_not_entered(ledger: Ledger) -> None:
    admit(ledger, landed("a"))
    complete(ledger, outcome(landed("b")))
    assert status(ledger) == {("a", "1"): "admitted"}


def test_a_step_without_objects_makes_no_commit(ledger: Ledger) -> None:
    complete(ledger)
    assert not ledger.table.open().exists


# --- keys that change hands


def test_an_object_that_was_superseded_meanwhile_must_not_be_written(ledger: Ledger) -> None:
    first, second = landed("a"), landed("a", etag="2")
    admit(ledger, first)
    admit(ledger, second)
    refused = ledger.note(CLICKS, begun={first.identity: [MARCH], second.identity: [MARCH]}, completed=[], now=NOW)
    assert refused == {first.identity}
    assert [at is None for _, at in sorted(facts(ledger, "etag", "begun_at"))] == [True, False]


def test_an_object_that_overwrites_what_the_caller_did_not_know_of_must_not_be_written(ledger: Ledger) -> None:
    first, second = landed("a"), landed("a", etag="2")
    admit(ledger, first)
    begin(ledger, first, MARCH)
    admit(ledger, second)
    assert not begin(ledger, second, APRIL)
    assert begin(ledger, second, APRIL, overwriting=[second])


def test_what_lay_there_before_is_forgotten_when_its_successor_is_in_place(ledger: Ledger) -> None:
    first, second = landed("a"), landed("a", etag="2", partition=NEXT_HOUR)
    admit(ledger, first)
    complete(ledger, outcome(first))
    admit(ledger, second)
    assert [(k.overwrites, k.dates, k.before) for k in due(ledger)] == [(True, frozenset({MARCH}), frozenset({HOUR}))]
    complete(ledger, outcome(second, event_dates=(APRIL,)))
    (now,) = ledger.everything("clicks")
    assert (now.landed, now.overwrites, now.dates, now.before) == (second, False, frozenset({APRIL}), frozenset())


def test_who_has_the_key_now_takes_back_what_was_written_late(ledger: Ledger) -> None:
    first, second = landed("a"), landed("a", etag="2")
    admit(ledger, first)
    begin(ledger, first, MARCH)
    admit(ledger, second)
    complete(ledger, outcome(second, event_dates=(APRIL,)))
    complete(ledger, outcome(first))
    assert status(ledger) == {("a", "1"): "superseded", ("a", "2"): "admitted"}
    assert [(k.overwrites, k.dates) for k in due(ledger)] == [(True, BOTH)]


# --- replay


def test_a_replay_reads_again_and_keeps_what_is_known(ledger: Ledger) -> None:
    a, b, c = landed("a"), landed("b"), landed("c", partition=NEXT_HOUR)
    admit(ledger, a, b, c)
    complete(ledger, outcome(a), failure(b, final=True), outcome(c))
    assert ledger.reopen("clicks", [HOUR]) == 2
    assert ledger.reopen("clicks", [HOUR]) == 0
    assert [(k.was_processed, k.dates) for k in due(ledger)] == [(True, frozenset({MARCH})), (True, frozenset())]
    assert status(ledger)["c", "1"] == "processed"


def test_a_replay_tries_at_once_what_would_have_waited(ledger: Ledger) -> None:
    a = landed("a")
    admit(ledger, a)
    complete(ledger, failure(a))
    assert ledger.reopen("clicks", [HOUR]) == 1
    assert names(due(ledger)) == ["a"]
    assert waiting(ledger, a).later == []


def test_a_replay_leaves_what_is_superseded(ledger: Ledger) -> None:
    first, second = landed("a"), landed("a", etag="2")
    admit(ledger, first)
    admit(ledger, second)
    complete(ledger, outcome(second))
    assert ledger.reopen("clicks", [HOUR]) == 1
    assert status(ledger) == {("a", "1"): "superseded", ("a", "2"): "admitted"}


@pytest.mark.parametrize(
    ("first", "last", "partitions"),
    [
        (MARCH, MARCH, [HOUR]),
        (MARCH, None, [HOUR, NEXT_HOUR]),
        (None, MARCH, [HOUR]),
        (date(2026, 3, 2), date(2026, 3, 31), []),
        (date(2026, 5, 1), None, []),
        (None, None, [HOUR, NEXT_HOUR]),
    ],
)
def test_the_objects_of_some_event_dates_are_read_again(
    ledger: Ledger, first: date | None, last: date | None, partitions: list[str]
) -> None:
    a, b, c = landed("a"), landed("b", partition=NEXT_HOUR), landed("c", partition="2026-03-01-12:00")
    admit(ledger, a, b, c)
    complete(ledger, outcome(a), outcome(b, event_dates=(APRIL,)), outcome(c, event_dates=()))
    assert ledger.reopen_dates("clicks", first, last) == partitions
    assert sorted(k.landed.partition for k in due(ledger)) == partitions


# --- size


def test_many_looks_leave_few_files(ledger: Ledger) -> None:
    every = [f"{n:03}" for n in range(60)]
    for name in every:
        admit(ledger, landed(name))
    assert names(due(ledger)) == every
    assert ledger.table.open().files.height < 20
