"""What orders changes, as numbers: AWS DMS's change sequence, a log sequence number (LSN), a counter, a time.

Belongs here: one value. Where the numbers stand in the order of changes is told by `CdcTable.order_columns`.
"""

import polars as pl

SEQUENCE_DTYPE = pl.Decimal(38, 0)
"""Wide enough for the 35 digits of AR_H_CHANGE_SEQ and the 64 bits of an LSN."""

_DIGITS = r"^-?[0-9]{1,38}$"
_LSN = r"^([0-9A-Fa-f]{1,8})/([0-9A-Fa-f]{1,8})$"
_HIGH = 2**32
_NANOSECONDS = {"ms": 1_000_000, "us": 1_000, "ns": 1}


def sequence(value: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    """Values as numbers that sort as the changes do; null for what tells no place in an order.

    Text is read as digits or as an LSN (`16/B374D848`, which does not sort as text); times count in nanoseconds.
    """
    if dtype == pl.String():
        digits = pl.when(value.str.contains(_DIGITS)).then(value).cast(SEQUENCE_DTYPE, strict=False)
        return pl.coalesce(digits, _of_lsn(value))
    if isinstance(dtype, pl.Datetime):
        return value.to_physical().cast(SEQUENCE_DTYPE) * _NANOSECONDS[dtype.time_unit]
    if dtype == pl.Date():
        return value.to_physical().cast(SEQUENCE_DTYPE)
    if dtype.is_integer() or (isinstance(dtype, pl.Decimal) and not dtype.scale):
        return value.cast(SEQUENCE_DTYPE, strict=False)
    return pl.lit(None, SEQUENCE_DTYPE)


def _of_lsn(text: pl.Expr) -> pl.Expr:
    high, low = (
        text.str.extract(_LSN, group).str.to_integer(base=16, strict=False, dtype=pl.Int64).cast(SEQUENCE_DTYPE)
        for group in (1, 2)
    )
    return high * _HIGH + low
