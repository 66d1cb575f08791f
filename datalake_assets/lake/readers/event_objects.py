"""A landed object of events as far as it was read: its texts, its rejects, and what is told of it at the end."""

from bisect import bisect_right, insort
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from operator import attrgetter

from datalake_assets.lake.readers.event_text import EventText
from datalake_assets.lake.readers.failures import Failure
from datalake_assets.lake.readers.rejects import Reject
from datalake_assets.lake.store.landing import LandedObject
from datalake_assets.lake.store.lateness import Lateness
from datalake_assets.lake.store.outcome import ObjectOutcome


@dataclass(slots=True)
class EventObject:
    """One object.

    `size` is that of its `texts` in bytes, `cut` what is wrong with the rest where they are not all of it; `rejected`
    are the records that are rejected so far; `accepted`, `dates`, `lateness` and `counted` (how many accepted records
    break which row rule of the dataset, or belong to which share) are known when its records are typed.
    """

    landed: LandedObject
    size: int = 0
    texts: Sequence[EventText] = ()
    cut: str | None = None
    rejected: list[Reject] = field(default_factory=list)
    accepted: int = 0
    dates: list[date] = field(default_factory=list)
    lateness: Lateness | None = None
    counted: dict[str, int] = field(default_factory=dict)
    failure: Failure | None = None
    _reasons: list[tuple[int, str | None]] = field(default_factory=list)

    def begin_again(self) -> None:
        """Forget what was read of the texts."""
        self.rejected, self.accepted, self.dates, self._reasons = [], 0, [], []
        self.lateness, self.counted = None, {}

    def note(self, reason: str | None, *, since: int) -> None:
        """Note why the records from a number on had been put aside; None: they had not."""
        self._reasons.append((since, reason))

    def end(self, number: int) -> None:
        """Note that the records are read up to a number; where they are not all, the last reject is for the rest.

        How much is lost nobody knows: it counts as all of the object does.
        """
        if self.cut is None:
            return
        reason = f"object: {self.cut}"
        if self.rejected and self.rejected[-1].row_number == number:
            last = self.rejected[-1]
            self.rejected[-1] = replace(last, errors=(*last.errors, reason), size=self.size)
        else:
            self.rejected.append(Reject(number + 1, "", (reason,), size=self.size))

    def reject(self, reject: Reject) -> None:
        """Note a record that is rejected after others that stand behind it."""
        insort(self.rejected, reject, key=attrgetter("row_number"))

    @property
    def rejects(self) -> list[Reject]:
        """What is rejected, with the reasons why it had been put aside."""
        if not any(reason for _, reason in self._reasons):
            return self.rejected
        begins = [begin for begin, _ in self._reasons]
        noted = ((reject, self._reasons[bisect_right(begins, reject.row_number) - 1][1]) for reject in self.rejected)
        return [replace(reject, errors=(*reject.errors, reason)) if reason else reject for reject, reason in noted]

    def fail(self, failure: Failure) -> None:
        """Note that the object can't be read; nothing of it is accepted."""
        self.begin_again()
        self.texts, self.failure = (), failure
        self.rejected = failure.rejects(self.landed)

    def release(self) -> None:
        """Let go of the texts, when nothing more is read of them."""
        self.texts = ()

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
            bytes_rejected=min(sum(reject.size for reject in self.rejected), self.size),
            event_dates=tuple(sorted(self.dates)),
            lateness=self.lateness,
            counted=self.counted,
        )
