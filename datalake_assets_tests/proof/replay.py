"""The history of a table by a fold over its landed files in plain Python, which knows nothing of the lake's code.

A change's place is told by the reload before it, whether it is one (or a row of a load), its sequence, its commit, its
file, its row. Copies of one change (key, operation, commit, values) stand once, at the greatest of their places.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from datalake_assets_tests.proof.carrier import Carried
from datalake_assets_tests.proof.tables import Table

Place = tuple[int, bool, int, int, int, str, int]
Entry = tuple[Any, ...]
_SKEW = 100_000  # microseconds that a source's clock may go later than the task's
_LAST = 10**38 - 1
_ADDED = {"Op", "dms_timestamp", "ar_h_change_seq"}
_BEFORE = "BI_"


@dataclass(frozen=True, slots=True)
class _Change:
    operation: str
    place: Place
    key: tuple[Any, ...]
    values: tuple[Any, ...]

    @property
    def committed(self) -> int:
        return self.place[3]

    @property
    def identity(self) -> tuple[Any, ...]:
        return self.operation, self.committed, repr(self.values), repr(self.key)


@dataclass(slots=True)
class _Load:
    """A load, known by when it began; the numbers of its files, and that of the last where a file says so."""

    began: int
    numbers: set[int]
    keys: set[tuple[Any, ...]]
    last: int | None = None
    first_file: str = ""

    @property
    def is_complete(self) -> bool:
        return self.last is not None and self.numbers == set(range(1, self.last + 1))


def history(table: Table, files: Iterable[Carried]) -> list[Entry]:
    """Operation, valid from and to, whether current, key and values of each entry, in no order."""
    files = [file for file in files if file.table == table.name]
    loads: dict[int, _Load] = {}
    rows = [(file, number, row) for file in files for number, row in enumerate(rows_of(file), start=1)]
    for file in files:
        if file.is_load:
            _note_load(loads, file, table)
    reloads = [loads[began] for began in sorted(loads)][1:]
    begun = [load.began for load in reloads]
    of_key: dict[tuple[Any, ...], list[_Change]] = defaultdict(list)
    for file, number, row in rows:
        for change in _changes(table, file, number, row, begun):
            of_key[change.key].append(change)
    complete = [(number, load) for number, load in enumerate(reloads, start=1) if load.is_complete]
    return [entry for changes in of_key.values() for entry in _entries(table, changes, complete)]


def rows_of(file: Carried) -> list[dict[str, Any]]:
    table = pq.read_table(file.path)
    for n, field in enumerate(table.schema):
        if pa.types.is_timestamp(field.type):
            table = table.set_column(n, field.name, table[n].cast(pa.int64()))
        elif pa.types.is_date32(field.type):
            table = table.set_column(n, field.name, table[n].cast(pa.int32()))
    rows: list[dict[str, Any]] = table.to_pylist()
    return rows


def _note_load(loads: dict[int, _Load], file: Carried, table: Table) -> None:
    told = json.loads(pq.read_metadata(file.path).metadata[b"datalake.load"])
    rows = rows_of(file)
    began = _microseconds(rows[0]["dms_timestamp"])
    load = loads.setdefault(began, _Load(began, set(), set()))
    load.numbers.add(told["file"])
    load.keys |= {tuple(_value(table, name, row[name]) for name in table.key) for row in rows}
    if told["last"]:
        load.last = told["file"]
    if told["file"] == 1:
        load.first_file = file.key


def _changes(
    table: Table, file: Carried, number: int, row: dict[str, Any], reloads: Sequence[int]
) -> Iterable[_Change]:
    committed = _microseconds(row["dms_timestamp"])
    skew = 0 if file.is_load else _SKEW
    generation = sum(committed >= began - skew for began in reloads)
    sequence = 0 if file.is_load else int(row["ar_h_change_seq"])
    place = generation, not file.is_load, sequence, committed, _file_time(file), file.key, number
    operation = "L" if file.is_load else row["Op"]
    columns = [c.name for c in (*table.columns, *table.added) if c.name not in table.key]
    assert row.keys() <= {*_ADDED, *table.key, *columns, *(f"{_BEFORE}{name}" for name in table.key)}
    values = tuple(_value(table, name, row.get(name)) for name in columns)
    key = tuple(_value(table, name, row[name]) for name in table.key)
    before = tuple(
        _value(table, name, row[name]) if row.get(f"{_BEFORE}{name}") is None else row[f"{_BEFORE}{name}"]
        for name in table.key
    )
    if operation == "U" and before != key:
        yield _Change("D", place, before, (None,) * len(columns))
        operation = "I"
    yield _Change(operation, place, key, values)


def _entries(table: Table, changes: Sequence[_Change], complete: Sequence[tuple[int, _Load]]) -> Iterable[Entry]:
    known = list(changes)
    for generation, load in complete:
        before = max((c for c in known if c.place[0] < generation), key=lambda c: c.place, default=None)
        if before is not None and before.operation != "D" and before.key not in load.keys:
            at = load.began - _SKEW - 1
            place = (generation - 1, True, _LAST, at, at, load.first_file, 0)
            known.append(_Change("D", place, before.key, (None,) * len(before.values)))
    newest: dict[tuple[Any, ...], _Change] = {}
    for change in known:
        newest[change.identity] = max(newest.get(change.identity, change), change, key=lambda c: c.place)
    names = [c.name for c in (*table.columns, *table.added) if c.name not in table.key]
    kept = {names.index(c.name) for c in table.columns if c.is_kept}
    ordered = sorted(newest.values(), key=lambda c: c.place)
    told: list[tuple[str, int, tuple[Any, ...]]] = []
    last: tuple[Any, ...] = (None,) * len(names)
    valid_from = 0
    for n, change in enumerate(ordered):
        valid_from = max(valid_from, change.committed) if n else change.committed
        fills = change.operation == "U"
        values = tuple(last[m] if fills and m in kept and v is None else v for m, v in enumerate(change.values))
        last = (None,) * len(names) if change.operation == "D" else values
        told.append((change.operation, valid_from, values))
    for n, (operation, from_, values) in enumerate(told):
        to = told[n + 1][1] if n + 1 < len(told) else None
        yield (operation, from_, to, to is None and operation != "D", *changes[0].key, *values)


def _value(table: Table, name: str, value: Any) -> Any:
    column = next(c for c in (*table.columns, *table.added) if c.name == name)
    if value is not None and column.lake == "boolean":
        return {"true": True, "false": False}[value]
    return value


def _file_time(file: Carried) -> int:
    if file.is_load:
        return 0
    name = file.key.rpartition("/")[2].partition(".")[0]
    return _ticks(datetime.strptime(f"{name}000 +0000", "%Y%m%d-%H%M%S%f %z"))


def _microseconds(text: str) -> int:
    return _ticks(datetime.fromisoformat(text).replace(tzinfo=UTC))


def _ticks(moment: datetime) -> int:
    since = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds
