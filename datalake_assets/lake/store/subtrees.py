"""All that lies below a folder of an object store, told by one request where it is little.

Belongs here: answering for many small folders, such as the hours of a month, from one listing of keys. A lake of a year
has 8,760 such folders for each dataset; by delimiter each is a request.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import obstore
from obstore.exceptions import InvalidPathError
from obstore.store import ObjectStore

if TYPE_CHECKING:
    from obstore import ObjectMeta  # exists for type checkers alone

_MOST_REMEMBERED = 10_000  # folders
FolderOfTree = Callable[[str], tuple[list[str], list["ObjectMeta"]]]
"""The names of the folders in a folder and its own objects, both sorted."""


@dataclass(frozen=True, slots=True)
class Subtrees:
    """Lists folders with all that lies below them, where that is less than a `page` of keys; remembers where not."""

    store: ObjectStore
    page: int
    _large: set[str] = field(default_factory=set)

    def below(self, path: str) -> FolderOfTree | None:
        """What lies below a folder; None where it is too much, or where keys alone don't tell.

        Raises what obstore raises.
        """
        if path in self._large:
            return None
        try:
            found = next(iter(obstore.list(self.store, path, chunk_size=self.page)), [])
        except (InvalidPathError, ValueError):  # a key that can't be parsed, of a folder that is listed by itself then
            found = None
        # An empty object `a` and the marker of a folder `a/` come back alike.
        if found is None or len(found) >= self.page or not all(meta["size"] for meta in found):
            if len(self._large) < _MOST_REMEMBERED:
                self._large.add(path)
            return None
        folders: dict[str, set[str]] = {}
        objects: dict[str, list[ObjectMeta]] = {}
        for meta in found:
            folder = meta["path"].rpartition("/")[0]
            objects.setdefault(folder, []).append(meta)
            while folder != path and folder:
                parent, _, name = folder.rpartition("/")
                folders.setdefault(parent, set()).add(name)
                folder = parent
        return lambda folder: (
            sorted(folders.get(folder, ())),
            sorted(objects.get(folder, ()), key=lambda meta: meta["path"]),
        )
