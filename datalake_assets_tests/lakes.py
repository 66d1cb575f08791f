"""A lake as tests look at it: its tables by name, what waits, what gold owes, and doing all of it."""

from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

import polars as pl

from datalake_assets.lake.engines.base import Engine
from datalake_assets.lake.engines.polars import PolarsEngine
from datalake_assets.lake.lake import Lake
from datalake_assets.lake.steps.context import Step
from datalake_assets.lake.steps.execute import execute
from datalake_assets.lake.steps.messages import StepReport, StepRequest
from datalake_assets.lake.steps.planning import EVERYTHING, LandingWork, admit, gold_work, landing_work
from datalake_assets.lake.steps.rebuild import rebuild_table
from datalake_assets.lake.store.table import Table

PASSING = ("etl_timestamp", "source_filename")
"""What may differ between equal tables: when a row was written, and which of several equal copies it came from."""

_MOST_ROUNDS = 10  # of gold: a lookup gives dates, dates give totals


def table_of(lake: Lake, name: str) -> Table:
    """A table by zone and name, such as `silver/orders`, or by name alone: `ledger`, `pending`, `verdicts`."""
    found = {spec.sql_name.replace(".", "/"): spec for spec in lake.as_found().specs()}
    return lake.table(found[name])


def rows(lake: Lake, name: str, *columns: str) -> list[dict[str, Any]]:
    """Rows of a table in the order of their values: these columns, or all but those of `PASSING`."""
    chosen: Iterable[Any] = columns or (pl.exclude(*PASSING),)
    found = table_of(lake, name).open().scan().select(*chosen).collect().to_dicts()
    return sorted((dict(sorted(row.items())) for row in found), key=lambda row: [str(v) for v in row.values()])


def values(lake: Lake, name: str, *columns: str) -> list[tuple[Any, ...]]:
    """These columns of a table's rows as tuples, in order."""
    return sorted(table_of(lake, name).open().scan().select(columns).collect().rows(), key=repr)


def versions(lake: Lake, *names: str) -> dict[str, int]:
    """The versions of some tables; -1 where there is none."""
    return {name: table_of(lake, name).open().version for name in names}


def landing(lake: Lake, name: str, *, now: datetime | None = None) -> LandingWork:
    """What a dataset has waiting, as a sensor finds it that looks through everything."""
    return landing_work(
        lake,
        lake.datasets[name],
        after=None,
        lookback=timedelta(hours=1),
        limit=EVERYTHING,
        now=now or datetime.now(UTC),
    )


def process(
    lake: Lake, name: str, partitions: Sequence[str], *, replay: bool = False, engine: Engine | None = None
) -> StepReport:
    """Admit what landed in some partitions and bring it to silver, as a run of bronze and silver does."""
    admit(lake, lake.datasets[name], partitions, now=datetime.now(UTC))
    request = StepRequest(zone="silver", name=name, partitions=tuple(partitions), replay=replay)
    return execute(request, lake=lake, engine=engine or PolarsEngine())


def rebuild(lake: Lake, name: str, *, engine: Engine | None = None) -> StepReport:
    """Make a dataset's silver anew, as its dataset file has it now."""
    return rebuild_table(Step(lake, engine or PolarsEngine()), lake.datasets[name])


def owed(lake: Lake) -> dict[str, set[date]]:
    """The event dates that gold tables have to compute now; a table that is computed whole has none of them."""
    return {name: set(work.dates) for name, work in gold_work(lake, now=datetime.now(UTC)).items() if work.is_due}


def compute_gold(lake: Lake, *, engine: Engine | None = None) -> dict[str, set[date]]:
    """Compute what gold owes until it owes nothing; returns which dates of which tables those were."""
    done: dict[str, set[date]] = {}
    for _ in range(_MOST_ROUNDS):
        due = owed(lake)
        if not due:
            return done
        for name, dates in due.items():
            request = StepRequest(zone="gold", name=name, dates=tuple(sorted(dates)))
            report = execute(request, lake=lake, engine=engine or PolarsEngine())
            assert report.failed == (), report.failed
            done.setdefault(name, set()).update(dates)
    raise AssertionError(f"gold owes still: {owed(lake)}")
