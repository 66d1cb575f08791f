"""A landed object of events as far as it was read: its lines, its rejects, and what is told of it at the end."""

from dataclasses import dataclass, field
from datetime import date

from datalake_assets.lake.readers.failures import Failure
from datalake_assets.lake.readers.rejects import Reject
from datalake_assets.lake.store.landing import LandedObject
from datalake_assets.lake.store.outcome import ObjectOutcome


@dataclass(slots=True)
class EventObject:
    """One object.

    `size` is that of its `text` in bytes; `rejected` are the records that are rejected so far; `accepted` and `dates`
    are known when its records are typed.
    """

    landed: LandedObject
    size: int = 0
    text: bytes = b""
    rejected: list[Reject] = field(default_factory=list)
    accepted: int = 0
    dates: list[date] = field(default_factory=list)
    failure: Failure | None = None

    def begin_again(self) -> None:
        """Forget what was read of the text."""
        self.rejected, self.accepted, self.dates = [], 0, []

    def fail(self, failure: Failure) -> None:
        """Note that the object can't be read; nothing of it is accepted."""
        self.begin_again()
        self.text, self.failure = b"", failure
        self.rejected = failure.rejects(self.landed)

    def release(self) -> None:
        """Let go of the text, when nothing more is read of it."""
        self.text = b""

    @property
    def outcome(self) -> ObjectOutcome:
        """What the ledger is told of the object."""
        landed = self.landed
        if self.failure:
            return self.failure.outcome(landed)
        return ObjectOutcome(
            key=landed.key,
            etag=landed.etag,
            size=landed.size,
            partition=landed.partition,
            rows_in=self.accepted + len(self.rejected),
            rows_out=self.accepted,
            rows_rejected=len(self.rejected),
            bytes_read=self.size,
            bytes_rejected=sum(reject.size for reject in self.rejected),
            event_dates=tuple(sorted(self.dates)),
        )
