"""The row rules of a stream: which of its records keep them, many at a time.

Belongs here: conditions evaluated on typed records. What a condition may be is in `row_conditions.py`; what is counted
is judged by the steps.
"""

import polars as pl

from datalake_assets.lake.readers.row_conditions import ConditionError, condition, plain_columns
from datalake_assets.lake.spec.dataset import EventStream
from datalake_assets.lake.spec.fault import FaultError


class RowRules:
    """The conditions of one stream's `quality`, by the names of their rules.

    `counted_as` has the rules of which it is counted how many accepted records break them, or belong to them, with the
    names of their counts.
    """

    def __init__(self, dataset: EventStream) -> None:
        """Compile the conditions; nothing is read. Raises `FaultError` for one that can't be evaluated."""
        quality = dataset.quality
        self._texts = {name: rule.expect for name, rule in quality.rows.items()}
        self._kept = {n: _compiled(dataset, r.expect, "rows", n, "expect") for n, r in quality.rows.items()}
        self._shares = {
            n: _compiled(dataset, r.share_of, "partitions", n, "share_of") for n, r in quality.partitions.items()
        }
        self._counted = list(quality.counted_rows)
        self.counted_as = quality.counted_as
        self._rejecting = [name for name in quality.rows if name not in self._counted]
        self._columns = list(dataset.columns)

    def __bool__(self) -> bool:
        """Whether there is any."""
        return bool(self._kept or self._shares)

    def verdicts(self, records: pl.DataFrame) -> pl.DataFrame:
        """For each record whether it breaks a row rule (by its name), or belongs to a share (by its rule's name)."""
        plain = records.select(plain_columns(records.schema, self._columns))
        broken = {name: _column(~expr, plain) for name, expr in self._kept.items()}
        shares = {name: _column(expr, plain) for name, expr in self._shares.items()}
        return pl.DataFrame(broken | shares)

    def rejected(self, verdicts: pl.DataFrame) -> pl.Series:
        """Which records break a rule that rejects."""
        if not self._rejecting:
            return pl.repeat(value=False, n=verdicts.height, dtype=pl.Boolean, eager=True)
        return verdicts.select(pl.any_horizontal(self._rejecting)).to_series()

    def reasons(self, verdict: dict[str, bool]) -> tuple[str, ...]:
        """The reasons why a record is rejected, of its row in `verdicts`."""
        return tuple(f"{name}: it does not keep {self._texts[name]}" for name in self._rejecting if verdict[name])

    def validity(self, verdicts: pl.DataFrame) -> pl.Series:
        """For each record the share of the counted row rules that it keeps, 0 to 1."""
        ones = [(~pl.col(name)).cast(pl.Float64) for name in self._counted]
        kept = verdicts.select(pl.sum_horizontal(ones)).to_series()
        return kept / pl.repeat(len(self._counted), n=len(kept), dtype=pl.Float64, eager=True)  # exact: no product


def _compiled(dataset: EventStream, text: str, *at: str) -> pl.Expr:
    try:
        return condition(text, dataset.columns)
    except ConditionError as error:
        raise FaultError(f"`quality.{'.'.join(at)}`: {error}", at=("quality", *at)) from None


def _column(expr: pl.Expr, plain: pl.DataFrame) -> pl.Series:
    """Where a condition is true; one that can't be computed on a record is unknown there, as NULL is."""
    try:
        return plain.select(expr.fill_null(value=False)).to_series()
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException):  # such as a decimal of more than 38 digits
        if plain.height <= 1:
            return pl.Series([False] * plain.height, dtype=pl.Boolean)
        half = plain.height // 2
        return pl.concat([_column(expr, part) for part in (plain[:half], plain[half:])])
