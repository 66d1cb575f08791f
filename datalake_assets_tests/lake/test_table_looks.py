"""A table is opened when its log has moved, and not again while it has not."""

import shutil
from pathlib import Path

import pytest
from deltalake import DeltaTable

from datalake_assets.lake.store import table as looks
from datalake_assets.lake.store.conflicts import ConflictError
from datalake_assets.lake.store.table import Table
from datalake_assets_tests.lake.tables import APRIL, MARCH, added, content, frame


def test_two_looks_at_a_log_that_has_not_moved_show_one_snapshot(place: Table) -> None:
    added(place, ("a", 1, MARCH))
    assert place.open() is place.open()


def test_a_commit_is_seen_by_the_next_look_whoever_made_it(place: Table) -> None:
    added(place, ("a", 1, MARCH))
    before = place.open()
    added(place, ("b", 1, MARCH))
    added(Table(place.spec, place.uri), ("c", 1, MARCH))
    assert (before.version, place.open().version) == (0, 2)
    assert before.scan().collect().height == 1


def test_two_decisions_on_one_snapshot_do_not_both_pass(place: Table) -> None:
    added(place, ("a", 1, MARCH))
    first, second = place.open(), place.open()
    first.replace(frame(("b", 1, MARCH)))
    with pytest.raises(ConflictError):
        second.replace(frame(("c", 1, APRIL)))
    assert content(place) == [("b", 1, MARCH)]


def test_a_table_made_anew_in_the_place_of_another_is_not_taken_for_it(place: Table) -> None:
    added(place, ("a", 1, MARCH))
    before = place.open()
    shutil.rmtree(place.uri)
    assert not place.open().exists
    added(place, ("b", 1, MARCH))
    assert place.open().table_id != before.table_id


def test_an_old_look_is_not_trusted_as_the_log_may_have_forgotten_what_followed(
    place: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next commit's file may be gone already: a commit on the old state would take its place."""
    added(place, ("a", 1, MARCH))
    place.open()
    other = Table(place.spec, place.uri)
    added(other, ("b", 1, MARCH))
    DeltaTable(place.uri).create_checkpoint()
    Path(place.uri, "_delta_log", f"{1:020}.json").unlink()
    monkeypatch.setattr(looks, "_TRUSTED_SECONDS", 0.0)
    assert place.open().version == 1
