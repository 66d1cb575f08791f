"""What a reader is given and what it gives: landed bytes within limits in, columns, verdicts and counts out."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import narwhals as nw

from datalake_assets.lake.store.landing import LandedObject
from datalake_assets.lake.store.outcome import ObjectOutcome

Load = Callable[[LandedObject], bytes]
"""Gives an object's landed bytes, after checking that they still are those of this very object.

Raises `MissingObjectError`, `SupersededObjectError` or `TooLargeObjectError`; any other exception is a failure of this
one object, which is tried again later.
"""


@dataclass(frozen=True, slots=True)
class Limits:
    """How much of a landed object is held in memory.

    `object_bytes`: what one object may unpack to; one that is larger is not read at all. `record_bytes`: the longest
    record of an object; a longer one is rejected, and the others of its object are read.
    """

    object_bytes: int = 1024**3
    record_bytes: int = 64 * 1024**2


@dataclass(frozen=True, slots=True)
class Batch:
    """Some landed objects, read.

    `accepted` has the dataset's columns and those the lake adds, `rejected` the columns of quarantine. `outcomes` has
    one entry for each object, in their order. `bytes_in` is the size of the objects that were read, as they landed.
    """

    accepted: nw.LazyFrame[Any]
    rejected: nw.LazyFrame[Any]
    outcomes: tuple[ObjectOutcome, ...]
    bytes_in: int
