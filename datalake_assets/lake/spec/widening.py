"""The types that a column can grow to without changing a value: what drift at the source may do by itself.

Belongs here: the order of types. Integers widen to longer ones, decimals to more digits before and after the point,
`float` to `double`; nothing becomes another kind of value. How values are converted is told by the readers.
"""

from collections.abc import Iterable
from functools import reduce

from datalake_assets.lake.spec.types import LakeType

ANY = LakeType("json")
"""What a column becomes that no file declares and whose files agree on no kind of value: JSON text of each."""

_FAMILIES = (("int8", "int16", "int32", "int64"), ("float", "double"))
_MOST_DIGITS = 38


def join(one: LakeType, other: LakeType) -> LakeType | None:
    """The narrowest type that holds all values of two exactly; None for values of two kinds, or of too many digits."""
    if one == other:
        return one
    if one.name == other.name == "decimal":
        whole = max(one.precision - one.scale, other.precision - other.scale)
        scale = max(one.scale, other.scale)
        return LakeType("decimal", whole + scale, scale) if whole + scale <= _MOST_DIGITS else None
    for family in _FAMILIES:
        if one.name in family and other.name in family:
            return max(one, other, key=lambda kind: family.index(kind.name))
    return None


def widens(narrow: LakeType, wide: LakeType) -> bool:
    """Whether a type holds all values of another."""
    return join(narrow, wide) == wide


def widened(declared: LakeType, found: Iterable[LakeType]) -> LakeType:
    """A declared type, as wide as what was found of its kind asks for.

    What is of another kind does not count: such values are quarantined. Where no type has all the digits that were
    found it stays as it is declared, and somebody has to decide.
    """
    wide: LakeType | None = declared
    for kind in found:
        if join(declared, kind) is not None:
            wide = None if wide is None else join(wide, kind)
    return wide or declared


def common(found: Iterable[LakeType]) -> LakeType:
    """The type of a column that is not declared: as wide as all that was found of it; `ANY` where that has no type."""
    return reduce(lambda one, other: join(one, other) or ANY, found)
