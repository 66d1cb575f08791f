"""The full loads of a replicated table, told by the files that landed of them.

DMS gives the files of every load the same names and counts them from 1, so that a table that is loaded again
overwrites them; nothing but the times of transfer in their rows tells one load from the next (facts of AWS DMS:
ReloadTables). Belongs here: which files make a load, and whether it is whole. What a load means for the rows is in
`transforms/cdc.py`.
"""

import re
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeAlias

import polars as pl

from datalake_assets.lake.store.key_times import LAST, undated
from datalake_assets.lake.store.outcome import SUPERSEDED

LOAD_METADATA = "datalake.load"
"""The key in a load file's footer (where it is Parquet) under which it may tell of its load, as JSON.

DMS writes nothing there; `datalake replicate` does, and the lake needs `last` alone.

`load`: when it began, ISO 8601. `file`: its number from 1. `last`: whether it is the load's last. `after`: the sequence
of a change; the load's rows are as new as all changes up to it, and those that are not in the load come after it; empty
where there was none.
"""

_COUNTED = re.compile(r"^(.*?)LOAD([0-9A-F]{8})", re.ASCII)
_JITTER = timedelta(seconds=5)  # files of one load may tell that they began in another order by less than that

Place: TypeAlias = tuple[str, int]
"""What a file is called within its load: its folder and segment, and its number from 1."""


@dataclass(frozen=True, slots=True)
class LoadFile:
    """A file of a full load: when its first row was transferred (UTC).

    `is_whole`: all its rows are in silver. `ends`: whether it is the last of its load, where files say that; the rows
    of such loads all tell when the load began. `is_settled`: what its load lacks was taken out when it was there.
    """

    key: str
    loaded_at: datetime
    is_whole: bool
    ends: bool | None = None
    is_settled: bool = False

    @property
    def place(self) -> Place:
        """What it is called within its load: its folder and segment, and its number from 1.

        Whatever day it landed: the date folders of its own time are left out. Folders that look like other dates are
        those of a parallel load, which are called like the parts of the table.
        """
        folder, _, name = self.key.rpartition("/")
        match = _COUNTED.match(name)
        segment, number = match.groups() if match else (name, "1")
        return f"{undated(folder, self.loaded_at)}/{segment}", int(number, 16)


@dataclass(frozen=True, slots=True)
class FullLoad:
    """One full load, from its first transfer on (UTC), and the key of its first file.

    `is_settled`: it was complete, and what it lacks was taken out; `was_settled`: so were some of its files.
    """

    started_at: datetime
    is_complete: bool
    first_file: str
    is_settled: bool = False
    was_settled: bool = False


def load_files(rows: pl.DataFrame) -> list[LoadFile]:
    """The files of full loads that some rows of the ledger tell of.

    What lay under a key before is left out unless it was of an earlier load: else it was put right.
    """
    now = {r["key"]: r["loaded_at"] for r in rows.iter_rows(named=True) if r["status"] != SUPERSEDED}
    return [
        LoadFile(
            r["key"],
            r["loaded_at"],
            r["processed_at"] is not None and not r["rows_rejected"],
            r["ends_load"],
            bool(r["load_settled"]),
        )
        for r in rows.iter_rows(named=True)
        if r["status"] != SUPERSEDED or r["loaded_until"] < now.get(r["key"], LAST)
    ]


def full_loads(
    files: Sequence[LoadFile], *, changes_between: Callable[[datetime, datetime | None], bool]
) -> tuple[FullLoad, ...]:
    """The loads that some files make, in their order.

    A load begins where the count begins anew (what an earlier one left behind, under higher numbers, is not of it), or
    where files tell their load another time. It is complete when its files are counted without a
    gap, all their rows are in silver, and a file says that it is the last, or, where files say nothing of it, DMS has
    gone on to write changes; nobody asks that of the first. `changes_between` tells whether DMS wrote changes after a
    moment and before another (None: ever since).
    """
    loads = _grouped(files)
    next_ones = [*(load[0].loaded_at for load in loads), None][1:]
    return tuple(
        FullLoad(
            started_at=load[0].loaded_at,
            is_complete=load is not loads[0] and (_is_settled(load) or _is_complete(load, next_one, changes_between)),
            first_file=load[0].key,
            is_settled=_is_settled(load),
            was_settled=any(file.is_settled for file in load),
        )
        for load, next_one in zip(loads, next_ones, strict=True)
    )


def starts_of(files: Sequence[LoadFile]) -> dict[tuple[str, datetime], datetime]:
    """When the load of each file began; files by their keys and when their first rows were transferred."""
    return {(file.key, file.loaded_at): load[0].loaded_at for load in _grouped(files) for file in load}


def _grouped(files: Sequence[LoadFile]) -> list[list[LoadFile]]:
    loads: list[_Load] = []
    placed = ((file, file.place) for file in files)  # worked out once: a load may have thousands of files
    for file, place in sorted(placed, key=lambda at: (at[0].loaded_at, at[1], at[0].key)):
        if not loads or loads[-1].is_over_before(file, place):
            loads.append(_Load())
        loads[-1].add(file, place)
    return [load.files for load in loads]


class _Load:
    """The files of a load as they are found, in the order of their times."""

    def __init__(self) -> None:
        self.files: list[LoadFile] = []
        self._places: set[Place] = set()
        # Of each segment: the times of its files, and the highest number up to each.
        self._times: dict[str, list[datetime]] = defaultdict(list)
        self._highest: dict[str, list[int]] = defaultdict(list)

    def add(self, file: LoadFile, place: Place) -> None:
        segment, number = place
        highest = self._highest[segment]
        self.files.append(file)
        self._places.add(place)
        self._times[segment].append(file.loaded_at)
        highest.append(max(number, highest[-1]) if highest else number)

    def is_over_before(self, file: LoadFile, place: Place) -> bool:
        """Whether a file is of another load than those before it."""
        first = self.files[0]
        if file.ends is not None and first.ends is not None:
            return file.loaded_at != first.loaded_at
        if place in self._places:
            return True
        # The count begins anew, too, where the first files of the load before were overwritten before anybody saw them.
        segment, number = place
        before = bisect_left(self._times[segment], file.loaded_at - _JITTER)
        return before > 0 and self._highest[segment][before - 1] >= number


def _is_settled(load: Sequence[LoadFile]) -> bool:
    return all(file.is_settled for file in load)


def _is_complete(
    load: Sequence[LoadFile], next_one: datetime | None, changes_between: Callable[[datetime, datetime | None], bool]
) -> bool:
    if not _is_counted(load) or not all(file.is_whole for file in load):
        return False
    if all(file.ends is None for file in load):
        return changes_between(load[-1].loaded_at, next_one)
    return any(file.ends for file in load)


def _is_counted(load: Sequence[LoadFile]) -> bool:
    numbers: dict[str, set[int]] = {}
    for file in load:
        segment, number = file.place
        numbers.setdefault(segment, set()).add(number)
    return all(found == set(range(1, len(found) + 1)) for found in numbers.values())
