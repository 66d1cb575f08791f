"""What the names of files tell that AWS DMS lands: when their rows were committed, and in which order they came."""

from datetime import datetime

from datalake_assets.lake.store.key_times import FIRST, named_time
from datalake_assets.lake.store.landing import landing_time


def commit_time(path: str, last_modified: datetime) -> datetime:
    """The commit time of rows that tell none: that of their file, whatever folder it lies in."""
    return named_time(path) or landing_time(path, last_modified)


def file_time(path: str) -> datetime:
    """By what a file sorts among those of its table: the time in its name, whatever folder it lies in, or its hour."""
    return named_time(path) or landing_time(path, FIRST)
