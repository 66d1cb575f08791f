"""What is simulated: how many hours, how busy, from when, and the chances drawn for it.

Belongs here: the request and the one source of randomness. What the shop and its visitors do is in `shop.py`,
`web.py` and `devices.py`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random
from uuid import UUID

HOUR = timedelta(hours=1)
LOOK_BACK = timedelta(days=3)
"""No event time lies further before the first landing hour: that is when the shop opened."""


@dataclass(frozen=True, slots=True)
class Simulation:
    """A stretch of landing hours of one shop.

    `rate` is web events per hour; the size and the pace of the shop follow it. `start` is the first landing
    hour (UTC). Equal simulations land equal bytes, and one of more `hours` begins with the objects of one of
    fewer.
    """

    hours: int
    rate: int
    seed: int
    start: datetime

    def __post_init__(self) -> None:
        """Raises `ValueError` where the request can't be simulated."""
        if self.hours < 1 or self.rate < 1:
            raise ValueError(f"hours and rate must be 1 or more, not {self.hours} and {self.rate}")
        if self.start.utcoffset() != timedelta(0):
            raise ValueError(f"start must be a time in UTC, not {self.start.isoformat()}; give it tzinfo=UTC")
        if (self.start.minute, self.start.second, self.start.microsecond) != (0, 0, 0):
            raise ValueError(f"start must be a full hour, not {self.start.isoformat()}")

    @property
    def end(self) -> datetime:
        """The moment the last hour ends."""
        return self.start + self.hours * HOUR

    @property
    def customers(self) -> int:
        """How many customers the shop has at the start: 300 at 600 events an hour."""
        return max(30, self.rate // 2)

    @property
    def orders(self) -> int:
        """How many orders the shop has at the start: 2,000 at 600 events an hour."""
        return max(200, self.rate * 10 // 3)

    @property
    def order_transactions(self) -> int:
        """How many transactions on orders there are in an hour: 40 at 600 events an hour."""
        return max(12, self.rate // 15)

    @property
    def customer_transactions(self) -> float:
        """How many transactions on customers there are in an hour, on average: 3 at 600 events an hour."""
        return 2 + self.rate / 600

    def landing_hours(self) -> Iterator[datetime]:
        """Each hour's first moment, in order."""
        return (self.start + n * HOUR for n in range(self.hours))

    def dice(self, *scope: object) -> Random:
        """Chances for one scope, such as a dataset and an hour: they don't depend on what others drew."""
        return Random("/".join(map(str, (self.seed, self.rate, *scope))))


def about(dice: Random, expected: float) -> int:
    """A whole number with this mean: 2.25 gives 2, and 3 every fourth time."""
    return int(expected + dice.random())


def identifier(dice: Random) -> UUID:
    """A version 4 uuid drawn from the dice."""
    return UUID(int=dice.getrandbits(128), version=4)
