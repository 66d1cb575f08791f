"""A table `t` of a real Postgres, replicated to a lake's silver, and the two compared."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import polars as pl

from datalake_assets.reconcile.reconcile import Ask, Clock, reconcile
from datalake_assets.reconcile.result import Reconciliation
from datalake_assets.replicate.form import Form
from datalake_assets_tests.postgres import Database
from datalake_assets_tests.replicate.replica import Replica
from datalake_assets_tests.replicated import ReplicatedLake

_DATASET = """
name: t
kind: cdc_table
description: A table of a test.
owner: team:test
landing: {{prefix: dms/public/t}}
key: [{key}]
order_by: [ar_h_change_seq]
timestamp_column: dms_timestamp
max_rejected_fraction: 1
columns:
{columns}
"""


class FakeClock:
    """A clock that stands still but for what is waited, when something may happen."""

    def __init__(self, happens: Callable[[], None] = lambda: None) -> None:
        self.time = 0.0
        self.happens = happens

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self.time += seconds
        self.happens()

    @property
    def clock(self) -> Clock:
        """What a comparison is given."""
        return Clock(now=lambda: self.time, wait=self.wait)


class Compared:
    """The table `t` on both sides."""

    def __init__(
        self, postgres: Database, root: Path, columns: dict[str, str], *, key: str = "id", csv: bool = False
    ) -> None:
        """A lake whose dataset `t` has these columns with these types."""
        told = "\n".join(f'  "{name}": {{type: "{kind}"}}' for name, kind in columns.items())
        text = _DATASET.format(key=key, columns=told) + ("csv: {}\n" if csv else "")
        self.postgres = postgres
        self.lake = ReplicatedLake(root, text)
        self.replica = Replica(postgres, Path(self.lake.lake.layout.root), Form())

    def catch_up(self) -> None:
        """Bring to silver what is committed now."""
        self.replica.catch_up()
        report = self.lake.refresh("t")
        assert (report.failed, report.rows_rejected) == ((), 0)

    def reconcile(self, ask: Ask | None = None, *, settle: float = 0) -> Reconciliation:
        """Compare, without waiting unless told otherwise."""
        return reconcile(
            self.lake.lake, self.lake.dataset("t"), self.postgres.url, ask=replace(ask or Ask(), settle=settle)
        )

    def spoil(self, change: Callable[[pl.DataFrame], pl.DataFrame]) -> None:
        """Change silver behind the lake's back."""
        place = f"{self.lake.lake.layout.silver}/t"
        rows = change(pl.read_delta(place))
        rows.write_delta(place, mode="overwrite")
