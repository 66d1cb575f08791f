"""The ledger remembers each landed object once, in one partition, with what became of it."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest
from deltalake import DeltaTable

from datalake_assets.lake.store.landing import LandedObject
from datalake_assets.lake.store.ledger import Ledger
from datalake_assets.lake.store.step import ObjectOutcome
from datalake_assets_tests.streams import HOUR, landed

NEXT_HOUR = "2026-03-01-11:00"


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    """A ledger that does not exist yet."""
    return Ledger(str(tmp_path / "ledger"))


def outcome(o: LandedObject, *, rows: int = 1, error: str | None = None) -> ObjectOutcome:
    """What became of an object."""
    return ObjectOutcome(
        key=o.key, etag=o.etag, size=o.size, partition=o.partition, rows_in=rows, rows_out=rows, error=error
    )


def status(ledger: Ledger, *partitions: str) -> dict[tuple[str, str], str]:
    """The status of objects by key and etag."""
    rows = ledger.rows("clicks", partitions or (HOUR,))
    return {(key, etag): at for key, etag, at in rows.select("key", "etag", "status").iter_rows()}


def keys(objects: Sequence[LandedObject]) -> list[str]:
    return [o.key for o in objects]


def test_an_object_admitted_twice_is_entered_once(ledger: Ledger) -> None:
    assert ledger.admit("clicks", [landed("a"), landed("b")]) == 2
    assert ledger.admit("clicks", [landed("a"), landed("b"), landed("c")]) == 1
    assert keys(ledger.admitted("clicks", [HOUR])) == ["a", "b", "c"]
    assert ledger.all_rows().collect().height == 3


def test_each_source_has_its_own_objects(ledger: Ledger) -> None:
    ledger.admit("clicks", [landed("a")])
    assert ledger.admit("views", [landed("a")]) == 1
    assert ledger.admitted("orders", [HOUR]) == []


@pytest.mark.parametrize("change", [{"etag": "2"}, {"size": 11}])
def test_another_etag_or_size_makes_another_object_of_one_key(ledger: Ledger, change: dict[str, object]) -> None:
    later = {"last_modified": datetime(2026, 3, 1, 10, 30, tzinfo=UTC)}
    ledger.admit("clicks", [landed("LOAD00000001.parquet")])
    reload = landed("LOAD00000001.parquet", **later, **change)
    assert ledger.admit("clicks", [reload]) == 1
    assert ledger.admitted("clicks", [HOUR]) == [reload]  # the older bytes are gone


def test_a_reload_is_read_and_closes_the_object_it_replaced(ledger: Ledger) -> None:
    first = landed("LOAD00000001.parquet")
    reload = landed("LOAD00000001.parquet", etag="2", last_modified=datetime(2026, 3, 1, 10, 30, tzinfo=UTC))
    ledger.admit("clicks", [first, reload])
    ledger.complete("clicks", [outcome(reload)], contract="c")
    assert status(ledger) == {(first.key, "1"): "processed", (first.key, "2"): "processed"}
    assert ledger.waiting("clicks", [first, reload]) == []


def test_an_object_waits_until_it_is_processed(ledger: Ledger) -> None:
    a, b, c = landed("a"), landed("b"), landed("c")
    assert ledger.waiting("clicks", [a, b, c]) == [a, b, c]
    ledger.admit("clicks", [a, b])
    assert ledger.waiting("clicks", [a, b, c]) == [a, b, c]
    ledger.complete("clicks", [outcome(a)], contract="c")
    assert ledger.waiting("clicks", [a, b, c]) == [b, c]
    assert keys(ledger.admitted("clicks", [HOUR], only_waiting=True)) == ["b"]
    assert keys(ledger.admitted("clicks", [HOUR])) == ["a", "b"]


def test_a_failed_object_waits_no_more_and_tells_why(ledger: Ledger) -> None:
    a = landed("a")
    ledger.admit("clicks", [a])
    ledger.complete("clicks", [outcome(a, rows=0, error="gzip: cut off")], contract="c")
    assert ledger.rows("clicks", [HOUR]).select("status", "error", "contract").to_dicts() == [
        {"status": "failed", "error": "gzip: cut off", "contract": "c"}
    ]
    assert ledger.waiting("clicks", [a]) == []
    assert ledger.admitted("clicks", [HOUR]) == [a]


def test_an_object_read_again_has_its_newest_counts(ledger: Ledger) -> None:
    a = landed("a")
    ledger.admit("clicks", [a])
    ledger.complete("clicks", [outcome(a, rows=0, error="gzip: cut off")], contract="old")
    ledger.complete("clicks", [outcome(a, rows=7)], contract="new")
    assert ledger.rows("clicks", [HOUR]).select("status", "rows_out", "error", "contract").to_dicts() == [
        {"status": "processed", "rows_out": 7, "error": None, "contract": "new"}
    ]


def test_an_outcome_of_an_object_that_was_never_admitted_is_not_entered(ledger: Ledger) -> None:
    ledger.admit("clicks", [landed("a")])
    ledger.complete("clicks", [outcome(landed("b"))], contract="c")
    assert status(ledger) == {("a", "1"): "admitted"}


def test_partitions_of_several_months_are_completed_together(ledger: Ledger) -> None:
    april = landed("b", partition="2026-04-01-00:00", last_modified=datetime(2026, 4, 1, 0, 5, tzinfo=UTC))
    ledger.admit("clicks", [landed("a"), april])
    ledger.complete("clicks", [outcome(landed("a")), outcome(april)], contract="c")
    assert set(status(ledger, HOUR, "2026-04-01-00:00").values()) == {"processed"}


def test_an_object_dated_in_the_future_keeps_the_partition_it_was_admitted_to(ledger: Ledger) -> None:
    """Its partition is the current one, so at each look it seems to be in another; the ledger fixed it once."""
    first = landed("2031/a")
    an_hour_later = landed("2031/a", partition=NEXT_HOUR)
    ledger.admit("clicks", [first])
    assert ledger.waiting("clicks", [an_hour_later]) == [first]
    assert ledger.admit("clicks", [an_hour_later]) == 0
    ledger.complete("clicks", [outcome(first)], contract="c")
    assert ledger.waiting("clicks", [an_hour_later]) == []


def test_compaction_keeps_every_row_and_bounds_the_files(ledger: Ledger) -> None:
    names = [f"{n:03}" for n in range(60)]
    for name in names:
        ledger.admit("clicks", [landed(name)])
    assert keys(ledger.admitted("clicks", [HOUR])) == names
    assert len(DeltaTable(ledger.uri).file_uris()) < 60
