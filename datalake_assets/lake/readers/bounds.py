"""The bounds of a declared number, held against its values exactly: a double can't tell large neighbours apart."""

from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal

import polars as pl

from datalake_assets.lake.spec.types import LakeType

_DIGITS = 38
_EXACT = Context(prec=1_000)
_FLOATS = frozenset({"float", "double"})


def below(value: pl.Expr, lake_type: LakeType, bound: float) -> pl.Expr:
    """Whether values of a number's type are less than its minimum."""
    if lake_type.name in _FLOATS:
        return value.cast(pl.Float64) < float(bound)
    dtype = _decimal(lake_type)
    least = _to_scale(bound, dtype.scale, rounding=ROUND_CEILING)
    return pl.lit(value=bound > 0) if least is None else value.cast(dtype) < pl.lit(least, dtype)


def above(value: pl.Expr, lake_type: LakeType, bound: float) -> pl.Expr:
    """Whether values of a number's type are greater than its maximum."""
    if lake_type.name in _FLOATS:
        return value.cast(pl.Float64) > float(bound)
    dtype = _decimal(lake_type)
    most = _to_scale(bound, dtype.scale, rounding=ROUND_FLOOR)
    return pl.lit(value=bound < 0) if most is None else value.cast(dtype) > pl.lit(most, dtype)


def shown_bound(bound: float) -> str:
    """A bound as it is written."""
    return str(bound) if isinstance(bound, int) else f"{bound:g}"


def _decimal(lake_type: LakeType) -> pl.Decimal:
    return pl.Decimal(_DIGITS, lake_type.scale if lake_type.name == "decimal" else 0)


def _to_scale(bound: float, scale: int, *, rounding: str) -> Decimal | None:
    """A bound with the digits of a scale, rounded so that the same values keep it; None where no value is that large.

    A fraction is taken as it is written: 0.1 is one tenth.
    """
    rounded = Decimal(repr(bound)).quantize(Decimal(1).scaleb(-scale), rounding, _EXACT)
    return None if len(rounded.as_tuple().digits) > _DIGITS else rounded
