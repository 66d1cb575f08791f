"""The spool: where the local ingest server keeps what it has acknowledged, until it has landed as Firehose would.

A record is acknowledged when it stands in a file of the spool and the disk says so (fsync). All requests that wait for
the disk at one time share one write and one fsync, so that many senders cost little more than one. When a file is old
or large enough it is landed, and deleted once its object lies in bronze; what a server left that was killed is landed
by the next one that starts. The key of an object is chosen when its file is begun and stands in the file: landing it
twice writes the same bytes to the same place.

Belongs here: when what is written and landed. The files are `spool_files.py`'s affair, HTTP is `server.py`'s.
"""

import asyncio
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from queue import SimpleQueue

import obstore

from datalake_assets.gateway.spool_files import SpoolFile, files_left, make_durable, new_file
from datalake_assets.ingest.sink import Failure
from datalake_assets.ingest.sources import Source, object_key
from datalake_assets.lake.store.landing import open_store
from datalake_assets.lake.store.object_store import answered, is_remote
from datalake_assets.simulate import firehose

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
    """Records of one request that wait for the disk; `done` is what became of them."""

    source: Source
    records: Sequence[bytes]
    done: "asyncio.Future[Failure | None]"


@dataclass(slots=True)
class Spool:
    """A folder of the local disk, and the threads that write to it and land from it.

    Several processes may share the folder; one event loop at a time puts to a spool.
    """

    folder: Path
    bronze: str
    limits: Limits
    tell: Callable[[str], None]
    tally: Tally = field(default_factory=Tally)
    _arrived: list[_Waiting] = field(default_factory=list)
    _files: dict[str, SpoolFile] = field(default_factory=dict)
    _kept: int = 0
    _is_failing: bool = False
    _change: threading.Condition = field(default_factory=threading.Condition)
    _sealed: "SimpleQueue[SpoolFile | None]" = field(default_factory=SimpleQueue)
    _threads: list[threading.Thread] = field(default_factory=list)
    _closes: threading.Event = field(default_factory=threading.Event)

    def open(self) -> int:
        """Start; returns how many files are landed first that a server left which was killed. Raises `OSError`."""
        self.folder.mkdir(parents=True, exist_ok=True)
        left = list(files_left(self.folder))
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
        done: asyncio.Future[Failure | None] = asyncio.get_running_loop().create_future()
        with self._change:
            self._arrived.append(_Waiting(source, records, done))
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
                _tell_all(group, self._append(group))
            closes = self._closes.is_set() and not arrived
            for name, file in list(self._files.items()):
                old = time.monotonic() - file.begun >= self.limits.seconds
                if closes or old or file.size >= self.limits.bytes:
                    self._sealed.put(self._files.pop(name))
            if closes:
                self._sealed.put(None)
                return

    def _seconds_left(self) -> float | None:
        """How long until a file is due; None where there is none."""
        begun = min((file.begun for file in self._files.values()), default=None)
        return None if begun is None else max(0.0, begun + self.limits.seconds - time.monotonic())

    def _append(self, group: Sequence[_Waiting]) -> Failure | None:
        """Make records of one source durable; where that fails nothing of them is landed."""
        source = group[0].source
        records = [record for waiting in group for record in waiting.records]
        lines = b"".join([record + b"\n" for record in records])
        try:
            file = self._files.get(source.name) or self._begun(source)
            self._files[source.name] = file
            file.append(lines, records=len(records))
        except OSError as error:
            if not self._is_failing:
                self.tell(f"{self.folder}: {error.strerror or error}; nothing is acknowledged until that is mended")
            self._is_failing = True
            broken = self._files.pop(source.name, None)
            if broken is not None:
                self._sealed.put(broken)  # only what is durable of it is landed
            return _NOT_WRITTEN
        self._is_failing = False
        self._keep(len(lines))
        return None

    def _begun(self, source: Source) -> SpoolFile:
        """A new file, whose object has the time of now in its name."""
        now, identifier = datetime.now(UTC), uuid.uuid4()
        if source.stream is None:
            key = object_key(source.prefix, at=now, identifier=identifier)
        else:
            key = firehose.object_key(source.stream, oldest=now, identifier=identifier)
        return new_file(self.folder, key, identifier=identifier)

    def _land(self) -> None:
        """Land sealed files one after the other; what fails is tried again until it succeeds, or the spool closes."""
        while (file := self._sealed.get()) is not None:
            pause = _FIRST_PAUSE
            while not self._landed(file):
                if self._closes.is_set():
                    file.leave()
                    break
                self._closes.wait(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)

    def _landed(self, file: SpoolFile) -> bool:
        try:
            lines = file.lines()
            if lines:
                body = firehose.object_body(lines) if file.key.endswith(".gz") else lines
                store = open_store(self.bronze)
                answered(lambda: obstore.put(store, file.key, body))
                if not is_remote(self.bronze):
                    make_durable(Path(self.bronze, file.key))
                self.tally.objects += 1
                self.tally.records += file.records
                self.tally.bytes += len(body)
            file.delete()
        except Exception as error:  # noqa: BLE001 (whatever a store raises: the file stays, and is tried again)
            self.tell(f"{self.bronze}/{file.key} could not be landed yet: {error}")
            return False
        self._keep(-file.size)
        return True

    def _keep(self, size: int) -> None:
        """Count bytes that wait to be landed; both threads do."""
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


def _tell_all(group: Sequence[_Waiting], failure: Failure | None) -> None:
    """Tell those who wait, in one call of their event loop; where that has ended nobody waits any more."""

    def resolve() -> None:
        for waiting in group:
            if not waiting.done.done():
                waiting.done.set_result(failure)

    with suppress(RuntimeError):
        group[0].done.get_loop().call_soon_threadsafe(resolve)
