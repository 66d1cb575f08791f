"""A folder of an object store, listed for what is asked of it alone.

Belongs here: jumping over keys that nobody asked for. A listing by delimiter begins at a folder's first key each time
and tells all of it, one request for each thousand: twenty for the 20,000 objects that DMS put into one folder. A
listing of keys begins anywhere, and costs a request for each thousand that are looked at.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import obstore
from obstore.exceptions import InvalidPathError
from obstore.store import MemoryStore, ObjectStore, S3Store

from datalake_assets.lake.store.name_ranges import Ranges, folders_told, range_end

if TYPE_CHECKING:
    from obstore import ObjectMeta  # exists for type checkers alone

PAGE = 1_000
"""Keys that S3 answers to one request."""
_HIGHEST = "\U0010ffff"
_JUMPS = 3  # over folders: where there are more of them, a listing by delimiter has fewer requests
_MOST_REMEMBERED = 10_000  # folders


class Scanned(NamedTuple):
    """As `objects.Listing`, with the objects as obstore tells them."""

    folders: list[str]
    objects: list["ObjectMeta"]
    more_after: str | None


@dataclass(frozen=True, slots=True)
class KeyScan:
    """Lists folders by their keys, `page` of them at a time, and jumps over ranges of names and over folders.

    Remembers the folders with so many folders in them that a listing by delimiter costs less.
    """

    store: ObjectStore
    page: int
    _by_delimiter: set[str] = field(default_factory=set)

    def folder(self, path: str, *, skip: Ranges, most: int | None) -> Scanned | None:
        """As `Objects.folder`; None where only a listing by delimiter can tell, or where it costs less.

        Only S3 and a store in memory are known to list keys in order; S3's directory buckets don't, and are found out.
        """
        if path in self._by_delimiter or not isinstance(self.store, (S3Store, MemoryStore)):
            return None
        folders: dict[str, None] = {}
        objects: list[ObjectMeta] = []
        try:
            for name, meta in self._entries(path, skip):
                if name.endswith("/"):
                    folders[name[:-1]] = None
                elif len(objects) == most:
                    more_after = objects[-1]["path"].removeprefix(path).removeprefix("/")
                    return Scanned(folders_told(folders, skip, more_after), objects, more_after)
                else:
                    objects.append(meta)
        except (_UnfitError, InvalidPathError, ValueError):  # a key that can't be parsed, perhaps below; a jump to none
            return None
        return Scanned(sorted(folders), objects, None)

    def _entries(self, path: str, skip: Ranges) -> Iterator[tuple[str, "ObjectMeta"]]:
        """The keys below a folder by their names in it, folders as `a/`; some of each folder's, one at least.

        Raises `_UnfitError` when they don't tell what lies in the folder, or not at a lower cost.
        """
        start = f"{path}/" if path else ""
        last, jumps = "", 0
        pages = self._pages(path, _before(skip[0][1]) if skip and not skip[0][0] else "")
        while page := next(pages, None):
            keys = [last, *(meta["path"] for meta in page)]
            if keys != sorted(keys):
                raise _UnfitError
            last = keys[-1]
            for meta in page:
                name = _entry(meta["path"][len(start) :])
                if name and not name.endswith("/") and not meta["size"]:
                    raise _UnfitError  # an empty object `a`, or the marker of a folder `a/`: they come back alike
                if range_end(name, skip) is None:
                    yield name, meta
            if len(page) < self.page:
                return
            name = _entry(last[len(start) :])
            end = range_end(name, skip)
            onward = _before(end) if end is not None else name + _HIGHEST if name.endswith("/") else ""
            if onward and start + onward > last:
                jumps += end is None
                if jumps > _JUMPS:
                    self._remember(path)
                    raise _UnfitError
                pages = self._pages(path, onward)

    def _pages(self, path: str, after: str) -> Iterator[Sequence["ObjectMeta"]]:
        offset = f"{path}/{after}".lstrip("/") if after else None
        return obstore.list(self.store, path, offset=offset, chunk_size=self.page)

    def _remember(self, path: str) -> None:
        if len(self._by_delimiter) < _MOST_REMEMBERED:
            self._by_delimiter.add(path)


class _UnfitError(Exception):
    """The keys of a folder don't tell what lies in it, or not at a lower cost than a listing by delimiter."""


def _entry(key: str) -> str:
    """The name of an object or of a folder (`a/`) that a key, told from a folder on, shows; "" for its own marker."""
    name, slash, _ = key.partition("/")
    return name + slash


def _before(name: str) -> str:
    """A text that sorts before a name, with next to nothing between them."""
    last = ord(name[-1])
    return name[:-1] + (chr(last - 1) + _HIGHEST if last else "")
