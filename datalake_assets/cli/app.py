"""The `datalake` command: arguments in, words out. What it does is done elsewhere."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import polars as pl
import typer
from pydantic import ValidationError

from datalake_assets.cli.console import Column, Format, default_format, print_rows, print_table, say, visible
from datalake_assets.cli.console import err as _err
from datalake_assets.cli.console import fail as _fail
from datalake_assets.cli.console import progress as _progress
from datalake_assets.cli.places import UnusablePlaceError, check_places, has_lake
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
_SHOWN = 200
"""How much of a rejected record `rejects` shows, in characters."""


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
    from datalake_assets.cli.interrupt import stop_on_signals
    from datalake_assets.lake.store.landing import open_store
    from datalake_assets.simulate import producer

    settings = _settings()
    _check_places(settings, writes=True)
    begin = (start or datetime(2026, 1, 1)).replace(tzinfo=UTC)  # noqa: DTZ001 (made UTC here)
    simulation = producer.Simulation(hours=hours, rate=rate, seed=seed, start=begin)
    if follow and simulation.end > datetime.now(UTC):
        _fail(f"the simulated hours end at {simulation.end:%Y-%m-%d %H:%M}, later than now; give an earlier --start")
    store = open_store(settings.layout.bronze)
    with stop_on_signals() as stop, _progress() as progress:
        task = progress.add_task("landing", total=hours)
        landed = producer.simulate(store, simulation, stop=stop, progress=lambda _: progress.advance(task))
        new = f"{landed.objects:,} new objects, {landed.bytes / 1e6:,.1f} MB"
        say(f"[bold]Landed[/] {new} in {visible(settings.layout.bronze)}; {landed.present:,} were there already.")
        if follow and not stop.is_set():
            say("Landing live data; Ctrl-C ends it.")
            progress.update(task, description="live", completed=0, total=None)
            live = producer.follow(store, simulation, stop=stop, progress=lambda _: progress.advance(task))
            say(f"Stopped: {live.objects:,} live objects landed, {live.bytes / 1e6:,.1f} MB.")
        elif stop.is_set():
            say("Stopped before all hours were landed; the same command lands the others.")
            if not follow:
                raise typer.Exit(130)


@app.command()
def run() -> None:
    """Process all that has landed, to gold, then exit; exits with 1 while something is left undone, and says why."""
    from datalake_assets.cli.status import unreadable
    from datalake_assets.cli.stopping import StoppedError, stoppable

    settings = _settings()
    lake = _lake(settings)
    with stoppable() as stop:
        try:
            outcome = _run(settings, lake, stop)
        except StoppedError:
            _err.print(f"{stop.reason}; the next `datalake run` goes on from here", markup=False, soft_wrap=True)
            raise typer.Exit(stop.exit_code) from None
    _print_tables(lake)
    say(visible(outcome.summary))
    for run_id, reason in outcome.failed:
        _tell(f"failed run {run_id}: {reason}")
    for line in outcome.undone:
        _tell(f"undone: {line}")
    for line in unreadable(lake):
        _tell(line)
    if not outcome.is_complete:
        raise typer.Exit(1)


@app.command()
def rebuild(
    dataset: Annotated[str, typer.Argument(help="The dataset's name.")],
    first: Annotated[
        datetime | None, typer.Option("--from", formats=["%Y-%m-%d"], help="Events: the first event date.")
    ] = None,
    last: Annotated[
        datetime | None, typer.Option("--to", formats=["%Y-%m-%d"], help="Events: the last event date.")
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Also where more records are rejected than max_rejected_fraction allows.")
    ] = False,
) -> None:
    """Make silver anew from bronze under the dataset file as it is: beside the old tables, then swapped in.

    With --from or --to the objects that have events of these dates are read again, and no others. Gold follows with
    the next `datalake run`, or by its sensor.
    """
    from datalake_assets.cli.rebuilding import RebuildError, rebuild_dataset

    settings = _settings()
    lake = _lake(settings)
    if dataset not in lake.datasets:
        _fail(f"no dataset {dataset!r}; there are {', '.join(lake.datasets)}")
    if not has_lake(settings):
        _fail(f"no lake in {lake.layout.root} yet; `datalake simulate` lands sample data")
    with _progress() as progress:
        progress.add_task(f"rebuilding {dataset}", total=None)
        try:
            report = rebuild_dataset(
                lake,
                lake.datasets[dataset],
                first=first.date() if first else None,
                last=last.date() if last else None,
                force=force,
            )
        except RebuildError as error:
            _fail(str(error))
    say(
        f"{visible(dataset)}: {len(report.objects):,} objects read, {report.rows_in:,} records, {report.rows_out:,} "
        f"accepted, {report.rows_rejected:,} rejected; silver is at version {report.table_version}. Gold follows with "
        "`datalake run`, or by its sensor."
    )
    kept = [o for o in report.objects if not o.is_read]
    for outcome in kept:
        _tell(f"kept as it was: {outcome.key}: {outcome.error or outcome.state}")


@app.command()
def maintain(
    retention_hours: Annotated[
        int | None,
        typer.Option(min=0, help="How long files of an older state are kept; default DATALAKE_RETENTION_HOURS."),
    ] = None,
) -> None:
    """Put small files of all tables together, and delete the files that nobody needs any more."""
    from datetime import timedelta

    from datalake_assets.lake.steps.maintain import maintain
    from datalake_assets.lake.store.upkeep import Upkeep

    settings = _settings()
    lake = _lake(settings)
    if not has_lake(settings):
        _fail(f"no lake in {lake.layout.root} yet; `datalake simulate` lands sample data")
    retention = settings.retention if retention_hours is None else timedelta(hours=retention_hours)
    rows: list[tuple[str, ...]] = []
    with _progress() as progress:
        task = progress.add_task("maintaining", total=len(list(lake.specs())))
        for done in maintain(lake, retention=retention):
            progress.advance(task)
            if isinstance(done, Upkeep):
                if done.changed:
                    counts = (done.live_before, done.live_after, done.deleted, done.bytes_freed)
                    rows.append((done.table, *map(_count, counts)))
            else:
                _tell(done)
    names = ("files before", "files after", "deleted", "bytes freed")
    print_table([Column("table", is_text=True), *map(Column, names)], rows)
    say("Every other table is as it should be.")


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
    from datalake_assets.cli.status import left_to_do, source_status

    settings = _settings()
    lake = _lake(settings, writes=False)
    if not has_lake(settings):
        say(f"No lake in {visible(lake.layout.root)} yet; `datalake simulate` lands sample data.")
        return
    objects = ("landed", "admitted", "processed", "failed", "missing", "older contract")
    records = ("records", "rejected", "late")
    rows = [
        (
            s.dataset,
            *map(_count, (s.landed, s.admitted, s.processed, s.failed, s.missing, s.older_contract)),
            *map(_count, (s.rows_in, s.rejected, s.late)),
        )
        for s in source_status(lake)
    ]
    print_table([Column("dataset", is_text=True), *map(Column, (*objects, *records))], rows)
    _print_tables(lake)
    if lines := left_to_do(lake):
        say("\n[bold]Left to do[/]")
        for line in lines:
            say(f"- {visible(line)}")


@app.command()
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
        rows = engine.query(_lake(_settings(), writes=False), sql)
    except engine.QueryError as error:
        _fail(str(error))
    print_rows(rows.head(limit) if limit is not None else rows, format_ or default_format())
    if limit is not None and rows.height > limit:
        _tell(f"the first {limit:,} of {rows.height:,} rows")


@app.command()
def rejects(
    dataset: Annotated[str, typer.Argument(help="The dataset's name.")],
    examples: Annotated[int, typer.Option(min=0, help="Examples of each reason.")] = 1,
) -> None:
    """What is in quarantine, by reason, with examples."""
    lake = _lake(_settings(), writes=False)
    if dataset not in lake.datasets:
        _fail(f"no dataset {dataset!r}; there are {', '.join(lake.datasets)}")
    rejected = lake.quarantine(lake.datasets[dataset]).open().scan().collect()
    if rejected.is_empty():
        say(f"Nothing of {visible(dataset)} is in quarantine.")
        return
    reason = pl.col("errors").list.first().str.extract(r"^([^:]*)", 1).alias("reason")
    shown: list[tuple[str, str, str, str]] = []
    groups = (
        rejected.with_columns(reason)
        .sort("reason", "source_filename", "row_number")
        .group_by("reason", maintain_order=True)
    )
    for (name,), rows in sorted(groups, key=lambda group: -group[1].height):
        for n, row in enumerate(rows.head(max(examples, 1)).iter_rows(named=True)):
            first = (str(name), _count(rows.height)) if n == 0 else ("", "")
            shown_of = row["raw"] or "; ".join(row["errors"])  # of an object there is nothing but the reason
            example = (_beginning(shown_of), f"{row['source_filename']}:{row['row_number']}") if examples else ("", "")
            shown.append((*first, *example))
    columns = [
        Column("reason", is_text=True, folds=True),
        Column("records"),
        Column("example", is_text=True, folds=True),
        Column("where", is_text=True, folds=True),
    ]
    print_table(columns, shown)
    total = f"{rejected.height:,} records of {visible(dataset)} are in quarantine"
    remedy = f"Mend the contract and run `datalake rebuild {visible(dataset)}`; or mend the source and land again."
    say(f"{total}. {remedy}")


def _run(settings: Settings, lake: Lake, stop: "Stop") -> "Outcome":
    import dagster as dg

    from datalake_assets.cli.instance import BusyError, open_instance
    from datalake_assets.cli.run import Runs
    from datalake_assets.cli.stopping import StoppedError

    with open_instance(settings, captures_logs=False) as instance, _progress() as progress:
        task = progress.add_task("looking for landed objects", total=None)

        def tell(title: str, number: int, total: int) -> None:
            progress.update(task, description=title, completed=number - 1, total=total)

        try:
            return Runs(settings, instance, tell=tell, stop=stop, lake=lake).to_the_end()
        except StoppedError:
            stop.clear_up(stop.reason)
            raise
        except BusyError as error:
            _fail(str(error))
        except dg.DagsterError as error:
            _fail(f"Dagster: {error}")


def _tell(line: str) -> None:
    _err.print(" ".join(line.split()), markup=False, highlight=False, soft_wrap=True)


def _settings() -> Settings:
    try:
        return Settings()
    except ValidationError as error:
        faults = [
            f"DATALAKE_{'.'.join(map(str, e['loc'])).upper()}: {e['msg']}, not {e['input']!r}" for e in error.errors()
        ]
        _fail("\n".join(faults))


def _lake(settings: Settings, *, writes: bool = True) -> Lake:
    _check_places(settings, writes=writes)
    try:
        return settings.lake()
    except DatasetError as error:
        _fail(str(error))


def _check_places(settings: Settings, *, writes: bool) -> None:
    try:
        check_places(settings, writes=writes)
    except UnusablePlaceError as error:
        _fail(str(error))


def _print_tables(lake: Lake) -> None:
    from datalake_assets.cli.status import table_status

    rows: list[tuple[str, ...]] = []
    zone = ""
    for t in table_status(lake):
        counts = map(_count, (t.rows_in, t.rows, t.rejected))
        rows.append((t.zone if t.zone != zone else "", t.name, *counts))
        zone = t.zone
    names = [Column("zone", is_text=True), Column("table", is_text=True)]
    print_table([*names, *map(Column, ("rows in", "rows out", "rejected"))], rows)
    say("\nLook further: [bold]datalake query[/] 'SELECT * FROM gold.daily_summary'")
    say(f" · [bold]datalake rejects[/] {max(lake.datasets)} · [bold]datalake dev[/] for the UI")


def _count(number: int | None) -> str:
    return "-" if number is None else f"{number:,}"


def _beginning(raw: str | bytes) -> str:
    text = raw if isinstance(raw, str) else raw.decode(errors="backslashreplace")
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


if __name__ == "__main__":
    app()
