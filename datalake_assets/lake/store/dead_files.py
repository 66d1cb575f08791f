"""Deleting the files that a table needs no more."""

import os
from contextlib import suppress
from datetime import timedelta

from deltalake import DeltaTable
from deltalake.exceptions import DeltaError


def delete_dead_files(handle: DeltaTable, *, retention: timedelta) -> tuple[int, int]:
    """Delete the files that a table has not needed for some time; returns how many, and the bytes of local ones."""
    hours = max(0, int(retention / timedelta(hours=1)))
    # Full: the log names files that went for a while only, and never those of a writer that was killed.
    dead = handle.vacuum(retention_hours=hours, dry_run=True, enforce_retention_duration=False, full=True)
    if not dead:
        return 0, 0
    size = 0
    if "://" not in handle.table_uri or handle.table_uri.startswith("file://"):
        root = handle.table_uri.removeprefix("file://")
        for path in dead:
            with suppress(OSError):
                size += os.path.getsize(os.path.join(root, path))  # noqa: PTH118, PTH202
    with suppress(DeltaError):  # somebody else is at it, or commits: the next time will do
        dead = handle.vacuum(retention_hours=hours, dry_run=False, enforce_retention_duration=False, full=True)
    return len(dead), size
