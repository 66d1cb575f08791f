"""Verdicts are kept while they matter: all that fail, and the newest of each rule that passes."""

from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from datalake_assets.lake.spec.tables import VERDICTS
from datalake_assets.lake.store.table import Table
from datalake_assets.lake.store.verdicts import Verdict, Verdicts

NOW, LATER = datetime(2026, 3, 1, 12, tzinfo=UTC), datetime(2026, 3, 1, 13, tzinfo=UTC)
MARCH, APRIL = date(2026, 3, 1), date(2026, 4, 1)


@pytest.fixture
def verdicts(tmp_path: Path) -> Verdicts:
    """Verdicts that do not exist yet."""
    return Verdicts(Table(VERDICTS, str(tmp_path / "verdicts")))


def verdict(
    partition: str, *dates: date, rule: str = "rejected", passed: bool = False, blocking: bool = True
) -> Verdict:
    """A verdict on a partition: failing and blocking, unless told otherwise."""
    return Verdict(rule, partition, passed, blocking, "too many" if not passed else "fine", dates)


def store(verdicts: Verdicts, *found: Verdict, dataset: str = "clicks", now: datetime = NOW) -> None:
    verdicts.store(dataset, lambda: found, now=now)


def kept(verdicts: Verdicts, dataset: str = "clicks") -> list[tuple[str, str, bool]]:
    return [(v.rule, v.partition, v.passed) for v in verdicts.of(dataset)]


def test_all_that_fail_are_kept(verdicts: Verdicts) -> None:
    store(verdicts, verdict("p1", MARCH), verdict("p2", APRIL))
    store(verdicts, verdict("p3", rule="torn"))
    assert kept(verdicts) == [("rejected", "p1", False), ("rejected", "p2", False), ("torn", "p3", False)]
    assert verdicts.of("clicks")[0] == verdict("p1", MARCH)


def test_of_those_that_pass_the_newest_of_each_rule_is_kept(verdicts: Verdicts) -> None:
    store(verdicts, verdict("p1", passed=True), verdict("p1", rule="torn", passed=True))
    store(verdicts, verdict("p2", passed=True), verdict("p3"))
    assert kept(verdicts) == [("rejected", "p2", True), ("rejected", "p3", False), ("torn", "p1", True)]


def test_a_partition_that_passes_holds_nothing_back_any_more(verdicts: Verdicts) -> None:
    store(verdicts, verdict("p1", MARCH), verdict("p2", APRIL))
    store(verdicts, verdict("p1", MARCH, passed=True))
    assert verdicts.held() == {"clicks": {APRIL: "clicks p2: too many"}}
    assert verdicts.of("clicks")[0].dates == ()  # what passes concerns no date


def test_a_partition_that_passed_and_fails_again_is_kept_as_failing(verdicts: Verdicts) -> None:
    store(verdicts, verdict("p1", passed=True))
    store(verdicts, verdict("p1", MARCH))
    assert kept(verdicts) == [("rejected", "p1", False)]


def test_dates_are_held_by_dataset_with_the_reason(verdicts: Verdicts) -> None:
    assert verdicts.held() == {}
    store(verdicts, verdict("p1", MARCH, APRIL), verdict("p2", MARCH, blocking=False, rule="late"))
    store(verdicts, verdict("p9", APRIL), dataset="views")
    store(verdicts, verdict("p8"), dataset="orders")
    assert verdicts.held() == {
        "clicks": dict.fromkeys((MARCH, APRIL), "clicks p1: too many"),
        "views": {APRIL: "views p9: too many"},
        "orders": {},
    }


def test_one_dataset_leaves_the_verdicts_of_another(verdicts: Verdicts) -> None:
    store(verdicts, verdict("p1", MARCH))
    store(verdicts, verdict("p1", passed=True), dataset="views")
    assert (kept(verdicts), kept(verdicts, "views")) == ([("rejected", "p1", False)], [("rejected", "p1", True)])


def test_what_is_found_again_is_not_committed_again(verdicts: Verdicts) -> None:
    store(verdicts)
    assert verdicts.table.open().version == -1
    for moment in (NOW, LATER):
        store(verdicts, verdict("p1", APRIL, MARCH), verdict("p2", passed=True), now=moment)
        assert verdicts.table.open().version == 0


def test_who_was_disturbed_judges_again(verdicts: Verdicts) -> None:
    store(verdicts, verdict("p1", MARCH))
    asked: list[int] = []

    def judge() -> list[Verdict]:
        asked.append(1)
        if len(asked) == 1:  # another step over the same partition is faster
            store(verdicts, verdict("p2", APRIL))
        return [verdict("p1", passed=True)]

    verdicts.store("clicks", judge, now=NOW)
    assert len(asked) == 2
    assert kept(verdicts) == [("rejected", "p1", True), ("rejected", "p2", False)]
