"""The quality score of a record."""

from collections.abc import Sequence
from typing import Any

import narwhals as nw

from datalake_assets.lake.spec.columns import QUALITY_SCORE

SCALE = 1_000_000
"""Scores are averaged as whole millionths, because a sum of floats depends on the order in which it is taken."""


def score(frame: nw.LazyFrame[Any], *, columns: Sequence[str]) -> nw.LazyFrame[Any]:
    """Add `quality_score`: the share of the declared columns that have a value, from 0 to 1."""
    missing = nw.sum_horizontal(*(nw.col(name).is_null().cast(nw.Int64) for name in columns))
    present = nw.sum_horizontal(*((~nw.col(name).is_null()).cast(nw.Int64) for name in columns))
    # Divided by a column, not by a number: for that Polars takes 3 * (1 / 5) = 0.6000000000000001, but 3 / 5 in a
    # frame of one row.
    share = present.cast(nw.Float64) / (present + missing).cast(nw.Float64)
    return frame.with_columns(share.alias(QUALITY_SCORE))


def millionths(share: nw.Expr | None = None) -> nw.Expr:
    """A share from 0 to 1 (None: the score) as a whole number of millionths, to be summed exactly.

    Halves go up: of two engines that round by themselves one takes them to the even number.
    """
    value = nw.col(QUALITY_SCORE) if share is None else share
    return (value * SCALE + 0.5).floor().cast(nw.Int64)
