"""The quality score of a record."""

from collections.abc import Sequence
from typing import Any

import narwhals as nw

from datalake_assets.lake.layout import QUALITY_SCORE

SCALE = 1_000_000
"""Scores are averaged as whole millionths, because a sum of floats depends on the order in which it is taken."""


def score(frame: nw.LazyFrame[Any], *, columns: Sequence[str]) -> nw.LazyFrame[Any]:
    """Add `quality_score`: the share of the declared columns that have a value, from 0 to 1."""
    present = [(~nw.col(name).is_null()).cast(nw.Int64) for name in columns]
    return frame.with_columns((nw.sum_horizontal(*present).cast(nw.Float64) / len(columns)).alias(QUALITY_SCORE))


def millionths() -> nw.Expr:
    """The score as a whole number of millionths, to be summed exactly."""
    return (nw.col(QUALITY_SCORE) * SCALE).round(0).cast(nw.Int64)
