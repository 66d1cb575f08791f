"""The contract of one event: which records are accepted, and why the others are not.

A dataset's JSON Schema is compiled to a msgspec decoder, which checks types, required fields, ranges and lengths
while it parses; a rule about one field that msgspec can't keep is checked on the field's distinct values. Records
that either finds fault with, and all records of a schema that can't be cut into such rules, are judged by
jsonschema-rs, which is the authority and finds the words for the quarantine. So a clean file is fast, and a dirty one
costs more only for its dirty lines.

Belongs here: bytes in, verdicts and field values out. Making columns of the values is the engines' affair.
"""

import gzip
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date
from typing import Annotated, Any

import jsonschema_rs
import msgspec
from isal import igzip, isal_zlib

from datalake_assets.lake.dataset import EventStream
from datalake_assets.lake.plain import (
    INT64,
    SHOWN,
    finite_double,
    nearest_double,
    plain_decimal,
    plain_timestamp,
    shown,
    whole_number,
)
from datalake_assets.lake.types import LakeType, json_property_types

_ANNOTATIONS = frozenset(
    {"$comment", "$id", "$schema", "default", "deprecated", "description", "examples", "readOnly", "title", "writeOnly"}
)
_WHOLE_RECORD = _ANNOTATIONS | {"additionalProperties", "properties", "required", "type"}
_BOUNDS = {"minimum": "ge", "maximum": "le", "exclusiveMinimum": "gt", "exclusiveMaximum": "lt"}
_BY_MSGSPEC = {
    "string": {"minLength": "min_length", "maxLength": "max_length"},
    "integer": {"minimum": "ge", "maximum": "le"},
    "number": _BOUNDS,
    "boolean": {},
}
_FIRST_CHARACTERS = {"object": "{", "array": "[", "string": '"', "number": "-0123456789", "boolean": "tf", "null": "n"}
_CARRIERS: dict[str, type] = {"string": str, "integer": int, "number": float, "boolean": bool}
_EPOCH_UNITS = {"s": 1, "ms": 1_000, "us": 1_000_000}
_FIRST_SECOND, _LAST_SECOND = -62_135_596_800, 253_402_300_799  # the years 1 to 9999

_LINES = 8_192

EXACT_IN_DOUBLES = 2.0**53
"""From here on a double no longer tells neighbouring whole numbers apart, so it can't be held against a rule."""


class UnreadableObjectError(ValueError):
    """An object whose bytes can't be read at all, such as a gzip file cut off in the middle."""


@dataclass(frozen=True, slots=True)
class Reject:
    """One record that is not accepted: its line (from 1), its text, and each reason as `/pointer rule: message`."""

    row_number: int
    raw: str
    errors: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TextCheck:
    """What the JSON text of a column's value must keep: how it begins, and its bounds as a number."""

    first_characters: str
    bounds: Mapping[str, float]


@dataclass(slots=True)
class Records:
    """Records of one object.

    `accepted` holds a struct for each, with the fields `f0`, `f1`, … in the order of the dataset's columns;
    `row_numbers` are their lines. Values are carriers: `str`, `int`, `float`, `bool`, `None`, or `msgspec.Raw` where
    the column keeps JSON text or an exact number. `unknown` holds the JSON text of what the contract does not declare,
    by the position (from 0) of the accepted record that has it.
    """

    accepted: list[Any] = field(default_factory=list)
    row_numbers: list[int] = field(default_factory=list)
    rejected: list[Reject] = field(default_factory=list)
    unknown: dict[int, str] = field(default_factory=dict)


def decompress(data: bytes) -> bytes:
    """The text of a landed object: gzip (of any number of members) is undone, a byte order mark is taken off.

    Raises `UnreadableObjectError` for gzip that is damaged or ends early.
    """
    if data[:2] == b"\x1f\x8b":
        try:
            data = igzip.decompress(data)
        except (isal_zlib.error, EOFError, gzip.BadGzipFile) as error:  # type: ignore[misc]  # isal's stub errs
            raise UnreadableObjectError(f"gzip: {error}; land the object again") from None
    return data.removeprefix(b"\xef\xbb\xbf")


class Contract:
    """The compiled contract of one event stream."""

    def __init__(self, dataset: EventStream) -> None:
        """Compile the contract of `dataset`; nothing is read."""
        self._dataset = dataset
        declared = dataset.contract["properties"]
        self._rules: dict[str, dict[str, Any]] = {n: _as_object(rule) for n, rule in declared.items()}
        self.types: dict[str, LakeType] = {name: c.lake_type for name, c in dataset.columns.items()}
        self._carriers = {name: self._carrier_of(name) for name in self.types}
        self.needed = frozenset({dataset.event_time.column, *dataset.key})
        self._authority = jsonschema_rs.Draft202012Validator(dataset.contract, validate_formats=True)
        self._struct = msgspec.defstruct(
            "Event",
            [self._field(n, name) for n, name in enumerate(self.types)],
            rename={f"f{n}": name for n, name in enumerate(self.types)},
            forbid_unknown_fields=True,
            kw_only=True,
            gc=False,
        )
        unknown = ("unknown", str | None, None)
        self._judged = msgspec.defstruct("JudgedEvent", [unknown], bases=(self._struct,), kw_only=True)
        self._decoder = msgspec.json.Decoder(self._struct)
        self._any = msgspec.json.Decoder(float_hook=nearest_double)
        self._texts = msgspec.json.Decoder(dict[str, msgspec.Raw])
        self.text_checks: dict[str, TextCheck] = {n: c for n in self.types if (c := self._text_check(n))}
        self._value_rules = {n: r for n in self.types if n not in self.text_checks and (r := self._rule_on_values(n))}
        doubles = (n for n in self.types if self.carrier(n) is float)
        self.ruled_doubles = tuple(n for n in doubles if self._rule(n).keys() - {"type"})
        self._whole_record = self._needs_whole_record()

    def parse(self, text: bytes) -> Iterator[Records]:
        """Read newline-delimited JSON. Blank lines are no records; every other line is accepted or rejected.

        Gives the records of some thousand lines at a time: what is made of them while they are in the processor's
        cache costs half.
        """
        lines = text.split(b"\n")
        trusting = not self._whole_record and _is_utf8(text)
        for begin in range(0, len(lines), _LINES):
            some = lines[begin : begin + _LINES]
            yield self._decoded(some, begin) if trusting else self._read(some, begin)

    def _decoded(self, lines: Sequence[bytes], number: int) -> Records:
        """The records of lines after the line `number`; those that msgspec finds fault with are judged."""
        records = Records()
        waiting = iter(lines)
        end = number + len(lines)
        while number < end:
            had = len(records.accepted)
            with suppress(msgspec.MsgspecError, RecursionError):
                records.accepted.extend(map(self._decoder.decode, waiting))  # keeps those before a line that raises
            decoded = len(records.accepted) - had
            records.row_numbers.extend(range(number + 1, number + 1 + decoded))
            number += decoded + 1
            if number <= end:
                self._enter(records, number, lines[number - end - 1], read=self.judge)
        return records

    def _read(self, lines: Sequence[bytes], number: int) -> Records:
        """The records of lines after the line `number`, each read by itself."""
        records = Records()
        for line in lines:
            number += 1
            self._enter(records, number, line, read=self._read_line)
        return records

    def judge_lines(self, text: bytes, numbers: Iterable[int]) -> Records:
        """The authority's verdicts on some lines (from 1) of an object, such as those that a check on columns doubts.

        A record that it accepts has its values in their plainest form.
        """
        lines = text.split(b"\n")
        records = Records()
        for number in numbers:
            self._enter(records, number, lines[number - 1], read=self.judge)
        return records

    def _enter(
        self, records: Records, number: int, line: bytes, *, read: Callable[[bytes], Any | tuple[str, ...]]
    ) -> None:
        """Enter what `read` says of a line in the records; a blank line is none."""
        if not line or line.isspace():
            return
        verdict = read(line)
        if isinstance(verdict, tuple):
            records.rejected.append(Reject(number, line.decode(errors="backslashreplace"), verdict))
            return
        if (unknown := getattr(verdict, "unknown", None)) is not None:
            records.unknown[len(records.accepted)] = unknown
        records.accepted.append(verdict)
        records.row_numbers.append(number)

    def doubtful_values(self, name: str, values: Iterable[Any]) -> list[Any]:
        """Those of a column's distinct values (carriers; JSON text as `str`) that break a rule msgspec can't keep."""
        rule = self._value_rules[name]
        if not self.is_text(name):
            return [v for v in values if v is not None and not rule.is_valid(v)]
        return [v for v in values if v is not None and not self._is_valid_text(rule, v)]

    @property
    def columns_with_value_rules(self) -> tuple[str, ...]:
        """The columns for which `doubtful_values` must be asked."""
        return tuple(self._value_rules)

    def is_text(self, name: str) -> bool:
        """Whether a column's carrier is the JSON text of its value."""
        return self.carrier(name) is msgspec.Raw

    def judge(self, line: bytes) -> Any | tuple[str, ...]:
        """The authority's verdict on one line: the record's struct, or the reasons why it is rejected."""
        try:
            document = self._document(line)
        except ValueError as error:
            return (f"json: {str(error)[:SHOWN]}",)
        errors = [_reason(error) for error in self._authority.iter_errors(document)]
        if not isinstance(document, dict):
            return tuple(errors) or ("type: a record is a JSON object",)
        unknown = sorted(document.keys() - self.types.keys())
        if unknown and self._dataset.unknown_fields == "reject":
            errors += [f"/{_pointer(n)} unknown_fields: the contract does not declare this field" for n in unknown]
        errors += [f"/{_pointer(n)} key: an event needs it" for n in sorted(self.needed) if document.get(n) is None]
        if errors:
            return tuple(errors)
        return self._accepted(document, self._texts.decode(line), unknown)

    def _accepted(
        self, document: Mapping[str, Any], texts: Mapping[str, msgspec.Raw], unknown: Sequence[str]
    ) -> Any | tuple[str, ...]:
        """The struct of a valid record, or the reasons why its values don't fit their columns."""
        errors: list[str] = []
        values: dict[str, Any] = {}
        for n, name in enumerate(self.types):
            try:
                values[f"f{n}"] = self._plain(name, document.get(name), texts.get(name))
            except ValueError as error:
                errors.append(f"/{_pointer(name)} x-lake-type: {error}")
        if errors:
            return tuple(errors)
        if unknown and self._dataset.unknown_fields == "keep":
            pairs = (f"{msgspec.json.encode(name).decode()}:{bytes(texts[name]).decode()}" for name in unknown)
            values["unknown"] = f"{{{','.join(pairs)}}}"
        return self._judged(**values)

    def _document(self, line: bytes) -> Any:
        """The line as a JSON value. Raises `ValueError` where it is none."""
        if not _is_utf8(line):
            raise ValueError("the line is not UTF-8 text")
        try:
            return self._any.decode(line)
        except RecursionError:
            raise ValueError("nested too deeply to be read") from None

    def _read_line(self, line: bytes) -> Any | tuple[str, ...]:
        if not self._whole_record and _is_utf8(line):
            try:
                return self._decoder.decode(line)
            except (msgspec.MsgspecError, RecursionError):
                pass
        return self.judge(line)

    def _is_valid_text(self, rule: Any, text: str) -> bool:
        try:
            return bool(rule.is_valid(self._any.decode(text)))
        except (msgspec.MsgspecError, RecursionError):
            return False

    def carrier(self, name: str) -> type:
        """The Python type in which a column's values come: `str`, `int`, `float`, `bool`, or `msgspec.Raw`."""
        return self._carriers[name]

    def _carrier_of(self, name: str) -> type:
        scalar = json_property_types(self._rules[name]) - {"null"}
        if (self.types[name].name in {"json", "decimal"} and scalar != {"string"}) or len(scalar) != 1:
            return msgspec.Raw
        return _CARRIERS.get(next(iter(scalar)), msgspec.Raw)

    def _field(self, n: int, name: str) -> tuple[str, Any] | tuple[str, Any, None]:
        """The struct's field of a column: absent is None, and null is refused where the contract refuses it."""
        carrier: Any = self.carrier(name)
        rule = self._rules[name]
        json_types = json_property_types(rule)
        meta: dict[str, Any] = {}
        if carrier is not msgspec.Raw:
            known = _BY_MSGSPEC[next(iter(json_types - {"null"}))]
            meta = {ours: rule[theirs] for theirs, ours in known.items() if theirs in rule}
        limits = [bounds for bounds in (self.types[name].integer_range, self.time_range(name)) if bounds]
        if carrier is int:
            least = max([lower for lower, _ in limits] + ([math.ceil(meta["ge"])] if "ge" in meta else []))
            most = min([upper for _, upper in limits] + ([math.floor(meta["le"])] if "le" in meta else []))
            meta = {"ge": min(least, INT64[1]), "le": max(most, INT64[0])}
        annotated = Annotated[carrier, msgspec.Meta(**meta)] if meta else carrier
        required = name in self.needed
        if "null" in json_types and not required and carrier is not msgspec.Raw and self._null_is_valid(name):
            annotated |= None
        if required or name in self._dataset.contract.get("required", ()):
            return f"f{n}", annotated
        return f"f{n}", annotated, None

    def _null_is_valid(self, name: str) -> bool:
        return bool(jsonschema_rs.Draft202012Validator(self._rule(name)).is_valid(None))

    def time_range(self, name: str) -> tuple[int, int] | None:
        """The epoch numbers that are a time of the years 1 to 9999, for the event time alone."""
        scale = _EPOCH_UNITS.get(self._dataset.event_time.unit or "")
        if name != self._dataset.event_time.column or scale is None:
            return None
        return _FIRST_SECOND * scale, _LAST_SECOND * scale

    def _rule(self, name: str) -> dict[str, Any]:
        """A column's own schema without what only describes."""
        return {k: v for k, v in self._rules[name].items() if k not in _ANNOTATIONS and not k.startswith("x-")}

    def _text_check(self, name: str) -> TextCheck | None:
        """The rules of a column kept as text, where they can be told from the text alone."""
        rule = self._rule(name)
        json_types = json_property_types(rule)
        if not self.is_text(name) or not rule.keys() <= {"type", *_BOUNDS} or "integer" in json_types:
            return None
        bounds = {_BOUNDS[key]: float(value) for key, value in rule.items() if key in _BOUNDS}
        if bounds and not json_types <= {"number", "null"}:
            return None
        return TextCheck("".join(_FIRST_CHARACTERS[t] for t in json_types or _FIRST_CHARACTERS), bounds)

    def _rule_on_values(self, name: str) -> Any | None:
        rule = self._rule(name)
        kept = {"type"}
        if not self.is_text(name):
            kept |= _BY_MSGSPEC[next(iter(json_property_types(rule) - {"null"}))].keys()
        if rule.keys() <= kept and not self.is_text(name):
            return None
        return jsonschema_rs.Draft202012Validator(rule, validate_formats=True)

    def _needs_whole_record(self) -> bool:
        contract = self._dataset.contract
        refers = any("$ref" in str(rule) or "$dynamicRef" in str(rule) for rule in self._rules.values())
        undeclared = set(contract.get("required", ())) - self._rules.keys()
        known = contract.keys() <= _WHOLE_RECORD
        return refers or bool(undeclared) or contract.get("type") != "object" or not known

    def _plain(self, name: str, value: Any, text: msgspec.Raw | None) -> Any:
        """A valid value in the plainest form of its carrier.

        Raises `ValueError` when its column can't hold it.
        """
        if value is None or text is None:
            return None
        lake_type, carrier = self.types[name], self.carrier(name)
        bounds = self.time_range(name)
        if bounds and not bounds[0] <= value <= bounds[1]:
            raise ValueError(f"{shown(value)} is no time of the years 1 to 9999")
        plain: Any = value
        if lake_type.name == "decimal":
            plain = plain_decimal(value if carrier is str else bytes(text).decode(), lake_type)
            return msgspec.Raw(plain.encode()) if carrier is msgspec.Raw else plain
        if carrier is msgspec.Raw:
            return text
        if carrier is int:
            return whole_number(value if isinstance(value, int) else bytes(text).decode(), lake_type)
        if carrier is float:
            return finite_double(bytes(text).decode())
        if lake_type.name == "date":
            plain = date.fromisoformat(value).isoformat()
        elif lake_type.name == "timestamp":
            plain = plain_timestamp(value)
        elif name == self._dataset.event_time.column:
            plain_timestamp(value)
        return plain


def rule_of(error: str) -> str:
    """The rule that a reason names: `minimum` of `/amount minimum: -3 is less than the minimum of 0`."""
    return error.partition(":")[0].rpartition(" ")[2]


def _is_utf8(text: bytes) -> bool:
    """Whether the bytes are UTF-8: msgspec looks into the strings it keeps, but not into those it passes over."""
    if text.isascii():
        return True
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


def _as_object(rule: Any) -> dict[str, Any]:
    """A property's schema as a mapping; the schemas `true` and `false` are written out."""
    if isinstance(rule, bool):
        return {} if rule else {"not": {}}
    return dict(rule)


def _reason(error: jsonschema_rs.ValidationError) -> str:
    pointer = "".join(f"/{_pointer(str(part))}" for part in error.instance_path)
    rule = str(error.schema_path[-1]) if error.schema_path else "schema"
    return f"{pointer} {rule}: {error.message[:SHOWN]}".lstrip()


def _pointer(part: str) -> str:
    return part.replace("~", "~0").replace("/", "~1")
