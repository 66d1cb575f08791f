"""What the parts of one step share: the lake, the engine, the clock, and what was written so far."""

import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime

import narwhals as nw

from datalake_assets.lake.engines.base import Engine, Frame
from datalake_assets.lake.lake import Lake


@dataclass
class Step:
    """One step under way: where it works, and what it has done: rows changed, event dates touched, seconds by stage."""

    lake: Lake
    engine: Engine
    started_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    rows_written: int = 0
    touched: set[date] = field(default_factory=set)
    seconds: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Count the time of the block to a stage."""
        begin = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] += time.perf_counter() - begin

    def count(self, frame: Frame) -> int:
        """How many rows a frame has."""
        return int(self.engine.rows(frame.select(nw.len().alias("rows")))[0]["rows"])
