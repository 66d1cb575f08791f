"""Changes of a table: their total order, the newest of each key, and the history.

Every function here is a maximum or a union over the set of changes, so the order in which files are processed, their
repetition and their splitting do not show in the result.
"""

from collections.abc import Sequence
from typing import Any

import narwhals as nw

from datalake_assets.lake.spec.columns import (
    CHANGE_ORDER,
    COMMITTED_AT,
    CONTENT_HASH,
    DELETE,
    EVENT_DATE,
    EVENT_TIME,
    IS_CURRENT,
    IS_LOAD,
    OPERATION,
    PATH,
    ROW_NUMBER,
    VALID_FROM,
    VALID_TO,
)

DELETED = "_deleted"

_SEQUENCE_WIDTH = 40
_MICROSECOND_WIDTH = 6
_ROW_WIDTH = 10
OLD_DATE, OLD_COMMIT, REPLACES = "_old_date", "_old_commit", "_replaces"
_OLD_ORDER, _BURIED_ORDER = "_old_order", "_buried_order"


def with_change_order(changes: nw.LazyFrame[Any], *, order_by: Sequence[str]) -> nw.LazyFrame[Any]:
    """Add `_change_order`, a text by which changes sort in their total order.

    A load comes before any change, as its stamp is the time of transfer (facts of AWS DMS: TimestampColumnName); then
    the declared sequence columns decide, the commit time, the file (its name is its time), and the row in the file.
    The commit time is written as digits, because Narwhals has no epoch on Spark.
    """
    sequence = [nw.col(name).cast(nw.String).fill_null("").str.zfill(_SEQUENCE_WIDTH) for name in order_by]
    second = nw.col(COMMITTED_AT).dt.to_string("%Y%m%d%H%M%S").fill_null("")
    microsecond = nw.col(COMMITTED_AT).dt.microsecond().cast(nw.String).fill_null("").str.zfill(_MICROSECOND_WIDTH)
    phase = nw.when(nw.col(IS_LOAD)).then(nw.lit("0")).otherwise(nw.lit("1"))
    row = nw.col(ROW_NUMBER).cast(nw.String).str.zfill(_ROW_WIDTH)
    parts = [phase, *sequence, second, microsecond, nw.col(PATH), row]
    return changes.with_columns(nw.concat_str(parts, separator="|").alias(CHANGE_ORDER))


def newest(changes: nw.LazyFrame[Any], *, key: Sequence[str]) -> nw.LazyFrame[Any]:
    """The newest change of each key."""
    return changes.filter(nw.col(CHANGE_ORDER) == nw.col(CHANGE_ORDER).max().over(*key))


def decide(
    changes: nw.LazyFrame[Any],
    *,
    key: Sequence[str],
    live: nw.LazyFrame[Any],
    tombstones: nw.LazyFrame[Any],
) -> nw.LazyFrame[Any]:
    """What the newest changes do to the live rows.

    `changes` has one row per key; `live` and `tombstones` are the rows that the tables have for these keys. Returns
    the changes that are newer than both, with `_deleted` (the row goes), `_replaces` (there is a row that is replaced
    or goes), `_old_date` (the event date of that row) and `_old_commit` (when its change was committed). A delete asks
    the live row alone, not its own tombstone, so that a run that died between writing the two is made good by the next.
    """
    was = {CHANGE_ORDER: _OLD_ORDER, EVENT_DATE: OLD_DATE, COMMITTED_AT: OLD_COMMIT}
    frame = _beside(changes, live, key=key, columns=was)
    frame = _beside(frame, tombstones, key=key, columns={CHANGE_ORDER: _BURIED_ORDER})
    order, old, buried = nw.col(CHANGE_ORDER), nw.col(_OLD_ORDER), nw.col(_BURIED_ORDER)
    deletes = nw.col(OPERATION) == DELETE
    removes = deletes & ~old.is_null() & (order > old)
    writes = ~deletes & (old.is_null() | (order > old)) & (buried.is_null() | (order > buried))
    marked = frame.filter(removes | writes).with_columns(deletes.alias(DELETED), (~old.is_null()).alias(REPLACES))
    return marked.drop(_OLD_ORDER, _BURIED_ORDER)


def new_tombstones(
    changes: nw.LazyFrame[Any], *, key: Sequence[str], tombstones: nw.LazyFrame[Any]
) -> nw.LazyFrame[Any]:
    """The tombstones to write: key and order of the newest delete of each key, where it is newer than the known one.

    A delete that a later insert undid counts too: so a tombstone is the greatest of all deletes that ever landed, and
    does not depend on which changes were processed together.
    """
    deletes = newest(changes.filter(nw.col(OPERATION) == DELETE).select(*key, CHANGE_ORDER), key=key)
    frame = _beside(deletes, tombstones, key=key, columns={CHANGE_ORDER: _BURIED_ORDER})
    buried = nw.col(_BURIED_ORDER)
    return frame.filter(buried.is_null() | (nw.col(CHANGE_ORDER) > buried)).select(*key, CHANGE_ORDER)


def history_identity(key: Sequence[str]) -> list[str]:
    """What makes two landed changes the same change: file and sequence are left out, as DMS may send it again."""
    return [*key, OPERATION, COMMITTED_AT, CONTENT_HASH]


def known_changes(
    changes: nw.LazyFrame[Any], existing: nw.LazyFrame[Any], *, key: Sequence[str], columns: Sequence[str]
) -> nw.LazyFrame[Any]:
    """All that is known of the keys of some changes: what the history has of them, and what was read now.

    A change that is read again stands once.
    """
    place = [*key, CHANGE_ORDER]
    others = existing.join(changes.select(*place), on=place, how="anti")
    return nw.concat([others.select(*columns), changes.select(*columns)], how="vertical")


def with_validity(changes: nw.LazyFrame[Any], *, key: Sequence[str], columns: Sequence[str]) -> nw.LazyFrame[Any]:
    """The history (type 2) of all changes of some keys.

    `changes` are all that is known of these keys, `columns` the columns to return beside the validity. Of copies of
    one change the one with the greatest order stays. A change is valid from its commit (never before that of its
    predecessor) to the next one; `is_current` is true for the newest change unless it is a delete. A delete without an
    event time belongs to the date of the row it deletes, as that is known by now.
    """
    order = CHANGE_ORDER
    known = newest(changes, key=history_identity(key))
    from_ = nw.col(COMMITTED_AT).cum_max().over(*key, order_by=order)
    known = known.with_columns(from_.alias(VALID_FROM))
    own_date = nw.when((nw.col(OPERATION) != DELETE) | ~nw.col(EVENT_TIME).is_null()).then(nw.col(EVENT_DATE))
    known = known.with_columns(own_date.alias("_own_date"))
    last_date = nw.col("_own_date").fill_null(strategy="forward").over(*key, order_by=order)
    date_ = nw.when(nw.col(OPERATION) == DELETE).then(nw.col("_last_date")).otherwise(nw.col(EVENT_DATE))
    to = nw.col(VALID_FROM).shift(-1).over(*key, order_by=order)
    is_newest = nw.col(order) == nw.col(order).max().over(*key)
    known = known.with_columns(
        last_date.alias("_last_date"), to.alias(VALID_TO), (is_newest & (nw.col(OPERATION) != DELETE)).alias(IS_CURRENT)
    )
    return known.with_columns(date_.alias(EVENT_DATE)).select(*columns, VALID_FROM, VALID_TO, IS_CURRENT)


def changed_history(
    history: nw.LazyFrame[Any], existing: nw.LazyFrame[Any], *, key: Sequence[str]
) -> nw.LazyFrame[Any]:
    """The rows of a recomputed history that the table lacks or has otherwise; `_replaces` tells which it has."""
    compared = {c: f"_was_{c}" for c in (VALID_FROM, VALID_TO, IS_CURRENT, CHANGE_ORDER, EVENT_DATE)}
    identity = history_identity(key)
    was = existing.select(*identity, *(nw.col(c).alias(old) for c, old in compared.items()))
    beside = history.join(was, on=identity, how="left")
    known = ~nw.col(compared[CHANGE_ORDER]).is_null()
    same = [
        (nw.col(c) == nw.col(old)).fill_null(value=False) | (nw.col(c).is_null() & nw.col(old).is_null())
        for c, old in compared.items()
    ]
    changed = ~known | ~nw.all_horizontal(*same, ignore_nulls=False)
    return beside.with_columns(known.alias(REPLACES)).filter(changed).drop(*compared.values())


def _beside(
    frame: nw.LazyFrame[Any], table: nw.LazyFrame[Any], *, key: Sequence[str], columns: dict[str, str]
) -> nw.LazyFrame[Any]:
    """The frame with some of a table's columns beside each key, under other names; null where the table lacks it."""
    picked = table.select(*key, *(nw.col(c).alias(name) for c, name in columns.items()))
    return frame.join(picked, on=list(key), how="left")
