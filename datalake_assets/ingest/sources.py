"""What the ingest API knows of its sources: a contract each, and where the lake looks for their records.

Belongs here: the form in which that reaches a Lambda (`contracts.json`). It is made of dataset files by
`datalake_assets/gateway/declared.py`, as that needs the lake, and this the standard library alone.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

from datalake_assets.ingest.contract import Contract, Reason


@dataclass(frozen=True, slots=True)
class Source:
    """A source of records, by the name of its dataset.

    `prefix` is its folder of the landing zone, `stream` the Firehose stream that lands there (None: there is none, and
    objects are put), `envelope` the field that records may stand in within landed documents.
    """

    name: str
    contract: Contract
    prefix: str
    stream: str | None
    envelope: str | None

    def reasons(self, record: Any) -> list[Reason]:
        """Why a record is rejected; none where it is accepted.

        What the lake would take for an envelope is none: of what is within nobody would be told an id.
        """
        entries = record.get(self.envelope) if self.envelope is not None and isinstance(record, dict) else None
        if isinstance(entries, list):
            message = "this array makes the document an envelope of records; send the records themselves"
            return [Reason(f"/{self.envelope}", "envelope", message)]
        return self.contract.reasons(record)


def read_sources(file: Path) -> dict[str, Source]:
    """The sources of a `contracts.json`, by name. Raises `OSError`, and `ValueError` where it is none."""
    return sources_of(json.loads(file.read_text(encoding="utf-8")))


def sources_of(declared: Mapping[str, Mapping[str, Any]]) -> dict[str, Source]:
    """The sources of what such a file holds."""
    return {
        name: Source(
            name=name,
            contract=Contract(
                told["schema"], needed=told["needed"], refuses_unknown=told["unknown_fields"] == "reject"
            ),
            prefix=told["prefix"],
            stream=told["stream"],
            envelope=told["envelope"],
        )
        for name, told in declared.items()
    }


def object_key(prefix: str, *, at: datetime, identifier: UUID) -> str:
    """Where records of a source without a stream land that arrived at a time (UTC)."""
    return f"{prefix}/{at:year=%Y/month=%m/day=%d}/{at:%H%M%S}-{identifier}.json"
