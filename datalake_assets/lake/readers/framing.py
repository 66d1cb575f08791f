"""Text to records: where each begins and ends, whether they stand in lines or not.

Most objects hold a record in each line, or objects one after the other without anything between (what Firehose lands
unless it is told to add a delimiter): these are cut by looking for the cuts alone, and whoever parses the pieces finds
out whether that was right. Where it was not (a record over several lines, an array, `}{` within a text, a damaged
record), `records_at` looks at the text value by value from there.

Nothing is left out but space, and the brackets and commas of arrays: what is no JSON value is a piece as well.
"""

import json
import re
from itertools import islice

SLICE_BYTES = 512 * 1024
"""About how much text is looked at together: what is made of it while it is in the processor's cache costs half."""

_BETWEEN = re.compile(rb"[\s,\[\]]*")
_LINE_END = re.compile(rb"[ \t\r,\]]*\n?")
_STANDS_ALONE = re.compile(rb"[ \t\r]*(?:[,\]\n]|\Z)")
_OBJECT = ord("{")
_WINDOW = 16 * 1024
_GROWTH = 8
_MARGIN = 12  # how far before the end of a window an error may come from the window having one, in characters
_TRIES = 32
_DECODER = json.JSONDecoder()


class Pieces:
    """The next pieces of a text from a position on: lines, cut between `}` and `{` too."""

    def __init__(self, text: bytes, begin: int) -> None:
        """Cut about `SLICE_BYTES` of a text; `end` is where they end."""
        self._text = text
        self.begin, self.end = begin, _slice_end(text, begin)
        some = text[begin : self.end]
        if b"}{" in some:
            some = some.replace(b"}{", b"}\n{")
        self.pieces = some.removesuffix(b"\n").split(b"\n")
        self._number, self._at = 0, begin

    def begin_of(self, number: int) -> int:
        """Where a piece (from 0) begins in the text; to be asked for one after the other."""
        for piece in islice(self.pieces, self._number, number):
            self._at = self._after(self._at, piece)
        self._number = number
        return self._at

    def count_to(self, end: int) -> int | None:
        """How many pieces from the one last asked for reach to a position; None where it is within a piece."""
        at, count = self._at, 0
        for piece in islice(self.pieces, self._number, None):
            if at >= end:
                break
            at = self._after(at, piece)
            count += 1
        return count if at == end else None

    def _after(self, at: int, piece: bytes) -> int:
        at += len(piece)
        return at + 1 if self._text[at : at + 1] == b"\n" else at


def records_at(text: bytes, begin: int, *, limit: int) -> tuple[list[bytes], int]:
    """The pieces of a text from a position on, found value by value, and the position after them.

    About `SLICE_BYTES` of them; no more after one that is no JSON value, or has more than `limit` bytes, and after a
    value on one line where that ends.
    """
    found: list[bytes] = []
    values = _Values(text, limit=limit)
    at = _after(_BETWEEN, text, begin)
    while at < min(len(text), begin + SLICE_BYTES):
        end = values.end_of(at)
        if end is None or (text[at] != _OBJECT and not _STANDS_ALONE.match(text, end)):
            end = _end_of_damage(text, at, limit=limit)
            found.append(text[at:end])
            return found, _after(_LINE_END, text, end)
        found.append(text[at:end])
        line = _LINE_END.match(text, end)
        if line and line[0].endswith(b"\n") and b"\n" not in found[-1]:
            return found, line.end()
        at = _after(_BETWEEN, text, end)
    return found, at


class _Values:
    """JSON values in a text, asked for one after the other."""

    def __init__(self, text: bytes, *, limit: int) -> None:
        self._text = text
        self._limit = limit
        self._window = ""
        self._end = 0  # of the window, in bytes of the text
        self._at = self._here = 0  # the same place, in bytes of the text and in characters of the window

    def end_of(self, at: int) -> int | None:
        """Where the value that begins at a position ends; None where there is none, or one above the limit.

        Between two values there may be ASCII alone.
        """
        size = _WINDOW
        if not self._at <= at < self._end:
            self._look(at, size)
        self._here, self._at = self._here + at - self._at, at
        while True:
            try:
                _, here = _DECODER.raw_decode(self._window, self._here)
            except json.JSONDecodeError as error:
                cut = error.msg.startswith("Unterminated") or error.pos >= len(self._window) - _MARGIN
                if not cut or self._end == len(self._text) or self._end - at > self._limit:
                    return None
            except RecursionError:
                return None
            else:
                if here < len(self._window) or self._end == len(self._text):
                    self._at += len(self._window[self._here : here].encode("utf-8", "surrogateescape"))
                    self._here = here
                    return self._at
            self._look(at, size)
            size *= _GROWTH

    def _look(self, at: int, size: int) -> None:
        self._end = min(at + size, len(self._text))
        self._window = self._text[at : self._end].decode("utf-8", "surrogateescape")
        self._at, self._here = at, 0


def _end_of_damage(text: bytes, begin: int, *, limit: int) -> int:
    """Where what is no JSON value ends: with its line, or where another object follows on it."""
    end = text.find(b"\n", begin)
    end = len(text) if end < 0 else end
    at = begin
    for _ in range(_TRIES):
        at = text.find(b"}{", at + 1, end)
        if at < 0:
            return end
        if _Values(text, limit=limit).end_of(at + 1) is not None:
            return at + 1
    return end


def _after(pattern: re.Pattern[bytes], text: bytes, at: int) -> int:
    match = pattern.match(text, at)
    return match.end() if match else at


def _slice_end(text: bytes, begin: int) -> int:
    """Where a slice ends: after a line, or between two objects; in the midst of a long one where there is neither."""
    least = begin + SLICE_BYTES
    if least >= len(text):
        return len(text)
    line = text.find(b"\n", least, least + SLICE_BYTES)
    if line >= 0:
        return line + 1
    cut = max(text.rfind(b"}{", begin, least), text.rfind(b"\n", begin, least))
    return cut + 1 if cut >= 0 else least
