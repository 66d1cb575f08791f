"""A landed object to the records in it, as far as a Lambda can tell, and what is wrong with them.

Belongs here: bytes to findings. What is read here the lake reads too, and it reads more (Parquet, Snappy, zip): an
object of another form is not judged. So what is reported as invalid will stand in quarantine.
"""

import json
import re
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from datalake_assets.ingest.contract import Reason
from datalake_assets.ingest.records import NotJsonError, records_of
from datalake_assets.ingest.sources import Source

MOST_BYTES = 32 * 1024 * 1024
"""So much of an object's text is looked at, unpacked."""

_MOST_EXAMPLES = 10
_GZIP = b"\x1f\x8b"
_GZIP_BITS = 31
_OTHER_FORMS = (b"PAR1", b"PK\x03\x04", b"\xff\x06\x00\x00sNaPpY", b"\x82SNAPPY\x00")
_OTHER_SUFFIXES = (".avro", ".bz2", ".csv", ".hsnappy", ".orc", ".parquet", ".snappy", ".zip", ".zst")
_PUT_ASIDE = ("processing-failed", "format-conversion-failed")
_CONTROL = "CONTROL_MESSAGE"
_SPACE = re.compile(r"[ \t\r\n,\[\]]*")
_DECODER = json.JSONDecoder()


@dataclass(slots=True)
class Findings:
    """What was found in an object: how many records, how many of them rejected, and the first reasons.

    `is_whole`: all of the object was looked at.
    """

    records: int = 0
    rejected: int = 0
    examples: list[dict[str, Any]] = field(default_factory=list)
    is_whole: bool = True

    def reject(self, reasons: list[Reason]) -> None:
        """Note that the last record is rejected."""
        self.rejected += 1
        if len(self.examples) < _MOST_EXAMPLES:
            self.examples.append({"record": self.records, "errors": [reason._asdict() for reason in reasons]})


def is_judged(key: str) -> bool:
    """Whether an object by this name may hold what is judged here."""
    name = key.rpartition("/")[2].lower()
    return not name.endswith(_OTHER_SUFFIXES) and not any(f"/{folder}/" in f"/{key}" for folder in _PUT_ASIDE)


def findings_in(read: Callable[[int], bytes], source: Source, *, is_late: Callable[[], bool]) -> Findings:
    """Judge the records of an object that `read` gives the first bytes of; stops where `is_late` says so."""
    found = Findings()
    data, cut, found.is_whole = _unpacked(read)
    if data.startswith(_OTHER_FORMS):
        return found
    text = data.removeprefix(b"\xef\xbb\xbf").decode("utf-8", errors="surrogateescape")
    for piece in _pieces(text, is_whole=found.is_whole and cut is None):
        for reasons in _verdicts(piece, source):
            found.records += 1
            if reasons:
                found.reject(reasons)
        if is_late():
            found.is_whole = False
            return found
    if cut:
        found.records += 1
        found.reject([Reason("", "object", cut)])
    return found


def _unpacked(read: Callable[[int], bytes]) -> tuple[bytes, str | None, bool]:
    """An object's text, unpacked as often as it was packed: what is wrong with its rest, and whether it is all."""
    data = read(MOST_BYTES + 1)
    is_whole = len(data) <= MOST_BYTES
    data = data[:MOST_BYTES]
    while data.startswith(_GZIP):
        pieces: list[bytes] = []
        room = MOST_BYTES
        while data.startswith(_GZIP) and room > 0:
            member = zlib.decompressobj(_GZIP_BITS)
            try:
                pieces.append(member.decompress(data, room))
            except zlib.error as error:
                return b"".join(pieces), f"the gzip is damaged: {error}", is_whole
            room -= len(pieces[-1])
            if not member.eof:
                cut = "the gzip is cut off" if room > 0 and is_whole else None
                return b"".join(pieces), cut, is_whole and room > 0
            data = member.unused_data
        is_whole = is_whole and not data
        data = b"".join(pieces)
    return data, None, is_whole


def _pieces(text: str, *, is_whole: bool) -> Iterator[str]:
    """The JSON values of a text, in lines or not, arrays opened; what is none goes to its line's end.

    The last piece of a text that is not whole is left out where it is no value: its rest may make it one.
    """
    at = _after_space(text, 0)
    while at < len(text):
        try:
            _, end = _DECODER.raw_decode(text, at)
        except (ValueError, RecursionError):
            line = text.find("\n", at)
            if line < 0 and not is_whole:
                return
            end = line if line >= 0 else len(text)
        yield text[at:end]
        at = _after_space(text, end)


def _verdicts(piece: str, source: Source) -> Iterator[list[Reason]]:
    """Why a piece of text is no record of the source, or each record in it where it is an envelope."""
    try:
        (record,) = records_of(piece, most=1)
    except UnicodeEncodeError:  # as the bytes that are no text were escaped
        yield [Reason("", "json", "the record is not UTF-8 text")]
        return
    except NotJsonError as error:
        yield [Reason("", "json", str(error))]
        return
    entries = record.value.get(source.envelope) if source.envelope and isinstance(record.value, dict) else None
    if record.reason:
        yield [record.reason]
    elif not isinstance(entries, list):
        yield source.contract.reasons(record.value)
    elif record.value.get("messageType") != _CONTROL:  # by which CloudWatch Logs tries a new destination
        yield from map(source.contract.reasons, entries)


def _after_space(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    return match.end() if match else at
