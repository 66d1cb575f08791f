"""The full loads of a replicated table, told by the files that landed of them.

DMS gives the files of every load the same names and counts them from 1, so that a table that is loaded again
overwrites them; nothing but the times of transfer in their rows tells one load from the next (facts of AWS DMS:
ReloadTables). Belongs here: which files make a load, and whether it is whole. What a load means for the rows is in
`transforms/cdc.py`.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

import polars as pl

from datalake_assets.lake.store.key_times import LAST
from datalake_assets.lake.store.outcome import SUPERSEDED

LOAD_METADATA = "datalake.load"
"""The key in a load file's footer (where it is Parquet) under which it may tell of its load, as JSON.

DMS writes nothing there; `datalake replicate` does, and the lake needs `last` alone.

`load`: when it began, ISO 8601. `file`: its number from 1. `last`: whether it is the load's last. `after`: the sequence
of a change; the load's rows are as new as all changes up to it, and those that are not in the load come after it; empty
where there was none.
"""

_COUNTED = re.compile(r"^(.*?)LOAD([0-9A-F]{8})", re.ASCII)
_DATE_FOLDERS = re.compile(r"(?:^|(?<=/))(?:[a-z]+=)?[0-9]+/")


@dataclass(frozen=True, slots=True)
class LoadFile:
    """A file of a full load: when its first row was transferred (UTC).

    `is_whole`: all its rows are in silver. `ends`: it says itself that no file of its load comes after it.
    """

    key: str
    loaded_at: datetime
    is_whole: bool
    ends: bool = False

    @property
    def place(self) -> tuple[str, int]:
        """What it is called within its load, whatever day it landed: its segment, and its number from 1."""
        folder, slash, name = self.key.rpartition("/")
        match = _COUNTED.match(name)
        segment, number = match.groups() if match else (name, "1")
        return _DATE_FOLDERS.sub("", folder + slash) + segment, int(number, 16)


@dataclass(frozen=True, slots=True)
class FullLoad:
    """One full load, from its first transfer on (UTC), and the key of its first file."""

    started_at: datetime
    is_complete: bool
    first_file: str


def load_files(rows: pl.DataFrame) -> list[LoadFile]:
    """The files of full loads that some rows of the ledger tell of.

    What lay under a key before is left out unless it was of an earlier load: else it was put right.
    """
    told = rows.filter(pl.col("loaded_at").is_not_null())
    now = {r["key"]: r["loaded_at"] for r in told.iter_rows(named=True) if r["status"] != SUPERSEDED}
    return [
        LoadFile(
            r["key"], r["loaded_at"], r["processed_at"] is not None and not r["rows_rejected"], bool(r["ends_load"])
        )
        for r in told.iter_rows(named=True)
        if r["status"] != SUPERSEDED or r["loaded_at"] < now.get(r["key"], LAST)
    ]


def full_loads(
    files: Sequence[LoadFile], *, changes_between: Callable[[datetime, datetime | None], bool]
) -> tuple[FullLoad, ...]:
    """The loads that some files make, in their order.

    A load begins where the count begins anew: what an earlier one left behind, under higher numbers, is not of it. It
    is complete when its files are counted without a gap, all their rows are in silver, and DMS has gone on to write
    changes, or a file says that it is the last; nobody asks that of the first. `changes_between` tells whether DMS
    wrote changes after a moment and before another (None: ever since).
    """
    loads: list[list[LoadFile]] = []
    counted: dict[str, int] = {}
    for file in sorted(files, key=lambda f: (f.loaded_at, f.place, f.key)):
        segment, number = file.place
        if not loads or number <= counted.get(segment, 0):
            loads.append([])
            counted = {}
        loads[-1].append(file)
        counted[segment] = number
    next_ones = [*(load[0].loaded_at for load in loads), None][1:]
    return tuple(
        FullLoad(
            started_at=load[0].loaded_at,
            is_complete=load is not loads[0]
            and _is_counted(load)
            and all(file.is_whole for file in load)
            and (any(file.ends for file in load) or changes_between(load[-1].loaded_at, next_one)),
            first_file=load[0].key,
        )
        for load, next_one in zip(loads, next_ones, strict=True)
    )


def _is_counted(load: Sequence[LoadFile]) -> bool:
    numbers: dict[str, set[int]] = {}
    for file in load:
        segment, number = file.place
        numbers.setdefault(segment, set()).add(number)
    return all(found == set(range(1, len(found) + 1)) for found in numbers.values())
