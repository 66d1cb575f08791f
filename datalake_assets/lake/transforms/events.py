"""Events: each one once, and the copy that stays is chosen by the data.

An event is its identity within its event date, because copies of one event carry one event time; so a change stays
inside the dates that new data touch. Of several copies the one with the latest event time wins, then the one with the
greatest record hash; copies equal in both are the same bytes, and the lineage only decides which of them is shown.
"""

from collections.abc import Sequence
from typing import Any

import narwhals as nw

from datalake_assets.lake.spec.columns import EVENT_DATE, EVENT_TIME, RECORD_HASH, ROW_NUMBER, SOURCE_FILENAME

SAME_RECORD = [EVENT_DATE, SOURCE_FILENAME, ROW_NUMBER, RECORD_HASH]
"""What tells one landed record from another: other bytes under an object's key, in its row, are another record."""

IS_NEW, OUTRANKS = "_is_new", "_outranks"
_RANK = [EVENT_TIME, RECORD_HASH, SOURCE_FILENAME, ROW_NUMBER]
_TIME, _HASH = "_existing_time", "_existing_hash"
Frame = nw.LazyFrame[Any]


def winners(events: Frame, *, identity: Sequence[str]) -> Frame:
    """One row per event: the copy that wins."""
    return events.unique([EVENT_DATE, *identity], keep="last", order_by=_RANK)


def without(events: Frame, others: Frame, *, on: Sequence[str] = SAME_RECORD) -> Frame:
    """The rows that have no equal, in the columns `on`, among others."""
    return events.join(others.select(*on), on=list(on), how="anti")


def beside_existing(events: Frame, existing: Frame, *, identity: Sequence[str]) -> Frame:
    """One row per event with `_is_new` (the table lacks the event) and `_outranks` (the copy it has is weaker).

    `existing` are rows of the table, one per event. A copy equal to the table's in time and bytes does not outrank it.
    """
    key = [EVENT_DATE, *identity]
    content = nw.col(RECORD_HASH)
    known = existing.select(*key, nw.col(EVENT_TIME).alias(_TIME), content.alias(_HASH))
    if RECORD_HASH in identity:
        known = existing.select(*key, nw.col(EVENT_TIME).alias(_TIME)).with_columns(nw.col(RECORD_HASH).alias(_HASH))
    compared = events.join(known, on=key, how="left")
    later = nw.col(EVENT_TIME) > nw.col(_TIME)
    greater = (nw.col(EVENT_TIME) == nw.col(_TIME)) & (nw.col(RECORD_HASH) > nw.col(_HASH))
    is_new = nw.col(_TIME).is_null()
    return compared.with_columns(
        is_new.alias(IS_NEW), (~is_new & (later | greater).fill_null(value=False)).alias(OUTRANKS)
    ).drop(_TIME, _HASH)
