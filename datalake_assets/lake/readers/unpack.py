"""Landed bytes to text: gzip is undone as a stream, up to a limit."""

import gzip
import io

from isal import igzip, isal_zlib

from datalake_assets.lake.readers.failures import UnreadableObjectError

_GZIP = b"\x1f\x8b"
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_GZIP_FORMAT = 31
_PIECE = 16 * 1024**2


def unpack(data: bytes, *, limit: int) -> bytes:
    """The text of a landed object: gzip (of any number of members) is undone, a byte order mark is taken off.

    Raises `UnreadableObjectError` for gzip that is damaged or ends early, and for text of more than `limit` bytes, of
    which no more than that is unpacked.
    """
    if data[:2] == _GZIP:
        text = _single_member(data, limit=limit)
        data = _members(data, limit=limit) if text is None else text
    _check(len(data), limit=limit)
    return data.removeprefix(_BYTE_ORDER_MARK)


def _single_member(data: bytes, *, limit: int) -> bytes | None:
    """The text of gzip that is one whole member, as nearly all is: its last bytes tell its size. None for any other."""
    size = int.from_bytes(data[-4:], "little")
    if size > limit:
        return None
    member = isal_zlib.decompressobj(_GZIP_FORMAT)
    try:
        text = bytes(member.decompress(data, size + 1))
    except isal_zlib.error:  # type: ignore[misc]  # isal's stub errs
        return None
    return text if member.eof and not member.unused_data and len(text) == size else None


def _members(data: bytes, *, limit: int) -> bytes:
    """The text of all members, one after the other."""
    pieces: list[bytes] = []
    size = 0
    try:
        with igzip.IGzipFile(fileobj=io.BytesIO(data)) as file:
            while piece := file.read(min(_PIECE, limit + 1 - size)):
                pieces.append(piece)
                size += len(piece)
                _check(size, limit=limit)
    except (isal_zlib.error, EOFError, gzip.BadGzipFile) as error:  # type: ignore[misc]  # isal's stub errs
        raise UnreadableObjectError(f"gzip: {error}; land the object again") from None
    return b"".join(pieces)


def _check(size: int, *, limit: int) -> None:
    if size > limit:
        raise UnreadableObjectError(
            f"unpacks to more than {limit:,} bytes; land it in smaller objects, or raise the limit of bytes per object "
            "and process it again"
        )
