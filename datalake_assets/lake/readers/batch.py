"""What a reader gives: landed objects as columns, verdicts and counts."""

from dataclasses import dataclass
from datetime import date
from typing import Any

import narwhals as nw

from datalake_assets.lake.store.step import ObjectOutcome


@dataclass(frozen=True, slots=True)
class Batch:
    """Some landed objects, read.

    `accepted` has the dataset's columns and those the lake adds, `rejected` the columns of quarantine. `event_dates`
    tells, by partition, which dates its accepted records have.
    """

    accepted: nw.LazyFrame[Any]
    rejected: nw.LazyFrame[Any]
    outcomes: tuple[ObjectOutcome, ...]
    event_dates: dict[str, tuple[date, ...]]
    bytes_in: int
