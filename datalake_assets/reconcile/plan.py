"""What of a table is compared, and its ranges of keys.

Belongs here: what both sides go by. Keys are tuples of canonical texts; they are in order by the value of columns of
numbers, and by the bytes of any other text, whatever the collations of the source.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import pairwise

from psycopg import sql

from datalake_assets.lake.spec.dataset import CdcTable
from datalake_assets.reconcile.canonical import Canonical, canonical
from datalake_assets.replicate.session import ReplicationError, Source, value
from datalake_assets.replicate.source import SourceTable, find_table

Key = tuple[str | None, ...]


class ReconcileError(Exception):
    """A table that can't be compared: says why and what to do, in one line."""


@dataclass(frozen=True, slots=True)
class Range:
    """The keys from `first` on, up to `end` without it (None: all). `rows` is how many both sides have there."""

    first: Key | None = None
    end: Key | None = None
    rows: tuple[int, int] = (0, 0)

    @property
    def most_rows(self) -> int:
        """The rows of the side that has more of them."""
        return max(self.rows)


@dataclass(frozen=True, slots=True)
class Plan:
    """The columns that are compared, the key's first; and those that are not, with the reason."""

    table: SourceTable
    key: tuple[Canonical, ...]
    others: tuple[Canonical, ...]
    left_out: dict[str, str] = field(default_factory=dict)

    @property
    def columns(self) -> tuple[Canonical, ...]:
        """All that is compared."""
        return *self.key, *self.others

    def order(self, key: Key) -> tuple[object, ...]:
        """What keys are sorted by."""
        return tuple(
            Decimal(text or 0) if column.number else text or "" for column, text in zip(self.key, key, strict=True)
        )

    def bounds(self, keys: Collection[Key], within: Range, *, parts: int) -> list[Key]:
        """Some of these keys that cut a range into about so many parts, as even as the keys are spread."""
        inside = sorted({key for key in keys if is_askable(key)}, key=self.order)
        low, high = (None if key is None else self.order(key) for key in (within.first, within.end))
        inside = [
            key for key in inside if (low is None or self.order(key) > low) and (high is None or self.order(key) < high)
        ]
        step = max(1, len(inside) // max(1, parts))
        return inside[step - 1 :: step] if parts > 1 else []


def is_askable(key: Key) -> bool:
    """Whether Postgres can be asked for a key: it has no text with a NUL."""
    return all(text is not None and "\0" not in text for text in key)


def make_plan(source: Source, dataset: CdcTable, table_name: str, *, ignored: Collection[str] = ()) -> Plan:
    """What of a source's table can be compared with a dataset's silver, but for columns that are `ignored`.

    Raises `ReconcileError` where the key can't be compared; `ReplicationError` where there is no such table.
    """
    if value(source, sql.SQL("SHOW server_encoding")) == "SQL_ASCII":
        raise ReplicationError("the database has the encoding SQL_ASCII, so that its texts can't be read as Unicode")
    table = find_table(source, table_name)
    if unknown := [name for name in ignored if name not in dataset.columns]:
        raise ReconcileError(f"{dataset.name} has no column {unknown[0]!r}; there are {', '.join(dataset.columns)}")
    found = {column.name: column for column in table.columns}
    null_text = dataset.csv.null_value if dataset.csv is not None else None
    compared: dict[str, Canonical] = {}
    left_out: dict[str, str] = {}
    for name, declared in dataset.columns.items():
        if name in ignored:
            left_out[name] = "it is to be ignored"
        elif name not in found:
            left_out[name] = f"{table.full_name} has no such column, or does not replicate it"
        else:
            both = canonical(found[name], declared.lake_type, null_text=null_text)
            if both is None:
                told = sql.SQL("SELECT format_type({}, {})")
                kind = value(source, told.format(sql.Literal(found[name].type_oid), sql.Literal(found[name].modifier)))
                left_out[name] = f"DMS may not land {kind} exactly as {declared.type}"
            else:
                compared[name] = both
    lacking = [name for name in dataset.key if name not in compared]
    if lacking:
        raise ReconcileError(
            f"the key of {dataset.name} can't be compared: {lacking[0]}: {left_out[lacking[0]]}; name the right table "
            "by --table, or mend the dataset file"
        )
    key = tuple(compared.pop(name) for name in dataset.key)
    return Plan(table, key, tuple(compared.values()), left_out)


def split(within: Sequence[Range], bounds: Sequence[Sequence[Key]]) -> list[Range]:
    """Ranges cut at the bounds that are given for each, in order."""
    parts: list[Range] = []
    for whole, cuts in zip(within, bounds, strict=True):
        edges = [whole.first, *cuts, whole.end]
        parts += [Range(first, end) for first, end in pairwise(edges)]
    return parts
