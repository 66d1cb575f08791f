"""Which files of a table can hold what is asked for, by what its log tells of them: values of cuts, and bounds.

Belongs here: functions of the list of live files (`TableFiles.files`), and conditions by which a scan skips others.
"""

from bisect import bisect_left
from collections.abc import Collection, Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import polars as pl

_MOST_RUNS = 32  # of days: what lies between the later ones is read too
_FEW_BYTES = 256 * 1024  # are read as soon as bounds are compared


def within_days(column: str, days: Sequence[date], dtype: pl.DataType) -> pl.Expr:
    """Whether a date, a time, or a text that begins with a date is on one of some days (in order).

    Times and texts are told by runs of days: so files and row groups are skipped.
    """
    value = pl.col(column)
    if dtype == pl.Date() or not days:
        return value.is_in(days) if days else pl.lit(value=False)
    runs: list[tuple[date, date]] = []
    for day in days:
        if runs and (day - runs[-1][1] == timedelta(days=1) or len(runs) == _MOST_RUNS):
            runs[-1] = (runs[-1][0], day)
        else:
            runs.append((day, day))
    bounds = (map(pl.lit, bounds_of_days(first, last, dtype)) for first, last in runs)
    return pl.any_horizontal(value.is_between(low, high) for low, high in bounds)


def bounds_of_days(first: date, last: date, dtype: pl.DataType) -> tuple[Any, Any]:
    """The least and the greatest value of some days."""
    if dtype == pl.Date():
        return first, last
    if dtype == pl.String():
        return first.isoformat(), f"{last.isoformat()}~"
    return datetime.combine(first, time.min, UTC), datetime.combine(last, time.max, UTC)


def picked(name: str, values: Collection[Any], prefix: str = "") -> pl.Expr:
    """Whether a column has one of some values, of which one may be null."""
    column = pl.col(f"{prefix}{name}")
    some = column.is_in([v for v in values if v is not None])
    return some | column.is_null() if None in values else some


def may_hold_all(files: pl.DataFrame, rows: pl.DataFrame) -> pl.DataFrame:
    """The files whose bounds allow, of each column of some rows, one of its values; a small one alone is not asked."""
    if files.height == 1 and files["size_bytes"][0] <= _FEW_BYTES:
        return files
    for name in rows.columns:
        files = may_hold(files, name, rows[name])
    return files


def may_hold(files: pl.DataFrame, name: str, wanted: pl.Series) -> pl.DataFrame:
    """The files whose bounds of a column allow one of some values; all where the log has no bounds of it."""
    low, high = f"min.{name}", f"max.{name}"
    if low not in files.columns or wanted.null_count() or files[low].dtype != wanted.dtype:
        return files
    bounded = files.filter(pl.col(low).is_not_null() & pl.col(high).is_not_null())
    unbounded = pl.col(low).is_null() | pl.col(high).is_null()
    if wanted.dtype == pl.String():  # no join by nearness for text
        values_in_order = wanted.unique().sort().to_list()
        hits = [_any_between(values_in_order, low_, high_) for low_, high_ in bounded.select(low, high).iter_rows()]
        return files.filter(
            unbounded | pl.col("path").is_in(bounded.filter(pl.Series(hits, dtype=pl.Boolean))["path"].to_list())
        )
    values = pl.DataFrame({"value": wanted.unique().sort()}).lazy()
    first = bounded.lazy().sort(low).join_asof(values, left_on=low, right_on="value", strategy="forward")
    hit = first.filter(pl.col("value") <= pl.col(high)).select("path").collect()
    return files.filter(unbounded | pl.col("path").is_in(hit["path"].to_list()))


def _any_between(ordered: Sequence[str], low: str, high: str) -> bool:
    """Whether one of some ordered texts lies between two; by code points, which is the order of their UTF-8 bytes."""
    first = bisect_left(ordered, low)
    return first < len(ordered) and ordered[first] <= high
