"""What goes into a step and what comes out: the messages between whoever orchestrates and whatever computes.

Belongs here: plain data that can cross a process or a network. How a step computes is in `steps.py`.
"""

from datetime import date, datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from datalake_assets.lake.store.landing import LandedObject


class _Message(BaseModel):
    model_config = ConfigDict(frozen=True)


class StepRequest(_Message):
    """One unit of work.

    `name` is a dataset (zone `silver`) or a gold table. Silver reads `objects`, the admitted objects of `partitions`;
    gold recomputes `dates`. `since_version` is the newest table version that the step log knows, so that commits of a
    run which died before it could report are found again.
    """

    zone: Literal["silver", "gold"]
    name: str
    partitions: tuple[str, ...] = ()
    objects: tuple[LandedObject, ...] = ()
    dates: tuple[date, ...] = ()
    since_position: dict[str, int] = Field(default_factory=dict)


class ObjectOutcome(_Message):
    """What became of one landed object: its records read, accepted and rejected, or why it could not be read."""

    key: str
    etag: str
    size: int
    partition: str
    rows_in: int = 0
    rows_out: int = 0
    rows_rejected: int = 0
    error: str | None = None


class PartitionCounts(_Message):
    """The records of one partition: read, accepted, rejected; and the event dates of those accepted."""

    partition: str
    rows_in: int = 0
    rows_out: int = 0
    rows_rejected: int = 0
    event_dates: tuple[date, ...] = ()


class StepReport(_Message):
    """What a step did.

    `rows_written` counts rows that the table gained, changed or lost; `touched_dates` are the event dates whose rows
    changed. `positions` tell, by table, how far the step's inputs (gold) or outputs (silver) had come. `seconds`
    are by stage. `rejects` counts rejected records by rule.
    """

    zone: Literal["silver", "gold"]
    name: str
    engine: str
    started_at: datetime
    partitions: tuple[PartitionCounts, ...] = ()
    objects: tuple[ObjectOutcome, ...] = ()
    rows_written: int = 0
    bytes_in: int = 0
    rejects: dict[str, int] = Field(default_factory=dict)
    touched_dates: tuple[date, ...] = ()
    positions: dict[str, int] = Field(default_factory=dict)
    table_version: int = -1
    seconds: dict[str, float] = Field(default_factory=dict)

    @property
    def rows_in(self) -> int:
        """Records read."""
        return sum(p.rows_in for p in self.partitions)

    @property
    def rows_out(self) -> int:
        """Records accepted (silver) or rows computed (gold)."""
        return sum(p.rows_out for p in self.partitions)

    @property
    def rows_rejected(self) -> int:
        """Records sent to quarantine."""
        return sum(p.rows_rejected for p in self.partitions)
