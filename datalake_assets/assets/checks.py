"""Blocking checks between silver and gold: each asks only about what the last step of a dataset touched."""

from collections.abc import Iterator
from datetime import UTC, datetime

import dagster as dg
import polars as pl

from datalake_assets.assets.silver import silver_key
from datalake_assets.lake.lake import Lake
from datalake_assets.lake.spec.columns import EVENT_DATE, RECORD_HASH
from datalake_assets.lake.spec.dataset import CdcTable, Dataset
from datalake_assets.lake.store import delta
from datalake_assets.lake.store.step_log import BLOCKED

_KEY_UNIQUE, _REQUIRED, _REJECTED, _DATES = "key_unique", "required_columns", "rejected_fraction", "key_on_one_date"
_SHOWN = 20


def build_silver_checks(lake: Lake, dataset: Dataset) -> dg.AssetChecksDefinition:
    """The checks of a dataset's silver table. All but `key_on_one_date` (a warning) block gold."""
    key = silver_key(dataset)
    identity = list(dataset.key) or [RECORD_HASH]
    required = [name for name, column in dataset.columns.items() if column.required or name in dataset.key]
    stream = not isinstance(dataset, CdcTable)
    descriptions = {
        _KEY_UNIQUE: f"Each {', '.join(identity)} stands once{' in its event date' if stream else ''}.",
        _REQUIRED: f"No NULL in {', '.join(required) or 'any required column'}.",
        _REJECTED: f"At most {dataset.max_rejected_fraction:.1%} of a partition's records are rejected.",
        _DATES: "Keys that stand on more than one event date; counted, as they may be right.",
    }
    names = [_KEY_UNIQUE, _REQUIRED, _REJECTED, *([_DATES] if stream and dataset.key else [])]

    @dg.multi_asset_check(
        name=f"checks_{dataset.name}",
        specs=[
            dg.AssetCheckSpec(name, asset=key, description=descriptions[name], blocking=name != _DATES)
            for name in names
        ],
        can_subset=True,
    )
    def checks(context: dg.AssetCheckExecutionContext) -> Iterator[dg.AssetCheckResult]:
        wanted = {check.name for check in context.selected_asset_check_keys}
        steps = lake.step_log.recent_rows(now=datetime.now(UTC))
        steps = steps.filter(pl.col("zone") == "silver", pl.col("name") == dataset.name)
        rows = _last_touched(lake, dataset, steps)
        if _KEY_UNIQUE in wanted:
            by = [EVENT_DATE, *identity] if stream else identity
            repeated = rows.group_by(by).len().filter(pl.col("len") > 1).head(_SHOWN).collect()
            yield _result(key, _KEY_UNIQUE, repeated.select(identity).to_dicts(), label="repeated_keys")
        if _REQUIRED in wanted:
            nulls = rows.select(pl.col(required).null_count()).collect().to_dicts()[0] if required else {}
            bad = [{"column": name, "nulls": count} for name, count in nulls.items() if count]
            yield _result(key, _REQUIRED, bad, label="columns")
        if _REJECTED in wanted:
            latest = steps.unique("partition", keep="last", maintain_order=True)
            above = latest.filter(pl.col("status") == BLOCKED).select("partition", "rows_in", "rows_rejected")
            yield _result(key, _REJECTED, above.to_dicts(), label="partitions")
        if _DATES in wanted:
            days = rows.group_by(identity).agg(pl.col(EVENT_DATE).n_unique().alias("dates"))
            several = days.filter(pl.col("dates") > 1).select(pl.len()).collect().item()
            yield dg.AssetCheckResult(
                asset_key=key,
                check_name=_DATES,
                passed=several == 0,
                severity=dg.AssetCheckSeverity.WARN,
                metadata={"keys": several},
            )

    return checks


def _last_touched(lake: Lake, dataset: Dataset, steps: pl.DataFrame) -> pl.LazyFrame:
    """The silver rows of the event dates that the dataset's last step touched."""
    table = delta.scan(lake.layout.silver_table(dataset.name))
    if table is None:
        empty = {name: pl.String() for name in (*dataset.columns, EVENT_DATE, RECORD_HASH)}
        return pl.LazyFrame(schema=empty)
    touching = steps.filter(pl.col("touched_dates").list.len() > 0)
    days = touching["touched_dates"][-1].to_list() if touching.height else []
    return table.filter(pl.col(EVENT_DATE).is_in(days) | pl.col(EVENT_DATE).is_null())


def _result(key: dg.AssetKey, name: str, faults: list[dict[str, object]], *, label: str) -> dg.AssetCheckResult:
    shown = [{n: str(v) for n, v in fault.items()} for fault in faults[:_SHOWN]]
    return dg.AssetCheckResult(
        asset_key=key,
        check_name=name,
        passed=not faults,
        metadata={"faults": len(faults), label: dg.MetadataValue.json(shown)},
    )
