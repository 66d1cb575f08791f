"""The quality that a dataset file asks for: who waits for it, what is said of it, and how records are scored."""

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from datalake_assets.lake.lake import Lake
from datalake_assets.lake.steps.checks import rules
from datalake_assets.lake.steps.planning import gold_work
from datalake_assets.lake.store.verdicts import Verdict
from datalake_assets_tests import lakes
from datalake_assets_tests.lakes import values
from datalake_assets_tests.streams import AT, FOLDER, HOUR, lake_in, land, process, stream

DAY = date(2026, 3, 1)
TEN = datetime(2026, 3, 1, 10, tzinfo=UTC)
PAID: dict[str, Any] = {"expect": "kind <> 'paid' OR amount IS NOT NULL", "severity": "error"}
PROPERTIES: dict[str, Any] = {"kind": {"type": "string"}, "amount": {"type": "number", "minimum": 0}}


def asked(folder: Path, **quality: Any) -> Lake:
    """A lake of clicks with some `quality`."""
    return lake_in(folder, stream(properties=PROPERTIES, quality=quality))


def click(id_: int, **fields: Any) -> dict[str, Any]:
    return {"id": str(id_), "at": AT, **fields}


def run(lake: Lake, *partitions: str) -> None:
    process(lake, lake.datasets["clicks"], *(partitions or (HOUR,)))


def key(name: str, folder: str = FOLDER) -> str:
    return f"firehose/clicks/{folder}/{name}"


def failing(lake: Lake) -> dict[str, str]:
    """The failing verdicts by rule and partition."""
    return {f"{v.rule} {v.partition}": v.detail for v in lake.verdicts.of("clicks") if not v.passed}


def withheld(lake: Lake) -> dict[date, str]:
    """The dates that gold waits with, and why."""
    return dict(gold_work(lake, now=datetime.now(UTC))["daily_summary"].withheld)


def test_gold_waits_for_a_row_rule_of_severity_error(tmp_path: Path) -> None:
    lake = asked(tmp_path, rows={"paid": PAID})
    land(lake, key("a"), [click(1, kind="paid"), click(2, kind="paid", amount=3), click(3, kind="seen")])
    run(lake)
    assert values(lake, "silver/clicks", "id") == [("1",), ("2",), ("3",)]
    detail = (
        "1 of 3 accepted records do not keep kind <> 'paid' OR amount IS NOT NULL. In silver.clicks it is false for "
        "them; mend their producer, or the rule"
    )
    assert failing(lake) == {f"paid {HOUR}": detail}
    assert withheld(lake) == {DAY: f"clicks {HOUR}: {detail}"}


def test_a_verdict_is_about_all_objects_of_its_partition(tmp_path: Path) -> None:
    lake = asked(tmp_path, rows={"paid": PAID})
    land(lake, key("a"), [click(1, kind="paid")])
    run(lake)
    land(lake, key("b"), [click(2, kind="paid", amount=1)])
    run(lake)
    assert failing(lake)[f"paid {HOUR}"].startswith("1 of 2 accepted records")


def test_a_mended_object_frees_what_waited(tmp_path: Path) -> None:
    lake = asked(tmp_path, rows={"paid": PAID})
    land(lake, key("a"), [click(1, kind="paid")])
    run(lake)
    land(lake, key("a"), [click(1, kind="paid", amount=1)])
    run(lake)
    assert failing(lake) == {}
    assert not withheld(lake)


@pytest.mark.parametrize("quality", [{}, {"rows": {"paid": PAID | {"severity": "warn"}}}], ids=["gone", "warns"])
def test_a_rule_that_is_gone_or_warns_by_now_holds_nothing(tmp_path: Path, quality: Mapping[str, Any]) -> None:
    lake = asked(tmp_path, rows={"paid": PAID})
    land(lake, key("a"), [click(1, kind="paid")])
    run(lake)
    assert not withheld(asked(tmp_path, **quality))


def test_a_row_rule_that_rejects_is_a_reason_of_quarantine(tmp_path: Path) -> None:
    lake = asked(tmp_path, rows={"paid": PAID | {"severity": "reject"}})
    land(lake, key("a"), [click(1, kind="paid"), click(2, kind="paid", amount=3)])
    run(lake)
    assert values(lake, "silver/clicks", "id") == [("2",)]
    reason = "paid: it does not keep kind <> 'paid' OR amount IS NOT NULL"
    assert values(lake, "quarantine/clicks", "row_number", "errors") == [(1, [reason])]
    assert "paid" not in rules(lake.datasets["clicks"])


def test_another_rule_is_another_contract_and_a_replay_goes_by_it(tmp_path: Path) -> None:
    lake = asked(tmp_path)
    land(lake, key("a"), [click(1, kind="paid")])
    run(lake)
    later = asked(tmp_path, rows={"paid": PAID})
    clicks = later.datasets["clicks"]
    assert clicks.contract != lake.datasets["clicks"].contract
    assert clicks.shape == lake.datasets["clicks"].shape
    assert clicks.contract == asked(tmp_path, rows={"paid": PAID | {"severity": "warn"}}).datasets["clicks"].contract
    process(later, clicks, HOUR, replay=True)
    assert f"paid {HOUR}" in failing(later)


@pytest.mark.parametrize(
    ("bounds", "asks"),
    [
        ({"minimum": 0.5}, "at least 50.0%"),
        ({"maximum": 0.1}, "at most 10.0%"),
        ({"minimum": 0.3, "maximum": 0.4}, "30.0% to 40.0%"),
    ],
)
def test_a_share_of_a_partition_lies_within_its_bounds(tmp_path: Path, bounds: dict[str, float], asks: str) -> None:
    lake = asked(tmp_path, partitions={"payments": {"share_of": "kind = 'paid'", "severity": "error", **bounds}})
    land(lake, key("a"), [click(n, kind="paid" if n < 5 else "seen") for n in range(20)])
    run(lake)
    detail = f"5 of 20 accepted records (25.0%) have kind = 'paid'; {asks} are asked. See what its producer "
    detail += "sends, land what is missing, or change the rule"
    assert failing(lake) == {f"payments {HOUR}": detail}
    assert withheld(lake).keys() == {DAY}


def test_a_replay_under_other_weights_scores_records_anew(tmp_path: Path) -> None:
    lake = asked(tmp_path)
    land(lake, key("a"), [click(1, kind="paid")])
    land(lake, key("b"), [click(1, kind="paid"), click(2)])
    run(lake)
    later = asked(tmp_path, rows={"paid": PAID}, score={"completeness": 0, "validity": 1})
    process(later, later.datasets["clicks"], HOUR, replay=True)
    assert values(later, "silver/clicks", "id", "quality_score") == [("1", 0.0), ("2", 1.0)]
    assert values(later, "silver/clicks_duplicates", "id", "quality_score") == [("1", 0.0)]


@pytest.mark.parametrize("first", [10, 12])
def test_of_equal_copies_the_timely_one_is_scored_in_any_order(tmp_path: Path, first: int) -> None:
    lake = asked(tmp_path, score={"completeness": 0, "timeliness": 1, "timely_within": "PT1M"})
    for hour in (10, 12):
        land(lake, key(f"clicks-1-2026-03-01-{hour}-00-30-0a1b2c3d", f"2026/03/01/{hour}"), [click(1)])
    for hour in (first, 22 - first):
        run(lake, f"2026-03-01-{hour}:00")
    assert values(lake, "silver/clicks", "id", "quality_score") == [("1", 1.0)]


def test_a_rule_worded_otherwise_counts_for_what_is_read_from_then_on(tmp_path: Path) -> None:
    lake = asked(tmp_path, rows={"paid": PAID})
    land(lake, key("a"), [click(1, kind="paid")])
    run(lake)
    assert withheld(lake)
    later = asked(tmp_path, rows={"paid": PAID | {"expect": "amount < 10"}})
    assert not withheld(later)
    land(later, key("b"), [click(2, amount=11)])
    run(later)
    assert failing(later)[f"paid {HOUR}"].startswith("1 of 1 accepted records do not keep amount < 10.")


def test_a_rule_that_warned_and_is_an_error_by_now_holds_gold(tmp_path: Path) -> None:
    lake = asked(tmp_path, rows={"paid": PAID | {"severity": "warn"}})
    land(lake, key("a"), [click(1, kind="paid")])
    run(lake)
    assert not withheld(lake)
    assert withheld(asked(tmp_path, rows={"paid": PAID}))


def test_a_tighter_bound_holds_gold_at_once_and_a_wider_one_frees_it(tmp_path: Path) -> None:
    def shares(minimum: float) -> Lake:
        return asked(
            tmp_path, partitions={"seen": {"share_of": "kind = 'seen'", "minimum": minimum, "severity": "error"}}
        )

    land(shares(0.2), key("a"), [click(n, kind="paid" if n < 5 else "seen") for n in range(20)])
    run(shares(0.2))
    assert not withheld(shares(0.2))
    assert withheld(shares(0.8))
    assert not withheld(shares(0.7))


def test_a_rebuild_is_not_refused_for_a_rule_that_rejects_nothing(tmp_path: Path) -> None:
    lake = asked(tmp_path, rows={"paid": PAID})
    land(lake, key("a"), [click(1, kind="paid")])
    run(lake)
    lakes.rebuild(lake, "clicks")
    assert f"paid {HOUR}" in failing(lake)


def test_all_that_holds_a_date_is_told(tmp_path: Path) -> None:
    rules = {f"paid_{n}": PAID for n in range(6)}
    lake = asked(tmp_path, rows=rules)
    land(lake, key("a"), [click(1, kind="paid")])
    run(lake)
    (reason,) = withheld(lake).values()
    assert reason.startswith(f"clicks {HOUR}: 1 of 1 accepted records")
    assert reason.endswith(f"; also paid_1 of {HOUR}; also paid_2 of {HOUR}; also paid_3 of {HOUR}; and 2 more")


def test_a_share_says_nothing_of_few_records(tmp_path: Path) -> None:
    lake = asked(tmp_path, partitions={"payments": {"share_of": "kind = 'paid'", "minimum": 0.5}})
    land(lake, key("a"), [click(1)])
    run(lake)
    assert failing(lake) == {}


def land_hours(lake: Lake, hours: Mapping[datetime, int]) -> None:
    """Land and process so many records in each of some hours."""
    for hour, records in hours.items():
        at = int(hour.timestamp())
        land(lake, key("a", f"{hour:%Y/%m/%d/%H}"), [click(n, at=at) for n in range(records)])
    run(lake, *(f"{hour:%Y-%m-%d-%H:00}" for hour in hours))


def days_before(hour: datetime, *records: int) -> dict[datetime, int]:
    """So many records at the same hour of the days before."""
    return {hour - timedelta(days=n + 1): count for n, count in enumerate(records)}


def test_too_many_records_are_told_at_once(tmp_path: Path) -> None:
    lake = asked(tmp_path, volume={"maximum": 3})
    land_hours(lake, days_before(TEN, 10, 12, 8) | {TEN: 31})
    assert failing(lake) == {
        "volume 2026-03-01-10:00": "31 records, 10 are usual at its hour (3 of 14 days before): too many"
    }
    assert not withheld(lake)


def test_too_few_are_told_when_something_later_has_landed(tmp_path: Path) -> None:
    lake = asked(tmp_path)
    land_hours(lake, days_before(TEN, 10, 12, 8) | {TEN: 2})
    assert failing(lake) == {}
    land_hours(lake, {TEN + timedelta(hours=1): 10})
    detail = "2 records, 10 are usual at its hour (3 of 14 days before): too few. See whether its producer and its"
    assert failing(lake) == {"volume 2026-03-01-10:00": f"{detail} delivery run"}
    land(lake, key("late"), [click(n) for n in range(10, 15)])
    run(lake)
    assert failing(lake) == {}


def test_an_hour_in_which_nothing_landed_is_told_by_the_next(tmp_path: Path) -> None:
    lake = asked(tmp_path)
    land_hours(lake, days_before(TEN, 10, 12, 8) | {TEN - timedelta(hours=1): 1})
    land_hours(lake, {TEN + timedelta(hours=2): 10})
    assert [f for f in failing(lake) if "10:00" in f] == ["volume 2026-03-01-10:00"]
    assert failing(lake)["volume 2026-03-01-10:00"].startswith("0 records, 10 are usual")


def test_days_that_come_in_any_order_are_compared(tmp_path: Path) -> None:
    """A first load is processed from the newest hour on: nothing had been there to compare it with."""
    lake = asked(tmp_path)
    land_hours(lake, {TEN: 100})
    for day, records in days_before(TEN, 10, 12, 8).items():
        land_hours(lake, {day: records})
    assert list(failing(lake)) == ["volume 2026-03-01-10:00"]


def test_what_is_admitted_and_not_read_yet_is_no_day_without_records(tmp_path: Path) -> None:
    lake = asked(tmp_path)
    for day in days_before(TEN, 1, 1, 1, 1):
        land(lake, key("a", f"{day:%Y/%m/%d/%H}"), [click(1)])
    lakes.landing(lake, "clicks")
    land_hours(lake, {TEN: 100})
    assert failing(lake) == {}


def test_volume_needs_some_days_to_compare_with(tmp_path: Path) -> None:
    lake = asked(tmp_path)
    land_hours(lake, days_before(TEN, 10, 10) | {TEN: 1000})
    assert failing(lake) == {}
    found = [v for v in lake.verdicts.of("clicks") if v.rule == "volume"]
    assert [v.detail for v in found] == ["1,000 records; 2 earlier days to compare with, 3 are needed"]


def test_volume_can_be_left_out(tmp_path: Path) -> None:
    lake = asked(tmp_path, volume=None)
    land_hours(lake, days_before(TEN, 10, 10, 10) | {TEN: 1000})
    assert "volume" not in {v.rule for v in lake.verdicts.of("clicks")}
    assert "volume" not in rules(lake.datasets["clicks"])


def test_the_first_hours_of_time_have_a_volume_too(tmp_path: Path) -> None:
    lake = asked(tmp_path)
    land(lake, key("a", "0001/01/01/00"), [click(1)])
    run(lake, "0001-01-01-00:00")
    assert failing(lake) == {}


def test_the_score_weighs_what_the_file_says(tmp_path: Path) -> None:
    score = {"completeness": 2, "validity": 1, "timeliness": 1, "timely_within": "PT1H"}
    lake = asked(tmp_path, score=score, rows={"paid": PAID, "few": {"expect": "amount < 10"}})
    named = key("clicks-1-2026-03-01-11-00-00-0a1b2c3d-0000-0000-0000-000000000000")
    records = [
        click(1, kind="paid", amount=1),  # whole, valid, in time: exactly an hour
        click(2, kind="paid"),  # three of four columns, one of two rules
        click(3, kind="paid", amount=11, at=AT - 3 * 3600),  # one of two rules, four hours late
    ]
    land(lake, named, records)
    run(lake)
    assert values(lake, "silver/clicks", "id", "quality_score") == [
        ("1", 1.0),
        ("2", (2 * 0.75 + 0.5 + 1) / 4),
        ("3", (2 * 1.0 + 0.5 + 0.25) / 4),
    ]


def test_verdicts_that_only_warn_are_kept_for_a_hundred_partitions(tmp_path: Path) -> None:
    lake = asked(tmp_path)
    failed = [Verdict("paid", f"2026-03-{n // 24 + 1:02}-{n % 24:02}:00", False, False, "no", ()) for n in range(105)]
    lake.verdicts.store("clicks", lambda: failed, now=TEN)
    assert [v.partition for v in lake.verdicts.of("clicks")] == [v.partition for v in failed[5:]]
