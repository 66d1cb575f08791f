"""Events: each one once, and the copy that stays is chosen by the data.

An event is its identity within its event date, because copies of one event carry one event time; so a merge stays
inside the dates that new data touch. Of several copies the one with the latest event time stays, then the one with
the greatest record hash; copies equal in both are equal in content, and any may stay.
"""

from collections.abc import Sequence
from typing import Any

import narwhals as nw

from datalake_assets.lake.spec.columns import EVENT_DATE, EVENT_TIME, RECORD_HASH

REPLACES = "_replaces"
_COUNT = "_copies"
_RANK = [EVENT_TIME, RECORD_HASH]


def choose_copies(events: nw.LazyFrame[Any], *, identity: Sequence[str]) -> nw.LazyFrame[Any]:
    """One row per event of a batch: the copy that stays.

    Only events that occur more than once are sorted; the others pass by.
    """
    key = [EVENT_DATE, *identity]
    counted = events.with_columns(nw.len().over(*key).alias(_COUNT))
    alone = counted.filter(nw.col(_COUNT) == 1)
    # Copies with equal rank are equal in content: which of them stays does not show.
    best = counted.filter(nw.col(_COUNT) > 1).unique(key, keep="last", order_by=_RANK)
    return nw.concat([alone, best], how="vertical").drop(_COUNT)


def news(
    events: nw.LazyFrame[Any], existing: nw.LazyFrame[Any] | None, *, identity: Sequence[str]
) -> nw.LazyFrame[Any]:
    """The events that a table lacks, and those that outrank the copy it has.

    `events` has one row per event. The boolean column `_replaces` tells the latter from the former.
    """
    if existing is None:
        return events.with_columns(nw.lit(value=False).alias(REPLACES))
    key = [EVENT_DATE, *identity]
    time, content = "_existing_time", "_existing_hash"
    known = existing.select(*key, nw.col(EVENT_TIME).alias(time), nw.col(RECORD_HASH).alias(content))
    if RECORD_HASH in identity:
        return events.join(known.select(key), on=key, how="anti").with_columns(nw.lit(value=False).alias(REPLACES))
    outranks = (nw.col(EVENT_TIME) > nw.col(time)) | (
        (nw.col(EVENT_TIME) == nw.col(time)) & (nw.col(RECORD_HASH) > nw.col(content))
    )
    compared = events.join(known, on=key, how="left").with_columns((~nw.col(content).is_null()).alias(REPLACES))
    return compared.filter(~nw.col(REPLACES) | outranks).drop(time, content)
