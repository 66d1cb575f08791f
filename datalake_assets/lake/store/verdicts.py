"""Verdicts: what steps found about a dataset's landing partitions, stored so that every process can ask.

A verdict that fails and blocks holds back gold for the event dates of its partition and its dataset, and for nothing
else, until the partition passes. Of those that pass, only the newest of each rule is kept, to be shown; of those that
fail and hold nothing, the ones on the hundred newest partitions.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import polars as pl

from datalake_assets.lake.store.snapshot import Snapshot
from datalake_assets.lake.store.table import Table

_SHOWN, _NAMED = 100, 3
_RULES = "rules"  # not a check: the row that tells by which rules a dataset was judged


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
        told = self.table.open().scan({"dataset": [dataset]}).filter(pl.col("rule") != _RULES)
        rows = told.sort("rule", "partition").collect()
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
            by_date: dict[date, list[Verdict]] = {}
            for verdict in verdicts:
                for day in verdict.dates if verdict.blocking else ():
                    by_date.setdefault(day, []).append(verdict)
            if by_date:
                found[dataset] = {day: f"{dataset} {_told(holding)}" for day, holding in by_date.items()}
        return found

    def undecided(self, dataset: str, processed: Mapping[str, datetime]) -> set[str]:
        """The partitions of a dataset that hold dates by what was found before their objects were last processed.

        `processed` tells when that was, UTC.
        """
        rows = self.table.open().scan({"dataset": [dataset]}).filter(~pl.col("passed"), pl.col("blocking")).collect()
        decided = rows.select("partition", "decided_at").iter_rows()
        return {partition for partition, at in decided if partition in processed and processed[partition] > at}

    def judged_by(self) -> dict[str, str]:
        """The rules by which the partitions of each dataset were judged, as told with `store`."""
        rows = self.table.open().scan().filter(pl.col("rule") == _RULES).select("dataset", "detail").collect()
        return dict(rows.iter_rows())

    def store(
        self, dataset: str, judge: Callable[[], Sequence[Verdict]], *, now: datetime, judged_by: str | None = None
    ) -> None:
        """Enter verdicts in the place of those on the same rules and partitions; no commit without a change.

        A verdict that goes on failing holds what it held before, too. `judge` is asked once more when another step has
        stored verdicts on the dataset meanwhile. `judged_by` are the rules by which all partitions are judged by now.
        """
        self.table.transact(lambda seen: self._store(seen, dataset, judge(), now, judged_by))

    def _store(
        self, seen: Snapshot, dataset: str, verdicts: Sequence[Verdict], now: datetime, judged_by: str | None
    ) -> None:
        within = {"dataset": [dataset]}
        old = {(r["rule"], r["partition"]): r for r in seen.scan(within).collect().iter_rows(named=True)}
        new = dict(old)
        passing: dict[str, Verdict] = {}
        for verdict in verdicts:
            before = new.pop((verdict.rule, verdict.partition), None)
            if verdict.passed:
                passing[verdict.rule] = verdict
            else:
                held = before["dates"] or () if before and not before["passed"] else ()
                dates = sorted({*verdict.dates, *held})
                new[verdict.rule, verdict.partition] = _row(dataset, verdict, dates=dates, now=now)
        new = {key: row for key, row in new.items() if not (row["passed"] and key[0] in passing)}
        if judged_by is not None:
            passing[_RULES] = Verdict(_RULES, "", passed=True, blocking=False, detail=judged_by, dates=())
        for verdict in passing.values():
            new[verdict.rule, verdict.partition] = _row(dataset, verdict, dates=[], now=now)
        for rule in {rule for rule, _ in new}:
            shown = sorted(p for (r, p), row in new.items() if r == rule and not (row["passed"] or row["blocking"]))
            for partition in shown[:-_SHOWN]:
                del new[rule, partition]
        if _content(old) != _content(new):
            seen.replace(pl.DataFrame(list(new.values()), schema=self.table.dtypes), within=within)


def _told(holding: Sequence[Verdict]) -> str:
    """Why a date waits: of the first verdict all, of the next few which they are."""
    first, others = holding[0], holding[1:]
    told = [f"{first.partition}: {first.detail}", *(f"{v.rule} of {v.partition}" for v in others[:_NAMED])]
    more = f"; and {len(others) - _NAMED} more" if len(others) > _NAMED else ""
    return "; also ".join(told) + more


def _row(dataset: str, verdict: Verdict, *, dates: Sequence[date], now: datetime) -> dict[str, Any]:
    return {
        "dataset": dataset,
        "rule": verdict.rule,
        "partition": verdict.partition,
        "passed": verdict.passed,
        "blocking": verdict.blocking,
        "dates": dates,
        "detail": verdict.detail,
        "decided_at": now,
    }


def _content(rows: dict[tuple[str, str], dict[str, Any]]) -> dict[tuple[str, str], dict[str, Any]]:
    return {key: {name: v for name, v in row.items() if name != "decided_at"} for key, row in rows.items()}


def _verdict(row: dict[str, Any]) -> Verdict:
    dates = tuple(row["dates"] or ())
    return Verdict(row["rule"], row["partition"], row["passed"], row["blocking"], row["detail"], dates)
