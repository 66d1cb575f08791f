"""What an object of events holds: the text of its records, taken out of what they were put in.

Belongs here: envelopes, what Firehose put aside, and Parquet. Finding the records in a text is in `framing.py`, what
they are worth in `contract.py`.
"""

import base64
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass

import msgspec

from datalake_assets.lake.readers.framing import documents, is_value
from datalake_assets.lake.readers.parquet_events import json_lines
from datalake_assets.lake.readers.unpack import unpack
from datalake_assets.lake.spec.dataset import EventStream
from datalake_assets.lake.store.key_times import FIREHOSE_ERRORS

_PARQUET = b"PAR1"
_CONTROL = "CONTROL_MESSAGE"
_FIELDS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_ITEMS = msgspec.json.Decoder(list[msgspec.Raw])


@dataclass(frozen=True, slots=True)
class EventText:
    """Text that records stand in.

    `reason`: why Firehose put them aside; to be told of those that are rejected. Without `has_records` it is one
    reject, for this reason.
    """

    text: bytes
    reason: str | None = None
    has_records: bool = True


@dataclass(frozen=True, slots=True)
class EventTexts:
    """The texts of an object, in their order; `cut` tells what is wrong with the rest where they are not all of it."""

    texts: tuple[EventText, ...]
    cut: str | None = None


class _PutAside(msgspec.Struct):
    """An entry of Firehose's error objects: one form of a failed transformation, and one of a failed conversion.

    Source: https://docs.aws.amazon.com/firehose/latest/dev/data-transformation.html and record-format-conversion.
    """

    raw: str = msgspec.field(name="rawData")
    code: object = msgspec.field(name="errorCode", default=None)
    last_code: object = msgspec.field(name="lastErrorCode", default=None)
    message: object = msgspec.field(name="errorMessage", default=None)
    last_message: object = msgspec.field(name="lastErrorMessage", default=None)

    @property
    def reason(self) -> str:
        code, message = self.code or self.last_code or "no code", self.message or self.last_message or "no message"
        return f"firehose: {code}: {message}"


_ASIDE = msgspec.json.Decoder(_PutAside)


def event_texts(path: str, data: bytes, dataset: EventStream, *, limit: int) -> EventTexts:
    """The texts of an object by its landed bytes; `path` is its key below the dataset's prefix.

    Raises `UnreadableObjectError` for what can't be unpacked, or unpacks to more than `limit` bytes.
    """
    unpacked = unpack(data, limit=limit)
    if unpacked.data.startswith(_PARQUET):
        lines = json_lines(unpacked.data, names=tuple(dataset.columns), limit=limit)
        return EventTexts((EventText(lines),), unpacked.cut)
    if path.partition("/")[0] in FIREHOSE_ERRORS:
        return EventTexts(tuple(_put_aside(unpacked.data, dataset, limit=limit)), unpacked.cut)
    return EventTexts(tuple(_opened(unpacked.data, dataset, limit=limit)), unpacked.cut)


def _put_aside(text: bytes, dataset: EventStream, *, limit: int) -> Iterator[EventText]:
    """What Firehose could not transform or convert, as the producer sent it."""
    for document in documents(text, limit=limit):
        entry = _entry(document)
        if entry is None:
            reason = "firehose: an object of errors has entries with one text `rawData`; this is none"
            yield EventText(document, reason, has_records=False)
            continue
        try:
            raw = unpack(base64.b64decode(entry.raw, validate=True), limit=limit)
        except ValueError as error:  # of Base64, and `UnreadableObjectError`
            yield EventText(document, f"{entry.reason}; its rawData can't be read: {error}", has_records=False)
        else:
            if raw.data.strip():
                yield from _opened(raw.data, dataset, limit=limit, reason=entry.reason)
            if raw.cut or not raw.data.strip():
                reason = f"{entry.reason}; its rawData is not whole: {raw.cut}" if raw.cut else entry.reason
                yield EventText(document, reason, has_records=False)


def _entry(document: bytes) -> _PutAside | None:
    try:
        entry = _ASIDE.decode(document)
        return None if _repeats(document, "rawData") else entry
    except (msgspec.MsgspecError, ValueError, RecursionError):  # a name that is not UTF-8 is a `ValueError`
        return None


def _opened(text: bytes, dataset: EventStream, *, limit: int, reason: str | None = None) -> Iterator[EventText]:
    """Text whose records stand in no envelope any more, where the dataset declares one.

    A document that is no such envelope stands for itself.
    """
    field = dataset.envelope
    if field is None:
        yield EventText(text, reason)
        return
    lines: list[bytes] = []
    for document in documents(text, limit=limit):
        entries = _entries(document, field)
        if entries is not None:
            lines += entries
            continue
        if lines:
            yield EventText(b"\n".join(lines), reason)
            lines = []
        yield from _no_envelope(document, field, limit=limit, reason=reason)
    if lines:
        yield EventText(b"\n".join(lines), reason)


def _no_envelope(document: bytes, field: str, *, limit: int, reason: str | None) -> Iterator[EventText]:
    """A document that is no envelope; of a damaged one the records that are whole, and a reject for the envelope."""
    opening = re.compile(rb"[ \t\r\n]*\{.*?\"%b\"[ \t\r\n]*:[ \t\r\n]*\[" % re.escape(field.encode()), re.DOTALL)
    begun = None if is_value(document) else opening.match(document)
    if begun is None:
        yield EventText(document, reason)
        return
    reason = reason or "envelope: it is damaged; what is whole of its records is read"
    yield EventText(begun[0], reason, has_records=False)
    yield EventText(b"\n".join(documents(document[begun.end() :], limit=limit)), reason)


def _repeats(document: bytes, field: str) -> bool:
    """Whether a JSON object has a field more than once, of which a decoder tells the last alone."""
    if document.count(b'"%b"' % field.encode()) == 1 and b"\\u" not in document:
        return False
    levels: list[int] = [0]

    def pairs(found: list[tuple[str, object]]) -> dict[str, object]:
        levels[0] = sum(name == field for name, _ in found)  # the outermost object comes last
        return {}

    json.loads(document, object_pairs_hook=pairs, parse_int=str)
    return levels[0] > 1


def _entries(document: bytes, field: str) -> list[bytes] | None:
    """The records in an envelope; None for what is none."""
    try:
        fields = _FIELDS.decode(document)
        entries = [bytes(entry) for entry in _ITEMS.decode(fields[field])]
        if _repeats(document, field):
            return None
    except (msgspec.MsgspecError, ValueError, RecursionError, KeyError):
        return None
    # CloudWatch Logs tries a new destination with a message that no log has: "CWL CONTROL MESSAGE: Checking health".
    is_trial = field == "logEvents" and fields.get("messageType") == msgspec.Raw(f'"{_CONTROL}"'.encode())
    return [] if is_trial else entries
