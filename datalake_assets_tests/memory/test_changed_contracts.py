"""Dataset files that change under a lake with a past: what is read again ends as in a lake that is new."""

from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from deltalake import DeltaTable

from datalake_assets.lake.spec.dataset import Dataset
from datalake_assets.lake.steps.planning import outdated, outdated_partitions
from datalake_assets.lake.steps.rebuild import RebuildRefusedError
from datalake_assets.lake.steps.shape import ShapeChangedError
from datalake_assets_tests.memory.lakes import AT, DAY, HOUR, MemoryLake, order, orders, stream

N = {"n": {"type": "integer"}}
STRICT_N = {"n": {"type": "integer", "minimum": 0}}
RECORDS = [
    {"id": "a", "at": AT, "n": 1},
    {"id": "b", "at": AT, "n": -1, "extra": "x"},
    {"id": "c", "at": AT + DAY, "extra": "y"},
    {"id": "a", "at": AT, "n": 1},
]


@pytest.mark.parametrize("keyed", [True, False])
@pytest.mark.parametrize(("before", "after"), [(N, STRICT_N), (STRICT_N, N)])
def test_a_replay_under_another_contract_ends_as_a_fresh_lake(
    tmp_path: Path, keyed: bool, before: dict[str, Any], after: dict[str, Any]
) -> None:
    """A tightened contract left the record in silver and put it in quarantine too."""
    without = () if keyed else ("key",)
    lake = MemoryLake(tmp_path / "lake", stream(properties=before, without=without))
    lake.land("o", RECORDS)
    lake.process()
    changed = lake.under(stream(properties=after, without=without))
    changed.process()
    assert outdated_partitions(changed.lake, changed.dataset, now=datetime.now(UTC)) == {HOUR: 1}
    changed.replay()
    assert outdated_partitions(changed.lake, changed.dataset, now=datetime.now(UTC)) == {}
    changed.assert_as_fresh(gold=False)


MILLISECONDS: dict[str, Any] = {"event_time": {"column": "at", "unit": "ms"}}
SHAPES: dict[str, Callable[[tuple[str, ...]], Dataset]] = {
    "a field gained": lambda w: stream(properties=N | {"extra": {"type": "string"}}, without=w),
    "a unit mended": lambda w: stream(properties=N, without=w, **MILLISECONDS),
    "a type changed": lambda w: stream(properties={"n": {"type": "number"}}, without=w),
    "another key": lambda w: stream(properties=N, without=w, key=["id", "at"]),
    "unknown fields dropped": lambda w: stream(properties=N, without=w, unknown_fields="drop"),
}


@pytest.mark.parametrize(
    ("change", "keyed"),
    [
        *((change, True) for change in SHAPES),
        ("a field gained", False),
        ("a unit mended", False),
        ("another key", False),
    ],
)
def test_another_shape_waits_for_a_rebuild_and_then_equals_a_fresh_lake(
    tmp_path: Path, change: str, keyed: bool
) -> None:
    """A field gained was null in half of the rows, and every event of a stream without a key stood twice; a unit mended
    from seconds to milliseconds doubled every event."""
    without = () if keyed else ("key",)
    lake = MemoryLake(tmp_path / "lake", stream(properties=N, without=without))
    lake.land("o", RECORDS)
    lake.process()
    silver = lake.ids()
    lake.land("p", [{"id": "d", "at": AT, "n": 4}])
    changed = lake.under(SHAPES[change](without))
    if change == "another key" and not keyed:
        changed = lake.under(stream(properties=N, key=["id"]))
    work = changed.waiting()
    assert work.waiting == {}
    assert any("datalake rebuild clicks" in line for line in work.later)
    for replay in (False, True):
        with pytest.raises(ShapeChangedError, match="its dataset file has changed"):
            changed.step([HOUR], replay=replay)
    assert lake.ids() == silver
    changed.rebuild()
    changed.process()
    changed.assert_as_fresh(gold=False)
    changed.replay()
    changed.assert_as_fresh(gold=False)


def test_nothing_mixes_while_the_shape_is_changed_and_the_change_can_be_undone(tmp_path: Path) -> None:
    lake = MemoryLake(tmp_path / "lake", stream(properties=N))
    lake.land("o", RECORDS)
    lake.process()
    before = lake.content(gold=False)
    changed = lake.under(stream(properties=N, **MILLISECONDS))
    changed.land("p", [{"id": "d", "at": AT, "n": 4}])
    with pytest.raises(ShapeChangedError, match="event_time unit: s -> ms"):
        changed.step([HOUR])
    assert changed.content(gold=False) == before
    lake.process()
    lake.assert_as_fresh(gold=False)


def test_the_shape_is_known_after_somebody_else_maintained_the_table(tmp_path: Path) -> None:
    """A commit of another tool tells no shape: after a compaction, records of two shapes were mixed."""
    lake = MemoryLake(tmp_path / "lake", stream(properties=N))
    for n in range(2):
        lake.land(f"{n}", [{"id": f"{n}", "at": AT}])
        lake.process()
    table = DeltaTable(lake.lake.silver(lake.dataset).uri)
    assert table.optimize.compact()["numFilesRemoved"] == 2
    changed = lake.under(stream(properties=N, **MILLISECONDS))
    changed.land("p", [{"id": "d", "at": AT, "n": 4}])
    assert changed.waiting().waiting == {}
    with pytest.raises(ShapeChangedError):
        changed.step([HOUR])


def test_a_step_under_the_old_file_adds_nothing_to_a_table_that_was_rebuilt_under_the_new_one(tmp_path: Path) -> None:
    """A step that had begun before the rebuild committed its rows onto the new table, as their dates were free."""
    lake = MemoryLake(tmp_path / "lake", stream(properties=N))
    lake.land("o", RECORDS)
    lake.process()
    changed = lake.under(stream(properties=N, **MILLISECONDS))
    lake.land("p", [{"id": "d", "at": AT + 9 * DAY, "n": 4}])
    lake.admit()

    engine = lake.engine
    rebuilt: list[bool] = []

    class Slow:
        """An engine between whose reading of silver and whose writing a rebuild comes."""

        def __getattr__(self, name: str) -> Any:
            return getattr(engine, name)

        def change(self, *args: Any, **kwargs: Any) -> None:
            if not rebuilt:
                rebuilt.append(True)
                changed.rebuild()
            engine.change(*args, **kwargs)

    lake.engine = Slow()
    with pytest.raises(ShapeChangedError):
        lake.step([HOUR])
    changed.process()
    changed.assert_as_fresh(gold=False)


def test_a_rebuild_keeps_the_rows_and_rejects_of_events_that_are_gone(tmp_path: Path) -> None:
    """A replay after bronze had expired lost the rows that it could not read again."""
    lake = MemoryLake(tmp_path / "lake", stream(properties=STRICT_N))
    gone = lake.land("gone", RECORDS)
    lake.land("here", [{"id": "h", "at": AT, "n": 7, "extra": "z"}, {"id": "i", "at": AT, "n": -7}])
    lake.run()
    lake.path(gone).unlink()
    changed = lake.under(stream(properties=N | {"extra": {"type": "string"}}))
    changed.rebuild()
    changed.gold()
    assert changed.rows("silver.clicks", "id", "n", "extra") == [
        ("a", 1, None),
        ("c", None, None),
        ("h", 7, "z"),
        ("i", -7, None),
    ]
    assert changed.rejected() == [("gone", 2)]
    assert changed.undone() == []
    assert sum(r for (r,) in changed.rows("gold.daily_summary", "records")) == 4


def test_a_rebuild_of_a_replicated_table_without_a_file_it_needs_is_refused_with_its_name(tmp_path: Path) -> None:
    lake = MemoryLake(tmp_path / "lake", orders())
    gone = lake.land_changes("LOAD00000001.parquet", [order("I", n, 0) for n in range(3)])
    lake.land_changes("2026/03/01/10/a.parquet", [order("D", 1, 5)])
    lake.process()
    before = lake.content(gold=False)
    lake.path(gone).rename(lake.root / "away")
    wider = lake.under(orders(columns={"price": {"type": "decimal(12,2)"}}))
    with pytest.raises(RebuildRefusedError, match=r"LOAD00000001\.parquet"):
        wider.rebuild()
    assert lake.content(gold=False) == before
    assert lake.statuses() == [("LOAD00000001.parquet", "processed"), ("a.parquet", "processed")]
    (lake.root / "away").rename(lake.path(gone))
    wider.rebuild()
    wider.assert_as_fresh(gold=False)


def test_a_replay_that_would_need_what_is_gone_is_refused_and_leaves_everything_as_it_was(tmp_path: Path) -> None:
    lake = MemoryLake(tmp_path / "lake", orders())
    gone = lake.land_changes("LOAD00000001.parquet", [order("I", n, 0, price=Decimal(n - 1)) for n in range(3)])
    lake.process()
    before = lake.content(gold=False)
    lake.path(gone).unlink()
    tight = lake.under(orders(columns={"price": {"type": "decimal(10,2)", "minimum": 0}}))
    tight.land_changes("2026/03/01/10/a.parquet", [order("D", 1, 5)])
    with pytest.raises(RebuildRefusedError, match=r"LOAD00000001\.parquet"):
        tight.replay()
    assert lake.content(gold=False) == before
    tight.process()
    assert [i for (i,) in tight.rows("silver.orders", "id")] == [0, 2]
    assert outdated(tight.lake, tight.dataset)["key"].to_list() == [gone]
    assert outdated_partitions(tight.lake, tight.dataset, now=datetime.now(UTC)) == {}  # nothing can read it again


TABLES: dict[str, Dataset] = {
    "a type widened": orders(columns={"customer_id": {"type": "int64"}}),
    "a rule tightened": orders(columns={"price": {"type": "decimal(10,2)", "minimum": 0}}),
    "a column gained": orders(columns={"note": {"type": "string"}}),
    "another order": orders(order_by=[]),
    "without a history": orders(history=False),
}


@pytest.mark.parametrize("change", TABLES)
def test_a_replicated_table_under_another_file_ends_as_a_fresh_lake(tmp_path: Path, change: str) -> None:
    """After a column was widened every replay raised; a tightened rule left rows in silver and quarantine; quality
    was that of the old file."""
    lake = MemoryLake(tmp_path / "lake", orders(columns={"customer_id": {"type": "int32"}}))
    small = [order("I", n, 0, price=Decimal(n - 1), note="x") for n in range(3)]
    lake.land_changes("LOAD00000001.parquet", small)
    lake.land_changes("2026/03/01/10/a.parquet", [order("U", 1, 9, price=Decimal(3)), order("D", 2, 8)])
    lake.land_changes("2026/03/01/11/b.parquet", [order("U", 1, 5, price=Decimal(-3), customer_id=2**40)])
    lake.process()
    changed = lake.under(TABLES[change])
    try:
        changed.replay()
    except ShapeChangedError:
        changed.rebuild()
    changed.process()
    changed.assert_as_fresh(gold=False)
    changed.land_changes("2026/03/01/12/c.parquet", [order("I", 7, 12), order("U", 0, 13)])
    changed.process()
    changed.replay()
    changed.assert_as_fresh(gold=False)


def test_quality_is_that_of_the_file_as_it_is(tmp_path: Path) -> None:
    """The score stayed as it was after a replay, as only the hash of a row's values was compared."""
    lake = MemoryLake(tmp_path / "lake", orders())
    lake.land_changes("LOAD00000001.parquet", [order("I", 1, 0)])
    lake.process()
    ((before,),) = lake.rows("silver.orders", "quality_score")
    changed = lake.under(orders(columns={"note": {"type": "string"}}))
    changed.rebuild()
    ((after,),) = changed.rows("silver.orders", "quality_score")
    assert (before, after) == (pytest.approx(4 / 5), pytest.approx(4 / 6))


def test_values_that_a_new_type_can_not_hold_are_not_lost_with_their_objects(tmp_path: Path) -> None:
    """Rows of objects that are gone are cast to the new type; what does not fit would become null in silence."""
    lake = MemoryLake(tmp_path / "lake", stream(properties={"n": {"type": "number", "x-lake-type": "decimal(10,3)"}}))
    key = lake.land("o", [{"id": "a", "at": AT, "n": 1.239}])
    lake.process()
    lake.path(key).unlink()
    changed = lake.under(stream(properties={"n": {"type": "number", "x-lake-type": "decimal(10,2)"}}))
    with pytest.raises(RebuildRefusedError, match="can't hold"):
        changed.rebuild()
    assert lake.rows("silver.clicks", "n") == [(Decimal("1.239"),)]
