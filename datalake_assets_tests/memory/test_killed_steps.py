"""Steps killed at any commit: nothing that was in silver or quarantine is ever in neither, and the next run ends it."""

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest

from datalake_assets_tests.memory.lakes import AT, DAY, DiedError, MemoryLake, dying, order, orders, stream

LOOSE = stream(properties={"n": {"type": "integer"}})
STRICT = stream(properties={"n": {"type": "integer", "minimum": 0}})
BIG = stream(properties={"n": {"type": "integer", "minimum": 10}})
RECORDS = [{"id": "a", "at": AT, "n": 1}, {"id": "b", "at": AT, "n": -1}, {"id": "c", "at": AT + DAY, "n": 11}]
_MOST_COMMITS = 40


def every_death(
    lake: MemoryLake, work: Callable[[MemoryLake], object], **copies: MemoryLake
) -> list[tuple[str, MemoryLake]]:
    """A copy of the lake for each commit before which the work can die, dead by then."""
    found = []
    for n in range(_MOST_COMMITS):
        dead = lake.copy(f"dead-{n}")
        with dying(at=n) as made:
            try:
                work(dead)
            except DiedError:
                found.append((f"before commit {n} to {made[n]}", dead))
            else:
                return found
    raise AssertionError("the work makes too many commits")


def lines_of(lake: MemoryLake) -> set[tuple[str, int]]:
    """The records that are in silver, beside it, or in quarantine."""
    silver = {(k.rpartition("/")[2], n) for k, n in lake.rows("silver.clicks", "source_filename", "_row_number")}
    beside = {
        (k.rpartition("/")[2], n) for k, n in lake.rows("silver.clicks_duplicates", "source_filename", "_row_number")
    }
    return silver | beside | set(lake.rejected())


@pytest.mark.parametrize(
    ("before", "after"), [(LOOSE, STRICT), (STRICT, LOOSE), pytest.param(STRICT, BIG, marks=pytest.mark.soak)]
)
def test_a_replay_that_dies_at_any_commit_loses_no_record(tmp_path: Path, before: object, after: object) -> None:
    """A replay under a mended contract, killed before silver's commit: the record was in neither table, its object
    `processed`, and nothing was left to do."""
    lake = MemoryLake(tmp_path / "lake", before)  # type: ignore[arg-type]  # a stream
    lake.land("o", RECORDS)
    lake.process()
    expected = lines_of(lake)
    assert len(expected) == 3
    mended = lake.under(after)  # type: ignore[arg-type]
    deaths = every_death(mended, MemoryLake.replay)
    assert {d.rpartition(" ")[2] for d, _ in deaths} >= {"silver.clicks", "quarantine.clicks", "ledger"}
    mended.replay()
    content = mended.content(gold=False)
    for moment, dead in deaths:
        assert lines_of(dead) == expected, moment
        assert dead.waiting().waiting or "verdicts" in moment or moment.startswith("before commit 0"), moment
        dead.replay()
        assert dead.content(gold=False) == content, moment


def test_what_a_killed_step_left_is_asked_for_and_done_without_a_replay(tmp_path: Path) -> None:
    """After a replay was killed its objects counted as processed, so nobody finished it."""
    lake = MemoryLake(tmp_path / "lake", STRICT)
    lake.land("o", RECORDS)
    lake.process()
    mended = lake.under(LOOSE)
    deaths = every_death(mended, MemoryLake.replay)
    mended.replay()
    content = mended.content(gold=False)
    for moment, dead in deaths[1:]:
        dead.process()
        assert dead.content(gold=False) == content, moment


def test_a_record_survives_a_kill_and_the_loss_of_its_object(tmp_path: Path) -> None:
    """A replay that no longer accepts a record took it out of silver, died, and its object expired: it was nowhere."""
    lake = MemoryLake(tmp_path / "lake", LOOSE)
    key = lake.land("o", RECORDS)
    lake.process()
    for moment, dead in every_death(lake.under(STRICT), MemoryLake.replay):
        dead.path(key).unlink()
        dead.process()
        assert {n for _, n in lines_of(dead)} == {1, 2, 3}, moment


def test_the_copy_below_a_winner_survives_a_kill(tmp_path: Path) -> None:
    """The copy that was to be shown had left the duplicates and was not in silver yet when the step died."""
    lake = MemoryLake(tmp_path / "lake", LOOSE)
    low, high = {"id": "a", "at": AT, "n": 1}, {"id": "a", "at": AT + 1, "n": 2}
    below = lake.land("low", [low])
    lake.land("high", [high])
    lake.process()
    lake.path(below).unlink()
    lake.land("high", [{"id": "z", "at": AT, "n": 3}])
    lake.admit()
    deaths = every_death(lake, MemoryLake.process)
    assert len(deaths) > 5
    for moment, dead in deaths:
        dead.process()
        assert dead.rows("silver.clicks", "id", "n") == [("a", 1), ("z", 3)], moment


def test_an_overwritten_object_whose_step_dies_is_taken_back_by_the_next(tmp_path: Path) -> None:
    lake = MemoryLake(tmp_path / "lake", STRICT)
    lake.land("o", RECORDS)
    lake.process()
    lake.land("o", [{"id": "a", "at": AT + DAY, "n": 5}, {"id": "d", "at": AT, "n": -5}])
    deaths = every_death(lake, MemoryLake.process)
    lake.process()
    content = lake.content(gold=False)
    for moment, dead in deaths:
        dead.process()
        assert dead.content(gold=False) == content, moment


def test_gold_that_dies_at_any_commit_is_computed_by_the_next_run(tmp_path: Path) -> None:
    lake = MemoryLake(tmp_path / "lake", STRICT)
    lake.land("o", RECORDS)
    lake.process()
    deaths = every_death(lake, MemoryLake.gold)
    lake.gold()
    content = lake.content()
    for moment, dead in deaths[::3]:
        dead.gold()
        assert dead.content() == content, moment


@pytest.fixture(scope="module")
def replicated(tmp_path_factory: pytest.TempPathFactory) -> MemoryLake:
    """A replicated table with loads, updates and deletes; some prices are negative."""
    lake = MemoryLake(tmp_path_factory.mktemp("lakes") / "lake", orders())
    lake.land_changes("LOAD00000001.parquet", [order("I", n, 0, price=Decimal(n - 1)) for n in range(4)])
    lake.land_changes(
        "2026/03/01/10/a.parquet", [order("U", 1, 5, price=Decimal(-2)), order("D", 2, 6), order("I", 8, 7)]
    )
    lake.process()
    return lake


def test_a_contract_tightened_on_a_replicated_table_survives_any_kill(replicated: MemoryLake, tmp_path: Path) -> None:
    """A replay that was killed after its objects were noted under the new contract went on the quick way, and rows
    that the contract no longer accepts stayed in silver."""
    tight = orders(columns={"price": {"type": "decimal(10,2)", "minimum": 0}})
    lake = replicated.copy("tight", tight)
    deaths = every_death(lake, MemoryLake.replay)
    lake.replay()
    content = lake.content(gold=False)
    assert [i for (i,) in lake.rows("silver.orders", "id")] == [1, 3, 8]
    for moment, dead in deaths:
        if moment.startswith("before commit 0"):
            continue
        dead.process()
        assert dead.content(gold=False) == content, moment


def test_a_step_over_changes_that_dies_at_any_commit_is_made_good(tmp_path: Path) -> None:
    lake = MemoryLake(tmp_path / "lake", orders())
    lake.land_changes("LOAD00000001.parquet", [order("I", n, 0) for n in range(4)])
    lake.process()
    lake.land_changes("2026/03/01/10/a.parquet", [order("U", 1, 5), order("D", 2, 6), order("I", 8, 7)])
    deaths = every_death(lake, MemoryLake.process)
    lake.process()
    content = lake.content(gold=False)
    for moment, dead in deaths:
        dead.process()
        assert dead.content(gold=False) == content, moment


@pytest.mark.parametrize("kind", ["stream", "table"])
def test_a_rebuild_that_dies_at_any_commit_is_made_good_by_another(tmp_path: Path, kind: str) -> None:
    if kind == "stream":
        lake = MemoryLake(tmp_path / "lake", LOOSE)
        lake.land("o", RECORDS)
        other: object = stream(properties={"n": {"type": "integer", "minimum": 0}, "m": {"type": "string"}})
    else:
        lake = MemoryLake(tmp_path / "lake", orders())
        lake.land_changes("LOAD00000001.parquet", [order("I", n, 0, price=Decimal(n - 1)) for n in range(3)])
        lake.land_changes("2026/03/01/10/a.parquet", [order("U", 1, 5, price=Decimal(-2)), order("D", 2, 6)])
        price = {"type": "decimal(12,2)", "minimum": 0}
        other = orders(columns={"price": price, "note": {"type": "string"}})
    lake.process()
    mended = lake.under(other)  # type: ignore[arg-type]  # a dataset
    deaths = every_death(mended, MemoryLake.rebuild)
    mended.rebuild()
    content = mended.content(gold=False)
    for moment, dead in deaths:
        dead.process()  # where the shape is old still, objects wait
        dead.rebuild()
        assert dead.content(gold=False) == content, moment
        assert list((dead.root / "silver").glob("_rebuild/*")) == [], moment
