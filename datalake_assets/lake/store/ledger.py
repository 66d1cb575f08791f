"""The ledger: every landed object once, by its identity, and what became of it.

The ledger is the memory of the lake. Planners ask it what is new, steps take from it what to read, and write down in it
what they are about to write and what they have written, so that whatever is left over by a killed step can be found.
An object's row is found by key and identity, whatever the clock says; its partition is fixed when it is admitted.

States: `admitted` -> `processed` | `failed` | `missing`; `superseded` once other bytes lie under its key. A replay puts
objects back to `admitted` and keeps what is known of their last reading.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime

import polars as pl

from datalake_assets.lake.spec.dataset import Dataset
from datalake_assets.lake.store.landing import LandedObject
from datalake_assets.lake.store.ledger_rows import (
    ADMITTED,
    Identity,
    Row,
    begun_now,
    bucket_of,
    completed_now,
    identity_of,
    new_row,
)
from datalake_assets.lake.store.outcome import FAILED, MISSING, PROCESSED, SUPERSEDED, ObjectOutcome
from datalake_assets.lake.store.snapshot import Snapshot
from datalake_assets.lake.store.table import Table

_IDENTITY = ["key", "etag", "size"]
Identify = Callable[[LandedObject], LandedObject | None]


@dataclass(frozen=True, slots=True)
class Known:
    """An object as the ledger has it.

    `dates` are the event dates on which silver may hold records of it or of what lay under its key before; `begun`
    tells whether it may hold any. `contract` is the one it was read under last, `was_processed` whether silver holds it
    as it was read then. `overwrites`: silver may hold records of what lay there before, in the partitions `before`.
    """

    landed: LandedObject
    status: str
    begun: bool
    dates: frozenset[date]
    contract: str | None
    was_processed: bool
    overwrites: bool
    before: frozenset[str]


@dataclass(frozen=True, slots=True)
class Waiting:
    """What a listing shows that is to be read now, and what has to wait: one line for each object, with the reason.

    `known` are those that the ledger has by another look or as away: to be admitted at once, as their partition is
    fixed already.
    """

    now: list[LandedObject]
    known: list[LandedObject]
    later: list[str]


@dataclass(frozen=True, slots=True)
class Ledger:
    """The ledger in its table."""

    table: Table
    _opened: dict[str, Snapshot] = field(default_factory=dict, compare=False, repr=False)

    def rows(self, dataset: str, partitions: Collection[str] | None = None) -> pl.DataFrame:
        """The rows of a dataset (of some partitions), in the order of their keys."""
        rows = self.table.open().scan({"dataset": [dataset]})
        if partitions is not None:
            rows = rows.filter(pl.col("partition").is_in(sorted(partitions)))
        return rows.sort(_IDENTITY).collect()

    def all_rows(self) -> pl.LazyFrame:
        """Every row of every dataset, lazily."""
        return self.table.open().scan()

    def waiting(
        self, dataset: Dataset, listed: Sequence[LandedObject], *, identify: Identify, now: datetime
    ) -> Waiting:
        """Which of the objects that a listing shows are to be read; nothing is written.

        An object that the ledger knows is returned with the partition it was admitted to.
        """
        found = _match(self._as_it_is(), dataset, listed, identify)
        due, known, later = [], [], []
        for landed, row in found:
            if row is not None and (row["status"] in {MISSING, SUPERSEDED} or row["stamp"] != landed.stamp):
                known.append(landed)
            if row is None or row["status"] in {ADMITTED, MISSING, SUPERSEDED}:
                due.append(landed)
            elif row["status"] == FAILED and row["retry_at"] is not None:
                if row["retry_at"] <= now:
                    due.append(landed)
                else:
                    later.append(f"{landed.key}: {row['reason']}; next try {row['retry_at']:%Y-%m-%d %H:%M} UTC")
        return Waiting(due, known, later)

    def _as_it_is(self) -> Snapshot:
        """The ledger as it is now, opened anew only where its log has changed: opening costs what all its files cost.

        A look asks once for each dataset, after a year some 3,000 files for thirty of them.
        """
        for stamp, seen in list(self._opened.items()):
            if self.table.log_stamp(seen.version + 1) is None and self.table.log_stamp(seen.version) == stamp:
                return seen
        self._opened.clear()
        seen = self.table.open()
        stamp_now = self.table.log_stamp(seen.version) if seen.exists else None
        if stamp_now is not None:
            self._opened[stamp_now] = seen
        return seen

    def admit(self, dataset: Dataset, listed: Sequence[LandedObject], *, identify: Identify, now: datetime) -> int:
        """Enter the objects of a listing that the ledger does not know; returns how many those were.

        Another object under the same key is superseded from then on; one that is there again is admitted again.
        """
        found = [landed for landed, _ in _match(self.table.open(), dataset, listed, identify)]
        return self.table.transact(lambda seen: self._admit(seen, dataset, found, identify, now)) if found else 0

    def _admit(
        self, seen: Snapshot, dataset: Dataset, listed: Sequence[LandedObject], identify: Identify, now: datetime
    ) -> int:
        within = _within(dataset, [o.key for o in listed])
        rows = _rows_of_keys(seen, within, [o.key for o in listed])
        new: list[LandedObject] = []
        back: list[LandedObject] = []
        stamped: list[LandedObject] = []
        for landed, row in _match(seen, dataset, listed, identify):
            if row is None:
                new.append(landed)
            elif row["status"] in {MISSING, SUPERSEDED}:
                back.append(landed)
            elif row["stamp"] != landed.stamp:
                stamped.append(landed)
        present = _identities([*new, *back, *stamped]).with_columns(
            stamp=pl.Series([o.stamp for o in [*new, *back, *stamped]], dtype=pl.String)
        )
        again = _identities(back)
        here = rows.join(present, on=_IDENTITY, how="inner", suffix="_now")
        returned = here.with_columns(
            stamp=pl.col("stamp_now"),
            status=pl.when(pl.struct(_IDENTITY).is_in(again.select(pl.struct(_IDENTITY)).to_series().implode()))
            .then(pl.lit(ADMITTED))
            .otherwise(pl.col("status")),
        ).drop("stamp_now")
        overwritten = (
            rows.join(_identities([*new, *back]).select("key").unique(), on="key", how="semi")
            .join(present, on=_IDENTITY, how="anti")
            .filter(pl.col("status") != SUPERSEDED)
            .with_columns(status=pl.lit(SUPERSEDED), retry_at=pl.lit(None, rows.schema["retry_at"]))
        )
        changed = pl.concat([returned, overwritten])
        if not new and changed.is_empty():
            return 0
        entered = pl.DataFrame([new_row(dataset, o, now) for o in new], schema=self.table.dtypes)
        seen.change(add=pl.concat([changed, entered]), remove=changed.select(_IDENTITY), on=_IDENTITY, within=within)
        return len(new)

    def reopen(self, dataset: str, partitions: Collection[str]) -> int:
        """Put the objects of some partitions back to `admitted`, so that they are read again; returns how many."""
        return self._reopen(dataset, pl.col("partition").is_in(sorted(partitions)))

    def reopen_dates(self, dataset: str, first: date | None, last: date | None) -> list[str]:
        """Put the objects that have events of some dates back to `admitted`; returns the partitions they belong to."""
        day = pl.element()
        in_range = (day >= (first or date.min)) & (day <= (last or date.max))
        within = pl.col("event_dates").list.eval(in_range).list.any()
        self._reopen(dataset, within)
        rows = self.rows(dataset).filter(within, pl.col("status") == ADMITTED)
        return rows["partition"].unique().sort().to_list()

    def _reopen(self, dataset: str, which: pl.Expr) -> int:
        def decide(seen: Snapshot) -> int:
            within = {"dataset": [dataset]}
            settled = pl.col("status").is_in([PROCESSED, FAILED, MISSING])
            rows = seen.scan(within).filter(which, settled).collect()
            if rows.height:
                again = rows.with_columns(status=pl.lit(ADMITTED), retry_at=pl.lit(None, rows.schema["retry_at"]))
                seen.change(add=again, remove=rows.select(_IDENTITY), on=_IDENTITY, within=_narrowed(within, rows))
            return rows.height

        return self.table.transact(decide)

    def to_read(self, dataset: str, partitions: Collection[str] | None, *, now: datetime) -> list[Known]:
        """The objects of some partitions (None: all) that are to be read now, with what silver may hold of them."""
        seen = self.table.open()
        rows = seen.scan({"dataset": [dataset]})
        if partitions is not None:
            rows = rows.filter(pl.col("partition").is_in(sorted(partitions)))
        due = (pl.col("status") == ADMITTED) | ((pl.col("status") == FAILED) & (pl.col("retry_at") <= now))
        return _known(seen, dataset, rows.filter(due).collect())

    def everything(self, dataset: str) -> list[Known]:
        """All objects of a dataset but those whose key belongs to another object now."""
        seen = self.table.open()
        rows = seen.scan({"dataset": [dataset]}).filter(pl.col("status") != SUPERSEDED)
        return _known(seen, dataset, rows.collect())

    def note(
        self,
        dataset: Dataset,
        *,
        begun: Mapping[Identity, Iterable[date]],
        completed: Sequence[ObjectOutcome],
        now: datetime,
        overwriting: Collection[Identity] = (),
    ) -> frozenset[Identity]:
        """Write down, in one commit, the objects whose records are about to be written, and what became of others.

        `begun` maps an object to the event dates that its records have: they are added to those that silver may hold
        already. Of what was read, the records are where they belong by now.

        Returns those of `begun` whose key changed hands since the caller asked for them, and which must not be written:
        superseded ones, and ones that overwrite something although they are not in `overwriting`. Where an object was
        superseded while it was being written, the one that has its key now is admitted again, to take it back.
        """
        keys = [key for key, _, _ in begun] + [o.key for o in completed]
        if not keys:
            return frozenset()
        within = _within(dataset, keys)
        return self.table.transact(
            lambda seen: self._note(
                seen,
                dataset,
                within=within,
                begun=begun,
                completed=completed,
                now=now,
                overwriting=frozenset(overwriting),
            )
        )

    def _note(
        self,
        seen: Snapshot,
        dataset: Dataset,
        *,
        within: Mapping[str, Collection[str]],
        begun: Mapping[Identity, Iterable[date]],
        completed: Sequence[ObjectOutcome],
        now: datetime,
        overwriting: frozenset[Identity],
    ) -> frozenset[Identity]:
        outcomes = {(o.key, o.etag, o.size): o for o in completed}
        rows = _rows_of_keys(seen, within, [*(k for k, _, _ in begun), *(o.key for o in completed)])
        ours = {identity_of(row): row for row in rows.iter_rows(named=True)}
        gone = {i for i, row in ours.items() if row["status"] == SUPERSEDED}
        held = {i[0] for i in gone if ours[i]["begun_at"] is not None}
        refused = {i for i in begun if i in gone or (i[0] in held and i not in overwriting)}
        written = {o.key for o in completed if o.is_read}
        late = {i[0] for i in gone if i in outcomes and outcomes[i].is_read}
        changed = []
        for identity, row in ours.items():
            if identity in outcomes:
                result = row | completed_now(row, outcomes[identity], contract=dataset.contract, now=now)
                changed.append(result | ({"status": SUPERSEDED, "retry_at": None} if identity in gone else {}))
            elif identity in begun and identity not in refused:
                changed.append(row | begun_now(row, begun[identity], contract=dataset.contract, now=now))
            elif identity[0] in late:  # whoever has the key now takes back what was written late
                if identity not in gone:
                    changed.append(row | {"status": ADMITTED, "retry_at": None})
            elif identity[0] in written and row["begun_at"] is not None:  # what lay there before is taken back by now
                changed.append(row | {"begun_at": None, "processed_at": None, "event_dates": []})
        if changed:
            frame = pl.DataFrame(changed, schema=self.table.dtypes)
            seen.change(add=frame, remove=frame.select(_IDENTITY), on=_IDENTITY, within=within)
        return frozenset(refused)


def _match(
    seen: Snapshot, dataset: Dataset, listed: Sequence[LandedObject], identify: Identify
) -> list[tuple[LandedObject, Row | None]]:
    """The objects of a listing, each beside its row (None: unknown), with its partition as the ledger has it.

    An object is recognised by what the listing shows of it; only where that is new must its bytes be looked at.
    """
    rows = _rows_of_keys(seen, _within(dataset, [o.key for o in listed]), [o.key for o in listed])
    by_key: dict[str, list[Row]] = {}
    for entry in rows.iter_rows(named=True):
        by_key.setdefault(entry["key"], []).append(entry)
    found: list[tuple[LandedObject, Row | None]] = []
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
        found.append((replace(known, partition=partition), row))
    return found


def _known(seen: Snapshot, dataset: str, rows: pl.DataFrame) -> list[Known]:
    """Rows as objects, with what the ledger tells of others under the same keys."""
    before: dict[str, set[date]] = {}
    overwrites: dict[str, set[str]] = {}
    if rows.height:
        buckets = rows["bucket"].unique().to_list()
        siblings = (
            seen.scan({"dataset": [dataset], "bucket": buckets})
            .filter(pl.col("status") == SUPERSEDED, pl.col("begun_at").is_not_null())
            .select("key", "event_dates", "partition")
            .join(rows.lazy().select("key"), on="key", how="semi")
            .collect()
        )
        for key, dates, partition in siblings.iter_rows():
            overwrites.setdefault(key, set()).add(partition)
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
            overwrites=r["key"] in overwrites,
            before=frozenset(overwrites.get(r["key"], ())),
        )
        for r in rows.sort(_IDENTITY).iter_rows(named=True)
    ]


def _within(dataset: Dataset, keys: Iterable[str]) -> dict[str, list[str]]:
    return {"dataset": [dataset.name], "bucket": sorted({bucket_of(dataset, key) for key in set(keys)})}


def _narrowed(within: Mapping[str, Collection[str]], rows: pl.DataFrame) -> dict[str, Collection[str]]:
    return {**within, "bucket": rows["bucket"].unique().sort().to_list()}


def _rows_of_keys(seen: Snapshot, within: Mapping[str, Collection[str]], keys: Collection[str]) -> pl.DataFrame:
    """The rows of some keys, read from the files that can hold them."""
    wanted = pl.DataFrame({"key": sorted(set(keys))}, schema={"key": pl.String})
    return seen.scan_keys(wanted, within=within).collect()


def _identities(objects: Iterable[LandedObject]) -> pl.DataFrame:
    return pl.DataFrame(
        [o.identity for o in objects], schema={"key": pl.String, "etag": pl.String, "size": pl.Int64}, orient="row"
    )
