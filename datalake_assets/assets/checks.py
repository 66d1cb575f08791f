"""Asset checks of silver: they show the verdicts that steps have stored, and what silver is by construction.

They are told by the op that writes silver: one of their own would cost a step in each run, and list all partitions.
The verdict itself, and that it holds back gold, is the lake's affair (`steps/checks.py`): a check that blocks in
Dagster reaches no further than one run, and would fail every later run of the dataset besides.
"""

from collections.abc import Collection, Iterator

import dagster as dg

from datalake_assets.lake.lake import Lake
from datalake_assets.lake.spec.dataset import Dataset
from datalake_assets.lake.steps.checks import rules

_SHOWN = 20


def check_specs(dataset: Dataset, silver: dg.AssetKey) -> list[dg.AssetCheckSpec]:
    """The checks of a dataset's silver asset."""
    return [dg.AssetCheckSpec(rule, asset=silver, description=text) for rule, text in rules(dataset).items()]


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
            description=f"{failing[0].partition}: {failing[0].detail}" if failing else None,
            metadata={
                "partitions_failing": len(failing),
                "verdicts": dg.MetadataValue.json({v.partition: v.detail for v in shown[:_SHOWN]}),
            },
        )
