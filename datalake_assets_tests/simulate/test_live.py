"""Landing live: small objects with the times of now, until told to stop."""

import gzip
import json
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from threading import Event, Thread

import pyarrow.parquet as pq
import pytest
from obstore.store import LocalStore

from datalake_assets.simulate.producer import Landed, Simulation, follow
from datalake_assets.simulate.replica import replica
from datalake_assets_tests.simulate.conftest import START, Bronze

SIMULATION = Simulation(hours=2, rate=60, seed=5, start=START)


def session(folder: Path, *, at: datetime, flushes: int = 20) -> Bronze:
    """Follow for some flushes on a clock that begins `at` and ticks every 5 seconds."""
    ticks, stop = count(), Event()
    done: list[Landed] = []

    def progress(landed: Landed) -> None:
        done.append(landed)
        if len(done) == flushes:
            stop.set()

    def clock() -> datetime:
        return at + next(ticks) * timedelta(seconds=5)

    store = LocalStore(prefix=folder, mkdir=True)
    landed = follow(store, SIMULATION, stop=stop, seconds_per_flush=0, clock=clock, progress=progress)
    assert landed == done[-1]
    assert len(done) == flushes
    return Bronze(folder, SIMULATION, landed)


def new_ids(bronze: Bronze) -> set[int]:
    """The ids of a session's orders that the simulation does not have."""
    files = [bronze.folder / key for key in bronze.keys("dms/public/orders/")]
    ids = {row["id"] for file in files for row in pq.read_table(file).to_pylist()}
    known = max(replica(SIMULATION)["orders"])
    return {key for key in ids if key > known}


def test_each_flush_lands_an_order_and_an_event_in_the_hour_of_now(tmp_path: Path) -> None:
    at = START + timedelta(days=9, minutes=12, milliseconds=345)
    bronze = session(tmp_path, at=at)
    assert len(bronze.keys(f"dms/public/orders/{at:%Y/%m/%d/%H}/")) == 20
    events = bronze.keys(f"firehose/web_events/{at:%Y/%m/%d/%H}/")
    assert len(events) == 20
    for key in events:
        for line in gzip.decompress((tmp_path / key).read_bytes()).splitlines():
            happened = datetime.fromtimestamp(json.loads(line)["created_at"], UTC)
            assert happened <= at + timedelta(seconds=100)
    assert {key.split("/")[0] for key in bronze.keys()} == {"api", "dms", "firehose"}  # noqa: SIM118
    assert bronze.landed.records["customers"] > 0


def test_a_flush_over_the_hour_goes_where_firehose_and_dms_would_put_it(tmp_path: Path) -> None:
    at = START + timedelta(days=9, minutes=59, seconds=58)
    bronze = session(tmp_path, at=at, flushes=1)
    assert bronze.keys(f"firehose/web_events/{at:%Y/%m/%d/%H}/"), "by the oldest record"
    after = at + timedelta(hours=1)
    assert bronze.keys(f"dms/public/orders/{after:%Y/%m/%d/%H}/"), "by the time the file was made"


def test_sessions_never_give_an_id_twice(tmp_path: Path) -> None:
    at = START + timedelta(days=9)
    one = new_ids(session(tmp_path / "one", at=at))
    two = new_ids(session(tmp_path / "two", at=at + timedelta(minutes=10)))
    assert one
    assert two
    assert one.isdisjoint(two)


def test_it_stops_when_told(tmp_path: Path) -> None:
    stop, began = Event(), datetime.now(UTC)
    landed: list[Landed] = []
    store = LocalStore(prefix=tmp_path)
    thread = Thread(target=lambda: follow(store, SIMULATION, stop=stop, seconds_per_flush=0.05, progress=landed.append))
    thread.start()
    while not landed:
        thread.join(0.01)
    stop.set()
    thread.join(10)
    assert not thread.is_alive()
    hours = {f"{moment:%Y/%m/%d/%H}" for moment in (began, datetime.now(UTC))}
    folders = {str(path.parent.relative_to(tmp_path / "firehose/web_events")) for path in tmp_path.rglob("*.gz")}
    assert folders
    assert folders <= hours


def test_hours_that_are_not_over_cannot_be_followed(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="later than now"):
        follow(LocalStore(prefix=tmp_path), SIMULATION, stop=Event(), clock=lambda: START + timedelta(minutes=90))
