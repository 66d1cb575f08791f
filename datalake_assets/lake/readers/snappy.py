"""The forms in which Snappy's blocks are landed: who wrote them decides, and Firehose has two.

Blocks are undone by Arrow. Sources of the forms: https://github.com/google/snappy/blob/main/framing_format.txt
(framed), snappy-java's `SnappyOutputStream`, Hadoop's `BlockCompressorStream`, and the bare block.
"""

from collections.abc import Iterator

from datalake_assets.lake.readers.failures import TooMuchTextError

_FRAMED = b"\xff\x06\x00\x00sNaPpY"
_JAVA = b"\x82SNAPPY\x00"
_JAVA_HEADER = len(_JAVA) + 8
_CHECKSUM = 4
_LENGTH = 4
_COMPRESSED, _PLAIN, _LEAST_SKIPPABLE = 0x00, 0x01, 0x80
_MORE = 0x80  # the bit of a byte that others of the same number follow
_LONGEST_SIZE = 5  # bytes that tell how much a block holds
_DENSEST = 64  # how many times its own length a block may hold: what copies 64 bytes takes 2 or more


class NoSnappyError(ValueError):
    """What is damaged, ends early, or is none of Snappy's forms."""


def is_named(data: bytes) -> bool:
    """Whether some bytes say that they are Snappy."""
    return data.startswith((_FRAMED, _JAVA))


def may_be_snappy(data: bytes) -> bool:
    """Whether some bytes begin as one of the forms does; JSON text of 128 bytes and more begins as none."""
    return is_named(data) or (bool(data) and (data[0] == 0 or data[0] >= _MORE))


def blocks(data: bytes, *, limit: int) -> Iterator[bytes]:
    """What each block holds. Raises `NoSnappyError`, and `TooMuchTextError` for a block of more than `limit` bytes."""
    if data.startswith(_FRAMED):
        yield from _framed(data, limit=limit)
    elif data.startswith(_JAVA):
        yield from (_block(piece, limit=limit) for piece in _counted(data, _JAVA_HEADER))
    elif data[0] == 0:
        yield from _of_hadoop(data, limit=limit)
    else:
        yield _block(data, limit=limit)


def _framed(data: bytes, *, limit: int) -> Iterator[bytes]:
    at = 0
    while at < len(data):
        kind, begin = data[at], at + _LENGTH
        at = begin + int.from_bytes(data[at + 1 : begin], "little")
        if at > len(data):
            raise NoSnappyError("it ends early")
        if kind == _COMPRESSED:
            yield _block(data[begin + _CHECKSUM : at], limit=limit)
        elif kind == _PLAIN:
            yield data[begin + _CHECKSUM : at]
        elif kind < _LEAST_SKIPPABLE:
            raise NoSnappyError(f"there is no chunk of the kind {kind:#04x}")


def _of_hadoop(data: bytes, *, limit: int) -> Iterator[bytes]:
    """The size of what follows in one or more blocks, then these; and so on."""
    at = 0
    while at < len(data):
        left = int.from_bytes(data[at : at + _LENGTH], "big")
        at += _LENGTH
        for piece in _counted(data, at):
            block = _block(piece, limit=limit)
            at += _LENGTH + len(piece)
            left -= len(block)
            yield block
            if left <= 0:
                break
        if left:
            raise NoSnappyError("it ends early")


def _counted(data: bytes, at: int) -> Iterator[bytes]:
    """Pieces that have their lengths before them."""
    while at < len(data):
        begin = at + _LENGTH
        at = begin + int.from_bytes(data[at:begin], "big")
        if at > len(data):
            raise NoSnappyError("it ends early")
        yield data[begin:at]


def _block(data: bytes, *, limit: int) -> bytes:
    size = 0
    for n, byte in enumerate(data[:_LONGEST_SIZE]):
        size |= (byte % _MORE) << (7 * n)
        if byte < _MORE:
            break
    if size > _DENSEST * len(data):
        raise NoSnappyError("a block is damaged")
    if size > limit:
        raise TooMuchTextError(limit)
    try:
        import pyarrow as pa  # here, as every process loads this module and few read Snappy

        return bytes(pa.Codec("snappy").decompress(data, decompressed_size=size, asbytes=True))
    except OSError:
        raise NoSnappyError("a block is damaged") from None
