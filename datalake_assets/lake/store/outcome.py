"""What became of one landed object that was read: the message from readers to the ledger."""

from collections.abc import Mapping
from datetime import date, datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from datalake_assets.lake.store.lateness import Lateness

PROCESSED, FAILED, MISSING, SUPERSEDED = "processed", "failed", "missing", "superseded"


class ObjectOutcome(BaseModel):
    """What became of one landed object.

    `processed`: its records were read; each was accepted or rejected. `failed`: it could not be read, `error` says
    why; `final` when another try would read the same bytes with the same result (damaged, too large), else it is tried
    again later (forbidden, a network fault, a library's panic). `missing`: it is not there now. `superseded`: other
    bytes lie under its key. `bytes_read` is the size of its text in bytes, `bytes_rejected` how many of them are
    rejected. `event_dates` are those of its accepted records, in order, without the date of those that have none; of a
    replicated table also the days on which its changes were committed. `loaded_at` and `loaded_until` are when the
    first and the last of its rows were transferred, of a file of a full load whose rows tell that; `ends_load` whether
    the file says that it is the last (None: it does not say). `columns` are those of its columns that are not as the
    dataset file declares them, with the types they have (see `drift.news`). `lateness` is that of its accepted events.
    `counted` tells how many of these break each row rule of the dataset file, and belong to each share that it names.
    """

    model_config = ConfigDict(frozen=True)

    key: str
    etag: str
    size: int
    partition: str
    state: Literal["processed", "failed", "missing", "superseded"] = "processed"
    rows_in: int = 0
    rows_out: int = 0
    rows_rejected: int = 0
    bytes_read: int = 0
    bytes_rejected: int = 0
    event_dates: tuple[date, ...] = ()
    loaded_at: datetime | None = None
    loaded_until: datetime | None = None
    ends_load: bool | None = None
    columns: Mapping[str, str] = Field(default_factory=dict)
    lateness: Lateness | None = None
    counted: Mapping[str, int] = Field(default_factory=dict)
    error: str | None = None
    final: bool = False

    @property
    def is_read(self) -> bool:
        """Whether this is the object's last word: its records, or the reason why it has none, take their place."""
        return self.state == PROCESSED or (self.state == FAILED and self.final)

    @property
    def unusable_bytes(self) -> int:
        """How many of the object's bytes could not be used: all of one that is unreadable, else the rejects' share."""
        if self.state != PROCESSED:
            return self.size
        return round(self.size * self.bytes_rejected / self.bytes_read) if self.bytes_read else 0
