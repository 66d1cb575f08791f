"""The check of drift: whether a replicated table's files have values that the declared types can't hold.

Belongs here: what quarantine tells of it, partition by partition. That such a row is quarantined is the readers' doing;
a column that is new or wider is no fault, and is told by the tables' schemas.
"""

import re
from collections import Counter
from collections.abc import Collection

import polars as pl

from datalake_assets.lake.lake import Lake
from datalake_assets.lake.spec.columns import SOURCE_FILENAME
from datalake_assets.lake.spec.dataset import CdcTable, Dataset
from datalake_assets.lake.store.verdicts import Verdict

SCHEMA_DRIFT = "schema_drift"
DESCRIPTION = "Files have no column whose values its declared type can't hold; their rows are in quarantine."

_TYPE_FAULT = re.compile(r"/(?P<column>.+?) type: .* \((?P<found>.+?)\) is no (?P<declared>.+)", re.DOTALL)
_RULE = " type: "
_SHOWN = 5


def drift_verdicts(
    lake: Lake, dataset: Dataset, partitions: Collection[str], rejects: Counter[str] | None = None
) -> list[Verdict]:
    """The verdicts on landing partitions of which objects were read; none of a stream, which has a contract.

    `rejects` are those that were found in them now, by rule; without any of a type, quarantine is looked through only
    for partitions that failed before. None: for all.
    """
    if not isinstance(dataset, CdcTable) or not partitions:
        return []
    found: dict[str, Counter[str]] = {}
    doubtful = set(partitions)
    if rejects is not None and not rejects["type"]:
        doubtful &= {v.partition for v in lake.verdicts.of(dataset.name) if v.rule == SCHEMA_DRIFT and not v.passed}
    if doubtful:
        rows = lake.quarantine(dataset).open().scan().filter(pl.col("partition").is_in(sorted(doubtful)))
        errors = rows.select("partition", SOURCE_FILENAME, pl.col("errors").alias("error")).explode("error")
        typed = errors.filter(pl.col("error").str.contains(_RULE, literal=True)).collect()
        for partition, key, error in typed.iter_rows():
            if fault := _TYPE_FAULT.fullmatch(error):
                line = f"column {fault['column']} is declared as {fault['declared']} and is {fault['found']} in {key}"
                found.setdefault(partition, Counter())[line] += 1
    return [_verdict(dataset, partition, found.get(partition, Counter())) for partition in sorted(set(partitions))]


def _verdict(dataset: Dataset, partition: str, faults: Counter[str]) -> Verdict:
    lines = [f"{line} ({rows:,} rows)" for line, rows in sorted(faults.items())]
    detail = "no column has values of another type than declared"
    if lines:
        more = f"; and {len(lines) - _SHOWN} more" if len(lines) > _SHOWN else ""
        detail = f"{'; '.join(lines[:_SHOWN])}{more}. Declare the new type and run `datalake rebuild {dataset.name}`"
    return Verdict(SCHEMA_DRIFT, partition, passed=not lines, blocking=False, detail=detail, dates=())
