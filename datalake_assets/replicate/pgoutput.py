"""The messages of Postgres' logical decoding plugin pgoutput, protocol version 1: their bytes as what they say.

Belongs here: the decoder, which knows no table and no file.
https://www.postgresql.org/docs/current/protocol-logicalrep-message-formats.html
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from struct import Struct
from typing import Literal, NamedTuple, TypeAlias

_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
_BEGIN = Struct("!QqI")
_COMMIT = Struct("!BQQq")
_COLUMN = Struct("!Ii")
_UINT32 = Struct("!I")
_INT16 = Struct("!h")
_TRUNCATE = Struct("!IB")
_TEXT, _UNCHANGED = b"tu"  # a value that is neither is NULL

Value: TypeAlias = bytes | None
Values: TypeAlias = tuple[Value, ...]


class RelationColumn(NamedTuple):
    """A column as the log tells it: its type's oid and modifier, and whether the replica identity has it."""

    name: str
    type_oid: int
    modifier: int
    in_identity: bool


@dataclass(frozen=True, slots=True)
class Relation:
    """A table's columns as they are from here on in the log."""

    oid: int
    columns: tuple[RelationColumn, ...]


class Begin(NamedTuple):
    """The first message of a transaction; `committed` is its commit time (UTC)."""

    committed: datetime


class Commit(NamedTuple):
    """The last message of a transaction; `end` is where the log goes on after it."""

    end: int


class RowChange(NamedTuple):
    """A row's change; values are texts as Postgres' output functions write them.

    `old` is what the replica identity tells of the row before (an insert: nothing; an update that leaves the key as it
    is: nothing, unless the identity is FULL), `old_is_full` whether that is all of it. `unchanged` are the positions of
    large values in `new` that the update did not touch and the log does not tell: they stand as None.
    """

    operation: Literal["I", "U", "D"]
    relation: int
    old: Values | None
    old_is_full: bool
    new: Values | None
    unchanged: tuple[int, ...]


class Truncate(NamedTuple):
    """Tables that were emptied."""

    relations: tuple[int, ...]


Message: TypeAlias = Relation | Begin | Commit | RowChange | Truncate


def decode(data: bytes) -> Message | None:
    """A message; None for those that tell nothing of rows (origins, types, messages of applications)."""
    read = _READERS.get(data[0])
    return read(data) if read else None


def _insert(data: bytes) -> RowChange:
    new, unchanged, _ = _values(data, 6)
    return RowChange("I", _relation_of(data), None, old_is_full=False, new=new, unchanged=unchanged)


def _update(data: bytes) -> RowChange:
    position, old, kind = 5, None, data[5:6]
    if kind != b"N":
        old, _, position = _values(data, 6)
    new, unchanged, _ = _values(data, position + 1)
    return RowChange("U", _relation_of(data), old, kind == b"O", new, unchanged)


def _delete(data: bytes) -> RowChange:
    old, _, _ = _values(data, 6)
    return RowChange("D", _relation_of(data), old, data[5:6] == b"O", None, ())


def _relation_of(data: bytes) -> int:
    oid: int = _UINT32.unpack_from(data, 1)[0]
    return oid


def _begin(data: bytes) -> Begin:
    _, committed, _ = _BEGIN.unpack_from(data, 1)
    return Begin(_EPOCH + timedelta(microseconds=committed))


def _commit(data: bytes) -> Commit:
    _, _, end, _ = _COMMIT.unpack_from(data, 1)
    return Commit(end)


def _truncate(data: bytes) -> Truncate:
    count, _ = _TRUNCATE.unpack_from(data, 1)
    return Truncate(tuple(_UINT32.unpack_from(data, 6 + 4 * n)[0] for n in range(count)))


def _values(data: bytes, position: int) -> tuple[Values, tuple[int, ...], int]:
    """A row's values, the positions of those that are left out, and where the message goes on."""
    (count,) = _INT16.unpack_from(data, position)
    position += 2
    values: list[Value] = []
    unchanged: tuple[int, ...] = ()
    length_of = _UINT32.unpack_from
    for number in range(count):
        kind = data[position]
        position += 1
        if kind == _TEXT:
            (length,) = length_of(data, position)
            position += 4
            values.append(data[position : position + length])
            position += length
        else:
            values.append(None)
            if kind == _UNCHANGED:
                unchanged = (*unchanged, number)
    return tuple(values), unchanged, position


def _relation(data: bytes) -> Relation:
    (oid,) = _UINT32.unpack_from(data, 1)
    position = data.index(0, 5) + 1  # behind the schema
    position = data.index(0, position) + 2  # behind the name and the replica identity
    (count,) = _INT16.unpack_from(data, position)
    position += 2
    columns = []
    for _ in range(count):
        in_identity, end = bool(data[position]), data.index(0, position + 1)
        type_oid, modifier = _COLUMN.unpack_from(data, end + 1)
        columns.append(RelationColumn(data[position + 1 : end].decode(), type_oid, modifier, in_identity))
        position = end + 1 + _COLUMN.size
    return Relation(oid, tuple(columns))


_READERS: dict[int, Callable[[bytes], Message]] = {
    ord("B"): _begin,
    ord("C"): _commit,
    ord("D"): _delete,
    ord("I"): _insert,
    ord("R"): _relation,
    ord("T"): _truncate,
    ord("U"): _update,
}
