"""A Delta table of the lake: opened, and changed by compare-and-swap."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from datalake_assets.lake.store.conflicts import until_undisturbed
from datalake_assets.lake.store.place import TablePlace
from datalake_assets.lake.store.snapshot import Snapshot, open_snapshot

_TRUSTED_SECONDS = 60.0
"""How long a look at the log holds good for the next: no log of the lake forgets a commit that is so young."""
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class _Look:
    """What a look at the table's log showed: the newest state, what its commit looks like, and when that was."""

    seen: Snapshot
    stamp: str
    at: float


@dataclass(frozen=True)
class Table(TablePlace):
    """A table of the lake."""

    _looks: list[_Look] = field(default_factory=list, init=False, repr=False, compare=False)

    def open(self) -> Snapshot:
        """The table as it is now; one that does not exist has version -1 and no rows.

        Where its log has not moved since the last look, that is the same snapshot again: opening lists the log and
        reads its checkpoint, and a step asks for the same state many times. A snapshot never changes, not by its own
        commit either, so threads may share one.
        """
        now = time.monotonic()
        for look in tuple(self._looks):
            if now - look.at < _TRUSTED_SECONDS and self._is_newest(look):
                self._looks[:] = [_Look(look.seen, look.stamp, now)]
                return look.seen
        seen = open_snapshot(self)
        stamp = self.log_stamp(seen.version) if seen.exists else None
        self._looks[:] = [_Look(seen, stamp, now)] if stamp is not None else []
        return seen

    def _is_newest(self, look: _Look) -> bool:
        version = look.seen.version
        return self.log_stamp(version + 1) is None and self.log_stamp(version) == look.stamp

    def moved(self, folder: str) -> "Table":
        """The same table in another folder."""
        return Table(self.spec, f"{folder}/{self.spec.name}")

    def transact(self, decide: Callable[[Snapshot], Result]) -> Result:
        """Call `decide` with the table as it is until what it commits is on the version that it saw.

        Raises `ConflictError` after many tries.
        """
        return until_undisturbed(lambda: decide(self.open()), what=self.uri)
