"""What Polars makes of parsed events: their values as columns, exactly typed, and the checks cheaper on columns.

A check on columns finds doubtful records only; the contract's authority has the last word on them.
"""

from operator import attrgetter

import msgspec
import polars as pl

from datalake_assets.lake.readers.columns import of_text, timestamp_of_text
from datalake_assets.lake.readers.contract_fields import EXACT_IN_DOUBLES, ContractFields
from datalake_assets.lake.readers.json_values import DEEPEST, json_value, levels, plain_timestamp
from datalake_assets.lake.readers.line_columns import LINE, raw_dtype
from datalake_assets.lake.readers.records import Records
from datalake_assets.lake.spec.columns import EVENT_TIME, ROW_NUMBER, UNKNOWN
from datalake_assets.lake.spec.parts import EventTime
from datalake_assets.lake.store.dtypes import dtype_of

_TICKS_PER_SECOND = {"s": 1, "ms": 1_000, "us": 1_000_000}
_LOT = 1_024
_MINUS_ZERO = r":\s*-0\s*[,}]"
_OPENING = r"[\[{]"

OBJECT = "_object"
"""The number (from 0) of a record's object, while its columns are made."""


class RawColumns:
    """The values of parsed records, in columns.

    They are taken out of the records lot by lot, while these are in the processor's cache.
    """

    def __init__(self, fields: ContractFields) -> None:
        """Begin with no records."""
        self._values = {name: attrgetter(f"f{n}") for n, name in enumerate(fields.types)}
        self._texts: dict[str, list[bytes]] = {n: [] for n in fields.types if fields.is_text(n)}
        self._dtypes = {n: raw_dtype(rule) for n, rule in fields.rules.items()}
        self._series: dict[str, list[pl.Series]] = {n: [pl.Series(n, dtype=t)] for n, t in self._dtypes.items()}
        self._lines = [pl.Series(LINE, dtype=pl.String)]
        self._numbers = [pl.Series(ROW_NUMBER, dtype=pl.Int64)]
        self._heights: list[tuple[int, int]] = []
        self._unknown = [pl.Series(UNKNOWN, dtype=pl.String)]
        self._waiting = Records()
        self._cut: list[pl.DataFrame] = []

    def add(self, records: Records, *, of: int) -> None:
        """Take the accepted records of an object (by its number) out of `records`, so that nothing else keeps them."""
        if records.cut is not None:
            self._cut.append(records.cut.with_columns(pl.lit(of, pl.UInt32).alias(OBJECT)))
            records.cut = None
        self._heights.append((of, len(records.accepted)))
        waiting = self._waiting
        waiting.accepted += records.accepted
        waiting.lines += records.lines
        waiting.row_numbers += records.row_numbers
        waiting.unknown += records.unknown
        records.accepted, records.lines, records.row_numbers, records.unknown = [], [], [], []
        if len(waiting.accepted) >= _LOT:
            self._take()

    def _take(self) -> None:
        waiting, self._waiting = self._waiting, Records()
        for name, value in self._values.items():
            values = list(map(value, waiting.accepted))
            if name in self._texts:
                self._texts[name].append(b"\n".join([b"" if v is None else v for v in values]))
            else:
                self._series[name].append(pl.Series(name, values, dtype=self._dtypes[name]))
        self._lines.append(pl.Series(LINE, waiting.lines, dtype=pl.Binary).cast(pl.String))
        self._unknown.append(pl.Series(UNKNOWN, waiting.unknown, dtype=pl.Binary).cast(pl.String))
        self._numbers.append(pl.Series(ROW_NUMBER, waiting.row_numbers, dtype=pl.Int64))

    def frame(self) -> pl.DataFrame:
        """The columns, `_unknown`, and where the records come from: `_object`, `_row_number`, `_line`."""
        if self._waiting.accepted:
            self._take()
        for name, texts in self._texts.items():
            if texts:
                self._series[name].append(_split(name, texts))
        columns = [pl.concat(series) for series in [*self._series.values(), self._unknown, self._numbers, self._lines]]
        heights = pl.DataFrame(self._heights, {"n": pl.UInt32, "height": pl.UInt32}, orient="row")
        parents = heights.filter(pl.col("height") > 0).select(pl.col("n").repeat_by("height").explode())
        parsed = pl.DataFrame([*columns, parents["n"].cast(pl.UInt32).alias(OBJECT)])
        return pl.concat([parsed, *(cut.select(parsed.columns) for cut in self._cut)])


class EventColumns:
    """The columns of one event stream."""

    def __init__(self, fields: ContractFields, *, event_time: EventTime) -> None:
        """Prepare the conversions; nothing is read."""
        self._fields = fields
        self._event_time = event_time
        self._typed = {name: self._typed_column(name) for name in fields.types}

    def raw_columns(self) -> "RawColumns":
        """A place for the values of parsed records."""
        return RawColumns(self._fields)

    def typed(self, raw: pl.DataFrame) -> tuple[pl.DataFrame, list[int]]:
        """The raw columns in their declared types, with `_event_time`, and the rows that the authority must judge.

        Other columns of `raw` are passed on.
        A row that it accepts comes again, with its values in their plainest form.
        """
        typed = raw.select(*self._typed.values(), pl.exclude(*self._typed))
        typed = typed.with_columns(self._event_time_column().alias(EVENT_TIME))
        return typed, self._doubtful(raw, typed)

    def with_odd_times(self, typed: pl.DataFrame) -> pl.DataFrame:
        """Event times in forms of ISO 8601 that Polars does not read, such as those without an offset."""
        texts = typed[self._event_time.column]
        unread = typed[EVENT_TIME].is_null()
        plain = [plain_timestamp(text) if odd else None for text, odd in zip(texts, unread, strict=True)]
        times = timestamp_of_text(pl.lit(pl.Series(plain, dtype=pl.String)))
        return typed.with_columns(pl.col(EVENT_TIME).fill_null(times))

    def _typed_column(self, name: str) -> pl.Expr:
        lake_type, raw_type = self._fields.types[name], self._fields.raw_type(name)
        value = pl.col(name)
        if raw_type is msgspec.Raw and lake_type.name == "json":
            value = pl.when(value != "null").then(value)
        if raw_type is msgspec.Raw or raw_type is str:
            return of_text(value, lake_type).alias(name)
        return value.cast(dtype_of(lake_type)).alias(name)

    def _event_time_column(self) -> pl.Expr:
        column, unit = self._event_time.column, self._event_time.unit
        value = pl.col(column)
        if self._fields.types[column].name == "string":
            return timestamp_of_text(value)
        if unit not in _TICKS_PER_SECOND:
            return value
        factor = 1_000_000 // _TICKS_PER_SECOND[unit]
        first, last = self._fields.time_range(column) or (0, 0)
        ticks = pl.when(value.is_between(first, last)).then(value) * factor
        if self._fields.raw_type(column) is float:
            ticks = ticks.round().cast(pl.Int64, strict=False)
        return ticks.cast(pl.Datetime("us", "UTC"))

    def _doubtful(self, raw: pl.DataFrame, typed: pl.DataFrame) -> list[int]:
        fields = self._fields
        checks = [pl.lit(typed[EVENT_TIME].is_null())]
        checks.extend(pl.lit(typed[name].is_null()) for name in fields.needed if fields.is_text(name))
        checks.extend(pl.col(name).abs() >= EXACT_IN_DOUBLES for name in fields.ruled_doubles)
        for name, lake_type in fields.types.items():
            value = pl.col(name)
            if lake_type.name in {"decimal", "timestamp", "date"}:
                checks.append(pl.lit(typed[name].is_null()) & value.is_not_null())
            if check := fields.text_checks.get(name):
                checks.append(~value.str.head(1).is_in(list(check.first_characters)))
                number = value.cast(pl.Float64, strict=False)
                kept = {"ge": number.ge, "le": number.le, "gt": number.gt, "lt": number.lt}
                checks.extend(~kept[how](bound) for how, bound in check.bounds.items())
                if check.bounds:
                    checks.append((number.abs() >= EXACT_IN_DOUBLES) | (number.is_null() & (value != "null")))
            rows: list[int] = []
            if fields.is_text(name):
                rows = _too_deep(raw[name])
            elif fields.raw_type(name) is float:
                rows = _minus_zeros(raw[name], lines=raw[LINE])
            if rows:
                checks.append(pl.int_range(pl.len()).is_in(rows))
        for name in fields.columns_with_value_rules:
            bad = fields.doubtful_values(name, raw[name].unique().to_list())
            if bad:
                checks.append(pl.col(name).is_in(bad))
        faulty = pl.any_horizontal(c.fill_null(value=False) for c in checks)
        return raw.select(pl.arg_where(faulty)).to_series().to_list()


def _too_deep(texts: pl.Series) -> list[int]:
    """The rows whose JSON text makes their record nested deeper than `DEEPEST`; hardly any text is long enough."""
    long = (texts.str.len_bytes() >= 2 * DEEPEST).arg_true()
    suspects = long.filter(texts.gather(long).str.count_matches(_OPENING) >= DEEPEST)
    return [row for row in suspects if _levels(texts[row]) >= DEEPEST]


def _minus_zeros(values: pl.Series, *, lines: pl.Series) -> list[int]:
    """The rows that may have a `-0` among their doubles: msgspec reads it as 0.0, though it reads -0.0 as such."""
    zeros = (values == 0).arg_true()
    return zeros.filter(lines.gather(zeros).str.contains(_MINUS_ZERO)).to_list()


def _levels(text: str) -> int:
    try:
        return levels(json_value(text.encode()))
    except ValueError:
        return DEEPEST


def _split(name: str, texts: list[bytes]) -> pl.Series:
    """JSON texts as a column; an empty one stands for none. No line of NDJSON holds a line break, so no text does."""
    lines = pl.Series(name, [b"\n".join(texts).decode()]).str.split("\n").explode()
    return lines.set(lines == "", None)
