"""What a failing check holds back: the dates of its own dataset, until the partition passes, and nothing else."""

import gzip
import json
import random
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest

from datalake_assets.lake.steps import silver
from datalake_assets.lake.steps.planning import gold_work
from datalake_assets.lake.store.quarantine import replace_rejects
from datalake_assets_tests.memory.lakes import AT, DAY, FIRST_DAY, HOUR, MemoryLake, order, orders, stream

RULE = {"n": {"type": "integer", "minimum": 0}}
STRICT = stream(properties=RULE, max_rejected_fraction=0.1)
VIEWS = stream("views", properties=RULE, max_rejected_fraction=0.1)
SECOND_DAY = date(2026, 3, 2)


def good(count: int, *, first: int = 0, at: int = AT) -> list[dict[str, object]]:
    return [{"id": f"{n}", "at": at} for n in range(first, first + count)]


def bad(count: int) -> list[dict[str, object]]:
    return [{"id": f"x{n}", "at": AT, "n": -1} for n in range(count)]


@pytest.fixture
def lake(tmp_path: Path) -> MemoryLake:
    return MemoryLake(tmp_path / "lake", STRICT, VIEWS)


def summary(lake: MemoryLake) -> list[tuple[object, ...]]:
    return lake.rows("gold.daily_summary", "source", "event_date", "records", "rejects")


def test_one_torn_line_of_a_small_partition_holds_nothing_back(lake: MemoryLake) -> None:
    """One torn line in an hour of two records withheld a month of another dataset."""
    lake.land("o", [*good(1), '{"id": "torn'])
    lake.land("v", good(30), of="views")
    lake.run()
    assert lake.undone() == []
    assert summary(lake) == [("clicks", FIRST_DAY, 1, 1), ("views", FIRST_DAY, 30, 0)]


def test_a_blocked_partition_holds_its_dates_of_its_dataset_and_no_other(lake: MemoryLake) -> None:
    lake.land("before", good(30, at=AT + DAY))
    lake.land("views", good(30), of="views")
    lake.run()
    lake.land("firehose/clicks/2026/03/01/11/bad".removeprefix("firehose/clicks/"), [*good(20, first=100), *bad(20)])
    lake.land("more", good(5, first=50, at=AT + DAY))
    lake.land("more views", good(10, first=50), of="views")
    lake.run()
    assert summary(lake) == [
        ("clicks", SECOND_DAY, 35, 0),
        ("views", FIRST_DAY, 40, 0),
    ]
    work = gold_work(lake.lake, now=datetime.now(UTC))
    assert {name: set(w.withheld) for name, w in work.items()} == {
        "daily_summary": {FIRST_DAY},
        "events_by_type": {FIRST_DAY},
        "hourly_metrics": {FIRST_DAY},
    }
    (reason,) = work["daily_summary"].withheld.values()
    assert "20 of 40 records rejected" in reason
    assert "datalake rejects clicks" in reason
    assert any("held back" in line for line in lake.undone())


def test_what_was_held_back_is_computed_when_the_partition_passes(lake: MemoryLake) -> None:
    """Blocks evaporated with time, and what was withheld entered gold unasked or never."""
    lake.land("bad", [*good(20), *bad(20)])
    lake.land("v", good(3), of="views")
    lake.run()
    assert summary(lake) == [("views", FIRST_DAY, 3, 0)]
    late = datetime(2036, 1, 1, tzinfo=UTC)
    assert gold_work(lake.lake, now=late)["daily_summary"].withheld.keys() == {FIRST_DAY}
    lake.gold(now=late)
    assert summary(lake) == [("views", FIRST_DAY, 3, 0)]
    mended = lake.under(stream(max_rejected_fraction=0.1, properties={"n": {"type": "integer"}}), VIEWS)
    mended.replay(name="clicks")
    mended.gold()
    assert mended.undone() == []
    mended.assert_as_fresh()


def test_good_records_landing_beside_lift_the_block(lake: MemoryLake) -> None:
    """The verdict is about the whole partition, however its objects were shared out among steps."""
    lake.land("bad", [*good(20), *bad(20)])
    lake.run()
    assert lake.lake.verdicts.held()["clicks"]
    lake.land("good", good(400, first=1000))
    lake.run()
    assert lake.lake.verdicts.held() == {}
    lake.assert_as_fresh()


def test_a_block_that_comes_later_leaves_what_gold_shows(lake: MemoryLake) -> None:
    lake.land("good", good(30))
    lake.run()
    before = summary(lake)
    lake.land("bad", [*good(20, first=500), *bad(20)])
    lake.run()
    assert summary(lake) == before
    assert len(lake.rows("gold.events_by_type", "event_key")) == 30


def test_an_all_good_partition_beside_a_blocked_one_is_done(lake: MemoryLake) -> None:
    """An hour that was all good failed its run because another hour was blocked."""
    lake.land("bad", [*good(20), *bad(20)])
    lake.run()
    lake.land("2026/03/05/10/good", good(30, first=900, at=AT + 4 * DAY))
    (report,) = lake.process()
    lake.gold()
    assert report.failed == ()
    assert ("clicks", date(2026, 3, 5), 30, 0) in summary(lake)


def test_a_truncated_object_and_one_with_a_torn_middle_fail_the_check(tmp_path: Path) -> None:
    """Most of an object's events lost to a truncated gzip passed all checks, as an object counts as no record."""
    chance = random.Random(1)
    lines = b"".join(json.dumps({"id": f"{n}-{chance.random()}", "at": AT}).encode() + b"\n" for n in range(1000))
    whole = gzip.compress(lines, mtime=0)
    for name, content in {"truncated": whole[: len(whole) * 9 // 10], "torn": whole[:-100] + whole[-90:]}.items():
        lake = MemoryLake(tmp_path / name, STRICT)
        lake.land("a", content)
        lake.land("b", good(100))
        lake.run()
        assert lake.lake.verdicts.held()["clicks"], name
        assert len(lake.rejected()) == 1


def test_two_steps_over_one_partition_judge_it_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of two steps at once knew its own objects alone: the last to end overwrote the verdict of the other."""
    lake = MemoryLake(tmp_path / "lake", STRICT)
    lake.land("bad", [*good(20), *bad(30)])
    lake.admit()
    other = MemoryLake(lake.root, STRICT)

    done: list[bool] = []

    def slowly(*args: Any, **kwargs: Any) -> bool:
        """While this step writes rejects, another one brings good records of the same partition."""
        if not done:
            done.append(True)
            other.land("good", good(30, first=1000))
            other.admit()
            other.step([HOUR])
        return replace_rejects(*args, **kwargs)

    monkeypatch.setattr(silver, "replace_rejects", slowly)
    lake.step([HOUR])
    (verdict,) = [v for v in lake.lake.verdicts.of("clicks") if not v.passed]
    assert "30 of 80 records rejected" in verdict.detail


def test_a_blocked_replicated_table_shows_no_half_of_its_orders(tmp_path: Path) -> None:
    """A check that failed in one run held back nothing in another, and gold showed orders that the check refused."""
    lake = MemoryLake(tmp_path / "lake", orders(max_rejected_fraction=0.05, min_records=2), VIEWS)
    lake.land_changes("LOAD00000001.parquet", [order("I", n, 0) for n in range(3)])
    lake.run()
    before = lake.rows("gold.daily_sales", "event_date", "orders")
    lake.land_changes("2026/03/01/10/a.parquet", [order("I", 7, 3), order("I", 8, 4), order("X", 9, 5)])
    lake.land("v", good(3), of="views")
    lake.run()
    assert len(lake.rows("silver.orders", "id")) == 5
    assert lake.rows("gold.daily_sales", "event_date", "orders") == before == [(FIRST_DAY, 3)]
    assert ("views", FIRST_DAY, 3, 0) in summary(lake)
    key = lake.land_changes("2026/03/01/10/a.parquet", [order("I", 7, 3), order("I", 8, 4)])
    assert key
    lake.run()
    assert lake.rows("gold.daily_sales", "event_date", "orders") == [(FIRST_DAY, 5)]
    lake.assert_as_fresh()


def test_a_key_stands_once_whatever_the_steps(tmp_path: Path) -> None:
    """`key_unique` failed and gold showed three orders of two, as two writers had each inserted the same key."""
    lake = MemoryLake(tmp_path / "lake", orders())
    for n in range(4):
        lake.land_changes(f"2026/03/01/10/{n}.parquet", [order("I", 1, n), order("U", 2, n)])
        lake.process()
    lake.gold()
    assert [i for (i,) in lake.rows("silver.orders", "id")] == [1, 2]
    assert lake.rows("gold.daily_sales", "orders") == [(2,)]


def test_a_gold_table_of_another_form_takes_in_nothing_that_is_held_back(tmp_path: Path) -> None:
    """Gold computed anew for a column it gained took in the dates that a check holds back."""
    lake = MemoryLake(tmp_path / "lake", orders(max_rejected_fraction=0.05, min_records=2))
    lake.land_changes("LOAD00000001.parquet", [order("I", n, 0) for n in range(3)])
    lake.run()
    next_day = datetime(2026, 3, 2, 9, tzinfo=UTC).replace(tzinfo=None)
    lake.land_changes("2026/03/01/10/a.parquet", [order("I", 7, 3, created_at=next_day), order("X", 9, 5)])
    lake.run()
    held = lake.rows("gold.daily_sales", "event_date", "orders")
    changed = lake.under(orders(max_rejected_fraction=0.05, min_records=2, columns={"price": {"type": "double"}}))
    changed.rebuild()
    third_day = datetime(2026, 3, 3, 9, tzinfo=UTC).replace(tzinfo=None)
    changed.land_changes("2026/03/01/11/b.parquet", [order("I", n, n, created_at=third_day) for n in (20, 21)])
    changed.run()
    assert (date(2026, 3, 3), 2) in changed.rows("gold.daily_sales", "event_date", "orders")
    assert held == [(FIRST_DAY, 3)]
    assert SECOND_DAY not in [d for d, _ in changed.rows("gold.daily_sales", "event_date", "orders")]
