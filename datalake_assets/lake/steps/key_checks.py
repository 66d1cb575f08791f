"""The check that keys stand once in silver.

They do because every commit sees to it; a step that meets one twice all the same, such as where something else than the
lake wrote the table, says so before it writes.
"""

from datetime import UTC, date, datetime
from typing import Any

import narwhals as nw

from datalake_assets.lake.spec.columns import EVENT_DATE, RECORD_HASH
from datalake_assets.lake.spec.dataset import Dataset, EventStream
from datalake_assets.lake.steps.context import Step
from datalake_assets.lake.store.verdicts import Verdict

KEY_UNIQUE = "key_unique"
Frame = nw.LazyFrame[Any]


def description(dataset: Dataset) -> str:
    """What the check says of a dataset."""
    return f"Each {', '.join(dataset.key) or 'record'} stands once{' in its event date' if _by_date(dataset) else ''}."


def note_repeated_keys(step: Step, dataset: Dataset, rows: Frame) -> None:
    """Enter a verdict for the event dates on which some rows of silver, read to be changed, share a key."""
    key = _identity(dataset)
    repeated = step.engine.rows(
        rows.with_columns(nw.len().over(*key).alias("_rows"))
        .filter(nw.col("_rows") > 1)
        .group_by(EVENT_DATE)
        .agg(nw.len().alias("rows"))
    )
    verdicts = [_key_verdict(dataset, r[EVENT_DATE], r["rows"]) for r in repeated if r[EVENT_DATE] is not None]
    if verdicts:
        step.lake.verdicts.store(dataset.name, lambda: verdicts, now=datetime.now(UTC))


def check_repeated_keys(step: Step, dataset: Dataset) -> None:
    """Look again at the event dates of which a step has said that keys stand on them twice."""
    failing = {v.dates[0] for v in step.lake.verdicts.of(dataset.name) if v.rule == KEY_UNIQUE and not v.passed}
    if not failing:
        return
    seen = step.lake.silver(dataset).open()
    key = _identity(dataset)
    rows = step.engine.scan(seen, dates=failing if _by_date(dataset) else None)
    repeated = rows.with_columns(nw.len().over(*key).alias("_rows")).filter(nw.col("_rows") > 1)
    counted = step.engine.rows(repeated.group_by(EVENT_DATE).agg(nw.len().alias("rows")))
    left = {row[EVENT_DATE]: row["rows"] for row in counted}
    verdicts = [_key_verdict(dataset, day, left.get(day, 0)) for day in sorted(failing)]
    step.lake.verdicts.store(dataset.name, lambda: verdicts, now=datetime.now(UTC))


def _key_verdict(dataset: Dataset, day: date, rows: int) -> Verdict:
    detail = f"{rows:,} rows of {day} share their {', '.join(dataset.key) or 'record'} with another"
    if rows:
        detail += f". Something else than the lake wrote them: run `datalake rebuild {dataset.name}`"
    return Verdict(KEY_UNIQUE, day.isoformat(), passed=rows == 0, blocking=True, detail=detail, dates=(day,))


def _by_date(dataset: Dataset) -> bool:
    return isinstance(dataset, EventStream)


def _identity(dataset: Dataset) -> list[str]:
    key = list(dataset.key) or [RECORD_HASH]
    return [EVENT_DATE, *key] if _by_date(dataset) else key
