"""The parts of a dataset file: where it lands, its event time, its columns, its CSV.

Belongs here: what one part keeps by itself. What a whole dataset keeps is in `event_stream.py` and `cdc_table.py`.
"""

import sys
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, field_validator, model_validator

from datalake_assets.lake.spec.fault import FaultError
from datalake_assets.lake.spec.types import LakeType

_LONGEST_PREFIX = 255
_SHOWN = 100
Partitioning = Literal["none", "month", "day"]
"""How tables are cut on disk, by event date: not, by month, by day."""

RunnerChoice = Literal["in_process", "spark_local", "glue", "emr_serverless", "emr", "auto"]
"""Where steps run: in Dagster's own process on Polars or on Spark, in a job of AWS', or by the bytes that wait."""


class Part(BaseModel):
    """A mapping of a dataset file; unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Landing(Part):
    """Where a dataset's objects land, and how they are cut into partitions."""

    prefix: str
    cadence: Literal["hourly", "daily"] = "hourly"

    @field_validator("prefix")
    @classmethod
    def _is_folder(cls, prefix: str) -> str:
        if "://" in prefix or any(part in {"", ".", ".."} or part != part.strip() for part in prefix.split("/")):
            raise ValueError(
                f"{prefix!r} is no folder of the landing zone; write one like firehose/web_events, relative to the "
                "zone and without a slash at either end"
            )
        if not prefix.isprintable() or len(prefix) > _LONGEST_PREFIX:
            raise ValueError(
                f"{prefix[:_LONGEST_PREFIX]!r} can't be a folder: it has characters that can't be seen, or more than "
                f"{_LONGEST_PREFIX} characters; choose another"
            )
        return prefix


class EventTime(Part):
    """The column that says when something happened, and what its values mean."""

    column: str
    unit: Literal["s", "ms", "us", "iso8601"] | None = None


def _number(value: Any) -> Any:
    """Refuse what is no number, or one beyond all doubles, in one sentence: a union of types has one for each."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not -sys.float_info.max <= value <= sys.float_info.max:
        raise ValueError(f"should be a finite number, not {str(value)[:_SHOWN]}")
    return value


Bound = Annotated[int | float, BeforeValidator(_number)]
"""A whole number of any size, or a decimal as it is written."""


class Column(Part):
    """One declared column: its type and what a value must keep to be accepted.

    `on_missing: keep` is for values that an update leaves out where they did not change (large ones: AWS DMS with
    Postgres' default replica identity): then NULL in an update stands for the value that the row had.
    """

    type: str
    required: bool = False
    minimum: Bound | None = None
    maximum: Bound | None = None
    on_missing: Literal["null", "keep"] = "null"
    description: str = ""

    @field_validator("type")
    @classmethod
    def _known_type(cls, text: str) -> str:
        return str(LakeType.parse(text))

    @property
    def lake_type(self) -> LakeType:
        """The parsed type."""
        return LakeType.parse(self.type)


class Csv(Part):
    """How the CSV files of a replicated table are to be read, as its DMS endpoint was told to write them.

    `header` is AddColumnName, `delimiter` CsvDelimiter, `null_value` CsvNullValue, whose default is `NULL` in AWS DMS
    too. `columns` are those of files without a header, in their order; none: those that DMS would write.
    """

    header: bool = False
    delimiter: str = ","
    null_value: str = "NULL"
    columns: tuple[str, ...] = ()

    @field_validator("delimiter")
    @classmethod
    def _is_delimiter(cls, text: str) -> str:
        if len(text) != 1 or not text.isascii() or text.isalnum() or text in '"\r\n':
            raise ValueError(f"{text!r} can't part fields; write one ASCII character, such as a semicolon")
        return text

    @model_validator(mode="after")
    def _consistent(self) -> "Csv":
        if any(mark in self.null_value for mark in (self.delimiter, '"', "\r", "\n")):
            raise FaultError(
                f"null_value {self.null_value!r} can't stand in a field without quotes; set CsvNullValue to a plain "
                "word, and write that",
                at=("csv", "null_value"),
            )
        if self.header and self.columns:
            raise FaultError(
                "files with a header tell their columns themselves; take `columns` out, or write `header: false`",
                at=("csv", "columns"),
            )
        for n, name in enumerate(self.columns):
            if name in self.columns[:n]:
                raise FaultError(f"column {name!r} stands twice; keep one", at=("csv", "columns", str(n)))
        return self


class OnDrift(Part):
    """What to do when the source table's shape changes.

    `added`: a column that is not declared becomes one of the tables (`evolve`), or stays in `_unknown` (`keep`).
    `removed`: its column stays, and is null from then on. `retyped`: a declared column grows as wide as the data of its
    kind (`widen_or_quarantine`), or never (`quarantine`); rows that its type can't hold are quarantined either way.
    """

    added: Literal["evolve", "keep"] = "evolve"
    removed: Literal["keep"] = "keep"
    retyped: Literal["widen_or_quarantine", "quarantine"] = "widen_or_quarantine"
