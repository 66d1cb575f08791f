"""The `datalake` command: which commands there are. What they do is done elsewhere."""

import typer

from datalake_assets.cli import ingesting, looking, reconciling, replicating, working

app = typer.Typer(
    name="datalake",
    help="A data lake whose layers are Dagster assets: land sample data, run it to gold, look at it.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
app.command()(working.simulate)
app.command()(working.run)
app.command()(ingesting.ingest)
app.command()(replicating.replicate)
app.command()(reconciling.reconcile)
app.command()(working.rebuild)
app.command()(working.maintain)
app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})(working.dev)
app.command()(looking.status)
app.command()(looking.query)
app.command()(looking.rejects)
