"""A lake that is a year old: looking for work costs what it cost on its first days."""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from datalake_assets.lake.steps import planning
from datalake_assets.lake.store.place import TablePlace
from datalake_assets.lake.store.snapshot import Snapshot, open_snapshot
from datalake_assets.lake.store.verdicts import Verdict
from datalake_assets_tests.memory.lakes import AT, MemoryLake, stream

NOW = datetime(2026, 12, 31, 12, tzinfo=UTC)
DATASETS = [stream(f"stream_{n:02}") for n in range(30)]
_ROUNDS = 5


def remembered(lake: MemoryLake, days: int, *, every: int) -> pl.DataFrame:
    """The ledger's rows of an object every some hours of every dataset, for some days."""
    hours = pl.DataFrame({"moment": [NOW - timedelta(hours=n) for n in range(0, 24 * days, every)]})
    names = pl.DataFrame({"dataset": [d.name for d in DATASETS]})
    moment = pl.col("moment")
    folder = moment.dt.strftime("%Y/%m/%d/%H")
    rows = names.join(hours, how="cross").select(
        "dataset",
        bucket=moment.dt.strftime("%Y-%m"),
        key=pl.format("firehose/{}/{}/object", "dataset", folder),
        etag=pl.col("dataset").hash(1).cast(pl.String),
        size=pl.lit(1000, pl.Int64),
        stamp=moment.hash(2).cast(pl.String),
        last_modified=moment,
        partition=moment.dt.strftime("%Y-%m-%d-%H:00"),
        status=pl.lit("processed"),
        event_dates=pl.concat_list(moment.dt.date()),
        admitted_at=moment,
        begun_at=moment,
        processed_at=moment,
    )
    dtypes = lake.lake.ledger.table.dtypes
    return rows.with_columns(pl.lit(None, t).alias(n) for n, t in dtypes.items() if n not in rows.columns).select(
        pl.col(n).cast(t) for n, t in dtypes.items()
    )


def aged(root: Path, days: int, *, every: int) -> MemoryLake:
    """A lake that remembers some days: all that landed, a blocked partition of each week, gold that owes nothing."""
    lake = MemoryLake(root, *DATASETS)
    lake.lake.ledger.table.open().change(add=remembered(lake, days, every=every))
    for dataset in DATASETS[:3]:
        lake.land("o", [{"id": "a", "at": AT}], of=dataset.name)
        lake.process(dataset.name)
        blocked = [NOW - timedelta(days=n) for n in range(0, days, 7)]
        failing = [Verdict("rule", f"{m:%Y-%m-%d-%H:00}", False, True, "why", (m.date(),)) for m in blocked]
        lake.lake.verdicts.store(dataset.name, lambda found=failing: found, now=NOW)  # type: ignore[misc]
    lake.gold()
    return lake


def tick(lake: MemoryLake) -> None:
    """What all sensors do at once: look at every dataset, and at gold."""
    for dataset in DATASETS:
        planning.landing_work(
            lake.lake, dataset, after=None, lookback=timedelta(hours=3), limit=1000, now=datetime.now(UTC)
        )
    planning.gold_work(lake.lake, now=datetime.now(UTC))


def openings(work: Callable[[], object], monkeypatch: pytest.MonkeyPatch) -> int:
    """How often the ledger is opened by some work."""
    made: list[str] = []

    def counting(place: TablePlace) -> Snapshot:
        made.append(place.spec.sql_name)
        return open_snapshot(place)

    with monkeypatch.context() as patched:
        patched.setattr("datalake_assets.lake.store.table.open_snapshot", counting)
        work()
    return made.count("ledger")


def seconds(work: Callable[[], object]) -> float:
    """The least processor time that some work took."""
    least = float("inf")
    for _ in range(_ROUNDS):
        begin = time.process_time()
        work()
        least = min(least, time.process_time() - begin)
    return least


def compare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, every: int) -> None:
    found = {}
    for days in (1, 365):
        lake = aged(tmp_path / f"{days}", days, every=every)
        tick(lake)
        opened = openings(lambda one=lake: tick(one), monkeypatch)  # type: ignore[misc]
        found[days] = (opened, seconds(lambda one=lake: tick(one)))  # type: ignore[misc]
    (few, short), (many, long) = found[1], found[365]
    figures = f"{short * 1000:.0f} ms after a day, {long * 1000:.0f} ms after a year"
    print(f"a tick: {figures}; {few} and {many} looks into the ledger")  # noqa: T201 (shown with -s)
    assert max(few, many) < len(DATASETS)
    assert long / short < 2


def test_a_tick_costs_after_a_year_what_it_costs_after_a_day(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two months at a step a minute made a tick of seconds and of a gigabyte, as the log of steps was read whole."""
    compare(tmp_path, monkeypatch, every=12)


@pytest.mark.soak
def test_a_tick_costs_the_same_with_an_object_an_hour(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compare(tmp_path, monkeypatch, every=1)


def test_a_thousand_steps_leave_a_short_memory(tmp_path: Path) -> None:
    """Each commit left its traces in the log, and each look read them all."""
    lake = MemoryLake(tmp_path / "lake", DATASETS[0])
    name = DATASETS[0].name
    table = lake.lake.verdicts.table
    for n in range(60):
        verdict = Verdict("rule", "2026-03-01-10:00", False, True, f"{n}", ())
        lake.lake.verdicts.store(name, lambda found=verdict: [found], now=NOW)  # type: ignore[misc]
    assert table.open().files.height == 1
    assert table.open().row_count == 1
    assert table.open().handle.metadata().configuration["delta.deletedFileRetentionDuration"] == "interval 1 hours"  # type: ignore[union-attr]
