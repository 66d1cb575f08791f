"""What a `datalake run` tells at its end, and the look around that finds that there is nothing to do.

Belongs here: what needs no Dagster, which takes longer to load than a look around.
"""

import sqlite3
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from datalake_assets.cli.console import counted
from datalake_assets.lake.lake import Lake
from datalake_assets.lake.steps.planning import EVERYTHING, gold_undone, gold_work, landing_undone, unfit_tables
from datalake_assets.sensors.looking import Landed, look_for_landed
from datalake_assets.settings import Settings

_UNFINISHED = "SELECT EXISTS (SELECT 1 FROM runs WHERE status NOT IN ('SUCCESS', 'FAILURE', 'CANCELED'))"


@dataclass
class Outcome:
    """How many runs succeeded, which failed (run id, reason), and what is left undone, a line each with its reason."""

    succeeded: int = 0
    failed: list[tuple[str, str]] = field(default_factory=list)
    undone: list[str] = field(default_factory=list)
    seconds: float = 0.0
    objects: int = 0
    records: int = 0
    dates: int = 0

    @property
    def summary(self) -> str:
        """What was done, in a sentence."""
        if not self.succeeded and not self.failed:
            owed = "nothing that could be computed" if self.undone else "nothing"
            return f"Nothing new had landed, and gold owed {owed}."
        done = f"{counted(self.objects, 'new object')}, {counted(self.records, 'record')} read"
        gold = f"{counted(self.dates, 'date')} of gold computed"
        return f"{done}, {gold}, by {counted(self.succeeded, 'run')} in {self.seconds:.1f} s."

    @property
    def is_complete(self) -> bool:
        """Whether nothing failed and nothing is left."""
        return not self.failed and not self.undone


def look_around(settings: Settings, lake: Lake) -> Landed:
    """What has landed of all datasets."""
    now = datetime.now(UTC)
    return look_for_landed(lake, sorted(lake.datasets), after={}, limit=EVERYTHING, settings=settings, now=now)


def outcome_of_nothing(lake: Lake, found: Landed, *, home: Path) -> Outcome | None:
    """The outcome where nothing waits and no run of Dagster's is unfinished; None where there is something to do.

    `found` is what a look around has found just now, `home` the folder of the Dagster instance.
    """
    if any(work.waiting for work in found.work.values()) or _has_unfinished_runs(home):
        return None
    owed = gold_work(lake, now=datetime.now(UTC))
    if any(work.is_due for work in owed.values()):
        return None
    undone = [*unfit_tables(lake), *found.faults.values(), *landing_undone(found.work), *gold_undone(owed)]
    return Outcome(undone=list(dict.fromkeys(undone)))


def _has_unfinished_runs(home: Path) -> bool:
    """Whether an instance that keeps its runs in a file has some that did not end: of a process that died, or lives.

    Others are on a server, and are looked after there. What can't be read is left to Dagster to say.
    """
    runs = home / "history" / "runs.db"
    if not runs.exists():
        return False
    try:
        with closing(sqlite3.connect(f"{runs.absolute().as_uri()}?mode=ro", uri=True)) as connection:
            return bool(connection.execute(_UNFINISHED).fetchone()[0])
    except sqlite3.Error:
        return True
