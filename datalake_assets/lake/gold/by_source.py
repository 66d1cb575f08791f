"""Figures of every source alike: by day, by hour, and in all.

An event counts when it happened, a change of a replicated table when it was committed: a table of ten years that is
loaded today is one day's work. What a table holds by its own dates is for tables made of it alone.
"""

from collections.abc import Mapping

import narwhals as nw

from datalake_assets.lake.gold.table import Frame, GoldTable, Source, column, records_of, rejects_of, rows_of
from datalake_assets.lake.spec.columns import COMMITTED_AT, EVENT_DATE, EVENT_TIME
from datalake_assets.lake.spec.dataset import CdcTable, Dataset
from datalake_assets.lake.transforms.quality import SCALE, millionths

_DAILY = "gold/daily_summary"
_QUALITY_SUM = "_quality"
_FIGURES = ("source", "days", "records", "unique_keys", "rejects", _QUALITY_SUM, "first_event", "last_event")
_SOURCE = column("string", "The dataset")
_RECORDS = column("int64", "Events; of a replicated table changes, or live rows by their newest change")
_UNIQUE_KEYS = column("int64", "Distinct keys among them")
_REJECTS = column("int64", "Records in quarantine, by the day they landed")
_QUALITY = column("double", "Mean quality score, 0 to 1, of the records")
_FIRST = column("timestamp", "The earliest event, or commit of a change")
_LAST = column("timestamp", "The latest event, or commit of a change")


def daily_summary(datasets: Mapping[str, Dataset]) -> GoldTable:
    """Records, keys, rejects, quality and first and last event of every source and day."""

    def compute(frames: Mapping[str, Frame]) -> Frame:
        parts = []
        for name, dataset in datasets.items():
            if (records := _records(frames, dataset)) is not None:
                parts.append(_figures(records, name, dataset, by={EVENT_DATE: nw.col(EVENT_DATE)}))
            if (quarantine := frames.get(rejects_of(dataset).table)) is not None:
                parts.append(_rejects(quarantine, name))
        summed = nw.concat(parts, how="vertical").group_by("source", EVENT_DATE).agg(*_add_up())
        return summed.with_columns(_mean_quality())

    return GoldTable(
        name="daily_summary",
        description="Per source and day: records, distinct keys, rejects, mean quality, first and last event.",
        sources=tuple(source for d in datasets.values() for source in (records_of(d), rejects_of(d))),
        columns={
            "source": _SOURCE,
            EVENT_DATE: column("date", "The day of the events or of the commits; of the landing for rejects"),
            "records": _RECORDS,
            "unique_keys": _UNIQUE_KEYS,
            "rejects": _REJECTS,
            "mean_quality": _QUALITY,
            "first_event": _FIRST,
            "last_event": _LAST,
        },
        key=("source", EVENT_DATE),
        compute=compute,
        by_source=True,
    )


def hourly_metrics(datasets: Mapping[str, Dataset]) -> GoldTable:
    """A time series of every source by hour."""

    def compute(frames: Mapping[str, Frame]) -> Frame:
        parts = []
        for name, dataset in datasets.items():
            if (records := _records(frames, dataset)) is not None:
                by = {EVENT_DATE: nw.col(EVENT_DATE), "hour": nw.col(EVENT_TIME).dt.truncate("1h")}
                parts.append(_figures(records, name, dataset, by=by))
        return nw.concat(parts, how="vertical").with_columns(_mean_quality())

    return GoldTable(
        name="hourly_metrics",
        description="Per source and hour: records, distinct keys, mean quality, first and last event.",
        sources=tuple(records_of(dataset) for dataset in datasets.values()),
        columns={
            "source": _SOURCE,
            EVENT_DATE: column("date", "The day of the hour"),
            "hour": column("timestamp", "The hour's beginning, UTC"),
            "records": _RECORDS,
            "unique_keys": _UNIQUE_KEYS,
            "mean_quality": _QUALITY,
            "first_event": _FIRST,
            "last_event": _LAST,
        },
        key=("source", "hour"),
        compute=compute,
        by_source=True,
    )


def source_statistics(datasets: Mapping[str, Dataset]) -> GoldTable:
    """What there is of every source in all: the daily figures of streams, the live rows of replicated tables."""
    replicated = {name: d for name, d in datasets.items() if isinstance(d, CdcTable)}

    def compute(frames: Mapping[str, Frame]) -> Frame:
        parts = []
        if (daily := frames.get(_DAILY)) is not None:
            weighed = millionths(nw.col("mean_quality")).fill_null(0) * nw.col("records")
            days = daily.with_columns(weighed.alias(_QUALITY_SUM), nw.lit(1).cast(nw.Int64).alias("days"))
            live = nw.col("source").is_in(sorted(replicated))
            parts += [days.filter(~live).select(*_FIGURES), _without_records(days.filter(live)).select(*_FIGURES)]
        for name, dataset in replicated.items():
            if (rows := frames.get(rows_of(dataset).table)) is not None:
                parts.append(_live_rows(rows, name))
        summed = nw.concat(parts, how="vertical").group_by("source").agg(*_add_up(), nw.col("days").sum())
        seen = nw.col("records") + nw.col("rejects")
        fraction = nw.when(seen > 0).then(nw.col("rejects").cast(nw.Float64) / seen.cast(nw.Float64)).otherwise(0.0)
        return summed.with_columns(_mean_quality(), fraction.alias("rejected_fraction"))

    return GoldTable(
        name="source_statistics",
        description="Per source: days, records, keys, rejects and their fraction, mean quality, first and last event.",
        sources=(Source(_DAILY, None), *(rows_of(dataset) for dataset in replicated.values())),
        columns={
            "source": _SOURCE,
            "days": column("int64", "Days that have records, changes or rejects"),
            "records": column("int64", "Events; live rows of a replicated table"),
            "unique_keys": column("int64", "Distinct keys: of each day, summed, for events"),
            "rejects": column("int64", "Records in quarantine"),
            "rejected_fraction": column("double", "Rejects among all records, 0 to 1"),
            "mean_quality": _QUALITY,
            "first_event": column("timestamp", "The earliest event, or event time of a live row"),
            "last_event": column("timestamp", "The latest event, or event time of a live row"),
        },
        key=("source",),
        compute=compute,
        daily=False,
    )


def _records(frames: Mapping[str, Frame], dataset: Dataset) -> Frame | None:
    """A dataset's events, or changes of a table as if these were events: what `records_of` names; None without it."""
    records = frames.get(records_of(dataset).table)
    if records is None or not isinstance(dataset, CdcTable):
        return records
    committed = nw.col(COMMITTED_AT)
    return records.with_columns(committed.alias(EVENT_TIME), committed.dt.date().alias(EVENT_DATE))


def _live_rows(silver: Frame, name: str) -> Frame:
    """The figures of a replicated table's live rows: a key stands in one of them, so rows are keys."""
    rows, no_days = nw.len().cast(nw.Int64), nw.lit(0).cast(nw.Int64)
    quality = millionths().sum().alias(_QUALITY_SUM)
    first, last = nw.col(EVENT_TIME).min().alias("first_event"), nw.col(EVENT_TIME).max().alias("last_event")
    counted = silver.select(rows.alias("records"), quality, first, last).filter(nw.col("records") > 0)
    return counted.with_columns(
        nw.lit(name).alias("source"),
        no_days.alias("days"),
        nw.col("records").alias("unique_keys"),
        no_days.alias("rejects"),
    ).select(*_FIGURES)


def _without_records(figures: Frame) -> Frame:
    """Figures of days with nothing left but how many days and rejects they are."""
    none, no_time = nw.lit(0).cast(nw.Int64), nw.lit(None).cast(nw.Datetime("us", "UTC"))
    empty = [none.alias(name) for name in ("records", "unique_keys", _QUALITY_SUM)]
    return figures.with_columns(*empty, no_time.alias("first_event"), no_time.alias("last_event"))


def _figures(silver: Frame, name: str, dataset: Dataset, *, by: Mapping[str, nw.Expr]) -> Frame:
    """The figures of one source, grouped. Quality is summed in whole millionths so that the sum is exact.

    Silver has a key once: where a row is a key, rows are counted, and a history's keys are told apart first.
    """
    groups = [expression.alias(n) for n, expression in by.items()]
    first, last = nw.col(EVENT_TIME).min().alias("first_event"), nw.col(EVENT_TIME).max().alias("last_event")
    rows = nw.len().cast(nw.Int64).alias("records")
    sums = [nw.col(_QUALITY_SUM).sum(), first, last]
    if isinstance(dataset, CdcTable) and dataset.history:
        # A dataset's columns may be called as ours are: its key gets names of its own.
        key = {f"_key_{n}": nw.col(k) for n, k in enumerate(dataset.key)}
        named = [column.alias(n) for n, column in key.items()]
        keys = (
            silver.select(*groups, *named, millionths().alias(_QUALITY_SUM), EVENT_TIME)
            .group_by(*by, *key)
            .agg(rows, *sums)
        )
        figures = keys.group_by(*by).agg(
            nw.col("records").sum(),
            nw.len().cast(nw.Int64).alias("unique_keys"),
            nw.col(_QUALITY_SUM).sum(),
            nw.col("first_event").min(),
            nw.col("last_event").max(),
        )
    else:
        figures = silver.select(*groups, millionths().alias(_QUALITY_SUM), EVENT_TIME).group_by(*by).agg(rows, *sums)
        figures = figures.with_columns(nw.col("records").alias("unique_keys"))
    return figures.select(
        nw.lit(name).alias("source"),
        *by,
        "records",
        "unique_keys",
        nw.lit(0).cast(nw.Int64).alias("rejects"),
        _QUALITY_SUM,
        "first_event",
        "last_event",
    )


def _rejects(quarantine: Frame, name: str) -> Frame:
    """The rejects of one source by the day they landed, in the shape of `_figures`."""
    landed = nw.col("partition").str.slice(0, len("2026-01-31")).str.to_date(format="%Y-%m-%d")
    counted = (
        quarantine.with_columns(landed.alias(EVENT_DATE))
        .group_by(EVENT_DATE)
        .agg(nw.len().cast(nw.Int64).alias("rejects"))
    )
    none, no_time = nw.lit(0).cast(nw.Int64), nw.lit(None).cast(nw.Datetime("us", "UTC"))
    return counted.select(
        nw.lit(name).alias("source"),
        EVENT_DATE,
        none.alias("records"),
        none.alias("unique_keys"),
        "rejects",
        none.alias(_QUALITY_SUM),
        no_time.alias("first_event"),
        no_time.alias("last_event"),
    )


def _add_up() -> list[nw.Expr]:
    sums = [nw.col(name).sum() for name in ("records", "unique_keys", "rejects", _QUALITY_SUM)]
    return [*sums, nw.col("first_event").min(), nw.col("last_event").max()]


def _mean_quality() -> nw.Expr:
    """The mean score of the records that were summed; null where there are none."""
    records = nw.col("records").cast(nw.Float64)
    mean = nw.col(_QUALITY_SUM).cast(nw.Float64) / (records * SCALE)
    return nw.when(nw.col("records") > 0).then(mean).alias("mean_quality")
