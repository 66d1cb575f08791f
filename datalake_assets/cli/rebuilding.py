"""`datalake rebuild`: silver anew from bronze, of a whole dataset or of some event dates."""

from datetime import UTC, date, datetime

from datalake_assets.lake.engines.polars import PolarsEngine
from datalake_assets.lake.lake import Lake
from datalake_assets.lake.spec.dataset import CdcTable, Dataset
from datalake_assets.lake.steps.context import Step
from datalake_assets.lake.steps.execute import execute
from datalake_assets.lake.steps.messages import StepReport, StepRequest
from datalake_assets.lake.steps.rebuild import RebuildRefusedError, rebuild_table
from datalake_assets.lake.steps.shape import ShapeChangedError

_EVERYTHING = 2**62


class RebuildError(ValueError):
    """A rebuild that can't be; says why and what to do."""


def rebuild_dataset(lake: Lake, dataset: Dataset, *, first: date | None, last: date | None, force: bool) -> StepReport:
    """Make a dataset's silver anew; with dates only what objects with events of these dates brought.

    What lies in bronze and is new is admitted first, where the whole dataset is rebuilt. Raises `RebuildError`; without
    `force` also where more records would be rejected than the dataset file allows: then the old tables stay.
    """
    now = datetime.now(UTC)
    try:
        if first is None and last is None:
            page = lake.landing.sweep(dataset, after=None, limit=_EVERYTHING, now=now)
            lake.ledger.admit(dataset, page.objects, identify=lake.landing.identified, now=now)
            return rebuild_table(Step(lake, PolarsEngine()), dataset, allow_rejects=force)
        if isinstance(dataset, CdcTable):
            raise RebuildError(f"{dataset.name} is a replicated table: it is rebuilt whole, without --from and --to")
        partitions = tuple(lake.ledger.reopen_dates(dataset.name, first, last))
        request = StepRequest(zone="silver", name=dataset.name, partitions=partitions)
        return execute(request, lake=lake, engine=PolarsEngine())
    except (RebuildRefusedError, ShapeChangedError) as error:
        raise RebuildError(str(error)) from error
