"""A task's files in bronze: where each lies, and the put that no reader sees half of.

Belongs here: keys and puts. What the files hold is made in `rows.py`.
"""

import os
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import obstore
from obstore.exceptions import AlreadyExistsError
from obstore.store import LocalStore, ObjectStore

from datalake_assets.lake.store.object_store import answered
from datalake_assets.replicate.dms_format import change_name, load_name

_MILLISECOND = timedelta(milliseconds=1)


@dataclass(slots=True)
class Bronze:
    """The store rooted at bronze; how many objects of which size in bytes were put there, and changes in them."""

    store: ObjectStore
    objects: int = 0
    size: int = 0
    changes: int = 0
    _last: datetime = field(default=datetime.min.replace(tzinfo=UTC))

    def put_load(self, table: str, number: int, data: bytes, *, extension: str) -> str:
        """Put a full load's n-th file, over that of an earlier load; gives its key."""
        key = f"{_prefix(table)}/{load_name(number, extension=extension)}"
        answered(lambda: obstore.put(self.store, key, data))
        return self._done(key, data)

    def put_changes(self, table: str, folder: str, data: bytes, *, changes: int, extension: str) -> str:
        """Put a file of so many changes under a name that rises from one to the next and nobody took; gives its key.

        The name is the time of its creation. Where the answer to a put was lost, the file may lie there twice.
        """
        self._last = max(datetime.now(UTC), self._last + _MILLISECOND)
        while True:
            name = change_name(self._last, extension=extension)
            key = "/".join(part for part in (_prefix(table), folder, name) if part)
            try:
                self._create(key, data)
            except AlreadyExistsError:
                self._last += _MILLISECOND
                continue
            self.changes += changes
            return self._done(key, data)

    def _create(self, key: str, data: bytes) -> None:
        answered(lambda: obstore.put(self.store, key, data, mode="create"))

    def _done(self, key: str, data: bytes) -> str:
        make_durable(self.store, key)
        self.objects += 1
        self.size += len(data)
        return key


def make_durable(store: ObjectStore, key: str) -> None:
    """See to it that a local file outlives a power cut, with the folders that lead to it; S3 needs no word."""
    if not isinstance(store, LocalStore) or store.prefix is None:
        return
    root = Path(store.prefix)
    path = root / key
    for place in (path, *(folder for folder in path.parents if folder.is_relative_to(root))):
        handle = os.open(place, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _prefix(table: str) -> str:
    """The folder of a table, named `schema.table`."""
    schema, _, name = table.partition(".")
    return f"dms/{schema}/{name}"
