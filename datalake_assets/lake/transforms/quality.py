"""The quality score of a record."""

from collections.abc import Sequence
from typing import Any

import narwhals as nw

from datalake_assets.lake.spec.columns import QUALITY_SCORE
from datalake_assets.lake.spec.quality import Score

_COMPLETE = Score()
SCALE = 1_000_000
"""Scores are averaged as whole millionths, because a sum of floats depends on the order in which it is taken."""


VALIDITY, TIMELINESS = "_validity", "_timeliness"
"""Shares from 0 to 1 that readers give with each record where its dataset weighs them."""


def score(frame: nw.LazyFrame[Any], *, columns: Sequence[str], weights: Score = _COMPLETE) -> nw.LazyFrame[Any]:
    """Add `quality_score`, from 0 to 1: the share of the declared columns that have a value, weighed with the others.

    What `weights` weighs besides is in the columns `VALIDITY` and `TIMELINESS`.
    """
    missing = nw.sum_horizontal(*(nw.col(name).is_null().cast(nw.Int64) for name in columns))
    # Divided by a column, not by a number: for that Polars takes 3 * (1 / 5) = 0.6000000000000001, but 3 / 5 in a
    # frame of one row.
    declared = (missing * 0 + len(columns)).cast(nw.Float64)
    share = (declared - missing) / declared
    others = {VALIDITY: weights.validity, TIMELINESS: weights.timeliness}
    if any(others.values()):
        share, total = share * weights.completeness, weights.completeness
        for name, weight in others.items():
            if weight:  # added in the same order: what is whole in all of them has a score of 1
                share, total = share + nw.col(name) * weight, total + weight
        share = share / (declared * 0 + total)
    return frame.with_columns(share.alias(QUALITY_SCORE))


def millionths(share: nw.Expr | None = None) -> nw.Expr:
    """A share from 0 to 1 (None: the score) as a whole number of millionths, to be summed exactly.

    Halves go up: of two engines that round by themselves one takes them to the even number.
    """
    value = nw.col(QUALITY_SCORE) if share is None else share
    return (value * SCALE + 0.5).floor().cast(nw.Int64)
