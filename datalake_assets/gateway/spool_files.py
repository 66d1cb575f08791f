"""The files of a spool: made, written durably, found again after a crash. One process has a file at a time.

A file's first line is the key of the object that it will be, the others are records. Belongs here: bytes on the local
disk, and who owns them. When they land is told in `spool.py`.
"""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

_SUFFIX = ".spool"


@dataclass(slots=True)
class SpoolFile:
    """A file that this process has locked. `size` is how many bytes of records are durable, `begun` is monotonic."""

    path: Path
    descriptor: int
    key: str
    begun: float
    size: int = 0
    records: int = 0

    @property
    def _header(self) -> bytes:
        return f"{self.key}\n".encode()

    def begin(self) -> None:
        """Write the key. Raises `OSError`."""
        _write_all(self.descriptor, self._header, at=0)
        _sync(self.path.parent)

    def append(self, lines: bytes, *, records: int) -> None:
        """Add records as lines and wait for the disk. Raises `OSError`; then the file is as it was."""
        _write_all(self.descriptor, lines, at=len(self._header) + self.size)
        self.size += len(lines)
        self.records += records

    def lines(self) -> bytes:
        """The durable records. Raises `OSError`."""
        with self.path.open("rb") as file:
            file.seek(len(self._header))
            lines = file.read(self.size)
        if len(lines) != self.size:
            raise OSError(f"{self.path} has lost {self.size - len(lines):,} bytes; somebody else wrote to it")
        return lines

    def delete(self) -> None:
        """Delete the file; its lock goes last, so that nobody takes it for one that was left. Raises `OSError`."""
        self.path.unlink(missing_ok=True)
        os.close(self.descriptor)

    def leave(self) -> None:
        """Let go of the file: whoever opens the spool next finds it."""
        os.close(self.descriptor)


def new_file(folder: Path, key: str, *, identifier: UUID) -> SpoolFile:
    """A new file for the object of a key. Raises `OSError`, and leaves nothing then."""
    path = folder / f"{identifier}{_SUFFIX}"
    with _alone(folder):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    file = SpoolFile(path, descriptor, key, begun=time.monotonic())
    try:
        file.begin()
    except OSError:
        file.delete()
        raise
    return file


def files_left(folder: Path) -> Iterator[SpoolFile]:
    """The files of processes that are no more: those that nobody has locked. Raises `OSError`.

    What follows on the last whole line was acknowledged to nobody; a file without a whole line is deleted.
    """
    with _alone(folder):
        for path in sorted(folder.glob(f"*{_SUFFIX}")):
            descriptor = os.open(path, os.O_RDWR)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(descriptor)
                continue
            data = path.read_bytes() if path.exists() else b""  # its owner may just have landed and deleted it
            key, _, body = data.partition(b"\n")
            size = body.rfind(b"\n") + 1
            records = body.count(b"\n")
            file = SpoolFile(path, descriptor, key.decode(errors="replace"), 0.0, size, records)
            if size:
                yield file
            else:
                file.delete()


def make_durable(file: Path) -> None:
    """Wait until a file, and its name in its folder, are on the disk. Raises `OSError`."""
    _sync(file)
    _sync(file.parent)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """No other process makes or takes a file of the folder meanwhile, so that none is seen before it is locked."""
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _write_all(descriptor: int, data: bytes, *, at: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(descriptor, view, at)
        view, at = view[written:], at + written
    os.fsync(descriptor)


def _sync(place: Path) -> None:
    descriptor = os.open(place, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
