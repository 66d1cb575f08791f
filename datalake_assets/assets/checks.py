"""Asset checks of silver: they show the verdicts that steps have stored, and what silver is by construction.

The verdict itself, and that it holds back gold, is the lake's affair (`steps/checks.py`): a check that blocks in
Dagster reaches no further than one run, and would fail every later run of the dataset besides.
"""

from collections.abc import Iterator

import dagster as dg

from datalake_assets.assets.silver import silver_key
from datalake_assets.lake.lake import Lake
from datalake_assets.lake.spec.dataset import Dataset
from datalake_assets.lake.steps.checks import RULES

_SHOWN = 20


def build_silver_checks(lake: Lake, dataset: Dataset) -> dg.AssetChecksDefinition:
    """The checks of a dataset's silver table."""
    key = silver_key(dataset)

    @dg.multi_asset_check(
        name=f"checks_{dataset.name}",
        specs=[dg.AssetCheckSpec(rule, asset=key, description=describe(dataset)) for rule, describe in RULES.items()],
        can_subset=True,
    )
    def checks(context: dg.AssetCheckExecutionContext) -> Iterator[dg.AssetCheckResult]:
        verdicts = lake.verdicts.of(dataset.name)
        for check in sorted(context.selected_asset_check_keys):
            own = [v for v in verdicts if v.rule == check.name]
            failing = [v for v in own if not v.passed]
            shown = failing or own
            yield dg.AssetCheckResult(
                asset_key=key,
                check_name=check.name,
                passed=not failing,
                description=f"{failing[0].partition}: {failing[0].detail}" if failing else None,
                metadata={
                    "partitions_failing": len(failing),
                    "verdicts": dg.MetadataValue.json({v.partition: v.detail for v in shown[:_SHOWN]}),
                },
            )

    return checks
