"""Verdicts: what steps found about a dataset's landing partitions, stored so that every process can ask.

A verdict that fails and blocks holds back gold for the event dates of its partition and its dataset, and for nothing
else, until the partition passes. Of those that pass, only the newest of each rule is kept, to be shown; of those that
fail and hold nothing, the ones on the hundred newest partitions.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import polars as pl

from datalake_assets.lake.store.snapshot import Snapshot
from datalake_assets.lake.store.table import Table

_SHOWN = 100


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was found about a landing partition or an event date: `dates` are the event dates that it concerns."""

    rule: str
    partition: str
    passed: bool
    blocking: bool
    detail: str
    dates: tuple[date, ...]


@dataclass(frozen=True, slots=True)
class Verdicts:
    """The verdicts in their table."""

    table: Table

    def of(self, dataset: str) -> list[Verdict]:
        """The stored verdicts of a dataset: all that fail, and the newest of each rule that passes."""
        rows = self.table.open().scan({"dataset": [dataset]}).sort("rule", "partition").collect()
        return [_verdict(row) for row in rows.iter_rows(named=True)]

    def failing(self) -> dict[str, list[Verdict]]:
        """The stored verdicts that fail, by dataset."""
        rows = self.table.open().scan().filter(~pl.col("passed")).sort("dataset", "rule", "partition").collect()
        found: dict[str, list[Verdict]] = {}
        for row in rows.iter_rows(named=True):
            found.setdefault(row["dataset"], []).append(_verdict(row))
        return found

    def held(self) -> dict[str, dict[date, str]]:
        """The event dates that gold must wait with, by dataset, each with the reason."""
        found: dict[str, dict[date, str]] = {}
        for dataset, verdicts in self.failing().items():
            for verdict in verdicts:
                if verdict.blocking:
                    reason = f"{dataset} {verdict.partition}: {verdict.detail}"
                    found.setdefault(dataset, {}).update(dict.fromkeys(verdict.dates, reason))
        return found

    def store(self, dataset: str, judge: Callable[[], Sequence[Verdict]], *, now: datetime) -> None:
        """Enter verdicts in the place of those on the same rules and partitions; no commit without a change.

        A verdict that goes on failing holds what it held before, too. `judge` is asked once more when another step has
        stored verdicts on the dataset meanwhile.
        """
        self.table.transact(lambda seen: self._store(seen, dataset, judge(), now))

    def _store(self, seen: Snapshot, dataset: str, verdicts: Sequence[Verdict], now: datetime) -> None:
        if not verdicts:
            return
        within = {"dataset": [dataset]}
        old = {(r["rule"], r["partition"]): r for r in seen.scan(within).collect().iter_rows(named=True)}
        new = dict(old)
        for verdict in verdicts:
            before = old.get((verdict.rule, verdict.partition))
            held = before["dates"] or () if before and not before["passed"] else ()
            passing = [k for k, r in new.items() if k[0] == verdict.rule and r["passed"]]
            for key in [(verdict.rule, verdict.partition), *(passing if verdict.passed else [])]:
                new.pop(key, None)
            new[verdict.rule, verdict.partition] = {
                "dataset": dataset,
                "rule": verdict.rule,
                "partition": verdict.partition,
                "passed": verdict.passed,
                "blocking": verdict.blocking,
                "dates": sorted({*verdict.dates, *held}) if not verdict.passed else [],
                "detail": verdict.detail,
                "decided_at": now,
            }
        for rule in {rule for rule, _ in new}:
            shown = sorted(p for (r, p), row in new.items() if r == rule and not (row["passed"] or row["blocking"]))
            for partition in shown[:-_SHOWN]:
                del new[rule, partition]
        if _content(old) != _content(new):
            seen.replace(pl.DataFrame(list(new.values()), schema=self.table.dtypes), within=within)


def _content(rows: dict[tuple[str, str], dict[str, Any]]) -> dict[tuple[str, str], dict[str, Any]]:
    return {key: {name: v for name, v in row.items() if name != "decided_at"} for key, row in rows.items()}


def _verdict(row: dict[str, Any]) -> Verdict:
    dates = tuple(row["dates"] or ())
    return Verdict(row["rule"], row["partition"], row["passed"], row["blocking"], row["detail"], dates)
