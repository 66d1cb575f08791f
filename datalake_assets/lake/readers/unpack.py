"""Landed bytes to what was put in them: gzip, zip and Snappy are undone, up to a limit, and one within the other.

What the bytes begin with tells their form, whatever the object is called.
"""

import io
import lzma
import zipfile
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from isal import isal_zlib

from datalake_assets.lake.readers import snappy
from datalake_assets.lake.readers.failures import TooMuchTextError, UnreadableObjectError

_GZIP = b"\x1f\x8b"
_ZIP, _ZIP_END, _ZIP_END_SIZE = b"PK\x03\x04", b"PK\x05\x06", 22
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_GZIP_FORMAT = 31
_WINDOW = 64 * 1024
_PIECE = 16 * 1024**2
_LAYERS = 4  # what CloudWatch Logs sends by way of Firehose has two


@dataclass(frozen=True, slots=True)
class Unpacked:
    """The bytes that were packed; `cut` tells what is wrong with the rest where they are only the beginning."""

    data: bytes
    cut: str | None = None


def unpack(data: bytes, *, limit: int) -> Unpacked:
    """What a landed object holds; a byte order mark before text is taken off.

    Of gzip (of any number of members) that ends early, or goes on with something else, what comes before is kept.
    Raises `UnreadableObjectError` for what is damaged otherwise, and for more than `limit` bytes, of which no more than
    that is unpacked.
    """
    return _unpacked(data, limit=limit, layers=_LAYERS)


def _unpacked(data: bytes, *, limit: int, layers: int) -> Unpacked:
    unpacked = Unpacked(data)
    for left in range(layers, 0, -1):
        inner = _layer(unpacked.data, limit=limit, layers=left)
        if inner is None:
            break
        unpacked = replace(inner, cut=inner.cut or unpacked.cut)
    _check(len(unpacked.data), limit=limit)
    return replace(unpacked, data=unpacked.data.removeprefix(_BYTE_ORDER_MARK))


def _layer(data: bytes, *, limit: int, layers: int) -> Unpacked | None:
    """What is packed in some bytes, the files of an archive with all that they hold; None where nothing is."""
    if data.startswith(_GZIP):
        text = _single_member(data, limit=limit)
        return _members(data, limit=limit) if text is None else Unpacked(text)
    if data.startswith(_ZIP):
        return _zipped(data, limit=limit, layers=layers)
    if snappy.may_be_snappy(data):
        try:
            return Unpacked(_joined(snappy.blocks(data, limit=limit), limit=limit))
        except snappy.NoSnappyError as error:
            if snappy.is_named(data):
                raise UnreadableObjectError(f"Snappy: {error}; land the object again") from None
    return None


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


def _members(data: bytes, *, limit: int) -> Unpacked:
    """The text of all members, one after the other; zeros after the last are padding."""
    pieces: list[bytes] = []
    size = at = 0
    cut = None
    while at < len(data) and cut is None:
        if not data.startswith(_GZIP, at):
            if data[at] or data[at:].strip(b"\0"):
                cut = f"what comes after {at:,} bytes is something else"
            break
        member, whole = isal_zlib.decompressobj(_GZIP_FORMAT), len(pieces)
        try:
            while at < len(data) and not member.eof:
                window = data[at : at + _WINDOW]
                pieces.append(bytes(member.decompress(window, limit + 1 - size)))
                size += len(pieces[-1])
                _check(size, limit=limit)
                at += len(window) - len(member.unused_data)
        except isal_zlib.error as error:  # type: ignore[misc]  # isal's stub errs
            del pieces[whole:]  # what came out of a damaged member may be anything
            cut = str(error)
        else:
            cut = None if member.eof else "it ends early"
    if cut is not None and not any(pieces):
        raise UnreadableObjectError(f"gzip: {cut}; land the object again")
    return Unpacked(b"".join(pieces), cut and f"gzip: {cut}; what comes before is kept, land the object again")


def _zipped(data: bytes, *, limit: int, layers: int) -> Unpacked:
    """The files in a zip archive, a line's end between them."""
    files: list[bytes] = []
    cut = None
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            names = archive.infolist()
            _check_alone(data, archive, names)
            for name in names:
                with archive.open(name) as file:
                    packed = _joined(iter(lambda: file.read(_PIECE), b""), limit=limit)
                inner = _unpacked(packed, limit=limit, layers=layers - 1)
                files.append(inner.data)
                cut = cut or inner.cut
                _check(sum(map(len, files)), limit=limit)
    except UnreadableObjectError:
        raise
    except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError, ValueError, RuntimeError) as error:
        raise UnreadableObjectError(f"zip: {error}; land the object again") from None
    return Unpacked(b"\n".join(files), cut)


def _check_alone(data: bytes, archive: zipfile.ZipFile, names: Sequence[zipfile.ZipInfo]) -> None:
    """Raise `BadZipFile` where something stands before or after an archive, of which Python takes no notice."""
    end = data.rfind(_ZIP_END) + _ZIP_END_SIZE + len(archive.comment)
    if end != len(data) or (names and min(name.header_offset for name in names) > 0):
        raise zipfile.BadZipFile("something else stands beside it")


def _joined(pieces: Iterable[bytes], *, limit: int) -> bytes:
    joined = bytearray()
    for piece in pieces:
        joined += piece
        _check(len(joined), limit=limit)
    return bytes(joined)


def _check(size: int, *, limit: int) -> None:
    if size > limit:
        raise TooMuchTextError(limit)
