"""What a task is asked to do, and what a run of it tells of what it did.

Belongs here: requests and figures. The work is in `task.py`.
"""

import re
from dataclasses import dataclass

from datalake_assets.replicate.form import Form
from datalake_assets.replicate.session import ReplicationError

_TASK = re.compile(r"[a-z0-9_]{1,63}")


@dataclass(frozen=True, slots=True)
class Task:
    """What is replicated, from where to where.

    `source` is the URL of a Postgres; `tables` are named `schema.table`; `interval` is how many seconds lie between two
    looks at the log. `name` is that of the slot, too. `root` and `bronze` are the lake's places.
    """

    name: str
    source: str
    tables: tuple[str, ...]
    root: str
    bronze: str
    form: Form
    interval: float

    def __post_init__(self) -> None:
        """Raises `ReplicationError` for a name that no slot can have."""
        if not _TASK.fullmatch(self.name):
            raise ReplicationError(f"--task {self.name!r}: write lower-case letters, digits and _, at most 63 of them")


@dataclass(slots=True)
class Tally:
    """What a run has landed so far; `is_stopped` when it was told to stop before it was done."""

    objects: int = 0
    bytes: int = 0
    loaded: int = 0
    changes: int = 0
    is_stopped: bool = False
