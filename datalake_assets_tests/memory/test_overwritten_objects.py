"""Objects that are overwritten, restored, deleted, away for a while: what their names said last is what stands."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from datalake_assets.lake.store.landing import LandedObject
from datalake_assets_tests.memory.lakes import (
    AT,
    DAY,
    HOUR,
    NEXT_HOUR,
    DiedError,
    MemoryLake,
    dying,
    order,
    orders,
    stream,
)

STRICT = stream(properties={"n": {"type": "integer", "minimum": 0}})
GUARDED = stream(properties={"n": {"type": "integer", "minimum": 0}}, max_rejected_fraction=0.1, min_records=1)
EARLIER = 1_600_000_000.0
A = [{"id": "a1", "at": AT}, {"id": "a2", "at": AT}, {"id": "a3", "at": AT, "n": -1}]
B = [{"id": "b1", "at": AT}, {"id": "a2", "at": AT + DAY}, {"id": "b3", "at": AT, "n": -2}]


@pytest.fixture
def lake(tmp_path: Path) -> MemoryLake:
    return MemoryLake(tmp_path / "lake", STRICT)


@pytest.mark.parametrize("age", [-3600.0, -1.0, 0.0])
def test_new_content_under_an_old_name_is_read_whatever_its_time_tells(lake: MemoryLake, age: float) -> None:
    """A restored or copied object whose time is older than, or that of, the one before it waited for ever."""
    moment = 1_772_000_000.0
    lake.land("o", A, at=moment)
    lake.process()
    lake.land("o", B, at=moment + age)
    assert lake.waiting().waiting == {HOUR: 1}
    lake.process()
    assert lake.ids() == ["a2", "b1"]
    lake.assert_as_fresh(gold=False)


def test_new_content_of_the_same_size_and_time_is_read(lake: MemoryLake) -> None:
    """Two objects that a listing can't tell apart by size and time were taken for one."""
    one, other = b'{"id": "a", "at": 1772359200}\n', b'{"id": "b", "at": 1772359200}\n'
    lake.land("o", one, at=EARLIER)
    lake.process()
    lake.land("o", other, at=EARLIER)
    lake.process()
    assert lake.ids() == ["b"]
    lake.assert_as_fresh(gold=False)


def test_an_overwritten_object_takes_its_events_and_rejects_with_it(lake: MemoryLake) -> None:
    """Rejects of the object that lay there before vanished or stayed by chance, as they went by name alone."""
    lake.land("o", A)
    lake.land("p", [{"id": "p", "at": AT, "n": -5}])
    lake.run()
    assert lake.rejected() == [("o", 3), ("p", 1)]
    lake.land("o", [{"id": "b1", "at": AT}])
    lake.run()
    assert lake.rejected() == [("p", 1)]
    assert lake.statuses() == [("o", "processed"), ("o", "superseded"), ("p", "processed")]
    lake.assert_as_fresh()


def test_a_partition_that_an_overwrite_mended_holds_nothing_back(tmp_path: Path) -> None:
    """Counts of an object that was overwritten stayed in the partition's sum and blocked gold for good."""
    lake = MemoryLake(tmp_path / "lake", GUARDED)
    lake.land("o", A)
    lake.run()
    assert lake.lake.verdicts.held()["clicks"]
    lake.land("o", [{"id": "a1", "at": AT}])
    lake.run()
    assert lake.lake.verdicts.held() == {}
    assert lake.undone() == []
    lake.assert_as_fresh()


def test_a_partition_whose_only_object_moved_on_holds_nothing_back(tmp_path: Path) -> None:
    """An undated object overwritten an hour later is of the later hour; the earlier one stayed blocked for good."""
    lake = MemoryLake(tmp_path / "lake", GUARDED)
    hour = datetime(2026, 3, 1, 10, tzinfo=UTC).timestamp()
    lake.land("flat/o", A, at=hour + 60)
    lake.run()
    assert [v.partition for v in lake.lake.verdicts.of("clicks") if not v.passed] == [HOUR]
    lake.land("flat/o", [{"id": "a1", "at": AT}], at=hour + 3700)
    lake.run()
    assert set(lake.ledger()["partition"]) == {HOUR, NEXT_HOUR}
    assert lake.lake.verdicts.held() == {}
    assert lake.undone() == []
    lake.assert_as_fresh()


def test_an_object_that_failed_and_is_overwritten_is_read(lake: MemoryLake) -> None:
    """The reject that stood for a damaged object stayed beside the events of the whole one."""
    lake.land("o", b"\x1f\x8b\x08\x00 no gzip")
    lake.process()
    assert lake.statuses() == [("o", "failed")]
    assert lake.rejected() == [("o", 0)]
    lake.land("o", A[:1])
    lake.process()
    assert (lake.ids(), lake.rejected()) == (["a1"], [])
    lake.assert_as_fresh(gold=False)


@pytest.mark.parametrize("commit", range(4))
@pytest.mark.parametrize("after", [False, True])
def test_an_object_that_a_step_died_over_and_that_is_then_overwritten_leaves_no_trace(
    lake: MemoryLake, commit: int, after: bool
) -> None:
    """An object overwritten before it was read to its end counted as processed, or what was written of it stayed."""
    lake.land("o", A)
    lake.admit()
    with dying(at=commit, after=after) as made, pytest.raises(DiedError):
        lake.step([HOUR])
    assert len(made) == commit + 1
    lake.land("o", B)
    lake.process()
    assert lake.ids() == ["a2", "b1"]
    lake.assert_as_fresh(gold=False)


def test_old_content_that_comes_back_is_there_again(lake: MemoryLake) -> None:
    """The same bytes put again made two rows of one identity, and every later step raised."""
    lake.land("o", A)
    lake.process()
    for content in (B, A, A, B, A):
        lake.land("o", content)
        lake.process()
        lake.assert_as_fresh(gold=False)
    assert lake.ids() == ["a1", "a2"]
    rows = lake.ledger()
    assert rows.height == rows.select("key", "etag", "size").n_unique() == 2


def test_old_content_that_comes_back_unread_and_goes_again_is_read_when_it_is_there(lake: MemoryLake) -> None:
    """Content that had been taken back counted as processed once it was away for a read, and was never read again."""
    lake.land("o", A)
    lake.process()
    lake.land("o", B)
    lake.process()
    key = lake.land("o", A)
    lake.admit()
    lake.path(key).rename(lake.root / "away")
    lake.step([HOUR])
    assert lake.ids() == ["a2", "b1"]  # what is gone keeps what it said
    (lake.root / "away").rename(lake.path(key))
    lake.process()
    assert lake.ids() == ["a1", "a2"]
    lake.assert_as_fresh(gold=False)


def test_a_deleted_object_keeps_what_it_said_and_may_come_back(lake: MemoryLake) -> None:
    """Bronze expires: replaying what is gone turned processed objects into failed ones."""
    key = lake.land("o", A)
    lake.run()
    before = lake.content()
    lake.path(key).rename(lake.root / "away")
    lake.run()
    lake.replay()
    lake.gold()
    assert lake.content() == before
    assert lake.statuses() == [("o", "processed")]
    assert lake.undone() == []
    (lake.root / "away").rename(lake.path(key))
    lake.run()
    assert lake.content() == before
    assert lake.statuses() == [("o", "processed")]


def test_rejects_outlive_their_object(lake: MemoryLake) -> None:
    """A replay after bronze had expired put `not found` in the place of the only copy of a reject."""
    key = lake.land("o", A)
    lake.process()
    lake.path(key).unlink()
    mended = lake.under(stream(properties={"n": {"type": "integer"}}))
    mended.replay()
    ((raw, errors),) = mended.rows("quarantine.clicks", "raw", "errors")
    assert '"a3"' in raw
    assert "minimum" in errors[0]


def test_an_object_away_for_one_read_is_read_when_it_is_back(lake: MemoryLake) -> None:
    """An object that was away when its turn came was failed for ever."""
    key = lake.land("o", A)
    lake.admit()
    lake.path(key).rename(lake.root / "away")
    lake.step([HOUR])
    assert lake.statuses() == [("o", "missing")]
    lake.process()
    assert lake.statuses() == [("o", "missing")]
    (lake.root / "away").rename(lake.path(key))
    lake.process()
    assert lake.statuses() == [("o", "processed")]
    lake.assert_as_fresh(gold=False)


def test_an_object_that_was_away_and_comes_back_with_other_bytes_is_read(lake: MemoryLake) -> None:
    key = lake.land("o", A)
    lake.admit()
    lake.path(key).unlink()
    lake.step([HOUR])
    lake.land("o", B)
    lake.process()
    assert lake.ids() == ["a2", "b1"]
    assert lake.statuses() == [("o", "processed"), ("o", "superseded")]
    lake.assert_as_fresh(gold=False)


@pytest.mark.parametrize("skew", [timedelta(seconds=-30), timedelta(seconds=30)])
def test_an_object_is_one_whatever_the_clock_says(lake: MemoryLake, skew: timedelta) -> None:
    """A clock half a minute off at the hour made one object two, and its rejects counted twice."""
    hour = datetime(2026, 3, 1, 11, tzinfo=UTC)
    lake.land("flat/o", A, at=hour.timestamp())
    lake.admit(now=hour)
    (first,) = lake.ledger()["partition"]
    assert lake.waiting(now=hour + skew).waiting == {first: 1}
    lake.admit(now=hour + skew)
    lake.run()
    assert lake.waiting().waiting == {}
    assert lake.ledger()["partition"].to_list() == [first]
    assert len(lake.rejected()) == 1
    rejects = [n for _, n in lake.rows("gold.daily_summary", "event_date", "rejects")]
    assert sum(rejects) == 1


def test_an_object_overwritten_between_its_admission_and_its_reading_is_superseded(lake: MemoryLake) -> None:
    """An object that was overwritten before it was read counted as processed although nobody had read it."""
    lake.land("o", A)
    lake.admit()
    lake.land("o", B)
    lake.step([HOUR])
    assert lake.statuses() == [("o", "superseded")]
    assert lake.ids() == []
    lake.process()
    assert lake.ids() == ["a2", "b1"]
    lake.assert_as_fresh(gold=False)


def _when_read(lake: MemoryLake, then: Callable[[], object]) -> None:
    """Do something once, right after an object's bytes were read."""
    objects = lake.lake.landing.objects
    done: list[bool] = []

    class Reading:
        def __getattr__(self, name: str) -> object:
            return getattr(objects, name)

        def read(self, key: str, **kwargs: object) -> bytes:
            data = objects.read(key, **kwargs)  # type: ignore[arg-type]  # as they came
            if not done:
                done.append(True)
                then()
            return data

    object.__setattr__(lake.lake.landing, "objects", Reading())


@pytest.mark.parametrize("second", ["later", "at once"])
def test_an_object_overwritten_while_a_step_is_over_it_leaves_what_its_name_says_now(
    lake: MemoryLake, second: str
) -> None:
    """A step that had read the old bytes put its object back to processed, and the events of both stayed in silver."""

    def overwritten() -> None:
        other = MemoryLake(lake.root, STRICT)
        other.land("o", B)
        other.admit()
        if second == "at once":
            other.process()
            other.step([HOUR])

    lake.land("o", A)
    lake.admit()
    _when_read(lake, overwritten)
    lake.step([HOUR])
    MemoryLake(lake.root, STRICT).process()
    lake.assert_as_fresh(gold=False)
    assert lake.statuses() == [("o", "processed"), ("o", "superseded")]


def test_a_load_file_that_was_half_written_takes_its_reject_with_it(tmp_path: Path) -> None:
    """An undated load file half-written, whole an hour later: the reject of the half stayed."""
    lake = MemoryLake(tmp_path / "lake", orders())
    whole = lake.path(lake.land_changes("LOAD00000001.parquet", [order("I", n, 0) for n in range(9)])).read_bytes()
    hour = datetime(2026, 3, 1, 10, tzinfo=UTC).timestamp()
    lake.land_changes("LOAD00000001.parquet", whole[: len(whole) // 2], at=hour)
    lake.process()
    assert lake.rejected("orders") == [("LOAD00000001.parquet", 0)]
    lake.land_changes("LOAD00000001.parquet", whole, at=hour + 3600)
    lake.process()
    assert lake.rejected("orders") == []
    assert len(lake.rows("silver.orders", "id")) == 9
    lake.assert_as_fresh(gold=False)


def test_an_overwritten_file_of_changes_takes_back_what_it_did(tmp_path: Path) -> None:
    """Changes of a file that was overwritten stayed: deleted rows, newer values, closed history."""
    lake = MemoryLake(tmp_path / "lake", orders())
    lake.land_changes("LOAD00000001.parquet", [order("I", n, 0) for n in range(4)])
    lake.land_changes("2026/03/01/10/a.parquet", [order("D", 1, 10), order("U", 2, 11, product_name="milk")])
    lake.process()
    assert [i for (i,) in lake.rows("silver.orders", "id")] == [0, 2, 3]
    lake.land_changes("2026/03/01/10/a.parquet", [order("U", 3, 5, product_name="cake")])
    lake.process()
    assert lake.rows("silver.orders", "id", "product_name") == [(0, "tea"), (1, "tea"), (2, "tea"), (3, "cake")]
    lake.assert_as_fresh(gold=False)


def test_an_overwrite_that_can_not_be_taken_back_holds_back_no_other_object(tmp_path: Path) -> None:
    """One overwritten file whose table can't be made anew kept all that landed beside it out of silver."""
    lake = MemoryLake(tmp_path / "lake", orders())
    load = lake.land_changes("LOAD00000001.parquet", [order("I", n, 0) for n in range(4)])
    lake.land_changes("2026/03/01/10/a.parquet", [order("D", 1, 10)])
    lake.run()
    lake.path(load).rename(lake.root / "away")
    lake.land_changes("2026/03/01/10/a.parquet", [order("D", 2, 10)])
    lake.land_changes("2026/03/01/10/b.parquet", [order("I", 9, 20)])
    report = lake.process()[0]
    assert "LOAD00000001.parquet" in report.failed[0]
    assert [i for (i,) in lake.rows("silver.orders", "id")] == [0, 2, 3, 9]
    assert any("LOAD00000001.parquet" in line for line in lake.undone())
    assert ("LOAD00000001.parquet", "missing") in lake.statuses()
    (lake.root / "away").rename(lake.path(load))
    lake.process()  # a look that finds it again, which ends the wait of what could not be done without it
    lake.process()
    lake.gold()
    lake.assert_as_fresh()


def test_a_table_is_made_anew_without_a_file_of_which_nothing_could_be_read(tmp_path: Path) -> None:
    """A damaged file that was gone held back an overwrite, though silver had no row of it."""
    lake = MemoryLake(tmp_path / "lake", orders())
    load = lake.land_changes("LOAD00000001.parquet", b"PAR1 is all")
    lake.land_changes("2026/03/01/10/a.parquet", [order("I", 1, 10)])
    lake.process()
    lake.path(load).unlink()
    lake.land_changes("2026/03/01/10/a.parquet", [order("I", 2, 10)])
    lake.process()
    assert [i for (i,) in lake.rows("silver.orders", "id")] == [2]
    assert lake.rejected("orders") == [("LOAD00000001.parquet", 0)]


def test_a_listing_taken_before_an_overwrite_does_no_harm(lake: MemoryLake) -> None:
    """Two planners at once: the slower one admits what it saw before the object was overwritten."""
    lake.land("o", A)
    listed = lake.lake.landing.objects_of(STRICT, [HOUR], now=datetime.now(UTC)).objects
    lake.process()
    lake.land("o", B)
    lake.process()
    first = lake.ledger().filter(status="superseded").row(0, named=True)
    identified = [LandedObject(o.key, first["etag"], o.size, o.last_modified, HOUR, o.stamp) for o in listed]
    lake.lake.ledger.admit(STRICT, identified, identify=lambda o: o, now=datetime.now(UTC))
    lake.step([HOUR])
    lake.process()
    assert lake.ids() == ["a2", "b1"]
    lake.assert_as_fresh(gold=False)
