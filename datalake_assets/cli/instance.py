"""The Dagster instance of the command line: where it is, and who has it to itself."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg
from dagster._core.instance.ref import InstanceRef

import datalake_assets
from datalake_assets.cli.places import dagster_home
from datalake_assets.settings import Settings

_PACKAGE = Path(datalake_assets.__file__).parent
_CONFIGURATIONS = tuple(folder / "dagster.yaml" for folder in (Path(), _PACKAGE, _PACKAGE.parent))
"""Where the configuration of an instance may lie: here, in the installed package, in the checkout."""
_OPENING = "opening.lock"
NO_LOGS: Any = {
    "compute_logs": {
        "module": "dagster._core.storage.noop_compute_log_manager",
        "class": "NoOpComputeLogManager",
        "config": {},
    }
}
"""Settings of an instance that keeps nothing of what steps print; Dagster starts four processes a step to keep it."""


class BusyError(RuntimeError):
    """Another command is at work on the same instance."""


def open_instance(settings: Settings, *, captures_logs: bool = True) -> dg.DagsterInstance:
    """The Dagster instance of `DAGSTER_HOME`; without it one beside the lake's tables, made when missing.

    A local lake's own instance is `<root>/.dagster`; it takes up the `dagster.yaml` of the working directory, else the
    project's. Without `captures_logs` what steps print is not kept.
    """
    home = dagster_home(settings)
    if not os.environ.get("DAGSTER_HOME"):
        home.mkdir(parents=True, exist_ok=True)
        config = next((file.absolute() for file in _CONFIGURATIONS if file.exists()), None)
        if config is not None and not (home / config.name).exists():
            (home / config.name).symlink_to(config)
        os.environ["DAGSTER_HOME"] = str(home)
    home.mkdir(parents=True, exist_ok=True)
    from datalake_assets.cli.event_log import revisions_read_once  # with what Dagster's storage takes long to import

    with (home / _OPENING).open("w") as lock, revisions_read_once():
        fcntl.flock(lock, fcntl.LOCK_EX)  # two that make the tables of a new instance get in each other's way
        if captures_logs:
            return dg.DagsterInstance.get()
        return dg.DagsterInstance.from_ref(InstanceRef.from_dir(str(home), overrides=NO_LOGS))


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
