"""The ledger: every landed object once, by its identity, and what became of it.

The ledger is the memory of the lake. Planners ask it what is new, steps take from it what to read, and write down in it
what they are about to write and what they have written, so that whatever is left over by a killed step can be found.
An object's row is found by key and identity, whatever the clock says; its partition is fixed when it is admitted.

States: `admitted` -> `processed` | `failed` | `missing`; `superseded` once other bytes lie under its key. A replay puts
objects back to `admitted` and keeps what is known of their last reading.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime

import polars as pl

from datalake_assets.lake.spec.dataset import Dataset
from datalake_assets.lake.store.landing import LandedObject
from datalake_assets.lake.store.ledger_figures import LedgerFigures
from datalake_assets.lake.store.ledger_loads import LedgerLoads
from datalake_assets.lake.store.ledger_lookup import (
    Identify,
    Known,
    Match,
    Waiting,
    known_objects,
    match,
    rows_of_keys,
    within,
)
from datalake_assets.lake.store.ledger_rows import (
    ADMITTED,
    IDENTITY,
    Identity,
    begun_now,
    completed_now,
    identity_of,
    new_row,
    stays,
    taken_back_now,
)
from datalake_assets.lake.store.outcome import FAILED, MISSING, PROCESSED, SUPERSEDED, ObjectOutcome
from datalake_assets.lake.store.snapshot import Snapshot
from datalake_assets.lake.store.table import Table

_IDENTITY = list(IDENTITY)


@dataclass(frozen=True, slots=True)
class Ledger:
    """The ledger in its table."""

    table: Table

    def rows(self, dataset: str, partitions: Collection[str] | None = None) -> pl.DataFrame:
        """The rows of a dataset (of some partitions), in the order of their keys."""
        rows = self.table.open().scan({"dataset": [dataset]})
        if partitions is not None:
            rows = rows.filter(pl.col("partition").is_in(sorted(partitions)))
        return rows.sort(_IDENTITY).collect()

    def datasets(self) -> set[str]:
        """The datasets that have objects in it, from the log alone."""
        files = self.table.open().files
        return set(files["partition.dataset"]) if files.height else set()

    @property
    def figures(self) -> LedgerFigures:
        """What the ledger tells of many objects together."""
        return LedgerFigures(self.table)

    @property
    def loads(self) -> LedgerLoads:
        """What the ledger knows of the full loads of tables."""
        return LedgerLoads(self.table)

    def all_rows(self) -> pl.LazyFrame:
        """Every row of every dataset, lazily."""
        return self.table.open().scan()

    def waiting(
        self, dataset: Dataset, listed: Sequence[LandedObject], *, identify: Identify, now: datetime
    ) -> Waiting:
        """Which of the objects that a listing shows are to be read; nothing is written.

        An object that the ledger knows is returned with the partition it was admitted to.
        """
        due, known, later = [], [], []
        for found in match(self.table.open(), dataset, listed, identify=identify, now=now):
            landed, row = found.landed, found.row
            if row is not None and (_is_back(found) or row["stamp"] != landed.stamp):
                known.append(landed)
            if row is None or _is_back(found) or row["status"] == ADMITTED:
                due.append(landed)
            elif row["status"] == FAILED and row["retry_at"] is not None:
                if row["retry_at"] <= now:
                    due.append(landed)
                else:
                    later.append(f"{landed.key}: {row['reason']}; next try {row['retry_at']:%Y-%m-%d %H:%M} UTC")
        return Waiting(due, known, later)

    def known(self, dataset: Dataset, listed: Sequence[LandedObject], *, identify: Identify, now: datetime) -> set[str]:
        """The keys of those of some objects that have a row, whatever became of them."""
        found = match(self.table.open(), dataset, listed, identify=identify, now=now) if listed else []
        return {f.landed.key for f in found if f.row is not None}

    def admit(self, dataset: Dataset, listed: Sequence[LandedObject], *, identify: Identify, now: datetime) -> int:
        """Enter the objects of a listing that the ledger does not know; returns how many those were.

        Another object under the same key is superseded from then on; one that is there again is admitted again, and so
        is what could not be done without it.
        """
        found = match(self.table.open(), dataset, listed, identify=identify, now=now)
        landed = [one.landed for one in found]
        new = self.table.transact(lambda seen: self._admit(seen, dataset, landed, identify, now)) if found else 0
        if any(one.row is not None and one.row["status"] == MISSING for one in found):
            self._reopen(dataset.name, (pl.col("status") == FAILED) & pl.col("retry_at").is_not_null())
        return new

    def _admit(
        self, seen: Snapshot, dataset: Dataset, listed: Sequence[LandedObject], identify: Identify, now: datetime
    ) -> int:
        parts = within(dataset, [o.key for o in listed])
        rows = rows_of_keys(seen, parts, [o.key for o in listed])
        new: list[LandedObject] = []
        back: list[LandedObject] = []
        stamped: list[LandedObject] = []
        for found in match(seen, dataset, listed, identify=identify, now=now):
            if found.row is None:
                new.append(found.landed)
            elif _is_back(found):
                back.append(found.landed)
            elif found.row["stamp"] != found.landed.stamp:
                stamped.append(found.landed)
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
        seen.change(add=pl.concat([changed, entered]), remove=changed.select(_IDENTITY), on=_IDENTITY, within=parts)
        return len(new)

    def reopen(self, dataset: str, partitions: Collection[str]) -> int:
        """Put the objects of some partitions back to `admitted`, so that they are read again; returns how many."""
        return self._reopen(dataset, pl.col("partition").is_in(sorted(partitions)))

    def reopen_objects(self, dataset: str, keys: Collection[str]) -> int:
        """Put the objects under some keys back to `admitted`; returns how many."""
        return self._reopen(dataset, pl.col("key").is_in(sorted(keys)))

    def reopen_dates(self, dataset: str, first: date | None, last: date | None) -> list[str]:
        """Put the objects that have events of some dates back to `admitted`; returns the partitions they belong to."""
        day = pl.element()
        in_range = (day >= (first or date.min)) & (day <= (last or date.max))
        on_them = pl.col("event_dates").list.eval(in_range).list.any()
        self._reopen(dataset, on_them)
        rows = self.rows(dataset).filter(on_them, pl.col("status") == ADMITTED)
        return rows["partition"].unique().sort().to_list()

    def miss(self, dataset: str, keys: Collection[str]) -> int:
        """Note that the processed objects under some keys are away, to be read again when they are back; how many."""
        return self._reopen(dataset, pl.col("key").is_in(sorted(keys)), status=MISSING)

    def _reopen(self, dataset: str, which: pl.Expr, *, status: str = ADMITTED) -> int:
        def decide(seen: Snapshot) -> int:
            of_dataset = {"dataset": [dataset]}
            settled = pl.col("status").is_in(list({PROCESSED, FAILED, MISSING} - {status}))
            rows = seen.scan(of_dataset).filter(which, settled).collect()
            if rows.height:
                again = rows.with_columns(status=pl.lit(status), retry_at=pl.lit(None, rows.schema["retry_at"]))
                parts = {**of_dataset, "bucket": rows["bucket"].unique().sort().to_list()}
                seen.change(add=again, remove=rows.select(_IDENTITY), on=_IDENTITY, within=parts)
            return rows.height

        return self.table.transact(decide)

    def to_read(self, dataset: str, partitions: Collection[str] | None, *, now: datetime) -> list[Known]:
        """The objects of some partitions (None: all) that are to be read now, with what silver may hold of them."""
        seen = self.table.open()
        rows = seen.scan({"dataset": [dataset]})
        if partitions is not None:
            rows = rows.filter(pl.col("partition").is_in(sorted(partitions)))
        due = (pl.col("status") == ADMITTED) | ((pl.col("status") == FAILED) & (pl.col("retry_at") <= now))
        return known_objects(seen, dataset, rows.filter(due).collect())

    def everything(self, dataset: str) -> list[Known]:
        """All objects of a dataset but those whose key belongs to another object now."""
        seen = self.table.open()
        rows = seen.scan({"dataset": [dataset]}).filter(pl.col("status") != SUPERSEDED)
        return known_objects(seen, dataset, rows.collect())

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
        parts = within(dataset, keys)
        return self.table.transact(
            lambda seen: self._note(
                seen,
                dataset,
                parts=parts,
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
        parts: Mapping[str, Collection[str]],
        begun: Mapping[Identity, Iterable[date]],
        completed: Sequence[ObjectOutcome],
        now: datetime,
        overwriting: frozenset[Identity],
    ) -> frozenset[Identity]:
        outcomes = {(o.key, o.etag, o.size): o for o in completed}
        rows = rows_of_keys(seen, parts, [*(k for k, _, _ in begun), *(o.key for o in completed)])
        ours = {identity_of(row): row for row in rows.iter_rows(named=True)}
        gone = {i for i, row in ours.items() if row["status"] == SUPERSEDED}
        held = {i[0] for i in gone if ours[i]["begun_at"] is not None}
        refused = {i for i in begun if i in gone or (i[0] in held and i not in overwriting)}
        written = {o.key: o for o in completed if o.is_read}
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
            elif (
                identity[0] in written
                and not stays(row, written[identity[0]])
                and (taken_back := taken_back_now(row, now=now)) is not None
            ):
                changed.append(row | taken_back)
        if changed:
            frame = pl.DataFrame(changed, schema=self.table.dtypes)
            seen.change(add=frame, remove=frame.select(_IDENTITY), on=_IDENTITY, within=parts)
        return frozenset(refused)


def _is_back(found: Match) -> bool:
    """Whether an object that the ledger knows is to be read again: it was away, or an older one may lie over it."""
    return found.written_over or (found.row is not None and found.row["status"] in {MISSING, SUPERSEDED})


def _identities(objects: Iterable[LandedObject]) -> pl.DataFrame:
    return pl.DataFrame(
        [o.identity for o in objects], schema={"key": pl.String, "etag": pl.String, "size": pl.Int64}, orient="row"
    )
