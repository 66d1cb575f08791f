"""The Dagster instance of the command line: where it is, and who has it to itself."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg

from datalake_assets.settings import Settings


class BusyError(RuntimeError):
    """Another command is at work on the same instance."""


def open_instance(settings: Settings) -> dg.DagsterInstance:
    """The Dagster instance of `DAGSTER_HOME`; without it one beside the lake's tables, made when missing.

    A local lake's own instance is `<root>/.dagster`; it takes up the `dagster.yaml` of the working directory.
    """
    if not os.environ.get("DAGSTER_HOME"):
        layout = settings.layout
        home = Path(layout.root if layout.is_local else ".").absolute() / ".dagster"
        home.mkdir(parents=True, exist_ok=True)
        config = Path("dagster.yaml").absolute()
        if config.exists() and not (home / config.name).exists():
            (home / config.name).symlink_to(config)
        os.environ["DAGSTER_HOME"] = str(home)
    Path(os.environ["DAGSTER_HOME"]).mkdir(parents=True, exist_ok=True)
    return dg.DagsterInstance.get()


@contextmanager
def alone(instance: dg.DagsterInstance, *, command: str) -> Iterator[None]:
    """Hold the instance for one command of this name; raises `BusyError` while another one holds it.

    The kernel gives the lock back when the process ends, however it ends.
    """
    with (Path(instance.root_directory) / f"{command.replace(' ', '-')}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BusyError(f"another `{command}` is at work on this lake; wait for it, or stop it") from None
        yield
