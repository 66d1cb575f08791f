"""The reader of a dataset, by its kind; any process that has the dataset can make one."""

from collections.abc import Iterable, Iterator
from typing import Protocol

import polars as pl

from datalake_assets.lake.readers.batch import Batch, Limits, Load
from datalake_assets.lake.readers.changes import ChangeReader
from datalake_assets.lake.readers.events import EventReader
from datalake_assets.lake.spec.dataset import Dataset, EventStream
from datalake_assets.lake.store.landing import LandedObject


class Reader(Protocol):
    """Reads landed objects of one dataset."""

    @property
    def schema(self) -> pl.Schema:
        """The columns of what is accepted."""

    def batches(self, load: Load, objects: Iterable[LandedObject]) -> Iterator[Batch]:
        """The objects in batches that fit in memory."""


def reader_of(dataset: Dataset, limits: Limits) -> Reader:
    """The reader of a dataset's landed objects."""
    return EventReader(dataset, limits) if isinstance(dataset, EventStream) else ChangeReader(dataset, limits)
