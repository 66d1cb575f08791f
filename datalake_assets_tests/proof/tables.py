"""The source of the proof: its tables, the values that go to their limits, and what silver is to show of them.

Values are texts, as Postgres reads them; None is NULL.
"""

import json
import random
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import polars as pl

Value = str | None
Draw = Callable[[random.Random], Value]
_WORDS = (
    "tea",
    "ряба",
    "☕🫖👩‍👩‍👧",
    "e\u0301",
    "\u202eabc",
    "a,b;c\t|",
    'say "no"',
    "it's",
    "\\N",
    "NULL",
    "",
    " ",
    "two\nlines\r\n",
    "�",
)
_CLIPPED = {"infinity": "9999-12-31 23:59:59", "-infinity": "4713-01-01 00:00:00 BC"}


@dataclass(frozen=True, slots=True)
class Column:
    """A column: its types in Postgres and in the lake, and how a value of it is drawn."""

    name: str
    sql: str
    lake: str
    draw: Draw
    is_kept: bool = False

    @property
    def source(self) -> str:
        """The SQL that gives the value as silver is to have it: times as microseconds, dates as days since 1970."""
        name = f'"{self.name}"'
        clipped = " ".join(f"WHEN '{infinite}' THEN '{limit}'" for infinite, limit in _CLIPPED.items())
        match self.lake.partition("(")[0]:
            case "timestamp":
                at = f"(CASE {name} {clipped} ELSE {name} END)"
                return f"(extract(epoch FROM {at}) * 1000000)::bigint"
            case "date":
                return f"(CASE {name} {clipped} ELSE {name} END)::date - date '1970-01-01'"
            case "decimal":
                return f"NULLIF({name}, 'NaN')"
            case "string" | "json":
                return f"{name}::text"
            case "float":
                return f"{name}::float8"
            case _:
                return name

    def in_silver(self) -> pl.Expr:
        """The same of a table of the lake."""
        column = pl.col(self.name)
        return column.to_physical() if self.lake in {"timestamp", "date"} else column


@dataclass(frozen=True, slots=True)
class Table:
    """A table: its key's values are drawn from so many that they come again."""

    name: str
    key: tuple[str, ...]
    columns: tuple[Column, ...]
    added: tuple[Column, ...] = ()  # by DDL, in the middle
    is_full: bool = False
    settings: str = "history: true"

    @property
    def has_history(self) -> bool:
        return "history: true" in self.settings

    @property
    def values(self) -> tuple[Column, ...]:
        """The columns that are not of the key."""
        return tuple(c for c in self.columns if c.name not in self.key)

    def create(self) -> list[str]:
        columns = ", ".join(f"{c.name} {c.sql}" for c in self.columns)
        kept = [c.name for c in self.columns if c.name in {"body", "remark"}]
        return [
            f"CREATE TABLE {self.name} ({columns}, PRIMARY KEY ({', '.join(self.key)}))",
            *(f"ALTER TABLE {self.name} ALTER {name} SET STORAGE EXTERNAL" for name in kept),
            *([f"ALTER TABLE {self.name} REPLICA IDENTITY FULL"] if self.is_full else []),
        ]

    def add_columns(self) -> list[str]:
        return [f"ALTER TABLE {self.name} ADD COLUMN {c.name} {c.sql}" for c in self.added]

    def dataset(self) -> str:
        """Its dataset file."""
        columns = "".join(
            f'  {c.name}: {{type: "{c.lake}"{", on_missing: keep" if c.is_kept else ""}}}\n'
            for c in (*self.columns, *self.added)
        )
        return (
            f"name: {self.name}\nkind: cdc_table\ndescription: A table of the proof.\nowner: team:test\n"
            f"landing: {{prefix: dms/public/{self.name}}}\nkey: [{', '.join(self.key)}]\n"
            f"order_by: [ar_h_change_seq]\ntimestamp_column: dms_timestamp\ncolumns:\n{columns}{self.settings}\n"
        )


def _one_of(*values: Value) -> Draw:
    return lambda dice: dice.choice(values)


def _sometimes_null(draw: Draw) -> Draw:
    return lambda dice: None if dice.random() < 0.15 else draw(dice)


def _text(dice: random.Random) -> str:
    return "".join(dice.choice(_WORDS) for _ in range(dice.randint(0, 4)))


def _large_text(dice: random.Random) -> str:
    """Now and then larger than 8 kB, so that Postgres keeps it apart."""
    return _text(dice) + "ж🫖x" * dice.choice((0, 1, 1_200, 2_500)) + str(dice.random())


def _decimal(digits: int, scale: int) -> Draw:
    def draw(dice: random.Random) -> str:
        number = dice.choice((0, 1, -1, 10**digits - 1, 1 - 10**digits, dice.randrange(10**digits)))
        sign, text = "-" if number < 0 else "", str(abs(number)).rjust(scale + 1, "0")
        return f"{sign}{text[:-scale]}.{text[-scale:]}" if scale else f"{sign}{text}"

    return draw


def _moment(dice: random.Random) -> str:
    year = dice.choice((1, 1582, 1969, 1970, 2026, 9999, dice.randint(1, 9999)))
    clock = f"{dice.randrange(24):02d}:{dice.randrange(60):02d}:{dice.randrange(60):02d}.{dice.randrange(10**6):06d}"
    return f"{year:04d}-{dice.randint(1, 12):02d}-{dice.randint(1, 28):02d} {clock}"


def _extreme_moment(dice: random.Random) -> str:
    extremes = ("infinity", "-infinity", "4713-01-01 00:00:00 BC", "0044-03-15 12:00:00.000001 BC")
    more = ("0001-01-01 00:00:00", "9999-12-31 23:59:59.999999", "1969-12-31 23:59:59.999999")
    return dice.choice((*extremes, *more, _moment(dice), _moment(dice)))


def _json(dice: random.Random) -> str:
    value: Any = {"n": dice.randrange(10**15), "t": _text(dice), "list": [1, None, dice.random()], "": {}}
    return dice.choice((json.dumps(value), json.dumps(value, ensure_ascii=False), "null", "[]", " { } ", '"text"'))


def _uuid(dice: random.Random) -> str:
    return str(uuid.UUID(int=dice.getrandbits(128)))


def _of_few(draw: Callable[[int], str], few: int) -> Draw:
    return lambda dice: draw(dice.randrange(few))


def _day(dice: random.Random) -> str:
    return dice.choice(("infinity", "-infinity", "0044-03-15 BC", _moment(dice)[:10]))


def tables(*, keys: int) -> tuple[Table, ...]:
    """The tables; keys come from about so many values each."""
    accounts = Table(
        "accounts",
        ("id",),
        (
            Column("id", "bigint", "int64", _of_few(lambda n: str(n * 3_037_000_499), keys)),
            Column("amount", "numeric(38,10)", "decimal(38,10)", _sometimes_null(_decimal(38, 10))),
            Column("small", "numeric(5,2)", "decimal(5,2)", _sometimes_null(_one_of("NaN", "-999.99", "0.01", "0"))),
            Column("note", "text", "string", _sometimes_null(_text)),
            Column("active", "boolean", "boolean", _sometimes_null(_one_of("true", "false"))),
            Column("mood", "mood", "string", _sometimes_null(_one_of("sad", "ok", "über 🙂"))),
            Column("ratio", "double precision", "double", _sometimes_null(_ratio)),
            Column("rank", "smallint", "int16", _sometimes_null(_one_of("-32768", "32767", "0"))),
            Column("born", "date", "date", _sometimes_null(_day)),
            Column("opened", "timestamptz", "timestamp", _sometimes_null(_moment)),
            Column("seen", "timestamp", "timestamp", _sometimes_null(_extreme_moment)),
        ),
        settings="event_time: {column: opened}\nhistory: true",
    )
    lines = Table(
        "lines",
        ("order_no", "line"),
        (
            Column("line", "text", "string", _of_few(lambda n: f"{_WORDS[n % len(_WORDS)]}{n % 4}", keys)),
            Column("order_no", "integer", "int32", _of_few(lambda n: str(n - 2), max(2, keys // 16))),
            Column("units", "numeric(38,0)", "decimal(38,0)", _sometimes_null(_decimal(38, 0))),
            Column("remark", "text", "string", _sometimes_null(_large_text)),
            Column("at", "timestamptz", "timestamp", _sometimes_null(_extreme_moment)),
        ),
        is_full=True,
    )
    tags = Table(
        "tags",
        ("tag",),
        (
            Column("tag", "text", "string", _of_few(lambda n: f"{_WORDS[n % len(_WORDS)]}#{n}", keys)),
            Column("doc", "json", "json", _sometimes_null(_json)),
            Column("docb", "jsonb", "json", _sometimes_null(_json)),
            Column("free", "numeric", "string", _sometimes_null(_one_of("1e40", "NaN", "0.10", "-7", "3.00000"))),
            Column("single", "real", "float", _sometimes_null(_one_of("0.1", "-0", "3.4e38", "NaN", "-Infinity"))),
        ),
    )
    pages = Table(
        "pages",
        ("id",),
        (
            Column("id", "uuid", "string", _of_few(lambda n: str(uuid.UUID(int=n * 2**96 + 5)), keys)),
            Column("visits", "integer", "int32", _sometimes_null(_one_of("2147483647", "-2147483648", "7"))),
            Column("body", "text", "string", _large_text, is_kept=True),
            Column("title", "varchar(200)", "string", _sometimes_null(_text)),
        ),
        added=(
            Column("language", "text", "string", _sometimes_null(_text)),
            Column("revised", "timestamptz", "timestamp", _sometimes_null(_moment)),
        ),
    )
    readings = Table(
        "readings",
        ("device", "at"),
        (
            Column("device", "smallint", "int16", _of_few(lambda n: str(n - 3), max(2, keys // 12))),
            Column("at", "timestamptz", "timestamp", _of_few(_instant, 12)),
            Column("value", "double precision", "double", _sometimes_null(_ratio)),
            Column("raw", "bytea", "binary", _sometimes_null(_one_of("\\x", "\\x00ff", "\\xdeadbeef"))),
        ),
        is_full=True,
        settings="event_time: {column: at}\npartition_by: month",
    )
    return accounts, lines, tags, pages, readings


def _instant(number: int) -> str:
    return f"2026-0{1 + number % 3}-01 00:00:00.{number:06d}+01"


def _ratio(dice: random.Random) -> str:
    return dice.choice(("NaN", "Infinity", "-Infinity", "-0", "5e-324", "1.7976931348623157e308", str(dice.random())))
