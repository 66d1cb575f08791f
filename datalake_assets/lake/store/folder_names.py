r"""The names in local folders, sorted as keys, and kept while a folder stays as it is.

Belongs here: how a file's name is written as a key, and for how long names that were read once may be used again. What
lies under a name is never kept: `objects` asks the file system each time.
"""

import os
import re
import time
from dataclasses import dataclass, field
from typing import NamedTuple

SETTLED_NS = 2_000_000_000
"""After so many nanoseconds a file system's clock has moved on: FAT's ticks every two seconds, all others faster."""
_KEPT_FOR = 60.0  # seconds: folders of a mounted bucket may bear the same times whatever is put into them
_WORTH_KEEPING = 1_000  # names: fewer are read again in less than a millisecond
_ROOM = 8_000_000  # bytes of names, in all folders: 300,000 of DMS's
_ESCAPED = re.compile(rb"\\(\\|x[0-9a-f]{2})")


class Names(NamedTuple):
    """The names in a folder: those of its folders, and of whatever else lies in it; both sorted."""

    folders: list[str]
    others: list[str]


class _Kept(NamedTuple):
    """Names in little space, the state of the folder that had them, and when (monotonic) they are too old."""

    folders: bytes
    others: bytes
    state: tuple[int, ...]
    until: float

    @property
    def size(self) -> int:
        return len(self.folders) + len(self.others)


@dataclass(frozen=True, slots=True)
class FolderNames:
    """Reads the names in folders, and remembers those of large folders, up to `room` bytes of them.

    Remembered names are used while inode and both times of the folder are the same, and for a minute at most. A folder
    that was changed in the last two seconds is not remembered: the next name in it may leave its times as they are.
    When there is no room, a folder is read each time: to make room by forgetting another would have all of them read
    each time, as a tick looks at one after the other.
    """

    room: int = _ROOM
    _kept: dict[bytes, _Kept] = field(default_factory=dict)

    def within(self, folder: bytes) -> Names:
        """The names in a folder. Raises `OSError` when it can't be read, or is none."""
        now = time.monotonic()
        facts = os.stat(folder)  # noqa: PTH116 - pathlib knows no names made of bytes
        state = (facts.st_dev, facts.st_ino, facts.st_mtime_ns, facts.st_ctime_ns)
        kept = self._kept.get(folder)
        if kept is not None and kept.state == state and now < kept.until:
            return Names(_unpacked(kept.folders), _unpacked(kept.others))
        names = _read(folder)
        is_settled = max(facts.st_mtime_ns, facts.st_ctime_ns) < time.time_ns() - SETTLED_NS
        if is_settled and len(names.folders) + len(names.others) >= _WORTH_KEEPING:
            self._keep(folder, _Kept(_packed(names.folders), _packed(names.others), state, now + _KEPT_FOR), now=now)
        return names

    def _keep(self, folder: bytes, kept: _Kept, *, now: float) -> None:
        held = 0
        for other, names in list(self._kept.items()):  # sensors look around side by side
            if other == folder or names.until <= now:
                self._kept.pop(other, None)
            else:
                held += names.size
        if held + kept.size <= self.room:
            self._kept[folder] = kept


def key_of(name: bytes) -> str:
    r"""A file's name as text that can be turned back: bytes that are no UTF-8 as `\xNN`, a backslash doubled."""
    return name.replace(b"\\", rb"\\").decode("utf-8", "backslashreplace")


def name_of(key: str) -> bytes:
    """The name that `key_of` made a key of; paths too, part by part."""
    return _ESCAPED.sub(lambda m: b"\\" if m[1] == b"\\" else bytes.fromhex(m[1][1:].decode()), key.encode())


def _read(folder: bytes) -> Names:
    folders: list[bytes] = []
    others: list[bytes] = []
    with os.scandir(folder) as entries:
        for entry in entries:
            (folders if entry.is_dir(follow_symlinks=False) else others).append(entry.name)
    return Names(_keys(folders), _keys(others))


def _keys(names: list[bytes]) -> list[str]:
    """Names as keys, sorted; all at once, as twenty thousand calls take longer than the reading."""
    return sorted(key_of(b"/".join(names)).split("/")) if names else []


def _packed(names: list[str]) -> bytes:
    return "/".join(names).encode()


def _unpacked(names: bytes) -> list[str]:
    return names.decode().split("/") if names else []
