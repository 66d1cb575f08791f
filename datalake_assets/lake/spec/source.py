"""What the kinds of dataset have in common: names, key, thresholds, and the two hashes that identify them.

Belongs here: the rules that hold for both kinds. What an event stream or a replicated table is, is in `dataset.py`.
"""

import difflib
from abc import abstractmethod
from collections.abc import Collection
from typing import Annotated, Any, ClassVar

from pydantic import Field

from datalake_assets.lake.spec.column_names import check_column_name
from datalake_assets.lake.spec.columns import ADDED_COLUMNS
from datalake_assets.lake.spec.fault import FaultError
from datalake_assets.lake.spec.parts import Column, EventTime, Landing, Part, RunnerChoice
from datalake_assets.lake.spec.shape import canonical, fingerprint

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$", max_length=100)]


class Source(Part):
    """What both kinds of dataset have."""

    name: Name
    description: Annotated[str, Field(min_length=1)]
    owner: Annotated[str, Field(pattern=r"^(team:[A-Za-z0-9_.-]+|[^@\s]+@[^@\s]+)$")]
    landing: Landing
    key: tuple[str, ...] = ()
    _columns_at: ClassVar[tuple[str, ...]] = ()
    max_rejected_fraction: Annotated[float, Field(ge=0, le=1)] = 0.05
    min_records: Annotated[int, Field(ge=1)] = 20
    runner: RunnerChoice | None = None

    @property
    def contract(self) -> str:
        """A short hash of all that decides how a record is read.

        What only describes, owners, thresholds and the runner have no part in it, nor has the order of keys.
        """
        return fingerprint(canonical(self._reading))

    @property
    def shape_text(self) -> str:
        """What decides the form of the dataset's tables, as JSON text that `shape_difference` compares."""
        return canonical(self._shape)

    @property
    def shape(self) -> str:
        """A short hash of `shape_text`: tables of another shape must be built anew."""
        return fingerprint(self.shape_text)

    @property
    @abstractmethod
    def _reading(self) -> dict[str, Any]:
        """What decides how a record is read."""

    @property
    @abstractmethod
    def _shape(self) -> dict[str, Any]:
        """What decides the form of the tables."""

    @property
    def _taken_columns(self) -> frozenset[str]:
        """The names that the lake gives to columns of its own beside the declared ones."""
        return ADDED_COLUMNS

    def check_columns(self, declared: dict[str, Column], event_time: EventTime | None) -> None:
        """Check the names of the declared columns, and that the key and the event time are among them.

        Raises `FaultError` for the first that is wrong.
        """
        folded = [name.lower() for name in declared]
        for name in declared:
            check_column_name(name, at=(*self._columns_at, name), taken=self._taken_columns)
            if folded.count(name.lower()) > 1:
                raise FaultError(
                    f"column {name!r} is declared twice (case does not tell columns apart); rename one",
                    at=(*self._columns_at, name),
                )
        for n, name in enumerate(self.key):
            if name not in declared:
                raise FaultError(
                    f"key column {name!r} is not declared; {remedy(name, declared, 'take it out of `key`')}",
                    at=("key", str(n)),
                )
            if name in self.key[:n]:
                raise FaultError(f"key column {name!r} stands twice; keep one", at=("key", str(n)))
        if event_time and event_time.column not in declared:
            raise FaultError(
                f"event_time column {event_time.column!r} is not declared; "
                f"{remedy(event_time.column, declared, 'name one that is')}",
                at=("event_time", "column"),
            )


def remedy(name: str, declared: Collection[str], otherwise: str) -> str:
    """What to do about a name that is not declared: the declared one that it resembles, or `otherwise`."""
    near = difflib.get_close_matches(name, declared, n=1, cutoff=0.75)
    return f"did you mean {near[0]!r}?" if near else f"declare it, or {otherwise}"
