"""How the files that DMS lands are read: Parquet and CSV of full loads and changes, part by part, into batches.

A file that can't be read fails alone, whatever of it makes a library raise or panic, and the others go on. What becomes
of its rows is told by `change_rows.py`.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import takewhile
from threading import Event

import narwhals as nw
import polars as pl

from datalake_assets.lake.readers.batch import Batch, Limits, Load, held_bytes
from datalake_assets.lake.readers.change_parts import Part, Verdict
from datalake_assets.lake.readers.change_rows import ChangeRows
from datalake_assets.lake.readers.dms_pieces import Pieces, pieces_of
from datalake_assets.lake.readers.failures import Failure, failure_of
from datalake_assets.lake.readers.fetching import fetched
from datalake_assets.lake.readers.found_types import lake_types
from datalake_assets.lake.readers.parquet_pieces import ParquetPieces
from datalake_assets.lake.readers.read_ahead import read_ahead
from datalake_assets.lake.readers.rejects import Reject, as_frame
from datalake_assets.lake.spec.columns import ETL_TIMESTAMP
from datalake_assets.lake.spec.dataset import CdcTable
from datalake_assets.lake.spec.drift import news
from datalake_assets.lake.store.landing import LandedObject, is_full_load
from datalake_assets.lake.store.outcome import ObjectOutcome

_TIMESTAMP = pl.Datetime("us", "UTC")


@dataclass(frozen=True, slots=True)
class _Opened:
    """A file that was looked at: with its rows where it is one piece, and with a failure where it can't be read."""

    landed: LandedObject
    file: Pieces | None = None
    whole: Part | None = None
    failure: Failure | None = None

    @property
    def size(self) -> int:
        """How many bytes its rows take, and what of it they were read from."""
        return held_bytes(self.whole.rows.frame) + self.landed.size if self.whole else 0

    def goes_with(self, other: "_Opened") -> bool:
        """Whether the rows of both can be evaluated together."""
        return self.whole is not None and other.whole is not None and self.whole.form == other.whole.form


@dataclass(frozen=True, slots=True)
class _Told:
    """What the ledger is told of a file as far as it is read; at its end, with all of its rejects."""

    landed: LandedObject
    outcome: ObjectOutcome
    rejects: Sequence[Reject] = ()
    is_last: bool = True


@dataclass(frozen=True, slots=True)
class _Piece:
    """The accepted changes of a part of one file, or of some whole files."""

    changes: pl.DataFrame
    told: Sequence[_Told]


class ChangeReader:
    """Reads the objects of one CDC table."""

    def __init__(self, dataset: CdcTable, limits: Limits) -> None:
        """Prepare for a dataset; nothing is read."""
        self._dataset = dataset
        self._limits = limits
        self._rows = ChangeRows(dataset)

    @property
    def schema(self) -> pl.Schema:
        """The columns of what is accepted."""
        return pl.Schema({**self._rows.none.schema, ETL_TIMESTAMP: _TIMESTAMP})

    def batches(self, load: Load, objects: Iterable[LandedObject]) -> Iterator[Batch]:
        """The objects in batches as large as memory allows, read ahead of their use; a large one is cut."""
        closed = Event()
        wanted = takewhile(lambda _: not closed.is_set(), objects)
        return read_ahead(self._batches(load, wanted), depth=1, closed=closed)

    def _batches(self, load: Load, objects: Iterable[LandedObject]) -> Iterator[Batch]:
        pieces: list[_Piece] = []
        size = 0
        for group in self._groups(load, objects):
            for piece in self._pieces(group):
                pieces.append(piece)
                size += held_bytes(piece.changes)
                if size >= self._limits.batch_bytes:
                    yield self._batch(pieces)
                    pieces, size = [], 0
        if pieces:
            yield self._batch(pieces)

    def _batch(self, pieces: Sequence[_Piece]) -> Batch:
        now = datetime.now(UTC)
        accepted = pl.concat([piece.changes for piece in pieces], how="vertical").lazy()
        told = [file for piece in pieces for file in piece.told]
        whole = [file for file in told if file.is_last]
        going_on = {file.landed.key: file.outcome for file in told if not file.is_last}
        return Batch(
            accepted=nw.from_native(accepted.with_columns(pl.lit(now, dtype=_TIMESTAMP).alias(ETL_TIMESTAMP))),
            rejected=as_frame(((file.landed, file.rejects) for file in told), dataset=self._dataset.name, at=now),
            outcomes=tuple(file.outcome for file in whole),
            bytes_in=sum(f.landed.size for f in whole if f.outcome.state == "processed" or f.outcome.final),
            unfinished=tuple(o for key, o in going_on.items() if key not in {f.landed.key for f in whole}),
        )

    def _groups(self, load: Load, objects: Iterable[LandedObject]) -> Iterator[list[_Opened]]:
        """The files in their order, small ones of one form together: each of them alone costs as much as 4,000 rows."""
        group: list[_Opened] = []
        size = 0
        for landed, data in fetched(load, objects):
            opened = self._opened(landed, data)
            if group and not (opened.goes_with(group[0]) and size + opened.size <= self._limits.piece_bytes):
                yield group
                group, size = [], 0
            group.append(opened)
            size += opened.size
        if group:
            yield group

    def _opened(self, landed: LandedObject, data: Callable[[], bytes]) -> _Opened:
        try:
            file = pieces_of(landed, data(), self._dataset, self._limits)
            file.check()
            return _Opened(landed, file, Part(landed, file.read(0)) if file.count == 1 else None)
        except BaseException as error:  # noqa: BLE001  (a Rust panic too is the file's; `failure_of` raises others)
            return _Opened(landed, failure=failure_of(error))

    def _pieces(self, group: Sequence[_Opened]) -> Iterator[_Piece]:
        """What becomes of some files; where they can't be evaluated together, of each by itself."""
        together = self._together(group) if len(group) > 1 else None
        if together is not None:
            yield together
            return
        for opened in group:
            if opened.file is not None:
                yield from self._part_by_part(opened, opened.file)
            elif opened.failure is not None:
                yield self._failed(opened.landed, opened.failure)

    def _together(self, group: Sequence[_Opened]) -> _Piece | None:
        """Whole files of one form; None where they can't be evaluated, whichever of them it is for."""
        files = [(opened.file, opened.whole) for opened in group if opened.file and opened.whole]
        try:
            changes, verdicts = self._rows.evaluated([part for _, part in files])
            told = [
                _Told(part.landed, self._added(_begun(file, part.landed), file, part, verdict), verdict.rejects)
                for (file, part), verdict in zip(files, verdicts, strict=True)
            ]
        except BaseException as error:  # noqa: BLE001  (as above)
            failure_of(error)
            return None
        return _Piece(changes, told)

    def _part_by_part(self, opened: _Opened, file: Pieces) -> Iterator[_Piece]:
        landed, outcome = opened.landed, _begun(file, opened.landed)
        rejects: list[Reject] = []
        for number in range(file.count):
            first = file.first(number)
            try:
                part = opened.whole or Part(landed, file.read(number))
                changes, (verdict,) = self._rows.evaluated([part])
                outcome = self._added(outcome, file, part, verdict)
            except BaseException as error:  # noqa: BLE001  (as above)
                failure = failure_of(error)
                if number == 0 or not failure.final:
                    yield self._failed(landed, failure)
                    return
                reason = f"object: its rows from {first:,} on: {failure.error}"
                changes = self._rows.none
                verdict = Verdict(rejects=[Reject(first, "", (reason,), size=landed.size // file.count)])
                outcome = _counted(outcome, verdict)
            rejects += verdict.rejects
            is_last = number == file.count - 1
            yield _Piece(changes, [_Told(landed, outcome, rejects if is_last else (), is_last)])

    def _failed(self, landed: LandedObject, failure: Failure) -> _Piece:
        return _Piece(self._rows.none, [_Told(landed, failure.outcome(landed), failure.rejects(landed))])

    def _added(self, outcome: ObjectOutcome, file: Pieces, part: Part, verdict: Verdict) -> ObjectOutcome:
        """What is told of a file, with a further part of it, and the columns that are not as declared."""
        counted = _counted(outcome, verdict)
        if not isinstance(file, ParquetPieces):  # only whose columns have names and types
            return counted
        columns = news(self._dataset, lake_types(part.rows.frame.schema))
        return counted.model_copy(update={"columns": columns})


def _begun(file: Pieces, landed: LandedObject) -> ObjectOutcome:
    """What is told of a file before any of its rows is evaluated."""
    return ObjectOutcome(
        key=landed.key,
        etag=landed.etag,
        size=landed.size,
        partition=landed.partition,
        bytes_read=landed.size,
        ends_load=file.ends_load if is_full_load(landed.key) else None,
    )


def _counted(outcome: ObjectOutcome, verdict: Verdict) -> ObjectOutcome:
    """What is told of a file, with what became of a further part of it."""
    first, last = verdict.transferred or (None, None)
    return outcome.model_copy(
        update={
            "rows_in": outcome.rows_in + verdict.rows + len(verdict.rejects),
            "rows_out": outcome.rows_out + verdict.rows,
            "rows_rejected": outcome.rows_rejected + len(verdict.rejects),
            "bytes_rejected": outcome.bytes_rejected + sum(reject.size for reject in verdict.rejects),
            "event_dates": tuple(sorted({*outcome.event_dates, *verdict.days})),
            "loaded_at": min(filter(None, (outcome.loaded_at, first)), default=None),
            "loaded_until": max(filter(None, (outcome.loaded_until, last)), default=None),
        }
    )
