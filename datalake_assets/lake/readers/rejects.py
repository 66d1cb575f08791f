"""Rejects: what is not accepted, with the reasons, as rows of the quarantine table.

Belongs here: the form of a reject. Which records are rejected is told by the readers, how quarantine is written by
the store.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

import polars as pl

from datalake_assets.lake.store.landing import LandedObject

SCHEMA = pl.Schema(
    {
        "dataset": pl.String(),
        "partition": pl.String(),
        "source_filename": pl.String(),
        "etag": pl.String(),
        "row_number": pl.Int64(),
        "raw": pl.String(),
        "raw_bytes": pl.Binary(),
        "errors": pl.List(pl.String()),
        "etl_timestamp": pl.Datetime("us", "UTC"),
    }
)
"""The columns of quarantine."""

_REASONS = {"reject": pl.Int64(), "error": pl.String()}
_SHOWN = 1_000


@dataclass(frozen=True, slots=True)
class Reject:
    """One record that is not accepted, or a whole object.

    `row_number` is its line or row from 1, and 0 for an object; `raw` its text, and `raw_bytes` its exact bytes where
    these are no text; each of `errors`, of which there is one at least, reads `/pointer rule: message`. `size` is how
    many bytes of the object it is.
    """

    row_number: int
    raw: str
    errors: tuple[str, ...]
    raw_bytes: bytes | None = None
    size: int = 0


def rejected_line(number: int, line: bytes, errors: tuple[str, ...]) -> Reject:
    """A rejected line of text; one that is not UTF-8 is shown with escapes, and its bytes are kept too."""
    try:
        return Reject(number, line.decode(), errors, size=len(line))
    except UnicodeDecodeError:
        return Reject(number, line.decode(errors="backslashreplace"), errors, raw_bytes=line, size=len(line))


def oversized_line(number: int, line: bytes, *, limit: int) -> Reject:
    """A line that is too long to be read: its first characters stand for it, the object has the rest."""
    beginning = line[: 4 * _SHOWN].decode(errors="backslashreplace")[:_SHOWN]  # a character has at most 4 bytes
    error = (
        f"record_bytes: the record has {len(line):,} bytes, the limit is {limit:,}; send it in smaller records, or "
        "raise the limit and process its object again"
    )
    return Reject(number, f"{beginning}…", (error,), size=len(line))


def as_frame(rejects: Iterable[tuple[LandedObject, Sequence[Reject]]], *, dataset: str, at: datetime) -> pl.DataFrame:
    """The rejects of some objects as rows of the quarantine table; `at` (UTC) is when they were found."""
    rows = [(landed, reject) for landed, own in rejects for reject in own]
    # Of Python's lists Polars makes a series each, which takes 5 KB; PyArrow loads pandas first.
    reasons = [(n, error) for n, (_, reject) in enumerate(rows) for error in reject.errors]
    errors = pl.DataFrame(reasons, _REASONS, orient="row").group_by("reject", maintain_order=True).agg("error")["error"]
    return pl.DataFrame(
        {
            "dataset": [dataset] * len(rows),
            "partition": [landed.partition for landed, _ in rows],
            "source_filename": [landed.key for landed, _ in rows],
            "etag": [landed.etag for landed, _ in rows],
            "row_number": [reject.row_number for _, reject in rows],
            "raw": [reject.raw for _, reject in rows],
            "raw_bytes": [reject.raw_bytes for _, reject in rows],
            "errors": errors,
            "etl_timestamp": [at] * len(rows),
        },
        schema=SCHEMA,
    )


def rules_of(rejected: pl.DataFrame) -> Iterator[str]:
    """The rules that rejects break: `minimum` of `/amount minimum: -3 is less than the minimum of 0`."""
    for error in rejected["errors"].explode().drop_nulls():
        yield error.partition(":")[0].rpartition(" ")[2]
