"""Upkeep: it changes no row, owes nobody anything, spares readers, and leaves few files."""

import shutil
from datetime import timedelta
from pathlib import Path

import polars as pl
from deltalake import DeltaTable

from datalake_assets.lake.steps.maintain import maintain
from datalake_assets.lake.store.snapshot import Snapshot
from datalake_assets.lake.store.upkeep import Upkeep
from datalake_assets_tests.memory.lakes import AT, HOUR, MemoryLake, before_the_next_change_of, order, orders, stream

CLICKS = stream(properties={"n": {"type": "integer", "minimum": 0}})
HOURS = 5


def worked(root: Path) -> MemoryLake:
    """A lake with as many steps as hours: events that are added, orders that replace each other, and rejects."""
    lake = MemoryLake(root, CLICKS, orders())
    for hour in range(HOURS):
        lake.land(f"2026/03/01/{hour:02}/o", [{"id": f"{hour}", "at": AT, "n": 1}, {"id": "bad", "at": AT, "n": -1}])
        lake.land_changes(f"2026/03/01/{hour:02}/o.parquet", [order("U", hour % 3, hour, product_name=f"{hour}")])
        lake.process()
    lake.gold()
    return lake


def upkeep(lake: MemoryLake, *, retention: timedelta = timedelta(0)) -> dict[str, Upkeep]:
    done = [one for one in maintain(lake.lake, retention=retention) if isinstance(one, Upkeep)]
    return {one.table: one for one in done}


def on_disk(lake: MemoryLake) -> int:
    files = (p for zone in ("silver", "gold", "quarantine") for p in (lake.root / zone).rglob("*.parquet"))
    return len([p for p in files if "_delta_log" not in p.parts])


def live(lake: MemoryLake) -> int:
    return sum(lake.lake.table(spec).open().files.height for spec in lake.lake.specs() if spec.zone != "lake")


def test_upkeep_leaves_few_files_and_changes_no_row(tmp_path: Path) -> None:
    lake = worked(tmp_path / "lake")
    before = lake.content()
    done = upkeep(lake)
    assert (done["silver.clicks"].live_before, done["silver.clicks"].live_after) == (HOURS, 1)
    assert done["silver.clicks"].deleted == HOURS
    assert done["silver.orders"].deleted >= HOURS - 1
    assert all(one.bytes_freed > 0 for one in done.values() if one.deleted)
    assert lake.content() == before
    assert on_disk(lake) == live(lake)
    assert lake.undone() == []
    lake.assert_as_fresh()
    again = {name: one.deleted for name, one in upkeep(lake).items() if one.deleted}
    assert not [name for name in again if "." in name], again  # the memory of looking goes on


def test_upkeep_owes_gold_nothing_and_steps_go_on(tmp_path: Path) -> None:
    lake = worked(tmp_path / "lake")
    upkeep(lake)
    assert lake.gold() == {}
    lake.land("2026/03/01/23/late", [{"id": "late", "at": AT, "n": 1}])
    lake.land_changes("2026/03/01/23/o.parquet", [order("D", 1, 99)])
    lake.run()
    lake.assert_as_fresh()


def test_what_a_reader_opened_lately_is_kept(tmp_path: Path) -> None:
    lake = worked(tmp_path / "lake")
    opened: Snapshot = lake.lake.silver(CLICKS).open()
    rows = opened.row_count
    kept = upkeep(lake, retention=timedelta(hours=1))
    assert (kept["silver.clicks"].live_after, kept["silver.clicks"].deleted) == (1, 0)
    assert opened.scan().collect().height == rows


def test_what_a_writer_is_about_to_commit_and_what_a_step_reads_of_the_lakes_memory_is_kept(tmp_path: Path) -> None:
    """Without a retention they went too: a rebuild failed, and the ledger named a file that was gone for good."""
    lake = worked(tmp_path / "lake")
    written = lake.root / "silver/clicks/event_date=2026-03-01/about-to-be-committed.parquet"
    written.write_bytes(b"PAR1")
    ledger = lake.lake.ledger.table.open()
    lake.land("2026/03/01/23/late", [{"id": "late", "at": AT, "n": 1}])
    lake.process()
    upkeep(lake)
    assert written.exists()
    assert ledger.scan().collect().height == 2 * HOURS


def test_upkeep_beside_a_step_is_decided_again(tmp_path: Path) -> None:
    lake, other = (worked(tmp_path / "lake"), MemoryLake(tmp_path / "lake", CLICKS, orders()))

    def land() -> None:
        other.land("late", [{"id": "late", "at": AT, "n": 1}])
        other.admit("clicks")
        other.step([HOUR], name="clicks")

    with before_the_next_change_of("silver.clicks", land, verb="rewrite"):
        upkeep(lake)
    assert "late" in lake.ids()
    assert lake.lake.silver(CLICKS).open().files.height == 2  # what came meanwhile waits for the next time
    upkeep(lake)
    assert lake.lake.silver(CLICKS).open().files.height == 1
    lake.gold()
    lake.assert_as_fresh()


def test_a_table_that_is_cut_otherwise_is_left_as_it_is_and_stops_no_other(tmp_path: Path) -> None:
    lake = worked(tmp_path / "lake")
    history = lake.root / "silver" / "orders_history"
    rows = pl.read_delta(str(history))
    shutil.rmtree(history)
    for part in rows.iter_slices(2):
        part.write_delta(str(history), mode="append")
    done = {one.table: one for one in maintain(lake.lake, retention=timedelta(0)) if isinstance(one, Upkeep)}
    before, after = done["silver.orders_history"].live_before, done["silver.orders_history"].live_after
    assert before == after > 1
    assert not done["silver.clicks"].live_after > 1


def test_any_reader_reads_what_was_put_together(tmp_path: Path) -> None:
    lake = worked(tmp_path / "lake")
    upkeep(lake)
    table = DeltaTable(str(lake.root / "silver" / "clicks"))
    assert (table.protocol().min_reader_version, table.protocol().min_writer_version) == (1, 2)
    assert sorted(pl.read_delta(str(lake.root / "silver" / "clicks"))["id"]) == sorted(f"{h}" for h in range(HOURS))
