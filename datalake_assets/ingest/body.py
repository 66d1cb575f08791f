"""A request's body to text: Base64, gzip and UTF-8 undone, within limits.

Belongs here: what HTTP and API Gateway put around the JSON. The JSON itself is read by `records.py`.
"""

import base64
import binascii
import re
import zlib
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

MOST_BYTES = 10 * 1024 * 1024
"""The largest body, unpacked: what API Gateway takes at most. (AWS Lambda takes 6 MB, packed or not.)"""

_JSON = re.compile(r"(?:application|text)/(?:[a-z0-9.!#$&^_-]+\+)?json", re.IGNORECASE)
_CHARSET = re.compile(r";\s*charset\s*=\s*\"?([^\s;\"]*)", re.IGNORECASE)
_GZIP = 31  # `wbits` for a gzip container


class RefusedError(Exception):
    """A request that is answered with a status and a sentence, before its records are looked at."""

    def __init__(self, status: HTTPStatus, sentence: str, **headers: str) -> None:
        """Names the status, what is wrong and what to do; `headers` as keywords, `_` for `-`."""
        super().__init__(sentence)
        self.status = status
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


def body_text(event: Mapping[str, Any]) -> str:
    """The JSON text of a request in API Gateway's payload 2.0. Raises `RefusedError`."""
    headers: Mapping[str, str] = event.get("headers") or {}
    _check_type(headers.get("content-type", ""))
    sent: str = event.get("body") or ""
    if len(sent) > 2 * MOST_BYTES:  # not worth decoding
        raise too_large()
    if event.get("isBase64Encoded"):
        try:
            data = base64.b64decode(sent, validate=True)
        except (binascii.Error, ValueError):
            raise RefusedError(HTTPStatus.BAD_REQUEST, "the body is no Base64, as the gateway says it is") from None
    else:
        data = sent.encode("utf-8", "surrogatepass")
    data = _unpacked(data, headers.get("content-encoding", ""))
    if len(data) > MOST_BYTES:
        raise too_large()
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise RefusedError(HTTPStatus.BAD_REQUEST, f"the body is not UTF-8 text (byte {error.start})") from None


def too_large() -> RefusedError:
    """The answer to a body that is larger than any may be."""
    sentence = f"the body has more than {MOST_BYTES:,} bytes; send fewer records at once"
    return RefusedError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, sentence)


def _check_type(content_type: str) -> None:
    """A body without a type is taken for JSON, as its parsing will tell."""
    if content_type == "application/json" or not content_type.strip():
        return
    if not _JSON.fullmatch(content_type.partition(";")[0].strip()):
        sentence = f"{content_type[:100]!r} is not taken here; send JSON, with Content-Type: application/json"
        raise RefusedError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, sentence, accept="application/json")
    charset = _CHARSET.search(content_type)
    if charset and charset[1].lower() not in {"utf-8", "utf8", "us-ascii"}:
        raise RefusedError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"JSON is sent as UTF-8, not as {charset[1][:50]!r}")


def _unpacked(data: bytes, encoding: str) -> bytes:
    """Undo a content encoding; no more is unpacked than a body may have."""
    name = encoding.strip().lower()
    if name in {"", "identity"}:
        return data
    if name not in {"gzip", "x-gzip"}:
        sentence = f"content encoding {encoding[:50]!r} is not known here; send gzip, or the JSON as it is"
        raise RefusedError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, sentence, accept_encoding="gzip")
    pieces: list[bytes] = []
    room = MOST_BYTES + 1
    try:
        while data and room > 0:  # a gzip file may have several members
            member = zlib.decompressobj(_GZIP)
            pieces.append(member.decompress(data, room))
            room -= len(pieces[-1])
            if room > 0 and not member.eof:
                raise RefusedError(HTTPStatus.BAD_REQUEST, "the gzip body is cut off; send all of it")
            data = member.unused_data
    except zlib.error as error:
        raise RefusedError(HTTPStatus.BAD_REQUEST, f"the body is no gzip, as its encoding says: {error}") from None
    return b"".join(pieces)
