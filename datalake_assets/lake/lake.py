"""The lake as one thing: its datasets, its places, its landing zone, ledger and step log.

Building one reads nothing; each part touches the disk or the network when it is first asked for something.
"""

from dataclasses import dataclass
from datetime import date, datetime
from functools import cached_property

from datalake_assets.lake.spec.dataset import Dataset
from datalake_assets.lake.store.landing import LandingZone
from datalake_assets.lake.store.layout import Layout
from datalake_assets.lake.store.ledger import Ledger
from datalake_assets.lake.store.objects import open_objects
from datalake_assets.lake.store.step_log import StepLog


@dataclass(frozen=True)
class Lake:
    """A lake: `start` is when its first landing partition begins (UTC), `first_event_date` gold's first partition."""

    layout: Layout
    datasets: dict[str, Dataset]
    start: datetime
    first_event_date: date

    @cached_property
    def landing(self) -> LandingZone:
        """The landed objects."""
        return LandingZone(open_objects(self.layout.bronze), self.start)

    @property
    def ledger(self) -> Ledger:
        """The memory of what landed."""
        return Ledger(self.layout.ledger)

    @property
    def step_log(self) -> StepLog:
        """The memory of what was computed."""
        return StepLog(self.layout.steps)

    def uri(self, table: str) -> str:
        """The place of a table named by zone and name, such as `silver/orders` or `quarantine/web_events`."""
        zone, _, name = table.partition("/")
        places = {"silver": self.layout.silver, "gold": self.layout.gold, "quarantine": self.layout.quarantine}
        return f"{places[zone]}/{name}"
