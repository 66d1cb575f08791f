"""Law 1 for what DMS lands besides: LSNs, keys of two columns that change, values left out, a table loaded again.

As in `test_cdc_law`, a log of changes is cut into files, some changes into two of them, and however these land: the
tables are those of few steps over all, and the live rows those of a fold in plain Python. A file of a load that takes
the name of an earlier one lands when that one was read.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from datalake_assets_tests.replicated import ReplicatedLake

LINES = """
name: orders
kind: cdc_table
description: Lines of orders, of a test.
owner: team:test
landing: {prefix: dms/public/orders}
key: [id, line]
order_by: [lsn]
timestamp_column: dms_timestamp
columns:
  line: {type: string}
  id: {type: int64}
  count: {type: int16}
  remark: {type: string, on_missing: keep}
history: true
"""
TABLES = ("silver/orders", "silver/orders_history", "quarantine/orders")
NINE = datetime(2026, 1, 5, 9, tzinfo=UTC)
SKEW = timedelta(milliseconds=100)
QUICK = (Phase.explicit, Phase.generate)
TYPES = {"lsn": "string", "BI_id": "int64", "BI_line": "string"}
Row = dict[str, Any]
Key = tuple[int, str]
KEYS = [(id_, line) for id_ in (1, 2) for line in ("a", "ä 🙂")]


@dataclass(frozen=True, slots=True)
class File:
    """A landed file; the loads are numbered from 0, other files have no number."""

    path: str
    rows: tuple[Row, ...]
    load: int | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """Files in the order in which they land, and by what luck they are processed."""

    files: tuple[File, ...]
    luck: random.Random


def lsn(number: int) -> str:
    """The log's n-th place, as Postgres writes it; as text `10/0` would come before `2/0`."""
    place = (number + 1) * 0x1_2000_0001
    return f"{place >> 32:X}/{place & 0xFFFFFFFF:X}"


@st.composite
def logs(draw: st.DrawFn) -> list[Row]:
    """Transactions, three a second, of a few changes each; an update may move a row to another key."""
    log: list[Row] = []
    for third in range(draw(st.integers(1, 12))):
        at = NINE + third * timedelta(milliseconds=333)
        for _ in range(draw(st.integers(1, 3))):
            op, key = draw(st.sampled_from("IUUUD")), draw(st.sampled_from(KEYS))
            before = draw(st.sampled_from([None, None, *KEYS])) if op == "U" else None
            row = header(op, at, lsn(len(log))) | {"id": key[0], "line": key[1]}
            row |= {"BI_id": None, "BI_line": None} if before is None else {"BI_id": before[0], "BI_line": before[1]}
            log.append(row | (draw(images()) if op != "D" else {"count": None, "remark": None}))
    return log


@st.composite
def images(draw: st.DrawFn) -> Row:
    """A row's columns but for its key; an update leaves out the remark where it has none."""
    return {"count": draw(st.sampled_from([1, 2, None])), "remark": draw(st.sampled_from([None, "x", "y"]))}


@st.composite
def loads(draw: st.DrawFn) -> list[File]:
    """The table's load, and perhaps another one in the midst of the log: of one or two files each."""
    files = []
    again = NINE + timedelta(milliseconds=draw(st.integers(0, 4_000)))
    for number, began in enumerate([NINE - timedelta(minutes=30), again][: draw(st.integers(1, 2))]):
        keys = draw(st.lists(st.sampled_from(KEYS), unique=True))
        rows = [
            header("I", began + n * timedelta(milliseconds=1), "") | {"id": id_, "line": line} | draw(images())
            for n, (id_, line) in enumerate(keys)
        ]
        cut = draw(st.integers(1, len(rows))) if rows else 0
        for n, part in enumerate((rows[:cut], rows[cut:]), start=1):
            if part:
                files.append(File(f"LOAD{n:08X}.parquet", tuple(part), number))
    return files


def header(op: str, at: datetime, place: str) -> Row:
    return {"Op": op, "dms_timestamp": f"{at:%Y-%m-%d %H:%M:%S.%f}", "lsn": place}


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    """Files in any order, but that of a load's names."""
    paths = [f"2026/01/05/{hour:02d}/20260105-{hour:02d}3000000.parquet" for hour in (8, 9, 10)]
    placed: dict[str, list[Row]] = {}
    for row in draw(logs()):
        for path in draw(st.sets(st.sampled_from(paths), min_size=1, max_size=2)):
            placed.setdefault(path, []).append(row)
    files = [*(File(path, tuple(rows)) for path, rows in placed.items()), *draw(loads())]
    shuffled = draw(st.permutations(files))
    for path in {file.path for file in files if file.load is not None}:
        places = [n for n, file in enumerate(shuffled) if file.path == path]
        for n, file in zip(places, sorted((shuffled[n] for n in places), key=lambda f: f.load or 0), strict=True):
            shuffled[n] = file
    return Plan(tuple(shuffled), random.Random(draw(st.integers(0, 2**32))))


def land(lake: ReplicatedLake, file: File) -> None:
    lake.land(file.path, file.rows, types=TYPES)


def refresh_all(lake: ReplicatedLake) -> None:
    while lake.waiting():
        lake.refresh()


def in_few_steps(lake: ReplicatedLake, files: Sequence[File]) -> None:
    """Everything but the second load, and then that."""
    for again in (False, True):
        for file in files:
            if (file.load == 1) == again:
                land(lake, file)
        refresh_all(lake)


def as_it_comes(lake: ReplicatedLake, plan: Plan) -> None:
    """File by file: now and then some partitions are processed, or once more."""
    known: set[str] = set()
    landed: set[str] = set()
    for file in plan.files:
        if file.path in landed:
            refresh_all(lake)
        land(lake, file)
        landed.add(file.path)
        waiting = lake.waiting()
        known |= set(waiting)
        if waiting and plan.luck.random() < 0.6:
            lake.refresh(partitions=plan.luck.sample(waiting, plan.luck.randint(1, len(waiting))))
        if plan.luck.random() < 0.2:
            lake.refresh(partitions=[plan.luck.choice(sorted(known))], replay=True)
    refresh_all(lake)


def folded(files: Sequence[File]) -> dict[Key, tuple[Any, ...]]:
    """The live rows by a fold over the changes in their total order."""
    began = [min(moment(row) for f in files for row in f.rows if f.load == n) for n in loads_of(files)]
    reload = began[1] if len(began) > 1 else None
    changes: dict[tuple[Any, ...], tuple[Any, ...]] = {}
    for file in files:
        is_change = file.load is None
        for n, row in enumerate(file.rows):
            after = reload is not None and moment(row) >= reload - (SKEW if is_change else timedelta(0))
            high, _, low = (row["lsn"] or "0/0").partition("/")
            place = (after, is_change, int(high, 16) << 32 | int(low, 16), moment(row), file.path, n)
            key, op, values = (row["id"], row["line"]), row["Op"] if is_change else "L", (row["count"], row["remark"])
            before = (row.get("BI_id") or row["id"], row.get("BI_line") or row["line"])
            if op == "U" and before != key:
                told = [(before, "D", (None, None)), (key, "I", values)]
            else:
                told = [(key, op, values)]
            for change in told:
                identity = (*change, moment(row))
                changes[identity] = max(changes.get(identity, (place,)), (place, *change))
    complete = reload is not None and is_complete(files)
    loaded = {(row["id"], row["line"]) for file in files if file.load == 1 for row in file.rows}
    live: dict[Key, tuple[Any, ...]] = {}
    last: dict[Key, Any] = {}
    is_after = False
    for place, key, op, (number, remark) in sorted(changes.values(), key=lambda change: change[0]):
        if place[0] and not is_after:
            is_after = True
            _remove(live, last, loaded if complete else None)
        if op == "D":
            live.pop(key, None)
            last.pop(key, None)
            continue
        last[key] = last.get(key) if op == "U" and remark is None else remark
        live[key] = (number, last[key])
    return live


def _remove(live: dict[Key, tuple[Any, ...]], last: dict[Key, Any], loaded: set[Key] | None) -> None:
    for key in [key for key in live if loaded is not None and key not in loaded]:
        del live[key], last[key]


def is_complete(files: Sequence[File]) -> bool:
    """Whether DMS has gone on to write changes after it began the second load's last file."""
    last = max(min(map(moment, file.rows)) for file in files if file.load == 1)
    return any(f"{last:%Y%m%d-%H%M%S}000" < file.path[-26:-8] for file in files if file.load is None)


def loads_of(files: Sequence[File]) -> list[int]:
    return sorted({file.load for file in files if file.load is not None})


def moment(row: Row) -> datetime:
    return datetime.fromisoformat(row["dms_timestamp"]).replace(tzinfo=UTC)


def check(plan: Plan) -> None:
    with TemporaryDirectory() as folder:
        whole, pieces = (ReplicatedLake(Path(folder) / name, LINES) for name in ("whole", "pieces"))
        in_few_steps(whole, plan.files)
        assert whole.silver() == folded(plan.files)
        as_it_comes(pieces, plan)
        assert pieces.tables(TABLES) == whole.tables(TABLES)
        current = [row for row in whole.rows("silver/orders_history") if row["is_current"]]
        assert sorted((row["id"], row["line"]) for row in current) == sorted(whole.silver())


@settings(max_examples=4, phases=QUICK)
@given(plans())
def test_tables_are_those_of_the_set_of_landed_files_in_every_form(plan: Plan) -> None:
    check(plan)


@pytest.mark.soak
@settings(max_examples=300)
@given(plans())
def test_tables_are_those_of_the_set_of_landed_files_in_every_form_and_many_more_cases(plan: Plan) -> None:
    check(plan)
