"""Writing events: each one once in silver, whatever came before, twice, or is taken back.

Two ways lead to the same rows. The quick way adds what objects bring that the lake has not seen: an append, or a
change of the few files that hold a weaker copy. The exact way takes an object's earlier reading back and puts the new
one in its place: for a replay, an overwritten object, or one that a step died over.

Accepted records that lose against another copy of their event are kept beside silver (`<dataset>_duplicates`), so that
what is taken back uncovers the copy below it without reading anybody else's object again. They are written before
silver, and every step that writes them commits on silver too: silver's version is what concurrent steps meet on.
"""

from collections.abc import Mapping
from datetime import date

import narwhals as nw

from datalake_assets.lake.engines.base import Frame
from datalake_assets.lake.engines.key_hashes import KeyHashes
from datalake_assets.lake.lake import StreamTables
from datalake_assets.lake.readers.batch import Batch
from datalake_assets.lake.spec.columns import EVENT_DATE, RECORD_HASH, SOURCE_FILENAME
from datalake_assets.lake.spec.dataset import EventStream
from datalake_assets.lake.steps.context import Step
from datalake_assets.lake.steps.key_checks import note_repeated_keys
from datalake_assets.lake.steps.shape import require_shape
from datalake_assets.lake.store.conflicts import ConflictError, until_undisturbed
from datalake_assets.lake.store.ledger_lookup import Known
from datalake_assets.lake.store.ledger_rows import Identity
from datalake_assets.lake.store.notes import CommitNotes
from datalake_assets.lake.store.snapshot import Snapshot
from datalake_assets.lake.transforms.events import (
    IS_NEW,
    OUTRANKS,
    SAME_RECORD,
    SAME_ROW,
    beside_existing,
    winners,
    without,
)


class EventWriter:
    """Writes the batches of one step over an event stream."""

    def __init__(self, step: Step, dataset: EventStream, tables: StreamTables, known: Mapping[Identity, Known]) -> None:
        """Prepare to write into some tables; `known` are the objects of the step as the ledger has them."""
        self._step = step
        self._tables = tables
        self._known = known
        self._identity = list(dataset.key) or [RECORD_HASH]
        self._dataset = dataset
        self._hashes = KeyHashes()
        self._uncommitted: Frame | None = None  # kept as displaced by an attempt that another step came before

    def write(self, batch: Batch) -> None:
        """Bring a batch to silver, the quick way or the exact way."""
        read = [o for o in batch.outcomes if o.is_read]
        known = {o.key: self._known.get((o.key, o.etag, o.size)) for o in read}
        again = {key: k.dates for key, k in known.items() if k is not None and k.begun}
        dates = {day for o in read for day in o.event_dates}
        if not dates and not any(again.values()):
            return
        if again:
            dates |= {day for days in again.values() for day in days}
            what = self._tables.silver.uri
            until_undisturbed(lambda: self._exactly(batch.accepted, sorted(again), dates), what=what)
        else:
            self.add(batch.accepted, dates)

    def add(self, accepted: Frame, dates: set[date]) -> None:
        """Bring records of some event dates to silver the quick way: nothing is taken back for them."""
        until_undisturbed(lambda: self._quickly(accepted, dates), what=self._tables.silver.uri)

    def _quickly(self, accepted: Frame, dates: set[date]) -> None:
        """Add what silver lacks, and put what outranks its copies in their place.

        Copies are told among the few events that may be there more than once; all others pass as they are.
        """
        engine = self._step.engine
        seen = self._tables.silver.open()
        require_shape(seen, self._dataset)
        with self._step.stage("transform"):
            copies, alone, existing = engine.contested(accepted, seen, on=self._key, dates=dates, known=self._hashes)
            self._doubt(existing)
            fresh, losing, displaced = accepted, None, None
            if self._step.count(copies):
                note_repeated_keys(self._step, self._dataset, existing)
                best = engine.compute(winners(copies, identity=self._identity))
                best, losing, displaced = self._against(existing, best, engine.compute(without(copies, best)))
                fresh = engine.compute(nw.concat([alone, best], how="vertical"))
        duplicates = losing is not None and self._keep_duplicates(losing, dates)
        counts = engine.rows(fresh.group_by(EVENT_DATE).agg(nw.len().alias("rows")))
        touched = {row[EVENT_DATE] for row in counts}
        if touched or duplicates:
            try:
                self._change(seen, add=fresh, remove=displaced, dates=dates, touched=touched, exactly_here=False)
            except ConflictError:
                self._uncommitted = displaced
                raise
        self._step.rows_written += sum(row["rows"] for row in counts)

    def _exactly(self, accepted: Frame, keys: list[str], dates: set[date]) -> None:
        """Take back what silver has of some keys, and put the reading at hand in its place.

        Of the events concerned, the best copy among all that are left wins: those at hand, those that silver shows of
        other objects, and those kept beside it.
        """
        engine = self._step.engine
        seen = self._tables.silver.open()
        require_shape(seen, self._dataset)
        with self._step.stage("transform"):
            kept = self._tables.duplicates.open()
            shown = engine.compute(engine.scan(seen, dates=dates))
            beside = engine.compute(engine.scan(kept, dates=dates))
            taken = nw.col(SOURCE_FILENAME).is_in(keys)
            concerned = nw.concat(
                [frame.select(*self._key) for frame in (accepted, shown.filter(taken), beside.filter(taken))],
                how="vertical",
            ).unique()
            concerned = engine.compute(concerned)
            ours = shown.join(concerned, on=self._key, how="semi")
            below = beside.join(concerned, on=self._key, how="semi")
            others = without(below.filter(~taken), shown)  # a copy that silver shows may lie here still
            others = others.unique(SAME_RECORD, keep="any")
            copies = engine.compute(nw.concat([accepted, ours.filter(~taken), others], how="vertical"))
            copies = engine.compute(copies.unique(SAME_RECORD, keep="any"))
            best = engine.compute(winners(copies, identity=self._identity))
            losing = engine.compute(without(copies, best))
            removed = engine.compute(without(ours, best, on=SAME_ROW))
            added = engine.compute(without(best, ours, on=SAME_ROW))
            # A copy that is shown from now on stays beside silver: a step that dies before its commit loses nothing.
            stale = engine.compute(without(without(below, losing, on=SAME_ROW), best))
            beaten = engine.compute(without(losing, below, on=SAME_ROW))
            counts = [engine.rows(frame.group_by(EVENT_DATE).agg(nw.len().alias("rows"))) for frame in (removed, added)]
        touched = {row[EVENT_DATE] for part in counts for row in part}
        moved = bool(self._step.count(stale) or self._step.count(beaten))
        if moved:
            with self._step.stage("write"):
                engine.change(
                    kept, add=beaten, remove=stale, on=SAME_RECORD, dates=dates, notes=self._notes(), exactly_here=True
                )
        if touched or moved:
            self._change(seen, add=added, remove=removed, dates=dates, touched=touched, exactly_here=True)
        self._step.rows_written += sum(row["rows"] for part in counts for row in part)

    def _against(self, existing: Frame, best: Frame, losing: Frame) -> tuple[Frame, Frame, Frame | None]:
        """Of the copies at hand those that silver is given, those that lose, and silver's rows that they displace."""
        engine = self._step.engine
        marked = engine.compute(beside_existing(best, existing, identity=self._identity))
        stronger = engine.compute(marked.filter(nw.col(IS_NEW) | nw.col(OUTRANKS)))
        weaker = marked.filter(~nw.col(IS_NEW) & ~nw.col(OUTRANKS)).drop(IS_NEW, OUTRANKS)
        weaker = without(weaker, existing)  # another step has brought the same records already
        outranking = stronger.filter(nw.col(OUTRANKS)).select(*self._key)
        displaced = engine.compute(existing.join(outranking, on=self._key, how="semi"))
        losing = engine.compute(nw.concat([losing, weaker, displaced], how="vertical"))
        return stronger.drop(IS_NEW, OUTRANKS), losing, displaced if self._step.count(displaced) else None

    def _doubt(self, existing: Frame) -> None:
        """Have the objects read again whose rows were kept as displaced, but are not what silver shows after all.

        The step that came between may have taken them back: then what is kept beside silver is of an older reading.
        """
        if self._uncommitted is None:
            return
        gone = without(self._uncommitted, existing)
        keys = {row[SOURCE_FILENAME] for row in self._step.engine.rows(gone.select(SOURCE_FILENAME).unique())}
        if keys:
            self._step.lake.ledger.reopen_objects(self._dataset.name, keys)
        self._uncommitted = None

    def _keep_duplicates(self, losing: Frame, dates: set[date]) -> bool:
        """Keep copies that lose, unless they are kept already; whether there were any."""
        if not self._step.count(losing):
            return False
        engine = self._step.engine

        def decide(seen: Snapshot) -> None:
            new = engine.compute(without(losing, engine.scan(seen, dates=dates)))
            if self._step.count(new):
                engine.change(seen, add=new, dates=dates, notes=self._notes())

        with self._step.stage("write"):
            self._tables.duplicates.transact(decide)
        return True

    def _change(
        self,
        seen: Snapshot,
        *,
        add: Frame,
        remove: Frame | None,
        dates: set[date],
        touched: set[date],
        exactly_here: bool,
    ) -> None:
        with self._step.stage("write"):
            self._step.engine.change(
                seen,
                add=add,
                remove=remove,
                on=SAME_RECORD,
                dates=dates,
                notes=CommitNotes(touched, self._dataset.shape_text),
                exactly_here=exactly_here,
            )
        self._step.touched |= touched

    @property
    def _key(self) -> list[str]:
        return [EVENT_DATE, *self._identity]

    def _notes(self) -> CommitNotes:
        return CommitNotes(shape=self._dataset.shape_text)
