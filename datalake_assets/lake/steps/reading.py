"""What silver steps and rebuilds share: reading a dataset's objects in batches, and telling what was done."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from datalake_assets.lake.engines.base import Frame
from datalake_assets.lake.readers.batch import Batch
from datalake_assets.lake.spec.dataset import Dataset, EventStream
from datalake_assets.lake.spec.tables import silver_table
from datalake_assets.lake.steps.context import Step
from datalake_assets.lake.steps.messages import PartitionCounts, StepReport
from datalake_assets.lake.store.landing import LandedObject
from datalake_assets.lake.store.lateness import Lateness
from datalake_assets.lake.store.objects import Objects
from datalake_assets.lake.store.outcome import ObjectOutcome
from datalake_assets.lake.transforms import quality


@dataclass(frozen=True, slots=True)
class _Load:
    """Reads an object's bytes, those of the very object that the ledger has, in whatever process."""

    objects: Objects
    limit: int

    def __call__(self, landed: LandedObject) -> bytes:
        return self.objects.read(landed.key, etag=landed.etag, size=landed.size, limit=self.limit)


@dataclass(frozen=True, slots=True)
class _Prepare:
    """Scores records, and brings events into silver's columns."""

    dataset: Dataset

    def __call__(self, accepted: Frame) -> Frame:
        if isinstance(self.dataset, EventStream):
            columns = list(self.dataset.columns)
            scored = quality.score(accepted, columns=columns, weights=self.dataset.quality.score)
            return scored.select(*silver_table(self.dataset).columns)
        columns = list(self.dataset.declared.columns)  # a column that is found later changes no row's score
        return quality.score(accepted, columns=columns)


def read(step: Step, dataset: Dataset, objects: Sequence[LandedObject]) -> Iterator[Batch]:
    """The objects in batches, each object checked to be the one that the ledger has."""
    lake = step.lake
    load = _Load(lake.landing.objects, lake.limits.object_bytes)
    return step.engine.read(dataset, load, objects, limits=lake.limits, prepare=_Prepare(dataset))


def report(
    step: Step,
    dataset: Dataset,
    outcomes: Sequence[ObjectOutcome],
    partitions: Sequence[str],
    rejects: Counter[str],
) -> StepReport:
    """What a silver step did, told of some partitions."""
    late = Lateness.together(o.lateness for o in outcomes)
    return StepReport(
        zone="silver",
        name=dataset.name,
        engine=step.engine.name,
        started_at=step.started_at,
        partitions=tuple(_count(partition, outcomes) for partition in partitions),
        objects=tuple(o.model_copy(update={"lateness": None}) for o in outcomes),
        rows_written=step.rows_written,
        bytes_in=sum(o.size for o in outcomes),
        rejects=dict(rejects),
        touched_dates=tuple(sorted(step.touched)),
        table_version=step.lake.silver(dataset).open().version,
        seconds=dict(step.seconds),
        lateness={} if late is None else {"p50": late.quantile(0.5), "p99": late.quantile(0.99), "max": late.most},
        watermark=None if late is None else late.watermark,
        failed=tuple(f"{o.key}: {o.error}" for o in outcomes if o.state == "failed" and not o.final),
    )


def _count(partition: str, outcomes: Sequence[ObjectOutcome]) -> PartitionCounts:
    own = [o for o in outcomes if o.partition == partition]
    return PartitionCounts(
        partition=partition,
        rows_in=sum(o.rows_in for o in own),
        rows_out=sum(o.rows_out for o in own),
        rows_rejected=sum(o.rows_rejected for o in own),
    )
