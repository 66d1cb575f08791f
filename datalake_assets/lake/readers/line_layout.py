"""How the lines of a text are laid out: the order of their fields, and what stands before each value."""

import json
from collections import Counter
from collections.abc import Collection, Sequence
from contextlib import suppress
from graphlib import CycleError, TopologicalSorter
from itertools import combinations

import msgspec

_OFTEN = 1 / 16  # of the lines: looking for an undeclared name that fewer of them have costs more than it saves
_MOST_FIELDS = 100  # their pairs are counted, whose number grows with the square
_STYLES = ((", ", ": "), (",", ": "), (", ", ":"), (",", ":"))  # those with more first: the others are in them
_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])


def marks_of(lines: Sequence[str], *, declared: Collection[str], others: bool) -> dict[str, str]:
    """What stands before the value of each field, such as `,"name":`, in the order that most lines have them in.

    Of some lines that were taken as a sample; lines that are no JSON objects tell nothing. Of fields that are not
    `declared` only with `others` and where many lines have them. Empty where there is no such order, or more than a
    hundred fields.
    """
    read = [(line, names) for line in lines if (names := _names_in(line))]
    counts = Counter(name for _, names in read for name in names)
    wanted = {n for n in counts if n in declared or (others and counts[n] > _OFTEN * len(read))}
    wanted = {name for name in wanted if json.dumps(name, ensure_ascii=False) == f'"{name}"'}
    if len(wanted) > _MOST_FIELDS:
        return {}
    pairs = Counter(pair for _, names in read for pair in combinations([n for n in names if n in wanted], 2))
    orders: TopologicalSorter[str] = TopologicalSorter({name: () for name in counts if name in wanted})
    for (before, after), count in pairs.items():
        if count > pairs[after, before]:
            orders.add(after, before)
    order: list[str] = []
    with suppress(CycleError):
        order.extend(orders.static_order())
    for comma, colon in _STYLES if order else ():
        marks = {name: f'{comma if n else "{"}"{name}"{colon}' for n, name in enumerate(order)}
        line, names = read[0]
        if all(marks[name] in line for name in names if name in marks):
            return marks
    return {}


def _names_in(line: str) -> list[str]:
    with suppress(msgspec.MsgspecError, RecursionError):
        return list(_OBJECT.decode(line))
    return []
