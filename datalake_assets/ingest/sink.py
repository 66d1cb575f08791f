"""Where accepted records go: the interface that Firehose, S3 and the local server's spool have in common."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a record was not put. `message` is for whoever sent it, and tells nothing of the inside.

    `is_throttled`: the sink is too busy. `is_final`: the same record will fail again, `is_too_large` for its size.
    """

    message: str
    is_throttled: bool = False
    is_final: bool = False
    is_too_large: bool = False


class Sink(Protocol):
    """Takes the records of one source."""

    async def put(self, records: Sequence[bytes], *, deadline: float) -> Sequence[Failure | None]:
        """Put records, each one line without its end, by a deadline of `time.monotonic`.

        Returns for each None, which means that it is durable, or why it is not. Raises nothing.
        """


def record_id(record: bytes) -> str:
    """What a record is acknowledged by: the `record_hash` that the lake gives it in silver."""
    return hashlib.sha256(record).hexdigest()
