"""Random transactions over the tables of the proof."""

import random
from collections.abc import Sequence
from typing import Any

import psycopg

from datalake_assets_tests.proof.tables import Column, Table, Value

Key = tuple[Value, ...]


class Worker:
    """Commits random transactions, one after the other; the dice alone decide which."""

    def __init__(self, connection: "psycopg.Connection[Any]", tables: Sequence[Table], dice: random.Random) -> None:
        self.operations = 0
        self._connection = connection
        self._dice = dice
        self._tables = tables
        self._added: set[str] = set()
        self._live: dict[str, dict[Key, None]] = {table.name: {} for table in tables}

    def transact(self) -> None:
        """One transaction of a few operations; now and then it is rolled back."""
        before = {name: dict(keys) for name, keys in self._live.items()}
        for _ in range(self._dice.choice((1, 1, 1, 2, 3, 6))):
            self._operate(self._dice.choice(self._tables))
        if self._dice.random() < 0.05:
            self._connection.rollback()
            self._live = before
        else:
            self._connection.commit()

    def add_columns(self) -> None:
        """The DDL in the middle."""
        for table in self._tables:
            for statement in table.add_columns():
                self._execute(statement)
                self._added.add(table.name)
        self._connection.commit()

    def truncate(self, name: str) -> None:
        """Empty a table, of which no change tells."""
        self._execute(f"TRUNCATE {name}")
        self._connection.commit()
        self._live[name] = {}

    def _operate(self, table: Table) -> None:
        free, taken = self._free(table), self._taken(table)
        choice = self._dice.random()
        if taken is None or (choice < 0.35 and free is not None):
            if free is not None:
                self._insert(table, free)
        elif choice < 0.7:
            self._update(table, taken)
        elif choice < 0.82:
            self._delete(table, taken)
        elif choice < 0.92 and free is not None:
            self._move(table, taken, free)
        elif choice < 0.96:
            self._delete(table, taken)
            self._insert(table, taken)
            self._update(table, taken)
        elif free is not None:
            self._insert(table, free)
            self._delete(table, free)
            self._insert(table, free)
            self._move(table, taken, again := self._free(table) or taken)
            if again != taken:
                self._insert(table, taken)

    def _free(self, table: Table) -> Key | None:
        live = self._live[table.name]
        key_columns = [next(c for c in table.columns if c.name == name) for name in table.key]
        drawn = (tuple(c.draw(self._dice) for c in key_columns) for _ in range(4))
        return next((key for key in drawn if key not in live), None)

    def _taken(self, table: Table) -> Key | None:
        live = self._live[table.name]
        return self._dice.choice(list(live)) if live else None

    def _values(self, table: Table) -> tuple[Column, ...]:
        return table.values + (table.added if table.name in self._added else ())

    def _insert(self, table: Table, key: Key) -> None:
        columns = self._values(table)
        names = [*table.key, *(c.name for c in columns)]
        values = [*key, *(c.draw(self._dice) for c in columns)]
        kept = [n for n, c in enumerate(columns, start=len(key)) if c.is_kept]
        for n in kept:  # only an insert can leave out what later updates keep
            values[n] = None if self._dice.random() < 0.2 else values[n]
        holes = ", ".join(["%s"] * len(names))
        self._execute(f"INSERT INTO {table.name} ({', '.join(names)}) VALUES ({holes})", *values)
        self._live[table.name][key] = None

    def _update(self, table: Table, key: Key) -> None:
        columns = [c for c in self._values(table) if self._dice.random() < 0.4] or [self._values(table)[0]]
        self._set(table, key, {c.name: c.draw(self._dice) for c in columns})

    def _move(self, table: Table, key: Key, to: Key) -> None:
        """Another key; a large value that an update left out would be lost with the old one, so it is written too."""
        if key == to:
            return
        kept = {c.name: c.draw(self._dice) for c in table.values if c.is_kept}
        self._set(table, key, dict(zip(table.key, to, strict=True)) | kept)
        del self._live[table.name][key]
        self._live[table.name][to] = None

    def _set(self, table: Table, key: Key, values: dict[str, Value]) -> None:
        told = ", ".join(f"{name} = %s" for name in values)
        self._execute(f"UPDATE {table.name} SET {told} WHERE {_is(table)}", *values.values(), *key)

    def _delete(self, table: Table, key: Key) -> None:
        self._execute(f"DELETE FROM {table.name} WHERE {_is(table)}", *key)
        del self._live[table.name][key]

    def _execute(self, statement: str, *values: Value) -> None:
        self.operations += 1
        self._connection.execute(statement.encode(), values or None)


def _is(table: Table) -> str:
    return " AND ".join(f"{name} = %s" for name in table.key)
