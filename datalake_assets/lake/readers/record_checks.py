"""What is asked of typed events beyond their contract: not to be dated ahead, and to keep the row rules of the file.

Belongs here: one piece of records in, those that are accepted out; the others, and what is counted, are noted with
their objects. Which records keep a rule is told by `row_rules.py`.
"""

from collections.abc import Sequence
from datetime import datetime

import polars as pl

from datalake_assets.lake.readers.event_columns import OBJECT
from datalake_assets.lake.readers.event_objects import EventObject
from datalake_assets.lake.readers.line_columns import LINE
from datalake_assets.lake.readers.rejects import rejected_line
from datalake_assets.lake.readers.row_rules import RowRules
from datalake_assets.lake.spec.columns import EVENT_TIME, ROW_NUMBER
from datalake_assets.lake.spec.dataset import EventStream
from datalake_assets.lake.store.key_times import named_time
from datalake_assets.lake.store.landing import LandedObject, partition_end
from datalake_assets.lake.store.lateness import lateness
from datalake_assets.lake.transforms.quality import TIMELINESS, VALIDITY

_LANDED_AT = "_landed_at"
_TIME = pl.Datetime("us", "UTC")


class RecordChecks:
    """The checks of one stream."""

    def __init__(self, dataset: EventStream) -> None:
        """Compile the row rules; nothing is read."""
        self._dataset = dataset
        self._score = dataset.quality.score
        self._rules = RowRules(dataset)

    def applied(self, objects: Sequence[EventObject], frame: pl.DataFrame) -> pl.DataFrame:
        """The records that are accepted, with what their score needs.

        The others are noted with their object as rejected, and lateness and what is counted with theirs.
        """
        frame = self._without_those_ahead(objects, frame)
        if self._rules:
            frame = self._by_rules(objects, frame)
        landed_at = pl.Series(_LANDED_AT, [_landed_at(item.landed) for item in objects], dtype=_TIME)
        timed = frame.select(OBJECT, EVENT_TIME, landed_at.gather(frame[OBJECT]))
        for n, late in lateness(timed, of=OBJECT, event_time=EVENT_TIME, landed_at=_LANDED_AT).items():
            objects[n].lateness = late
        if self._score.timeliness and self._score.timely_within:
            within = self._score.timely_within.total_seconds()
            seconds = (timed[_LANDED_AT] - timed[EVENT_TIME]).dt.total_milliseconds() / 1000
            frame = frame.with_columns((within / seconds.clip(lower_bound=within)).alias(TIMELINESS))
        return frame

    def _by_rules(self, objects: Sequence[EventObject], frame: pl.DataFrame) -> pl.DataFrame:
        verdicts = self._rules.verdicts(frame)
        rejected = self._rules.rejected(verdicts)
        origins = frame.filter(rejected).select(OBJECT, ROW_NUMBER, LINE).iter_rows()
        for (n, number, line), verdict in zip(origins, verdicts.filter(rejected).iter_rows(named=True), strict=True):
            objects[n].reject(rejected_line(number, line.encode(), self._rules.reasons(verdict)))
        frame, verdicts = frame.filter(~rejected), verdicts.filter(~rejected)
        counted = self._rules.counted_as
        for n, *counts in verdicts.select(frame[OBJECT], *counted).group_by(OBJECT).sum().iter_rows():
            objects[n].counted = dict(zip(counted.values(), counts, strict=True))
        if self._score.validity:
            frame = frame.with_columns(self._rules.validity(verdicts).alias(VALIDITY))
        return frame

    def _without_those_ahead(self, objects: Sequence[EventObject], frame: pl.DataFrame) -> pl.DataFrame:
        """The records without those dated too long after they landed.

        By the partition, which an object keeps: at any later reading the verdict is the same.
        """
        most = self._dataset.max_ahead
        if most is None:
            return frame
        ends = [partition_end(self._dataset, item.landed.partition) for item in objects]
        latest = pl.Series([end + most for end in ends], dtype=_TIME)
        is_ahead = frame[EVENT_TIME] > latest.gather(frame[OBJECT])
        ahead = frame.filter(is_ahead).select(OBJECT, ROW_NUMBER, LINE, pl.col(EVENT_TIME).dt.to_string("iso"))
        for n, number, line, moment in ahead.iter_rows():
            rule = f"/{self._dataset.event_time.column} max_ahead"
            reason = f"{rule}: {moment} is more than {most} after {ends[n]}, when its landing partition ended"
            objects[n].reject(rejected_line(number, line.encode(), (reason,)))
        return frame.filter(~is_ahead)


def _landed_at(landed: LandedObject) -> datetime:
    return named_time(landed.key) or landed.last_modified
