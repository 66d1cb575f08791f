"""Events: each one once, and the copy that stays is chosen by the data.

An event is its identity within its event date, because copies of one event carry one event time; so a change stays
inside the dates that new data touch. Of several copies the one with the latest event time wins, then the one with the
greatest record hash; copies equal in both are the same bytes. Of these the one with the greatest score wins, which
tells them apart where the time of landing counts; else the lineage only decides which of them is shown.
"""

from collections.abc import Sequence
from typing import Any

import narwhals as nw

from datalake_assets.lake.spec.columns import (
    EVENT_DATE,
    EVENT_TIME,
    QUALITY_SCORE,
    RECORD_HASH,
    ROW_NUMBER,
    SOURCE_FILENAME,
)

SAME_RECORD = [EVENT_DATE, SOURCE_FILENAME, ROW_NUMBER, RECORD_HASH]
"""What tells one landed record from another: other bytes under an object's key, in its row, are another record."""

IS_NEW, OUTRANKS = "_is_new", "_outranks"
SAME_ROW = [*SAME_RECORD, QUALITY_SCORE]
"""What tells one reading of a record from another: under other rules of its dataset it has another score."""

_RANK = [EVENT_TIME, RECORD_HASH, QUALITY_SCORE, SOURCE_FILENAME, ROW_NUMBER]
_TIME, _HASH, _SCORE = "_existing_time", "_existing_hash", "_existing_score"
Frame = nw.LazyFrame[Any]


def winners(events: Frame, *, identity: Sequence[str]) -> Frame:
    """One row per event: the copy that wins."""
    # By copies of the columns: what Polars groups by it gives back with 0.0 for -0.0.
    schema = events.collect_schema()
    copies = {name: f"_of_{name}" for name in identity if schema[name].is_float()}
    marked = events.with_columns(nw.col(name).alias(copy) for name, copy in copies.items()) if copies else events
    one = marked.unique([EVENT_DATE, *(copies.get(name, name) for name in identity)], keep="last", order_by=_RANK)
    return one.drop(*copies.values())


def without(events: Frame, others: Frame, *, on: Sequence[str] = SAME_RECORD) -> Frame:
    """The rows that have no equal, in the columns `on`, among others."""
    return events.join(others.select(*on), on=list(on), how="anti")


def beside_existing(events: Frame, existing: Frame, *, identity: Sequence[str]) -> Frame:
    """One row per event with `_is_new` (the table lacks the event) and `_outranks` (the copy it has is weaker).

    `existing` are rows of the table, one per event. A copy equal to the one there in time, bytes and score is weaker.
    """
    key = [EVENT_DATE, *identity]
    found = {_TIME: EVENT_TIME, _HASH: RECORD_HASH, _SCORE: QUALITY_SCORE}
    known = existing.with_columns(nw.col(name).alias(alias) for alias, name in found.items()).select(*key, *found)
    compared = events.join(known, on=key, how="left")
    later = nw.col(EVENT_TIME) > nw.col(_TIME)
    at_once = nw.col(EVENT_TIME) == nw.col(_TIME)
    greater = at_once & (nw.col(RECORD_HASH) > nw.col(_HASH))
    better = at_once & (nw.col(RECORD_HASH) == nw.col(_HASH)) & (nw.col(QUALITY_SCORE) > nw.col(_SCORE))
    is_new = nw.col(_TIME).is_null()
    return compared.with_columns(
        is_new.alias(IS_NEW), (~is_new & (later | greater | better).fill_null(value=False)).alias(OUTRANKS)
    ).drop(*found)
