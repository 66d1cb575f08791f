"""The order of types: what a column may grow to, and what comes of several types whatever their order."""

from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datalake_assets.lake.spec.types import LakeType
from datalake_assets.lake.spec.widening import ANY, common, join, widened, widens

NUMBERS = ["int8", "int16", "int32", "int64", "float", "double"]
OTHERS = ["boolean", "string", "binary", "date", "timestamp", "json"]


@st.composite
def kinds(draw: st.DrawFn) -> LakeType:
    if draw(st.booleans()):
        return LakeType(draw(st.sampled_from(NUMBERS + OTHERS)))
    precision = draw(st.integers(1, 38))
    return LakeType("decimal", precision, draw(st.integers(0, precision)))


@pytest.mark.parametrize(
    ("one", "other", "both"),
    [
        ("int8", "int64", "int64"),
        ("float", "double", "double"),
        ("decimal(10,2)", "decimal(12,2)", "decimal(12,2)"),
        ("decimal(10,2)", "decimal(10,4)", "decimal(12,4)"),
        ("decimal(38,2)", "decimal(38,20)", None),
        ("int64", "decimal(20,0)", None),
        ("int32", "double", None),
        ("date", "timestamp", None),
        ("string", "json", None),
    ],
)
def test_two_types_have_the_narrowest_that_holds_both(one: str, other: str, both: str | None) -> None:
    kind = join(LakeType.parse(one), LakeType.parse(other))
    assert (None if kind is None else str(kind)) == both


@given(st.lists(kinds(), min_size=1, max_size=4))
def test_the_type_of_an_added_column_does_not_depend_on_the_order_of_its_files(found: list[LakeType]) -> None:
    (kind,) = {common(order) for order in permutations(found)}
    assert kind == ANY or all(widens(one, kind) for one in found)
    assert common([kind, *found]) == kind


@given(kinds(), st.lists(kinds(), max_size=4))
def test_a_declared_column_widens_alike_in_any_order_and_never_narrows(
    declared: LakeType, found: list[LakeType]
) -> None:
    (kind,) = {widened(declared, order) for order in permutations(found)}
    assert widens(declared, kind)
    assert widened(declared, [kind]) == kind
