"""The shop's tables as Postgres holds them: rows, the changes that a write-ahead log tells, and rows by id.

Belongs here: shapes. What happens to the rows is in `shop.py`.
"""

from datetime import datetime
from decimal import Decimal
from random import Random
from typing import Generic, Literal, NamedTuple, TypeVar

from datalake_assets.simulate.faults import Fault

Operation = Literal["I", "U", "D"]


class Order(NamedTuple):
    """A row of `orders`; of a deleted one DMS gets the id alone (Postgres' default replica identity)."""

    id: int | None
    customer_id: int | None = None
    product_name: str | None = None
    price: Decimal | None = None
    status: str | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None


class Customer(NamedTuple):
    """A row of `customers`; of a deleted one DMS gets the id alone."""

    id: int | None
    name: str | None = None
    email: str | None = None
    country: str | None = None
    created_at: datetime | None = None


class Change(NamedTuple):
    """One row's change in a committed transaction.

    `row` is the new image (of a delete the key alone), `position` the place in the log. With a `fault` it is
    what a broken writer sent: the shop's tables never held it.
    """

    table: str
    operation: Operation
    row: Order | Customer
    position: int
    committed: datetime
    fault: Fault | None = None


Row = TypeVar("Row", Order, Customer)


class Table(Generic[Row]):
    """Rows by id, any of which can be picked or removed in constant time."""

    def __init__(self, name: str) -> None:
        """An empty table."""
        self.name = name
        self.rows: dict[int, Row] = {}
        self.last_id = 0
        self._ids: list[int] = []
        self._index: dict[int, int] = {}

    def next_id(self) -> int:
        """An id never given before."""
        self.last_id += 1
        return self.last_id

    def pick(self, dice: Random) -> Row:
        """Any row."""
        return self.rows[dice.choice(self._ids)]

    def put(self, row: Row) -> bool:
        """Insert or replace a row; tells whether there was one to replace."""
        if row.id is None:
            raise ValueError(f"a row of {self.name} needs an id")
        known = row.id in self.rows
        if not known:
            self._index[row.id] = len(self._ids)
            self._ids.append(row.id)
        self.rows[row.id] = row
        return known

    def remove(self, row: Row) -> None:
        """Delete the row of this id; raises `KeyError` where there is none."""
        if row.id is None:
            raise ValueError(f"a row of {self.name} needs an id")
        del self.rows[row.id]
        index, last = self._index.pop(row.id), self._ids.pop()
        if last != row.id:
            self._ids[index], self._index[last] = last, index
