"""How the files that DMS lands are read: Parquet and CSV of full loads and changes, part by part, into batches.

A file that can't be read fails alone, whatever of it makes a library raise or panic, and the others go on. What becomes
of its rows is told by `change_rows.py`.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime

import narwhals as nw
import polars as pl

from datalake_assets.lake.readers.batch import Batch, Limits, Load
from datalake_assets.lake.readers.change_rows import ChangeRows
from datalake_assets.lake.readers.dms_pieces import pieces_of
from datalake_assets.lake.readers.failures import failure_of
from datalake_assets.lake.readers.found_types import lake_types
from datalake_assets.lake.readers.parquet_pieces import ParquetPieces
from datalake_assets.lake.readers.read_ahead import read_ahead
from datalake_assets.lake.readers.rejects import Reject, as_frame
from datalake_assets.lake.spec.columns import COMMITTED_AT, ETL_TIMESTAMP, EVENT_DATE, ROW_NUMBER
from datalake_assets.lake.spec.dataset import CdcTable
from datalake_assets.lake.spec.drift import news
from datalake_assets.lake.store.landing import LandedObject, is_full_load
from datalake_assets.lake.store.outcome import ObjectOutcome

_TIMESTAMP = pl.Datetime("us", "UTC")


@dataclass(frozen=True, slots=True)
class _Piece:
    """A part of one file, read: its accepted changes.

    `outcome` is what the ledger is told of the file as far as it is read. The last part has the rejects of them all.
    """

    landed: LandedObject
    changes: pl.DataFrame
    outcome: ObjectOutcome
    rejects: Sequence[Reject] = ()
    is_last: bool = True


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
        return read_ahead(self._batches(load, objects), depth=1)

    def _batches(self, load: Load, objects: Iterable[LandedObject]) -> Iterator[Batch]:
        pieces: list[_Piece] = []
        size = 0
        for landed in objects:
            for piece in self._pieces(load, landed):
                pieces.append(piece)
                size += int(piece.changes.estimated_size())
                if size >= self._limits.batch_bytes:
                    yield self._batch(pieces)
                    pieces, size = [], 0
        if pieces:
            yield self._batch(pieces)

    def _batch(self, pieces: Sequence[_Piece]) -> Batch:
        now = datetime.now(UTC)
        accepted = pl.concat([piece.changes for piece in pieces], how="vertical").lazy()
        rejects = ((piece.landed, piece.rejects) for piece in pieces)
        whole = [piece for piece in pieces if piece.is_last]
        going_on = {piece.landed.key: piece.outcome for piece in pieces if not piece.is_last}
        return Batch(
            accepted=nw.from_native(accepted.with_columns(pl.lit(now, dtype=_TIMESTAMP).alias(ETL_TIMESTAMP))),
            rejected=as_frame(rejects, dataset=self._dataset.name, at=now),
            outcomes=tuple(piece.outcome for piece in whole),
            bytes_in=sum(p.landed.size for p in whole if p.outcome.state == "processed" or p.outcome.final),
            unfinished=tuple(o for key, o in going_on.items() if key not in {p.landed.key for p in whole}),
        )

    def _pieces(self, load: Load, landed: LandedObject) -> Iterator[_Piece]:
        """A file read part by part, or the reason why it can't be."""
        try:
            file = pieces_of(landed, load(landed), self._dataset, self._limits)
            file.check()
        except BaseException as error:  # noqa: BLE001  (a Rust panic too is the file's; `failure_of` raises others)
            failure = failure_of(error)
            yield _Piece(landed, self._rows.none, failure.outcome(landed), failure.rejects(landed))
            return
        rejects: list[Reject] = []
        so_far = ObjectOutcome(
            key=landed.key,
            etag=landed.etag,
            size=landed.size,
            partition=landed.partition,
            bytes_read=landed.size,
            ends_load=file.ends_load if is_full_load(landed.key) else None,
        )
        share = landed.size // file.count
        for number in range(file.count):
            first = file.first(number)
            try:
                rows = file.read(number)
                if number == 0 and isinstance(file, ParquetPieces):  # whose columns have names and types
                    columns = news(self._dataset, lake_types(rows.frame.schema))
                    so_far = so_far.model_copy(update={"columns": columns})
                transferred = self._rows.transferred(rows.frame, landed)
                changes, bad = rows.placed(*self._rows.evaluated(rows.frame, landed, first=first))
            except BaseException as error:  # noqa: BLE001  (as above)
                failure = failure_of(error)
                if number == 0 or not failure.final:
                    yield _Piece(landed, self._rows.none, failure.outcome(landed), failure.rejects(landed))
                    return
                reason = f"object: its rows from {first:,} on: {failure.error}"
                transferred, changes, bad = None, self._rows.none, [Reject(first, "", (reason,), size=share)]
            rejects += bad
            so_far = _added(so_far, changes, bad, transferred)
            is_last = number == file.count - 1
            yield _Piece(landed, changes, so_far, rejects if is_last else (), is_last)


def _added(
    outcome: ObjectOutcome,
    changes: pl.DataFrame,
    rejects: Sequence[Reject],
    transferred: tuple[datetime, datetime] | None,
) -> ObjectOutcome:
    """What became of a file, with a further part of it; a row that moved to another key is two changes."""
    rows = changes[ROW_NUMBER].n_unique()
    first, last = transferred or (None, None)
    return outcome.model_copy(
        update={
            "rows_in": outcome.rows_in + rows + len(rejects),
            "rows_out": outcome.rows_out + rows,
            "rows_rejected": outcome.rows_rejected + len(rejects),
            "bytes_rejected": outcome.bytes_rejected + sum(reject.size for reject in rejects),
            "event_dates": tuple(sorted({*outcome.event_dates, *_days(changes)})),
            "loaded_at": min(filter(None, (outcome.loaded_at, first)), default=None),
            "loaded_until": max(filter(None, (outcome.loaded_until, last)), default=None),
        }
    )


def _days(changes: pl.DataFrame) -> set[date]:
    """The days that changes count on: their event dates, and those of their commits."""
    committed = changes[COMMITTED_AT].dt.date()
    return {*changes[EVENT_DATE].drop_nulls().unique(), *committed.drop_nulls().unique()}
