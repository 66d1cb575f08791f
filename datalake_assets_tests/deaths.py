"""Deaths: a process that is killed after any of its commits, as SIGKILL would kill it.

Between two commits nothing changes that anybody sees, so these moments stand for all.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import pytest

from datalake_assets.lake.store.table import Snapshot

COMMITS = ("change", "replace", "swap")
Place = TypeVar("Place")


class DiedError(BaseException):
    """Stands for SIGKILL: nothing may catch it and go on."""


@contextmanager
def mortal(*, at: int | None = None) -> Iterator[list[str]]:
    """Within the block, die after commit number `at` (from 0; None: never); gives the commits made, by table."""
    made: list[str] = []

    def dying(commit: Callable[..., Any]) -> Callable[..., Any]:
        def committed(seen: Snapshot, *args: Any, **kwargs: Any) -> Any:
            version = commit(seen, *args, **kwargs)
            made.append(seen.table.spec.sql_name)
            if at == len(made) - 1:
                raise DiedError
            return version

        return committed

    with pytest.MonkeyPatch.context() as patch:
        for name in COMMITS:
            patch.setattr(Snapshot, name, dying(getattr(Snapshot, name)))
        yield made


def deaths(copy: Callable[[str], Place], work: Callable[[Place], object]) -> Iterator[tuple[str, Place]]:
    """A copy of a place for each moment at which the work can die, dead at that moment.

    `copy` makes a copy under a name; the moment is told as the number of the commit and its table.
    """
    with mortal() as commits:
        work(copy("alive"))
    for n, table in enumerate(commits):
        place = copy(f"died-{n}")
        with mortal(at=n), pytest.raises(DiedError):
            work(place)
        yield f"after commit {n}, {table}", place
