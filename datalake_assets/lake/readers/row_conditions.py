"""Conditions in SQL on one record, as the `quality` of a dataset file writes them.

Belongs here: what a condition may be. It is about one record alone, and gives the same whenever and wherever it is
evaluated: so it knows no aggregates, no windows and no clock, and nothing that fails on some values and not on others.
Which records keep a rule is in `row_rules.py`.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import polars as pl

from datalake_assets.lake.spec.parts import Column
from datalake_assets.lake.spec.source import remedy
from datalake_assets.lake.store.dtypes import dtype_of

_QUOTED = re.compile(r"'(?:[^']|'')*'|\"[^\"]*\"")
_CLOCK = re.compile(r"\b(?:current_(?:date|time|timestamp)|now|localtime(?:stamp)?|today)\b", re.IGNORECASE)
_PARTS = {"BinaryExpr": ("left", "right"), "Ternary": ("predicate", "truthy", "falsy")}
_VALUES = frozenset({"Column", "Literal"})
_FUNCTIONS = {
    "Boolean": frozenset({"Not", "IsNull", "IsNotNull", "IsBetween", "IsIn"}),
    "StringExpr": frozenset(
        {"Contains", "StartsWith", "EndsWith", "Find", "Replace", "Slice", "ConcatHorizontal", "LenChars", "LenBytes"}
        | {"Uppercase", "Lowercase", "Titlecase", "Reverse", "PadStart", "PadEnd"}
        | {"StripChars", "StripCharsStart", "StripCharsEnd"}
    ),
    "TemporalExpr": frozenset(
        {"Year", "IsoYear", "Quarter", "Month", "Week", "WeekDay", "OrdinalDay", "Day", "Date"}
        | {"Hour", "Minute", "Second", "Millisecond", "Microsecond", "OffsetBy"}
    ),
    "Sql": frozenset({"Binary", "IsIn", "Round"}),
    "": frozenset(
        {"Abs", "Ceil", "Floor", "Sign", "Round", "Negate", "Coalesce", "FillNull", "MaxHorizontal", "MinHorizontal"}
    ),
}
"""The functions of one value or more of the same record, by Polars' families: the same whenever they are computed."""

_SUBQUERY = "_POLARS_TMP_SQL"
_SIMPLE = "compare columns of one record, with AND, OR, NOT, IN, BETWEEN, LIKE, IS NULL, CASE and functions of a value"


class ConditionError(ValueError):
    """A condition that can't be evaluated: says what is wrong with it, and what to write."""


def condition(text: str, columns: Mapping[str, Column]) -> pl.Expr:
    """The condition that a text says, on records as `plain_columns` shows them.

    Raises `ConditionError` for what is no condition on one record of these columns.
    """
    if clock := _CLOCK.search(_QUOTED.sub("", text)):
        raise ConditionError(f"{clock[0]} changes with the clock, and a record's verdict may not; {_SIMPLE}")
    try:
        expr: pl.Expr = pl.sql_expr(text)
        tree = json.loads(expr.meta.serialize(format="json"))
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, ValueError) as error:
        raise ConditionError(f"it is no condition in SQL ({_first_line(error)}); {_SIMPLE}") from None
    _check_names(expr.meta.root_names(), columns)
    if odd := next(_faults(tree), None):
        raise ConditionError(f"{odd} can't stand in a condition on one record; {_SIMPLE}")
    schema = pl.Schema({name: dtype_of(column.lake_type) for name, column in columns.items()})
    sample = pl.DataFrame({name: ["a" if dtype == pl.String else None] for name, dtype in schema.items()}, schema)
    try:
        found = sample.select(plain_columns(schema, list(columns))).select(expr.alias("condition"))["condition"].dtype
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        raise ConditionError(f"{_first_line(error)}; compare values of one type") from None
    if found != pl.Boolean:
        raise ConditionError(f"it gives {found}, not true or false; {_SIMPLE}")
    return expr


def plain_columns(schema: pl.Schema, columns: Sequence[str]) -> Iterator[pl.Expr]:
    """Columns as conditions see them: times as SQL writes them, whole numbers with room for their products."""
    for name in columns:
        dtype = schema[name]
        if isinstance(dtype, pl.Datetime):
            yield pl.col(name).dt.replace_time_zone(None)
        else:
            yield pl.col(name).cast(pl.Int128) if dtype.is_integer() else pl.col(name)


def _check_names(names: Sequence[str], columns: Mapping[str, Column]) -> None:
    if not names:
        raise ConditionError(f"it is about no column; {_SIMPLE}")
    for name in names:
        if name.startswith(_SUBQUERY):
            raise ConditionError(f"a subquery can't stand in a condition on one record; {_SIMPLE}")
        if name not in columns:
            raise ConditionError(f"column {name!r} is not declared; {remedy(name, columns, 'name one that is')}")


def _faults(node: Any) -> Iterator[str]:
    """What in Polars' tree of a condition is not about one record alone, or may fail on some."""
    kind, body = next(iter(node.items())) if isinstance(node, dict) else (node, {})
    if kind in _VALUES:
        return
    if kind in _PARTS:
        for part in _PARTS[kind]:
            yield from _faults(body[part])
    elif kind == "Cast":
        # Polars itself casts what is true or false strictly, for NOT; a cast of other values could fail on one.
        if body["options"] == "Strict" and body["dtype"] != {"Literal": "Boolean"}:
            yield "CAST, which fails where a value is none of the type (TRY_CAST gives NULL),"
        yield from _faults(body["expr"])
    elif kind == "Function":
        family, name = _function(body["function"])
        if name not in _FUNCTIONS.get(family, ()):
            yield f"{family} {name}".strip()
        for part in body["input"]:
            yield from _faults(part)
    else:
        yield kind.upper() if kind != "Agg" else "an aggregate"


def _function(function: Any) -> tuple[str, str]:
    """The family and the name of a function: `{"StringExpr": "Uppercase"}`, `{"Sql": {"Round": …}}`, `"Coalesce"`."""
    if not isinstance(function, dict):
        return "", str(function)
    family, inner = next(iter(function.items()))
    if family not in _FUNCTIONS:
        return "", family
    return family, next(iter(inner)) if isinstance(inner, dict) else str(inner)


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0][:200]
