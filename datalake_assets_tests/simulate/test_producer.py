"""Whole hours of all producers: the same request lands the same, once."""

from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from obstore.store import LocalStore, MemoryStore

from datalake_assets.simulate.producer import Landed, Simulation, first_hour, simulate
from datalake_assets_tests.simulate.conftest import START, Bronze, Land

PREFIXES = ("dms/public/orders", "dms/public/customers", "firehose/web_events")


def test_equal_simulations_land_equal_bytes_and_another_seed_other_ones(land: Land) -> None:
    one, same, other = land("one"), land("same"), land("other", seed=6)
    assert {k: body for k, (body, _) in one.content().items()} == {k: body for k, (body, _) in same.content().items()}
    assert one.landed == same.landed
    assert set(one.content().values()).isdisjoint(other.content().values())


def test_a_second_run_changes_nothing(land: Land) -> None:
    first = land()
    before = first.content()
    again = land()
    assert again.content() == before
    assert (again.landed.objects, again.landed.bytes, again.landed.present) == (0, 0, first.landed.objects)
    assert set(again.landed.records.values()) == {0}


def test_a_run_that_was_cut_off_is_completed(land: Land) -> None:
    whole, cut = land("whole"), land("cut")
    lost = cut.keys()[::3]
    for key in lost:
        (cut.folder / key).unlink()
    (cut.folder / "_dms-public-orders-LOAD00000001.parquet").write_bytes(b"half a fi")
    again = land("cut")
    assert again.landed.objects == len(lost)
    bodies = {key: body for key, (body, _) in again.content().items()}
    bodies.pop("_dms-public-orders-LOAD00000001.parquet", None)
    assert bodies == {key: body for key, (body, _) in whole.content().items()}


def test_more_hours_begin_with_the_objects_of_fewer(land: Land) -> None:
    short, long = land("short", hours=2), land("long", hours=5)
    assert {key: long.content()[key][0] for key in short.keys()} == {  # noqa: SIM118 - a method
        key: body for key, (body, _) in short.content().items()
    }


def test_every_hour_has_orders_customers_and_several_firehose_objects(bronze: Bronze) -> None:
    for hour in bronze.simulation.landing_hours():
        orders, customers, events = (len(bronze.keys(f"{p}/{hour:%Y/%m/%d/%H}/")) for p in PREFIXES)
        assert orders >= 1
        assert customers >= 1
        assert events >= 4


def test_the_tally_is_what_lies_in_the_folder(bronze: Bronze) -> None:
    assert bronze.landed.objects == len(bronze.keys())
    assert bronze.landed.bytes == sum(len(body) for body, _ in bronze.content().values())
    assert set(bronze.landed.records) == {"orders", "customers", "web_events", "device_readings"}
    assert bronze.landed.records["web_events"] >= 30 * 600


def test_progress_is_told_after_each_hour() -> None:
    tallies: list[Landed] = []
    landed = simulate(MemoryStore(), Simulation(hours=3, rate=12, seed=1, start=START), progress=tallies.append)
    assert len(tallies) == 3
    assert tallies[-1] == landed
    assert tallies[0].objects < landed.objects


def test_the_full_load_lands_in_the_first_hour_on_every_machine(bronze: Bronze, tmp_path: Path) -> None:
    loads = [key for key in bronze.keys("dms/") if "/LOAD" in key]
    assert {bronze.mtime(key) for key in loads} == {int(START.timestamp()) * 10**9}
    later = Simulation(hours=1, rate=12, seed=5, start=START + timedelta(days=1))
    simulate(LocalStore(prefix=tmp_path), Simulation(hours=1, rate=12, seed=5, start=START))
    simulate(LocalStore(prefix=tmp_path), later)
    kept = (tmp_path / "dms/public/orders/LOAD00000001.parquet").stat().st_mtime
    assert kept == START.timestamp(), "a landed object is never touched, not even by another simulation"


@pytest.mark.parametrize(
    ("hours", "rate", "start", "message"),
    [
        (0, 600, START, "1 or more"),
        (1, 0, START, "1 or more"),
        (1, 600, datetime(2026, 11, 1), "in UTC"),  # noqa: DTZ001 - the fault itself
        (1, 600, datetime(2026, 11, 1, tzinfo=timezone(timedelta(hours=1))), "in UTC"),
        (1, 600, datetime(2026, 11, 1, 0, 30, tzinfo=UTC), "full hour"),
    ],
)
def test_what_cannot_be_simulated_is_refused(hours: int, rate: int, start: datetime, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Simulation(hours=hours, rate=rate, seed=1, start=start)


def test_the_first_hour_is_that_of_the_oldest_web_events(bronze: Bronze) -> None:
    store = LocalStore(bronze.folder)
    assert first_hour(store) == bronze.simulation.start
    assert first_hour(MemoryStore()) is None
