"""What commits tell: the lake's notes in a Delta log, whoever wrote them.

They stand in `userMetadata`, the field that Spark writes too.
"""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from deltalake import CommitProperties

_MAINTENANCE = {"OPTIMIZE", "VACUUM START", "VACUUM END", "SET TBLPROPERTIES"}


@dataclass(frozen=True, slots=True)
class CommitNotes:
    """What a commit tells whoever reads the log: the event dates whose rows changed, and the shape of the dataset."""

    touched: Collection[date] = ()
    shape: str = ""

    def as_text(self) -> str:
        """The notes as the commit's `userMetadata`, the field that Spark writes too."""
        return json.dumps({"touched_dates": sorted(d.isoformat() for d in self.touched), "shape": self.shape})


NO_NOTES = CommitNotes()


@dataclass(frozen=True, slots=True)
class Commit:
    """A version of a table and the event dates whose rows it changed; None when the commit does not tell."""

    version: int
    touched_dates: frozenset[date] | None


def properties(notes: CommitNotes) -> CommitProperties:
    """The properties of a commit with these notes, which delta-rs does not try again by itself."""
    return CommitProperties(max_commit_retries=0, custom_metadata={"userMetadata": notes.as_text()})


def notes_of(entry: Mapping[str, Any]) -> dict[str, Any] | None:
    """The notes of a commit, be they the lake's or another tool's; None for a commit that has none."""
    try:
        notes = json.loads(entry.get("userMetadata") or "null")
    except ValueError:
        return None
    return notes if isinstance(notes, dict) else None


def touched_by(entry: Mapping[str, Any]) -> frozenset[date] | None:
    """The event dates that a commit touched; None where it does not tell."""
    days = (notes_of(entry) or {}).get("touched_dates")
    if not isinstance(days, list):
        return frozenset() if entry.get("operation") in _MAINTENANCE else None
    return frozenset(date.fromisoformat(day) for day in days)
