"""How landed events are read: bytes to typed columns under the dataset's contract.

Objects are loaded by one thread and read by others, which run ahead of whoever writes: lines are cut, typed and hashed
by Polars, which leaves Python to them all; what is left to the parser is Python's. Small objects share the work of a
piece; where a piece can't be read, each of its objects is read alone, so that only the one at fault fails.
"""

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain, groupby
from operator import itemgetter

import narwhals as nw
import polars as pl
import polars_hash  # noqa: F401  (registers the `chash` namespace)

from datalake_assets.lake.readers.batch import Batch, Limits, Load
from datalake_assets.lake.readers.event_columns import OBJECT, EventColumns, RawColumns
from datalake_assets.lake.readers.event_objects import EventObject
from datalake_assets.lake.readers.event_text import event_texts
from datalake_assets.lake.readers.failures import failure_of
from datalake_assets.lake.readers.fetching import fetched
from datalake_assets.lake.readers.line_columns import LINE
from datalake_assets.lake.readers.read_ahead import in_parallel, read_ahead
from datalake_assets.lake.readers.record_checks import RecordChecks
from datalake_assets.lake.readers.records import RecordReader
from datalake_assets.lake.readers.rejects import as_frame, rejected_line
from datalake_assets.lake.spec.columns import (
    ETL_TIMESTAMP,
    EVENT_DATE,
    EVENT_TIME,
    RECORD_HASH,
    ROW_NUMBER,
    SOURCE_FILENAME,
)
from datalake_assets.lake.spec.dataset import EventStream
from datalake_assets.lake.store.landing import LandedObject

_THREADS = 4  # more than two cores, as each waits for Polars' threads, or for Python's lock, in turn
_PIECE_BYTES = 8 * 1024 * 1024
_JSON_SPACE = " \t\r\n"
_TIME = pl.Datetime("us", "UTC")


@dataclass(slots=True)
class _Piece:
    """Some objects and the accepted records of all."""

    objects: list[EventObject]
    frame: pl.DataFrame


class EventReader:
    """Reads the objects of one event stream."""

    def __init__(self, dataset: EventStream, limits: Limits) -> None:
        """Compile the dataset's contract; nothing is read."""
        self._dataset = dataset
        self._limits = limits
        self._of_thread = threading.local()
        self._columns = EventColumns(self._records.fields, event_time=dataset.event_time)
        self._checks = RecordChecks(dataset)
        self._no_rows = self._typed([], self._values([]).frame()).frame

    @property
    def _records(self) -> RecordReader:
        """Each thread has its own: it learns while it reads."""
        if not hasattr(self._of_thread, "records"):
            self._of_thread.records = RecordReader(self._dataset, record_bytes=self._limits.record_bytes)
        records: RecordReader = self._of_thread.records
        return records

    @property
    def schema(self) -> pl.Schema:
        """The columns of what is accepted."""
        return pl.Schema({**self._no_rows.schema, ETL_TIMESTAMP: _TIME})

    def batches(self, load: Load, objects: Iterable[LandedObject]) -> Iterator[Batch]:
        """The objects in batches as large as memory allows, read ahead of their use; a failing one stops no other."""
        loaded = read_ahead(self._together(self._loaded(*item) for item in fetched(load, objects)), depth=1)
        pieces = in_parallel(self._pieces, loaded, threads=_THREADS)
        return self._batches(chain.from_iterable(pieces))

    def _loaded(self, landed: LandedObject, data: Callable[[], bytes]) -> EventObject:
        """An object with its texts, or with the reason why it can't be read."""
        item = EventObject(landed)
        try:
            path = landed.key[len(self._dataset.landing.prefix) + 1 :]
            found = event_texts(path, data(), self._dataset, limit=self._limits.object_bytes)
            item.texts, item.cut = found.texts, found.cut
            item.size = sum(len(text.text) for text in found.texts)
        except BaseException as error:  # noqa: BLE001  (a Rust panic too is the object's; `failure_of` raises others)
            item.fail(failure_of(error))
        return item

    def _together(self, loaded: Iterable[EventObject]) -> Iterator[list[EventObject]]:
        """Objects of about 8 MiB of text together."""
        objects: list[EventObject] = []
        size = 0
        for item in loaded:
            objects.append(item)
            size += item.size
            if size >= _PIECE_BYTES:
                yield objects
                objects, size = [], 0
        if objects:
            yield objects

    def _values(self, objects: Sequence[EventObject]) -> RawColumns:
        """The values of the objects' records, as parsed; rejects are noted with their object."""
        raw = self._columns.raw_columns()
        for n, item in enumerate(objects):
            number = 0
            for text in item.texts:
                item.note(text.reason if text.has_records else None, since=number + 1)
                if text.has_records:
                    for records in self._records.parse(text.text, after=number):
                        number = records.last
                        item.rejected.extend(records.rejected)
                        raw.add(records, of=n)
                else:
                    number += 1
                    item.rejected.append(rejected_line(number, text.text, (text.reason or "",)))
            item.end(number)
        return raw

    def _pieces(self, objects: list[EventObject]) -> list[_Piece]:
        """The objects as one piece; where something in them can't be read, as one piece for each."""
        try:
            return [self._typed(objects, self._values(objects).frame())]
        except BaseException as error:  # noqa: BLE001  (as in `_loaded`)
            failure_of(error)
        return [self._alone(item) for item in objects]

    def _alone(self, item: EventObject) -> _Piece:
        """An object as a piece of its own, without records where it can't be read."""
        if item.failure:
            return _Piece([item], self._no_rows)
        item.begin_again()
        try:
            return self._typed([item], self._values([item]).frame())
        except BaseException as error:  # noqa: BLE001  (as in `_loaded`)
            item.fail(failure_of(error))
            return _Piece([item], self._no_rows)

    def _typed(self, objects: list[EventObject], values: pl.DataFrame) -> _Piece:
        """The records typed and hashed, without those that the authority rejects."""
        frame, doubtful = self._columns.typed(values)
        if doubtful:
            judged, _ = self._columns.typed(self._judged(objects, values[doubtful]))
            trusted = ~pl.int_range(pl.len()).is_in(doubtful)
            frame = pl.concat([frame.filter(trusted), judged])
        if frame[EVENT_TIME].null_count():
            frame = self._columns.with_odd_times(frame)
        frame = self._checks.applied(objects, frame)
        line = pl.col(LINE).str.strip_chars(_JSON_SPACE)
        frame = frame.with_columns(
            line.chash.sha2_256().alias(RECORD_HASH),  # type: ignore[attr-defined]  # polars_hash registers `chash`
            pl.col(EVENT_TIME).dt.date().alias(EVENT_DATE),
        )
        counted = frame.group_by(OBJECT).agg(pl.len(), pl.col(EVENT_DATE).unique().alias("dates"))
        for n, accepted, dates in counted.iter_rows():
            objects[n].accepted, objects[n].dates = accepted, dates
        keys = pl.Series(SOURCE_FILENAME, [item.landed.key for item in objects], dtype=pl.String)
        frame = frame.drop(OBJECT, LINE).with_columns(keys.gather(frame[OBJECT]))
        for item in objects:
            item.release()
        return _Piece(objects, frame)

    def _judged(self, objects: Sequence[EventObject], doubtful: pl.DataFrame) -> pl.DataFrame:
        """Those of some records that the authority accepts after all; its rejects are noted with their object."""
        raw = self._columns.raw_columns()
        origins = doubtful.select(OBJECT, ROW_NUMBER, LINE).iter_rows()
        for n, own in groupby(origins, key=itemgetter(0)):
            judged = self._records.judge_lines((number, line.encode()) for _, number, line in own)
            for reject in judged.rejected:
                objects[n].reject(reject)
            raw.add(judged, of=n)
        return raw.frame()

    def _batches(self, pieces: Iterator[_Piece]) -> Iterator[Batch]:
        waiting: list[_Piece] = []
        size = 0
        for piece in pieces:
            waiting.append(piece)
            size += sum(item.size for item in piece.objects)
            if size >= self._limits.text_bytes:
                yield self._batch(waiting)
                waiting, size = [], 0
        if waiting:
            yield self._batch(waiting)

    def _batch(self, pieces: Sequence[_Piece]) -> Batch:
        now = datetime.now(UTC)
        objects = [item for piece in pieces for item in piece.objects]
        accepted = pl.concat([piece.frame for piece in pieces])
        rejected = as_frame(((item.landed, item.rejects) for item in objects), dataset=self._dataset.name, at=now)
        stamped = accepted.lazy().with_columns(pl.lit(now, dtype=_TIME).alias(ETL_TIMESTAMP))
        return Batch(
            accepted=nw.from_native(stamped),
            rejected=rejected,
            outcomes=tuple(item.outcome for item in objects),
            bytes_in=sum(item.landed.size for item in objects if item.failure is None or item.failure.final),
        )
