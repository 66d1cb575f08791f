"""Ranges of names that a listing leaves out.

Belongs here: which entries of a folder are outside of them. Why a name is left out is told by who asks.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence

Ranges = Sequence[tuple[str, str]]
"""Ranges [low, high) of names, low below high, in their order; none reaches into the next. A folder is named `a/`."""


def range_end(name: str, ranges: Ranges) -> str | None:
    """The end of the range that holds a name; None when none does."""
    at = bisect_right(ranges, name, key=lambda r: r[0])
    return ranges[at - 1][1] if at and name < ranges[at - 1][1] else None


def outside(names: Sequence[str], ranges: Ranges) -> Iterator[str]:
    """Those of the sorted names that no range holds; costs what they are, not what is left out."""
    begin = 0
    for low, high in ranges:
        yield from names[begin : bisect_left(names, low, begin)]
        begin = bisect_left(names, high, begin)
    yield from names[begin:]


def folders_told(folders: Iterable[str], ranges: Ranges, more_after: str | None) -> list[str]:
    """The folders, given without their slash, that no range holds and that sort before `more_after` (None: any)."""
    named = ((folder, f"{folder}/") for folder in folders)
    return sorted(f for f, n in named if (more_after is None or n < more_after) and range_end(n, ranges) is None)
