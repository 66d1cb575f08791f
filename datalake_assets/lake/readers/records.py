"""The records of a text and what the contract says of each: many at a time, as fast as msgspec parses them.

Belongs here: text in, records out. Lines that need no parser are cut by `line_columns.py`. What decides on one record
is in `contract.py`, where it begins and ends in `framing.py`; making columns of the values is in `event_columns.py`.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import msgspec
import polars as pl

from datalake_assets.lake.readers.contract import Contract, document_of, is_utf8
from datalake_assets.lake.readers.framing import Pieces, records_at
from datalake_assets.lake.readers.json_values import DEEPEST
from datalake_assets.lake.readers.line_columns import BEGIN, INDEX, LINE, Cut, LineCutter
from datalake_assets.lake.readers.rejects import Reject, oversized_line, rejected_line
from datalake_assets.lake.readers.unknown_fields import UnknownFields
from datalake_assets.lake.spec.columns import ROW_NUMBER
from datalake_assets.lake.spec.dataset import EventStream


@dataclass(slots=True)
class Records:
    """Records of one object.

    `accepted` holds a struct for each, with the fields `f0`, `f1`, … in the order of the dataset's columns;
    `lines` are their lines and `row_numbers` the numbers of these. Their values are raw: `str`, `int`, `float`, `bool`,
    `None`, or `msgspec.Raw` where the column keeps JSON text or an exact number. `unknown` is for each the JSON text of
    what the contract does not declare (UTF-8), None where it has nothing of the kind. `cut` are further accepted ones,
    as columns: those of the dataset, `_unknown`, `_line` and `_row_number`. `last` is the number of the last one that
    was looked at, be it accepted or not.
    """

    accepted: list[Any] = field(default_factory=list)
    lines: list[bytes] = field(default_factory=list)
    row_numbers: list[int] = field(default_factory=list)
    rejected: list[Reject] = field(default_factory=list)
    unknown: list[bytes | None] = field(default_factory=list)
    cut: pl.DataFrame | None = None
    last: int = 0


@dataclass(slots=True)
class _Reading:
    """Some of an object's text as it is read: the number of the last record, and the records so far."""

    number: int
    records: Records = field(default_factory=Records)


class NoRecordError(Exception):
    """A piece of text is not one record: it is several, or a part of one, or no JSON."""


class RecordReader:
    """Reads the records of one event stream."""

    def __init__(self, dataset: EventStream, *, record_bytes: int) -> None:
        """Compile the contract of `dataset`, for records of at most `record_bytes`; nothing is read."""
        self._contract = Contract(dataset)
        self._record_bytes = record_bytes
        self.fields = self._contract.fields
        kept = dataset.unknown_fields == "keep"
        self._unknown = UnknownFields(self._contract.struct, self._contract.names, keep=kept)
        self._trusts_unknown = dataset.unknown_fields != "reject" and self.fields.allow_others
        self._decoder = msgspec.json.Decoder(self._contract.struct)
        self._cutter = LineCutter(
            self.fields, record_bytes=record_bytes, takes_unknown=self._trusts_unknown, keeps_unknown=kept
        )

    def parse(self, text: bytes, *, after: int = 0) -> Iterator[Records]:
        """Read JSON records, in lines or not. A blank line is no record; all else is accepted or rejected.

        Records are numbered from the one that comes `after` a number on, blank lines too: of NDJSON these are the
        numbers of the lines. Gives the records of a part of the text at a time.
        """
        at = 0
        while at < len(text):
            reading = _Reading(after)
            if cut := self._cutter.cut(text, at):
                at = self._enter_cut(text, at, cut, reading)
            else:
                at = self._read(text, Pieces(text, at), reading)
            reading.records.last = reading.number
            yield reading.records
            self._unknown.learn(reading.number - after)
            after = reading.number

    def _enter_cut(self, text: bytes, at: int, cut: Cut, reading: _Reading) -> int:
        """Enter lines of a text from a position on, those that are cut and what is said of the others.

        Returns where they end; or, where one is not one record with its end, where what begins there ends: no line that
        begins behind it is entered.
        """
        before, columns, end = reading.number, cut.columns, cut.end
        for index, line, begin in cut.others.select(INDEX, LINE, BEGIN).iter_rows():
            reading.number = before + index
            record = line.encode()
            try:
                self._enter(reading, record, read=self._first_look)
            except NoRecordError:
                found, found_end = records_at(text, at + begin, limit=self._record_bytes)
                for piece in found:
                    self._enter_found(reading, piece)
                is_line = found_end == min(at + begin + len(record) + 1, len(text))
                if not is_line or reading.number != before + index + 1:
                    columns, end = columns.filter(pl.col(INDEX) < index), found_end
                    self._cutter.pause()
                    break
        else:
            reading.number = before + cut.height
        number = (pl.col(INDEX).cast(pl.Int64) + before + 1).alias(ROW_NUMBER)
        reading.records.cut = columns.with_columns(number).drop(INDEX)
        return end

    def _read(self, text: bytes, cut: Pieces, reading: _Reading) -> int:
        """Read pieces of a text; returns where they end, or where those end that were to be cut otherwise."""
        pieces = cut.pieces
        decode = self._decode(text[cut.begin : cut.end], pieces)
        done, left = 0, iter(pieces)
        while done < len(pieces):
            if decode is not None:
                decoded = self._decoded(left, reading, decode)
                reading.records.lines.extend(pieces[done : done + decoded])
                done += decoded
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
                deque(islice(left, count - 1), maxlen=0)  # the first was taken by who could not decode it
            else:
                done += 1
        return cut.end

    def _decode(self, text: bytes, pieces: Sequence[bytes]) -> Callable[[bytes], Any] | None:
        """What reads the pieces of a text one after the other, if msgspec's verdict on each is good."""
        longest = max(map(len, pieces))
        if self._contract.fields.need_whole_record or longest > self._record_bytes or not is_utf8(text):
            return None
        if self._trusts_unknown and longest > 2 * DEEPEST and any(map(_may_be_deep, pieces)):
            return None
        return (self._unknown.decoder if self._trusts_unknown else self._decoder).decode

    def _decoded(self, left: Iterator[bytes], reading: _Reading, decode: Callable[[bytes], Any]) -> int:
        """Enter the records of pieces up to one that msgspec finds fault with; returns how many those are.

        Takes them and the one at fault. Their lines are left to be entered.
        """
        records = reading.records
        had = len(records.accepted)
        with suppress(msgspec.MsgspecError, RecursionError):
            records.accepted.extend(map(decode, left))  # keeps those before one that raises
        decoded = len(records.accepted) - had
        texts = self._unknown.texts_of(records.accepted[had:]) if self._trusts_unknown else ()
        records.unknown.extend(texts or [None] * decoded)
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
            self._enter(reading, line, read=self._contract.judge)
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

    def _first_look(self, line: bytes) -> Any | tuple[str, ...]:
        """The verdict on a piece of text. Raises `NoRecordError` where it is not one record, whatever the contract."""
        if len(line) > self._record_bytes:
            raise NoRecordError
        if not self._contract.fields.need_whole_record and is_utf8(line):
            trusts_unknown = self._trusts_unknown and not _may_be_deep(line)
            decoder = self._unknown.any_decoder if trusts_unknown else self._decoder
            with suppress(msgspec.MsgspecError, RecursionError):
                return decoder.decode(line)
        try:
            document = document_of(line)
        except ValueError:
            raise NoRecordError from None
        if isinstance(document, list) and (not document or any(isinstance(item, dict) for item in document)):
            raise NoRecordError
        return self._contract.judge_document(line, document)

    def _last_look(self, line: bytes) -> Any | tuple[str, ...]:
        """The verdict on a piece of text that was found value by value."""
        try:
            return self._first_look(line)
        except NoRecordError:
            return self._contract.judge(line)


def _may_be_deep(line: bytes) -> bool:
    return len(line) > 2 * DEEPEST and line.count(b"[") + line.count(b"{") > DEEPEST
