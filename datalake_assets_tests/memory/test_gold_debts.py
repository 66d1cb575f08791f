"""What gold owes: nothing is forgotten across silence, cut logs, lost tables, poisoned dates."""

import shutil
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from deltalake import DeltaTable

from datalake_assets.lake.gold.table import Frame
from datalake_assets.lake.spec.columns import EVENT_DATE
from datalake_assets.lake.steps.planning import gold_work
from datalake_assets_tests.memory.lakes import (
    AT,
    DAY,
    FIRST_DAY,
    MemoryLake,
    change,
    customers,
    order,
    orders,
    stream,
)

CLICKS = stream(properties={"n": {"type": "integer", "minimum": 0}, "type": {"type": "string"}})
DAILY = {"daily_summary", "events_by_type", "hourly_metrics"}


@pytest.fixture
def lake(tmp_path: Path) -> MemoryLake:
    return MemoryLake(tmp_path / "lake", CLICKS)


def owed(lake: MemoryLake) -> dict[str, set[date]]:
    return {name: set(w.dates) for name, w in gold_work(lake.lake, now=datetime.now(UTC)).items()}


def day(n: int) -> date:
    return FIRST_DAY + timedelta(days=n)


def cut_log(lake: MemoryLake, name: str) -> None:
    """Write a checkpoint and drop all commits before it, as the clean-up of a log does."""
    spec = next(s for s in lake.lake.specs() if s.sql_name == name)
    place = Path(lake.lake.table(spec).uri)
    DeltaTable(str(place)).create_checkpoint()
    commits = sorted((place / "_delta_log").glob("*.json"))
    for commit in commits[:-1]:
        commit.unlink()


def test_gold_owes_what_silver_got_in_a_long_silence(lake: MemoryLake) -> None:
    """Two months later gold owed nothing: silver was full, gold empty, and the run ended well."""
    for n in range(3):
        lake.land(f"{n}", [{"id": f"{n}", "at": AT + n * DAY}])
        lake.process()
    cut_log(lake, "silver.clicks")
    later = datetime.now(UTC) + timedelta(days=400)
    work = gold_work(lake.lake, now=later)
    assert {n: set(w.dates) for n, w in work.items() if n in DAILY} == {n: {day(0), day(1), day(2)} for n in DAILY}
    lake.gold(now=later)
    lake.assert_as_fresh()


def test_a_watermark_behind_a_cut_log_makes_all_dates_due(lake: MemoryLake) -> None:
    lake.land("0", [{"id": "0", "at": AT}])
    lake.run()
    for n in range(1, 4):
        lake.land(f"{n}", [{"id": f"{n}", "at": AT + n * DAY}])
        lake.process()
    cut_log(lake, "silver.clicks")
    assert owed(lake)["daily_summary"] == {day(n) for n in range(4)}
    lake.gold()
    lake.assert_as_fresh()


def test_a_commit_that_does_not_tell_what_it_touched_makes_all_dates_due(lake: MemoryLake) -> None:
    lake.land("0", [{"id": f"{n}", "at": AT + n * DAY} for n in range(3)])
    lake.run()
    DeltaTable(lake.lake.silver(CLICKS).uri).delete(predicate="id = '1'")
    assert owed(lake)["daily_summary"] == {day(n) for n in range(3)}
    lake.gold()
    assert len(lake.rows("gold.daily_summary", "event_date")) == 2


def test_a_gold_table_that_was_dropped_returns(lake: MemoryLake) -> None:
    """A dropped gold table never came back, as nothing new had landed."""
    lake.land("0", [{"id": f"{n}", "at": AT + n * DAY} for n in range(3)])
    before = lake.run().content()
    for name in ("daily_summary", "events_by_type", "source_statistics"):
        shutil.rmtree(lake.root / "gold" / name)
    assert owed(lake).keys() >= {"daily_summary", "events_by_type"}
    lake.gold()
    assert lake.content() == before
    assert owed(lake) == {}


def test_silver_that_was_dropped_and_made_anew_shows_in_gold(lake: MemoryLake) -> None:
    """Silver dropped and rebuilt: gold kept the figures of before."""
    lake.land("0", [{"id": f"{n}", "at": AT + n * DAY} for n in range(3)])
    lake.run()
    shutil.rmtree(lake.root / "silver")
    lake.gold()
    lake.land("0", [{"id": "5", "at": AT + 5 * DAY}])
    lake.run()
    lake.rebuild()
    lake.gold()
    lake.assert_as_fresh()
    assert [d for (d,) in lake.rows("gold.daily_summary", "event_date")] == [day(5)]


def test_a_silver_that_is_gone_leaves_no_figures(lake: MemoryLake) -> None:
    lake.land("0", [{"id": "0", "at": AT}])
    lake.run()
    shutil.rmtree(lake.root / "silver")
    lake.gold()
    assert lake.rows("gold.events_by_type") == []
    assert owed(lake) == {}


def test_the_memory_of_what_is_owed_may_be_lost(lake: MemoryLake) -> None:
    lake.land("0", [{"id": f"{n}", "at": AT + n * DAY} for n in range(2)])
    before = lake.run().content()
    lake.land("1", [{"id": "9", "at": AT + 9 * DAY}])
    lake.process()
    shutil.rmtree(lake.root / "pending")
    lake.gold()
    assert lake.content() != before
    lake.assert_as_fresh()


def test_one_poisoned_date_stops_no_other_and_is_tried_again_later(lake: MemoryLake) -> None:
    """One accepted value stopped a gold table for all dates that were asked for with it, and the totals with it."""
    gold = lake.lake.gold_tables["events_by_type"]
    compute = gold.compute

    def poisoned(frames: Mapping[str, Frame]) -> Frame:
        frame = compute(frames)
        if any(row[EVENT_DATE] == day(3) for row in frame.select(EVENT_DATE).collect().iter_rows(named=True)):
            raise ValueError("poison")
        return frame

    lake.lake.gold_tables["events_by_type"] = replace(gold, compute=poisoned)
    lake.land("0", [{"id": f"{n}", "at": AT + n * DAY} for n in range(7)])
    lake.run()
    assert {d for (d,) in lake.rows("gold.events_by_type", "event_date")} == {day(n) for n in (0, 1, 2, 4, 5, 6)}
    assert lake.rows("gold.source_statistics", "records") == [(7,)]
    now = datetime.now(UTC)
    work = gold_work(lake.lake, now=now)["events_by_type"]
    assert (work.dates, [line for line in work.later if "poison" in line]) == (frozenset(), list(work.later))
    lake.land("1", [{"id": "new", "at": AT + 4 * DAY}, {"id": "more", "at": AT + 3 * DAY}])
    lake.run()
    assert lake.undone()[0].startswith("gold/events_by_type 2026-03-04: ValueError: poison; next try")
    assert len(lake.rows("gold.events_by_type", "event_key")) == 7
    lake.lake.gold_tables["events_by_type"] = gold
    assert gold_work(lake.lake, now=now + timedelta(hours=1))["events_by_type"].dates == {day(3)}
    lake.gold(now=now + timedelta(hours=1))
    lake.assert_as_fresh()


def test_a_long_name_in_a_good_event_is_a_name_like_any_other(lake: MemoryLake) -> None:
    """One accepted name of three hundred characters, as a folder's name, emptied a table and stopped the totals."""
    names = ["x" * 300, "a/b", "..", "ä" * 200, "", "%2F", "line\nbreak"]
    lake.land("0", [{"id": f"{n}", "at": AT, "type": name} for n, name in enumerate(names)])
    lake.run()
    assert {t for (t,) in lake.rows("gold.events_by_type", "event_type")} == set(names)
    assert lake.rows("gold.source_statistics", "records") == [(7,)]
    assert lake.undone() == []


def test_a_reject_reopens_only_the_tables_that_count_rejects(lake: MemoryLake) -> None:
    """Each reject reopened every gold table for the day it landed."""
    lake.land("0", [{"id": "0", "at": AT}])
    lake.run()
    lake.land("1", [{"id": "1", "at": AT, "n": -1}])
    lake.process()
    assert owed(lake) == {"daily_summary": {FIRST_DAY}}
    lake.gold()
    lake.assert_as_fresh()


def test_what_did_not_change_is_not_owed(lake: MemoryLake) -> None:
    records = [{"id": "0", "at": AT}, {"id": "1", "at": AT, "n": -1}]
    lake.land("0", records)
    lake.run()
    lake.replay()
    assert owed(lake) == {}
    lake.land("again", records[:1])
    lake.process()
    assert owed(lake) == {}


def test_a_lookup_shows_in_orders_of_any_date(tmp_path: Path) -> None:
    """Orders dated before the first gold partition, or after the current one, kept an old customer name for ever."""
    lake = MemoryLake(tmp_path / "lake", orders(), customers())
    dates = [datetime(1999, 5, 5), datetime(2026, 3, 1), datetime(2199, 1, 1)]  # noqa: DTZ001 (as DMS writes them)
    rows = [order("I", n, n, created_at=at, customer_id=n % 2) for n, at in enumerate(dates)]
    lake.land_changes("LOAD00000001.parquet", rows)
    lake.land_changes(
        "LOAD00000001.parquet", [change("I", n, 0, name=f"old {n}", country="x") for n in (0, 1)], of="customers"
    )
    lake.run()
    assert sorted(lake.rows("gold.orders_enriched", "id", "customer_name")) == [
        (0, "old 0"),
        (1, "old 1"),
        (2, "old 0"),
    ]
    today = datetime.now(UTC).date()
    before = lake.lake.table(lake.lake.gold_tables["orders_enriched"].spec).open().version
    lake.land_changes("2026/03/01/10/a.parquet", [change("U", 0, 5, name="new", country="x")], of="customers")
    lake.process()
    # As the sensor does: what lies outside gold's partitions belongs to the first and to the current one.
    first = date(2020, 1, 1)
    for _ in range(3):
        work = gold_work(lake.lake, now=datetime.now(UTC)).get("orders_enriched")
        if work is None or not work.is_due:
            break
        days = {min(max(day, first), today) for day in work.dates}
        lake.compute("orders_enriched", *days, earlier=first in days)
    assert sorted(lake.rows("gold.orders_enriched", "id", "customer_name")) == [(0, "new"), (1, "old 1"), (2, "new")]
    assert before < lake.lake.table(lake.lake.gold_tables["orders_enriched"].spec).open().version
    lake.gold()
    lake.assert_as_fresh()


def test_a_lookup_that_lands_after_its_orders_shows_in_them(tmp_path: Path) -> None:
    lake = MemoryLake(tmp_path / "lake", orders(), customers())
    lake.land_changes("LOAD00000001.parquet", [order("I", 1, 1, customer_id=1)])
    lake.run()
    lake.land_changes("LOAD00000001.parquet", [change("I", 1, 0, name="she", country="x")], of="customers")
    lake.run()
    assert lake.rows("gold.orders_enriched", "id", "customer_name") == [(1, "she")]


def test_a_lookup_owes_no_dates_of_its_own(tmp_path: Path) -> None:
    """Customers that joined in ten years made ten years of days due in a table of orders of one day."""
    joined = customers().model_dump(by_alias=True, exclude_none=True)
    joined["columns"]["created_at"] = {"type": "timestamp"}
    joined["event_time"] = {"column": "created_at"}
    lake = MemoryLake(tmp_path / "lake", orders(), type(customers()).model_validate(joined))
    lake.land_changes("LOAD00000001.parquet", [order("I", 1, 1)])
    since = datetime(2020, 1, 1)  # noqa: DTZ001 (as DMS writes it)
    people = [change("I", n, 0, name="n", country="x", created_at=since + timedelta(days=n)) for n in range(9)]
    lake.land_changes("LOAD00000001.parquet", people, of="customers")
    lake.process()
    assert owed(lake)["orders_enriched"] == {FIRST_DAY}


def test_a_gold_step_that_read_an_older_silver_never_writes_over_a_newer_one(lake: MemoryLake) -> None:
    """Two steps over one date without rows: the older figures were committed last and stayed."""
    lake.land("0", [{"id": "0", "at": AT}])
    lake.process()
    table = lake.lake.gold_tables["hourly_metrics"]
    engine, done = lake.engine, list[bool]()

    class Slow:
        def __getattr__(self, name: str) -> Any:
            return getattr(engine, name)

        def replace(self, *args: Any, **kwargs: Any) -> None:
            if not done:
                done.append(True)
                other = MemoryLake(lake.root, CLICKS)
                other.land("0", [{"id": "x", "at": AT + DAY}])
                other.process()
                other.compute(table.name, FIRST_DAY)
            engine.replace(*args, **kwargs)

    first = MemoryLake(lake.root, CLICKS)
    first.land("seed", [{"id": "s", "at": AT + 5 * DAY}])
    first.process()
    first.compute(table.name, day(5))
    lake.engine = Slow()
    lake.compute(table.name, FIRST_DAY)
    lake.engine = engine
    lake.gold()
    assert {d for (d,) in lake.rows("gold.hourly_metrics", "event_date")} == {day(1), day(5)}
