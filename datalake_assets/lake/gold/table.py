"""What a gold table is: where it comes from, what it holds, how it is computed."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import narwhals as nw

from datalake_assets.lake.spec.columns import EVENT_DATE
from datalake_assets.lake.spec.parts import Column

Frame = nw.LazyFrame[Any]
Compute = Callable[[Mapping[str, Frame]], Frame]


@dataclass(frozen=True, slots=True)
class GoldTable:
    """One of the business's tables.

    `sources` are tables named by zone and name (`silver/orders`); `compute` gets those of them that exist, by name,
    and returns one frame with `columns`. A `daily` table is computed event date by event date from its sources' rows
    of the same dates; the others are computed whole. `key` is what makes its rows distinct.

    `lookups` are sources that are read whole, whatever the dates, because any row of them may stand beside any date.
    When one changes, `stale` gets the same frames and the gold table itself (as `gold/<name>`) and returns the
    `event_date`s whose rows no longer show what the lookups hold.
    """

    name: str
    description: str
    sources: tuple[str, ...]
    columns: dict[str, Column]
    key: tuple[str, ...]
    compute: Compute
    partition_by: tuple[str, ...] = (EVENT_DATE,)
    daily: bool = True
    lookups: tuple[str, ...] = ()
    stale: Compute | None = None

    @property
    def datasets(self) -> tuple[str, ...]:
        """The datasets whose changes touch its event dates."""
        zones = ("silver/", "quarantine/")
        return tuple(dict.fromkeys(s.partition("/")[2] for s in self.sources if s.startswith(zones)))


def column(type_: str, description: str) -> Column:
    """A column of a gold table."""
    return Column(type=type_, description=description)
