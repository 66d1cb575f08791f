"""The commands that look: status, query, rejects. Arguments in, words out; nothing is changed."""

from typing import Annotated

import polars as pl
import typer

from datalake_assets.cli.console import (
    Column,
    Format,
    count,
    counted,
    default_format,
    fail,
    print_rows,
    print_table,
    say,
    tell,
    visible,
)
from datalake_assets.cli.opening import open_lake, read_settings
from datalake_assets.cli.places import has_lake
from datalake_assets.lake.lake import Lake

_SHOWN = 200
"""How much of a rejected record `rejects` shows, in characters."""


def status() -> None:
    """What is landed, admitted, processed, rejected, late; and what the tables hold."""
    from datalake_assets.cli.status import left_to_do, source_status

    settings = read_settings()
    lake = open_lake(settings, writes=False)
    if not has_lake(settings):
        say(f"No lake in {visible(lake.layout.root)} yet; `datalake simulate` lands sample data.")
        return
    objects = ("landed", "admitted", "processed", "failed", "missing", "older contract")
    records = ("records", "rejected", "late")
    rows = [
        (
            s.dataset,
            *map(count, (s.landed, s.admitted, s.processed, s.failed, s.missing, s.older_contract)),
            *map(count, (s.rows_in, s.rejected, s.late)),
        )
        for s in source_status(lake)
    ]
    print_table([Column("dataset", is_text=True), *map(Column, (*objects, *records))], rows)
    print_tables(lake)
    if lines := left_to_do(lake):
        say("\n[bold]Left to do[/]")
        for line in lines:
            say(f"- {visible(line)}")


def query(
    sql: Annotated[str, typer.Argument(help="A SELECT over silver.*, gold.*, quarantine.* and the ledger.")],
    format_: Annotated[
        Format | None, typer.Option("--format", help="How to print the rows; default a table, in a pipe CSV.")
    ] = None,
    limit: Annotated[
        int | None, typer.Option(min=0, help="Print the first rows only, and say how many there are.")
    ] = None,
) -> None:
    """Run SQL over the lake's tables."""
    from datalake_assets.cli import sql as engine

    try:
        rows = engine.query(open_lake(read_settings(), writes=False), sql)
    except engine.QueryError as error:
        fail(str(error))
    print_rows(rows.head(limit) if limit is not None else rows, format_ or default_format())
    if limit is not None and rows.height > limit:
        tell(f"the first {limit:,} of {rows.height:,} rows")


def rejects(
    dataset: Annotated[str, typer.Argument(help="The dataset's name.")],
    examples: Annotated[int, typer.Option(min=0, help="Examples of each reason.")] = 1,
) -> None:
    """What is in quarantine, by reason, with examples."""
    lake = open_lake(read_settings(), writes=False)
    if dataset not in lake.datasets:
        fail(f"no dataset {dataset!r}; there are {', '.join(lake.datasets)}")
    rejected = lake.quarantine(lake.datasets[dataset]).open().scan().collect()
    if rejected.is_empty():
        say(f"Nothing of {visible(dataset)} is in quarantine.")
        return
    errors = pl.col("errors").list
    of_object = errors.eval(pl.element().filter(pl.element().str.starts_with("object: "))).list.first()
    # What is wrong with objects is unlike one another, whatever stands before the colon.
    reason = pl.coalesce(of_object.str.extract(r"^([^;]*)", 1), errors.first().str.extract(r"^([^:]*)", 1))
    shown: list[tuple[str, str, str, str]] = []
    groups = (
        rejected.with_columns(reason.alias("reason"))
        .sort("reason", "source_filename", "row_number")
        .group_by("reason", maintain_order=True)
    )
    for (name,), rows in sorted(groups, key=lambda group: -group[1].height):
        for n, row in enumerate(rows.head(max(examples, 1)).iter_rows(named=True)):
            first = (str(name), count(rows.height)) if n == 0 else ("", "")
            is_object = not row["raw"] or str(name).startswith("object: ")  # whose reason says what to do
            shown_of = "; ".join(row["errors"]) if is_object else row["raw"]
            example = (_beginning(shown_of), f"{row['source_filename']}:{row['row_number']}") if examples else ("", "")
            shown.append((*first, *example))
    columns = [
        Column("reason", is_text=True, folds=True),
        Column("records"),
        Column("example", is_text=True, folds=True),
        Column("where", is_text=True, folds=True),
    ]
    print_table(columns, shown)
    are = "is" if rejected.height == 1 else "are"
    total = f"{counted(rejected.height, 'record')} of {visible(dataset)} {are} in quarantine"
    remedy = f"Mend the contract and run `datalake rebuild {visible(dataset)}`; or mend the source and land again."
    say(f"{total}. {remedy}")


def print_tables(lake: Lake) -> None:
    """What every table holds, and where to look further."""
    from datalake_assets.cli.status import table_status

    rows: list[tuple[str, ...]] = []
    zone = ""
    tables = list(table_status(lake))
    for t in tables:
        counts = map(count, (t.rows_in, t.rows, t.rejected))
        rows.append((t.zone if t.zone != zone else "", t.name, *counts))
        zone = t.zone
    names = [Column("zone", is_text=True), Column("table", is_text=True)]
    print_table([*names, *map(Column, ("rows in", "rows out", "rejected"))], rows)
    of_datasets = (t for t in tables if t.zone == "silver" and t.name in lake.datasets)
    most_rejected = max(of_datasets, key=lambda t: (t.rejected or 0, t.name))
    say("\nLook further: [bold]datalake query[/] 'SELECT * FROM gold.daily_summary'")
    say(f" · [bold]datalake rejects[/] {most_rejected.name} · [bold]datalake dev[/] for the UI")


def _beginning(raw: str | bytes) -> str:
    text = raw if isinstance(raw, str) else raw.decode(errors="backslashreplace")
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
