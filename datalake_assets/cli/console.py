"""What the `datalake` command prints: sentences, tables and rows, on a terminal or into a pipe.

Belongs here: printing. Data are printed as they are: they are never taken for markup, and their control characters
are written out, so that none reaches a terminal.
"""

import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NoReturn

import polars as pl
import typer
from rich.cells import cell_len
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from datalake_assets.cli.value_text import as_json, as_text

NULL = "NULL"
_GAP = 2
_NARROWEST = 12
"""Columns of text are made narrower down to this; a table that is still too wide is printed row by row."""
_PADDED = 60
"""In a pipe a longer value stands as it is, and the others of its column are not padded to its length."""
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")
_CONTROLS_OF_LINES = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")
_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)


class Format(StrEnum):
    """How `query` prints its rows."""

    TABLE = "table"
    CSV = "csv"
    JSON = "json"


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a printed table. Only text may be made narrower: by folding it, or by cutting it with a `…`."""

    name: str
    is_text: bool = False
    folds: bool = False


def say(sentence: str) -> None:
    """Print a sentence with Rich's markup; data in it must have gone through `visible`."""
    out.print(sentence, soft_wrap=True)


def visible(text: str) -> str:
    """Data as a part of a sentence: no markup, no control characters."""
    return escape(_shown(text))


def fail(reason: str) -> NoReturn:
    """Print why the command can't do what it was asked, and exit with 2."""
    err.print(_CONTROLS_OF_LINES.sub(_written_out, reason), style="red", markup=False, soft_wrap=True)
    raise typer.Exit(2)


def default_format() -> Format:
    """How rows are printed unless it is told: to be read on a terminal, and by a program in a pipe."""
    return Format.TABLE if out.is_terminal else Format.CSV


def tell(line: str) -> None:
    """Print a line about the work, beside what it prints."""
    err.print(" ".join(line.split()), markup=False, highlight=False, soft_wrap=True)


def count(number: int | None) -> str:
    """A number as tables show it; `-` where there is none to tell."""
    return "-" if number is None else f"{number:,}"


def counted(number: int, noun: str) -> str:
    """So many of something, in words: `1 range`, `2 ranges`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def progress() -> Progress:
    """A bar on stderr, which goes when the work is done."""
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    return Progress(*columns, console=err, transient=True)


def print_rows(rows: pl.DataFrame, format_: Format, *, console: Console = out) -> None:
    """Print the rows of a query. A NULL shows as `NULL` in a table, as nothing in CSV (empty text is `""`)."""
    match format_:
        case Format.CSV:
            text = as_text(rows).write_csv()
            sys.stdout.write(_CONTROLS_OF_LINES.sub(_written_out, text) if sys.stdout.isatty() else text)
        case Format.JSON:
            sys.stdout.write(re.sub(r"[\x7f-\x9f\u2028\u2029]", _as_json_escape, as_json(rows)) + "\n")
        case Format.TABLE:
            columns = [Column(n, is_text=t == pl.String or t.is_nested()) for n, t in rows.schema.items()]
            print_table(columns, list(as_text(rows).iter_rows()), console=console)


def print_table(columns: Sequence[Column], rows: Sequence[Sequence[str | None]], *, console: Console = out) -> None:
    """Print rows of text under their columns. No value is cut without a `…`, and none at all in a pipe.

    On a terminal that is too narrow columns of text give way; where that is not enough every value gets a line.
    """
    cells = [[NULL if value is None else _shown(value) for value in row] for row in rows]
    names = [_shown(column.name) for column in columns]
    if not console.is_terminal:
        _print_lines(columns, [names, *cells], console=console)
        return
    needed = [max(map(cell_len, values)) for values in zip(names, *cells, strict=True)]
    widths = _widths(columns, needed, room=console.width - _GAP * (len(columns) - 1))
    if widths is None:
        _print_records(names, cells, console=console)
        return
    table = Table(header_style="bold", box=None, pad_edge=False, padding=(0, _GAP, 0, 0))
    for column, name, width in zip(columns, names, widths, strict=True):
        table.add_column(
            Text(name),
            justify="left" if column.is_text else "right",
            no_wrap=not column.folds,
            overflow="fold" if column.folds else "ellipsis",
            width=width,
        )
    for row, shown in zip(rows, cells, strict=True):
        table.add_row(*(Text(s, style="dim" if v is None else "") for v, s in zip(row, shown, strict=True)))
    console.print(table)


def _widths(columns: Sequence[Column], needed: Sequence[int], *, room: int) -> list[int] | None:
    """How wide each column may be; None when even narrow columns of text don't make room for the others."""
    widths = [min(width, room) if column.is_text else width for column, width in zip(columns, needed, strict=True)]
    texts = [n for n, column in enumerate(columns) if column.is_text]
    while sum(widths) > room:
        widest = max(texts, key=lambda n: widths[n], default=None)
        if widest is None or widths[widest] <= _NARROWEST:
            return None
        widths[widest] -= 1
    return widths


def _print_records(names: Sequence[str], cells: Sequence[Sequence[str]], *, console: Console) -> None:
    width = max(map(cell_len, names), default=0)
    for n, row in enumerate(cells, start=1):
        console.print(f"row {n}", style="bold")
        for name, value in zip(names, row, strict=True):
            console.print(Text(f"{name}{' ' * (width - cell_len(name) + _GAP)}{value}"), soft_wrap=True)


def _print_lines(columns: Sequence[Column], lines: Sequence[Sequence[str]], *, console: Console) -> None:
    widths = [min(_PADDED, max(map(cell_len, values))) for values in zip(*lines, strict=True)]
    for line in lines:
        padded = [
            value + " " * (width - cell_len(value)) if column.is_text else " " * (width - cell_len(value)) + value
            for column, value, width in zip(columns, line, widths, strict=True)
        ]
        console.out((" " * _GAP).join(padded).rstrip(), highlight=False)


def _shown(text: str) -> str:
    return _CONTROLS.sub(_written_out, text)


def _written_out(character: re.Match[str]) -> str:
    code = ord(character[0])
    return _SHORT.get(character[0]) or (f"\\x{code:02x}" if code <= 0xFF else f"\\u{code:04x}")  # noqa: PLR2004 (Latin-1)


def _as_json_escape(character: re.Match[str]) -> str:
    return f"\\u{ord(character[0]):04x}"
