"""Three days of events that come more than once, late, shuffled and in other forms give what each of them gives once.

Beside the law of `test_events_law.py`, which tries small histories of every kind, one history as long as a weekend:
72 hours, with objects that Firehose delivers again under another name, and hours that are processed in any order.
"""

import gzip
import json
import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from datalake_assets.lake.lake import Lake
from datalake_assets_tests import lakes
from datalake_assets_tests.lakes import PASSING
from datalake_assets_tests.streams import AT, lake_in, land, process, stream

HOURS = 72
CLICKS = stream(properties={"event_name": {"type": "string"}, "amount": {"type": "number", "minimum": 0}})
TABLES = (
    "silver/clicks",
    "gold/daily_summary",
    "gold/hourly_metrics",
    "gold/events_by_type",
    "gold/source_statistics",
)
OF_EACH_COPY = ("rejects", "rejected_fraction")
"""What counts records as they landed: a reject that landed twice is in quarantine twice."""

_FIRST = AT - AT % 86_400


def folder_of(hour: int) -> str:
    return f"2026/03/{hour // 24 + 1:02}/{hour % 24:02}"


def partition_of(hour: int) -> str:
    return f"2026-03-{hour // 24 + 1:02}-{hour % 24:02}:00"


def events(dice: random.Random) -> Iterator[tuple[int, dict[str, Any]]]:
    """Events with the hour in which each lands: most at once, some up to two days late; a few break the contract."""
    for number in range(HOURS * 12):
        happened = dice.randrange(HOURS)
        late = dice.choice((0, 0, 0, 0, 0, 0, 1, 5, 48))
        event = {
            "id": f"e{number}",
            "at": _FIRST + happened * 3_600 + dice.randrange(3_600),
            "event_name": dice.choice(("view", "click", "pay")),
            "amount": -1 if dice.random() < 0.02 else round(dice.random() * 100, 2),
        }
        yield min(happened + late, HOURS - 1), event


def packed(dice: random.Random, lines: Sequence[str]) -> bytes:
    """Some records in one of the forms in which they land."""
    form = dice.randrange(5)
    text = ("[" + ",".join(lines) + "]" if form == 0 else ("" if form == 1 else "\n").join(lines)).encode()
    if form == 2:
        return text
    if form == 3:
        half = len(lines) // 2
        return b"".join(
            gzip.compress("\n".join([*part, ""]).encode(), mtime=0) for part in (lines[:half], lines[half:])
        )
    return gzip.compress(gzip.compress(text, mtime=0), mtime=0) if form == 4 else gzip.compress(text, mtime=0)


def content(lake: Lake, table: str) -> list[tuple[Any, ...]]:
    rows = (
        lakes.table_of(lake, table).open().scan().select(pl.exclude(*PASSING, *OF_EACH_COPY, "_row_number")).collect()
    )
    return sorted(rows.select(sorted(rows.columns)).rows(), key=repr)


def once(folder: Path, landed: Sequence[tuple[int, dict[str, Any]]]) -> Lake:
    """The lake in which each event landed once, and one step read them all."""
    lake = lake_in(folder, CLICKS)
    for hour in range(HOURS):
        land(lake, f"firehose/clicks/{folder_of(hour)}/all.gz", [event for at, event in landed if at == hour])
    process(lake, CLICKS, *map(partition_of, range(HOURS)))
    lakes.compute_gold(lake)
    return lake


def again_and_again(folder: Path, landed: Sequence[tuple[int, dict[str, Any]]], dice: random.Random) -> Lake:
    """The lake in which they landed in several objects, some of them twice, and hours came in any order."""
    lake = lake_in(folder, CLICKS)
    for hour in range(HOURS):
        lines = [json.dumps(event) for at, event in landed if at == hour]
        lines += dice.choices([json.dumps(event) for _, event in landed], k=3)  # a producer sends some again
        dice.shuffle(lines)
        for n in range(0, len(lines), 5):
            body = packed(dice, lines[n : n + 5])
            land(lake, f"firehose/clicks/{folder_of(hour)}/{n}", body)
            if dice.random() < 0.2:  # Firehose delivers an object again, under another name
                later = min(hour + dice.choice((0, 1, 30)), HOURS - 1)
                land(lake, f"firehose/clicks/{folder_of(later)}/{hour}-{n}-again", body)
    hours = list(range(HOURS))
    dice.shuffle(hours)
    while hours:
        some, hours = hours[:14], hours[14:]
        process(lake, CLICKS, *map(partition_of, some))
        if dice.random() < 0.4:
            process(lake, CLICKS, *map(partition_of, dice.sample(range(HOURS), 3)), replay=dice.random() < 0.5)
        if dice.random() < 0.3:
            lakes.compute_gold(lake)
    lakes.compute_gold(lake)
    return lake


def assert_the_same(folder: Path, seed: int) -> None:
    dice = random.Random(seed)
    landed = list(events(dice))
    reference, lake = once(folder / "once", landed), again_and_again(folder / "again", landed, dice)
    for table in TABLES:
        assert content(lake, table) == content(reference, table), table
    good = {event["id"] for _, event in landed if event["amount"] >= 0}
    assert sorted(row["id"] for row in lakes.rows(lake, "silver/clicks")) == sorted(good)
    rejected = {json.loads(row["raw"])["id"] for row in lakes.rows(lake, "quarantine/clicks")}
    assert rejected == {event["id"] for _, event in landed} - good
    assert lakes.owed(lake) == {}


def test_three_days_delivered_again_and_shuffled_give_what_each_event_gives_once(tmp_path: Path) -> None:
    assert_the_same(tmp_path, seed=1)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(2, 12))
def test_three_days_delivered_again_and_shuffled_at_length(tmp_path: Path, seed: int) -> None:
    assert_the_same(tmp_path, seed)
