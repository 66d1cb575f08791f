"""Changes of a table: their total order, the newest of each key, and the history.

Every function here is a maximum or a union over the set of changes, so the order in which files are processed, their
repetition and their splitting do not show in the result.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import narwhals as nw

from datalake_assets.lake.spec.columns import (
    COMMITTED_AT,
    CONTENT_HASH,
    DELETE,
    EVENT_DATE,
    EVENT_TIME,
    FILE_TIME,
    GENERATION,
    IS_CHANGE,
    IS_CURRENT,
    LEFT_OUT,
    OPERATION,
    QUALITY_SCORE,
    RELOADED,
    ROW_NUMBER,
    SOURCE_FILENAME,
    VALID_FROM,
    VALID_TO,
)

DELETED = "_deleted"
CLOCK_SKEW = timedelta(milliseconds=100)
"""How much later than DMS's a source's clock may go; those of AWS agree within a millisecond."""

_LAST_SEQUENCE = Decimal("9" * 38)
OLD_DATE, OLD_COMMIT, REPLACES = "_old_date", "_old_commit", "_replaces"
_OLD, _BURIED = "_old_", "_buried_"
_LIFE, _TOLD, _COUNT = "_life", "_told", "_count"
Columns = Sequence[str]


def with_generation(changes: nw.LazyFrame[Any], reloads: Sequence[datetime]) -> nw.LazyFrame[Any]:
    """Tell after how many reloads of its table (given by when they began, UTC) each change comes.

    A change belongs to the load before it by its commit, and to the next one from `CLOCK_SKEW` before that began: what
    is applied again does no harm, as all that came after it is applied again too.
    """
    begun = [
        nw.when(nw.col(IS_CHANGE)).then(nw.col(COMMITTED_AT) >= at - CLOCK_SKEW).otherwise(nw.col(COMMITTED_AT) >= at)
        for at in reloads
    ]
    return changes.with_columns(nw.sum_horizontal(*(b.cast(nw.Int64) for b in begun)).alias(GENERATION))


def removals(
    known: nw.LazyFrame[Any], *, key: Columns, order: Columns, blank: Columns, generation: int, at: datetime, file: str
) -> nw.LazyFrame[Any]:
    """The deletes that a complete reload stands for, among all that is known of some keys: of the rows it lacks.

    `generation` counts the reload, which began `at`; `blank` are the columns that a delete has no values in, `file` is
    the reload's first. They come after all changes before the reload.
    """
    before = newest(known.filter(nw.col(GENERATION) < generation), key=key, order=order)
    loaded = known.filter(nw.col(GENERATION) == generation, ~nw.col(IS_CHANGE)).select(*key).unique()
    lacking = before.filter(nw.col(OPERATION) != DELETE).join(loaded, on=list(key), how="anti")
    types = known.collect_schema()
    last = at - CLOCK_SKEW - timedelta(microseconds=1)
    told: dict[str, Any] = {
        **{name: _LAST_SEQUENCE for name in order if name.startswith("_sequence_")},
        OPERATION: DELETE, IS_CHANGE: True, COMMITTED_AT: last, FILE_TIME: last, SOURCE_FILENAME: file,
        ROW_NUMBER: 0, CONTENT_HASH: RELOADED, QUALITY_SCORE: 0.0, GENERATION: generation - 1,
    }  # fmt: skip
    return lacking.with_columns(
        *(nw.lit(None).cast(types[name]).alias(name) for name in blank),
        *(nw.lit(value).cast(types[name]).alias(name) for name, value in told.items()),
    )


def without_row(history: nw.LazyFrame[Any], *, key: Columns, generation: int, at: datetime) -> nw.LazyFrame[Any]:
    """The keys, among those of a history, of rows that there were when a reload began (`at`), and that it lacks.

    There may be some more among them: what the history is to have for a key is worked out from all of its changes.
    """
    still = nw.col(VALID_TO).is_null() | (nw.col(VALID_TO) >= at - CLOCK_SKEW - timedelta(microseconds=1))
    there = history.filter(nw.col(GENERATION) < generation, nw.col(OPERATION) != DELETE, still)
    loaded = history.filter(nw.col(GENERATION) == generation, ~nw.col(IS_CHANGE))
    return there.select(*key).unique().join(loaded.select(*key).unique(), on=list(key), how="anti")


def newest(changes: nw.LazyFrame[Any], *, key: Columns, order: Columns) -> nw.LazyFrame[Any]:
    """The newest change of each key; `order` are the columns that tell it, the most significant first."""
    if not changes.implementation.is_polars():  # Spark shuffles once for all columns, and would do it twice for parts
        return _newest_of_many(changes, key=key, order=order)
    counted = changes.with_columns(nw.len().over(*key).alias(_COUNT))
    alone, others = (counted.filter(which).drop(_COUNT) for which in (nw.col(_COUNT) == 1, nw.col(_COUNT) > 1))
    return nw.concat([alone, _newest_of_many(others, key=key, order=order)], how="vertical")


def _newest_of_many(changes: nw.LazyFrame[Any], *, key: Columns, order: Columns) -> nw.LazyFrame[Any]:
    for name in order:
        changes = changes.filter(nw.col(name) == nw.col(name).max().over(*key))
    return changes


def _is_later(order: Columns, *, than: str, or_same: bool = False) -> nw.Expr:
    """Whether a change comes after the one whose order stands under a prefix; true where there is none."""
    later = nw.lit(value=or_same)
    for name in reversed(order):
        own, other = nw.col(name), nw.col(f"{than}{name}")
        later = (own > other) | ((own == other) & later)
    return nw.col(f"{than}{order[0]}").is_null() | later


def decide(
    changes: nw.LazyFrame[Any],
    *,
    key: Columns,
    order: Columns,
    live: nw.LazyFrame[Any],
    tombstones: nw.LazyFrame[Any],
    again: bool = False,
) -> nw.LazyFrame[Any]:
    """What the newest changes do to the live rows.

    `changes` has one row per key; `live` and `tombstones` are the rows that the tables have for these keys. Returns
    the changes that are newer than both, with `_deleted` (the row goes), `_replaces` (there is a row that is replaced
    or goes), `_old_date` (the event date of that row) and `_old_commit` (when its change was committed). A delete asks
    the live row alone, not its own tombstone, so that a run that died between writing the two is made good by the next.
    With `again` the change that a live row shows is written again, as its values may be others now.
    """
    was, buried = ({name: f"{prefix}{name}" for name in order} for prefix in (_OLD, _BURIED))
    frame = _beside(changes, live, key=key, columns=was | {EVENT_DATE: OLD_DATE})
    frame = _beside(frame, tombstones, key=key, columns=buried)
    deletes, lives = nw.col(OPERATION) == DELETE, ~nw.col(was[order[0]]).is_null()
    done = nw.when(deletes).then(lives).otherwise(_is_later(order, than=_BURIED))
    marked = frame.filter(_is_later(order, than=_OLD, or_same=again), done)
    marked = marked.with_columns(
        deletes.alias(DELETED), lives.alias(REPLACES), nw.col(was[COMMITTED_AT]).alias(OLD_COMMIT)
    )
    return marked.drop(*was.values(), *buried.values())


def new_tombstones(
    changes: nw.LazyFrame[Any], *, key: Columns, order: Columns, tombstones: nw.LazyFrame[Any]
) -> nw.LazyFrame[Any]:
    """The tombstones to write: key and order of the newest delete of each key, where it is newer than the known one.

    A delete that a later insert undid counts too: so a tombstone is the greatest of all deletes that ever landed, and
    does not depend on which changes were processed together.
    """
    deletes = newest(changes.filter(nw.col(OPERATION) == DELETE).select(*key, *order), key=key, order=order)
    buried = {name: f"{_BURIED}{name}" for name in order}
    frame = _beside(deletes, tombstones, key=key, columns=buried)
    return frame.filter(_is_later(order, than=_BURIED)).select(*key, *order)


def history_identity(key: Columns) -> list[str]:
    """What makes two landed changes the same change: file and sequence are left out, as DMS may send it again."""
    return [*key, OPERATION, COMMITTED_AT, CONTENT_HASH]


def known_changes(
    changes: nw.LazyFrame[Any], existing: nw.LazyFrame[Any], *, key: Columns, order: Columns, columns: Columns
) -> nw.LazyFrame[Any]:
    """All that is known of the keys of some changes: what the history has of them, and what was read now.

    A change that is read again stands once.
    """
    place = [*key, *order]
    others = existing.join(changes.select(*place), on=place, how="anti")
    return nw.concat([others.select(*columns), changes.select(*columns)], how="vertical")


def with_kept_values(changes: nw.LazyFrame[Any], *, key: Columns, order: Columns, kept: Columns) -> nw.LazyFrame[Any]:
    """All that is known of some keys, with what updates left out: the value that the row had before, if it had any."""
    changes = newest(changes, key=history_identity(key), order=order)
    for name in kept:
        left_out = nw.col(LEFT_OUT).fill_null("").str.contains(f",{name},", literal=True)
        life = (~left_out).cast(nw.Int64).cum_sum().over(*key, order_by=order)
        told = nw.when(~left_out, nw.col(OPERATION) != DELETE).then(nw.col(name))
        changes = changes.with_columns(life.alias(_LIFE), told.alias(_TOLD))
        value = nw.when(left_out).then(nw.col(_TOLD).max().over(*key, _LIFE)).otherwise(nw.col(name))
        changes = changes.with_columns(value.alias(name)).drop(_LIFE, _TOLD)
    return changes


def with_validity(changes: nw.LazyFrame[Any], *, key: Columns, order: Columns, columns: Columns) -> nw.LazyFrame[Any]:
    """The history (type 2) of all changes of some keys.

    `changes` are all that is known of these keys, `columns` the columns to return beside the validity. Of copies of
    one change the one with the greatest order stays. A change is valid from its commit (never before that of its
    predecessor) to the next one; `is_current` is true for the newest change unless it is a delete. A delete without an
    event time belongs to the date of the row it deletes, as that is known by now.
    """
    known = newest(changes, key=history_identity(key), order=order)
    from_ = nw.col(COMMITTED_AT).cum_max().over(*key, order_by=order)
    known = known.with_columns(from_.alias(VALID_FROM))
    own_date = nw.when((nw.col(OPERATION) != DELETE) | ~nw.col(EVENT_TIME).is_null()).then(nw.col(EVENT_DATE))
    known = known.with_columns(own_date.alias("_own_date"))
    last_date = nw.col("_own_date").fill_null(strategy="forward").over(*key, order_by=order)
    date_ = nw.when(nw.col(OPERATION) == DELETE).then(nw.col("_last_date")).otherwise(nw.col(EVENT_DATE))
    to = nw.col(VALID_FROM).shift(-1).over(*key, order_by=order)
    is_newest = nw.col(VALID_FROM).shift(-1).over(*key, order_by=order).is_null()
    known = known.with_columns(
        last_date.alias("_last_date"), to.alias(VALID_TO), (is_newest & (nw.col(OPERATION) != DELETE)).alias(IS_CURRENT)
    )
    return known.with_columns(date_.alias(EVENT_DATE)).select(*columns, VALID_FROM, VALID_TO, IS_CURRENT)


def changed_history(
    history: nw.LazyFrame[Any], existing: nw.LazyFrame[Any], *, key: Columns, order: Columns, kept: Columns = ()
) -> nw.LazyFrame[Any]:
    """The rows of a recomputed history that the table lacks or has otherwise; `_replaces` tells which it has."""
    identity = history_identity(key)
    told = [c for c in (VALID_FROM, VALID_TO, IS_CURRENT, EVENT_DATE, *order, *kept) if c not in identity]
    compared = {c: f"{_OLD}{c}" for c in told}
    was = existing.select(*identity, *(nw.col(c).alias(old) for c, old in compared.items()))
    beside = history.join(was, on=identity, how="left")
    known = ~nw.col(compared[VALID_FROM]).is_null()
    same = [
        (nw.col(c) == nw.col(old)).fill_null(value=False) | (nw.col(c).is_null() & nw.col(old).is_null())
        for c, old in compared.items()
    ]
    changed = ~known | ~nw.all_horizontal(*same, ignore_nulls=False)
    return beside.with_columns(known.alias(REPLACES)).filter(changed).drop(*compared.values())


def _beside(
    frame: nw.LazyFrame[Any], table: nw.LazyFrame[Any], *, key: Columns, columns: dict[str, str]
) -> nw.LazyFrame[Any]:
    """The frame with some of a table's columns beside each key, under other names; null where the table lacks it."""
    picked = table.select(*key, *(nw.col(c).alias(name) for c, name in columns.items()))
    return frame.join(picked, on=list(key), how="left")
