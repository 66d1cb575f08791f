"""A commit does what was decided on the version that was seen, or nothing."""

import threading
from pathlib import Path

import pytest

from datalake_assets.lake.store.conflicts import ConflictError, until_undisturbed
from datalake_assets.lake.store.files import write_files
from datalake_assets.lake.store.notes import CommitNotes
from datalake_assets.lake.store.table import Table
from datalake_assets_tests.lake.tables import APRIL, BY_DATE, KEY, MARCH, added, content, frame, ids


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits between tries."""
    monkeypatch.setattr("datalake_assets.lake.store.conflicts.time.sleep", lambda _: None)


def test_a_change_that_takes_a_commit_of_others_for_its_own_ground_is_refused(place: Table) -> None:
    added(place, ("a", 1, MARCH))
    seen = place.open()
    added(place, ("b", 1, MARCH))
    with pytest.raises(ConflictError):
        seen.change(add=frame(("c", 1, MARCH)), within=BY_DATE)
    assert content(place) == [("a", 1, MARCH), ("b", 1, MARCH)]


def test_a_commit_to_other_dates_disturbs_no_decision(place: Table) -> None:
    added(place, ("a", 1, MARCH))
    seen = place.open()
    added(place, ("b", 1, APRIL))
    assert seen.change(add=frame(("a", 2, MARCH)), remove=ids("a"), on=KEY, within=BY_DATE) == 2
    assert content(place) == [("a", 2, MARCH), ("b", 1, APRIL)]


def test_a_decision_that_rests_on_one_version_is_refused_on_any_other(place: Table) -> None:
    added(place, ("a", 1, MARCH))
    seen = place.open()
    added(place, ("b", 1, APRIL))
    with pytest.raises(ConflictError):
        seen.change(add=frame(("c", 1, MARCH)), within=BY_DATE, exactly_here=True)
    assert len(content(place)) == 2


def test_rows_that_replace_a_whole_table_are_refused_when_anything_was_added(place: Table) -> None:
    added(place, ("a", 1, MARCH))
    seen = place.open()
    added(place, ("b", 1, APRIL))
    with pytest.raises(ConflictError):
        seen.replace(frame(("c", 1, MARCH)))
    assert content(place) == [("a", 1, MARCH), ("b", 1, APRIL)]


def test_files_that_are_swapped_in_are_refused_when_anything_was_added(place: Table) -> None:
    added(place, ("a", 1, MARCH))
    seen = place.open()
    made = write_files(frame(("c", 1, MARCH)), place.uri, place.spec, rows_per_file=10)
    added(place, ("b", 1, APRIL))
    with pytest.raises(ConflictError):
        seen.swap(made, notes=CommitNotes())
    assert content(place) == [("a", 1, MARCH), ("b", 1, APRIL)]


def test_of_two_that_make_a_table_one_is_refused(place: Table) -> None:
    first, second = place.open(), place.open()
    first.change(add=frame(("a", 1, MARCH)))
    with pytest.raises(ConflictError):
        second.change(add=frame(("b", 1, MARCH)))
    assert content(place) == [("a", 1, MARCH)]


def test_a_decision_on_a_table_that_was_made_anew_is_refused(place: Table, tmp_path: Path) -> None:
    added(place, ("a", 1, MARCH))
    seen = place.open()
    Path(place.uri).rename(tmp_path / "old")
    for name in "bc":
        added(place, (name, 1, APRIL))
    with pytest.raises(ConflictError):
        seen.change(add=frame(("d", 1, MARCH)), within={"event_date": []})
    assert content(place) == [("b", 1, APRIL), ("c", 1, APRIL)]


def test_a_refused_commit_leaves_no_files_behind(place: Table) -> None:
    added(place, ("a", 1, MARCH))
    seen = place.open()
    added(place, ("b", 1, MARCH))
    with pytest.raises(ConflictError):
        seen.change(add=frame(("c", 1, MARCH)), within=BY_DATE)
    assert len(list(Path(place.uri).rglob("*.parquet"))) == 2


def test_two_writers_at_once_lose_nothing(uncut: Table) -> None:
    added(uncut, *((f"{w}{n}", 0, MARCH) for w in "ab" for n in range(5)))
    begin = threading.Barrier(2)
    failures: list[BaseException] = []

    def work(writer: str) -> None:
        begin.wait()
        try:
            for n in range(5):
                row, name = frame((f"{writer}{n}", n + 1, MARCH)), ids(f"{writer}{n}")
                uncut.transact(lambda seen, row=row, name=name: seen.change(add=row, remove=name, on=KEY))  # type: ignore[misc]  # mypy infers no type for defaults
        except BaseException as error:  # noqa: BLE001 (handed to the test)
            failures.append(error)

    threads = [threading.Thread(target=work, args=(writer,)) for writer in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert content(uncut) == [(f"{w}{n}", n + 1, MARCH) for w in "ab" for n in range(5)]


def test_a_decision_that_is_always_disturbed_ends_with_the_name_of_what_it_was_about(impatient: None) -> None:
    tries: list[int] = []

    def attempt() -> None:
        tries.append(1)
        raise ConflictError("somebody was faster")

    with pytest.raises(ConflictError, match=r"the clicks: other writers came between 40 times; run it again"):
        until_undisturbed(attempt, what="the clicks")
    assert len(tries) == 40
