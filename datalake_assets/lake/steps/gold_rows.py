"""The rows of a gold table, made of its sources as they were opened, in lots that fit in memory one by one.

Belongs here: what is computed of what. When that is done, and what becomes of the rows, is in `gold.py`.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import date, datetime

import narwhals as nw
import polars as pl

from datalake_assets.lake.engines.base import Engine, Frame
from datalake_assets.lake.gold.table import GoldTable
from datalake_assets.lake.spec.columns import ETL_TIMESTAMP, EVENT_DATE
from datalake_assets.lake.store.snapshot import Snapshot

_ROWS_AT_ONCE = 1_000_000  # of a table that is made row by row: some 600 MB of events


def rows_in_lots(
    gold: GoldTable,
    opened: Mapping[str, Snapshot],
    engine: Engine,
    *,
    dates: Collection[date] | None,
    without: Mapping[str, Collection[date]],
    made_at: datetime,
) -> list[Frame]:
    """A gold table's rows of some event dates (None: all), not computed yet; nothing where no source exists.

    `without` are dates of some datasets whose rows are left out.
    """
    lots = list[Frame]()
    for frames in _frames(gold, opened, engine, dates):
        rows = engine.conform(gold.compute(frames), gold.columns)
        if dates is not None:
            rows = rows.join(engine.take(_days(dates)), on=[EVENT_DATE], how="semi")
        rows = _without(rows, gold, without, engine)
        lots.append(rows.with_columns(nw.lit(made_at).cast(nw.Datetime("us", "UTC")).alias(ETL_TIMESTAMP)))
    return lots


def _frames(
    gold: GoldTable, opened: Mapping[str, Snapshot], engine: Engine, dates: Collection[date] | None
) -> list[dict[str, Frame]]:
    """The sources, beside the lookups: all rows at once, or lot by lot where the table is made row by row."""
    there = {name: snapshot for name, snapshot in opened.items() if snapshot.exists}
    beside = {lookup.table: engine.scan(there[lookup.table]) for lookup in gold.lookups if lookup.table in there}
    sources = {source.table: source.dated_by for source in gold.sources if source.table in there}
    each: dict[str, Sequence[Frame]] = {}
    for name, dated_by in sources.items():
        by = "partition" if name.startswith("quarantine/") else dated_by  # rejects count on the day they landed
        rows = _ROWS_AT_ONCE // len(sources) if gold.row_by_row else None
        each[name] = engine.lots(there[name], dates=dates, dated_by=by, rows=rows)
    turns = max(map(len, each.values()), default=0)
    return [beside | {name: lots[n] for name, lots in each.items() if n < len(lots)} for n in range(turns)]


def _without(rows: Frame, gold: GoldTable, held: Mapping[str, Collection[date]], engine: Engine) -> Frame:
    """Rows without those that depend on some dates of some datasets."""
    for name, days in held.items():
        of_them = _days(days)
        if gold.by_source:
            of_them = of_them.with_columns(source=pl.lit(name))
        rows = rows.join(engine.take(of_them), on=of_them.columns, how="anti")
    return rows


def _days(dates: Collection[date]) -> pl.DataFrame:
    """Dates to join with: Spark's literals know no years before 1000, nor the days that 1582 skipped."""
    return pl.DataFrame({EVENT_DATE: sorted(dates)}, schema={EVENT_DATE: pl.Date})
