"""The names that a column may have: those that every reader, engine and table format of the lake can hold."""

import re

from datalake_assets.lake.spec.columns import ADDED_COLUMNS
from datalake_assets.lake.spec.fault import FaultError

_UNFIT_CHARACTERS = re.compile(r"""[\x00-\x20,;{}()="\\.`]""")
"""Spark's Delta refuses most of them without column mapping; a dot or a backtick is a path to Spark's `col`."""
_LONGEST = 255  # characters, in Glue's catalog
_UNDECLARED = "rename it at the source, or leave it undeclared (it is kept in `_unknown`)"


def check_column_name(name: str, *, at: tuple[str, ...], taken: frozenset[str] = ADDED_COLUMNS) -> None:
    """Refuse a name that can't be a column's; `taken` are the names (in lower case) of the lake's own columns.

    Raises `FaultError` with the place `at`.
    """
    if name.lower() in taken:
        raise FaultError(
            f"column {name!r} is one the lake adds itself; give the source's column another name",
            at=at,
        )
    if name.startswith("_"):
        raise FaultError(f"column {name!r} begins with `_`, as the lake's own do; {_UNDECLARED}", at=at)
    if not name or _UNFIT_CHARACTERS.search(name):
        raise FaultError(
            f"column {name!r} can't be one: no space, quote, backtick, backslash, dot or any of ,;{{}}()= may stand in "
            f"a name, as Delta or Spark does not take it; {_UNDECLARED}",
            at=at,
        )
    if name == "*" or (name.startswith("^") and name.endswith("$")):
        raise FaultError(f"column {name!r} can't be one: Polars takes it for a pattern; {_UNDECLARED}", at=at)
    if not name.isprintable() or len(name) > _LONGEST:
        raise FaultError(
            f"column {name[:_LONGEST]!r} can't be one: a name has at most {_LONGEST} characters that can be seen; "
            f"{_UNDECLARED}",
            at=at,
        )


def can_be_column(name: str, *, taken: frozenset[str]) -> bool:
    """Whether a name that the source has can be a column's."""
    try:
        check_column_name(name, at=(), taken=taken)
    except FaultError:
        return False
    return True
