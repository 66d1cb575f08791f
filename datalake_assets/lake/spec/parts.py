"""The parts of a dataset file: where it lands, its event time, its columns.

Belongs here: what one part keeps by itself. What a whole dataset keeps is in `dataset.py`.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from datalake_assets.lake.spec.types import LakeType

_LONGEST_PREFIX = 255
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


class Column(Part):
    """One declared column: its type and what a value must keep to be accepted."""

    type: str
    required: bool = False
    minimum: Annotated[float, Field(allow_inf_nan=False)] | None = None
    maximum: Annotated[float, Field(allow_inf_nan=False)] | None = None
    description: str = ""

    @field_validator("type")
    @classmethod
    def _known_type(cls, text: str) -> str:
        return str(LakeType.parse(text))

    @property
    def lake_type(self) -> LakeType:
        """The parsed type."""
        return LakeType.parse(self.type)


class OnDrift(Part):
    """What to do when the source table's shape changes.

    `added`: a column that is not declared becomes one of the tables (`evolve`), or stays in `_unknown` (`keep`).
    `removed`: its column stays, and is null from then on. `retyped`: a declared column grows as wide as the data of its
    kind (`widen_or_quarantine`), or never (`quarantine`); rows that its type can't hold are quarantined either way.
    """

    added: Literal["evolve", "keep"] = "evolve"
    removed: Literal["keep"] = "keep"
    retyped: Literal["widen_or_quarantine", "quarantine"] = "widen_or_quarantine"
