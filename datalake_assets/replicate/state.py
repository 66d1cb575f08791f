"""What a task remembers between two runs: how far the log has landed, the last sequence, which tables are loaded.

Belongs here: the file `<root>/_replication/<task>.json`. It is written when files have landed and before the slot is
told, so that it is never behind the slot: what lies between the two lands again, with the same sequences.
"""

from pathlib import Path

import obstore
from pydantic import BaseModel, ConfigDict, ValidationError

from datalake_assets.lake.store.landing import open_store
from datalake_assets.lake.store.object_store import answered
from datalake_assets.replicate.files import make_durable
from datalake_assets.replicate.session import ReplicationError


class TableState(BaseModel):
    """A table of a task: the oid by which a table made anew under its name is known, and whether its load is whole."""

    oid: int
    loaded: bool = False


class TaskState(BaseModel):
    """A task's memory.

    `position` is up to where the log has landed; None: the task has no slot yet, or a run `is_making` it. `time` (16
    digits) and `counter` make up the last change's sequence.
    """

    model_config = ConfigDict(extra="forbid")

    position: int | None = None
    is_making: bool = False
    time: str = "0" * 16
    counter: int = 0
    tables: dict[str, TableState] = {}


class StateFile:
    """A task's file."""

    def __init__(self, root: str, task: str) -> None:
        """The file of a task in a lake's root; nothing is read."""
        self._store = open_store(root)
        self._key = f"_replication/{task}.json"

    def read(self) -> TaskState | None:
        """What the task remembers; None before its first run. Raises `ReplicationError` for a damaged file."""
        try:
            data = answered(lambda: bytes(obstore.get(self._store, self._key).bytes()))
        except FileNotFoundError:
            return None
        try:
            return TaskState.model_validate_json(data)
        except ValidationError:
            task = Path(self._key).stem
            raise ReplicationError(
                f"{self._key} in the lake's root can't be read; delete it, and end the task in the source with "
                f"`datalake replicate --drop --task {task}`"
            ) from None

    def write(self, state: TaskState) -> None:
        """Keep the state; it is on disk when this returns."""
        data = state.model_dump_json(indent=1).encode()
        answered(lambda: obstore.put(self._store, self._key, data))
        make_durable(self._store, self._key)
