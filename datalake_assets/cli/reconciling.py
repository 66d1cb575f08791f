"""`datalake reconcile`: a replicated table beside its source. Arguments in, words out; nothing is changed."""

import json
import re
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from datalake_assets.cli.console import Column, count, counted, fail, print_table, progress, say, visible
from datalake_assets.cli.opening import open_lake, read_settings, source_url

if TYPE_CHECKING:
    from datalake_assets.reconcile.result import Difference, Reconciliation


class ReportFormat(StrEnum):
    """How the result is printed."""

    TABLE = "table"
    JSON = "json"


def reconcile(
    *,
    dataset: Annotated[str, typer.Argument(help="The replicated table's dataset.")],
    source: Annotated[
        str | None,
        typer.Option(help="URL of the Postgres, postgresql://USER@HOST/DATABASE; default DATALAKE_SOURCE_URL."),
    ] = None,
    table: Annotated[
        str | None, typer.Option(help="The table as SCHEMA.TABLE; default what the landing prefix tells.")
    ] = None,
    settle: Annotated[
        float | None,
        typer.Option(min=0, help="Seconds that silver may take to follow the source; default DATALAKE_SETTLE_SECONDS."),
    ] = None,
    ignore: Annotated[list[str] | None, typer.Option(help="A column that is not compared; repeat it.")] = None,
    limit: Annotated[int, typer.Option(min=0, help="The most keys that are printed.")] = 20,
    show_values: Annotated[bool, typer.Option("--show-values", help="Print the values that differ, too.")] = False,
    format_: Annotated[ReportFormat, typer.Option("--format", help="How to print the result.")] = ReportFormat.TABLE,
) -> None:
    """Compare a replicated table with its source; exits with 1 where they differ, with 2 where that can't be told."""
    from datalake_assets.reconcile.plan import ReconcileError
    from datalake_assets.reconcile.reconcile import Ask
    from datalake_assets.reconcile.reconcile import reconcile as compared
    from datalake_assets.replicate.session import ReplicationError

    settings = read_settings()
    url = source_url(settings, source)
    lake = open_lake(settings, writes=False)
    if dataset not in lake.datasets:
        fail(f"no dataset {dataset!r}; there are {', '.join(lake.datasets)}")
    ask = Ask(settle=settings.settle_seconds if settle is None else settle, shown=limit, ignored=tuple(ignore or ()))
    try:
        with progress() as bars:
            bars.add_task(f"comparing {dataset}", total=None)
            found = compared(lake, lake.datasets[dataset], url, table=table, ask=ask)
    except (ReconcileError, ReplicationError) as error:
        fail(str(error))
    if format_ is ReportFormat.JSON:
        text = json.dumps(found.told(values=show_values), ensure_ascii=False, indent=2)
        typer.echo(re.sub(r"[\x7f-\x9f\u2028\u2029]", lambda c: f"\\u{ord(c[0]):04x}", text))
    else:
        _print(found, values=show_values)
    if not found.agrees:
        raise typer.Exit(1)


def _print(found: "Reconciliation", *, values: bool) -> None:
    rows = [(name, count(rows)) for name, rows in (("source", found.source_rows), ("silver", found.silver_rows))]
    print_table([Column("side", is_text=True), Column("rows")], rows)
    for name, reason in found.left_out.items():
        say(f"Not compared: {visible(name)}: {visible(reason)}.")
    if found.shown:
        columns = [Column(name, is_text=True, folds=True) for name in ("key", "what")]
        columns += [
            Column(name, is_text=True, folds=True) for name in ("column", "source", "silver")[: 3 if values else 1]
        ]
        print_table(columns, [line for one in found.shown for line in _lines(one, values=values)])
        if found.differing > len(found.shown):
            say(f"The first {len(found.shown):,} of {found.differing:,} keys.")
    say(_verdict(found))


def _lines(one: "Difference", *, values: bool) -> list[tuple[str | None, ...]]:
    key = ", ".join(f"{name}={value}" for name, value in one.key.items())
    if not values:
        return [(key, one.kind, ", ".join(one.columns))]
    nothing: dict[str, tuple[str | None, str | None]] = {"": ("", "")}
    return [(key, one.kind, name, *both) for name, both in (one.columns or nothing).items()]


def _verdict(found: "Reconciliation") -> str:
    """One sentence on what was found, and what to do."""
    both = f"silver.{visible(found.dataset)} and {visible(found.table)}"
    read = f"{counted(found.ranges, 'range')} of keys compared, {counted(found.rows_read, 'row')} looked at one by one"
    if found.agrees:
        return f"[bold]{both} agree[/]: {read}."
    if not found.differing:
        changing = counted(found.unsettled, "key") if found.unsettled else "more keys than can be remembered"
        remedy = "compare again at a quieter time, or with a longer --settle"
        return f"[bold]Not known[/]: {changing} went on changing; {remedy}."
    more = "at least " if found.is_cut_short else ""
    parts = f"{found.changed:,} changed, {found.missing:,} missing in silver, {found.extra:,} not in the source"
    remedy = "" if found.silver_moved else " Silver did not move meanwhile: is it up to date (`datalake status`)?"
    return f"[bold]{both} differ[/] in {more}{counted(found.differing, 'key')}: {parts}; {read}.{remedy}"
