"""Driving a lake without an orchestrator: plan, admit, step, until nothing is left; and killing it on the way."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta

import pytest

from datalake_assets.lake.engines.polars import PolarsEngine
from datalake_assets.lake.lake import Lake
from datalake_assets.lake.spec.dataset import Dataset
from datalake_assets.lake.steps import planning
from datalake_assets.lake.steps.execute import execute
from datalake_assets.lake.steps.messages import StepRequest
from datalake_assets.lake.steps.rebuild import RebuildRefusedError
from datalake_assets.lake.steps.shape import ShapeChangedError
from datalake_assets.lake.store.snapshot import Snapshot


class KilledError(BaseException):
    """The process is gone: nothing catches this."""


def land_all(lake: Lake, dataset: Dataset) -> int:
    """Admit and process all that waits of a dataset, in one step; returns how many partitions those were."""
    now = datetime.now(UTC)
    work = planning.landing_work(lake, dataset, after=None, lookback=timedelta(0), limit=planning.EVERYTHING, now=now)
    partitions = tuple(work.waiting)
    if partitions:
        planning.admit(lake, dataset, partitions, now=now)
        step(lake, StepRequest(zone="silver", name=dataset.name, partitions=partitions))
    return len(partitions)


def compute_gold(lake: Lake) -> int:
    """Compute what gold owes; returns how many tables owed something."""
    now = datetime.now(UTC)
    due = {name: work for name, work in planning.gold_work(lake, now=now).items() if work.is_due}
    for name, work in due.items():
        step(lake, StepRequest(zone="gold", name=name, dates=tuple(sorted(work.dates)), only_due=True))
    return len(due)


def step(lake: Lake, request: StepRequest) -> None:
    """Run one step; a rebuild that is refused, or that is asked for first, leaves things as they are."""
    with suppress(ShapeChangedError, RebuildRefusedError):
        execute(request, lake=lake, engine=PolarsEngine())


def run_to_the_end(lake: Lake, *, rounds: int = 12) -> None:
    """Everything that has landed, to gold."""
    for _ in range(rounds):
        done = sum(land_all(lake, dataset) for dataset in lake.datasets.values())
        if not done + compute_gold(lake):
            return
    raise AssertionError(f"still at work: {planning.undone(lake, now=datetime.now(UTC))}")


def replay(lake: Lake, dataset: Dataset, partitions: tuple[str, ...]) -> None:
    """Read the objects of some partitions again, as a person does by materializing silver."""
    step(lake, StepRequest(zone="silver", name=dataset.name, partitions=partitions, replay=True))


def side_by_side(*calls: Callable[[], object]) -> None:
    """Run calls in threads of their own; raises the first error of any."""
    errors: list[BaseException] = []

    def guarded(call: Callable[[], object]) -> None:
        try:
            call()
        except BaseException as error:  # noqa: BLE001 (raised below, in the test's own thread)
            errors.append(error)

    threads = [threading.Thread(target=guarded, args=(call,)) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


@contextmanager
def killed_at_commit(number: int, *, after: bool) -> Iterator[None]:
    """Die at the n-th commit to any table from now on: before it is made, or right after."""
    left = number

    def dying(method: Callable[..., int]) -> Callable[..., int]:
        def commit(*args: object, **kwargs: object) -> int:
            nonlocal left
            left -= 1
            if left == 0 and not after:
                raise KilledError
            version = method(*args, **kwargs)
            if left == 0:
                raise KilledError
            return version

        return commit

    with pytest.MonkeyPatch.context() as patch:
        for name in ("commit", "swap", "add_columns"):
            patch.setattr(Snapshot, name, dying(getattr(Snapshot, name)))
        with suppress(KilledError):
            yield
