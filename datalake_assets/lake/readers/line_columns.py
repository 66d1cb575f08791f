"""Lines of JSON cut into columns by looking for the names of their fields: no Python for each line, and no lock of it.

Whoever writes events writes the fields of each in one order. A line is cut at `,"name":` for each name, in the order
that some lines of its text tell. Where each piece between is one JSON value, and of the kind that its field must have,
the line is that object and can be nothing else: a quote within a string is escaped, and no string with an escape
passes; and were a name one of a nested object, what is left before it would be no value. Such lines are accepted
without a parser. All others are left to it.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from io import BytesIO

import msgspec
import polars as pl

from datalake_assets.lake.readers.contract_fields import ContractFields, FieldRule
from datalake_assets.lake.readers.framing import SLICE_BYTES
from datalake_assets.lake.readers.json_values import nearest_double
from datalake_assets.lake.readers.line_layout import marks_of
from datalake_assets.lake.spec.columns import UNKNOWN

INDEX, LINE, BEGIN = "_index", "_line", "_begin"
"""The number of a line (from 0), the line, and where it begins behind the first one, in bytes."""
_BYTES, _IS_OBJECT = "_bytes", "_is_object"
_TOGETHER = 4 * 1024**2
_WORTH_CUTTING = 256 * 1024  # bytes: in fewer, asking for columns costs as much as parsing
_SAMPLE = 64  # lines that tell how all are laid out
_PAYS = 3 / 4  # of the lines; where fewer can be cut, the next texts are left to the parser
_PAUSE = 16  # texts
_LEVELS = 3  # of nested values; a deeper one is the parser's

_STRING = r'"[^"\\\x00-\x1f]*"'
_NUMBER = r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?"
_DOUBLE = r"-?[1-9][0-9]{0,15}(?:\.[0-9]{1,20})?|0(?:\.[0-9]{1,20})?|-0\.[0-9]{0,19}[1-9]"


def _value(levels: int) -> str:
    scalar = f"{_STRING}|{_NUMBER}|true|false|null"
    if not levels:
        return f"(?:{scalar})"
    value = _value(levels - 1)
    items, fields = f"{value}(?:, ?{value})*", f"{_STRING}: ?{value}(?:, ?{_STRING}: ?{value})*"
    return rf"(?:{scalar}|\[(?:{items})?\]|\{{(?:{fields})?\}})"


_PATTERNS = {str: _STRING, float: _DOUBLE, bool: "true|false", msgspec.Raw: _value(_LEVELS)}
_DTYPES: dict[type, pl.DataType] = {str: pl.String(), int: pl.Int64(), float: pl.Float64(), bool: pl.Boolean()}
_UNDECLARED = FieldRule(msgspec.Raw, required=False, nullable=True, limits={})


def raw_dtype(rule: FieldRule) -> pl.DataType:
    """How the raw values of a field are kept in a column."""
    return _DTYPES.get(rule.raw_type, pl.String())


@dataclass(frozen=True, slots=True)
class Cut:
    """The lines of a text: those that were cut, in raw columns, and the others.

    `columns` has the raw values of the contract's columns, `_unknown` (what the contract does not declare, as JSON
    text), `_index` and `_line`; `others` has `_index`, `_line` and `_begin`. `height` is the number of all lines, `end`
    the position in the text where they end.
    """

    columns: pl.DataFrame
    others: pl.DataFrame
    height: int
    end: int


class LineCutter:
    """Cuts the lines of one event stream."""

    def __init__(self, fields: ContractFields, *, record_bytes: int, takes_unknown: bool, keeps_unknown: bool) -> None:
        """Prepare for the fields of a contract, and for others where it `takes_unknown` ones; no line is longer."""
        self._rules = fields.rules
        self._record_bytes = record_bytes
        self._takes_unknown = takes_unknown
        self._keeps_unknown = keeps_unknown
        self._needs_parser = fields.need_whole_record
        self._cuts: _Cuts | None = None
        self._pause = 0

    def cut(self, text: bytes, at: int) -> Cut | None:
        """Some lines of a text from a position on, cut; None where that does not pay, or can't be done."""
        if self._pause:
            self._pause -= 1
            return None
        if self._needs_parser or len(text) - at < _WORTH_CUTTING:
            return None
        part = _lines_at(text, at)
        lines = _lines_of(part)
        if lines is not None:
            for cuts in self._attempts(lines):
                columns, others = cuts.of(lines)
                if columns.height >= _PAYS * lines.height and not _ask_for_the_parser(others):
                    self._cuts = cuts
                    return Cut(columns, others, lines.height, at + len(part))
        self.pause()
        return None

    def pause(self) -> None:
        """Leave the next texts to the parser."""
        self._pause = _PAUSE

    def _attempts(self, lines: pl.DataFrame) -> Iterator["_Cuts"]:
        """The cuts of the text before, and those that some lines of this one tell."""
        if self._cuts:
            yield self._cuts
        sample = lines[LINE].gather_every(1 + lines.height // _SAMPLE).to_list()
        marks = marks_of(sample, declared=self._rules.keys(), others=self._takes_unknown)
        if marks and all(name in marks or not rule.required for name, rule in self._rules.items()):
            yield _Cuts(marks, self._rules, record_bytes=self._record_bytes, keeps_unknown=self._keeps_unknown)


class _Cuts:
    """The cuts through lines of one layout: expressions, made once."""

    def __init__(
        self, marks: Mapping[str, str], rules: Mapping[str, FieldRule], *, record_bytes: int, keeps_unknown: bool
    ) -> None:
        """Prepare; `marks` are what stands before the value of each field, in their order."""
        line, own = pl.col(LINE), {name: rules.get(name, _UNDECLARED) for name in marks}
        places, texts, values = (
            {name: pl.col(f"{what} {n}") for n, name in enumerate(marks)} for what in ("place", "text", "value")
        )
        found = (line.str.find(mark, literal=True).cast(pl.Int64) for mark in marks.values())
        self._places = [line.cast(pl.Binary).alias(_BYTES), *_as(places, found)]
        ends, self._ends = ends_of(places, own)
        is_object = (places[next(iter(marks))] == 0) & line.str.ends_with("}") & (line.str.len_bytes() <= record_bytes)
        is_object = is_object.fill_null(value=False).alias(_IS_OBJECT)
        self._texts = [INDEX, LINE, is_object, *_as(texts, _texts_between(places, ends, marks))]
        self._values = _as(values, (_value_of(texts[name], rule) for name, rule in own.items()))
        fits = (_fits(texts[name], values[name], rule) for name, rule in own.items())
        self._fits = pl.all_horizontal(_IS_OBJECT, *fits)
        declared = (values.get(name, pl.lit(None, raw_dtype(rule))).alias(name) for name, rule in rules.items())
        unknown = _as_object({name: text for name, text in texts.items() if keeps_unknown and name not in rules})
        self._raw = [INDEX, LINE, *declared, unknown.alias(UNKNOWN)]

    def of(self, lines: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
        """The columns of those lines that can be cut, and the others."""
        placed = lines.with_columns(self._places)
        for end in self._ends:
            placed = placed.with_columns(end)
        cut = placed.select(self._texts).with_columns(self._values)
        is_cut = cut.select(self._fits).to_series()
        begins = pl.col(LINE).str.len_bytes().cast(pl.Int64).add(1).cum_sum().shift(1, fill_value=0)
        others = lines.with_columns(begins.alias(BEGIN)).filter(~is_cut)
        return cut.filter(is_cut).select(self._raw), others


def _as(names: Mapping[str, pl.Expr], expressions: Iterable[pl.Expr]) -> list[pl.Expr]:
    """Expressions, called as the columns that are to hold what they give."""
    return [given.alias(name.meta.output_name()) for name, given in zip(names.values(), expressions, strict=True)]


def _lines_at(text: bytes, begin: int) -> bytes:
    """Some whole lines of a text from a position on."""
    end = text.find(b"\n", begin + _TOGETHER)
    return text[begin:] if end < 0 else text[begin : end + 1]


def _lines_of(text: bytes) -> pl.DataFrame | None:
    """The lines of a text, numbered; None where it is no UTF-8, or has odd line ends."""
    if b"\r" in text:
        return None
    with suppress(pl.exceptions.ComputeError):
        return pl.read_lines(BytesIO(text), name=LINE, row_index_name=INDEX)
    return None


def _ask_for_the_parser(others: pl.DataFrame) -> bool:
    """Whether one of some lines may be several records, or so long that who parses it takes it in parts."""
    line = pl.col(LINE)
    several = line.str.contains("}{", literal=True) | (line.str.len_bytes() > SLICE_BYTES)
    return bool(others.select(several.any()).item())


def ends_of(places: Mapping[str, pl.Expr], rules: Mapping[str, FieldRule]) -> tuple[dict[str, pl.Expr], list[pl.Expr]]:
    """Where the text of each field ends: before the next mark that is there, or the brace at the end.

    And the columns that must be made for it, one after the other: each one's expression has the one before as a
    column, as a chain of all that may be absent would grow with the square of their number.
    """
    end, ends = pl.col(_BYTES).bin.size().cast(pl.Int64) - len("}"), dict[str, pl.Expr]()
    columns: list[pl.Expr] = []
    for n, name in enumerate(reversed([*places])):
        ends[name] = end
        end = places[name]
        if not rules[name].required:
            columns.append(pl.coalesce(end, ends[name]).alias(f"end {n}"))
            end = pl.col(f"end {n}")
    return ends, columns


def _texts_between(
    places: Mapping[str, pl.Expr], ends: Mapping[str, pl.Expr], marks: Mapping[str, str]
) -> Iterator[pl.Expr]:
    """What stands between each mark and its end; null without it."""
    for name, mark in marks.items():
        begin = places[name] + len(mark.encode())
        size = (ends[name] - begin).clip(lower_bound=0)
        yield pl.col(_BYTES).bin.slice(begin, size).cast(pl.String, strict=False)


def _value_of(text: pl.Expr, rule: FieldRule) -> pl.Expr:
    """The raw value of a text that fits; null where it is `null`, but for raw JSON."""
    if rule.raw_type is str:
        inner = text.str.strip_chars('"')
        return pl.when(text != "null").then(inner) if rule.nullable else inner
    if rule.raw_type is bool:
        return pl.when(text != "null").then(text == "true")
    return text.cast(raw_dtype(rule), strict=False)


def _fits(text: pl.Expr, value: pl.Expr, rule: FieldRule) -> pl.Expr:
    """Whether a text is a value that a field may have; where it is null the field is not there."""
    if rule.raw_type is int:
        # JSON has one form of a whole number, but for -0, which is the parser's; and there is no line break in a line.
        fits = text == value.cast(pl.String).fill_null("null" if rule.nullable else "\n")
    else:
        fits = text.str.contains(f"^(?:{_PATTERNS[rule.raw_type]}{'|null' if rule.nullable else ''})$")
    limits = (_keeps(value, rule, how).fill_null(value=True) for how in rule.limits)
    return pl.all_horizontal(fits.fill_null(value=not rule.required), *limits)


def _keeps(value: pl.Expr, rule: FieldRule, how: str) -> pl.Expr:
    limit = rule.limits[how]
    if rule.raw_type is float:
        limit = nearest_double(repr(limit))  # larger doubles are the authority's anyway
    if how.endswith("_length"):
        value = value.str.len_chars() if limit > 1 else value.str.len_bytes()  # which is quicker
    kept = {"ge": value.ge, "le": value.le, "gt": value.gt, "lt": value.lt}
    kept |= {"min_length": value.ge, "max_length": value.le}
    return kept[how](limit)


def _as_object(texts: Mapping[str, pl.Expr]) -> pl.Expr:
    """Fields as one JSON text, by name; null where none is there."""
    if not texts:
        return pl.lit(None, pl.String)
    fields = [pl.lit(f'"{name}":') + texts[name] for name in sorted(texts)]
    joined = pl.concat_str(fields, separator=",", ignore_nulls=True)
    return pl.when(joined != "").then(pl.concat_str(pl.lit("{"), joined, pl.lit("}")))
