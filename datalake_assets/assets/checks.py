"""Asset checks of silver: they show the verdicts that steps have stored, and what silver is by construction.

They are told by the op that writes silver: one of their own would cost a step in each run, and list all partitions.
The verdict itself, and that it holds back gold, is the lake's affair (`steps/checks.py`): a check that blocks in
Dagster reaches no further than one run, and would fail every later run of the dataset besides.
"""

from collections.abc import Collection, Iterator, Sequence
from operator import attrgetter

import dagster as dg

from datalake_assets.lake.lake import Lake
from datalake_assets.lake.spec.dataset import Dataset
from datalake_assets.lake.steps.checks import rules
from datalake_assets.lake.store.verdicts import Verdict

_SHOWN, _NAMED = 20, 3


def check_specs(dataset: Dataset, silver: dg.AssetKey) -> list[dg.AssetCheckSpec]:
    """The checks of a dataset's silver asset."""
    return [dg.AssetCheckSpec(rule, asset=silver, description=text) for rule, text in rules(dataset).items()]


def _told(failing: Sequence[Verdict]) -> str:
    """What fails: the newest partition with its figures, the next few by name; and what waits for it."""
    newest = max(failing, key=attrgetter("partition"))
    others = sorted({v.partition for v in failing} - {newest.partition}, reverse=True)
    told = f"{newest.partition}: {newest.detail}"
    if others:
        more = f" and {len(others) - _NAMED} more" if len(others) > _NAMED else ""
        told += f". It fails for {', '.join(others[:_NAMED])}{more} too"
    dates = sorted({day for v in failing if v.blocking for day in v.dates})
    if dates:
        shown = f"{dates[0]}" if len(dates) == 1 else f"{dates[0]} to {dates[-1]} ({len(dates)} dates)"
        told += f". Gold waits for {shown}"
    return told


def check_results(lake: Lake, dataset: Dataset, checks: Collection[dg.AssetCheckKey]) -> Iterator[dg.AssetCheckResult]:
    """What the stored verdicts of a dataset say to these checks."""
    verdicts = lake.verdicts.of(dataset.name) if checks else []
    for check in sorted(checks):
        own = [v for v in verdicts if v.rule == check.name]
        failing = [v for v in own if not v.passed]
        shown = failing or own
        yield dg.AssetCheckResult(
            asset_key=check.asset_key,
            check_name=check.name,
            passed=not failing,
            severity=dg.AssetCheckSeverity.WARN
            if failing and not any(v.blocking for v in failing)
            else dg.AssetCheckSeverity.ERROR,
            description=_told(failing) if failing else None,
            metadata={
                "partitions_failing": len(failing),
                "verdicts": dg.MetadataValue.json({v.partition: v.detail for v in shown[:_SHOWN]}),
            },
        )
