"""The asset check `reconciled` of replicated tables: silver beside its source, where the settings name one.

It is an op of its own, run by its own job and schedule: it reads the whole table on both sides, which no
materialization should pay for.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import dagster as dg

from datalake_assets.assets.silver import silver_key
from datalake_assets.lake.lake import Lake
from datalake_assets.lake.spec.dataset import CdcTable, Dataset
from datalake_assets.settings import Settings

if TYPE_CHECKING:
    from datalake_assets.reconcile.result import Reconciliation

CHECK = "reconciled"
_PREFIX_PARTS = 3  # dms/<schema>/<table>


def reconciled_datasets(lake: Lake, settings: Settings) -> list[Dataset]:
    """The replicated tables that can be compared: those whose landing prefix tells a table of the source."""
    if settings.source_url is None:
        return []
    return [d for d in lake.datasets.values() if isinstance(d, CdcTable) and _tells_table(d)]


def reconciled_keys(lake: Lake, settings: Settings) -> list[dg.AssetCheckKey]:
    """The checks that compare silver with a source."""
    return [dg.AssetCheckKey(silver_key(dataset), CHECK) for dataset in reconciled_datasets(lake, settings)]


def build_reconciled(lake: Lake, settings: Settings) -> list[dg.AssetChecksDefinition]:
    """A check for each replicated table of a lake whose source the settings name; else none."""
    return [_build(lake, dataset, settings) for dataset in reconciled_datasets(lake, settings)]


def _build(lake: Lake, dataset: Dataset, settings: Settings) -> dg.AssetChecksDefinition:
    spec = dg.AssetCheckSpec(
        CHECK,
        asset=silver_key(dataset),
        blocking=False,
        description="Silver has the rows that the source has, but for what it has yet to follow.",
    )

    # That its result may be left out is what `can_subset` is for here.
    @dg.multi_asset_check(name=f"reconcile_{dataset.name}", specs=[spec], can_subset=True, pool="reconcile")
    def reconciled(context: dg.AssetCheckExecutionContext) -> Iterator[dg.AssetCheckResult]:
        from datalake_assets.reconcile.plan import ReconcileError
        from datalake_assets.reconcile.reconcile import Ask, reconcile
        from datalake_assets.replicate.session import ReplicationError

        if context.run.asset_selection:
            context.log.info("not compared: a run that materializes assets does not read the source")
            return
        assert settings.source_url is not None  # noqa: S101 (there are no checks without)
        url = settings.source_url.get_secret_value()
        try:
            found = reconcile(lake, dataset, url, ask=Ask(settle=settings.settle_seconds))
        except (ReconcileError, ReplicationError) as error:
            raise dg.Failure(str(error)) from None
        yield dg.AssetCheckResult(
            check_name=CHECK,
            asset_key=silver_key(dataset),
            passed=found.agrees,
            severity=dg.AssetCheckSeverity[settings.reconcile_severity.upper()],
            description=_described(found),
            metadata=_metadata(found),
        )

    return reconciled


def _described(found: "Reconciliation") -> str | None:
    if found.agrees:
        return None
    if not found.differing:
        return "not known: rows went on changing in the source while silver was waited for"
    more = "at least " if found.is_cut_short else ""
    keys = "1 key differs" if found.differing == 1 else f"{found.differing:,} keys differ"
    return (
        f"{more}{keys}: {found.changed:,} changed, {found.missing:,} missing in silver, "
        f"{found.extra:,} not in the source; `datalake reconcile {found.dataset} --show-values` shows them"
    )


def _metadata(found: "Reconciliation") -> dict[str, Any]:
    """The figures, and the first keys that differ, without their values."""
    told = found.told(values=False)
    as_json = {name: dg.MetadataValue.json(told.pop(name)) for name in ("differences", "left_out")}
    return {name: value for name, value in told.items() if name not in {"dataset", "agrees"}} | as_json


def _tells_table(dataset: Dataset) -> bool:
    parts = dataset.landing.prefix.split("/")
    return len(parts) == _PREFIX_PARTS and parts[0] == "dms"
