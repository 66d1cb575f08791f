"""Deleting the files that a table needs no more."""

from collections.abc import Iterable
from contextlib import suppress
from datetime import timedelta

import obstore
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError

from datalake_assets.lake.store.object_store import answered, store_and_key

_WRITERS_HOURS = 1


def delete_dead_files(handle: DeltaTable, *, retention: timedelta) -> tuple[int, int]:
    """Delete the files that a table has not needed for some time; returns how many those were, and their bytes.

    A file that no commit names is kept for an hour in any case: a writer may be about to commit it.
    """
    hours = max(0, int(retention / timedelta(hours=1)))
    named, size = (0, 0) if hours >= _WRITERS_HOURS else _delete(handle, hours=hours, full=False)
    # The log names files that went for a while only, and never those of a writer that was killed.
    unnamed, more = _delete(handle, hours=max(hours, _WRITERS_HOURS), full=True)
    return named + unnamed, size + more


def _delete(handle: DeltaTable, *, hours: int, full: bool) -> tuple[int, int]:
    def vacuum(*, dry_run: bool) -> list[str]:
        return answered(
            lambda: handle.vacuum(retention_hours=hours, dry_run=dry_run, enforce_retention_duration=False, full=full)
        )

    named = vacuum(dry_run=True)
    sizes = _sizes(handle.table_uri, named) if named else []
    if sizes:  # the log goes on to name files that are deleted already
        with suppress(DeltaError):  # somebody else is at it, or commits: the next time will do
            vacuum(dry_run=False)
    return len(sizes), sum(sizes)


def _sizes(uri: str, paths: Iterable[str]) -> list[int]:
    """The sizes of those files that are there."""
    store, start = store_and_key(uri.removeprefix("file://"), "")
    found = answered(lambda: [meta for chunk in obstore.list(store, start or None) for meta in chunk])
    sizes = {meta["path"].removeprefix(start).lstrip("/"): meta["size"] for meta in found}
    return [sizes[path] for path in paths if path in sizes]
