"""The contract of one event: which records are accepted, and why the others are not.

A dataset's JSON Schema is compiled to a msgspec decoder, which checks types, required fields, ranges and lengths
while it parses; a rule about one field that msgspec can't keep is checked on the field's distinct values. Records
that either finds fault with, and all records of a schema that can't be cut into such rules, are judged by
jsonschema-rs, which is the authority and finds the words for the quarantine. So a clean file is fast, and a dirty one
costs more only for its dirty lines. Fields that the contract allows without declaring them are no fault.

Belongs here: one record in, its verdict and field values out. Reading many quickly is in `records.py`.
"""

from collections.abc import Mapping
from datetime import date
from typing import Any

import jsonschema_rs
import msgspec

from datalake_assets.lake.readers.coercion import Coercion, with_fields
from datalake_assets.lake.readers.contract_fields import ContractFields
from datalake_assets.lake.readers.json_values import (
    SHOWN,
    finite_double,
    json_value,
    plain_decimal,
    plain_timestamp,
    shown,
    whole_number,
)
from datalake_assets.lake.spec.dataset import EventStream


class Contract:
    """The compiled contract of one event stream."""

    def __init__(self, dataset: EventStream) -> None:
        """Compile the contract of `dataset`; nothing is read.

        `names` are those of the fields `f0`, `f1`, … of `struct`, of which each record makes one.
        """
        self._dataset = dataset
        self.fields = ContractFields(dataset)
        self._authority = jsonschema_rs.Draft202012Validator(dataset.record_schema, validate_formats=True)
        self.names = {f"f{n}": name for n, name in enumerate(self.fields.types)}
        self.struct = msgspec.defstruct(
            "Event",
            self.fields.struct_fields,
            rename=self.names,
            forbid_unknown_fields=True,
            kw_only=True,
            gc=False,
        )
        self._texts = msgspec.json.Decoder(dict[str, msgspec.Raw])
        self._coercion = Coercion(dataset) if dataset.coerce == "lossless" else None

    def judge(self, line: bytes) -> Any | tuple[str, ...]:
        """The authority's verdict on one record: its struct, or the reasons why it is rejected."""
        try:
            document = document_of(line)
        except ValueError as error:
            return (f"json: {str(error)[:SHOWN]}",)
        return self.judge_document(line, document)

    def judge_document(self, line: bytes, document: Any) -> Any | tuple[str, ...]:
        """The same on a record that is read as a JSON value."""
        coerced: Mapping[str, msgspec.Raw] = {}
        if self._coercion is not None and isinstance(document, dict):
            coerced = self._coercion.applied(self._texts.decode(line))
            document = with_fields(document, coerced)
        try:
            errors = [_reason(error) for error in self._authority.iter_errors(document)]
        except ValueError as error:  # the validator gives up, such as on its limit of recursion
            return (f"schema: the record can't be judged: {str(error)[:SHOWN]}",)
        if not isinstance(document, dict):
            return tuple(errors) or ("type: a record is a JSON object",)
        unknown = sorted(document.keys() - self.fields.types.keys())
        if unknown and self._dataset.unknown_fields == "reject":
            errors += [f"/{_pointer(n)} unknown_fields: the contract does not declare this field" for n in unknown]
        errors += [
            f"/{_pointer(n)} key: an event needs it" for n in sorted(self.fields.needed) if document.get(n) is None
        ]
        if errors:
            return tuple(errors)
        return self._accepted(document, {**self._texts.decode(line), **coerced})

    def _accepted(self, document: Mapping[str, Any], texts: Mapping[str, msgspec.Raw]) -> Any | tuple[str, ...]:
        """The struct of a valid record, or the reasons why its values don't fit their columns."""
        errors: list[str] = []
        values: dict[str, Any] = {}
        for n, name in enumerate(self.fields.types):
            try:
                values[f"f{n}"] = self._plain(name, document.get(name), texts.get(name))
            except ValueError as error:
                errors.append(f"/{_pointer(name)} x-lake-type: {error}")
        if errors:
            return tuple(errors)
        return self.struct(**values)

    def _plain(self, name: str, value: Any, text: msgspec.Raw | None) -> Any:
        """A valid value in the plainest form of its raw type.

        Raises `ValueError` when its column can't hold it.
        """
        if value is None or text is None:
            return None
        lake_type, raw_type = self.fields.types[name], self.fields.raw_type(name)
        bounds = self.fields.time_range(name)
        if bounds and not bounds[0] <= value <= bounds[1]:
            raise ValueError(f"{shown(value)} is no time of the years 1 to 9999")
        plain: Any = value
        if lake_type.name == "decimal":
            plain = plain_decimal(value if raw_type is str else bytes(text).decode(), lake_type)
            return msgspec.Raw(plain.encode()) if raw_type is msgspec.Raw else plain
        if raw_type is msgspec.Raw:
            return text
        if raw_type is int:
            return whole_number(value if isinstance(value, int) else bytes(text).decode(), lake_type)
        if raw_type is float:
            return finite_double(bytes(text).decode())
        if lake_type.name == "date":
            plain = date.fromisoformat(value).isoformat()
        elif lake_type.name == "timestamp":
            plain = plain_timestamp(value)
        elif name == self._dataset.event_time.column:
            plain_timestamp(value)
        return plain


def document_of(line: bytes) -> Any:
    """The line as a JSON value. Raises `ValueError` where it is none."""
    if not is_utf8(line):
        raise ValueError("the line is not UTF-8 text")
    return json_value(line)


def is_utf8(text: bytes) -> bool:
    """Whether the bytes are UTF-8: msgspec looks into the strings it keeps, but not into those it passes over."""
    if text.isascii():
        return True
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


def _reason(error: jsonschema_rs.ValidationError) -> str:
    pointer = "".join(f"/{_pointer(str(part))}" for part in error.instance_path)
    rule = str(error.schema_path[-1]) if error.schema_path else "schema"
    return f"{pointer} {rule}: {error.message[:SHOWN]}".lstrip()


def _pointer(part: str) -> str:
    return part.replace("~", "~0").replace("/", "~1")
