"""The shop's database at work: transactions that change its tables in the order of a write-ahead log.

Belongs here: what happens to orders and customers. How DMS copies it to bronze is in `replication.py` and
`dms.py`.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal
from random import Random

from datalake_assets.simulate.faults import Fault
from datalake_assets.simulate.tables import Change, Customer, Operation, Order, Row, Table

CATALOGUE = (
    ("Oak desk", Decimal("349.00")),
    ("Office chair", Decimal("189.50")),
    ("Bookcase", Decimal("129.00")),
    ("Monitor arm", Decimal("84.95")),
    ("Desk lamp", Decimal("39.90")),
    ("Fountain pen", Decimal("27.80")),
    ("Notebook", Decimal("4.20")),
    ("Coffee mug", Decimal("9.95")),
    ("Tea set", Decimal("46.00")),
    ("Wool rug", Decimal("210.00")),
    ("Wall clock", Decimal("33.30")),
    ("Plant pot", Decimal("14.75")),
)
_STATUSES = ("placed", "paid", "packed", "shipped", "delivered")
_COUNTRIES = ("AT", "BR", "DE", "ES", "FR", "GB", "IN", "IT", "JP", "NL", "PL", "US")
_GIVEN = (
    "Ada",
    "Bruno",
    "Chen",
    "Dora",
    "Emil",
    "Fatima",
    "Greta",
    "Hugo",
    "Inés",
    "Jonas",
    "Kaori",
    "Łukasz",
)
_FAMILY = ("Almeida", "Brown", "Costa", "Dubois", "Fischer", "García", "Haddad", "Ito", "Jansen", "Kowalski")

_Act = Callable[[Random, datetime], object]


class Shop:
    """Both tables, and what the log tells of them."""

    def __init__(self, dice: Random, *, orders: int, customers: int, opened: datetime, until: datetime) -> None:
        """A shop with this many rows, created at random between `opened` and `until`."""
        self.orders = Table[Order]("orders")
        self.customers = Table[Customer]("customers")
        self._position = 0
        self._log: list[Change] = []
        self._cancelled: list[Order] = []
        for moment in sorted(opened + dice.random() * (until - opened) for _ in range(customers)):
            self.customers.put(_customer(dice, key=self.customers.next_id(), at=moment))
        for moment in sorted(opened + dice.random() * (until - opened) for _ in range(orders)):
            order = self._order(dice, key=self.orders.next_id(), at=moment)
            self.orders.put(order._replace(status=dice.choice(_STATUSES)))

    def broken_orders(self, dice: Random, *, at: datetime) -> dict[Fault, Order]:
        """Rows that only a broken writer could send: never in the tables, and refused by the contract."""
        sold = self._order(dice, key=self.orders.next_id(), at=at)
        refunded = sold._replace(price=-sold.price if sold.price else None)
        return {Fault.NEGATIVE: refunded, Fault.NULL_KEY: self._order(dice, key=None, at=at)}

    def trade(
        self, dice: Random, *, since: datetime, until: datetime, orders: int, customers: int, broken: int = 0
    ) -> list[Change]:
        """Commit this many transactions on each table, and `broken` writes; gives the log of them."""
        acts = [
            *_choose(dice, self._order_acts(), count=orders),
            *_choose(dice, {self._join: 60, self._move: 34, self._leave: 6}, count=customers),
            *[self._break] * broken,
        ]
        dice.shuffle(acts)
        moments = sorted(dice.randrange((until - since) // timedelta(microseconds=1)) for _ in acts)
        for act, moment in zip(acts, moments, strict=True):
            act(dice, since + timedelta(microseconds=moment))
        log, self._log = self._log, []
        return log

    def resume(self, at: datetime) -> None:
        """Go on later, with ids and log positions above all that other sessions gave until then."""
        milliseconds = int(at.timestamp() * 1000)
        self._position = max(self._position, milliseconds)
        self.orders.last_id = max(self.orders.last_id, milliseconds)
        self.customers.last_id = max(self.customers.last_id, milliseconds)

    def _order_acts(self) -> dict[_Act, int]:
        return {
            self._place: 50,
            self._progress: 38,
            self._correct: 4,
            self._cancel: 4,
            self._replace: 1,
            self._rework: 1,
            self._restore: 2,
        }

    def _place(self, dice: Random, at: datetime) -> None:
        self._save(self.orders, self._order(dice, key=self.orders.next_id(), at=at), at)

    def _progress(self, dice: Random, at: datetime) -> None:
        order = self.orders.pick(dice)
        status = _STATUSES[min(_STATUSES.index(order.status or "placed") + 1, len(_STATUSES) - 1)]
        self._save(self.orders, order._replace(status=status, updated_at=at), at)

    def _correct(self, dice: Random, at: datetime) -> Order:
        """Two updates of one row in one transaction: they share the commit time. Gives the row."""
        order = self.orders.pick(dice)
        for _ in range(2):
            product, price = dice.choice(CATALOGUE)
            order = order._replace(product_name=product, price=price, updated_at=at)
            self._save(self.orders, order, at)
        return order

    def _cancel(self, dice: Random, at: datetime) -> None:
        order = self.orders.pick(dice)
        self._delete(self.orders, order, at)
        self._cancelled.append(order)

    def _replace(self, dice: Random, at: datetime) -> None:
        """Delete and insert of one key in one transaction; the order counts on another day from then on."""
        order = self.orders.pick(dice)
        self._delete(self.orders, order, at)
        self._save(self.orders, order._replace(status="placed", created_at=at, updated_at=at), at)

    def _rework(self, dice: Random, at: datetime) -> None:
        """Update, update, delete, insert of one key in one transaction: the row survives."""
        order = self._correct(dice, at)
        self._delete(self.orders, order, at)
        self._save(self.orders, order._replace(status="placed", updated_at=at), at)

    def _restore(self, dice: Random, at: datetime) -> None:
        """Insert a key that an earlier transaction deleted; a new one where none was."""
        if self._cancelled:
            self._save(self.orders, self._cancelled.pop()._replace(status="placed", updated_at=at), at)
        else:
            self._place(dice, at)

    def _join(self, dice: Random, at: datetime) -> None:
        self._save(self.customers, _customer(dice, key=self.customers.next_id(), at=at), at)

    def _move(self, dice: Random, at: datetime) -> None:
        self._save(self.customers, self.customers.pick(dice)._replace(country=dice.choice(_COUNTRIES)), at)

    def _leave(self, dice: Random, at: datetime) -> None:
        self._delete(self.customers, self.customers.pick(dice), at)

    def _break(self, dice: Random, at: datetime) -> None:
        """A broken write: a new order, or an update that must not reach the order it names."""
        fault, row = dice.choice(list(self.broken_orders(dice, at=at).items()))
        operation: Operation = "I"
        if fault is Fault.NEGATIVE and dice.choice((True, False)):
            operation, row = "U", self.orders.pick(dice)._replace(price=row.price, updated_at=at)
        self._write("orders", operation, row, at, fault)

    def _save(self, table: Table[Row], row: Row, at: datetime) -> None:
        self._write(table.name, "U" if table.put(row) else "I", row, at)

    def _delete(self, table: Table[Row], row: Row, at: datetime) -> None:
        table.remove(row)
        self._write(table.name, "D", type(row)(row.id), at)

    def _write(
        self,
        table: str,
        operation: Operation,
        row: Order | Customer,
        at: datetime,
        fault: Fault | None = None,
    ) -> None:
        self._position += 1
        self._log.append(Change(table, operation, row, self._position, at, fault))

    def _order(self, dice: Random, *, key: int | None, at: datetime) -> Order:
        product, price = dice.choice(CATALOGUE)
        return Order(
            id=key,
            customer_id=self.customers.pick(dice).id,
            product_name=product,
            price=price * dice.choice((1, 1, 1, 2, 3)),
            status="placed",
            created_at=at,
            updated_at=at,
        )


def _choose(dice: Random, weights: dict[_Act, int], *, count: int) -> list[_Act]:
    return dice.choices(list(weights), list(weights.values()), k=count)


def _customer(dice: Random, *, key: int, at: datetime) -> Customer:
    given, family = dice.choice(_GIVEN), dice.choice(_FAMILY)
    return Customer(
        id=key,
        name=f"{given} {family}",
        email=f"customer{key}@example.com",
        country=dice.choice(_COUNTRIES),
        created_at=at,
    )
