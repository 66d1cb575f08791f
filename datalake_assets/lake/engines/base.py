"""What an engine can do: the few verbs that steps are written in.

A step reads batches, passes them through transforms (Narwhals frames), and changes tables; an engine supplies the
reading, the writing and the handful of functions that Narwhals lacks. Which rows there are is never an engine's affair:
records are read by the lake's readers and tables are changed by its store, whatever computes between them.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import date
from typing import Any, Protocol

import narwhals as nw
import polars as pl
from deltalake.transaction import AddAction

from datalake_assets.lake.engines.key_hashes import KeyHashes
from datalake_assets.lake.readers.batch import Batch, Limits, Load
from datalake_assets.lake.spec.columns import EVENT_DATE
from datalake_assets.lake.spec.dataset import Dataset
from datalake_assets.lake.spec.parts import Column
from datalake_assets.lake.store.landing import LandedObject
from datalake_assets.lake.store.notes import CommitNotes
from datalake_assets.lake.store.place import TablePlace
from datalake_assets.lake.store.snapshot import Snapshot
from datalake_assets.lake.store.table_files import Convert, TableFiles

Frame = nw.LazyFrame[Any]
Prepare = Callable[[Frame], Frame]
"""What is done to the records of a batch one by one, in whatever process reads them."""


class ValueChangedError(ValueError):
    """A column's values would be others in the type that the table asks for."""


class Engine(Protocol):
    """Where a step computes."""

    @property
    def name(self) -> str:
        """The engine's name in reports: `polars` or `spark`."""

    def read(
        self, dataset: Dataset, load: Load, objects: Sequence[LandedObject], *, limits: Limits, prepare: Prepare
    ) -> Iterator[Batch]:
        """Read landed objects by the dataset's reader, in batches that fit in memory, prepared and computed.

        `load` and `prepare` may be called in other processes.
        """

    def take(self, rows: pl.DataFrame) -> Frame:
        """Rows of this process as a frame of the engine."""

    def scan(
        self, seen: Snapshot, *, dates: Collection[date | None] | None = None, dated_by: str = EVENT_DATE
    ) -> Frame:
        """A table's rows (of some dates) in the registry's columns; none where there is no such table.

        `dated_by` is the column that tells a row's date: a date, a time, or a text that begins with a date.
        """

    def lots(
        self, seen: Snapshot, *, dates: Collection[date] | None, dated_by: str, rows: int | None
    ) -> Sequence[Frame]:
        """What `scan` gives, in lots of about so many rows (None: all); one where a frame need not fit in a process."""

    def scan_keys(self, seen: Snapshot, keys: Frame, *, columns: Sequence[str] | None = None) -> Frame:
        """The rows of a table that have the values of `keys` in its columns, read from the files that can hold them.

        In `columns`, which hold those of `keys`; None: in all.
        """

    def changed_since(self, seen: Snapshot, older: Snapshot, columns: Sequence[str]) -> Frame:
        """The values of some columns in the rows that came or went since an older state of a table."""

    def compute(self, frame: Frame, *, of_tables: bool = False) -> Frame:
        """The frame computed once, so that using it again does not compute it again.

        `of_tables`: it is made of more rows than it has, those of whole tables, which need not be in memory together.
        """

    def contested(
        self, frame: Frame, seen: Snapshot, *, on: Sequence[str], dates: Collection[date], known: KeyHashes
    ) -> tuple[Frame, Frame, Frame]:
        """The rows that may share their values in the columns `on` with others of the frame or of a table.

        Returns these, the others (which surely don't), and the table's rows (of some event dates) that they may share
        them with. May tell too many, never too few; the table is looked through by those columns alone. What a step
        has learnt of them by earlier calls is in `known`.
        """

    def rows(self, frame: Frame) -> list[dict[str, Any]]:
        """A small frame as Python rows."""

    def conform(self, frame: Frame, columns: Mapping[str, Column]) -> Frame:
        """The frame's columns in the order and the types given.

        Computing it raises where a value would be changed by that.
        """

    def change(
        self,
        seen: Snapshot,
        *,
        add: Frame | None = None,
        remove: Frame | None = None,
        on: Sequence[str] = (),
        dates: Collection[date] | None = None,
        notes: CommitNotes,
        exactly_here: bool = False,
    ) -> None:
        """Remove the rows that equal one of `remove` in the columns `on`, and add rows, in one commit.

        The decision rests on the table's rows of some event dates (None: of all) as `seen`; see `Snapshot.change`.
        Raises `ConflictError` when they have changed.
        """

    def write(self, table: TablePlace, rows: Frame) -> list[AddAction]:
        """Rows as files of a table, which nobody sees yet."""

    def replace(
        self,
        seen: Snapshot,
        rows: Frame,
        *,
        written: Sequence[AddAction] = (),
        dates: Collection[date] | None,
        notes: CommitNotes,
    ) -> None:
        """Put rows in the place of those of some event dates (None: of all) in one commit, as `change`.

        `written` are files with more such rows.
        A table whose columns are others than the registry's is given these, with `dates` None.
        """

    def copy(self, built: TableFiles, table: TablePlace, *, by: Convert | None = None) -> list[AddAction]:
        """A table's rows as files of another one, which nobody sees yet.

        The other has the same columns, or those that `by`, which may be called in other processes, makes of them.
        """
