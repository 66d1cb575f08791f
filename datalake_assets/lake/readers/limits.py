"""How large an object and a record may be before they are quarantined by reference."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on what is read, in bytes: the text that one object may unpack to, and the longest record."""

    object_bytes: int = 1 << 30
    record_bytes: int = 64 << 20
