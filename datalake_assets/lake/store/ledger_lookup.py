"""Finding objects in the ledger: by what a listing shows of them, and by the keys that they share.

Belongs here: reading. What changes in the ledger, and when, is in `ledger.py` and `ledger_rows.py`.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime

import polars as pl

from datalake_assets.lake.spec.dataset import Dataset
from datalake_assets.lake.store.landing import LandedObject
from datalake_assets.lake.store.ledger_rows import IDENTITY, Row, bucket_of, is_overdue
from datalake_assets.lake.store.outcome import SUPERSEDED
from datalake_assets.lake.store.snapshot import Snapshot

_TOLD_APART_BY = (*IDENTITY, "stamp", "partition", "status", "retry_at", "reason", "writing_since")
Identify = Callable[[LandedObject], LandedObject | None]


@dataclass(frozen=True, slots=True)
class Known:
    """An object as the ledger has it.

    `dates` are the event dates on which silver may hold records of it or of what lay under its key before; `begun`
    tells whether it may hold any. `contract` is the one it was read under last, `was_processed` whether silver holds it
    as it was read then, and `holds_rows` whether it may have rows of it. `overwrites`: silver may hold records of what
    lay there before, in the partitions `before`; `loaded_before` is when the last row of that was transferred, where
    it was a file of a full load that told it.
    """

    landed: LandedObject
    status: str
    begun: bool
    dates: frozenset[date]
    contract: str | None
    was_processed: bool
    holds_rows: bool
    overwrites: bool
    before: frozenset[str]
    loaded_before: datetime | None = None


@dataclass(frozen=True, slots=True)
class Waiting:
    """What a listing shows that is to be read now, and what has to wait: one line for each object, with the reason.

    `known` are those that the ledger has by another look, as away, or as processed too soon: to be admitted at once, as
    their partition is fixed already.
    """

    now: list[LandedObject]
    known: list[LandedObject]
    later: list[str]


@dataclass(frozen=True, slots=True)
class Match:
    """An object of a listing, with its partition as the ledger has it, beside its row (None: unknown).

    `written_over`: a step that is given up may have written what lay under its key before, and later than the object
    itself was brought to silver: that is to be read again, to take the older back.
    """

    landed: LandedObject
    row: Row | None
    written_over: bool = False


def match(
    seen: Snapshot, dataset: Dataset, listed: Sequence[LandedObject], *, identify: Identify, now: datetime
) -> list[Match]:
    """The objects of a listing as the ledger has them; those that `identify` finds gone are left out.

    An object is recognised by what the listing shows of it; only where that is new must its bytes be looked at.
    """
    keys = [o.key for o in listed]
    rows = rows_of_keys(seen, within(dataset, keys), keys, columns=_TOLD_APART_BY)
    by_key: dict[str, list[Row]] = {}
    for entry in rows.iter_rows(named=True):
        by_key.setdefault(entry["key"], []).append(entry)
    found: list[Match] = []
    for landed in {o.key: o for o in listed}.values():  # a key that was listed twice has its later object
        own = by_key.get(landed.key, [])
        row: Row | None = next((r for r in own if landed.stamp and r["stamp"] == landed.stamp), None)
        known = landed if row is None else replace(landed, etag=str(row["etag"]))
        if row is None:
            identified = identify(landed) if not landed.etag else landed
            if identified is None:
                continue
            known = identified
            row = next((r for r in own if (r["key"], r["etag"], r["size"]) == known.identity), None)
        partition = known.partition if row is None else str(row["partition"])
        over = row is not None and any(r["status"] == SUPERSEDED and is_overdue(r, now=now) for r in own if r != row)
        found.append(Match(replace(known, partition=partition), row, over))
    return found


def known_objects(seen: Snapshot, dataset: str, rows: pl.DataFrame) -> list[Known]:
    """Rows as objects, with what the ledger tells of others under the same keys."""
    before: dict[str, set[date]] = {}
    overwrites: dict[str, set[str]] = {}
    loaded: dict[str, list[datetime | None]] = {}
    if rows.height:
        buckets = rows["bucket"].unique().to_list()
        siblings = (
            seen.scan({"dataset": [dataset], "bucket": buckets})
            .filter(pl.col("status") == SUPERSEDED, pl.col("begun_at").is_not_null())
            .select("key", "event_dates", "partition", "loaded_until", "rows_out", "writing_since")
            .join(rows.lazy().select("key"), on="key", how="semi")
            .collect()
        )
        for key, dates, partition, loaded_until, rows_out, writing_since in siblings.iter_rows():
            overwrites.setdefault(key, set()).add(partition)
            if rows_out != 0 or writing_since is not None:
                loaded.setdefault(key, []).append(loaded_until)
            before.setdefault(key, set()).update(dates or ())
    return [
        Known(
            landed=LandedObject(
                key=r["key"],
                etag=r["etag"],
                size=r["size"],
                last_modified=r["last_modified"],
                partition=r["partition"],
                stamp=r["stamp"],
            ),
            status=r["status"],
            begun=r["begun_at"] is not None or r["key"] in overwrites,
            dates=frozenset({*(r["event_dates"] or ()), *before.get(r["key"], ())}),
            contract=r["contract"],
            was_processed=r["processed_at"] is not None,
            holds_rows=r["begun_at"] is not None and (r["rows_out"] != 0 or r["writing_since"] is not None),
            overwrites=r["key"] in overwrites,
            before=frozenset(overwrites.get(r["key"], ())),
            loaded_before=_last(loaded.get(r["key"], [])),
        )
        for r in rows.sort(IDENTITY).iter_rows(named=True)
    ]


def _last(times: Sequence[datetime | None]) -> datetime | None:
    """The last of some times; None where one of them is not known, or there is none."""
    known = [time for time in times if time is not None]
    return max(known) if known and len(known) == len(times) else None


def within(dataset: Dataset, keys: Iterable[str]) -> dict[str, list[str]]:
    """The partitions of the ledger's table that hold the rows of some keys."""
    return {"dataset": [dataset.name], "bucket": sorted({bucket_of(dataset, key) for key in keys})}


def rows_of_keys(
    seen: Snapshot,
    parts: Mapping[str, Collection[str]],
    keys: Collection[str],
    *,
    columns: Sequence[str] | None = None,
) -> pl.DataFrame:
    """The rows of some keys (in some columns), read from the files that can hold them."""
    wanted = pl.DataFrame({"key": sorted(set(keys))}, schema={"key": pl.String})
    return seen.scan_keys(wanted, within=parts, columns=columns).collect()
