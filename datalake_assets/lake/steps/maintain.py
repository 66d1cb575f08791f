"""Keeping all tables of a lake lean: what `datalake maintain` and the nightly asset do."""

from collections.abc import Iterator
from datetime import timedelta

from datalake_assets.lake.lake import Lake
from datalake_assets.lake.store.conflicts import ConflictError
from datalake_assets.lake.store.upkeep import Upkeep, keep_up


def maintain(lake: Lake, *, retention: timedelta) -> Iterator[Upkeep | str]:
    """Put small files together and delete dead ones, table by table.

    Yields what was done for each table that there is; a line of text for one whose writers left no room for it.
    `retention` is how long the files of an older state are kept: a reader that opened a table within it finds them.
    """
    lake = lake.as_found()
    for spec in lake.specs():
        try:
            done = keep_up(lake.table(spec), retention=retention)
        except ConflictError as error:
            yield f"{spec.sql_name}: {error}"
        else:
            if done is not None:
                yield done
