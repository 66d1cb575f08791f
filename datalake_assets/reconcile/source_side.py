"""The source's side of a comparison: aggregates, keys and rows of a Postgres table, computed there.

Belongs here: the SQL. It is composed of identifiers and literals that psycopg quotes.
"""

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Any

from psycopg import errors, sql

from datalake_assets.reconcile.canonical import Canonical
from datalake_assets.reconcile.plan import Key, Plan, Range, ReconcileError, is_askable
from datalake_assets.replicate.session import Source, one_line, value

_FETCHED = 5_000
_KEYS_AT_ONCE = 1_000
_NOT_WANTED = ("jit", "enable_sort")
"""What Postgres would do as it can't tell that ranges are few: sort all rows by range, and compile their bounds."""


class SourceSide:
    """A table of a Postgres."""

    def __init__(self, connection: Source, plan: Plan) -> None:
        """Take a session in autocommit; nothing is read but the encoding of the server."""
        self._connection = connection
        self._plan = plan
        for name in _NOT_WANTED:
            connection.execute("SELECT set_config(%s, 'off', false)", (name,))
        self._is_utf8 = value(connection, sql.SQL("SHOW server_encoding")) == "UTF8"
        self._key = sql.SQL("ARRAY[{}]::text[]").format(sql.SQL(", ").join(c.in_source for c in plan.key))
        fields = [sql.SQL("coalesce('=' || {}, '~')").format(_escaped(c)) for c in plan.columns]
        row = sql.SQL(" || '|' || ").join(fields)
        self._hash = sql.SQL(
            "('x' || left(encode(sha256(convert_to({}, 'UTF8')), 'hex'), 15))::bit(60)::bigint"
        ).format(row)

    @contextmanager
    def one_state(self) -> Iterator[None]:
        """All that is asked for within the block is of one state of the table, however it changes.

        Raises `ReconcileError` where the role may not read it.
        """
        try:
            with self._connection.transaction():
                self._connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
                yield
        except errors.InsufficientPrivilege as error:
            name = self._plan.table.full_name
            raise ReconcileError(f"{name} can't be read: {one_line(error)}; run GRANT SELECT ON {name} TO …") from None

    def aggregates(self, within: Sequence[Range], bounds: Sequence[Key]) -> dict[int, tuple[int, int]]:
        """By how many of the bounds (in order) a key has reached: the number of rows and the sum of their hashes."""
        query = sql.SQL("SELECT {}, count(*), sum({}) FROM {} WHERE {} GROUP BY 1").format(
            self._bucket(bounds, 0), self._hash, self._plan.table.sql, self._within(within)
        )
        return {bucket: (rows, int(total)) for bucket, rows, total in self._connection.execute(query)}

    def sample(self, within: Sequence[Range], *, every: int) -> list[Key]:
        """Every n-th key of some ranges, in whatever order the source has them."""
        query = sql.SQL(
            "SELECT key FROM (SELECT {} AS key, row_number() OVER () AS number FROM {} WHERE {}) AS keys "
            "WHERE number % {} = 0"
        ).format(self._key, self._plan.table.sql, self._within(within), sql.Literal(every))
        return [tuple(key) for (key,) in self._connection.execute(query)]

    def rows(self, within: Sequence[Range]) -> Iterator[tuple[Key, int]]:
        """The keys of some ranges with the hashes of their rows, a few thousand in memory."""
        query = sql.SQL("SELECT {}, {} FROM {} WHERE {}").format(
            self._key, self._hash, self._plan.table.sql, self._within(within)
        )
        with self._connection.cursor(name="reconcile") as cursor:
            cursor.itersize = _FETCHED
            cursor.execute(query)
            for key, hashed in cursor:
                yield tuple(key), hashed

    def hashes(self, keys: Collection[Key]) -> dict[Key, int]:
        """The hashes of the rows with these keys, as far as there are any."""
        return {key: hashed for key, hashed in self._of_keys(self._hash, keys) if key in keys}

    def values(self, keys: Collection[Key]) -> dict[Key, tuple[str | None, ...]]:
        """The canonical texts of all that is compared, for the rows with these keys."""
        texts = sql.SQL("ARRAY[{}]::text[]").format(sql.SQL(", ").join(c.in_source for c in self._plan.columns))
        return {key: tuple(row) for key, row in self._of_keys(texts, keys) if key in keys}

    def _of_keys(self, what: sql.Composable, keys: Collection[Key]) -> Iterator[tuple[Key, Any]]:
        askable = iter([key for key in keys if is_askable(key)])
        places = sql.SQL(", ").join(c.lookup_sql for c in self._plan.key)
        while some := list(islice(askable, _KEYS_AT_ONCE)):
            wanted = sql.SQL(", ").join(sql.SQL("({})").format(self._literals(key, ordered=False)) for key in some)
            query = sql.SQL("SELECT {}, {} FROM {} WHERE ({}) IN (VALUES {})").format(
                self._key, what, self._plan.table.sql, places, wanted
            )
            for key, found in self._connection.execute(query):
                yield tuple(key), found

    def _bucket(self, bounds: Sequence[Key], before: int) -> sql.Composable:
        """How many bounds a row's key has reached, by bisection."""
        if not bounds:
            return sql.Literal(before)
        middle = len(bounds) // 2
        return sql.SQL("CASE WHEN {} THEN {} ELSE {} END").format(
            self._compared("<", bounds[middle]),
            self._bucket(bounds[:middle], before),
            self._bucket(bounds[middle + 1 :], before + middle + 1),
        )

    def _within(self, ranges: Sequence[Range]) -> sql.Composable:
        conditions = []
        for one in ranges:
            edges = [self._compared(">=", one.first)] if one.first else []
            edges += [self._compared("<", one.end)] if one.end else []
            conditions.append(sql.SQL("({})").format(sql.SQL(" AND ").join(edges)) if edges else sql.SQL("true"))
        return sql.SQL(" OR ").join(conditions)

    def _compared(self, operator: str, key: Key) -> sql.Composable:
        places = sql.SQL(", ").join(
            sql.Identifier(c.name) if c.number else self._by_bytes(c.in_source) for c in self._plan.key
        )
        sign = sql.SQL("<") if operator == "<" else sql.SQL(">=")
        return sql.SQL("({}) {} ({})").format(places, sign, self._literals(key, ordered=True))

    def _literals(self, key: Key, *, ordered: bool) -> sql.Composable:
        parts: list[sql.Composable] = []
        for column, text in zip(self._plan.key, key, strict=True):
            if column.number:
                parts.append(sql.SQL("{}::{}").format(sql.Literal(text), sql.SQL(column.number)))
            else:
                literal = sql.SQL("{}::text").format(sql.Literal(text))
                parts.append(self._by_bytes(literal) if ordered else literal)
        return sql.SQL(", ").join(parts)

    def _by_bytes(self, text: sql.Composable) -> sql.Composable:
        """A text that is compared by its bytes in UTF-8, as Polars does."""
        return sql.SQL('({}) COLLATE "C"' if self._is_utf8 else "convert_to({}, 'UTF8')").format(text)


def _escaped(column: Canonical) -> sql.Composable:
    """A text in which `|` stands for nothing: it parts the columns of a row."""
    if not column.has_any_text:
        return column.in_source
    return sql.SQL("replace(replace({}, '^', '^^'), '|', '^p')").format(column.in_source)
