"""How late records landed: counts that are added up over objects and batches, and what is told of them.

Lateness is the time from an event to the moment that the name of its object tells (Firehose: when the oldest record of
it arrived), or else to when the object was last modified; an event dated after that is not late at all.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime

import polars as pl
from pydantic import BaseModel, ConfigDict, Field

_STEPS = 16  # for each doubling: neighbouring counts are 4 % apart


class Lateness(BaseModel):
    """The lateness of some records.

    `counts` has how many records are in each step of lateness, sixteen for each doubling of the seconds and one more;
    `most` is the greatest, in seconds; `watermark` the latest event time (UTC).
    """

    model_config = ConfigDict(frozen=True)

    counts: Mapping[int, int] = Field(default_factory=dict)
    most: float = 0
    watermark: datetime | None = None

    @classmethod
    def together(cls, parts: Iterable["Lateness | None"]) -> "Lateness | None":
        """Several as one; None for none."""
        found = [part for part in parts if part is not None]
        counts = Counter[int]()
        for part in found:
            counts.update(part.counts)
        marks = [part.watermark for part in found if part.watermark]
        return (
            cls(counts=counts, most=max(p.most for p in found), watermark=max(marks, default=None)) if found else None
        )

    def quantile(self, share: float) -> float:
        """The seconds within which a share of the records landed, to 4 %."""
        left = share * sum(self.counts.values())
        for step in sorted(self.counts):
            left -= self.counts[step]
            if left <= 0:
                return min(2 ** (step / _STEPS) - 1, self.most)
        return self.most


def lateness(records: pl.DataFrame, *, of: str, event_time: str, landed_at: str) -> dict[int, Lateness]:
    """The lateness of records by the value of the column `of`; times in UTC, none of them null."""
    late = ((pl.col(landed_at) - pl.col(event_time)).dt.total_milliseconds() / 1000).clip(lower_bound=0)
    step = ((late + 1).log(2) * _STEPS).round().cast(pl.Int32)
    frame = records.select(of, event_time, late.alias("late"), step.alias("step"))
    counts: dict[int, dict[int, int]] = {}
    for n, at, count in frame.group_by(of, "step").len().iter_rows():
        counts.setdefault(n, {})[at] = count
    bounds = frame.group_by(of).agg(pl.max("late"), pl.max(event_time))
    return {n: Lateness(counts=counts[n], most=most, watermark=latest) for n, most, latest in bounds.iter_rows()}
