"""A source that goes on: what silver has yet to follow is no difference, what it never follows is one."""

from itertools import count
from pathlib import Path

import pytest

from datalake_assets.reconcile.reconcile import Ask
from datalake_assets_tests.postgres import Database
from datalake_assets_tests.reconcile.source import Compared, FakeClock

pytestmark = pytest.mark.xdist_group("postgres")
_CHANGE = (
    "UPDATE t SET n = n + 1 WHERE id % 10 = 0",
    "DELETE FROM t WHERE id % 10 = 1",
    "INSERT INTO t SELECT id + 1000, n FROM t WHERE id % 10 = 2",
)


@pytest.fixture
def compared(postgres: Database, tmp_path: Path) -> Compared:
    postgres.execute("CREATE TABLE t (id bigint PRIMARY KEY, n int)", "INSERT INTO t SELECT generate_series(1, 200), 0")
    made = Compared(postgres, tmp_path, {"id": "int64", "n": "int32"})
    made.catch_up()
    return made


def test_what_silver_has_yet_to_follow_is_no_difference(compared: Compared) -> None:
    compared.postgres.execute(*_CHANGE)
    looks = count(1)
    clock = FakeClock(lambda: compared.catch_up() if next(looks) == 3 else None)
    found = compared.reconcile(Ask(clock=clock.clock), settle=60)
    assert (found.agrees, found.differing, found.unsettled) == (True, 0, 0)
    assert found.looks == 4
    assert found.silver_moved
    assert clock.time == 15


def test_what_silver_does_not_follow_in_time_is_a_difference(compared: Compared) -> None:
    compared.postgres.execute(*_CHANGE)
    clock = FakeClock()
    found = compared.reconcile(Ask(clock=clock.clock), settle=60)
    assert (found.changed, found.extra, found.missing) == (20, 20, 20)
    assert (found.agrees, found.silver_moved, clock.time) == (False, False, 60)


def test_a_row_that_is_wrong_in_silver_is_found_among_those_that_move(compared: Compared) -> None:
    compared.postgres.execute(*_CHANGE)
    compared.spoil(lambda rows: rows.filter(rows["id"] != 77))

    def work() -> None:
        compared.postgres.execute("UPDATE t SET n = n + 1 WHERE id = 50")
        compared.catch_up()

    compared.catch_up()
    compared.postgres.execute("UPDATE t SET n = n + 1 WHERE id = 50")
    found = compared.reconcile(Ask(clock=FakeClock(work).clock), settle=30)
    assert [(one.key, one.kind) for one in found.shown] == [({"id": "77"}, "missing in silver")]
    assert found.unsettled == 0


def test_a_row_that_never_rests_and_is_never_followed_is_told_as_unsettled(compared: Compared) -> None:
    def work() -> None:
        compared.postgres.execute("UPDATE t SET n = n + 1 WHERE id = 50")

    work()
    found = compared.reconcile(Ask(clock=FakeClock(work).clock), settle=10)
    assert (found.agrees, found.differing, found.unsettled) == (False, 0, 1)


def test_more_changes_than_are_remembered_are_looked_at_again(compared: Compared) -> None:
    compared.postgres.execute("UPDATE t SET n = 5")
    found = compared.reconcile(Ask(clock=FakeClock(compared.catch_up).clock, most_keys=10), settle=10)
    assert (found.agrees, found.is_cut_short, found.looks) == (True, False, 3)


def test_both_sides_are_of_one_state_however_the_source_changes(compared: Compared) -> None:
    """Rows were counted as of one moment and read as of another."""
    from datalake_assets.reconcile.compare import compare
    from datalake_assets.reconcile.plan import make_plan
    from datalake_assets.reconcile.silver_side import SilverSide
    from datalake_assets.reconcile.source_side import SourceSide
    from datalake_assets.replicate.session import connected

    with connected(compared.postgres.url) as connection:
        plan = make_plan(connection, compared.lake.dataset("t"), "public.t")
        source = SourceSide(connection, plan)
        silver = SilverSide(compared.lake.lake.silver(compared.lake.dataset("t")).open(), plan)
        with source.one_state():
            assert compare(plan, source, silver, most_keys=10).differing == {}
            compared.postgres.execute(*_CHANGE)
            assert compare(plan, source, silver, most_keys=10, rows_in_range=20).differing == {}
        with source.one_state():
            assert len(compare(plan, source, silver, most_keys=100, rows_in_range=20).differing) == 60
