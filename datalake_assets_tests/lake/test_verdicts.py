"""Verdicts hold back the event dates they are about, until their partition passes; other processes see them at once."""

from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from datalake_assets.lake.spec.tables import VERDICTS
from datalake_assets.lake.store.table import Table
from datalake_assets.lake.store.verdicts import Verdict, Verdicts

SUNDAY, MONDAY = date(2026, 3, 1), date(2026, 3, 2)
TEN, ELEVEN = "2026-03-01-10:00", "2026-03-01-11:00"
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
def verdicts(tmp_path: Path) -> Verdicts:
    """A table of verdicts that does not exist yet."""
    return Verdicts(Table(VERDICTS, str(tmp_path / "verdicts")))


def verdict(
    partition: str = TEN,
    *dates: date,
    passed: bool = False,
    blocking: bool = True,
    rule: str = "rejected_fraction",
    detail: str = "too many",
) -> Verdict:
    return Verdict(rule, partition, passed, blocking, detail, dates or (SUNDAY,))


def store(verdicts: Verdicts, *found: Verdict, dataset: str = "clicks") -> None:
    verdicts.store(dataset, lambda: found, now=NOW)


def test_without_verdicts_nothing_is_held_back(verdicts: Verdicts) -> None:
    assert verdicts.held() == {}
    assert verdicts.of("clicks") == []


def test_a_verdict_that_fails_and_blocks_holds_back_its_dates_of_its_dataset(verdicts: Verdicts) -> None:
    store(verdicts, verdict(TEN, SUNDAY, MONDAY))
    store(verdicts, verdict(passed=True), dataset="views")
    reason = f"clicks {TEN}: too many"
    assert verdicts.held() == {"clicks": {SUNDAY: reason, MONDAY: reason}}


def test_a_verdict_that_only_warns_holds_nothing_back_and_is_shown(verdicts: Verdicts) -> None:
    warning = verdict(blocking=False)
    store(verdicts, warning)
    assert verdicts.held() == {}
    assert verdicts.of("clicks") == [warning]


def test_a_partition_that_passes_gives_back_the_dates_that_no_other_holds(verdicts: Verdicts) -> None:
    store(verdicts, verdict(TEN, SUNDAY, MONDAY), verdict(ELEVEN, MONDAY))
    store(verdicts, verdict(TEN, SUNDAY, MONDAY, passed=True))
    assert verdicts.held() == {"clicks": {MONDAY: f"clicks {ELEVEN}: too many"}}


def test_a_partition_is_judged_anew_with_each_step_and_by_each_rule(verdicts: Verdicts) -> None:
    store(verdicts, verdict(TEN, SUNDAY), verdict(TEN, MONDAY, rule="key_unique", detail="twice"))
    store(verdicts, verdict(TEN, MONDAY, detail="worse"))
    assert {(v.rule, v.dates, v.detail) for v in verdicts.of("clicks")} == {
        ("rejected_fraction", (SUNDAY, MONDAY), "worse"),  # what goes on failing holds what it held
        ("key_unique", (MONDAY,), "twice"),
    }


def test_of_those_that_pass_the_newest_of_each_rule_is_kept(verdicts: Verdicts) -> None:
    for hour in range(5):
        store(verdicts, verdict(f"2026-03-01-{hour:02}:00", passed=True, detail=f"hour {hour}"))
    store(verdicts, verdict(ELEVEN))
    assert [(v.partition, v.passed) for v in verdicts.of("clicks")] == [("2026-03-01-04:00", True), (ELEVEN, False)]


def test_a_verdict_that_is_known_is_not_written_again(verdicts: Verdicts) -> None:
    store(verdicts, verdict())
    before = verdicts.table.open().version
    verdicts.store("clicks", lambda: [verdict()], now=datetime(2026, 3, 2, tzinfo=UTC))
    verdicts.store("clicks", list, now=NOW)
    assert verdicts.table.open().version == before


def test_a_step_that_others_came_before_judges_again_by_what_there_is_then(verdicts: Verdicts) -> None:
    store(verdicts, verdict())
    asked: list[int] = []

    def judge() -> list[Verdict]:
        asked.append(1)
        if len(asked) == 1:
            store(verdicts, verdict(TEN, detail="meanwhile"))
        return [verdict(TEN, detail=f"judged {len(asked)} times")]

    verdicts.store("clicks", judge, now=NOW)
    assert [v.detail for v in verdicts.of("clicks")] == ["judged 2 times"]
