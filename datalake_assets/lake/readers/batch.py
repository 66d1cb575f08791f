"""What a reader is given and what it gives: landed bytes within limits in, columns, verdicts and counts out."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import narwhals as nw
import polars as pl

from datalake_assets.lake.store.landing import LandedObject
from datalake_assets.lake.store.outcome import ObjectOutcome

Load = Callable[[LandedObject], bytes]
"""Gives an object's landed bytes, after checking that they still are those of this very object.

Raises `MissingObjectError`, `SupersededObjectError` or `TooLargeObjectError`; any other exception is a failure of this
one object, which is tried again later.
"""


_BATCHES_IN_MEMORY = 20
_PIECES_OF_A_BATCH = 3
_TEXTS_IN_MEMORY = 20
_BYTES_OF_A_VIEW = 16
_BYTES_OF_A_COLUMN = 1024


@dataclass(frozen=True, slots=True)
class Limits:
    """How much of a landed object is held in memory.

    `object_bytes`: what one object may unpack to; one that is larger is not read at all. `record_bytes`: the longest
    record of an object; a longer one is rejected, and the others of its object are read. `memory_bytes`: what a step
    may take in all, the objects at hand aside; readers cut their batches by it, of changes also inside one object.
    """

    object_bytes: int = 1024**3
    record_bytes: int = 64 * 1024**2
    memory_bytes: int = 2 * 1024**3

    @property
    def text_bytes(self) -> int:
        """How much text a batch of events may come from: 102 MiB by default, of which a step takes about 1.6 GB."""
        return self.memory_bytes // _TEXTS_IN_MEMORY

    @property
    def batch_bytes(self) -> int:
        """How large a batch of typed columns may be: while one is written another is read, and each is held twice."""
        return self.memory_bytes // _BATCHES_IN_MEMORY

    @property
    def piece_bytes(self) -> int:
        """How many bytes of columns, as a file has them, are typed at once."""
        return self.batch_bytes // _PIECES_OF_A_BATCH


@dataclass(frozen=True, slots=True)
class Batch:
    """Some landed objects, or parts of them, read.

    `accepted` has the dataset's columns and those the lake adds; it lies where the engine computes, while `rejected`,
    which has the columns of quarantine, is with the process that leads the step, whatever the engine. `outcomes` has
    one entry for each object that is read to its end, in their order, and `rejected` all rejects of these; `unfinished`
    tells of those of which more is to come, as far as they are read. `bytes_in` is the size of the objects that were
    read to their ends, as they landed.
    """

    accepted: nw.LazyFrame[Any]
    rejected: pl.DataFrame
    outcomes: tuple[ObjectOutcome, ...]
    bytes_in: int
    unfinished: tuple[ObjectOutcome, ...] = ()

    @property
    def begun(self) -> tuple[ObjectOutcome, ...]:
        """What `accepted` has records of, be it read to the end or not."""
        return tuple(o for o in (*self.outcomes, *self.unfinished) if o.is_read)


def held_bytes(frame: pl.DataFrame) -> int:
    """How many bytes of memory a frame takes: Polars leaves out what each text and each column takes by itself.

    Of a text that is its view of 16 bytes, be it null or short; of a column about a KB, however few its rows are.
    """
    texts = sum(dtype in {pl.String, pl.Binary} for dtype in frame.dtypes)
    views = texts * frame.height * _BYTES_OF_A_VIEW
    return int(frame.estimated_size()) + views + frame.width * _BYTES_OF_A_COLUMN
