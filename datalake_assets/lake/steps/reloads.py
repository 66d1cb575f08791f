"""Which full loads a table has had, as a step that writes its changes sees them.

A reload that begins, or becomes complete, while a step decides changes what orders the rows it decides on: it looks
again then.
"""

from datalake_assets.lake.engines.base import Frame
from datalake_assets.lake.spec.columns import GENERATION
from datalake_assets.lake.spec.dataset import CdcTable
from datalake_assets.lake.store.full_loads import FullLoad
from datalake_assets.lake.store.ledger import Ledger
from datalake_assets.lake.transforms import cdc


class ReloadedError(Exception):
    """A reload of the table has begun, or is complete by now: what comes after what is to be told anew."""


class Reloads:
    """The reloads of a table, numbered from 1, as they were when `look` was called."""

    def __init__(self, ledger: Ledger, dataset: CdcTable) -> None:
        """Look at what a ledger tells of a table."""
        self._ledger = ledger
        self._dataset = dataset
        self._known: tuple[int, tuple[FullLoad, ...]] | None = None  # and the ledger's version that tells them
        self.look()

    def look(self) -> None:
        """See which there are now."""
        self._reloads = self.loads()[1:]
        self.complete = tuple(n for n, load in enumerate(self._reloads, start=1) if load.is_complete)
        """The numbers of those that are complete."""
        self.undone = tuple(load for load in self._reloads if load.was_settled and not load.is_complete)
        """Those that were complete, as it seemed, for which rows were taken out."""

    def __getitem__(self, number: int) -> FullLoad:
        """The reload of a number."""
        return self._reloads[number - 1]

    def __len__(self) -> int:
        """How many there are."""
        return len(self._reloads)

    def loads(self) -> tuple[FullLoad, ...]:
        """All full loads that the ledger tells of now, the first one too."""
        if self._dataset.timestamp_column is None:
            return ()
        version = self._ledger.table.open().version
        if self._known is None or self._known[0] != version:
            self._known = version, self._ledger.loads.known(self._dataset)
        return self._known[1]

    def require_unchanged(self) -> None:
        """Raise `ReloadedError` where a reload has begun, or has become complete, since we looked.

        To be asked after a table is opened, on which is decided then.
        """
        now, then = ([(load.started_at, load.is_complete) for load in r] for r in (self.loads()[1:], self._reloads))
        if now != then:
            raise ReloadedError

    @property
    def order(self) -> list[str]:
        """What orders the changes of a key that are `placed`, the most significant first."""
        return [*([GENERATION] if self._reloads else ()), *self._dataset.order_columns]

    def placed(self, changes: Frame) -> Frame:
        """Changes, or rows of a table, with all that orders them."""
        return cdc.with_generation(changes, [load.started_at for load in self._reloads]) if self._reloads else changes
