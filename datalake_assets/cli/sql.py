"""SQL over the lake's tables, in this process.

Belongs here: names, the check that a statement only reads, and the engine (DataFusion, which comes with delta-rs).
"""

import re
from collections.abc import Collection
from difflib import get_close_matches

import polars as pl
from deltalake import QueryBuilder
from deltalake.exceptions import DeltaError

from datalake_assets.lake.lake import Lake
from datalake_assets.lake.store.table import Table

_READS = re.compile(r"\s*(?:--[^\n]*\n\s*|/\*.*?\*/\s*)*\(*\s*(?:select|with|values)\b", re.IGNORECASE | re.DOTALL)


class QueryError(ValueError):
    """A statement that can't be run; says why."""


def tables(lake: Lake) -> dict[str, Table]:
    """Every table that the lake can have, by the name it has in SQL."""
    return {spec.sql_name: lake.table(spec) for spec in lake.specs()}


def query(lake: Lake, statement: str) -> pl.DataFrame:
    """The rows of one SELECT. Only the tables that the statement names are opened.

    Raises `QueryError` for a statement that is not a SELECT, that names no such table, or that is wrong.
    """
    if not _READS.match(statement):
        raise QueryError("only a SELECT (or WITH … SELECT) can be run here")
    known = tables(lake)
    try:
        return pl.DataFrame(_opened(known, statement).execute(statement).read_all())
    except DeltaError as error:
        missing = re.search(r"table '([\w.]+)' not found", str(error))
        if missing:
            name = missing[1].removeprefix("datafusion.").removeprefix("public.")
            if name in known:
                raise QueryError(f"{name} holds nothing yet; run `datalake run`") from None
            near = ", ".join(_like(name, known)) or "none"
            raise QueryError(f"{name} is no table of this lake; near it: {near}. `datalake status` lists all") from None
        raise QueryError(str(error)) from None
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        raise QueryError(f"a column can't be shown: {error}; cast it to text, or name it apart with AS") from None
    except Exception as error:  # what goes wrong while it computes, such as a division by zero, has no type of its own
        if type(error) is not Exception:
            raise
        raise QueryError(str(error)) from None


def _like(name: str, known: Collection[str]) -> list[str]:
    """The tables with names like this one: those that have it in another zone, else those that are spelt like it."""
    namesakes = [table for table in known if table.rpartition(".")[2] == name.rpartition(".")[2].lower()]
    return sorted(namesakes) or get_close_matches(name.lower(), known)


def _opened(known: dict[str, Table], statement: str) -> QueryBuilder:
    """DataFusion with the tables that a statement names."""
    builder = QueryBuilder()
    for schema in ("silver", "gold", "quarantine"):
        builder.execute(f"CREATE SCHEMA {schema}").read_all()
    for name, table in known.items():
        if re.search(rf"\b{re.escape(name)}\b", statement, re.IGNORECASE):
            handle = table.open().handle
            if handle is not None:
                builder.register(name, handle)
    return builder
