"""Objects by key: listing a folder, telling which bytes lie under a key, and reading exactly these.

Belongs here: what differs between a local folder and an object store. Which objects are data, and to which partition
they belong, is told in `landing`.
"""

import hashlib
import os
import stat
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from io import BufferedReader
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple, Protocol

import obstore
from obstore.exceptions import InvalidPathError
from obstore.store import ObjectStore

from datalake_assets.lake.store.folder_names import SETTLED_NS, FolderNames, name_of
from datalake_assets.lake.store.key_scan import PAGE, KeyScan
from datalake_assets.lake.store.name_ranges import Ranges, folders_told, outside, range_end
from datalake_assets.lake.store.object_store import answered, is_remote, open_object_store
from datalake_assets.lake.store.subtrees import Subtrees

if TYPE_CHECKING:
    from obstore import ObjectMeta  # exists for type checkers alone

_ETAG_LENGTH = 32  # hex digits: 128 bits tell the objects of any lake apart
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LAST_SECOND_NS = 253_402_300_799 * 10**9  # the end of the year 9999, the last that a datetime can tell
NOTHING: Ranges = ()


@dataclass(frozen=True, slots=True)
class Listed:
    """What a listing tells of an object without reading it.

    `key` is relative to the root, `size` in bytes, `last_modified` in UTC. `stamp` stays the same while the object does
    and changes when it is written again; a copy of the object has another one. `etag` is the same for the same
    content; None where only the bytes can tell it.
    """

    key: str
    size: int
    last_modified: datetime
    stamp: str
    etag: str | None


class Listing(NamedTuple):
    """A folder: the names of its folders and its own objects, both sorted, and after which name there are more.

    Where there are more, the folders that sort behind that name are not told yet; a folder sorts by its name and "/".
    """

    folders: list[str]
    objects: list[Listed]
    more_after: str | None = None


class MissingObjectError(Exception):
    """There is no object under the key."""

    def __init__(self, key: str) -> None:
        super().__init__(f"{key}: there is no such object")


class SupersededObjectError(Exception):
    """Another object lies under the key than the one that is asked for; `etag` and `size` are those of the other."""

    def __init__(self, key: str, *, etag: str, size: int) -> None:
        super().__init__(f"{key}: other bytes lie there now (etag {etag}, {size:,} bytes)")
        self.etag, self.size = etag, size


class TooLargeObjectError(Exception):
    """The object has more bytes than may be read at once."""

    def __init__(self, key: str, *, size: int, limit: int) -> None:
        super().__init__(f"{key}: {size:,} bytes are more than the limit of {limit:,} bytes for one object")


class Objects(Protocol):
    """The objects below a root.

    Errors other than those told here are faults of the place (forbidden, a network down) that may be gone next time.
    """

    def folder(self, path: str, *, skip: Ranges = NOTHING, most: int | None = None) -> Listing:
        """The folders in a folder ("" is the root), and its own objects; one that does not exist is empty.

        What lies in one of the ranges [low, high) of `skip` is left out, a folder by its name and "/". Of the other
        objects the first `most` are told (None: all).
        """
        ...

    def below(self, path: str) -> Callable[[str], Listing] | None:
        """What tells of a folder, and of all that lie below it, what `folder` would at a request for each.

        As of now: what lands later is not in it. None where that is no gain.
        """
        ...

    def look(self, key: str) -> Listed | None:
        """The object under a key as a listing tells it; None where there is none."""
        ...

    def etag(self, key: str) -> str:
        """What tells the bytes under a key from others. Raises `MissingObjectError`."""
        ...

    def read(self, key: str, *, etag: str, size: int, limit: int) -> bytes:
        """The bytes of the object that `etag` and `size` name.

        Raises `MissingObjectError`, `SupersededObjectError` when other bytes lie there, and `TooLargeObjectError` when
        they are more than `limit`, before anything is read.
        """
        ...


def open_objects(place: str) -> Objects:
    """The objects of a zone: those of a local folder, which need not exist yet, or of `s3://bucket/prefix`."""
    return RemoteObjects(open_object_store(place)) if is_remote(place) else LocalObjects(place)


def stamped(stamp: str) -> str:
    """The etag that stands for an object whose bytes could not be read to tell it; `read` accepts it."""
    return "stamp:" + stamp.partition("~")[0]


@dataclass(frozen=True, slots=True)
class LocalObjects:
    r"""The files below a local folder, whatever their names.

    A key is the file's path as text: a byte that is not UTF-8 is written `\xNN` and a backslash `\\`. What is neither a
    regular file nor a link to one (a pipe, a device, a link to a folder, which could lead in circles) is not listed.

    The etag is the SHA-256 of the bytes (32 hex digits), so that a copy of a lake has the same etags. The stamp is made
    of inode, both times and size. Two writes within one tick of the file system's clock leave it as it is; therefore
    the stamp of a file that was changed in the last two seconds is good for one listing alone.
    """

    root: str
    _names: FolderNames = field(default_factory=FolderNames, init=False, repr=False, compare=False)

    def __reduce__(self) -> tuple[type["LocalObjects"], tuple[str]]:
        return LocalObjects, (self.root,)  # another process looks for itself

    def folder(self, path: str, *, skip: Ranges = NOTHING, most: int | None = None) -> Listing:
        """As `Objects.folder`. Raises `OSError` for a folder that can't be listed, such as a forbidden one."""
        place = self._place(path)
        now = time.time_ns()
        try:
            found = self._names.within(place)
        except (FileNotFoundError, NotADirectoryError):
            return Listing([], [])
        told = outside(found.others, skip)
        names = list(told if most is None else islice(told, most))
        more_after = names[-1] if next(told, None) is not None else None
        start = f"{path}/" if path else ""
        facts = [(name, _facts(os.path.join(place, name_of(name)))) for name in names]  # noqa: PTH118 - as in `_place`
        objects = [_listed(f"{start}{name}", known, now=now) for name, known in facts if known is not None]
        return Listing(folders_told(found.folders, skip, more_after), objects, more_after)

    def below(self, path: str) -> None:
        """As `Objects.below`: a folder is listed fast enough."""

    def look(self, key: str) -> Listed | None:
        """As `Objects.look`."""
        facts = _facts(self._place(key))
        return facts and _listed(key, facts, now=time.time_ns())

    def etag(self, key: str) -> str:
        """As `Objects.etag`. Raises `OSError` for a file that can't be read."""
        with self._opened(key) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()[:_ETAG_LENGTH]

    def read(self, key: str, *, etag: str, size: int, limit: int) -> bytes:
        """As `Objects.read`. Raises `OSError` for a file that can't be read."""
        with self._opened(key) as file:
            facts = os.fstat(file.fileno())
            if facts.st_size == size > limit:
                raise TooLargeObjectError(key, size=size, limit=limit)
            data = file.read(size + 1) if facts.st_size == size else b""
        if facts.st_size == len(data) == size:
            found = hashlib.sha256(data).hexdigest()[:_ETAG_LENGTH]
            if etag in {found, stamped(_stamp(facts))}:
                return data
        else:
            found = self.etag(key)
        raise SupersededObjectError(key, etag=found, size=facts.st_size)

    def _opened(self, key: str) -> BufferedReader:
        try:
            return open(self._place(key), "rb")  # noqa: PTH123 - pathlib knows no names made of bytes
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            raise MissingObjectError(key) from None

    def _place(self, key: str) -> bytes:
        return os.path.join(os.fsencode(self.root), name_of(key))  # noqa: PTH118 - pathlib knows no names made of bytes


@dataclass(frozen=True, slots=True)
class RemoteObjects:
    """The objects of an object store, listed `page` at a time; what a listing calls the etag is both stamp and etag.

    obstore can't parse a key with an empty part (`a//b`), with `.` or `..` as a part, or with a control character: the
    listing of the one folder that holds such a key fails with `InvalidPathError`, other folders are listed.
    """

    store: ObjectStore
    page: int = PAGE
    _scan: KeyScan = field(init=False, repr=False, compare=False)
    _trees: Subtrees = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_scan", KeyScan(self.store, self.page))
        object.__setattr__(self, "_trees", Subtrees(self.store, self.page))

    def __reduce__(self) -> tuple[type["RemoteObjects"], tuple[ObjectStore, int]]:
        return RemoteObjects, (self.store, self.page)

    def folder(self, path: str, *, skip: Ranges = NOTHING, most: int | None = None) -> Listing:
        """As `Objects.folder`. Raises what obstore raises."""
        return answered(lambda: self._folder(path, skip, most))

    def below(self, path: str) -> Callable[[str], Listing] | None:
        """As `Objects.below`. Raises what obstore raises."""
        tree = answered(lambda: self._trees.below(path))
        if tree is None:
            return None

        def listing(folder: str) -> Listing:
            folders, objects = tree(folder)
            return Listing(folders, [_listed_by(meta, folder) for meta in objects])

        return listing

    def _folder(self, path: str, skip: Ranges, most: int | None) -> Listing:
        scanned = self._scan.folder(path, skip=skip, most=most) if skip or most is not None else None
        if scanned is not None:
            return Listing(scanned.folders, [_listed_by(meta, path) for meta in scanned.objects], scanned.more_after)
        listing = obstore.list_with_delimiter(self.store, path)
        inner = sorted(prefix.rstrip("/").rpartition("/")[2] for prefix in listing["common_prefixes"])
        objects = sorted((_listed_by(meta, path) for meta in listing["objects"]), key=lambda o: o.key)
        told = [o for o in objects if range_end(o.key.rpartition("/")[2], skip) is None]
        more_after = told[most - 1].key.rpartition("/")[2] if most is not None and len(told) > most else None
        return Listing(folders_told(inner, skip, more_after), told[:most], more_after)

    def look(self, key: str) -> Listed | None:
        """As `Objects.look`. Raises what obstore raises."""
        try:
            return _listed_by(obstore.head(self.store, key), "")
        except (FileNotFoundError, InvalidPathError, ValueError):  # what has no name here is listed by nobody either
            return None

    def etag(self, key: str) -> str:
        """As `Objects.etag`. Raises what obstore raises."""
        try:
            return _tag(obstore.head(self.store, key))
        except FileNotFoundError:
            raise MissingObjectError(key) from None

    def read(self, key: str, *, etag: str, size: int, limit: int) -> bytes:
        """As `Objects.read`. Raises what obstore raises."""
        return answered(lambda: self._read(key, etag, size, limit))

    def _read(self, key: str, etag: str, size: int, limit: int) -> bytes:
        try:
            answer = obstore.get(self.store, key)
            found, found_size = _tag(answer.meta), answer.meta["size"]
            if (found, found_size) != (etag, size):
                raise SupersededObjectError(key, etag=found, size=found_size)
            if size > limit:
                raise TooLargeObjectError(key, size=size, limit=limit)
            return bytes(answer.bytes())
        except FileNotFoundError:
            raise MissingObjectError(key) from None


def _facts(place: bytes) -> os.stat_result | None:
    """What the file system tells of a file; None for what is no file, and for one that was deleted meanwhile."""
    try:
        facts = os.stat(place)  # noqa: PTH116 - pathlib knows no names made of bytes
    except FileNotFoundError:
        return None
    except OSError:
        # A link that leads into a forbidden folder, or round in a circle: listed, so that it fails by itself.
        facts = os.lstat(place)
    return facts if stat.S_ISREG(facts.st_mode) or stat.S_ISLNK(facts.st_mode) else None


def _listed(key: str, facts: os.stat_result, *, now: int) -> Listed:
    moment = min(max(facts.st_mtime_ns, 0), _LAST_SECOND_NS)
    is_fresh = facts.st_ctime_ns > now - SETTLED_NS
    return Listed(
        key=key,
        size=facts.st_size,
        last_modified=_EPOCH + timedelta(microseconds=moment // 1000),
        stamp=f"{_stamp(facts)}~{now:x}" if is_fresh else _stamp(facts),
        etag=None,
    )


def _stamp(facts: os.stat_result) -> str:
    return f"{facts.st_ino:x}-{facts.st_mtime_ns:x}-{facts.st_ctime_ns:x}-{facts.st_size:x}"


def _listed_by(meta: "ObjectMeta", folder: str) -> Listed:
    # A folder's own marker, `a/`, comes back as `a`.
    key = f"{folder}/" if meta["path"] == folder else meta["path"]
    return Listed(key, meta["size"], meta["last_modified"], stamp=_tag(meta), etag=_tag(meta))


def _tag(meta: "ObjectMeta") -> str:
    """The etag; a version only where there is none, as listings tell no versions."""
    return meta["e_tag"] or meta["version"] or ""
