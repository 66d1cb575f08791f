"""What a replicated table is: the typed form of a dataset file of that kind, and the rules that it keeps by itself."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, PrivateAttr, model_validator

from datalake_assets.lake.spec.column_names import can_be_column, check_column_name
from datalake_assets.lake.spec.columns import (
    BEFORE_IMAGE,
    COMMITTED_AT,
    EVENT_MONTH,
    FILE_TIME,
    HISTORY_COLUMNS,
    IS_CHANGE,
    ROW_NUMBER,
    SOURCE_FILENAME,
)
from datalake_assets.lake.spec.fault import FaultError
from datalake_assets.lake.spec.parts import Column, Csv, EventTime, OnDrift, Partitioning
from datalake_assets.lake.spec.shape import partitioning
from datalake_assets.lake.spec.source import Source

OPERATION_COLUMN = "Op"
_NUMBERS = frozenset({"int8", "int16", "int32", "int64", "float", "double", "decimal"})


class CdcTable(Source):
    """A table that DMS replicates: a full load, then changes.

    As its file declares it, or (by `drift.with_found`) with the columns and types that landed files have besides.
    """

    kind: Literal["cdc_table"]
    key: Annotated[tuple[str, ...], Field(min_length=1)]
    order_by: tuple[str, ...] = ()
    timestamp_column: str | None = None
    columns: Annotated[dict[str, Column], Field(min_length=1)]
    event_time: EventTime | None = None
    history: bool = False
    partition_by: Partitioning = "none"
    on_drift: OnDrift = OnDrift()
    csv: Csv | None = None
    _columns_at: ClassVar[tuple[str, ...]] = ("columns",)
    _declared: "CdcTable | None" = PrivateAttr(default=None)

    @property
    def _taken_columns(self) -> frozenset[str]:
        return super()._taken_columns | HISTORY_COLUMNS | ({EVENT_MONTH} if self.partition_by == "month" else set())

    @property
    def kept_columns(self) -> tuple[str, ...]:
        """The columns whose value stays where an update has none."""
        return tuple(name for name, column in self.columns.items() if column.on_missing == "keep")

    @property
    def sequence_columns(self) -> dict[str, str]:
        """Where the numbers stand that `order_by` gives, by the names of its columns."""
        return {name: f"_sequence_{n}" for n, name in enumerate(self.order_by, start=1)}

    @property
    def order_columns(self) -> tuple[str, ...]:
        """What orders the changes of a key, the most significant first; none is ever null.

        A load comes before any change, as its stamp is the time of transfer (facts of AWS DMS: TimestampColumnName);
        then the declared sequence decides, the commit time, the file by the time in its name, and the row in the file.
        """
        return (IS_CHANGE, *self.sequence_columns.values(), COMMITTED_AT, FILE_TIME, SOURCE_FILENAME, ROW_NUMBER)

    @model_validator(mode="after")
    def _consistent(self) -> "CdcTable":
        self.check_columns(self.columns, self.event_time)
        if OPERATION_COLUMN in self.columns:
            raise FaultError(
                "`Op` is DMS's own column and is read without being declared; take it out",
                at=("columns", OPERATION_COLUMN),
            )
        for n, name in enumerate(self.order_by):
            check_column_name(name, at=("order_by", str(n)), taken=self._taken_columns)
            if name in self.order_by[:n]:
                raise FaultError(f"order_by column {name!r} stands twice; keep one", at=("order_by", str(n)))
        if self.timestamp_column is not None:
            check_column_name(self.timestamp_column, at=("timestamp_column",), taken=self._taken_columns)
        for name, column in self.columns.items():
            self._check_bounds(name, column)
        for name in self.kept_columns:
            self._check_kept(name)
        self._check_event_time()
        self._check_csv()
        return self

    def _check_bounds(self, name: str, column: Column) -> None:
        for bound in ("minimum", "maximum"):
            if getattr(column, bound) is not None and column.lake_type.name not in _NUMBERS:
                raise FaultError(
                    f"column {name!r} holds {column.type}, which has no `{bound}`; take it out, or declare a number",
                    at=("columns", name, bound),
                )

    def _check_kept(self, name: str) -> None:
        at = ("columns", name, "on_missing")
        if not self.history:
            raise FaultError(
                f"column {name!r} keeps what an update leaves out, and only a history can tell what that is; add "
                "`history: true`",
                at=at,
            )
        if name in self.key or self.columns[name].required or (self.event_time and self.event_time.column == name):
            raise FaultError(
                f"column {name!r} is part of the key, required, or the event time: an update always has it; take "
                "`on_missing` out",
                at=at,
            )

    def _check_event_time(self) -> None:
        if self.event_time is None:
            if self.partition_by != "none":
                raise FaultError(
                    f"partition_by {self.partition_by} cuts tables by event date, and this one has none; write "
                    "`partition_by: none`, or name the column that tells it in `event_time`",
                    at=("partition_by",),
                )
            return
        found, unit = self.columns[self.event_time.column].lake_type.name, self.event_time.unit
        fitting = {"timestamp", "date"}
        if unit is not None:
            fitting |= {"string"} if unit == "iso8601" else _NUMBERS
        if found not in fitting:
            raise FaultError(
                f"event_time column {self.event_time.column!r} holds {found}; declare it as timestamp or date, "
                "or give event_time the `unit` of what it holds: s, ms or us for a number, iso8601 for a string",
                at=("event_time", "column"),
            )

    def _check_csv(self) -> None:
        """Check that a headerless file has what makes a row known, and what tells its time and order."""
        if self.csv is None or self.csv.header:
            return
        timed = () if self.timestamp_column is None else (self.timestamp_column,)
        for name in (*self.key, *timed, *self.order_by):
            if name not in self.csv_columns:
                raise FaultError(
                    f"csv: column {name!r} is not among the `columns` of its files; name it where DMS writes it, or "
                    "take `columns` out for DMS's own order",
                    at=("csv", "columns"),
                )

    @property
    def csv_columns(self) -> tuple[str, ...]:
        """The columns of a CSV file without a header, in their order.

        Where the dataset file does not name them, they are in DMS's order: the operation, the timestamp column, those
        of the table, and what transformation rules add: the columns of `order_by` that are not declared.
        """
        if self.csv is not None and self.csv.columns:
            return self.csv.columns
        timed = () if self.timestamp_column is None else (self.timestamp_column,)
        return tuple(dict.fromkeys((OPERATION_COLUMN, *timed, *self.columns, *self.order_by)))

    @property
    def _identity(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "key": sorted(self.key),
            "event_time": None if self.event_time is None else self.event_time.model_dump(),
            "order_by": list(self.order_by),
            "timestamp_column": self.timestamp_column,
        }

    @property
    def declared(self) -> "CdcTable":
        """The table as its file declares it."""
        return self._declared or self

    @property
    def added(self) -> frozenset[str]:
        """The columns that are not declared, but were found in landed files."""
        return frozenset(self.columns.keys() - self.declared.columns.keys())

    def can_add(self, name: str) -> bool:
        """Whether a column of this name, which is not declared, can become one of the tables."""
        taken = self._taken_columns | {own.lower() for own in (OPERATION_COLUMN, *self.order_by)}
        return name not in self.dms_columns and can_be_column(name, taken=taken)

    def evolved(self, columns: Mapping[str, Column]) -> "CdcTable":
        """The declared table with other columns."""
        copy = self.model_copy(update={"columns": dict(columns)})
        copy._declared = self.declared  # noqa: SLF001 (its own kind)
        return copy

    @property
    def dms_columns(self) -> frozenset[str]:
        """The columns that are DMS's own, if they are not declared: operation, commit time, sequence, before images."""
        columns = self.declared.columns
        named = {OPERATION_COLUMN, *self.order_by, *([self.timestamp_column] if self.timestamp_column else [])}
        return frozenset((named | {f"{BEFORE_IMAGE}{name}" for name in columns}) - columns.keys())

    @property
    def _reading(self) -> dict[str, Any]:
        columns = self.declared.columns  # what was found changes nothing in how older objects were read
        rules = {name: column.model_dump(exclude={"description"}) for name, column in columns.items()}
        csv: dict[str, Any] = {}
        if self.csv is not None:
            in_order = [] if self.csv.header else list(self.csv_columns)
            csv = {"csv": self.csv.model_dump() | {"columns": in_order}}
        return self._identity | {"unknown_fields": self.unknown_fields, "columns": rules} | csv

    @property
    def _shape(self) -> dict[str, Any]:
        tables = {"history": self.history, "unknown_fields": "kept"} | partitioning(self.kind, self.partition_by)
        tables |= {"kept": sorted(self.kept_columns)} if self.kept_columns else {}
        return (
            self._identity
            | tables
            | {"added": self.on_drift.added, "columns": {name: column.type for name, column in self.columns.items()}}
        )

    @property
    def unknown_fields(self) -> Literal["keep"]:
        """Columns that are not declared are kept: they evolve the table (`on_drift.added`)."""
        return "keep"
