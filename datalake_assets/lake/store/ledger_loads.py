"""What the ledger knows of the full loads of replicated tables: which there are, and what was done about them.

Which files make a load is worked out (`full_loads.py`) from the rows of the ledger, each time: a load that comes to
light late changes what the files around it belong to.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import polars as pl

from datalake_assets.lake.spec.dataset import Dataset
from datalake_assets.lake.store.full_loads import FullLoad, full_loads, load_files, starts_of
from datalake_assets.lake.store.key_times import LAST, named_time
from datalake_assets.lake.store.landing import is_full_load, partition_key
from datalake_assets.lake.store.ledger_lookup import rows_of_keys, within
from datalake_assets.lake.store.ledger_rows import ADMITTED, IDENTITY, Row, identity_of
from datalake_assets.lake.store.outcome import FAILED, MISSING, PROCESSED, SUPERSEDED, ObjectOutcome
from datalake_assets.lake.store.snapshot import Snapshot
from datalake_assets.lake.store.table import Table

_IDENTITY = list(IDENTITY)
_TIMES = ("loaded_at", "loaded_until")
_TOLD_OF_LOADS = ("key", "status", *_TIMES, "ends_load", "load_settled", "rows_rejected", "processed_at")


@dataclass(frozen=True, slots=True)
class LedgerLoads:
    """The full loads in the ledger's table."""

    table: Table

    def known(self, dataset: Dataset) -> tuple[FullLoad, ...]:
        """The full loads of a table whose rows tell when they were transferred, in their order."""
        seen = self.table.open()
        rows = _rows_of_loads(seen, dataset, _TOLD_OF_LOADS)

        def changes_between(after: datetime, before: datetime | None) -> bool:
            has_changes = self._has_changes(seen, dataset, after, before or LAST)
            return has_changes and (before is not None or not self._is_loading(seen, dataset))

        return full_loads(load_files(rows), changes_between=changes_between)

    def overwritten(self, dataset: Dataset) -> dict[str, datetime]:
        """The files of full loads over which others lie that took nothing back, by key.

        And when the last of their rows was transferred: those of what lies there now, if any, were later.
        """
        rows = _rows_of_loads(self.table.open(), dataset, ("key", "status", *_TIMES))
        is_over = pl.col("status") == SUPERSEDED
        now = rows.filter(~is_over).select("key", pl.col("loaded_at").alias("now"))
        before = rows.filter(is_over).join(now, on="key", how="left")
        stays = before.filter(pl.col("now").is_null() | (pl.col("now") > pl.col("loaded_until")))
        return dict(stays.group_by("key").agg(pl.col("loaded_until").max()).iter_rows())

    def _has_changes(self, seen: Snapshot, dataset: Dataset, after: datetime, before: datetime) -> bool:
        """Whether DMS wrote a file of changes within some time."""
        first = partition_key(dataset, after - timedelta(days=1))  # a folder tells of commits, which are earlier
        rows = seen.scan({"dataset": [dataset.name]}).filter(
            pl.col("partition") >= first, pl.col("loaded_at").is_null()
        )
        times = map(named_time, rows.select("key").collect()["key"])
        return any(time is not None and after < time < before for time in times)

    def _is_loading(self, seen: Snapshot, dataset: Dataset) -> bool:
        """Whether a file of a full load is not in silver yet."""
        left = pl.col("status").is_in([ADMITTED, FAILED, MISSING]) & pl.col("loaded_at").is_null()
        keys = seen.scan({"dataset": [dataset.name]}).filter(left).select("key").collect()["key"]
        return any(map(is_full_load, keys))

    def tell(self, dataset: Dataset, outcomes: Iterable[ObjectOutcome]) -> None:
        """Note when files of full loads were transferred, before any of their rows is written.

        Files that came before the first of their load, and were taken for an earlier one's, are to be read again: what
        they say leads now.
        """
        told = {(o.key, o.etag, o.size): o for o in outcomes if o.loaded_at is not None}
        if not told:
            return
        parts = within(dataset, [key for key, _, _ in told])

        def decide(seen: Snapshot) -> None:
            rows = rows_of_keys(seen, parts, [key for key, _, _ in told]).to_dicts()
            found = [(row, told[identity_of(row)]) for row in rows if identity_of(row) in told]
            news = [
                (row, {"loaded_at": o.loaded_at, "loaded_until": o.loaded_until, "ends_load": o.ends_load})
                for row, o in found
            ]
            new = [row | told for row, told in news if row | told != row]
            if new:
                known = _rows_of_loads(seen, dataset)
                again = _of_another_load(known, pl.DataFrame(new, schema=self.table.dtypes))
                frame = pl.DataFrame([*new, *again], schema=self.table.dtypes)
                touched = within(dataset, frame["key"].to_list())
                seen.change(add=frame, remove=frame.select(_IDENTITY), on=_IDENTITY, within=touched)

        self.table.transact(decide)

    def settle(self, dataset: Dataset, loads: Collection[FullLoad]) -> None:
        """Note that what complete loads lack is taken out."""
        self._mark(dataset, loads, settled=True)

    def unsettle(self, dataset: Dataset) -> None:
        """Note that nothing is taken out for loads that were settled, and are not complete after all."""
        undone = [load for load in self.known(dataset) if load.was_settled and not load.is_complete]
        self._mark(dataset, undone, settled=False)

    def _mark(self, dataset: Dataset, loads: Collection[FullLoad], *, settled: bool) -> None:
        if not loads:
            return

        def decide(seen: Snapshot) -> None:
            rows = _rows_of_loads(seen, dataset)
            starts = starts_of(load_files(rows))
            begun = {load.started_at for load in loads}
            of_them = [
                row | {"load_settled": settled}
                for row in rows.iter_rows(named=True)
                if starts.get((row["key"], row["loaded_at"])) in begun
                and (row["processed_at"] is not None or not settled)
            ]
            if of_them:
                frame = pl.DataFrame(of_them, schema=self.table.dtypes)
                parts = within(dataset, frame["key"].to_list())
                seen.change(add=frame, remove=frame.select(_IDENTITY), on=_IDENTITY, within=parts)

        self.table.transact(decide)


def _rows_of_loads(seen: Snapshot, dataset: Dataset, columns: Sequence[str] | None = None) -> pl.DataFrame:
    """The rows of a table's full loads that tell when they were transferred, from the files that hold any."""
    files = seen.files_within({"dataset": [dataset.name]})
    holding = files.filter(pl.col("max.loaded_at").is_not_null()) if "max.loaded_at" in files.columns else files.clear()
    rows = seen.scan_files(holding, columns).drop("_file")
    return rows.filter(pl.col("loaded_at").is_not_null()).collect()


def _of_another_load(known: pl.DataFrame, new: pl.DataFrame) -> list[Row]:
    """Rows of files that belong to a later load, now that more files are known, as those that wait to be read."""
    before = starts_of(load_files(known))
    others = known.join(new, on=_IDENTITY, how="anti")
    after = starts_of(load_files(pl.concat([others.select(new.columns), new])))
    return [
        row | {"status": ADMITTED, "retry_at": None, "processed_at": None}
        for row in others.select(new.columns).filter(pl.col("status") == PROCESSED).iter_rows(named=True)
        if after[row["key"], row["loaded_at"]] > before[row["key"], row["loaded_at"]]
    ]
