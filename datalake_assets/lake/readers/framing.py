"""Text to records: where each begins and ends, whether they stand in lines or not.

Most objects hold a record in each line, or objects one after the other without anything between (what Firehose lands
unless it is told to add a delimiter): these are cut by looking for the cuts alone, and whoever parses the pieces finds
out whether that was right. Where it was not (a record over several lines, an array, `}{` within a text, a damaged
record), `records_at` looks at the text value by value from there.

Nothing is left out but space, and the brackets and commas of arrays of objects: what is no JSON value is a piece as
well.
"""

import json
import re
from collections.abc import Iterator

import msgspec

SLICE_BYTES = 512 * 1024
"""About how much text is looked at together: what is made of it while it is in the processor's cache costs half."""

_BETWEEN = re.compile(rb"[ \t\r\n,\]]*")
_OPENED = re.compile(rb"\[[ \t\r\n]*(?=\{)")
_LINE_END = re.compile(rb"[ \t\r,\]]*\n?")
_INDENT = re.compile(rb"[ \t]*")
_CUT = re.compile(rb"\n|\}(?=[ \t]*,?[ \t]*\{)")
_COMMA = re.compile(rb"[ \t,]*")
_STANDS_ALONE = re.compile(rb"[ \t\r]*(?:[,\]\n]|\Z)")
_ARRAY_STANDS_ALONE = re.compile(rb"[ \t\r]*(?:[,\n]|\Z)")
_OBJECT, _ARRAY = b"{["
_WINDOW = 16 * 1024
_SPACE = 64
_GROWTH = 8
_MARGIN = 12  # how far before the end of a window an error may come from the window having one, in characters
_TRIES = 32
_DECODER = json.JSONDecoder(parse_int=str, parse_float=str)  # Python makes no number of more than 4,300 digits
_ANY = msgspec.json.Decoder(msgspec.Raw)


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
        for piece in self.pieces[self._number : number]:
            self._at = self._after(self._at, piece)
        self._number = number
        return self._at

    def count_to(self, end: int) -> int | None:
        """How many pieces from the one last asked for reach to a position; None where it is within a piece."""
        at, number = self._at, self._number
        while at < end and number < len(self.pieces):
            at = self._after(at, self.pieces[number])
            number += 1
        return number - self._number if at == end else None

    def _after(self, at: int, piece: bytes) -> int:
        at += len(piece)
        return at + 1 if self._text[at : at + 1] == b"\n" else at


def documents(text: bytes, *, limit: int) -> Iterator[bytes]:
    """The JSON values of a text, whether they stand in lines or not; what is none is told as well.

    Arrays are opened. A value has no more than `limit` bytes, as in `records_at`.
    """
    at = 0
    while at < len(text):
        cut = Pieces(text, at)
        at, done = cut.end, 0
        while done < len(cut.pieces):
            piece = cut.pieces[done]
            if not piece or piece.isspace():
                done += 1
            elif piece[0] == _OBJECT and is_value(piece):
                yield piece
                done += 1
            else:
                found, end = records_at(text, cut.begin_of(done), limit=limit)
                yield from found
                count = cut.count_to(end)
                if count is None:
                    at = end
                    break
                done += count


def is_value(piece: bytes) -> bool:
    """Whether a text is one JSON value; whether its strings are UTF-8 is not asked."""
    try:
        _ANY.decode(piece)
    except (msgspec.MsgspecError, ValueError, RecursionError):  # a name that is not UTF-8 is a `ValueError`
        return False
    return True


def records_at(text: bytes, begin: int, *, limit: int) -> tuple[list[bytes], int]:
    """The pieces of a text from a position on, found value by value, and the position after them.

    About `SLICE_BYTES` of them; no more after one that is no JSON value, or has more than `limit` bytes, and after a
    value on one line where that ends without a comma: what follows may be lines.
    """
    found: list[bytes] = []
    values = _Values(text, limit=limit)
    at = _opened(text, begin)
    while at < min(len(text), begin + SLICE_BYTES):
        end = values.end_of(at)
        if end is not None and values.holds_objects:
            at = _opened(text, at + 1)
            continue
        if end is None or not _stands_alone(text, at, end):
            end = _end_of_damage(text, at, limit=limit)
            if not found and b"\n" not in text[begin:at]:
                at = begin
            found.append(text[at:end])
            return found, _after(_LINE_END, text, end)
        found.append(text[at:end])
        line = _LINE_END.match(text, end)
        if line and line[0].endswith(b"\n") and b"," not in line[0] and b"\n" not in found[-1]:
            return found, line.end()
        at = _opened(text, end)
    return found, at


def _opened(text: bytes, at: int) -> int:
    """Where the next value begins, in arrays that begin with an object too.

    A bracket alone on a line opens an array where nothing or another one's end is before it.
    """
    at = _after(_BETWEEN, text, at)
    while (bracket := _OPENED.match(text, at)) and (b"\n" not in bracket[0] or _begins_text(text, at)):
        at = bracket.end()
    return at


def _begins_text(text: bytes, at: int) -> bool:
    before = text[max(0, at - _SPACE) : at].rstrip()
    return not before or before.endswith((b"]", b"["))


def _stands_alone(text: bytes, begin: int, end: int) -> bool:
    """Whether nothing follows on a value that is no object, or what may in an array."""
    if text[begin] == _OBJECT:
        return True
    pattern = _ARRAY_STANDS_ALONE if text[begin] == _ARRAY else _STANDS_ALONE
    return pattern.match(text, end) is not None


class _Values:
    """JSON values in a text, asked for one after the other."""

    def __init__(self, text: bytes, *, limit: int) -> None:
        self._text = text
        self._limit = limit
        self._window = ""
        self._end = 0  # of the window, in bytes of the text
        self._at = self._here = 0  # the same place, in bytes of the text and in characters of the window
        self.holds_objects = False
        """Whether the last value is an array with an object in it."""

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
                value, here = _DECODER.raw_decode(self._window, self._here)
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
                    self.holds_objects = isinstance(value, list) and any(isinstance(item, dict) for item in value)
                    return self._at
            self._look(at, size)
            size *= _GROWTH

    def _look(self, at: int, size: int) -> None:
        self._end = min(at + size, len(self._text))
        self._window = self._text[at : self._end].decode("utf-8", "surrogateescape")
        self._at, self._here = at, 0


def _end_of_damage(text: bytes, begin: int, *, limit: int) -> int:
    """Where what is no JSON value ends.

    With its line, or where another object follows on it (or after so many that are none either); with the line that
    closes it where the next one is a field, and indented.
    """
    for tries, cut in enumerate(_CUT.finditer(text, begin)):
        if cut[0] == b"\n":
            return _end_of_indented(text, begin, cut.start()) if text[begin] == _OBJECT else cut.start()
        if tries == _TRIES or _Values(text, limit=limit).end_of(_after(_COMMA, text, cut.end())) is not None:
            return cut.end()
    return len(text)


def _end_of_indented(text: bytes, begin: int, line_end: int) -> int:
    """Where a damaged object ends whose first line ends there."""
    line = text.rfind(b"\n", max(0, begin - _WINDOW), begin) + 1
    indent = text[line : _after(_INDENT, text, line)]
    if not re.compile(rb"\n%b[ \t]+[\"}]" % indent).match(text, line_end):
        return line_end
    no_deeper = re.compile(rb"\n%b(?![ \t\r\n}\]])" % indent).search(text, line_end)
    return no_deeper.start() if no_deeper else len(text)


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
