"""Conditions in SQL on one record, as the `quality` of a dataset file writes them.

Belongs here: what a condition may be. It is about one record alone, and gives the same whenever, wherever and beside
whatever others it is evaluated: so it knows no aggregates, no windows and no clock, and nothing that Polars computes
otherwise than SQL says (division, small integers that wrap around) or that fails on some values and not on others.
Which records keep a rule is in `row_rules.py`.
"""

import io
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import polars as pl

from datalake_assets.lake.spec.parts import Column
from datalake_assets.lake.spec.source import remedy
from datalake_assets.lake.store.dtypes import dtype_of

_QUOTED = re.compile(r"'(?:[^']|'')*'|\"[^\"]*\"")
_REFUSED = {
    re.compile(r"\b(?:current_(?:date|time|timestamp)|now|localtime(?:stamp)?|today)\b", re.IGNORECASE): (
        "changes with the clock, and a record's verdict may not"
    ),
    re.compile(r"\bis\s+(?:not\s+)?(?:true|false|unknown)\b", re.IGNORECASE): (
        "is not told from = by what evaluates it; write COALESCE(column, FALSE), or NOT of that"
    ),
}
_PARTS = {"BinaryExpr": ("left", "right"), "Ternary": ("predicate", "truthy", "falsy")}
_DIVISIONS = frozenset({"Div", "IntDiv", "Divide", "RustDivide", "TrueDivide", "FloorDivide"})
_FUNCTIONS = {
    "Boolean": frozenset({"Not", "IsNull", "IsNotNull", "IsBetween", "IsIn"}),
    "StringExpr": frozenset(
        {"Contains", "StartsWith", "EndsWith", "Slice", "ConcatHorizontal", "LenChars", "LenBytes"}
        | {"Uppercase", "Lowercase", "Titlecase", "Reverse", "StripChars", "StripCharsStart", "StripCharsEnd"}
    ),
    "TemporalExpr": frozenset(
        {"Year", "IsoYear", "Quarter", "Month", "Week", "WeekDay", "OrdinalDay", "Day", "Date"}
        | {"Hour", "Minute", "Second", "Millisecond", "Microsecond", "OffsetBy"}
    ),
    "Sql": frozenset({"Binary", "IsIn", "Round"}),
    "": frozenset({"Abs", "Ceil", "Floor", "Sign", "Round", "Negate", "Coalesce", "MaxHorizontal", "MinHorizontal"}),
}
"""The functions of one value or more of the same record, by Polars' families: the same whenever they are computed."""

_WHOLE = frozenset({"LenChars", "LenBytes", *_FUNCTIONS["TemporalExpr"]} - {"Date", "OffsetBy"})
_SUBQUERY = "_POLARS_TMP_SQL"
_SIMPLE = "compare columns of one record, with AND, OR, NOT, IN, BETWEEN, LIKE, IS NULL, CASE and functions of a value"
_FIRST, _LAST = datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
_SHOWN = 120


class ConditionError(ValueError):
    """A condition that can't be evaluated: says what is wrong with it, and what to write."""


def condition(text: str, columns: Mapping[str, Column]) -> pl.Expr:
    """The condition that a text says, on records as `plain_columns` shows them.

    Raises `ConditionError` for what is no condition on one record of these columns.
    """
    plain_text = _QUOTED.sub("", text)
    for words, reason in _REFUSED.items():
        if found := words.search(plain_text):
            raise ConditionError(f"{found[0]} {reason}")
    try:
        expr: pl.Expr = pl.sql_expr(text)
        tree = json.loads(expr.meta.serialize(format="json"))
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, ValueError) as error:
        raise ConditionError(f"it is no condition in SQL ({_said(error)}); {_SIMPLE}") from None
    _check_names(expr.meta.root_names(), columns, text=text)
    expr = pl.Expr.deserialize(io.StringIO(json.dumps(_sound(tree))), format="json").alias("condition")
    schema = pl.Schema({name: dtype_of(column.lake_type) for name, column in columns.items()})
    _check_type(expr, schema)
    try:
        _evaluated(expr, _extremes(schema))
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        raise ConditionError(
            f"it can't be computed for the largest values of its columns ({_said(error)}); write TRY_CAST(column AS "
            "DOUBLE) for one of them"
        ) from None
    return expr


def plain_columns(schema: pl.Schema, columns: Sequence[str]) -> Iterator[pl.Expr]:
    """Columns as conditions see them: times as SQL writes them, whole numbers with room for their products."""
    for name in columns:
        dtype = schema[name]
        if isinstance(dtype, pl.Datetime):
            yield pl.col(name).dt.replace_time_zone(None)
        else:
            yield pl.col(name).cast(pl.Int128) if dtype.is_integer() else pl.col(name)


def _evaluated(expr: pl.Expr, records: pl.DataFrame) -> pl.Series:
    return records.select(plain_columns(records.schema, records.columns)).select(expr).to_series()


def _check_names(names: Sequence[str], columns: Mapping[str, Column], *, text: str) -> None:
    if not names:
        raise ConditionError(f"it is about no column; {_SIMPLE}")
    for name in names:
        if name.startswith(_SUBQUERY):
            raise ConditionError(f"a subquery can't stand in a condition on one record; {_SIMPLE}")
        if name not in columns:
            meant = f"a text stands in single quotes: '{name}'" if f'"{name}"' in text else None
            raise ConditionError(
                f"column {name!r} is not declared; {meant or remedy(name, columns, 'name one that is')}"
            )


def _check_type(expr: pl.Expr, schema: pl.Schema) -> None:
    sample = pl.DataFrame({name: ["a" if dtype == pl.String else None] for name, dtype in schema.items()}, schema)
    try:
        found = _evaluated(expr, sample).dtype
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        said = _said(error)
        if "date/datetime/time" in said or "datetime" in said:
            said = "a time is compared with something else; write TIMESTAMP '2026-01-31 12:00:00' or DATE '2026-01-31'"
        elif "compare" in said:
            said += "; compare values of one type"
        raise ConditionError(said) from None
    if found != pl.Boolean:
        raise ConditionError(f"it gives {found}, not true or false; {_SIMPLE}")


def _extremes(schema: pl.Schema) -> pl.DataFrame:
    """Records with the largest and smallest values that columns can have, all of one kind, and by turns."""
    ends: dict[str, tuple[Any, Any]] = {}
    for name, dtype in schema.items():
        if isinstance(dtype, pl.Decimal):
            most = Decimal((0, (9,) * dtype.precision, -dtype.scale))
            ends[name] = -most, most
        elif isinstance(dtype, pl.Datetime):
            ends[name] = _FIRST, _LAST
        elif dtype == pl.Date:
            ends[name] = date.min, date.max
        elif dtype.is_integer():
            some = pl.Series([0], dtype=dtype)
            ends[name] = some.lower_bound().item(), some.upper_bound().item()
        else:
            ends[name] = None, None
    turns = [(0, 0), (1, 1), (0, 1), (1, 0)]
    rows = [{name: ends[name][turn[n % 2]] for n, name in enumerate(schema)} for turn in turns]
    return pl.DataFrame(rows, schema)


def _sound(node: Any) -> Any:
    """Polars' tree of a condition with whole numbers of functions made wide.

    Raises `ConditionError` for what is not about one record alone, may fail on some, or is computed otherwise than SQL
    says.
    """
    kind, body = next(iter(node.items())) if isinstance(node, dict) else (node, {})
    if kind in {"Column", "Literal"}:
        return node
    if kind in _PARTS:
        _check_operator(body.get("op"))
        return {kind: body | {part: _sound(body[part]) for part in _PARTS[kind]}}
    if kind == "Cast":
        # Polars itself casts what is true or false strictly, for NOT; a cast of other values could fail on one.
        if body["options"] == "Strict" and body["dtype"] != {"Literal": "Boolean"}:
            raise _not_allowed("CAST, which fails where a value is none of the type (TRY_CAST gives NULL),")
        cast = {kind: body | {"expr": _sound(body["expr"])}}
        return _wide(cast) if "Int" in str(body["dtype"]) else cast
    if kind == "Function":
        family, name = _function(body["function"])
        if name not in _FUNCTIONS.get(family, ()):
            raise _not_allowed(f"{family} {name}".strip())
        if family == "Sql" and name == "Binary":
            _check_operator(body["function"]["Sql"]["Binary"])
        made = {kind: body | {"input": [_sound(part) for part in body["input"]]}}
        return _wide(made) if name in _WHOLE else made
    raise _not_allowed("an aggregate" if kind == "Agg" else kind.upper())


def _not_allowed(what: str) -> ConditionError:
    return ConditionError(f"{what} can't stand in a condition on one record; {_SIMPLE}")


def _check_operator(operator: str | None) -> None:
    if operator in _DIVISIONS:
        raise ConditionError("it divides; multiply instead: a / b <= c is a <= c * b for a b above 0")


def _wide(node: Any) -> Any:
    return {"Cast": {"expr": node, "dtype": {"Literal": "Int128"}, "options": "NonStrict"}}


def _function(function: Any) -> tuple[str, str]:
    """The family and the name of a function: `{"StringExpr": "Uppercase"}`, `{"Sql": {"Round": …}}`, `"Coalesce"`."""
    if not isinstance(function, dict):
        return "", str(function)
    family, inner = next(iter(function.items()))
    if family not in _FUNCTIONS:
        return "", family
    return family, next(iter(inner)) if isinstance(inner, dict) else str(inner)


def _said(error: BaseException) -> str:
    """What a library says, in a line: of a pattern what is wrong with it, of what it can't parse no tree of it."""
    text = str(error).strip()
    if pattern := re.search(r"regex parse error:.*?error: ([^\n]+)", text, re.DOTALL):
        return f"its pattern is no regular expression: {pattern[1]}"
    line = text.partition("\n")[0]
    return line.partition("{")[0].rstrip(" :(")[:_SHOWN]
