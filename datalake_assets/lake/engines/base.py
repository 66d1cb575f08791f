"""What an engine can do: the few verbs that steps are written in.

A step reads batches, passes them through transforms (Narwhals frames), and writes tables; an engine supplies the
reading, the writing and the handful of functions that Narwhals lacks. An engine for Spark implements this protocol
and nothing else changes.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import date
from typing import Any, Protocol

import narwhals as nw
from obstore.store import ObjectStore

from datalake_assets.lake.readers.batch import Batch
from datalake_assets.lake.spec.dataset import CdcTable, EventStream
from datalake_assets.lake.spec.parts import Column
from datalake_assets.lake.store.landing import LandedObject
from datalake_assets.lake.store.step import ObjectOutcome


class Engine(Protocol):
    """Where a step computes."""

    @property
    def name(self) -> str:
        """The engine's name in reports: `polars` or `spark`."""

    def read_events(self, dataset: EventStream, store: ObjectStore, objects: Sequence[LandedObject]) -> Iterator[Batch]:
        """Read JSON objects under the dataset's contract, in batches that fit in memory."""

    def read_changes(self, dataset: CdcTable, store: ObjectStore, objects: Sequence[LandedObject]) -> Iterator[Batch]:
        """Read DMS objects into typed changes, in batches that fit in memory."""

    def scan(
        self, uri: str, *, dates: Collection[date | None] | None = None, columns: Mapping[str, Column] | None = None
    ) -> nw.LazyFrame[Any] | None:
        """A table, or its rows of some event dates; None when there is no such table.

        Those of `columns` that the table does not have yet (a dataset gained them since) are null.
        """

    def compute(self, frame: nw.LazyFrame[Any]) -> nw.LazyFrame[Any]:
        """The frame computed once, so that using it again does not compute it again."""

    def rows(self, frame: nw.LazyFrame[Any]) -> list[dict[str, Any]]:
        """A small frame as Python rows."""

    def conform(self, frame: nw.LazyFrame[Any], columns: dict[str, Column]) -> nw.LazyFrame[Any]:
        """The frame's columns in the order and the types given; raises when a value would be changed by that."""

    def append(
        self, uri: str, frame: nw.LazyFrame[Any], *, partition_by: Sequence[str], touched: Collection[date]
    ) -> None:
        """Add rows in one commit."""

    def merge(
        self,
        uri: str,
        frame: nw.LazyFrame[Any],
        *,
        key: Sequence[str],
        dates: Collection[date | None] | None,
        touched: Collection[date],
        deleted: str | None = None,
        partition_by: Sequence[str] = (),
    ) -> None:
        """Update or insert rows (one per key) in one commit, reading only the target's event dates `dates`."""

    def replace(
        self,
        uri: str,
        frame: nw.LazyFrame[Any],
        *,
        dates: Collection[date] | None,
        partition_by: Sequence[str],
        touched: Collection[date],
    ) -> None:
        """Put rows in the place of those of some event dates (None: of all) in one commit."""

    def replace_rejects(self, uri: str, rejected: nw.LazyFrame[Any], outcomes: Sequence[ObjectOutcome]) -> None:
        """Put the rejects of these objects in the place of those they had."""
