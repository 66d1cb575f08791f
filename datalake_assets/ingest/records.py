"""A request's text to its records: each one's own bytes, cut out of the text as they were sent, and its value.

Belongs here: JSON. What a record must be is told by its contract.
"""

import json
import math
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from datalake_assets.ingest.contract import Reason

_SPACE = re.compile(r"[ \t\r\n]*")
_MOST_DIGITS = 4_300
_DEEPEST = 200
"""As for the lake's readers: what is nested deeper is rejected."""


@dataclass(slots=True)
class Record:
    """A record: its place in the request from 0, its bytes, and its value; `reason` where it is no record at all.

    The bytes are those that were sent, but for line ends: they can stand between two values alone and are spaces here,
    so that a record is one line whatever reads it. No value is ever written anew.
    """

    index: int
    data: bytes
    value: Any
    reason: Reason | None = None


class NotJsonError(ValueError):
    """A text that is no JSON value, or more than one: says where it breaks off."""


class TooManyRecordsError(ValueError):
    """An array with more records than a request may have."""


def records_of(text: str, *, most: int) -> list[Record]:
    """The records of a text that holds one, or an array of them.

    Raises `NotJsonError`, and `TooManyRecordsError` for more than `most`.
    """
    try:
        try:
            return _cut_out(text, _DECODER, most=most)
        except (json.JSONDecodeError, NotJsonError, TooManyRecordsError, UnicodeEncodeError):
            raise
        except ValueError:  # a whole number of more digits than Python reads
            return _cut_out(text, _DECODER_OF_LONG_NUMBERS, most=most)
    except json.JSONDecodeError as error:
        raise NotJsonError(f"{error.msg} at character {error.pos}") from None
    except RecursionError:
        raise NotJsonError(f"nested deeper than {_DEEPEST} levels") from None


def _cut_out(text: str, decoder: json.JSONDecoder, *, most: int) -> list[Record]:
    begin = _after_space(text, 0)
    if not text.startswith("[", begin):
        value, end = decoder.raw_decode(text, begin)
        if _after_space(text, end) != len(text):
            raise NotJsonError(f"something follows on the JSON value, at character {end}; send several as an array")
        return [_record(0, text[begin:end], value)]
    found: list[Record] = []
    for n, (piece, value) in enumerate(_items(text, decoder)):
        if n == most:
            raise TooManyRecordsError
        found.append(_record(n, piece, value))
    return found


def _items(text: str, decoder: json.JSONDecoder) -> Iterator[tuple[str, Any]]:
    """The items of an array, each as its own piece of the text and as a value."""
    at = _after_space(text, _after_space(text, 0) + 1)
    while not text.startswith("]", at):
        value, end = decoder.raw_decode(text, at)
        yield text[at:end], value
        at = _after_space(text, end)
        if text.startswith(",", at):
            at = _after_space(text, at + 1)
            if text.startswith("]", at):
                raise json.JSONDecodeError("An item is missing after the comma", text, at)
        elif not text.startswith("]", at):
            raise json.JSONDecodeError("A comma or the end of the array is missing", text, at)
    if _after_space(text, at + 1) != len(text):
        raise json.JSONDecodeError("Something follows on the array", text, at + 1)


def _record(index: int, piece: str, value: Any) -> Record:
    data = piece.encode()
    if b"\n" in data:
        data = data.replace(b"\n", b" ")
    reason = None
    if "\\u" in piece and _has_half_characters(value):
        reason = Reason("", "json", "half of a character (a surrogate escape without its pair) is no text")
    elif piece.count("[") + piece.count("{") > _DEEPEST and _levels(value) > _DEEPEST:
        reason = Reason("", "json", f"nested deeper than {_DEEPEST} levels")
    return Record(index, data, value, reason)


def _after_space(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    return match.end() if match else at


def _has_half_characters(value: Any) -> bool:
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return True
    return False


def _levels(value: Any) -> int:
    """How many objects and arrays of a value stand in one another."""
    found, level = 0, [value]
    while level := [item for item in level if isinstance(item, dict | list)]:
        found += 1
        level = [item for outer in level for item in (outer.values() if isinstance(outer, dict) else outer)]
    return found


def _refused(constant: str) -> Any:
    raise NotJsonError(f"{constant} is no number of JSON")


def _nearest(number: str) -> float:
    """The nearest finite double, as the lake judges a number that is too large for one."""
    value = float(number)
    return math.copysign(sys.float_info.max, value) if math.isinf(value) else value


def _whole(number: str) -> float:
    return int(number) if len(number) < _MOST_DIGITS else _nearest(number)


_DECODER = json.JSONDecoder(parse_constant=_refused, parse_float=_nearest)
_DECODER_OF_LONG_NUMBERS = json.JSONDecoder(parse_constant=_refused, parse_float=_nearest, parse_int=_whole)
