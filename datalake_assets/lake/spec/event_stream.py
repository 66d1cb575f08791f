"""What a stream of events is: the typed form of a dataset file of that kind, and the rules that it keeps by itself."""

from datetime import timedelta
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator

from datalake_assets.lake.spec.columns import EVENT_MONTH
from datalake_assets.lake.spec.durations import duration
from datalake_assets.lake.spec.fault import FaultError
from datalake_assets.lake.spec.json_schema import LAKE_TYPE, checked, without_annotations
from datalake_assets.lake.spec.parts import Column, EventTime, Partitioning
from datalake_assets.lake.spec.quality import Quality
from datalake_assets.lake.spec.shape import partitioning
from datalake_assets.lake.spec.source import Source, remedy
from datalake_assets.lake.spec.types import TypeNameError, json_property_types, type_of_json_property


class EventStream(Source):
    """Events that Firehose or the ingest API land as JSON, under a contract in JSON Schema.

    `envelope` is the field of a document that holds its records. With `coerce` a value of another JSON type that says
    the same is taken for one of the declared type. `max_ahead` is how long after the end of its landing partition an
    event may be dated. `quality` is what is asked of records beyond the contract, and how they are scored.
    """

    kind: Literal["event_stream"]
    event_time: EventTime
    record_schema: Annotated[dict[str, Any], Field(alias="schema")]
    unknown_fields: Literal["keep", "drop", "reject"] = "keep"
    coerce: Literal["none", "lossless"] = "none"
    max_ahead: Annotated[timedelta, BeforeValidator(duration)] | None = None
    envelope: Annotated[str, Field(min_length=1)] | None = None
    event_type: str | None = None
    quality: Quality = Quality()
    partition_by: Partitioning = "day"
    _columns_at: ClassVar[tuple[str, ...]] = ("schema", "properties")

    @property
    def _taken_columns(self) -> frozenset[str]:
        return super()._taken_columns | ({EVENT_MONTH} if self.partition_by == "month" else set())

    @field_validator("record_schema")
    @classmethod
    def _is_readable(cls, contract: dict[str, Any]) -> dict[str, Any]:
        contract = checked(contract)
        if not contract.get("properties"):
            raise ValueError("the contract declares no `properties`; name each field that should become a column")
        return contract

    @model_validator(mode="after")
    def _consistent(self) -> "EventStream":
        for name, rule in self.record_schema["properties"].items():
            try:
                type_of_json_property(rule)
            except TypeNameError as error:
                at = ("schema", "properties", name, LAKE_TYPE)
                raise FaultError(f"column {name!r}: {error}", at=at) from None
        columns = self.columns
        self.check_columns(columns, self.event_time)
        if self.event_time.unit is None:
            raise FaultError("event_time needs a `unit`: s, ms, us or iso8601", at=("event_time",))
        text = self.event_time.unit == "iso8601"
        found = columns[self.event_time.column].lake_type.name
        if found not in ({"string", "timestamp"} if text else {"int64", "double"}):
            raise FaultError(
                f"event_time column {self.event_time.column!r} holds {found}, which can't be read as unit "
                f"{self.event_time.unit}; declare it as {'string' if text else 'integer or number'}, or change the "
                "unit",
                at=("event_time", "unit"),
            )
        if self.event_type is not None and self.event_type not in columns:
            raise FaultError(
                f"event_type column {self.event_type!r} is not declared; "
                f"{remedy(self.event_type, columns, 'name one that is')}",
                at=("event_type",),
            )
        return self

    @property
    def _identity(self) -> dict[str, Any]:
        return {"kind": self.kind, "key": sorted(self.key), "event_time": self.event_time.model_dump()}

    @property
    def _reading(self) -> dict[str, Any]:
        rules = {
            "coerce": self.coerce,
            "envelope": self.envelope,
            "max_ahead": None if self.max_ahead is None else self.max_ahead.total_seconds(),
            "unknown_fields": self.unknown_fields,
            "schema": without_annotations(self.record_schema),
        }
        return self._identity | rules | ({"quality": self.quality.reading} if self.quality.reading else {})

    @property
    def _shape(self) -> dict[str, Any]:
        tables: dict[str, Any] = {"order_by": [], "timestamp_column": None, "history": False}
        tables["unknown_fields"] = "kept" if self.unknown_fields == "keep" else "not kept"
        tables |= partitioning(self.kind, self.partition_by)
        return self._identity | tables | {"columns": {name: column.type for name, column in self.columns.items()}}

    @property
    def columns(self) -> dict[str, Column]:
        """The declared columns in the contract's order."""
        required = set(self.record_schema.get("required", ()))
        return {
            name: Column(
                type=str(type_of_json_property(rule)),
                required=name in required and "null" not in json_property_types(rule),
                description=str(rule.get("description", "")) if isinstance(rule, dict) else "",
            )
            for name, rule in self.record_schema["properties"].items()
        }

    @property
    def type_column(self) -> str | None:
        """The column that tells kinds of event apart: `event_type` of the file, else the usual names; else None."""
        usual = (n for n in ("event_type", "event_name", "type") if n in self.columns)
        return self.event_type or next((n for n in usual if self.columns[n].type == "string"), None)
