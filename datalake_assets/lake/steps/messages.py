"""What goes into a step and what comes out: the messages between whoever orchestrates and whatever computes.

Belongs here: plain data that can cross a process or a network.
"""

from datetime import date, datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from datalake_assets.lake.store.outcome import ObjectOutcome

_COUNTED = ("rows_in", "rows_out", "rows_rejected")


class _Message(BaseModel):
    model_config = ConfigDict(frozen=True)


class StepRequest(_Message):
    """One unit of work.

    `name` is a dataset (zone `silver`) or a gold table. A silver step reads what the ledger has waiting for
    `partitions`; with `replay` it reads all their objects again, under the contract as it is now. A gold step computes
    the partitions that begin on `dates` (a table that is not daily: all of it), besides what is due that is dated in
    the future, where today is among them; with `only_due` nothing but what is due. With `earlier` what waits or is due
    before the first of its partitions belongs to the step too.
    """

    zone: Literal["silver", "gold"]
    name: str
    partitions: tuple[str, ...] = ()
    replay: bool = False
    dates: tuple[date, ...] = ()
    only_due: bool = False
    earlier: bool = False


class PartitionCounts(_Message):
    """The records of one partition (a landing partition, or a gold table's event date): read, accepted, rejected."""

    partition: str
    rows_in: int = 0
    rows_out: int = 0
    rows_rejected: int = 0

    def as_part_of(self, partition: str, others: "PartitionCounts | None") -> "PartitionCounts":
        """The counts of another partition, to which these and others belong."""
        sums = {n: getattr(self, n) + (getattr(others, n) if others else 0) for n in _COUNTED}
        return PartitionCounts(partition=partition, **sums)


class StepReport(_Message):
    """What a step did.

    `rows_written` counts rows that the table gained, changed or lost; `touched_dates` are the event dates whose rows
    changed. `table_version` is the table's version after the step, -1 where there is none. `seconds` are by stage.
    `rejects` counts rejected records by rule. `failed` tells what could not be done, one line each: objects that are
    tried again later, dates that could not be computed; `withheld` the dates that wait for a blocking check. `runner`
    is where the step ran and `runner_reason` why there; `job` and `job_link` are the remote job's id and page, and
    `cost` is what the service counts of it, by unit: empty where it ran in process. `lateness` tells within how many
    seconds half of the events landed (`p50`), 99 % of them (`p99`) and all (`max`), `watermark` is the latest event
    time.
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
    table_version: int = -1
    seconds: dict[str, float] = Field(default_factory=dict)
    failed: tuple[str, ...] = ()
    withheld: dict[date, str] = Field(default_factory=dict)
    runner: str = ""
    runner_reason: str = ""
    job: str = ""
    job_link: str = ""
    cost: dict[str, float] = Field(default_factory=dict)
    lateness: dict[str, float] = Field(default_factory=dict)
    watermark: datetime | None = None

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
