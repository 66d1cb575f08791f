"""`datalake ingest`: the ingest API on this machine. Arguments in, words out."""

import hashlib
import json
import shlex
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from datalake_assets.cli.console import counted, fail, say, tell, visible
from datalake_assets.cli.opening import open_lake, read_settings
from datalake_assets.lake.lake import Lake
from datalake_assets.lake.spec.dataset import EventStream
from datalake_assets.lake.store.layout import Layout

_MEGABYTE = 1_000_000


def ingest(
    *,
    port: Annotated[int, typer.Option(min=0, max=65535, help="The port to listen on; 0: any free one.")] = 8080,
    host: Annotated[str, typer.Option(help="The address to listen on; 0.0.0.0: all of this machine's.")] = "127.0.0.1",
    flush_seconds: Annotated[float, typer.Option(min=0.1, help="Land an object so long after its first record.")] = 5,
    flush_megabytes: Annotated[float, typer.Option(min=0.001, help="Land an object of so many MB of records.")] = 5,
    spool: Annotated[
        Path | None,
        typer.Option(help="Local folder for what is acknowledged and has not landed; default .ingest in the lake's."),
    ] = None,
) -> None:
    """Serve the ingest API: take JSON records over HTTP, land them as Firehose would, until Ctrl-C."""
    from datalake_assets.cli.interrupt import stop_on_signals
    from datalake_assets.gateway.declared import contracts
    from datalake_assets.gateway.server import PortError, application, listen, serve
    from datalake_assets.gateway.spool import Limits, Spool
    from datalake_assets.ingest.sources import sources_of

    settings = read_settings()
    lake = open_lake(settings)
    sources = sources_of(contracts(lake.datasets))
    if not sources:
        fail("no dataset of kind event_stream; declare one, and the API takes its records")
    layout = settings.layout
    kept = Spool(
        folder=_spool_folder(layout, spool),
        bronze=layout.bronze,
        limits=Limits(seconds=flush_seconds, bytes=int(flush_megabytes * _MEGABYTE)),
        tell=tell,
    )
    try:
        listening = listen(host, port)
        left = kept.open()
    except PortError as error:
        fail(str(error))
    except OSError as error:
        fail(f"the spool {kept.folder} can't be used: {error.strerror or error}; give another --spool")
    with stop_on_signals() as stop:
        if left:
            tell(f"landing {counted(left, 'file')} that a server left which was killed")
        _greet(lake, layout, host=host, port=listening.getsockname()[1])
        serve(application(sources, kept), listening, stop=stop)
        landed = kept.close()
    tally = kept.tally
    size = f"{counted(tally.objects, 'object')}, {tally.bytes / 1e6:,.1f} MB in {visible(layout.bronze)}"
    say(f"[bold]Landed[/] {counted(tally.records, 'record')}: {size}.")
    if not landed:
        tell(f"what could not be landed is safe in {kept.folder}; the next `datalake ingest` lands it")
        raise typer.Exit(1)


def _spool_folder(layout: Layout, given: Path | None) -> Path:
    """A folder for this landing zone alone, in the given one or beside the lake's own, as Dagster's home is."""
    home = given or Path(layout.root if "://" not in layout.root else ".", ".ingest")
    return home.absolute() / hashlib.sha256(layout.bronze.encode()).hexdigest()[:12]


def _greet(lake: Lake, layout: Layout, *, host: str, port: int) -> None:
    """Say where to send what, with a command that works."""
    from datalake_assets.gateway.declared import sample_record

    address = f"http://{f'[{host}]' if ':' in host else host}:{port}"
    streams = [dataset for dataset in lake.datasets.values() if isinstance(dataset, EventStream)]
    names = ", ".join(dataset.name for dataset in streams)
    say(f"Taking records at {visible(address)}/ingest/SOURCE for {visible(layout.bronze)}; Ctrl-C lands and ends.")
    say(f"Sources: {visible(names)}. Try:")
    now = datetime.now(UTC)
    samples = ((dataset, sample_record(dataset, now=now)) for dataset in reversed(streams))
    dataset, record = next(((d, r) for d, r in samples if r is not None), (streams[0], None))
    data = shlex.quote(json.dumps(record, ensure_ascii=False)) if record else "@record.json"
    command = f"curl -H 'Content-Type: application/json' -d {data} {address}/ingest/{dataset.name}"
    say(f"  {visible(command)}")
