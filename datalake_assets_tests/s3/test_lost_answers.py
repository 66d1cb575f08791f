"""Nobody knows whether a request came to pass whose answer was lost: the store finds out, and does nothing twice."""

from collections.abc import Callable

import obstore
import pytest

from datalake_assets.lake.store.conflicts import ConflictError
from datalake_assets.lake.store.files import write_files
from datalake_assets.lake.store.notes import CommitNotes
from datalake_assets.lake.store.object_store import get, open_object_store, put_new
from datalake_assets.lake.store.objects import open_objects
from datalake_assets.lake.store.table import Table
from datalake_assets_tests.lake.tables import APRIL, BY_DATE, KEY, MARCH, Row, added, frame, ids, spec
from datalake_assets_tests.s3.proxy import Fault, Plan, Proxy, Request, no_faults

SPEC = spec(by_date=True)
LOST_AFTER = [Fault.RESET_AFTER, Fault.ERROR_500_AFTER]
LOST = [*LOST_AFTER, Fault.RESET, Fault.ERROR_500, Fault.ERROR_503, Fault.CUT_AFTER]


def first(fault: Fault, method: str, part: str = "") -> Plan:
    """Let the first request of a method for a key with some part meet a fault, and no other."""
    met: list[Request] = []

    def plan(request: Request) -> Fault | None:
        if met or request.method != method or part not in request.path:
            return None
        met.append(request)
        return fault

    return plan


def content(table: Table) -> list[Row]:
    """The rows of a table as it is in its place, in order."""
    rows: list[Row] = Table(table.spec, table.uri).open().scan().sort("id", "n").collect().rows()
    return rows


@pytest.fixture
def table(place: str) -> Table:
    return Table(SPEC, f"{place}/{SPEC.name}")


@pytest.mark.parametrize("fault", LOST)
def test_a_commit_whose_answer_is_lost_is_made_once_and_is_no_conflict(
    fault: Fault, table: Table, proxy: Proxy
) -> None:
    added(table, ("a", 1, MARCH))
    seen = table.open()
    proxy.plan = first(fault, "PUT", "_delta_log/")
    assert seen.change(add=frame(("a", 2, MARCH)), remove=ids("a"), on=KEY, within=BY_DATE, exactly_here=True) == 1
    assert [kind for _, kind in proxy.faults] == [fault]
    assert content(table) == [("a", 2, MARCH)]
    assert table.open().version == 1


@pytest.mark.parametrize("fault", LOST)
def test_a_table_is_made_once_though_the_answer_is_lost(fault: Fault, table: Table, proxy: Proxy) -> None:
    proxy.plan = first(fault, "PUT", "_delta_log/")
    added(table, ("a", 1, MARCH))
    assert proxy.faults
    assert (content(table), table.open().version) == ([("a", 1, MARCH)], 0)


@pytest.mark.parametrize("fault", LOST)
def test_files_are_swapped_in_once_though_the_answer_is_lost(fault: Fault, table: Table, proxy: Proxy) -> None:
    added(table, ("a", 1, MARCH))
    seen = table.open()
    made = write_files(frame(("c", 1, MARCH)), table.uri, table.spec, rows_per_file=10)
    proxy.plan = first(fault, "PUT", "_delta_log/")
    assert seen.swap(made, notes=CommitNotes()) == 1
    assert content(table) == [("c", 1, MARCH)]


@pytest.mark.parametrize("fault", LOST_AFTER)
def test_a_commit_of_somebody_else_is_not_taken_for_the_lost_one(fault: Fault, table: Table, proxy: Proxy) -> None:
    added(table, ("a", 1, MARCH))
    seen = table.open()
    added(table, ("b", 1, MARCH))
    proxy.plan = first(fault, "PUT", "_delta_log/")
    with pytest.raises(ConflictError):
        seen.change(add=frame(("c", 1, MARCH)), within=BY_DATE)
    assert content(table) == [("a", 1, MARCH), ("b", 1, MARCH)]


def test_a_commit_holds_though_its_checkpoint_can_not_be_written(table: Table, proxy: Proxy) -> None:
    proxy.plan = lambda request: Fault.CUT_AFTER if "LIST" in request.kind and request.number % 5 == 0 else None
    for number in range(9):
        added(table, (f"k{number:02}", number, MARCH))
    proxy.plan = lambda request: Fault.ERROR_403 if "checkpoint" in request.path and request.method == "PUT" else None
    for number in range(9, 13):
        added(table, (f"k{number:02}", number, MARCH))
    assert proxy.faults[-1][1] is Fault.ERROR_403
    proxy.plan = no_faults
    assert content(table) == [(f"k{n:02}", n, MARCH) for n in range(13)]
    assert table.open().version == 12


@pytest.mark.parametrize("fault", LOST)
def test_what_is_put_in_a_free_place_is_there_once(fault: Fault, place: str, proxy: Proxy) -> None:
    proxy.plan = first(fault, "PUT")
    assert put_new(place, "a/b", b"mine")
    assert not put_new(place, "a/b", b"yours")
    assert get(place, "a/b") == b"mine"


@pytest.mark.parametrize("fault", LOST)
@pytest.mark.parametrize(
    "look",
    [
        lambda place: open_objects(place).folder("a").objects[0].key,
        lambda place: open_objects(place).folder("a", most=5).objects[0].key,
        lambda place: open_objects(place).folder("").folders[0] + "/b",
    ],
)
def test_an_answer_that_breaks_off_is_asked_for_again(
    fault: Fault, look: Callable[[str], str], place: str, proxy: Proxy
) -> None:
    obstore.put(open_object_store(place), "a/b", b"landed")
    proxy.plan = first(fault, "GET")
    assert look(place) == "a/b"
    assert proxy.faults


@pytest.mark.parametrize("fault", LOST)
def test_a_table_is_opened_and_read_though_answers_break_off(fault: Fault, table: Table, proxy: Proxy) -> None:
    added(table, ("a", 1, MARCH))
    added(table, ("b", 1, APRIL))
    for part in ("_last_checkpoint", "0.json", "1.json", ".parquet"):
        proxy.plan = first(fault, "GET", part)
        assert content(Table(SPEC, table.uri)) == [("a", 1, MARCH), ("b", 1, APRIL)]
    proxy.plan = no_faults
    assert len(proxy.faults) == 4
