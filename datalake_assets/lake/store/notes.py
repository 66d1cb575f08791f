"""What commits tell: the lake's notes in a Delta log, whoever wrote them.

They stand in `userMetadata`, the field that Spark writes too.
"""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from deltalake import CommitProperties

from datalake_assets.lake.spec.columns import COMMITTED_AT, EVENT_DATE

_MAINTENANCE = {"OPTIMIZE", "VACUUM START", "VACUUM END", "SET TBLPROPERTIES"}


@dataclass(frozen=True, slots=True)
class CommitNotes:
    """What a commit tells whoever reads the log.

    `touched` are the event dates whose rows changed, `committed` (of a replicated table) the days on which the changes
    behind them were committed at the source; `shape` is that of the dataset.
    """

    touched: Collection[date] = ()
    shape: str = ""
    committed: Collection[date] = ()

    def as_text(self) -> str:
        """The notes as the commit's `userMetadata`, the field that Spark writes too."""
        days = {_TOUCHED[EVENT_DATE]: self.touched, _TOUCHED[COMMITTED_AT]: self.committed}
        return json.dumps({k: sorted(d.isoformat() for d in v) for k, v in days.items()} | {"shape": self.shape})


_TOUCHED = {EVENT_DATE: "touched_dates", COMMITTED_AT: "committed_dates"}


NO_NOTES = CommitNotes()


@dataclass(frozen=True, slots=True)
class Commit:
    """A version of a table, and the days whose rows it changed by what tells a row's day; None: it does not tell."""

    version: int
    touched: Mapping[str, frozenset[date] | None]

    @property
    def changes_rows(self) -> bool:
        """Whether it changed any row, or does not tell that it did not."""
        return any(days is None or days for days in self.touched.values())

    @property
    def touched_dates(self) -> frozenset[date] | None:
        """The event dates whose rows it changed."""
        return self.touched[EVENT_DATE]


def properties(notes: CommitNotes, *, commit_id: str) -> CommitProperties:
    """The properties of a commit with these notes, which delta-rs does not try again by itself.

    By `commit_id`, of which there is no other, whoever made it recognises it in the log.
    """
    told = {"userMetadata": notes.as_text(), "txnId": commit_id}
    return CommitProperties(max_commit_retries=0, custom_metadata=told)


def notes_of(entry: Mapping[str, Any]) -> dict[str, Any] | None:
    """The notes of a commit, be they the lake's or another tool's; None for a commit that has none."""
    try:
        notes = json.loads(entry.get("userMetadata") or "null")
    except ValueError:
        return None
    return notes if isinstance(notes, dict) else None


def entry_of(version: int, commit: bytes) -> dict[str, Any]:
    """The entry in which a commit, as its file has it, tells of itself; the version alone where it does not."""
    for line in commit.splitlines():
        if b'"commitInfo"' in line and isinstance(info := json.loads(line).get("commitInfo"), dict):
            return {**info, "version": version}
    return {"version": version}


def commit_of(entry: Mapping[str, Any]) -> Commit:
    """A commit by its entry in the log."""
    notes, nothing = notes_of(entry) or {}, frozenset[date]() if entry.get("operation") in _MAINTENANCE else None
    found = {column: notes.get(key) for column, key in _TOUCHED.items()}
    days = {c: frozenset(map(date.fromisoformat, v)) if isinstance(v, list) else nothing for c, v in found.items()}
    return Commit(int(entry["version"]), days)
