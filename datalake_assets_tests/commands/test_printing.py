"""What `datalake` prints of data: it is never markup, never cut in silence, and never acts on a terminal."""

import csv
import io
import json
import os
import pty
import struct
import subprocess
import sys
from datetime import date
from fcntl import ioctl
from pathlib import Path
from termios import TIOCSWINSZ

import polars as pl
import pytest
from rich.console import Console

import datalake_assets
from datalake_assets.cli.console import Column, Format, print_rows, print_table, visible

HOSTILE = "[/x] [red]\x1b[31m\x07\x9b2J\u202e\n[link=http://x]"
SALES = pl.DataFrame(
    {
        "day": [date(2025, 12, 31), date(2026, 1, 1)],
        "revenue": pl.Series(["33155.00", "7.10"]).cast(pl.Decimal(12, 2)),
        "orders": [1_234_567, 8],
        "note": ["a long note about what happened on the last day of the year", ""],
    }
)


def printed(rows: pl.DataFrame, *, width: int, terminal: bool = True) -> str:
    console = Console(file=io.StringIO(), width=width, force_terminal=terminal, color_system=None)
    print_rows(rows, Format.TABLE, console=console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.mark.parametrize("width", [300, 60, 30])
@pytest.mark.parametrize("terminal", [True, False])
def test_data_are_neither_markup_nor_commands_to_a_terminal(width: int, terminal: bool) -> None:
    """`[/x]` in a record made `query` and `rejects` raise a MarkupError; an escape sequence went out as it was."""
    text = printed(pl.DataFrame({HOSTILE: [HOSTILE], "n": [1]}), width=width, terminal=terminal)
    assert not {c for c in text if not c.isprintable() and c != "\n"}
    assert "[/x] [red]" in text
    if width == 300:
        assert r"[/x] [red]\x1b[31m\x07\x9b2J\u202e\n[link=http://x]" in text


def test_data_in_a_sentence_are_neither() -> None:
    console = Console(file=io.StringIO(), width=300)
    console.print(f"[bold]{visible(HOSTILE)}[/]")
    assert isinstance(console.file, io.StringIO)
    assert console.file.getvalue() == r"[/x] [red]\x1b[31m\x07\x9b2J\u202e\n[link=http://x]" + "\n"


@pytest.mark.parametrize("width", [20, 30, 38, 40, 50, 60, 80, 200])
def test_numbers_and_dates_are_whole_at_any_width(width: int) -> None:
    """On 80 columns `33155.00` showed as `33155` and a date as `2025-12`, without a sign."""
    text = printed(SALES, width=width)
    for value in ("2025-12-31", "33155.00", "1234567", "7.10"):
        assert value in text.split()
    if "a long note about what happened on the last day of the year" not in text:
        assert "…" in text


def test_a_table_too_wide_for_the_terminal_gives_every_value_a_line() -> None:
    assert printed(SALES.head(1), width=30).splitlines() == [
        "row 1",
        "day      2025-12-31",
        "revenue  33155.00",
        "orders   1234567",
        "note     a long note about what happened on the last day of the year",
    ]


def test_text_that_gives_way_says_so() -> None:
    lines = printed(SALES, width=50).splitlines()
    assert lines[1].rstrip().endswith("…")
    assert all(len(line) <= 50 for line in lines)


def test_folded_text_is_all_there() -> None:
    console = Console(file=io.StringIO(), width=40, force_terminal=True, color_system=None)
    print_table([Column("why", is_text=True, folds=True), Column("n")], [["x" * 100, "1234567890"]], console=console)
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()
    assert text.count("x") == 100
    assert "1234567890" in text


def test_nothing_is_cut_in_a_pipe() -> None:
    """Output into a pipe was cut at 180 characters."""
    lines = printed(SALES.with_columns(pl.lit("z" * 5_000).alias("raw")), width=80, terminal=False).splitlines()
    assert len(lines) == 3
    assert lines[1].split()[:3] == ["2025-12-31", "33155.00", "1234567"]
    assert lines[1].endswith("z" * 5_000)


@pytest.mark.parametrize("terminal", [True, False])
def test_a_null_is_not_an_empty_text(terminal: bool) -> None:
    text = printed(pl.DataFrame({"n": [1, 2], "word": ["", None]}), width=80, terminal=terminal)
    assert [line.split() for line in text.splitlines()] == [["n", "word"], ["1"], ["2", "NULL"]]


ODD = pl.DataFrame(
    {
        "at": pl.Series([-210_866_803_200_000_000, None]).cast(pl.Datetime("us", "UTC")),
        "day": pl.Series([-2_440_588, 10**7]).cast(pl.Date),
        "bytes": [b"\xff\x00", None],
        "list": [["a", None], []],
        "inner": [[b"\xff"], None],
        "figure": [float("nan"), 1e300],
    }
)


@pytest.mark.parametrize("terminal", [True, False])
def test_times_that_python_does_not_have_are_printed(terminal: bool) -> None:
    """DMS clips -infinity to 4713 BC: the default format of `query` ended in a ValueError."""
    text = printed(ODD, width=200, terminal=terminal)
    for value in ("-4713-11-24T00:00:00+00:00", "-4713-11-24", "+29349-01-26", "ff00", '["a",null]', '["ff"]', "NaN"):
        assert value in text.split()


def test_odd_values_are_written_as_csv_and_json(capsys: pytest.CaptureFixture[str]) -> None:
    print_rows(ODD, Format.CSV)
    rows = list(csv.reader(io.StringIO(capsys.readouterr().out)))
    assert rows[1] == ["-4713-11-24T00:00:00+00:00", "-4713-11-24", "ff00", '["a",null]', '["ff"]', "NaN"]
    print_rows(ODD, Format.JSON)
    first, second = json.loads(capsys.readouterr().out)
    assert first["at"] == "-4713-11-24T00:00:00+00:00"
    assert first["inner"] == ["ff"]
    assert second["bytes"] is None


def test_csv_tells_null_from_empty_text_and_json_escapes_controls(capsys: pytest.CaptureFixture[str]) -> None:
    print_rows(pl.DataFrame({"a": ["", None, "\x1b\x9b"], "b": [1, 2, 3]}), Format.CSV)
    assert capsys.readouterr().out == 'a,b\n"",1\n,2\n\x1b\x9b,3\n'
    print_rows(pl.DataFrame({"a": ["\x1b\x9b\u2028"]}), Format.JSON)
    text = capsys.readouterr().out
    assert text.strip().isprintable()
    assert json.loads(text) == [{"a": "\x1b\x9b\u2028"}]


def on_a_terminal(program: str, *, columns: int) -> str:
    """What a program writes to a terminal of so many columns."""
    ours, theirs = pty.openpty()
    ioctl(theirs, TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(Path(datalake_assets.__file__).parents[1])}
    environment["TERM"] = "xterm"
    with subprocess.Popen([sys.executable, "-c", program], env=environment, stdout=theirs, stdin=theirs) as process:
        os.close(theirs)
        text = b""
        try:
            while piece := os.read(ours, 4096):
                text += piece
        except OSError:  # the terminal's other side is closed
            pass
        assert process.wait(60) == 0
    os.close(ours)
    return text.decode()


@pytest.mark.parametrize("format_", ["TABLE", "CSV", "JSON"])
def test_no_control_character_reaches_a_terminal(format_: str) -> None:
    program = (
        "import polars as pl\nfrom datalake_assets.cli.console import Format, print_rows\n"
        f"print_rows(pl.DataFrame({{'word': ['a\\x1b]0;owned\\x07\\x9bb', None]}}), Format.{format_})"
    )
    text = on_a_terminal(program, columns=80)
    assert "\x1b]0" not in text
    assert "\x07" not in text
    assert "\x9b" not in text
    assert "owned" in text
