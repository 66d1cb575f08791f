"""A row of the ledger: what it is at first, and what changes in it by what happens to its object.

Belongs here: pure functions of rows. Which rows change together, and how that is committed, is in `ledger.py`.
"""

import json
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from typing import Any

from datalake_assets.lake.spec.dataset import Dataset
from datalake_assets.lake.store.landing import LandedObject, landing_time
from datalake_assets.lake.store.outcome import FAILED, MISSING, PROCESSED, SUPERSEDED, ObjectOutcome

ADMITTED = "admitted"
IDENTITY = ("key", "etag", "size")
_NO_DATE = datetime(1, 1, 1, tzinfo=UTC)
_UNDATED = "undated"
_SEVERAL_CONTRACTS = "several"  # what a step died over may stand in silver by more than one reading
_WRITTEN_WITHIN = timedelta(minutes=15)  # a step that has said nothing for so long counts as dead
_FIRST_WAIT, _LONGEST_WAIT = timedelta(minutes=1), timedelta(hours=24)
Identity = tuple[str, str, int]
Row = dict[str, Any]
_NOT_LOADED: Row = {"loaded_at": None, "loaded_until": None}


def identity_of(row: Row) -> Identity:
    """What tells the row's object from all others."""
    return row["key"], row["etag"], row["size"]


def begun_now(row: Row, dates: Iterable[date], *, contract: str, now: datetime) -> Row:
    """What changes in an object's row when its records are about to be written."""
    same = row["begun_at"] is None or row["contract"] == contract
    return {
        "status": ADMITTED,
        "retry_at": None,
        "begun_at": row["begun_at"] or now,
        "writing_since": now,
        "event_dates": sorted({*(row["event_dates"] or ()), *dates}),
        "contract": contract if same else _SEVERAL_CONTRACTS,
    }


def completed_now(row: Row, outcome: ObjectOutcome, *, contract: str, now: datetime) -> Row:
    """What changes in an object's row by what became of it."""
    return {"writing_since": None} | _completed(row, outcome, contract=contract, now=now)


def stays(row: Row, outcome: ObjectOutcome) -> bool:
    """Whether what a file of a full load said stays, though another object lies where it lay.

    It does where that is of a later load, by the times in its rows: DMS gives the files of every load the same names.
    And it does as long as nothing can be read that tells.
    """
    return row["loaded_at"] is not None and (
        outcome.loaded_at is None or bool(outcome.loaded_at > (row["loaded_until"] or row["loaded_at"]))
    )


def taken_back_now(row: Row, *, now: datetime) -> Row | None:
    """What changes in a row when another object has taken its key and what silver had of it is taken back.

    None: nothing yet, as a step that has not said that it is done may still write it.
    """
    if row["begun_at"] is None or (row["writing_since"] is not None and not is_overdue(row, now=now)):
        return None
    return {"begun_at": None, "processed_at": None, "event_dates": [], "writing_since": None} | _NOT_LOADED


def is_overdue(row: Row, *, now: datetime) -> bool:
    """Whether a step began to write an object long ago and never told what became of it."""
    return row["writing_since"] is not None and row["writing_since"] + _WRITTEN_WITHIN <= now


def _completed(row: Row, outcome: ObjectOutcome, *, contract: str, now: datetime) -> Row:
    if outcome.state == MISSING:
        was_unreadable = not row["rows_in"] and (row["bytes_rejected"] or 0) > 0
        kept = row["processed_at"] is not None and not was_unreadable  # nor where it was taken back since
        return {
            "status": PROCESSED if kept else MISSING,
            "reason": f"what it said is kept: {outcome.error}" if kept else "not there when it was to be read",
            "retry_at": None,
        }
    if outcome.state == SUPERSEDED:
        return {"status": SUPERSEDED, "reason": outcome.error, "retry_at": None}
    if outcome.state == FAILED and not outcome.final:
        attempts = (row["attempts"] or 0) + 1
        wait = min(_FIRST_WAIT * 2 ** min(attempts - 1, 20), _LONGEST_WAIT)
        return {"status": FAILED, "attempts": attempts, "reason": outcome.error, "retry_at": now + wait}
    return {
        "status": outcome.state,
        "attempts": 0 if outcome.state == PROCESSED else 1,
        "reason": outcome.error,
        "retry_at": None,
        "rows_in": outcome.rows_in,
        "rows_out": outcome.rows_out,
        "rows_rejected": outcome.rows_rejected,
        "bytes_rejected": outcome.unusable_bytes,
        "counted": json.dumps(dict(outcome.counted)) if outcome.counted else None,
        "event_dates": list(outcome.event_dates),
        "loaded_at": outcome.loaded_at,
        "loaded_until": outcome.loaded_until,
        "ends_load": outcome.ends_load,
        "load_settled": None,
        "contract": contract,
        "begun_at": row["begun_at"] or now,
        "processed_at": now,
    }


def new_row(dataset: Dataset, landed: LandedObject, now: datetime) -> Row:
    """The row of an object that is admitted now."""
    return {
        "dataset": dataset.name,
        "bucket": bucket_of(dataset, landed.key),
        "key": landed.key,
        "etag": landed.etag,
        "size": landed.size,
        "stamp": landed.stamp,
        "last_modified": landed.last_modified,
        "partition": landed.partition,
        "status": ADMITTED,
        "attempts": 0,
        "event_dates": [],
        "admitted_at": now,
    }


def bucket_of(dataset: Dataset, key: str) -> str:
    """Where a key's rows are kept: told by the name alone, so that no clock moves it."""
    moment = landing_time(key.removeprefix(f"{dataset.landing.prefix}/"), _NO_DATE)
    return _UNDATED if moment == _NO_DATE else moment.strftime("%Y-%m")
