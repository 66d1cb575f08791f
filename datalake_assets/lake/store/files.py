"""Parquet files of Delta tables: writing them with honest statistics, and the actions that enter them in a log.

Belongs here: bytes and bounds. Which files a commit adds and removes is decided by `table.py` and its callers.
Statistics follow the Delta protocol, "Per-file Statistics"; a bound that can't be given exactly is left out or widened,
because a bound that is too narrow hides rows from every reader that prunes.
"""

import json
import uuid
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from io import BytesIO
from pathlib import Path
from typing import Any

import polars as pl
from deltalake.transaction import AddAction

from datalake_assets.lake.spec.columns import EVENT_DATE, EVENT_MONTH
from datalake_assets.lake.spec.table_spec import TableSpec
from datalake_assets.lake.store.object_store import is_remote, put

_NULL_FOLDER = "__HIVE_DEFAULT_PARTITION__"
_BOUND_CHARACTERS = 64
_ABOVE_ALL = "\U0010ffff"
_LAST = datetime(9999, 12, 31, tzinfo=UTC)


def write_files(
    frame: pl.DataFrame, uri: str, spec: TableSpec, *, rows_per_file: int | None = None, moved: bool = False
) -> list[AddAction]:
    """Write rows as Parquet under a table's place, by its partitions; nobody sees them before a commit names them.

    They lie in the order that the registry asks for, at most `rows_per_file` in a file (None: as it says). `moved`: the
    rows are the table's already.
    """
    if frame.is_empty():
        return []
    if spec.clustered_by:
        frame = frame.sort(spec.clustered_by)
    if EVENT_MONTH in spec.partition_by:
        frame = frame.with_columns(pl.col(EVENT_DATE).dt.month_start().alias(EVENT_MONTH))
    parts: list[tuple[tuple[Any, ...], pl.DataFrame]] = [((), frame)]
    if spec.partition_by:
        named = frame.partition_by(spec.partition_by, as_dict=True, include_key=False)
        parts = sorted(named.items(), key=lambda part: tuple(str(v) for v in part[0]))
    actions: list[AddAction] = []
    for values, rows in parts:
        texts = {name: partition_text(v) for name, v in zip(spec.partition_by, values, strict=True)}
        folder = "".join(f"{name}={_NULL_FOLDER if text is None else text}/" for name, text in texts.items())
        actions += [
            _write(piece, uri, f"{folder}{uuid.uuid4()}.parquet", texts, spec, moved=moved)
            for piece in rows.iter_slices(rows_per_file or spec.rows_per_file)
        ]
    return actions


def partition_text(value: Any) -> str | None:
    """The value of a partition's column as a Delta log has it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return None if value is None else str(value)


def _write(
    rows: pl.DataFrame, uri: str, path: str, partition_values: dict[str, str | None], spec: TableSpec, *, moved: bool
) -> AddAction:
    if is_remote(uri):
        rows.write_parquet(buffer := BytesIO(), compression="zstd", compression_level=1)
        put(uri, path, buffer.getvalue())
        size = buffer.tell()
    else:
        file = Path(uri, path)
        file.parent.mkdir(parents=True, exist_ok=True)
        rows.write_parquet(file, compression="zstd", compression_level=1)
        size = file.stat().st_size
    now = int(datetime.now(UTC).timestamp() * 1000)
    stats = json.dumps(statistics(rows, spec.statistics))
    return AddAction(path, size, partition_values, now, data_change=not moved, stats=stats)


def statistics(rows: pl.DataFrame, columns: Sequence[str]) -> dict[str, Any]:
    """The statistics of a file's rows for some columns, in the form of the Delta log."""
    known = [name for name in columns if name in rows.columns]
    found: dict[str, Any] = {"numRecords": rows.height, "minValues": {}, "maxValues": {}, "nullCount": {}}
    for name in known:
        values = rows[name]
        found["nullCount"][name] = values.null_count()
        bounds = _bounds(values)
        if bounds:
            found["minValues"][name], found["maxValues"][name] = bounds
    return found


def _bounds(values: pl.Series) -> tuple[Any, Any] | None:
    """The least and the greatest value as the log holds them, the latter rounded up where it must be cut."""
    if values.null_count() == len(values):
        return None
    if isinstance(values.dtype, pl.Datetime):
        return _bounds_of_moments(values.to_physical())
    if isinstance(values.dtype, pl.Date):
        return _bounds_of_days(values.to_physical())
    low, high = values.min(), values.max()
    if isinstance(low, Decimal) and isinstance(high, Decimal):
        return float(low), float(high)
    return _bounds_of_texts(low, high) if isinstance(low, str) and isinstance(high, str) else (low, high)


def _bounds_of_texts(low: str, high: str) -> tuple[str, str] | None:
    """The bounds of texts, cut short; None where nothing so short is above the greatest."""
    if high[_BOUND_CHARACTERS:] > _ABOVE_ALL:
        return None
    cut = high if len(high) <= _BOUND_CHARACTERS else high[:_BOUND_CHARACTERS] + _ABOVE_ALL
    return low[:_BOUND_CHARACTERS], cut


def _bounds_of_days(days: pl.Series) -> tuple[str, str] | None:
    """The bounds of dates; None outside the years 1 to 9999, which Postgres has and Python has not."""
    zero = date(1970, 1, 1)
    try:
        return str(zero + timedelta(days=int(days.min()))), str(zero + timedelta(days=int(days.max())))  # type: ignore[arg-type]  # whole numbers
    except OverflowError:
        return None


def _bounds_of_moments(ticks: pl.Series) -> tuple[str, str] | None:
    """The bounds of timestamps in whole milliseconds, as readers cut them; None outside the years 1 to 9999."""
    least, most = int(ticks.min()), int(ticks.max())  # type: ignore[arg-type]  # whole numbers
    zero = datetime(1970, 1, 1, tzinfo=UTC)
    try:
        first, last = zero + timedelta(milliseconds=least // 1000), zero + timedelta(milliseconds=-(-most // 1000))
    except OverflowError:
        return None
    return (_moment(first), _moment(last)) if last <= _LAST else None


def _moment(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
