"""One step: a request in, tables written, a report out, on whatever engine is given."""

from datalake_assets.lake.engines.base import Engine
from datalake_assets.lake.lake import Lake
from datalake_assets.lake.steps.context import Step
from datalake_assets.lake.steps.gold import compute_gold
from datalake_assets.lake.steps.messages import StepReport, StepRequest
from datalake_assets.lake.steps.silver import refresh_silver


def execute(request: StepRequest, *, lake: Lake, engine: Engine) -> StepReport:
    """Do what a request asks for and tell what was done.

    Raises `KeyError` for a dataset or gold table that the lake does not have, `ShapeChangedError` where a dataset must
    be rebuilt first, and whatever the storage raises; what was committed before that stays, and running the request
    again makes the rest.
    """
    step = Step(lake, engine)
    if request.zone == "gold":
        step.lake = lake.as_found()
        gold = step.lake.gold_tables[request.name]
        return compute_gold(step, gold, request.dates, only_due=request.only_due, earlier=request.earlier)
    partitions = request.partitions
    if request.earlier:
        partitions = (*lake.ledger.figures.partitions_before(request.name, min(partitions)), *partitions)
    return refresh_silver(step, lake.datasets[request.name], partitions, replay=request.replay)
