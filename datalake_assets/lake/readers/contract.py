"""The contract of one event: which records are accepted, and why the others are not.

A dataset's JSON Schema is compiled to a msgspec decoder, which checks types, required fields, ranges and lengths
while it parses; a rule about one field that msgspec can't keep is checked on the field's distinct values. Records
that either finds fault with, and all records of a schema that can't be cut into such rules, are judged by
jsonschema-rs, which is the authority and finds the words for the quarantine. So a clean file is fast, and a dirty one
costs more only for its dirty lines. Fields that the contract allows without declaring them are no fault.

Belongs here: lines in, verdicts and field values out. Making columns of the values is in `event_columns.py`.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date
from itertools import islice
from typing import Any

import jsonschema_rs
import msgspec

from datalake_assets.lake.readers.coercion import Coercion, with_fields
from datalake_assets.lake.readers.contract_fields import ContractFields
from datalake_assets.lake.readers.framing import Pieces, records_at
from datalake_assets.lake.readers.json_values import (
    DEEPEST,
    SHOWN,
    finite_double,
    json_value,
    plain_decimal,
    plain_timestamp,
    shown,
    whole_number,
)
from datalake_assets.lake.readers.rejects import Reject, oversized_line, rejected_line
from datalake_assets.lake.readers.unknown_fields import UnknownFields
from datalake_assets.lake.spec.dataset import EventStream


@dataclass(slots=True)
class Records:
    """Records of one object.

    `accepted` holds a struct for each, with the fields `f0`, `f1`, … in the order of the dataset's columns;
    `lines` are their lines and `row_numbers` the numbers of these. Their values are raw: `str`, `int`, `float`, `bool`,
    `None`, or `msgspec.Raw` where the column keeps JSON text or an exact number. `unknown` is for each the JSON text of
    what the contract does not declare (UTF-8), None where it has nothing of the kind. `last` is the number of the last
    record that was looked at, be it accepted or not.
    """

    accepted: list[Any] = field(default_factory=list)
    lines: list[bytes] = field(default_factory=list)
    row_numbers: list[int] = field(default_factory=list)
    rejected: list[Reject] = field(default_factory=list)
    unknown: list[bytes | None] = field(default_factory=list)
    last: int = 0


@dataclass(slots=True)
class _Reading:
    """Some of an object's text as it is read: the number of the last record, and the records so far."""

    number: int
    records: Records = field(default_factory=Records)


class NoRecordError(Exception):
    """A piece of text is not one record: it is several, or a part of one, or no JSON."""


class Contract:
    """The compiled contract of one event stream."""

    def __init__(self, dataset: EventStream, *, record_bytes: int) -> None:
        """Compile the contract of `dataset`, for records of at most `record_bytes`; nothing is read."""
        self._dataset = dataset
        self._record_bytes = record_bytes
        self.fields = ContractFields(dataset)
        self._authority = jsonschema_rs.Draft202012Validator(dataset.record_schema, validate_formats=True)
        names = {f"f{n}": name for n, name in enumerate(self.fields.types)}
        self._struct = msgspec.defstruct(
            "Event",
            self.fields.struct_fields,
            rename=names,
            forbid_unknown_fields=True,
            kw_only=True,
            gc=False,
        )
        kept = dataset.unknown_fields == "keep"
        self._unknown = UnknownFields(self._struct, names, keep=kept)
        self._trusts_unknown = dataset.unknown_fields != "reject" and self.fields.allow_others
        self._decoder = msgspec.json.Decoder(self._struct)
        self._texts = msgspec.json.Decoder(dict[str, msgspec.Raw])
        self._coercion = Coercion(dataset) if dataset.coerce == "lossless" else None

    def parse(self, text: bytes, *, after: int = 0) -> Iterator[Records]:
        """Read JSON records, in lines or not. A blank line is no record; all else is accepted or rejected.

        Records are numbered from the one that comes `after` a number on, blank lines too: of NDJSON these are the
        numbers of the lines. Gives the records of about 512 KiB of text at a time.
        """
        at = 0
        while at < len(text):
            cut = Pieces(text, at)
            reading = _Reading(after)
            at = self._read(text, cut, reading)
            reading.records.last = reading.number
            yield reading.records
            self._unknown.learn(reading.number - after)
            after = reading.number

    def _read(self, text: bytes, cut: Pieces, reading: _Reading) -> int:
        """Read pieces of a text; returns where they end, or where those end that were to be cut otherwise."""
        pieces = cut.pieces
        decode = self._decode(text[cut.begin : cut.end], pieces)
        done = 0
        while done < len(pieces):
            if decode is not None:
                done += self._decoded(pieces, done, reading, decode)
                if done == len(pieces):
                    break
            try:
                self._enter(reading, pieces[done], read=self._first_look)
            except NoRecordError:
                begin = cut.begin_of(done)
                found, end = records_at(text, begin, limit=self._record_bytes)
                for record in found:
                    self._enter_found(reading, record)
                count = cut.count_to(end)
                if count is None:
                    return end
                done += count
            else:
                done += 1
        return cut.end

    def _decode(self, text: bytes, pieces: Sequence[bytes]) -> Callable[[bytes], Any] | None:
        """What reads the pieces of a text one after the other, if msgspec's verdict on each is good."""
        longest = max(map(len, pieces))
        if self.fields.need_whole_record or longest > self._record_bytes or not _is_utf8(text):
            return None
        if self._trusts_unknown and longest > 2 * DEEPEST and any(map(_may_be_deep, pieces)):
            return None
        return (self._unknown.decoder if self._trusts_unknown else self._decoder).decode

    def _decoded(self, pieces: Sequence[bytes], done: int, reading: _Reading, decode: Callable[[bytes], Any]) -> int:
        """Enter the records of pieces up to one that msgspec finds fault with; returns how many those are."""
        records = reading.records
        had = len(records.accepted)
        with suppress(msgspec.MsgspecError, RecursionError):
            records.accepted.extend(map(decode, islice(pieces, done, None)))  # keeps those before one that raises
        decoded = len(records.accepted) - had
        texts = self._unknown.texts_of(records.accepted[had:]) if self._trusts_unknown else ()
        records.unknown.extend(texts or [None] * decoded)
        records.lines.extend(pieces[done : done + decoded])
        records.row_numbers.extend(range(reading.number + 1, reading.number + decoded + 1))
        reading.number += decoded
        return decoded

    def judge_lines(self, numbered: Iterable[tuple[int, bytes]]) -> Records:
        """The authority's verdicts on records with their numbers, such as those that a check on columns doubts.

        A record that it accepts has its values in their plainest form.
        """
        reading = _Reading(0)
        for number, line in numbered:
            reading.number = number - 1
            self._enter(reading, line, read=self.judge)
        return reading.records

    def _enter(self, reading: _Reading, line: bytes, *, read: Callable[[bytes], Any | tuple[str, ...]]) -> None:
        """Enter what `read` says of a piece of text in the records; a blank one is none."""
        records = reading.records
        if not line or line.isspace():
            reading.number += 1
            return
        plain = line.replace(b"\n", b" ") if b"\n" in line else line  # columns of JSON text are taken line by line
        verdict = read(plain)
        reading.number += 1
        if isinstance(verdict, tuple):
            records.rejected.append(rejected_line(reading.number, line, verdict))
            return
        records.unknown.append(self._unknown.text_in(plain))
        records.accepted.append(verdict)
        records.lines.append(line)
        records.row_numbers.append(reading.number)

    def _enter_found(self, reading: _Reading, record: bytes) -> None:
        """Enter a piece of text that was found value by value."""
        if len(record) > self._record_bytes:
            reading.number += 1
            reading.records.rejected.append(oversized_line(reading.number, record, limit=self._record_bytes))
        else:
            self._enter(reading, record, read=self._last_look)

    def judge(self, line: bytes) -> Any | tuple[str, ...]:
        """The authority's verdict on one record: its struct, or the reasons why it is rejected."""
        try:
            document = _document(line)
        except ValueError as error:
            return (f"json: {str(error)[:SHOWN]}",)
        return self._judged(line, document)

    def _judged(self, line: bytes, document: Any) -> Any | tuple[str, ...]:
        coerced: Mapping[str, msgspec.Raw] = {}
        if self._coercion is not None and isinstance(document, dict):
            coerced = self._coercion.applied(self._texts.decode(line))
            document = with_fields(document, coerced)
        try:
            errors = [_reason(error) for error in self._authority.iter_errors(document)]
        except ValueError as error:  # the validator gives up, such as on its limit of recursion
            return (f"schema: the record can't be judged: {str(error)[:SHOWN]}",)
        if not isinstance(document, dict):
            return tuple(errors) or ("type: a record is a JSON object",)
        unknown = sorted(document.keys() - self.fields.types.keys())
        if unknown and self._dataset.unknown_fields == "reject":
            errors += [f"/{_pointer(n)} unknown_fields: the contract does not declare this field" for n in unknown]
        errors += [
            f"/{_pointer(n)} key: an event needs it" for n in sorted(self.fields.needed) if document.get(n) is None
        ]
        if errors:
            return tuple(errors)
        return self._accepted(document, {**self._texts.decode(line), **coerced})

    def _accepted(self, document: Mapping[str, Any], texts: Mapping[str, msgspec.Raw]) -> Any | tuple[str, ...]:
        """The struct of a valid record, or the reasons why its values don't fit their columns."""
        errors: list[str] = []
        values: dict[str, Any] = {}
        for n, name in enumerate(self.fields.types):
            try:
                values[f"f{n}"] = self._plain(name, document.get(name), texts.get(name))
            except ValueError as error:
                errors.append(f"/{_pointer(name)} x-lake-type: {error}")
        if errors:
            return tuple(errors)
        return self._struct(**values)

    def _first_look(self, line: bytes) -> Any | tuple[str, ...]:
        """The verdict on a piece of text. Raises `NoRecordError` where it is not one record, whatever the contract."""
        if len(line) > self._record_bytes:
            raise NoRecordError
        if not self.fields.need_whole_record and _is_utf8(line):
            trusts_unknown = self._trusts_unknown and not _may_be_deep(line)
            decoder = self._unknown.any_decoder if trusts_unknown else self._decoder
            with suppress(msgspec.MsgspecError, RecursionError):
                return decoder.decode(line)
        try:
            document = _document(line)
        except ValueError:
            raise NoRecordError from None
        if isinstance(document, list) and (not document or any(isinstance(item, dict) for item in document)):
            raise NoRecordError
        return self._judged(line, document)

    def _last_look(self, line: bytes) -> Any | tuple[str, ...]:
        """The verdict on a piece of text that was found value by value."""
        try:
            return self._first_look(line)
        except NoRecordError:
            return self.judge(line)

    def _plain(self, name: str, value: Any, text: msgspec.Raw | None) -> Any:
        """A valid value in the plainest form of its raw type.

        Raises `ValueError` when its column can't hold it.
        """
        if value is None or text is None:
            return None
        lake_type, raw_type = self.fields.types[name], self.fields.raw_type(name)
        bounds = self.fields.time_range(name)
        if bounds and not bounds[0] <= value <= bounds[1]:
            raise ValueError(f"{shown(value)} is no time of the years 1 to 9999")
        plain: Any = value
        if lake_type.name == "decimal":
            plain = plain_decimal(value if raw_type is str else bytes(text).decode(), lake_type)
            return msgspec.Raw(plain.encode()) if raw_type is msgspec.Raw else plain
        if raw_type is msgspec.Raw:
            return text
        if raw_type is int:
            return whole_number(value if isinstance(value, int) else bytes(text).decode(), lake_type)
        if raw_type is float:
            return finite_double(bytes(text).decode())
        if lake_type.name == "date":
            plain = date.fromisoformat(value).isoformat()
        elif lake_type.name == "timestamp":
            plain = plain_timestamp(value)
        elif name == self._dataset.event_time.column:
            plain_timestamp(value)
        return plain


def _document(line: bytes) -> Any:
    """The line as a JSON value. Raises `ValueError` where it is none."""
    if not _is_utf8(line):
        raise ValueError("the line is not UTF-8 text")
    return json_value(line)


def _may_be_deep(line: bytes) -> bool:
    return len(line) > 2 * DEEPEST and line.count(b"[") + line.count(b"{") > DEEPEST


def _is_utf8(text: bytes) -> bool:
    """Whether the bytes are UTF-8: msgspec looks into the strings it keeps, but not into those it passes over."""
    if text.isascii():
        return True
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


def _reason(error: jsonschema_rs.ValidationError) -> str:
    pointer = "".join(f"/{_pointer(str(part))}" for part in error.instance_path)
    rule = str(error.schema_path[-1]) if error.schema_path else "schema"
    return f"{pointer} {rule}: {error.message[:SHOWN]}".lstrip()


def _pointer(part: str) -> str:
    return part.replace("~", "~0").replace("/", "~1")
