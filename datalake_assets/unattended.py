"""What runs the lake where no orchestrator does: all that has landed, to gold, in one process.

Belongs here: the way round while Dagster is away, as a job of Glue (`infra/README.md`, "Without Dagster"). It does the
same steps on the same tables; what it lacks are runs, retries, pools and the UI. Nothing else may write meanwhile.
"""

import argparse
import logging
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from datalake_assets.lake.engines.base import Engine
from datalake_assets.lake.engines.polars import PolarsEngine
from datalake_assets.lake.lake import Lake
from datalake_assets.lake.readers.batch import Limits
from datalake_assets.lake.readers.readable import check_readable
from datalake_assets.lake.spec.dataset_files import load_datasets
from datalake_assets.lake.steps.execute import execute
from datalake_assets.lake.steps.messages import StepRequest
from datalake_assets.lake.steps.planning import EVERYTHING, admit, gold_work, landing_work, undone
from datalake_assets.lake.store.layout import Layout
from datalake_assets.lake.store.store_check import check_stores

ZONES = ("root", "bronze", "silver", "gold", "quarantine")
"""The arguments, as `--root PLACE`: the fields of the layout."""
_ROUNDS = 20
_DATASETS = Path(__file__).parent / "datasets"
_log = logging.getLogger(__name__)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the lake that the arguments name to its end.

    Exits with 1 where something is left undone or a step failed, after all others were done; Glue then shows a failed
    run. Arguments that are not this program's are the platform's, and passed over.
    """
    parser = argparse.ArgumentParser(prog="python -m datalake_assets.unattended", description=main.__doc__)
    for zone in ZONES:
        parser.add_argument(f"--{zone}", required=True, help=f"the place of {zone}, such as s3://BUCKET")
    parser.add_argument("--datasets", type=Path, default=_DATASETS, help="the folder of the dataset files")
    given, _ = parser.parse_known_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    layout = Layout(**{zone: getattr(given, zone) for zone in ZONES})
    check_stores(layout, writes=True)
    datasets = load_datasets(given.datasets, check=check_readable)
    left = run_to_the_end(Lake(layout=layout, datasets=datasets, limits=Limits()), PolarsEngine())
    for line in left:
        _log.error("%s", line)
    sys.exit(1 if left else 0)


def run_to_the_end(lake: Lake, engine: Engine) -> list[str]:
    """Bring all that has landed to silver, then compute what gold owes; returns what is left, one line each.

    What raises stops nothing else: it is told, and not tried again here.
    """
    failed: dict[str, str] = {}
    for name in lake.datasets:
        with _told(f"silver/{name}", failed):
            _bring(lake, engine, name)
    with _told("gold", failed):
        for _ in range(_ROUNDS):  # a table made of other gold tables is due when they are done
            work = {name: owed for name, owed in gold_work(lake, now=datetime.now(UTC)).items() if owed.is_due}
            due = {name: owed for name, owed in sorted(work.items()) if f"gold/{name}" not in failed}
            for name, owed in due.items():
                with _told(f"gold/{name}", failed):
                    dates = tuple(sorted(owed.dates))
                    _execute(lake, engine, StepRequest(zone="gold", name=name, dates=dates, only_due=True))
            if not due:
                break
    left: list[str] = []
    with _told("what is left", failed):
        left = undone(lake, now=datetime.now(UTC))
    return [*failed.values(), *left]


def _bring(lake: Lake, engine: Engine, name: str) -> None:
    dataset, now = lake.datasets[name], datetime.now(UTC)
    work = landing_work(lake, dataset, after=None, lookback=timedelta(0), limit=EVERYTHING, now=now)
    partitions = tuple(sorted(work.waiting))
    if partitions:
        admit(lake, dataset, partitions, now=now)
        _execute(lake, engine, StepRequest(zone="silver", name=name, partitions=partitions))


def _execute(lake: Lake, engine: Engine, request: StepRequest) -> None:
    report = execute(request, lake=lake, engine=engine)
    what = f"{request.zone}/{request.name}"
    _log.info("%s: %d records in, %d out, %d rejected", what, report.rows_in, report.rows_out, report.rows_rejected)
    for line in report.failed:
        _log.warning("%s: %s", what, line)


@contextmanager
def _told(what: str, failed: dict[str, str]) -> Iterator[None]:
    """Note what a piece of work raises, so that the others go on."""
    try:
        yield
    except Exception as error:  # noqa: BLE001 (whatever it is, the others must go on)
        _log.exception("%s failed", what)
        failed[what] = f"{what}: {error}"


if __name__ == "__main__":
    main()
