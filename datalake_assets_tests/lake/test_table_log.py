"""What a table's log tells: the dates that commits touched, the shape, what changed since; and how little it holds."""

import json
from pathlib import Path

import polars as pl
from deltalake import DeltaTable

from datalake_assets.lake.store.notes import CommitNotes
from datalake_assets.lake.store.table import Table
from datalake_assets_tests.lake.tables import APRIL, BY_DATE, KEY, MARCH, added, frame, ids, table


def test_commits_tell_which_dates_they_touched(place: Table) -> None:
    place.open().change(add=frame(("a", 1, MARCH)), notes=CommitNotes([MARCH]))
    place.open().change(add=frame(("b", 1, MARCH)))
    place.open().replace(frame(("a", 2, APRIL)), notes=CommitNotes({MARCH, APRIL}))
    seen = place.open()
    touched = {0: frozenset({MARCH}), 1: frozenset(), 2: frozenset({MARCH, APRIL})}
    commits = seen.commits_since(-1)
    assert commits is not None
    assert {c.version: c.touched_dates for c in commits} == touched
    newest = seen.commits_since(1)
    assert newest is not None
    assert [c.version for c in newest] == [2]
    assert seen.commits_since(2) == []
    assert seen.commits_since(3) is None


def test_maintenance_touches_nothing_and_what_somebody_else_wrote_may_have_touched_anything(place: Table) -> None:
    added(place, ("a", 1, MARCH))
    added(place, ("b", 1, MARCH))
    DeltaTable(place.uri).optimize.compact()
    frame(("c", 1, MARCH)).write_delta(place.uri, mode="append")
    commits = place.open().commits_since(1)
    assert commits is not None
    assert [c.touched_dates for c in commits] == [frozenset(), None]


def test_a_log_that_was_cut_short_does_not_tell_what_came_before(place: Table) -> None:
    for n in range(12):
        added(place, (f"{n}", n, MARCH))
    for version in range(5):
        Path(place.uri, "_delta_log", f"{version:020}.json").unlink()
    assert place.open().commits_since(2) is None
    recent = place.open().commits_since(9)
    assert recent is not None
    assert [c.version for c in recent] == [10, 11]


def test_the_shape_of_the_last_commit_is_the_tables(place: Table) -> None:
    place.open().change(add=frame(("a", 1, MARCH)), notes=CommitNotes(shape="round"))
    assert place.open().shape == "round"


def test_the_log_is_recognised_by_a_stamp_and_no_table_is_opened_for_it(place: Table) -> None:
    added(place, ("a", 1, MARCH))
    first = place.log_stamp(0)
    assert first is not None
    assert place.log_stamp(0) == first
    assert place.log_stamp(1) is None
    added(place, ("b", 1, MARCH))
    assert place.log_stamp(1) not in {None, first}


def test_what_changed_between_two_versions_is_read_from_the_files_that_came_or_went(place: Table) -> None:
    added(place, ("a", 1, MARCH), ("b", 1, MARCH), ("c", 1, APRIL))
    older = place.open()
    place.open().change(add=frame(("b", 2, MARCH), ("d", 1, MARCH)), remove=ids("b"), on=KEY, within=BY_DATE)
    now = place.open()
    assert sorted(now.changed_since(older, ["id", "n"]).rows()) == [("b", 1), ("b", 2), ("d", 1)]
    assert sorted(now.changed_since(older, ["id"]).rows()) == [("d",)]
    assert now.changed_since(now, ["id"]).rows() == []


def test_a_version_of_the_past_can_be_opened(place: Table) -> None:
    added(place, ("a", 1, MARCH))
    place.open().replace(frame(("b", 1, MARCH)))
    assert place.open().at(0).scan().select("id").collect().rows() == [("a",)]


def test_a_files_bounds_are_in_the_log_for_keys_and_dates_alone(tmp_path: Path) -> None:
    place = table(tmp_path, note="string")
    place.open().change(add=frame(("a", 1, MARCH), note=pl.lit("x" * 100_000)))
    log = Path(place.uri, "_delta_log", f"{0:020}.json").read_text()
    assert len(log) < 5_000
    (add,) = [json.loads(line)["add"] for line in log.splitlines() if line.startswith('{"add"')]
    assert set(json.loads(add["stats"])["minValues"]) == {"id", "event_date"}
