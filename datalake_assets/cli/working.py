"""The commands that do something: land, run, rebuild, maintain, serve. Arguments in, words out."""

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from datalake_assets.cli.console import Column, count, err, fail, print_table, say, tell, visible
from datalake_assets.cli.console import progress as progress_bar
from datalake_assets.cli.looking import print_tables
from datalake_assets.cli.opening import open_lake, read_settings, require_places, require_runners
from datalake_assets.cli.places import dagster_home, has_lake, lost_bronze
from datalake_assets.cli.replicating import fill_postgres
from datalake_assets.lake.lake import Lake
from datalake_assets.settings import Settings

if TYPE_CHECKING:
    from datalake_assets.cli.outcome import Outcome
    from datalake_assets.cli.stopping import Stop
    from datalake_assets.sensors.looking import Landed

_SHOWN = 20
"""How many objects that were kept as they were `rebuild` names."""


def simulate(
    *,
    hours: Annotated[int, typer.Option(min=1, help="How many hours of data to land.")] = 48,
    rate: Annotated[int, typer.Option(min=1, help="Web events an hour; the shop's orders grow with it.")] = 600,
    seed: Annotated[int, typer.Option(help="The same seed lands the same data.")] = 1,
    start: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%d", "%Y-%m-%dT%H"], help="First hour, UTC; default 2026-01-01.")
    ] = None,
    until_now: Annotated[
        bool,
        typer.Option(
            "--until-now",
            help="Yesterday and today, to the last full hour, in place of --start and --hours; goes on where an "
            "earlier one ended.",
        ),
    ] = False,
    follow: Annotated[bool, typer.Option("--follow", help="Then go on live until Ctrl-C.")] = False,
    postgres: Annotated[
        str | None, typer.Option(help="Land nothing: commit the orders and customers to the Postgres of this URL.")
    ] = None,
) -> None:
    """Land sample data: orders and customers as DMS writes them, web events and device readings as Firehose does."""
    from datalake_assets.cli.interrupt import stop_on_signals
    from datalake_assets.lake.store.landing import open_store
    from datalake_assets.simulate import producer

    if postgres is not None:
        fill_postgres(postgres, hours=hours, rate=rate, seed=seed, start=start, until_now=until_now, follow=follow)
        return
    settings = read_settings()
    require_places(settings, writes=True)
    store = open_store(settings.layout.bronze)
    begin = (start or datetime(2026, 1, 1)).replace(tzinfo=UTC)  # noqa: DTZ001 (made UTC here)
    if until_now:
        now = datetime.now(UTC)
        yesterday = now.replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=1)
        begin = producer.first_hour(store) or yesterday
        hours = max(1, (now - begin) // timedelta(hours=1))
    simulation = producer.Simulation(hours=hours, rate=rate, seed=seed, start=begin)
    if follow and simulation.end > datetime.now(UTC):
        fail(f"the simulated hours end at {simulation.end:%Y-%m-%d %H:%M}, later than now; give an earlier --start")
    with stop_on_signals() as stop, progress_bar() as progress:
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


def run() -> None:
    """Process all that has landed, to gold, then exit; exits with 1 while something is left undone, and says why."""
    from datalake_assets.cli.status import unreadable
    from datalake_assets.cli.stopping import StoppedError, stoppable

    settings = read_settings()
    lake = open_lake(settings)
    with stoppable() as stop:
        try:
            require_runners(settings, lake)
            outcome = _run(settings, lake, stop)
        except StoppedError:
            err.print(f"{stop.reason}; the next `datalake run` goes on from here", markup=False, soft_wrap=True)
            raise typer.Exit(stop.exit_code) from None
    if outcome.is_complete and not lake.ledger.datasets():
        say(
            f"Nothing of a dataset has landed in {visible(lake.layout.bronze)} yet. `datalake simulate` lands sample "
            "data, `datalake replicate` the tables of a Postgres."
        )
        return
    print_tables(lake)
    say(visible(outcome.summary))
    for run_id, reason in outcome.failed:
        tell(f"failed run {run_id}: {reason}")
    for line in outcome.undone:
        tell(f"undone: {line}")
    for line in unreadable(lake):
        tell(line)
    if not outcome.is_complete:
        raise typer.Exit(1)


def rebuild(
    dataset: Annotated[str, typer.Argument(help="The dataset's name.")],
    first: Annotated[
        datetime | None, typer.Option("--from", formats=["%Y-%m-%d"], help="Events: the first event date.")
    ] = None,
    last: Annotated[
        datetime | None, typer.Option("--to", formats=["%Y-%m-%d"], help="Events: the last event date.")
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="A whole dataset also where more records are rejected than it allows.")
    ] = False,
) -> None:
    """Make silver anew from bronze under the dataset file as it is: beside the old tables, then swapped in.

    With --from or --to the objects that have events of these dates are read again, and no others. Gold follows with
    the next `datalake run`, or by its sensor.
    """
    from datalake_assets.cli.rebuilding import RebuildError, rebuild_dataset

    settings = read_settings()
    lake = open_lake(settings)
    if dataset not in lake.datasets:
        fail(f"no dataset {dataset!r}; there are {', '.join(lake.datasets)}")
    if not has_lake(settings):
        fail(f"no lake in {lake.layout.root} yet; `datalake simulate` lands sample data")
    if first and last and first > last:
        fail(f"--from {first:%Y-%m-%d} lies after --to {last:%Y-%m-%d}")
    if lost_bronze(settings):
        fail("nothing is rebuilt without the folder of bronze")
    with progress_bar() as progress:
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
            fail(str(error))
        except KeyboardInterrupt:
            tell(f"stopped; silver is whole, as it was or as it is new: `datalake rebuild {dataset}` begins again")
            raise
    kept = [outcome for outcome in report.objects if not outcome.is_read]
    say(
        f"{visible(dataset)}: {len(report.objects) - len(kept):,} objects read, {report.rows_in:,} records, "
        f"{report.rows_out:,} accepted, {report.rows_rejected:,} rejected; silver is at version "
        f"{report.table_version}. Gold follows with `datalake run`, or by its sensor."
    )
    for outcome in kept[:_SHOWN]:
        reason = outcome.error or outcome.state
        tell(f"kept as it was: {reason if outcome.key in reason else f'{outcome.key}: {reason}'}")
    if len(kept) > _SHOWN:
        tell(f"and {len(kept) - _SHOWN:,} more are kept as they were")


def maintain(
    retention_hours: Annotated[
        int | None,
        typer.Option(
            min=0, max=87_600, help="How long files of an older state are kept; default DATALAKE_RETENTION_HOURS."
        ),
    ] = None,
) -> None:
    """Put small files of all tables together, and delete the files that nobody needs any more."""
    from datetime import timedelta

    from datalake_assets.lake.steps.maintain import maintain
    from datalake_assets.lake.store.upkeep import Upkeep

    settings = read_settings()
    lake = open_lake(settings)
    if not has_lake(settings):
        fail(f"no lake in {lake.layout.root} yet; `datalake simulate` lands sample data")
    retention = settings.retention if retention_hours is None else timedelta(hours=retention_hours)
    rows: list[tuple[str, ...]] = []
    is_left = False
    with progress_bar() as progress:
        task = progress.add_task("maintaining", total=len(list(lake.specs())))
        for done in maintain(lake, retention=retention):
            progress.advance(task)
            if isinstance(done, Upkeep):
                if done.changed:
                    counts = (done.live_before, done.live_after, done.deleted, done.bytes_freed)
                    rows.append((done.table, *map(count, counts)))
            else:
                is_left = True
                tell(done)
    if rows:
        names = ("files before", "files after", "deleted", "bytes freed")
        print_table([Column("table", is_text=True), *map(Column, names)], rows)
    say(f"Every {'other ' if rows or is_left else ''}table is as it should be.")


def dev(context: typer.Context) -> None:
    """Dagster's UI and daemon on the lake (`dagster dev`, whose options it takes), until Ctrl-C."""
    from datalake_assets.cli.dev import serve
    from datalake_assets.cli.instance import BusyError, open_instance

    settings = read_settings()
    open_lake(settings)
    with open_instance(settings) as instance:
        try:
            code = serve(instance, context.args)
        except BusyError as error:
            fail(str(error))
    raise typer.Exit(code)


def _run(settings: Settings, lake: Lake, stop: "Stop") -> "Outcome":
    from datalake_assets.cli.outcome import look_around, outcome_of_nothing

    with progress_bar() as progress:
        progress.add_task("looking for landed objects", total=None)
        found = look_around(settings, lake)
        idle = outcome_of_nothing(lake, found, home=dagster_home(settings))
    return _run_by_dagster(settings, lake, stop, found) if idle is None else idle


def _run_by_dagster(settings: Settings, lake: Lake, stop: "Stop", found: "Landed") -> "Outcome":
    import dagster as dg

    from datalake_assets.cli.instance import BusyError, open_instance
    from datalake_assets.cli.run import Runs
    from datalake_assets.cli.stopping import StoppedError

    with open_instance(settings, captures_logs=False) as instance, progress_bar() as progress:
        task = progress.add_task("looking for landed objects", total=None)

        def tell(title: str, number: int, total: int) -> None:
            progress.update(task, description=title, completed=number - 1, total=total)

        try:
            return Runs(settings, instance, tell=tell, stop=stop, lake=lake, found=found).to_the_end()
        except StoppedError:
            stop.clear_up(stop.reason)
            raise
        except BusyError as error:
            fail(str(error))
        except dg.DagsterError as error:
            fail(f"Dagster: {error}")
