"""The `datalake` command: arguments in, words out. What it does is done elsewhere."""

import sys
import threading
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, NoReturn

import polars as pl
import typer
from pydantic import ValidationError
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from datalake_assets.lake.lake import Lake
from datalake_assets.lake.spec.dataset_files import DatasetError
from datalake_assets.settings import Settings

if TYPE_CHECKING:
    from datalake_assets.cli.run import Outcome
    from datalake_assets.cli.stopping import Stop

app = typer.Typer(
    name="datalake",
    help="A data lake whose layers are Dagster assets: land sample data, run it to gold, look at it.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
_PIPED_WIDTH = 180
_out = Console(width=None if sys.stdout.isatty() else _PIPED_WIDTH)
_err = Console(stderr=True)


class Format(StrEnum):
    """How `query` prints its rows."""

    TABLE = "table"
    CSV = "csv"
    JSON = "json"


@app.command()
def simulate(
    hours: Annotated[int, typer.Option(min=1, help="How many hours of data to land.")] = 48,
    rate: Annotated[int, typer.Option(min=1, help="Web events an hour; the shop's orders grow with it.")] = 600,
    seed: Annotated[int, typer.Option(help="The same seed lands the same data.")] = 1,
    start: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%d", "%Y-%m-%dT%H"], help="First hour, UTC; default 2026-01-01.")
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", help="Then go on live until Ctrl-C.")] = False,
) -> None:
    """Land sample data: orders and customers as DMS writes them, web events and device readings as Firehose does."""
    from datalake_assets.lake.store.landing import open_store
    from datalake_assets.simulate import producer

    settings = _settings()
    begin = (start or datetime(2026, 1, 1)).replace(tzinfo=UTC)  # noqa: DTZ001 (made UTC here)
    simulation = producer.Simulation(hours=hours, rate=rate, seed=seed, start=begin)
    store = open_store(settings.layout.bronze)
    with _progress() as progress:
        task = progress.add_task("landing", total=hours)
        landed = producer.simulate(store, simulation, progress=lambda _: progress.advance(task))
    new = f"{landed.objects:,} new objects, {landed.bytes / 1e6:,.1f} MB"
    _out.print(f"[bold]Landed[/] {new} in {settings.layout.bronze}; {landed.present:,} were there already.")
    if follow:
        _out.print("Landing live data; Ctrl-C ends it.")
        stop = threading.Event()
        try:
            producer.follow(store, simulation, stop=stop)
        except KeyboardInterrupt:
            stop.set()


@app.command()
def run() -> None:
    """Process all that has landed, to gold, then exit; exits with 1 while something is left undone, and says why."""
    from datalake_assets.cli.stopping import StoppedError, stoppable

    settings = _settings()
    lake = _lake(settings)
    with stoppable() as stop:
        try:
            outcome = _run(settings, stop)
        except StoppedError:
            _err.print(f"{stop.reason}; the next `datalake run` goes on from here", markup=False, soft_wrap=True)
            raise typer.Exit(stop.exit_code) from None
    _print_tables(lake)
    for run_id, reason in outcome.failed:
        _err.print(f"failed run {run_id}: {' '.join(reason.split())}", markup=False, highlight=False, soft_wrap=True)
    for line in outcome.undone:
        _err.print(f"undone: {' '.join(line.split())}", markup=False, highlight=False, soft_wrap=True)
    if not outcome.is_complete:
        raise typer.Exit(1)


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def dev(context: typer.Context) -> None:
    """Dagster's UI and daemon on the lake (`dagster dev`, whose options it takes), until Ctrl-C."""
    from datalake_assets.cli.dev import serve
    from datalake_assets.cli.instance import BusyError, open_instance

    settings = _settings()
    _lake(settings)
    with open_instance(settings) as instance:
        try:
            code = serve(instance, context.args)
        except BusyError as error:
            _fail(str(error))
    raise typer.Exit(code)


@app.command()
def status() -> None:
    """What is landed, admitted, processed, rejected, late; and what the tables hold."""
    from datalake_assets.cli.status import source_status

    lake = _lake(_settings())
    sources = _table("dataset", "landed", "admitted", "processed", "failed", "records", "rejected", "late")
    for s in source_status(lake):
        counts = (s.landed, s.admitted, s.processed, s.failed, s.rows_in, s.rejected, s.late)
        sources.add_row(s.dataset, *(f"{n:,}" for n in counts))
    _out.print(sources)
    _print_tables(lake)


@app.command()
def query(
    sql: Annotated[str, typer.Argument(help="A SELECT over silver.*, gold.*, quarantine.* and the ledger.")],
    format_: Annotated[Format, typer.Option("--format", help="How to print the rows.")] = Format.TABLE,
) -> None:
    """Run SQL over the lake's tables."""
    from datalake_assets.cli import sql as engine

    try:
        rows = engine.query(_lake(_settings()), sql)
    except engine.QueryError as error:
        _fail(str(error))
    _print_rows(rows, format_)


@app.command()
def rejects(
    dataset: Annotated[str, typer.Argument(help="The dataset's name.")],
    examples: Annotated[int, typer.Option(min=0, help="Examples of each reason.")] = 1,
) -> None:
    """What is in quarantine, by reason, with examples."""
    lake = _lake(_settings())
    if dataset not in lake.datasets:
        _fail(f"no dataset {dataset!r}; there are {', '.join(lake.datasets)}")
    rejected = lake.quarantine(lake.datasets[dataset]).open().scan().collect()
    if rejected.is_empty():
        _out.print(f"Nothing of {dataset} is in quarantine.")
        return
    reason = pl.col("errors").list.first().str.extract(r"^([^:]*)", 1).alias("reason")
    shown = _table("reason", "records", "example", "where")
    groups = (
        rejected.with_columns(reason)
        .sort("reason", "source_filename", "row_number")
        .group_by("reason", maintain_order=True)
    )
    for (name,), rows in sorted(groups, key=lambda group: -group[1].height):
        for n, row in enumerate(rows.head(max(examples, 1)).iter_rows(named=True)):
            first = (str(name), f"{rows.height:,}") if n == 0 else ("", "")
            words = ("", "") if examples == 0 else (row["raw"][:200], f"{row['source_filename']}:{row['row_number']}")
            shown.add_row(*first, *words)
    _out.print(shown)
    total = f"{rejected.height:,} records of {dataset} are in quarantine"
    _out.print(f"{total}. Mend the contract or the source, then materialize the partitions again: that is the replay.")


def _run(settings: Settings, stop: "Stop") -> "Outcome":
    import dagster as dg

    from datalake_assets.cli.instance import BusyError, open_instance
    from datalake_assets.cli.run import Runs
    from datalake_assets.cli.stopping import StoppedError

    with open_instance(settings) as instance, _progress() as progress:
        task = progress.add_task("looking for landed objects", total=None)

        def tell(title: str, number: int, total: int) -> None:
            progress.update(task, description=title, completed=number - 1, total=total)

        try:
            return Runs(settings, instance, tell=tell, stop=stop).to_the_end()
        except StoppedError:
            stop.clear_up(stop.reason)
            raise
        except BusyError as error:
            _fail(str(error))
        except dg.DagsterError as error:
            _fail(f"Dagster: {error}")


def _settings() -> Settings:
    try:
        return Settings()
    except ValidationError as error:
        faults = [
            f"DATALAKE_{'.'.join(map(str, e['loc'])).upper()}: {e['msg']}, not {e['input']!r}" for e in error.errors()
        ]
        _fail("\n".join(faults))


def _lake(settings: Settings) -> Lake:
    try:
        return settings.lake()
    except DatasetError as error:
        _fail(str(error))


def _fail(reason: str) -> NoReturn:
    _err.print(reason, style="red", markup=False, highlight=False, soft_wrap=True)
    raise typer.Exit(2)


def _progress() -> Progress:
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    return Progress(*columns, console=_err, transient=True)


def _table(*columns: str) -> Table:
    table = Table(header_style="bold", box=None, pad_edge=False)
    for name in columns:
        words = name in {"dataset", "zone", "table", "reason", "example", "where"}
        long = name in {"example", "where"}
        table.add_column(name, justify="left" if words else "right", no_wrap=not long, overflow="fold")
    return table


def _print_tables(lake: Lake) -> None:
    from datalake_assets.cli.status import table_status

    shown = _table("zone", "table", "rows in", "rows out", "rejected")
    zone = ""
    for t in table_status(lake):
        counts = ["-" if n is None else f"{n:,}" for n in (t.rows_in, t.rows, t.rejected)]
        shown.add_row(t.zone if t.zone != zone else "", t.name, *counts)
        zone = t.zone
    _out.print(shown)
    _out.print(
        "\nLook further: [bold]datalake query[/] 'SELECT * FROM gold.daily_summary'"
        " · [bold]datalake rejects[/] web_events · [bold]make dev[/] for the UI",
        highlight=False,
        soft_wrap=True,
    )


def _print_rows(rows: pl.DataFrame, format_: Format) -> None:
    if format_ is Format.CSV:
        nested = [n for n, t in rows.schema.items() if t.is_nested()]
        flat = rows.with_columns(
            pl.struct(n).struct.json_encode().str.extract(r"^\{[^:]*:(.*)\}$", 1).alias(n) for n in nested
        )
        sys.stdout.write(flat.write_csv())
    elif format_ is Format.JSON:
        exact = rows.with_columns(pl.selectors.decimal().cast(pl.String))
        sys.stdout.write(exact.write_json() + "\n")
    else:
        shown = _table(*rows.columns)
        for row in rows.iter_rows():
            shown.add_row(*("" if value is None else str(value) for value in row))
        _out.print(shown)


def main() -> None:
    """Run the command."""
    app()


if __name__ == "__main__":
    main()
