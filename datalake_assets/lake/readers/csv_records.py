"""Where the records of CSV text begin and end (RFC 4180), whatever stands between them.

Belongs here: records as bytes. What their fields mean is in `dms_csv.py`; the fields of well-formed records are read by
a library. A quote stands for itself only within a quoted field, doubled; a line end is the one that the first record
ends with. A record that is not well-formed reaches to the end of its line, so that those after it are read.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

_LINE_ENDS = re.compile(rb"[\r\n]*+")


@dataclass(frozen=True, slots=True)
class Record:
    """A record: the bytes from `begin` to `end`, without the line end; the next one begins at `after` or later."""

    begin: int
    end: int
    after: int
    well_formed: bool


@dataclass(frozen=True, slots=True)
class Piece:
    """Some whole records: the bytes from `begin` to `end`; `first` is the number of the first of them, from 1.

    Where it is `plain`, all of them are well-formed and none is longer than allowed.
    """

    begin: int
    end: int
    first: int
    plain: bool


class CsvText:
    """CSV text as a sequence of records. Empty lines are none."""

    def __init__(self, text: bytes, *, delimiter: str, longest: int) -> None:
        """Look at how the first line ends. `delimiter` is one ASCII character, `longest` the bytes of a record."""
        self.text = text
        self._longest = longest
        self._delimiter = delimiter.encode()
        mark = re.escape(self._delimiter)
        quoted = rb'"[^"]*+(?:""[^"]*+)*+"'
        unquoted = rb'[^"\r\n' + mark + rb"]*+"
        field = rb"(?:" + quoted + rb"|" + unquoted + rb")"
        self._record = re.compile(field + rb"(?:" + mark + field + rb")*+")
        edge = rb"[^\r\n" + mark + rb"]"
        self._quoted_field = re.compile(rb"(?<!" + edge + rb")" + quoted + rb"(?!" + edge + rb")")
        self._line_end = self._first_line_end()

    def records(self, begin: int = 0, end: int | None = None) -> Iterator[Record]:
        """The records from one that begins at `begin` up to `end` (None: to the end of the text)."""
        text, size = self.text, len(self.text)
        stop = size if end is None else end
        while begin < stop:
            if text.startswith((b"\n", b"\r\n"), begin):
                begin = text.index(b"\n", begin) + 1
                continue
            match = self._record.match(text, begin)
            here = match.end() if match else begin
            well_formed = here == size or text.startswith(self._line_end, here)
            if well_formed:
                after = min(here + len(self._line_end), size)
            else:
                line = text.find(b"\n", begin)
                here, after = (size, size) if line < 0 else (line, line + 1)
                here -= self._line_end == b"\r\n" and text[here - 1 : here] == b"\r"
            yield Record(begin, here, after, well_formed)
            begin = after

    def pieces(self, size: int, *, begin: int = 0) -> list[Piece]:
        """The records from `begin` on in pieces of about `size` bytes, the same ones whenever they are asked for."""
        pieces: list[Piece] = []
        first = 1
        while begin < len(self.text):
            end = self._even_line_end(begin, begin + size)
            rows = self._rows(begin, end) if end > begin else None
            plain = rows is not None
            if rows is None:
                rows, end = self._counted(begin, size)
            if rows:
                pieces.append(Piece(begin, end, first, plain))
            first += rows
            begin = end
        return pieces

    def fields(self, record: bytes) -> int:
        """How many fields a well-formed record has."""
        return self._quoted_field.sub(b"x", record).count(self._delimiter) + 1

    def _first_line_end(self) -> bytes:
        """How the first record ends; where it is not well-formed, how its line does."""
        blank = _LINE_ENDS.match(self.text)
        match = self._record.match(self.text, blank.end() if blank else 0)
        here = match.end() if match else 0
        if not self.text.startswith((b"\n", b"\r\n"), here):
            here = max(self.text.find(b"\n") - 1, 0)
        return b"\r\n" if self.text.startswith(b"\r\n", here) else b"\n"

    def _even_line_end(self, begin: int, end: int) -> int:
        """The last place up to `end` behind a line end and an even number of quotes; `begin` where there is none.

        Where all is well-formed, this is the end of a record.
        """
        if end >= len(self.text):
            return len(self.text)
        place = self.text.rfind(b"\n", begin, end) + 1
        quotes = self.text.count(b'"', begin, place)
        while place > begin and quotes % 2:
            earlier = self.text.rfind(b"\n", begin, place - 1) + 1
            quotes -= self.text.count(b'"', max(earlier, begin), place)
            place = earlier
        return max(place, begin)

    def _rows(self, begin: int, end: int) -> int | None:
        """How many records some text has; None where they must be looked at one by one.

        That is where one may not be well-formed, is longer than allowed, or where there are empty lines.
        """
        text, line_end = self.text[begin:end], self._line_end
        if len(text) > self._longest:
            return None
        bare = self._quoted_field.sub(b"x", text) if b'"' in text else text
        ends = bare.count(line_end)
        if b'"' in bare or bare.count(b"\n") != ends or bare.count(b"\r") != (ends if line_end == b"\r\n" else 0):
            return None
        if bare.startswith(line_end) or line_end * 2 in bare:
            return None
        return ends + (not bare.endswith(line_end))

    def _counted(self, begin: int, size: int) -> tuple[int, int]:
        """How many records from `begin` on take `size` bytes, and where the last of them ends."""
        rows = 0
        for record in self.records(begin):
            rows += 1
            if record.after - begin >= size:
                return rows, record.after
        return rows, len(self.text)
