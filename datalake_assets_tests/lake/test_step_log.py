"""The step log remembers which event dates gold owes, whatever became of the runs between."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Literal

import pytest

from datalake_assets.lake.store.step import PartitionCounts, StepReport
from datalake_assets.lake.store.step_log import Owed, StepLog, is_stale, owed_dates

MONDAY, TUESDAY = date(2026, 3, 2), date(2026, 3, 3)
SOURCES = ("silver/clicks", "quarantine/clicks")


@pytest.fixture
def log(tmp_path: Path) -> StepLog:
    """A step log that does not exist yet."""
    return StepLog(str(tmp_path / "steps"))


def now() -> datetime:
    return datetime.now(UTC) + timedelta(seconds=1)


def silver(
    log: StepLog,
    *days: date,
    come: int,
    dataset: str = "clicks",
    touched: tuple[date, ...] | None = None,
    partition: str = "p1",
    blocked: bool = False,
) -> None:
    """Note a silver step over events of these days, after which the table has come so far."""
    report = StepReport(
        zone="silver",
        name=dataset,
        engine="polars",
        started_at=now(),
        partitions=(PartitionCounts(partition=partition, event_dates=days),),
        touched_dates=days if touched is None else touched,
        positions={f"silver/{dataset}": come, f"quarantine/{dataset}": 0},
    )
    log.record(report, blocked={partition} if blocked else ())


def gold(log: StepLog, *days: date, read: int, table: str = "daily", of: str = "clicks") -> None:
    """Note that gold computed these days when the source had come so far."""
    report = StepReport(
        zone="gold",
        name=table,
        engine="polars",
        started_at=now(),
        partitions=tuple(PartitionCounts(partition=d.isoformat(), event_dates=(d,)) for d in days),
        positions={f"silver/{of}": read, f"quarantine/{of}": 0},
    )
    log.record(report)


def owed(log: StepLog, *, table: str = "daily", sources: tuple[str, ...] = SOURCES) -> Owed:
    return owed_dates(log.recent_rows(now=now()), table=table, sources=sources)


def dates(*days: date) -> Owed:
    return Owed(frozenset(days), frozenset())


def test_a_log_that_is_not_there_owes_nothing(log: StepLog) -> None:
    assert owed(log) == dates()
    assert log.last_positions("clicks", now=now()) == {}


def test_gold_owes_the_dates_that_silver_touched(log: StepLog) -> None:
    silver(log, MONDAY, TUESDAY, come=1, touched=(MONDAY,))
    assert owed(log) == dates(MONDAY)


def test_gold_owes_nothing_once_it_computed_them(log: StepLog) -> None:
    silver(log, MONDAY, TUESDAY, come=1)
    gold(log, MONDAY, read=1)
    assert owed(log) == dates(TUESDAY)
    gold(log, TUESDAY, read=1)
    assert owed(log) == dates()


def test_a_date_touched_again_is_owed_again_however_old(log: StepLog) -> None:
    silver(log, MONDAY, come=1)
    gold(log, MONDAY, read=1)
    silver(log, MONDAY, come=2)
    assert owed(log) == dates(MONDAY)


def test_gold_that_read_before_silver_committed_still_owes(log: StepLog) -> None:
    silver(log, MONDAY, come=1)
    silver(log, MONDAY, come=2)
    gold(log, MONDAY, read=1)
    assert owed(log) == dates(MONDAY)


def test_a_step_that_touched_nothing_owes_nothing(log: StepLog) -> None:
    silver(log, MONDAY, come=1)
    gold(log, MONDAY, read=1)
    silver(log, MONDAY, come=1, touched=())
    silver(log, TUESDAY, come=2, partition="p2")
    assert owed(log) == dates(TUESDAY)


def test_another_gold_table_owes_for_itself(log: StepLog) -> None:
    silver(log, MONDAY, come=1)
    gold(log, MONDAY, read=1, table="hourly")
    assert owed(log, table="hourly") == dates()
    assert owed(log) == dates(MONDAY)


def test_sources_that_a_table_does_not_read_are_ignored(log: StepLog) -> None:
    silver(log, MONDAY, come=1, dataset="views")
    assert owed(log) == dates()
    assert owed(log, sources=("silver/views",)) == dates(MONDAY)


def test_dates_of_a_blocked_partition_are_withheld(log: StepLog) -> None:
    silver(log, MONDAY, come=1)
    silver(log, TUESDAY, come=2, partition="p2", blocked=True)
    assert owed(log) == Owed(frozenset({MONDAY}), frozenset({TUESDAY}))


def test_a_date_that_any_blocked_partition_shares_is_withheld(log: StepLog) -> None:
    silver(log, MONDAY, come=1)
    silver(log, MONDAY, come=2, partition="p2", blocked=True)
    assert owed(log) == Owed(frozenset(), frozenset({MONDAY}))


def test_a_partition_that_is_mended_gives_its_dates_back(log: StepLog) -> None:
    silver(log, MONDAY, come=1, blocked=True)
    silver(log, MONDAY, come=2)
    assert owed(log) == dates(MONDAY)


def test_a_blocked_partition_withholds_what_its_earlier_steps_read_too(log: StepLog) -> None:
    silver(log, MONDAY, come=1, blocked=True)
    silver(log, TUESDAY, come=2, blocked=True)
    assert owed(log) == Owed(frozenset(), frozenset({MONDAY, TUESDAY}))


def test_what_silver_last_noted_is_where_its_next_step_begins(log: StepLog) -> None:
    silver(log, MONDAY, come=1)
    silver(log, MONDAY, come=3, partition="p2")
    silver(log, MONDAY, come=9, dataset="views")
    assert log.last_positions("clicks", now=now()) == {"silver/clicks": 3, "quarantine/clicks": 0}


def test_a_step_over_several_partitions_counts_its_own_figures_once(log: StepLog) -> None:
    report = StepReport(
        zone="silver",
        name="clicks",
        engine="polars",
        started_at=now(),
        partitions=(PartitionCounts(partition="p1", rows_in=2), PartitionCounts(partition="p2", rows_in=3)),
        rows_written=5,
        bytes_in=100,
        seconds={"read": 1.5, "write": 0.5},
        touched_dates=(MONDAY,),
    )
    log.record(report)
    rows = log.recent_rows(now=now())
    assert rows.select("rows_in", "rows_written", "bytes_in", "seconds").sum().rows() == [(5, 5, 100, 2.0)]


def test_steps_are_forgotten_after_two_months_of_looking_back(log: StepLog) -> None:
    silver(log, MONDAY, come=1)
    assert log.recent_rows(now=now() + timedelta(days=70)).is_empty()
    assert log.all_rows().collect().height == 1


def test_compaction_of_the_log_keeps_its_order(log: StepLog) -> None:
    for n in range(55):
        silver(log, MONDAY, come=n + 1)
    assert owed(log) == dates(MONDAY)
    gold(log, MONDAY, read=55)
    assert owed(log) == dates()
    assert log.recent_rows(now=now()).height == 56


@pytest.mark.parametrize(("read", "stale"), [(None, True), (1, True), (2, False)])
def test_a_whole_table_is_stale_until_it_read_the_newest_version(log: StepLog, read: int | None, stale: bool) -> None:
    def noted(table: str, **positions: int) -> None:
        zone: Literal["gold"] = "gold"
        at = {f"gold/{name}": come for name, come in positions.items()}
        partition = (PartitionCounts(partition=""),)
        log.record(
            StepReport(zone=zone, name=table, engine="polars", started_at=now(), partitions=partition, positions=at)
        )

    noted("daily", daily=2)
    if read is not None:
        noted("totals", daily=read, totals=1)
    assert is_stale(log.recent_rows(now=now()), table="totals", source="daily") is stale
