"""Rows of several files of DMS in one frame: what their files tell of them, and what is told of each file in turn."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime

import polars as pl

from datalake_assets.lake.readers.dms_names import commit_time, file_time
from datalake_assets.lake.readers.file_rows import FileRows
from datalake_assets.lake.readers.rejects import Reject
from datalake_assets.lake.spec.columns import COMMITTED_AT, EVENT_DATE, FILE_TIME, ROW_NUMBER, SOURCE_FILENAME
from datalake_assets.lake.store.landing import LandedObject, is_full_load

PART, FILE_COMMIT = "_part", "_file_commit"
"""The columns that tell which of the parts a row is of, and when rows were committed that do not tell it."""

_TIMESTAMP = pl.Datetime("us", "UTC")
_OF_FILES = {PART: pl.UInt32(), SOURCE_FILENAME: pl.String(), FILE_TIME: _TIMESTAMP, FILE_COMMIT: _TIMESTAMP}


@dataclass(frozen=True, slots=True)
class Part:
    """Rows of a landed file."""

    landed: LandedObject
    rows: FileRows

    @property
    def is_full_load(self) -> bool:
        """Whether the file is of a full load."""
        return is_full_load(self.landed.key)

    @property
    def form(self) -> tuple[object, ...]:
        """What parts have in common that can be evaluated together."""
        return self.is_full_load, *self.rows.frame.schema.items()


@dataclass(slots=True)
class Verdict:
    """What is told of a part: how many of its rows are accepted, on which days they count, and its rejects in order.

    The days are event dates and those of commits. `transferred` is when the first and the last row of a full load were.
    """

    rows: int = 0
    days: set[date] = field(default_factory=set)
    rejects: list[Reject] = field(default_factory=list)
    transferred: tuple[datetime, datetime] | None = None


def columns_of_files(parts: Sequence[Part], *, prefix: str) -> pl.DataFrame:
    """What the files tell of each row of some parts, one after the other: its number, and the name and times of a file.

    `prefix` is the folder of the dataset in bronze.
    """
    paths = [part.landed.key.removeprefix(f"{prefix}/") for part in parts]
    files = pl.DataFrame(
        {
            PART: range(len(parts)),
            SOURCE_FILENAME: [part.landed.key for part in parts],
            FILE_TIME: [file_time(path) for path in paths],
            FILE_COMMIT: [commit_time(path, p.landed.last_modified) for path, p in zip(paths, parts, strict=True)],
        },
        schema=_OF_FILES,
    )
    heights = pl.Series([part.rows.frame.height for part in parts])
    part_of_each_row = files[PART].repeat_by(heights).explode(empty_as_null=False)
    return files[part_of_each_row].with_columns(pl.concat([part.rows.row_numbers for part in parts]).alias(ROW_NUMBER))


def count_accepted(changes: pl.DataFrame, verdicts: Sequence[Verdict]) -> None:
    """Count the rows of each part that came to be changes: one that moved to another key is two of them."""
    days = pl.col(EVENT_DATE).drop_nulls().unique(), pl.col(COMMITTED_AT).dt.date().drop_nulls().unique()
    for part, rows, *dates in changes.group_by(PART).agg(pl.col(ROW_NUMBER).n_unique(), *days).iter_rows():
        verdicts[part].rows = rows
        verdicts[part].days.update(*dates)


def note_rejects(bad: pl.DataFrame, parts: Sequence[Part], verdicts: Sequence[Verdict]) -> None:
    """Add the rejects of each part: its rows that broke a rule, and those that could not be read at all.

    `bad` has the columns PART, ROW_NUMBER, `raw` (text) and `reasons` (a list of texts).
    """
    for part, number, text, reasons in bad.iter_rows():
        verdicts[part].rejects.append(Reject(number, text, tuple(reasons)))
    for part, verdict in zip(parts, verdicts, strict=True):
        verdict.rejects = sorted([*part.rows.rejects, *verdict.rejects], key=lambda reject: reject.row_number)


def note_transfers(moments: pl.DataFrame, verdicts: Sequence[Verdict]) -> None:
    """Note when the first and the last row of each part were transferred; `moments` has PART and `moment` (UTC)."""
    span = moments.drop_nulls().group_by(PART).agg(pl.col("moment").min().alias("first"), pl.col("moment").max())
    for part, first, last in span.iter_rows():
        verdicts[part].transferred = first, last
