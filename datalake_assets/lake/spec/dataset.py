"""What a dataset is: the typed form of one dataset file.

Belongs here: the model and the rules that one dataset keeps by itself. Reading files, and the rules between
datasets, are in `dataset_files.py`.
"""

import difflib
import hashlib
import re
from collections.abc import Collection
from typing import Annotated, Any, ClassVar, Literal

import jsonschema_rs
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from datalake_assets.lake.spec.columns import ADDED_COLUMNS, HISTORY_COLUMNS
from datalake_assets.lake.spec.types import LakeType, TypeNameError, json_property_types, type_of_json_property

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$", max_length=100)]
OPERATION_COLUMN = "Op"
_JSON_TYPE_NAMES = "string, integer, number, boolean, object, array or null"
_UNFIT_CHARACTERS = re.compile(r"""[\x00-\x20,;{}()="\\]""")  # Spark's Delta refuses them without column mapping
_INTERNAL_COLUMNS = frozenset(  # what a step calls its own columns while it computes
    [
        "_committed_at",
        "_copies",
        "_deleted",
        "_existing_hash",
        "_existing_time",
        "_faulty",
        "_grave_order",
        "_is_load",
        "_last_date",
        "_object",
        "_old_date",
        "_old_hash",
        "_old_order",
        "_own_date",
        "_partition",
        "_path",
        "_quality",
        "_replaces",
        "_row_number",
    ]
)
_FITTING_TYPES = {
    "string": {"string", "decimal", "date", "timestamp"},
    "integer": {"int8", "int16", "int32", "int64", "decimal", "json"},
    "number": {"double", "decimal", "json"},
    "boolean": {"boolean", "json"},
}


class FaultError(ValueError):
    """A rule of a dataset that is broken; `at` is the path of keys to the place that breaks it."""

    def __init__(self, message: str, *, at: tuple[str, ...]) -> None:
        super().__init__(message)
        self.at = at


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class Landing(_Part):
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
        return prefix


class EventTime(_Part):
    """The column that says when something happened, and what its values mean."""

    column: str
    unit: Literal["s", "ms", "us", "iso8601"] | None = None


class Column(_Part):
    """One declared column: its type and what a value must keep to be accepted."""

    type: str
    required: bool = False
    minimum: float | None = None
    maximum: float | None = None
    description: str = ""

    @field_validator("type")
    @classmethod
    def _known_type(cls, text: str) -> str:
        return str(LakeType.parse(text))

    @property
    def lake_type(self) -> LakeType:
        """The parsed type."""
        return LakeType.parse(self.type)


class _Source(_Part):
    name: Name
    description: Annotated[str, Field(min_length=1)]
    owner: Annotated[str, Field(pattern=r"^(team:[A-Za-z0-9_.-]+|[^@\s]+@[^@\s]+)$")]
    landing: Landing
    key: tuple[str, ...] = ()
    _columns_at: ClassVar[tuple[str, ...]] = ()
    max_rejected_fraction: Annotated[float, Field(ge=0, le=1)] = 0.05

    @property
    def fingerprint(self) -> str:
        """A short hash of all that decides how a record is read; another contract has another fingerprint."""
        text = self.model_dump_json(by_alias=True, exclude={"description", "owner", "max_rejected_fraction"})
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @property
    def _taken_columns(self) -> frozenset[str]:
        """The names that the lake gives to columns of its own beside the declared ones."""
        return ADDED_COLUMNS

    def _check_columns(self, declared: dict[str, Column], event_time: EventTime | None) -> None:
        folded = [name.lower() for name in declared]
        for name in declared:
            if name.lower() in self._taken_columns | _INTERNAL_COLUMNS:
                raise FaultError(
                    f"column {name!r} is one the lake adds itself; give the source's column another name",
                    at=(*self._columns_at, name),
                )
            if not name or _UNFIT_CHARACTERS.search(name):
                raise FaultError(
                    f"column {name!r} can't be one: Delta tables allow no space, quote, backslash or any of ,;{{}}()= "
                    "in a name; rename it at the source, or leave it undeclared (it is kept in `_unknown`)",
                    at=(*self._columns_at, name),
                )
            if folded.count(name.lower()) > 1:
                raise FaultError(
                    f"column {name!r} is declared twice (case does not tell columns apart); rename one",
                    at=(*self._columns_at, name),
                )
        for n, name in enumerate(self.key):
            if name not in declared:
                raise FaultError(
                    f"key column {name!r} is not declared; {_remedy(name, declared, 'take it out of `key`')}",
                    at=("key", str(n)),
                )
            if name in self.key[:n]:
                raise FaultError(f"key column {name!r} stands twice; keep one", at=("key", str(n)))
        if event_time and event_time.column not in declared:
            raise FaultError(
                f"event_time column {event_time.column!r} is not declared; "
                f"{_remedy(event_time.column, declared, 'name one that is')}",
                at=("event_time", "column"),
            )


def _remedy(name: str, declared: Collection[str], otherwise: str) -> str:
    near = difflib.get_close_matches(name, declared, n=1, cutoff=0.75)
    return f"did you mean {near[0]!r}?" if near else f"declare it, or {otherwise}"


class EventStream(_Source):
    """Events that Firehose or the ingest API land as JSON, under a contract in JSON Schema."""

    kind: Literal["event_stream"]
    event_time: EventTime
    contract: Annotated[dict[str, Any], Field(alias="schema")]
    unknown_fields: Literal["keep", "drop", "reject"] = "keep"
    event_type: str | None = None
    _columns_at: ClassVar[tuple[str, ...]] = ("schema", "properties")

    @field_validator("contract")
    @classmethod
    def _is_json_schema(cls, contract: dict[str, Any]) -> dict[str, Any]:
        try:
            jsonschema_rs.meta.validate(contract)
            jsonschema_rs.Draft202012Validator(contract)
        except jsonschema_rs.ValidationError as error:
            place = tuple(str(part) for part in error.instance_path)
            remedy = (
                f"write {_JSON_TYPE_NAMES}" if place[-1:] == ("type",) else "json-schema.org tells what may stand here"
            )
            raise FaultError(f"not a JSON Schema: {error.message}; {remedy}", at=("schema", *place)) from None
        except (TypeError, ValueError) as error:
            raise ValueError(f"not a JSON Schema: {str(error).splitlines()[0]}; mend it") from None
        if not contract.get("properties"):
            raise ValueError("the contract declares no `properties`; name each field that should become a column")
        return contract

    @model_validator(mode="after")
    def _consistent(self) -> "EventStream":
        for name, rule in self.contract["properties"].items():
            self._check_type(name, rule if isinstance(rule, dict) else {})
        columns = self.columns
        self._check_columns(columns, self.event_time)
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
                f"{_remedy(self.event_type, columns, 'name one that is')}",
                at=("event_type",),
            )
        return self

    def _check_type(self, name: str, rule: dict[str, Any]) -> None:
        at = ("schema", "properties", name, "x-lake-type")
        try:
            found = type_of_json_property(rule)
        except TypeNameError as error:
            raise FaultError(f"column {name!r}: {error}", at=at) from None
        json_types = json_property_types(rule) - {"null"}
        fitting = _FITTING_TYPES.get(next(iter(json_types))) if len(json_types) == 1 else None
        if found.name not in (fitting or {"json"}):
            raise FaultError(
                f"column {name!r}: x-lake-type {found} does not fit JSON type "
                f"{' or '.join(sorted(json_types)) or 'any'}; write one of {', '.join(sorted(fitting or {'json'}))}",
                at=at,
            )

    @property
    def columns(self) -> dict[str, Column]:
        """The declared columns in the contract's order."""
        required = set(self.contract.get("required", ()))
        return {
            name: Column(
                type=str(type_of_json_property(rule)),
                required=name in required and "null" not in json_property_types(rule),
                description=str(rule.get("description", "")),
            )
            for name, rule in ((n, r if isinstance(r, dict) else {}) for n, r in self.contract["properties"].items())
        }

    @property
    def type_column(self) -> str | None:
        """The column that tells kinds of event apart: `event_type` of the file, else the usual names; else None."""
        usual = (n for n in ("event_type", "event_name", "type") if n in self.columns)
        return self.event_type or next((n for n in usual if self.columns[n].type == "string"), None)


class OnDrift(_Part):
    """What to do when the source table's shape changes."""

    added: Literal["evolve"] = "evolve"
    removed: Literal["keep"] = "keep"
    retyped: Literal["widen_or_quarantine"] = "widen_or_quarantine"


class CdcTable(_Source):
    """A table that DMS replicates: a full load, then changes."""

    kind: Literal["cdc_table"]
    key: Annotated[tuple[str, ...], Field(min_length=1)]
    order_by: tuple[str, ...] = ()
    timestamp_column: str | None = None
    columns: Annotated[dict[str, Column], Field(min_length=1)]
    event_time: EventTime | None = None
    history: bool = False
    on_drift: OnDrift = OnDrift()
    _columns_at: ClassVar[tuple[str, ...]] = ("columns",)

    @property
    def _taken_columns(self) -> frozenset[str]:
        return ADDED_COLUMNS | HISTORY_COLUMNS

    @model_validator(mode="after")
    def _consistent(self) -> "CdcTable":
        self._check_columns(self.columns, self.event_time)
        if OPERATION_COLUMN in self.columns:
            raise FaultError(
                "`Op` is DMS's own column and is read without being declared; take it out",
                at=("columns", OPERATION_COLUMN),
            )
        if self.event_time:
            column = self.columns[self.event_time.column].lake_type.name
            unit = self.event_time.unit
            if column not in {"timestamp", "date"} and (unit is None or (unit == "iso8601" and column != "string")):
                raise FaultError(
                    f"event_time column {self.event_time.column!r} holds {column}; declare it as timestamp or date, "
                    "or give event_time a `unit` of s, ms or us",
                    at=("event_time", "column"),
                )
        return self

    @property
    def unknown_fields(self) -> Literal["keep"]:
        """Columns that are not declared are kept: they evolve the table (`on_drift.added`)."""
        return "keep"


Dataset = EventStream | CdcTable
