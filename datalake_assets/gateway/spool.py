"""The spool: where the local ingest server keeps what it has acknowledged, until it has landed as Firehose would.

A record is acknowledged when it stands in a file of the spool and the disk says so (fsync). All requests that wait for
the disk at one time share one write and one fsync, so that many senders cost little more than one. When a file is old
or large enough it is landed, and deleted once its object lies in bronze; what a server left that was killed is landed
by the next one that starts. The key of an object is chosen when its file is begun and stands in the file's first line:
landing it twice writes the same bytes to the same place.

Belongs here: durability. What HTTP is, is in `server.py`; the names of objects are the simulator's and the Lambda's.
"""

import asyncio
import fcntl
import os
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from queue import SimpleQueue

import obstore

from datalake_assets.ingest.sink import Failure
from datalake_assets.ingest.sources import Source, object_key
from datalake_assets.lake.store.landing import open_store
from datalake_assets.lake.store.object_store import answered, is_remote
from datalake_assets.simulate import firehose

_SUFFIX = ".spool"
_FULL = Failure("the server has more waiting to be landed than it may keep", is_throttled=True)
_NOT_WRITTEN = Failure("the server could not write it to its disk")
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 30.0


@dataclass(frozen=True, slots=True)
class Limits:
    """When a file of the spool is landed: so many seconds after its first record, or at so many bytes.

    `most_bytes` may wait to be landed altogether, while bronze can't be written to.
    """

    seconds: float = 5.0
    bytes: int = 5_000_000
    most_bytes: int = 1_000_000_000


@dataclass(slots=True)
class Tally:
    """What was landed so far."""

    records: int = 0
    objects: int = 0
    bytes: int = 0


@dataclass(slots=True)
class _Waiting:
    """Records of one request that wait for the disk; `told` is called with what became of them."""

    source: Source
    records: Sequence[bytes]
    told: Callable[[Failure | None], None]


@dataclass(slots=True)
class _File:
    """A file of the spool that this process has locked: the key of its object, and how much of it is durable."""

    path: Path
    descriptor: int
    key: str
    begun: float
    size: int
    records: int = 0

    @property
    def body_size(self) -> int:
        return self.size - len(self.key) - 1


@dataclass(slots=True)
class Spool:
    """A folder of the local disk, and the threads that write to it and land from it. Several processes may share it."""

    folder: Path
    bronze: str
    limits: Limits
    tell: Callable[[str], None]
    tally: Tally = field(default_factory=Tally)
    _arrived: list[_Waiting] = field(default_factory=list)
    _files: dict[str, _File] = field(default_factory=dict)
    _kept: int = 0
    _change: threading.Condition = field(default_factory=threading.Condition)
    _sealed: "SimpleQueue[_File | None]" = field(default_factory=SimpleQueue)
    _threads: list[threading.Thread] = field(default_factory=list)
    _closes: threading.Event = field(default_factory=threading.Event)

    def open(self) -> int:
        """Start; returns how many files are landed first that a server left which was killed. Raises `OSError`."""
        self.folder.mkdir(parents=True, exist_ok=True)
        left = list(self._left())
        for file in left:
            self._keep(file.size)
            self._sealed.put(file)
        for work in (self._write, self._land):
            thread = threading.Thread(target=work, name=f"spool{work.__name__}", daemon=True)
            thread.start()
            self._threads.append(thread)
        return len(left)

    def close(self, *, seconds: float = 30.0) -> bool:
        """Land what is there and stop; False where some could not be landed in time, which the next start lands."""
        self._closes.set()
        with self._change:
            self._change.notify()
        until = time.monotonic() + seconds
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))
        return self._kept == 0

    async def put(self, source: Source, records: Sequence[bytes]) -> Failure | None:
        """Keep records of a source; returns when they are durable, or why they are not."""
        if self._kept > self.limits.most_bytes:
            return _FULL
        loop = asyncio.get_running_loop()
        done: asyncio.Future[Failure | None] = loop.create_future()

        def resolve(failure: Failure | None) -> None:
            if not done.done():
                done.set_result(failure)

        def told(failure: Failure | None) -> None:
            loop.call_soon_threadsafe(resolve, failure)

        with self._change:
            self._arrived.append(_Waiting(source, records, told))
            self._change.notify()
        return await done

    def _write(self) -> None:
        """Write what has arrived, all of it together, and seal files that are due; until the spool closes."""
        while True:
            with self._change:
                if not self._arrived and not self._closes.is_set():
                    self._change.wait(self._seconds_left())
                arrived, self._arrived = self._arrived, []
            by_source: dict[str, list[_Waiting]] = {}
            for waiting in arrived:
                by_source.setdefault(waiting.source.name, []).append(waiting)
            for group in by_source.values():
                failure = self._append(group)
                for waiting in group:
                    waiting.told(failure)
            closes = self._closes.is_set() and not arrived
            for name, file in list(self._files.items()):
                old = time.monotonic() - file.begun >= self.limits.seconds
                if closes or old or file.body_size >= self.limits.bytes:
                    self._sealed.put(self._files.pop(name))
            if closes:
                self._sealed.put(None)
                return

    def _seconds_left(self) -> float | None:
        """How long until a file is due; None where there is none."""
        begun = min((file.begun for file in self._files.values()), default=None)
        return None if begun is None else max(0.0, begun + self.limits.seconds - time.monotonic())

    def _append(self, group: Sequence[_Waiting]) -> Failure | None:
        """Make records of one source durable; where that fails nothing of them stays in the file."""
        source = group[0].source
        lines = b"".join([record + b"\n" for waiting in group for record in waiting.records])
        try:
            file = self._files.get(source.name) or self._begun(source)
            self._files[source.name] = file
            _write_all(file.descriptor, lines, at=file.size)
        except OSError as error:
            self.tell(f"{self.folder}: {error.strerror or error}; nothing is acknowledged until that is mended")
            broken = self._files.pop(source.name, None)
            if broken is not None:
                self._sealed.put(broken)  # only what is durable of it is landed
            return _NOT_WRITTEN
        file.size += len(lines)
        file.records += sum(len(waiting.records) for waiting in group)
        self._keep(len(lines))
        return None

    def _begun(self, source: Source) -> _File:
        """A new file of the spool, whose object has the time of now in its name."""
        now, identifier = datetime.now(UTC), uuid.uuid4()
        if source.stream is None:
            key = object_key(source.prefix, at=now, identifier=identifier)
        else:
            key = firehose.object_key(source.stream, oldest=now, identifier=identifier)
        path = self.folder / f"{identifier}{_SUFFIX}"
        with self._alone():
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        header = f"{key}\n".encode()
        file = _File(path, descriptor, key, begun=time.monotonic(), size=len(header))
        self._keep(file.size)
        try:
            _write_all(descriptor, header, at=0)
            _sync_folder(self.folder)
        except OSError:
            self._forget(file)
            raise
        return file

    def _left(self) -> Iterator[_File]:
        """The files of servers that are no more: those that nobody has locked."""
        with self._alone():
            for path in sorted(self.folder.glob(f"*{_SUFFIX}")):
                descriptor = os.open(path, os.O_RDWR)
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    os.close(descriptor)
                    continue
                data = path.read_bytes() if path.exists() else b""
                key, end, body = data.partition(b"\n")
                whole = body[: body.rfind(b"\n") + 1]  # a torn line was acknowledged to nobody
                file = _File(path, descriptor, key.decode(), 0.0, len(key) + len(end) + len(whole), whole.count(b"\n"))
                if whole:
                    yield file
                else:
                    self._forget(file, kept=False)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """No other process makes or takes a file of the spool meanwhile, so that none is seen before it is locked."""
        with (self.folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _land(self) -> None:
        """Land sealed files one after the other; what fails is tried again until it succeeds, or the spool closes."""
        while (file := self._sealed.get()) is not None:
            pause = _FIRST_PAUSE
            while not self._landed(file):
                if self._closes.is_set():
                    os.close(
                        file.descriptor
                    )  # the file stays; whoever starts next finds it without a lock, and lands it
                    break
                self._closes.wait(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)

    def _landed(self, file: _File) -> bool:
        try:
            lines = os.pread(file.descriptor, file.size, 0)[len(file.key) + 1 :]
            if lines:
                body = firehose.object_body(lines) if file.key.endswith(".gz") else lines
                store = open_store(self.bronze)
                answered(lambda: obstore.put(store, file.key, body))
                if not is_remote(self.bronze):
                    _sync(Path(self.bronze, file.key))
                self.tally.objects += 1
                self.tally.records += file.records
                self.tally.bytes += len(body)
            self._forget(file)
        except Exception as error:  # noqa: BLE001 (whatever a store raises: the file stays, and is tried again)
            self.tell(f"{self.bronze}/{file.key} could not be landed yet: {error}")
            return False
        return True

    def _forget(self, file: _File, *, kept: bool = True) -> None:
        """Delete a file of the spool; its lock goes last, so that nobody takes it for one that was left."""
        file.path.unlink(missing_ok=True)
        os.close(file.descriptor)
        self._keep(-file.size if kept else 0)

    def _keep(self, size: int) -> None:
        """Count bytes that the spool holds; both threads do."""
        with self._change:
            self._kept += size


class SpoolSink:
    """A source's part of the spool, as a `Sink`."""

    def __init__(self, spool: Spool, source: Source) -> None:
        """Put the records of `source`."""
        self._spool, self._source = spool, source

    async def put(self, records: Sequence[bytes], *, deadline: float) -> Sequence[Failure | None]:  # noqa: ARG002 (the disk is waited for)
        """See `Sink`: all are kept, or none."""
        return [await self._spool.put(self._source, records)] * len(records)


def _write_all(descriptor: int, data: bytes, *, at: int) -> None:
    """Write bytes at a position and wait for the disk. Raises `OSError`; what was written then counts for nothing."""
    view = memoryview(data)
    while view:
        written = os.pwrite(descriptor, view, at)
        view, at = view[written:], at + written
    os.fsync(descriptor)


def _sync(file: Path) -> None:
    """Wait until a file, and its name in its folder, are on the disk."""
    descriptor = os.open(file, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    _sync_folder(file.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
