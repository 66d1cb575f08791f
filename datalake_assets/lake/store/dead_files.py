"""Deleting the files that a table needs no more."""

from collections.abc import Iterable
from contextlib import suppress
from datetime import timedelta

import obstore
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError
from obstore.store import from_url

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
    named = handle.vacuum(retention_hours=hours, dry_run=True, enforce_retention_duration=False, full=full)
    sizes = _sizes(handle.table_uri, named) if named else []
    if sizes:  # the log goes on to name files that are deleted already
        with suppress(DeltaError):  # somebody else is at it, or commits: the next time will do
            handle.vacuum(retention_hours=hours, dry_run=False, enforce_retention_duration=False, full=full)
    return len(sizes), sum(sizes)


def _sizes(uri: str, paths: Iterable[str]) -> list[int]:
    """The sizes of those files that are there."""
    store = from_url(uri if "://" in uri else f"file://{uri}")
    listed = {meta["path"]: meta["size"] for chunk in obstore.list(store) for meta in chunk}
    return [listed[path] for path in paths if path in listed]
