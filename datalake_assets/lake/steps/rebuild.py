"""Silver made anew from bronze: built beside the old tables, swapped in while readers go on.

For a dataset file that asks for other tables, and for replicated tables from which something is taken back. All objects
that the ledger has are read under the dataset file as it is, the quick way, into tables of their own; then those take
the place of the old ones, silver last and in one commit. What other steps bring meanwhile is caught up with: the old
silver is opened before the ledger is asked, and the swap holds only if nobody has changed it since.

Objects that are gone can't be read again. A stream keeps their rows and rejects as they are; a replicated table can't
be made without them, and the rebuild refuses with their list.
"""

import shutil
import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, date, datetime
from pathlib import Path

import polars as pl

from datalake_assets.lake.lake import ReplicaTables, StreamTables
from datalake_assets.lake.readers.batch import Batch
from datalake_assets.lake.readers.rejects import rules_of
from datalake_assets.lake.spec.columns import (
    COMMITTED_AT,
    CONTENT_HASH,
    EVENT_DATE,
    IS_CHANGE,
    LOAD,
    OPERATION,
    SOURCE_FILENAME,
)
from datalake_assets.lake.spec.dataset import CdcTable, Dataset, EventStream
from datalake_assets.lake.spec.drift import Found, with_found
from datalake_assets.lake.steps.changes import ChangeWriter, LoadsChangedError
from datalake_assets.lake.steps.checks import REJECTED_FRACTION, PartitionChecks, store_verdicts
from datalake_assets.lake.steps.context import Step
from datalake_assets.lake.steps.drift_checks import drift_verdicts
from datalake_assets.lake.steps.events import EventWriter
from datalake_assets.lake.steps.evolving import remember
from datalake_assets.lake.steps.key_checks import check_repeated_keys
from datalake_assets.lake.steps.messages import StepReport
from datalake_assets.lake.steps.reading import read, report
from datalake_assets.lake.steps.shape import ColumnsGrownError
from datalake_assets.lake.store.conflicts import ConflictError, until_undisturbed
from datalake_assets.lake.store.ledger_lookup import Known
from datalake_assets.lake.store.ledger_rows import Identity
from datalake_assets.lake.store.notes import CommitNotes
from datalake_assets.lake.store.outcome import ObjectOutcome
from datalake_assets.lake.store.quarantine import replace_rejects
from datalake_assets.lake.store.snapshot import Snapshot

_SHOWN = 20
Seen = dict[str, Snapshot]


class RebuildRefusedError(RuntimeError):
    """A rebuild that would lose what can't be read again: the objects `lost`."""

    def __init__(self, message: str, lost: Sequence[Known] = ()) -> None:
        super().__init__(message)
        self.lost = tuple(lost)


def rebuild_table(
    step: Step, dataset: Dataset, partitions: Sequence[str] = (), *, allow_rejects: bool = True
) -> StepReport:
    """Make a dataset's silver anew from all objects that the ledger has.

    The report is about `partitions` (none: all). Raises `RebuildRefusedError`, with the list of objects, where it
    would lose something, and unless `allow_rejects` where more records of a partition would be rejected than the
    dataset file allows; the old tables are as they were then.
    """
    rebuild = _Rebuild(step, dataset, allow_rejects=allow_rejects)
    try:
        until_undisturbed(rebuild.build_and_swap, what=f"rebuild of {dataset.name}")
        rebuild.settle()
    finally:
        rebuild.clear()
    outcomes = list(rebuild.outcomes.values())
    return report(step, dataset, outcomes, partitions or sorted({o.partition for o in outcomes}), rebuild.rejects)


class _Rebuild:
    def __init__(self, step: Step, dataset: Dataset, *, allow_rejects: bool) -> None:
        self._allow_rejects = allow_rejects
        self._step = step
        self._name = dataset.name
        self._begin()

    def _begin(self, found: Found | None = None) -> None:
        """Begin with nothing read, for tables of the columns that were found so far, or of others that are given."""
        self._known = self._step.lake.found_columns.all().get(self._name, {})
        self._step.lake = self._lake = self._step.lake.as_found()
        self._dataset = self._lake.datasets[self._name]
        if isinstance(self._dataset, CdcTable):
            self._dataset = with_found(self._dataset, self._known if found is None else found)
        dataset = self._dataset
        self._real: StreamTables | ReplicaTables = (
            self._lake.stream_tables(dataset)
            if isinstance(dataset, EventStream)
            else self._lake.replica_tables(dataset)
        )
        self._folder = f"{self._lake.layout.silver}/_rebuild/{self._dataset.name}-{uuid.uuid4().hex[:12]}"
        self._beside = self._real.beside(self._folder)
        self._kept: set[str] = set()
        self._rejected: list[tuple[pl.DataFrame, tuple[ObjectOutcome, ...]]] = []
        self.outcomes: dict[Identity, ObjectOutcome] = {}
        self.rejects: Counter[str] = Counter()

    def clear(self) -> None:
        """Take away the tables beside."""
        if "://" not in self._folder:
            shutil.rmtree(self._folder, ignore_errors=True)
            with suppress(OSError):  # another rebuild is at work beside it
                Path(self._folder).parent.rmdir()

    def build_and_swap(self) -> None:
        """Read what is not read yet, and swap. Raises `ConflictError` when another step came between."""
        if self._known != self._lake.found_columns.all().get(self._name, {}):
            self._begin_again()
        while not self._tried():
            pass

    def settle(self) -> None:
        """Take out what a full load lacks that is complete by what was read now; else the next step does."""
        if isinstance(self._real, ReplicaTables):
            self._lake.ledger.loads.unsettle(self._dataset)
            with suppress(ColumnsGrownError):
                self._change_writer(self._real).settle()

    def _begin_again(self, found: Found | None = None) -> None:
        self.clear()
        self._begin(found)

    def _tried(self) -> bool:
        """Attempt it; False where it is to be attempted again."""
        try:
            return self._attempt()
        except LoadsChangedError:  # which is known now
            self._begin_again()
            return False

    def _attempt(self) -> bool:
        """Read and swap; False where it was found out that other tables are to be built, of which nothing is read."""
        seen = {table.uri: table.open() for table in self._real.all}
        objects = self._lake.ledger.everything(self._name)
        if not self.outcomes.keys() <= {known.landed.identity for known in objects}:  # one was overwritten meanwhile
            self._begin_again()
            return False
        if not self._build([known for known in objects if known.landed.identity not in self.outcomes]):
            self._begin_again()
            return False
        unread = [known for known in objects if not self.outcomes[known.landed.identity].is_read]
        if isinstance(self._dataset, CdcTable):
            self._refuse_without([known for known in unread if known.holds_rows])
            found = self._found()
            if with_found(self._dataset, found) != self._dataset:  # what had a column, or a wide one, is overwritten
                self._begin_again(found)
                return False
            self._keep_earlier_loads(seen)
        else:
            self._keep({known.landed.key for known in unread if known.begun}, seen)
        self._swap(seen)
        self._lake.found_columns.keep_only(self._name, self._found(), known=self._known)
        return True

    def _found(self) -> Found:
        """What objects have otherwise than the dataset file declares, those too that are gone and whose rows stay."""
        stay = isinstance(self._dataset, CdcTable) and self._lake.ledger.loads.overwritten(self._dataset)
        found: dict[str, set[str]] = {name: set(texts) for name, texts in self._known.items()} if stay else {}
        for outcome in self.outcomes.values():
            for name, text in outcome.columns.items():
                found.setdefault(name, set()).add(text)
        return found

    def _build(self, objects: Sequence[Known]) -> bool:
        """Read objects into the tables beside; False where one has a column that these were not made for."""
        write = self._writer()
        for batch in read(self._step, self._dataset, [known.landed for known in objects]) if objects else ():
            columns = [outcome.columns for outcome in batch.begun if outcome.columns]
            if any(text not in self._known.get(name, ()) for found in columns for name, text in found.items()):
                remember(self._lake, self._dataset, batch.begun)
                return False
            write(batch)
            self.outcomes |= {(o.key, o.etag, o.size): o for o in batch.outcomes}
            self._rejected.append((batch.rejected, batch.outcomes))
            self.rejects.update(rules_of(batch.rejected))
        return True

    def _writer(self) -> Callable[[Batch], None]:
        if isinstance(self._beside, StreamTables) and isinstance(self._dataset, EventStream):
            step = Step(self._lake, self._step.engine, started_at=self._step.started_at, seconds=self._step.seconds)
            return EventWriter(step, self._dataset, self._beside, {}).write
        assert isinstance(self._beside, ReplicaTables)  # noqa: S101 (the tables are the dataset's)
        return self._change_writer(self._beside).write

    def _change_writer(self, tables: ReplicaTables) -> ChangeWriter:
        step = Step(self._lake, self._step.engine, started_at=self._step.started_at, seconds=self._step.seconds)
        assert isinstance(self._dataset, CdcTable)  # noqa: S101 (the tables are the dataset's)
        return ChangeWriter(step, self._dataset, tables)

    def _keep_earlier_loads(self, seen: Seen) -> None:
        """Take over what files of full loads said that those of later loads overwrote; settle what these lack."""
        assert isinstance(self._beside, ReplicaTables)  # noqa: S101 (the tables are the dataset's)
        assert isinstance(self._real, ReplicaTables)  # noqa: S101 (as above)
        assert isinstance(self._dataset, CdcTable)  # noqa: S101 (as above)
        writer = self._change_writer(self._beside)
        until = self._lake.ledger.loads.overwritten(self._dataset)
        if until:
            history = self._real.history
            told = history if history is not None and seen[history.uri].exists else self._real.silver
            rows = _rows_of(seen[told.uri], set(until))
            last = pl.col(SOURCE_FILENAME).replace_strict(until, return_dtype=rows.schema[COMMITTED_AT])
            rows = rows.filter(~pl.col(IS_CHANGE), pl.col(COMMITTED_AT) <= last)
            sequences = self._dataset.sequence_columns.values()
            rows = rows.with_columns(pl.col(name).fill_null(0) for name in sequences)  # as a load's are
            if told is self._real.silver:
                rows = rows.with_columns(pl.lit(LOAD).alias(OPERATION), pl.lit("").alias(CONTENT_HASH))
            if rows.height:
                writer.add(self._step.engine.take(rows))
        writer.settle(noted=False)

    def _refuse_without(self, lost: Sequence[Known]) -> None:
        """Raise where something that silver holds, or should hold, can't be read now."""
        if lost:
            outcomes = [self.outcomes[known.landed.identity] for known in lost]
            shown = "; ".join(f"{o.key} ({o.error or o.state})" for o in outcomes[:_SHOWN])
            more = f" and {len(lost) - _SHOWN} more" if len(lost) > _SHOWN else ""
            raise RebuildRefusedError(
                f"{self._dataset.name}: silver can't be made anew without {len(lost)} objects that can't be read: "
                f"{shown}{more}. Put them back into bronze, or reload the table",
                lost,
            )

    def _keep(self, gone: set[str], seen: Seen) -> None:
        """Take over the rows of a stream's objects that can't be read again."""
        gone -= self._kept
        if not gone or not isinstance(self._beside, StreamTables) or not isinstance(self._dataset, EventStream):
            return
        rows = pl.concat([_rows_of(seen[table.uri], gone) for table in self._real.all])
        if rows.height:
            step = Step(self._lake, self._step.engine, started_at=self._step.started_at)
            writer = EventWriter(step, self._dataset, self._beside, {})
            writer.add(self._step.engine.take(rows), set(rows[EVENT_DATE].unique().to_list()))
        self._kept |= gone

    def _swap(self, seen: Seen) -> None:
        """Put the tables beside in the place of the real ones, then their rejects, then the ledger."""
        lake, dataset = self._lake, self._dataset
        checks = PartitionChecks(dataset, lake.ledger.rows(dataset.name))
        checks.add(self.outcomes.values())
        failing = [verdict for verdict in checks.failing() if verdict.rule == REJECTED_FRACTION]
        if failing and not self._allow_rejects:
            raise RebuildRefusedError(
                f"{dataset.name}: the rebuild would reject more than the dataset file allows: {failing[0].partition}: "
                f"{failing[0].detail}. Silver is as it was; `--force` takes the rebuilt table all the same"
            )
        touched = _days(seen[self._real.silver.uri]) | _days(self._beside.silver.open())
        committed = {
            real.uri: _days(seen[real.uri], COMMITTED_AT) | _days(beside.open(), COMMITTED_AT)
            for real, beside in zip(self._real.all, self._beside.all, strict=True)
        }
        begun = {identity: o.event_dates for identity, o in self.outcomes.items() if o.is_read}
        if lake.ledger.note(dataset, begun=begun, completed=(), now=datetime.now(UTC), overwriting=begun):
            raise ConflictError(f"{dataset.name}: objects were overwritten while it was rebuilt")
        lake.verdicts.store(dataset.name, lambda: failing, now=datetime.now(UTC))
        for rejected, outcomes in self._rejected:
            replace_rejects(lake.quarantine(dataset), rejected, outcomes, keep_old=True)
        written = {
            real.uri: self._step.engine.copy(beside.open(), real)
            for real, beside in zip(self._real.all, self._beside.all, strict=True)
        }
        try:
            for table in self._real.all:
                is_silver = table.uri == self._real.silver.uri
                notes = CommitNotes(touched if is_silver else (), dataset.shape_text, committed[table.uri])
                seen[table.uri].swap(written.pop(table.uri), notes=notes)
        except ConflictError:
            for uri, actions in written.items():
                seen[uri].discard(actions)
            raise
        self._step.touched |= touched
        self._step.rows_written += self._beside.silver.open().row_count
        for rejected, outcomes in self._rejected:
            replace_rejects(lake.quarantine(dataset), rejected, outcomes)
        lake.ledger.note(dataset, begun={}, completed=list(self.outcomes.values()), now=datetime.now(UTC))
        judged = set(lake.ledger.rows(dataset.name)["partition"])
        store_verdicts(lake, dataset, judged, drift_verdicts(lake, dataset, judged))
        check_repeated_keys(self._step, dataset)


def _rows_of(seen: Snapshot, keys: set[str]) -> pl.DataFrame:
    """The rows that came with some objects, in the registry's types.

    Raises `RebuildRefusedError` where a value has no equal in its column's new type.
    """
    wanted = seen.table.dtypes
    rows = seen.scan().filter(pl.col(SOURCE_FILENAME).is_in(sorted(keys))).collect()
    cast = rows.select(pl.col(name).cast(dtype, strict=False) for name, dtype in wanted.items())
    back = cast.select(pl.col(name).cast(rows.schema[name], strict=False) for name in wanted)
    changed = [n for n in wanted if not back[n].equals(rows[n], null_equal=True)]
    if changed:
        raise RebuildRefusedError(
            f"{seen.table.uri}: objects that are gone from bronze have values in {', '.join(changed)} that the new "
            f"type can't hold: {', '.join(sorted(keys)[:_SHOWN])}. Put them back into bronze, or keep the old type"
        )
    return cast


def _days(seen: Snapshot, by: str = EVENT_DATE) -> set[date]:
    """The days of a table's rows, whatever its columns are; none where it lacks the one that tells them."""
    if seen.handle is None or seen.files.is_empty():
        return set()
    rows = pl.scan_delta(seen.handle)
    if by not in rows.collect_schema():
        return set()
    return set(rows.select(pl.col(by).cast(pl.Date).unique()).collect(engine="streaming")[by].drop_nulls().to_list())
