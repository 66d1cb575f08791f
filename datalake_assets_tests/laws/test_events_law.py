"""Laws 1 and 2 for events: silver and gold are functions of what landed, and nothing that landed is lost.

The same records are landed twice: in one lake all of a day at once, processed in one step; in the other cut into
files at random, landed in random hours of the same day, processed in any order, some of them again, with gold
computed at any time between. Both lakes must end up with the same tables.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datalake_assets.lake.lake import Lake
from datalake_assets.lake.spec.dataset import EventStream
from datalake_assets_tests import lakes
from datalake_assets_tests.lakes import PASSING
from datalake_assets_tests.streams import AT, lake_in, land, process, stream

DAYS = ("2026/03/01", "2026/03/02")
GOLD = ("daily_summary", "hourly_metrics", "events_by_type", "source_statistics")
ROW_NUMBER = "_row_number"
"""Which of several equal copies is shown does not matter, and so neither does its line."""

COLUMNS = {"event_name": {"type": "string"}, "amount": {"type": "number", "x-lake-type": "decimal(8,2)"}}
STREAMS = {
    "keyed": stream(properties=COLUMNS, key=["id"]),
    "keyed by two": stream(properties=COLUMNS, key=["id", "event_name"]),
    "key-less": stream(properties=COLUMNS, key=None),
}


class File(NamedTuple):
    """Lines that land together: on which of the days, in which hour."""

    day: int
    hour: int
    lines: tuple[str, ...]


class Refresh(NamedTuple):
    """One run: over which of the files' partitions, whether it reads all of them again, and whether gold follows."""

    partitions: tuple[int, ...]
    replay: bool
    gold: bool


class History(NamedTuple):
    """What landed, and how it was processed."""

    files: tuple[File, ...]
    refreshes: tuple[Refresh, ...]


def record(*, ident: int, name: str | None, day: int, second: int, amount: str | None, extra: int | None) -> str:
    """A line; few idents, times and contents, so that copies and conflicts are many."""
    fields: dict[str, Any] = {"id": f"e{ident}", "at": AT + day * 86_400 + second}
    fields |= {} if name is None else {"event_name": name}
    fields |= {} if extra is None else {"extra": extra}
    text = json.dumps(fields)
    return text if amount is None else f'{text[:-1]}, "amount": {amount}}}'


RECORDS = st.builds(
    record,
    ident=st.integers(0, 3),
    name=st.sampled_from(["view", "view", "click", None]),
    day=st.integers(-1, 2),
    second=st.sampled_from([0, 1, 3600]),
    amount=st.sampled_from([None, "1", "1.00", "2.5"]),
    extra=st.sampled_from([None, None, 1, 2]),
)
BAD = st.sampled_from(
    ["{", "[]", '{"id": "e1"}', '{"id": "e1", "at": "now"}', f'{{"id": "e1", "at": {AT}, "amount": 0.001}}']
)
LINES = st.lists(st.one_of(RECORDS, RECORDS, RECORDS, RECORDS, BAD), min_size=1, max_size=5).map(tuple)
FILES = st.lists(st.builds(File, st.integers(0, 1), st.integers(0, 3), LINES), min_size=1, max_size=5).map(tuple)


@st.composite
def histories(draw: st.DrawFn) -> History:
    """Files, some of them delivered twice, and runs over them in any order."""
    files = draw(FILES)
    files += tuple(draw(st.lists(st.sampled_from(files), max_size=1)))
    chosen = st.lists(st.integers(0, len(files) - 1), min_size=1, max_size=3, unique=True).map(tuple)
    runs = st.builds(Refresh, chosen, st.booleans(), st.sampled_from([False, False, True]))
    return History(files, tuple(draw(st.lists(runs, max_size=4))))


def content(lake: Lake, table: str) -> list[tuple[Any, ...]]:
    """A table's rows in a fixed order, without what may differ."""
    found = lakes.table_of(lake, table).open().scan()
    rows = found.select(pl.exclude(*PASSING, ROW_NUMBER)).collect()
    return sorted(rows.select(sorted(rows.columns)).rows(), key=repr)


def rejects(lake: Lake) -> list[tuple[str, str, tuple[str, ...]]]:
    """The rejected lines with the day they landed and the reasons."""
    rows = lakes.rows(lake, "quarantine/clicks", "partition", "raw", "errors")
    return sorted((row["partition"][:10], row["raw"], tuple(row["errors"])) for row in rows)


def all_at_once(folder: Path, dataset: EventStream, files: Sequence[File]) -> Lake:
    """The lake in which each day's lines landed in one file, and one step read everything."""
    lake = lake_in(folder, dataset)
    for n, day in enumerate(DAYS):
        land(lake, f"firehose/clicks/{day}/00/all.gz", [line for f in files if f.day == n for line in f.lines])
    process(lake, dataset, *(f"{day.replace('/', '-')}-00:00" for day in DAYS))
    lakes.compute_gold(lake)
    return lake


def bit_by_bit(folder: Path, dataset: EventStream, history: History) -> Lake:
    """The lake in which every file landed by itself, and the runs came as they came."""
    lake = lake_in(folder, dataset)
    partitions = [f"{DAYS[f.day].replace('/', '-')}-{f.hour:02}:00" for f in history.files]
    for n, file in enumerate(history.files):
        land(lake, f"firehose/clicks/{DAYS[file.day]}/{file.hour:02}/{n}.gz", file.lines)
    for run in history.refreshes:
        asked = sorted({partitions[n] for n in run.partitions})
        process(lake, dataset, *asked, replay=run.replay)
        if run.gold:
            lakes.compute_gold(lake)
    for partition in sorted(set(partitions), reverse=True):
        process(lake, dataset, partition)
    lakes.compute_gold(lake)
    return lake


def assert_laws_hold(dataset: EventStream, history: History) -> None:
    with TemporaryDirectory() as folder:
        reference = all_at_once(Path(folder) / "once", dataset, history.files)
        lake = bit_by_bit(Path(folder) / "bits", dataset, history)
        for table in ("silver/clicks", *(f"gold/{name}" for name in GOLD)):
            assert content(lake, table) == content(reference, table), table
        assert rejects(lake) == rejects(reference)
        assert lakes.owed(lake) == {}
        assert_nothing_is_lost(lake, dataset, history)


def assert_nothing_is_lost(lake: Lake, dataset: EventStream, history: History) -> None:
    lines = [line for f in history.files for line in f.lines]
    bad = [raw for _, raw, _ in rejects(lake)]
    good = [json.loads(line) for line in lines if line not in bad]
    assert len(good) + len(bad) == len(lines)
    rows = lakes.rows(lake, "silver/clicks")
    names = [*(dataset.key or ("id", "at", *COLUMNS, "extra")), "day"]
    events = [tuple(_plain(row, name) for name in names) for row in rows]
    assert len(set(events)) == len(events)
    assert set(events) == {tuple(_plain(fields, name) for name in names) for fields in good}


def _plain(row: dict[str, Any], name: str) -> Any:
    """A field of a landed record or of a row of silver, spelled alike."""
    match name:
        case "day":
            return row["at"] // 86_400
        case "amount":
            return None if row.get(name) is None else float(row[name])
        case "extra":
            unknown = row.get("_unknown")
            return json.loads(unknown)["extra"] if unknown else row.get("extra")
    return row.get(name)


@pytest.mark.parametrize("kind", STREAMS)
@given(history=histories())
@settings(max_examples=4)
def test_any_cutting_order_and_repetition_gives_the_same_silver_and_gold(kind: str, history: History) -> None:
    assert_laws_hold(STREAMS[kind], history)


@pytest.mark.soak
@pytest.mark.parametrize("kind", STREAMS)
@given(history=histories())
def test_any_cutting_order_and_repetition_gives_the_same_silver_and_gold_at_length(kind: str, history: History) -> None:
    assert_laws_hold(STREAMS[kind], history)
