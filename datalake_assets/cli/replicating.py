"""The commands over a Postgres: replicate its tables into bronze, fill it with the shop. Arguments in, words out."""

from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from datalake_assets.cli.console import counted, fail, say, tell, visible
from datalake_assets.cli.console import progress as progress_bar
from datalake_assets.cli.opening import read_settings, require_places, source_url
from datalake_assets.replicate.form import DatePartition, FileFormat, Form

_NO_COLUMN = "none"


def replicate(
    *,
    source: Annotated[
        str | None,
        typer.Option(help="URL of the Postgres, postgresql://USER@HOST/DATABASE; default DATALAKE_SOURCE_URL."),
    ] = None,
    table: Annotated[
        list[str] | None, typer.Option("--table", help="A table as SCHEMA.TABLE, spelt as in the catalogue; repeat it.")
    ] = None,
    task: Annotated[str, typer.Option(help="The task's name, which its slot in the source has too.")] = "datalake",
    reload: Annotated[
        list[str] | None, typer.Option("--reload", help="Load a table of the task again; repeat it.")
    ] = None,
    until_caught_up: Annotated[
        bool, typer.Option("--until-caught-up", help="End when all has landed that is committed now.")
    ] = False,
    drop: Annotated[
        bool, typer.Option("--drop", help="End the task: remove its slot and publication from the source.")
    ] = False,
    interval: Annotated[float, typer.Option(min=0.1, help="Seconds between two looks at the log.")] = 5,
    date_partition: Annotated[
        DatePartition, typer.Option(help="Folders of changes, by commit time.")
    ] = DatePartition.HOUR,
    file_format: Annotated[FileFormat, typer.Option("--format", help="What the files are.")] = FileFormat.PARQUET,
    timestamp_column: Annotated[
        str, typer.Option(help="The column of commit times; `none` leaves it out.")
    ] = "dms_timestamp",
    sequence_column: Annotated[
        str, typer.Option(help="The column of the change sequence; `none` leaves it out.")
    ] = "ar_h_change_seq",
    include_op_for_full_load: Annotated[bool, typer.Option(help="Give the rows of a load the operation I.")] = True,
    before_images: Annotated[bool, typer.Option(help="Give a changed key's old values in columns BI_….")] = True,
    map_boolean_as_boolean: Annotated[bool, typer.Option(help="Write booleans as such, not as text.")] = False,
    load_rows: Annotated[int, typer.Option(min=1, help="Most rows of a load's file.")] = 100_000,
    change_rows: Annotated[int, typer.Option(min=1, help="Most changes in a file.")] = 50_000,
) -> None:
    """Replicate tables of a Postgres as AWS DMS does: a full load into bronze, then changes, until Ctrl-C."""
    from datalake_assets.cli.interrupt import stop_on_signals
    from datalake_assets.replicate.plan import Task
    from datalake_assets.replicate.session import ReplicationError, UnreachableError, shown
    from datalake_assets.replicate.task import drop as drop_task
    from datalake_assets.replicate.task import replicate as run_task

    settings = read_settings()
    url = source_url(settings, source)
    if not table and not drop:
        fail("no table; give --table SCHEMA.TABLE, once or more")
    require_places(settings, writes=True)
    form = Form(
        date_partition=date_partition,
        file_format=file_format,
        timestamp_column=None if timestamp_column == _NO_COLUMN else timestamp_column,
        sequence_column=None if sequence_column == _NO_COLUMN else sequence_column,
        load_operation=include_op_for_full_load,
        before_images=before_images,
        booleans=map_boolean_as_boolean,
        load_rows=load_rows,
        change_rows=change_rows,
    )
    layout = settings.layout
    try:
        asked = Task(
            name=task,
            source=url,
            tables=tuple(dict.fromkeys(_full_name(name) for name in table or ())),
            root=layout.root,
            bronze=layout.bronze,
            form=form,
            interval=interval,
        )
        if drop:
            drop_task(asked)
            say(f"The task {visible(task)} is ended; what has landed stays.")
            return
        with stop_on_signals() as stop, progress_bar() as progress:
            bar = progress.add_task(f"replicating {shown(url)}", total=None)
            tally = run_task(
                asked,
                reload=tuple(_full_name(name) for name in reload or ()),
                until_caught_up=until_caught_up,
                stop=stop,
                tell=tell,
                progress=lambda tally: progress.update(bar, completed=tally.loaded + tally.changes),
            )
    except UnreachableError as error:
        tell(f"{error}; nothing is lost, the same command goes on from here")
        raise typer.Exit(1) from None
    except ReplicationError as error:
        fail(str(error))
    landed = f"{counted(tally.objects, 'new object')}, {tally.bytes / 1e6:,.1f} MB in {visible(layout.bronze)}"
    say(f"[bold]Landed[/] {counted(tally.loaded, 'row')} and {counted(tally.changes, 'change')}: {landed}.")
    if tally.is_stopped:
        say("Stopped; the same command goes on from here.")
        if until_caught_up:
            raise typer.Exit(130)


def fill_postgres(
    url: str, *, hours: int, rate: int, seed: int, start: datetime | None, until_now: bool, follow: bool
) -> None:
    """Commit the shop's orders and customers to a Postgres: a simulation's history, then live with `follow`."""
    from datalake_assets.cli.interrupt import stop_on_signals
    from datalake_assets.replicate.session import ReplicationError, connected, in_words, shown
    from datalake_assets.simulate import database
    from datalake_assets.simulate.simulation import Simulation

    now = datetime.now(UTC)
    try:
        with in_words(url), connected(url, application="datalake simulate") as source, stop_on_signals() as stop:
            begin = (start or datetime(2026, 1, 1)).replace(tzinfo=UTC)  # noqa: DTZ001 (made UTC here)
            if until_now:
                yesterday = now.replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=1)
                begin = database.started(source) or yesterday
                hours = max(1, (now - begin) // timedelta(hours=1))
            simulation = Simulation(hours=hours, rate=rate, seed=seed, start=begin)
            if follow and simulation.end > now:
                end = f"{simulation.end:%Y-%m-%d %H:%M}"
                fail(f"the simulated hours end at {end}, later than now; give an earlier --start")
            with progress_bar() as progress:
                bar = progress.add_task("committing", total=hours)
                shop, done = database.fill(source, simulation, stop=stop, progress=lambda: progress.advance(bar))
                say(f"[bold]Committed[/] {done:,} transactions to {visible(shown(url))}.")
                if follow and not stop.is_set():
                    say("Committing live; Ctrl-C ends it.")
                    progress.update(bar, description="live", completed=0, total=None)
                    done = database.follow(source, simulation, shop, stop=stop, progress=lambda: progress.advance(bar))
                    say(f"Stopped: {done:,} live transactions.")
                elif stop.is_set():
                    say("Stopped before all hours were committed; the same command commits the others.")
                    raise typer.Exit(130)
    except ReplicationError as error:
        fail(str(error))


def _full_name(table: str) -> str:
    """A table without a schema is one of `public`."""
    return table if "." in table else f"public.{table}"
