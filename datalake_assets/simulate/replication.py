"""The replication task: a full load of the shop's tables, then their changes, hour by hour, at least once.

Belongs here: which rows go into which file, what arrives twice and what arrives late. What the files look
like is in `dms.py`, what happens to the rows in `shop.py`.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random

from datalake_assets.simulate import dms
from datalake_assets.simulate.delivery import Delivery
from datalake_assets.simulate.faults import Fault
from datalake_assets.simulate.shop import Shop
from datalake_assets.simulate.simulation import HOUR, LOOK_BACK, Simulation, about
from datalake_assets.simulate.tables import Change, Customer, Order

LOAD_ROWS = 1_500
"""Rows of one full-load file; few, so that a small shop fills more than one (DMS cuts by MaxFileSize)."""

_TRANSFER = timedelta(microseconds=448)
_FILE_LENGTH = {"orders": timedelta(minutes=20), "customers": HOUR}
_LAST_COMMIT = timedelta(minutes=58)
_LATE = 0.02
_TWICE = 0.01
_BROKEN = 0.01
_FEW = 25
_LIVE_CUSTOMERS = 60


@dataclass(frozen=True, slots=True)
class Batch:
    """The changes of one table that go into one file, and when DMS creates it."""

    table: str
    created: datetime
    changes: Sequence[Change]
    faults: Counter[Fault]

    def deliver(self) -> Delivery:
        """The file."""
        return Delivery(
            dataset=self.table,
            key=dms.change_key(self.table, created=self.created),
            body=dms.change_file(self.table, self.changes),
            records=len(self.changes),
            faults=self.faults,
        )


class Replication:
    """One task that replicates a simulation's shop; its hours are to be asked for in order."""

    def __init__(self, simulation: Simulation) -> None:
        """The task before its full load."""
        dice = simulation.dice("shop")
        self.shop = Shop(
            dice,
            orders=simulation.orders,
            customers=simulation.customers,
            opened=simulation.start - LOOK_BACK,
            until=simulation.start,
        )
        self.held: list[tuple[datetime, Change]] = []
        """Changes that are late, each with the hour in which it will land."""
        self._simulation = simulation
        self._broken = self.shop.broken_orders(dice, at=simulation.start - HOUR)
        self._again: dict[str, list[Change]] = {}

    def load(self) -> Iterator[Delivery]:
        """The full load's files: all rows at the start, and two broken ones.

        A load's file tells no time in its name, so its landing hour is told by last-modified: it is the
        simulation's start wherever that can be set, or equal simulations would not land in equal partitions.
        """
        rows = [*self._broken.values(), *self.shop.orders.rows.values()]
        yield from self._load_files("orders", rows, faults=Counter(list(self._broken)))
        yield from self._load_files("customers", list(self.shop.customers.rows.values()), faults=Counter())

    def hour(self, hour: datetime) -> list[Batch]:
        """What lands in an hour, by time of the files.

        In each table the hour's first change is on time. Of the others a few land one to three hours later,
        and a few are in two files.
        """
        dice = self._simulation.dice("dms", hour)
        files: defaultdict[tuple[datetime, str], list[Change]] = defaultdict(list)
        seen: set[str] = set()
        for change in self._trade(dice, hour):
            if change.table in seen and dice.random() < _LATE:
                self.held.append((hour + dice.randint(1, 3) * HOUR, change))
            else:
                seen.add(change.table)
                files[_minute(change, hour), change.table].append(change)
        return [
            self._batch(table, dice, created=minute + timedelta(milliseconds=dice.randrange(60_000)), changes=changes)
            for (minute, table), changes in sorted(files.items())
        ]

    def log(self, hour: datetime) -> list[Change]:
        """What the log tells of an hour, which lands in no file then; without what a broken writer sent."""
        return [change for change in self._trade(self._simulation.dice("dms", hour), hour) if change.fault is None]

    def flush(self, dice: Random, *, since: datetime, until: datetime) -> list[Batch]:
        """What a live task writes at `until`: changes since `since`, one order's at least, all in order."""
        log = self.live_log(dice, since=since, until=until)
        tables = sorted({change.table for change in log})
        return [Batch(table, until, [c for c in log if c.table == table], Counter()) for table in tables]

    def live_log(self, dice: Random, *, since: datetime, until: datetime) -> list[Change]:
        """What the log tells from `since` to `until`, of one order's transaction at least."""
        share = (until - since) / HOUR
        return self.shop.trade(
            dice,
            since=since,
            until=until,
            orders=max(1, about(dice, share * self._simulation.order_transactions)),
            customers=about(dice, share * max(_LIVE_CUSTOMERS, self._simulation.customer_transactions)),
        )

    def _trade(self, dice: Random, hour: datetime) -> list[Change]:
        orders = self._simulation.order_transactions
        return self.shop.trade(
            dice,
            since=hour,
            until=hour + _LAST_COMMIT,
            orders=orders,
            customers=about(dice, self._simulation.customer_transactions),
            broken=about(dice, orders * _BROKEN) if orders >= _FEW else 0,
        )

    def _batch(self, table: str, dice: Random, *, created: datetime, changes: list[Change]) -> Batch:
        due = [change for hour, change in self.held if hour <= created and change.table == table]
        self.held = [(hour, change) for hour, change in self.held if hour > created or change.table != table]
        again = self._again.pop(table, [])
        self._again[table] = [c for c in changes if c.fault is None and dice.random() < _TWICE]
        faults = Counter(change.fault for change in (*changes, *due) if change.fault)
        faults += Counter({Fault.LATE: len(due), Fault.DUPLICATE: len(again)})
        return Batch(table, created, [*again, *changes, *due], faults)

    def _load_files(
        self, table: str, rows: Sequence[Order | Customer], *, faults: Counter[Fault]
    ) -> Iterator[Delivery]:
        """Files of rows in order; `faults` are in the first."""
        transfer = self._simulation.start + timedelta(seconds=1)
        timed = [(row, transfer + number * _TRANSFER) for number, row in enumerate(rows)]
        for number, offset in enumerate(range(0, len(timed), LOAD_ROWS), start=1):
            part = timed[offset : offset + LOAD_ROWS]
            yield Delivery(
                dataset=table,
                key=dms.load_key(table, number=number),
                body=dms.load_file(table, part),
                records=len(part),
                faults=faults if number == 1 else Counter(),
                modified=self._simulation.start,
            )


def _minute(change: Change, hour: datetime) -> datetime:
    """The minute in which a change's file is made: after its stretch of the hour, before the hour is over."""
    length = _FILE_LENGTH[change.table]
    end = ((change.committed - hour) // length + 1) * length
    return hour + min(end, HOUR - timedelta(minutes=1))
