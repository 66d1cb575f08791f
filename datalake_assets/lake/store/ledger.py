"""The ledger: which landed objects were admitted to which partition, and what became of them.

One row per landed object. The ledger is the memory of the lake: sensors ask it what is new, and silver takes from it
what to read. It is partitioned by dataset and landing month, so that asking about a partition reads one month's file.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import polars as pl

from datalake_assets.lake.store import delta
from datalake_assets.lake.store.landing import LandedObject, parse_partition
from datalake_assets.lake.store.step import ObjectOutcome

ADMITTED, PROCESSED, FAILED = "admitted", "processed", "failed"
_MOST_FILES = 50
_SCHEMA = pl.Schema(
    {
        "dataset": pl.String(),
        "month": pl.String(),
        "partition": pl.String(),
        "key": pl.String(),
        "etag": pl.String(),
        "size": pl.Int64(),
        "last_modified": pl.Datetime("us", "UTC"),
        "status": pl.String(),
        "rows_in": pl.Int64(),
        "rows_out": pl.Int64(),
        "rows_rejected": pl.Int64(),
        "error": pl.String(),
        "contract": pl.String(),
        "admitted_at": pl.Datetime("us", "UTC"),
        "processed_at": pl.Datetime("us", "UTC"),
    }
)
_IDENTITY = ("key", "etag", "size")


@dataclass(frozen=True, slots=True)
class Ledger:
    """The ledger at a place."""

    uri: str

    def rows(self, dataset: str, partitions: Collection[str]) -> pl.DataFrame:
        """The ledger's rows of some partitions of a dataset, in the order of their keys."""
        table = delta.scan(self.uri)
        if table is None or not partitions:
            return _SCHEMA.to_frame()
        return (
            table.filter(
                pl.col("dataset") == dataset,
                pl.col("month").is_in(sorted({_month(p) for p in partitions})),
                pl.col("partition").is_in(sorted(partitions)),
            )
            .sort(_IDENTITY)
            .collect()
        )

    def all_rows(self) -> pl.LazyFrame:
        """Every row of every dataset, lazily."""
        table = delta.scan(self.uri)
        return _SCHEMA.to_frame().lazy() if table is None else table

    def waiting(self, dataset: str, objects: Sequence[LandedObject]) -> list[LandedObject]:
        """Those of the landed objects that are not processed yet: unknown to the ledger, or admitted only.

        An object that the ledger knows is returned with the partition it was admitted to.
        """
        known = self._known(dataset, objects)
        found = ((o, *known.get(o.identity, (o.partition, ADMITTED))) for o in objects)
        return [replace(o, partition=partition) for o, partition, status in found if status == ADMITTED]

    def admit(self, dataset: str, objects: Sequence[LandedObject]) -> int:
        """Enter the objects that the ledger does not know yet; returns how many those were."""
        known = self._known(dataset, objects)
        now = datetime.now(UTC)
        new = [
            {
                "dataset": dataset,
                "month": _month(o.partition),
                "partition": o.partition,
                "key": o.key,
                "etag": o.etag,
                "size": o.size,
                "last_modified": o.last_modified,
                "status": ADMITTED,
                "admitted_at": now,
            }
            for o in objects
            if o.identity not in known
        ]
        if new:
            frame = pl.DataFrame(new, schema=_SCHEMA)
            delta.retry_conflicts(lambda: delta.append(self.uri, frame, partition_by=("dataset", "month")))
            for month in frame["month"].unique():
                delta.compact(self.uri, {"dataset": dataset, "month": month}, most_files=_MOST_FILES)
        return len(new)

    def _known(self, dataset: str, objects: Sequence[LandedObject]) -> dict[tuple[str, str, int], tuple[str, str]]:
        """The partition and the status of those objects that the ledger has, by their identity.

        An object that is older than its partition bears a date to come, so its partition moves with the clock; it
        may have been admitted to any, and is looked for in all.
        """
        rows = self.rows(dataset, {o.partition for o in objects})
        early = [o.key for o in objects if parse_partition(o.partition) > o.last_modified]
        table = delta.scan(self.uri) if early else None
        if table is not None:
            others = table.filter(pl.col("dataset") == dataset, pl.col("key").is_in(early)).collect()
            rows = pl.concat([rows, others])
        columns = [*_IDENTITY, "partition", "status"]
        return {(key, etag, size): (at, status) for key, etag, size, at, status in rows.select(columns).iter_rows()}

    def admitted(self, dataset: str, partitions: Collection[str], *, only_waiting: bool = False) -> list[LandedObject]:
        """The objects admitted to some partitions, one per key (the newest); or only those not processed yet."""
        rows = self.rows(dataset, partitions).sort("last_modified").unique("key", keep="last", maintain_order=True)
        if only_waiting:
            rows = rows.filter(pl.col("status") == ADMITTED)
        return sorted(
            LandedObject(r["key"], r["etag"], r["size"], r["last_modified"], r["partition"])
            for r in rows.iter_rows(named=True)
        )

    def complete(self, dataset: str, outcomes: Sequence[ObjectOutcome], *, contract: str) -> None:
        """Note what became of admitted objects; those with an `error` are failed, the others processed."""
        if not outcomes:
            return
        months = sorted({_month(o.partition) for o in outcomes})
        done = pl.DataFrame(
            [
                o.model_dump(include=set(ObjectOutcome.model_fields) - {"partition"})
                | {
                    "status": FAILED if o.error else PROCESSED,
                    "contract": contract,
                    "processed_at": datetime.now(UTC),
                }
                for o in outcomes
            ],
            schema_overrides=_SCHEMA,
        )
        known = self.rows(dataset, {o.partition for o in outcomes})
        keep = [name for name in _SCHEMA if name in _IDENTITY or name not in done.columns]
        # An older object of a key that a later one replaced counts as processed: its bytes are gone.
        superseded = (
            known.filter(pl.col("status") == ADMITTED)
            .join(done.select("key"), on="key", how="semi")
            .join(done, on=_IDENTITY, how="anti")
            .with_columns(status=pl.lit(PROCESSED), contract=pl.lit(contract), processed_at=datetime.now(UTC))
        )
        rows = known.select(keep).join(done, on=_IDENTITY, how="inner").select(*_SCHEMA)
        within = f"t.dataset = '{dataset}' AND ({delta.one_of('t.month', months)})"
        delta.merge(
            self.uri,
            pl.concat([rows, superseded.select(*_SCHEMA)]).cast(_SCHEMA),
            key=("dataset", "month", *_IDENTITY),
            within=within,
        )


def _month(partition: str) -> str:
    return partition[: len("2026-01")]
