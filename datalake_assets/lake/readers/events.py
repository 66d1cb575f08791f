"""How Polars reads landed events: bytes to typed columns under the dataset's contract.

Objects pass through stages, each in a thread that runs ahead of the next: loading, parsing (Python), typing and
hashing (Polars, which leaves Python to the others). Belongs here: the stages, and what is told of each object.
"""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from itertools import accumulate, groupby

import narwhals as nw
import obstore
import polars as pl
from obstore.store import ObjectStore

from datalake_assets.lake.readers.batch import Batch
from datalake_assets.lake.readers.columns import dtype_of, record_hash
from datalake_assets.lake.readers.contract import Contract, Reject, UnreadableObjectError, decompress
from datalake_assets.lake.readers.event_columns import EventColumns
from datalake_assets.lake.readers.read_ahead import read_ahead
from datalake_assets.lake.spec.columns import (
    ETL_TIMESTAMP,
    EVENT_DATE,
    EVENT_TIME,
    RECORD_HASH,
    SOURCE_FILENAME,
    UNKNOWN,
)
from datalake_assets.lake.spec.dataset import EventStream
from datalake_assets.lake.store import quarantine
from datalake_assets.lake.store.landing import LandedObject
from datalake_assets.lake.store.step import ObjectOutcome

_PIECE_BYTES = 16 * 1024 * 1024
_BATCH_BYTES = 192 * 1024 * 1024
_OBJECT = "_object"


@dataclass(slots=True)
class _Object:
    """A landed object as far as it was read; `size` is that of its text, `error` tells why it could not be read."""

    landed: LandedObject
    size: int = 0
    lines: list[bytes] = field(default_factory=list)
    error: str | None = None
    row_numbers: list[int] = field(default_factory=list)
    rejected: list[Reject] = field(default_factory=list)
    accepted: int = 0
    dates: list[date] = field(default_factory=list)


@dataclass(slots=True)
class _Piece:
    """Some objects and the accepted records of all, in their order, with `_object` for where each came from."""

    objects: list[_Object]
    frame: pl.DataFrame


class EventReader:
    """Reads the objects of one event stream."""

    def __init__(self, dataset: EventStream) -> None:
        """Compile the dataset's contract."""
        self._dataset = dataset
        self._contract = Contract(dataset)
        self._columns = EventColumns(self._contract.fields, event_time=dataset.event_time)

    def batches(self, store: ObjectStore, objects: Sequence[LandedObject]) -> Iterator[Batch]:
        """The objects in batches of about 192 MiB of text, read ahead of their use."""
        loaded = read_ahead((_load(store, o) for o in objects), depth=2)
        parsed = read_ahead(self._parsed(loaded), depth=2)
        typed = read_ahead((self._typed(piece) for piece in parsed), depth=2)
        return read_ahead(self._batches(typed), depth=1)

    def _parsed(self, loaded: Iterator[_Object]) -> Iterator[_Piece]:
        """The objects' records as parsed, in pieces of about 16 MiB of text, so that small objects share work."""
        objects: list[_Object] = []
        carriers = self._columns.carriers()
        size = 0
        for item in loaded:
            for records in self._contract.parse(item.lines):
                item.row_numbers.extend(records.row_numbers)
                item.rejected.extend(records.rejected)
                carriers.add(records)
            objects.append(item)
            size += item.size
            if size >= _PIECE_BYTES:
                yield _Piece(objects, carriers.frame().with_columns(_origins(len(o.row_numbers) for o in objects)))
                objects, carriers, size = [], self._columns.carriers(), 0
        if objects:
            yield _Piece(objects, carriers.frame().with_columns(_origins(len(o.row_numbers) for o in objects)))

    def _typed(self, piece: _Piece) -> _Piece:
        """The piece with its columns typed and its records hashed, without those that the authority rejects."""
        frame, doubtful = self._columns.typed(piece.frame)
        if doubtful:
            judged, _ = self._columns.typed(self._judged(piece.objects, doubtful))
            trusted = ~pl.int_range(pl.len()).is_in(doubtful)
            frame = pl.concat([frame.filter(trusted), judged])
        if frame[EVENT_TIME].null_count():
            frame = self._columns.with_odd_times(frame)
        frame = self._hashed(frame)
        counted = frame.group_by(_OBJECT).agg(pl.len(), pl.col(EVENT_DATE).unique().alias("dates"))
        for n, accepted, dates in counted.iter_rows():
            piece.objects[n].accepted, piece.objects[n].dates = accepted, dates
        for item in piece.objects:
            item.lines, item.row_numbers = [], []
        keys = pl.Series(SOURCE_FILENAME, [item.landed.key for item in piece.objects], dtype=pl.String)
        return _Piece(piece.objects, frame.drop(_OBJECT).with_columns(keys.gather(frame[_OBJECT])))

    def _judged(self, objects: list[_Object], positions: Sequence[int]) -> pl.DataFrame:
        """The records of a piece that the authority accepts after all; its rejects are noted with their object."""
        ends = list(accumulate(len(item.row_numbers) for item in objects))
        carriers = self._columns.carriers()
        heights = [0] * len(objects)
        for n, own in groupby(positions, key=lambda position: bisect_right(ends, position)):
            item = objects[n]
            begin = ends[n] - len(item.row_numbers)
            judged = self._contract.judge_lines(item.lines, [item.row_numbers[p - begin] for p in own])
            heights[n] = len(judged.accepted)
            item.rejected = sorted([*item.rejected, *judged.rejected], key=lambda reject: reject.row_number)
            carriers.add(judged)
        return carriers.frame().with_columns(_origins(heights))

    def _hashed(self, frame: pl.DataFrame) -> pl.DataFrame:
        typed = {name: dtype_of(t) for name, t in self._contract.fields.types.items()} | {UNKNOWN: pl.String()}
        with_nulls = [name for name in typed if frame[name].null_count()]
        return frame.with_columns(
            record_hash(typed, with_nulls=with_nulls).alias(RECORD_HASH), pl.col(EVENT_TIME).dt.date().alias(EVENT_DATE)
        )

    def _batches(self, pieces: Iterator[_Piece]) -> Iterator[Batch]:
        waiting: list[_Piece] = []
        size = 0
        for piece in pieces:
            waiting.append(piece)
            size += sum(item.size for item in piece.objects)
            if size >= _BATCH_BYTES:
                yield self._batch(waiting)
                waiting, size = [], 0
        if waiting:
            yield self._batch(waiting)

    def _batch(self, pieces: Sequence[_Piece]) -> Batch:
        now = datetime.now(UTC)
        objects = [item for piece in pieces for item in piece.objects]
        accepted = pl.concat([piece.frame for piece in pieces])
        rejected = [self._quarantined(item, at=now) for item in objects if item.rejected]
        stamped = accepted.lazy().with_columns(pl.lit(now, dtype=pl.Datetime("us", "UTC")).alias(ETL_TIMESTAMP))
        dates: defaultdict[str, set[date]] = defaultdict(set)
        for item in objects:
            if item.dates:
                dates[item.landed.partition].update(item.dates)
        return Batch(
            accepted=nw.from_native(stamped),
            rejected=nw.from_native(pl.concat([quarantine.SCHEMA.to_frame(), *rejected]).lazy()),
            outcomes=tuple(_outcome(item) for item in objects),
            event_dates={partition: tuple(sorted(days)) for partition, days in dates.items()},
            bytes_in=sum(item.landed.size for item in objects),
        )

    def _quarantined(self, item: _Object, *, at: datetime) -> pl.DataFrame:
        return quarantine.as_frame(
            item.rejected,
            dataset=self._dataset.name,
            partition=item.landed.partition,
            source_filename=item.landed.key,
            at=at,
        )


def _load(store: ObjectStore, landed: LandedObject) -> _Object:
    """An object with its text, or with the reason why it can't be read as its one reject."""
    try:
        text = decompress(bytes(obstore.get(store, landed.key).bytes()))
    except FileNotFoundError:
        error = "not found any more; it was deleted after it was admitted"
    except UnreadableObjectError as fault:
        error = str(fault)
    else:
        return _Object(landed, len(text), text.split(b"\n"))
    return _Object(landed, error=error, rejected=[Reject(0, "", (f"object: {error}",))])


def _outcome(item: _Object) -> ObjectOutcome:
    landed = item.landed
    lost = 0 if item.error else len(item.rejected)
    return ObjectOutcome(
        key=landed.key,
        etag=landed.etag,
        size=landed.size,
        partition=landed.partition,
        rows_in=item.accepted + lost,
        rows_out=item.accepted,
        rows_rejected=lost,
        error=item.error,
    )


def _origins(heights: Iterable[int]) -> pl.Series:
    """For each record the number (from 0) of its object in the piece; `heights` are the objects' records."""
    frame = pl.DataFrame({"height": list(heights)}, {"height": pl.UInt32}).with_row_index("n")
    return frame.filter(pl.col("height") > 0).select(pl.col("n").repeat_by("height").explode().alias(_OBJECT))[_OBJECT]
