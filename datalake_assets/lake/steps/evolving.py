"""Evolving the tables of a replicated table by what its landed files have besides: new columns, wider types.

A new column is a commit without files. A wider one is the table written anew from itself, as the values are the same;
no landed object is read for it, so it works also where these are gone. What was found is remembered before any row of
it is written, and each table tells by its last commit which columns it has: so a step that read by fewer columns is
refused at its commit and reads again, and one that dies in between is made good by the next.

Rows that were quarantined because their column was too narrow are read again with their objects, which are put back to
waiting before silver itself is widened: its form tells whether that was done.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import polars as pl

from datalake_assets.lake.lake import Lake
from datalake_assets.lake.readers.columns import content_hash
from datalake_assets.lake.readers.found_types import json_text
from datalake_assets.lake.spec import tables
from datalake_assets.lake.spec.columns import CONTENT_HASH, LEFT_OUT, RELOADED, SOURCE_FILENAME, UNKNOWN
from datalake_assets.lake.spec.dataset import CdcTable, Dataset
from datalake_assets.lake.spec.drift import grown_from
from datalake_assets.lake.spec.table_spec import TableSpec
from datalake_assets.lake.spec.types import LakeType
from datalake_assets.lake.spec.widening import ANY
from datalake_assets.lake.steps.context import Step
from datalake_assets.lake.steps.shape import require_shape
from datalake_assets.lake.store.conflicts import ConflictError, until_undisturbed
from datalake_assets.lake.store.dtypes import dtype_of
from datalake_assets.lake.store.notes import CommitNotes
from datalake_assets.lake.store.outcome import ObjectOutcome
from datalake_assets.lake.store.place import TablePlace
from datalake_assets.lake.store.snapshot import Snapshot
from datalake_assets.lake.store.table_files import TableFiles


@dataclass(frozen=True, slots=True)
class Widening:
    """Rows of a replicated table in its columns as they were, brought to those that they are now."""

    was: CdcTable
    now: CdcTable

    def __call__(self, rows: pl.LazyFrame) -> pl.LazyFrame:
        """The rows in their new types; the hash by which their changes are told apart is that of the new values."""
        present = rows.collect_schema().names()
        old = {name: column.lake_type for name, column in self.was.columns.items() if name in present}
        new = {name: column.lake_type for name, column in self.now.columns.items() if name in present}
        wider = rows.with_columns(
            _widened(pl.col(name), kind, new[name]).alias(name) for name, kind in old.items() if kind != new[name]
        )
        if CONTENT_HASH not in present:
            return wider
        hashed: dict[str, pl.DataType] = {name: dtype_of(kind) for name, kind in new.items()} | {UNKNOWN: pl.String()}
        kept = {name: f"kept {name}" for name in self.now.kept_columns}  # what was left out was hashed as null
        told = [~pl.col(LEFT_OUT).fill_null("").str.contains(f",{name},", literal=True) for name in kept]
        bare = wider.with_columns(pl.col(name).alias(aside) for name, aside in kept.items()).with_columns(
            pl.when(is_told).then(name).alias(name) for name, is_told in zip(kept, told, strict=True)
        )
        content = pl.when(pl.col(CONTENT_HASH) == RELOADED).then(pl.lit(RELOADED))
        anew = content.otherwise(content_hash(hashed, with_nulls=hashed.keys())).alias(CONTENT_HASH)
        whole = bare.with_columns(anew).with_columns(pl.col(aside).alias(name) for name, aside in kept.items())
        return whole.drop(kept.values())


def _widened(value: pl.Expr, was: LakeType, now: LakeType) -> pl.Expr:
    return json_text(value, dtype_of(was)) if now == ANY else value.cast(dtype_of(now))


def up_to_date(step: Step, dataset: Dataset) -> Dataset:
    """Bring a replicated table's tables to the columns that were found so far, and return the dataset with these.

    The step goes on with the lake as it is found now. Raises `ShapeChangedError` where the dataset file asks for other
    tables than there are.
    """

    def attempt() -> Dataset:
        silver = step.lake.silver(dataset).open()  # before what was found is asked for, which is always ahead of it
        step.lake = step.lake.as_found()
        grown = step.lake.datasets[dataset.name]
        require_shape(silver, grown)
        if isinstance(grown, CdcTable):
            own = step.lake.replica_tables(grown)
            for table in own.all:
                _evolve(step, grown, table.open(), is_told=table is not own.tombstones)
            if not silver.exists:  # all that was read yet is in quarantine
                _read_rejects_again(step, grown, list(grown.declared.columns))
        return grown

    return until_undisturbed(attempt, what=f"the columns of {dataset.name}")


def is_up_to_date(step: Step, dataset: Dataset) -> bool:
    """Whether nothing was found since a step asked for a dataset."""
    return not isinstance(dataset, CdcTable) or step.lake.as_found().datasets[dataset.name] == dataset


def remember(lake: Lake, dataset: Dataset, outcomes: Iterable[ObjectOutcome]) -> None:
    """Remember the columns of landed files that nobody has found before."""
    for columns in {tuple(outcome.columns.items()) for outcome in outcomes if outcome.columns}:
        lake.found_columns.enter(dataset.name, dict(columns))


def learn(step: Step, dataset: Dataset, outcomes: Iterable[ObjectOutcome]) -> bool:
    """Remember the columns of landed files that were just read; whether the dataset is another by what was found."""
    read = [outcome for outcome in outcomes if outcome.columns]
    remember(step.lake, dataset, read)
    return bool(read) and not is_up_to_date(step, dataset)


def _evolve(step: Step, dataset: CdcTable, seen: Snapshot, *, is_told: bool) -> None:
    """Bring one table to a dataset's columns. Raises `ConflictError` where another step has changed it meanwhile.

    `is_told`: whoever writes to it asks for its shape; tombstones have keys alone and are good under any.
    """
    if not seen.exists or seen.shape in {None, dataset.shape_text}:
        return
    was = grown_from(dataset, seen.shape or "")
    if was is None:
        if is_told and not is_up_to_date(step, dataset):
            raise ConflictError(f"{seen.table.uri}: it has more columns by now")
        if is_told:
            require_shape(seen, dataset)
        return
    before = _spec_of(was, seen)
    types = {name: column.type for name, column in before.columns.items()}
    wider = [name for name, text in types.items() if seen.table.spec.columns[name].type != text]
    notes = CommitNotes(shape=dataset.shape_text)
    if wider or seen.partition_by != seen.table.spec.partition_by:
        if seen.table.spec.name == dataset.name:
            _read_rejects_again(step, dataset, wider)
        files = TableFiles(TablePlace(before, seen.table.uri), seen.handle)
        with step.stage("evolve"):
            seen.swap(step.engine.copy(files, seen.table, by=Widening(was, dataset)), notes=notes)
    elif not seen.fits:
        seen.add_columns(notes=notes)


def _spec_of(dataset: CdcTable, seen: Snapshot) -> TableSpec:
    """What one of a dataset's tables was declared to be when the dataset was another."""
    own = seen.table.spec
    specs = {spec.name: spec for spec in tables.dataset_tables(dataset) if spec.zone == own.zone}
    return specs[own.name]


def _read_rejects_again(step: Step, dataset: CdcTable, columns: Sequence[str]) -> None:
    """Put objects back to waiting of which rows were quarantined for a value that a column's type could not hold."""
    types = {name: dataset.columns[name].type for name in columns if name in dataset.declared.columns}
    wide = {name: text for name, text in types.items() if text != dataset.declared.columns[name].type}
    if not wide:
        return
    reason = pl.element()
    too_narrow = pl.any_horizontal(
        reason.str.starts_with(f"/{name} type: ") & ~reason.str.ends_with(f" is no {text}")
        for name, text in wide.items()
    )
    rejects = step.lake.quarantine(dataset).open().scan().filter(pl.col("errors").list.eval(too_narrow).list.any())
    keys = rejects.select(pl.col(SOURCE_FILENAME).unique()).collect()[SOURCE_FILENAME].to_list()
    if keys:
        step.lake.ledger.reopen_objects(dataset.name, keys)
