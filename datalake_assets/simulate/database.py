"""The shop in a real Postgres: its tables, made where they are missing, and its transactions in the order of the log.

Belongs here: the statements. What happens to the rows is in `shop.py`, and when in `replication.py`.
"""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from itertools import groupby
from operator import attrgetter
from threading import Event
from typing import LiteralString

from psycopg import sql

from datalake_assets.replicate.session import Source, value
from datalake_assets.simulate.replication import Replication
from datalake_assets.simulate.simulation import Simulation
from datalake_assets.simulate.tables import Change, Customer, Order

_TABLES: dict[str, LiteralString] = {
    "customers": "CREATE TABLE IF NOT EXISTS customers "
    "(id bigint PRIMARY KEY, name text, email text, country text, created_at timestamptz)",
    "orders": "CREATE TABLE IF NOT EXISTS orders (id bigint PRIMARY KEY, customer_id bigint, product_name text, "
    "price numeric(10,2), status text, created_at timestamptz, updated_at timestamptz)",
}
_COPY: dict[str, LiteralString] = {"customers": "COPY customers FROM STDIN", "orders": "COPY orders FROM STDIN"}
_PUT: dict[str, LiteralString] = {
    "customers": "INSERT INTO customers VALUES (%s, %s, %s, %s, %s) ON CONFLICT (id) DO UPDATE SET "
    "name = excluded.name, email = excluded.email, country = excluded.country, created_at = excluded.created_at",
    "orders": "INSERT INTO orders VALUES (%s, %s, %s, %s, %s, %s, %s) ON CONFLICT (id) DO UPDATE SET "
    "customer_id = excluded.customer_id, product_name = excluded.product_name, price = excluded.price, "
    "status = excluded.status, created_at = excluded.created_at, updated_at = excluded.updated_at",
}
_DELETE: dict[str, LiteralString] = {
    "customers": "DELETE FROM customers WHERE id = %s",
    "orders": "DELETE FROM orders WHERE id = %s",
}
_NEWEST: LiteralString = "SELECT max(coalesce(updated_at, created_at)) FROM orders"
_STARTED: LiteralString = "SELECT obj_description(to_regclass('orders'), 'pg_class')"
_MARK = "Simulated by `datalake simulate` from "


def started(source: Source) -> datetime | None:
    """The first hour (UTC) of the simulation that filled a database; None where none did."""
    mark = value(source, sql.SQL(_STARTED))
    return (
        datetime.fromisoformat(mark.removeprefix(_MARK)) if isinstance(mark, str) and mark.startswith(_MARK) else None
    )


def fill(
    source: Source, simulation: Simulation, *, stop: Event, progress: Callable[[], None] = lambda: None
) -> tuple[Replication, int]:
    """Make the tables, and commit a simulation's history; gives the shop as it is then, and how many transactions.

    A database that was filled before gets what came after its newest order: a second run changes next to nothing, and
    completes one that was cut off. `stop` is looked at before each hour, `progress` called after it.
    """
    replication = Replication(simulation)
    shop = replication.shop
    with source.transaction():
        for statement in _TABLES.values():
            source.execute(statement)
        newest = value(source, sql.SQL(_NEWEST))
        if not isinstance(newest, datetime):
            _copy(source, "customers", shop.customers.rows.values())
            _copy(source, "orders", shop.orders.rows.values())
            mark = sql.Literal(f"{_MARK}{simulation.start.isoformat()}")
            source.execute(sql.SQL("COMMENT ON TABLE orders IS {}").format(mark))
            newest = simulation.start
    done = 0
    for hour in simulation.landing_hours():
        if stop.is_set():
            break
        done += commit(source, (change for change in replication.log(hour) if change.committed > newest))
        progress()
    return replication, done


def follow(
    source: Source,
    simulation: Simulation,
    replication: Replication,
    *,
    stop: Event,
    seconds_per_flush: float = 1.0,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    progress: Callable[[], None] = lambda: None,
) -> int:
    """Commit every few seconds what happens from now on, until `stop` is set; gives how many transactions."""
    since, done = clock(), 0
    replication.shop.resume(since)
    while not stop.wait(seconds_per_flush):
        until = clock()
        if until > since:
            done += commit(source, replication.live_log(simulation.dice("live", until), since=since, until=until))
            since = until
        progress()
    return done


def commit(source: Source, log: Iterable[Change]) -> int:
    """Commit changes, those of one commit time in one transaction; gives how many transactions there were."""
    done = 0
    for _, changes in groupby(log, key=attrgetter("committed")):
        with source.transaction():
            for change in changes:
                if change.operation == "D":
                    source.execute(_DELETE[change.table], (change.row.id,))
                else:
                    source.execute(_PUT[change.table], change.row)
        done += 1
    return done


def _copy(source: Source, table: str, rows: Iterable[Order | Customer]) -> None:
    with source.cursor() as cursor, cursor.copy(_COPY[table]) as copy:
        for row in rows:
            copy.write_row(row)
