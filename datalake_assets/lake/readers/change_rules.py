"""The rules that a row of a DMS file can break, as Polars expressions.

Belongs here: which rows are rejected, and the words for it. While a file is read its own columns are called
`raw <name>` and the declared ones in their types `typed <name>`, so that neither meets a column that the reader adds.
"""

from dataclasses import dataclass

import polars as pl

from datalake_assets.lake.readers.bounds import above, below, shown_bound
from datalake_assets.lake.readers.columns import exactly, has_text
from datalake_assets.lake.readers.sequence import SEQUENCE_DTYPE, sequence
from datalake_assets.lake.spec.columns import BEFORE_IMAGE, DELETE, INSERT, LOAD, OPERATION, UPDATE
from datalake_assets.lake.spec.dataset import OPERATION_COLUMN, CdcTable
from datalake_assets.lake.spec.types import LakeType
from datalake_assets.lake.store.dtypes import dtype_of

TIMESTAMP_TYPE = LakeType("timestamp")
_OPERATIONS = (INSERT, UPDATE, DELETE, LOAD)
_SHOWN = 100
_TICKS_PER_SECOND = {"s": 1, "ms": 1_000, "us": 1_000_000}
_FIRST_SECOND, _LAST_SECOND = -62_135_596_800, 253_402_300_799  # the years 1 to 9999, which a Python date can hold


@dataclass(frozen=True, slots=True)
class Fault:
    """A rule that rows can break: which rows do, and the reason to tell for each of them."""

    broken: pl.Expr
    reason: pl.Expr


def faults(dataset: CdcTable, schema: pl.Schema, *, full_load: bool) -> list[Fault]:
    """The rules that rows of a file can break. A delete needs its key alone (the default replica identity).

    `schema` are the columns of the file; in a full load nobody asks for the operation.
    """
    operation = pl.col(OPERATION)
    rules = _faults_of_dms(dataset, schema, full_load=full_load)
    for name, column in dataset.columns.items():
        typed, is_key = pl.col(typed_name(name)), name in dataset.key
        own: list[Fault] = []
        if name in schema and schema[name] != dtype_of(column.lake_type):
            own.append(_type_fault(name, schema[name], column.type, broken=typed.is_null()))
        image = before_image(dataset, name) if is_key else None
        if image is not None and image in schema:
            before = exactly(raw(image), schema[image], column.lake_type)
            own.append(_type_fault(image, schema[image], column.type, broken=before.is_null()))
        if column.required or is_key:
            missing = raw(name).is_null() if name in schema else pl.lit(value=True)
            own.append(Fault(missing, pl.lit(f"/{name} required: NULL in a required column")))
        if column.minimum is not None:
            rule = f"minimum: {{}} is less than {shown_bound(column.minimum)}"
            own.append(_bound_fault(name, typed, rule, below(typed, column.lake_type, column.minimum)))
        if column.maximum is not None:
            rule = f"maximum: {{}} is greater than {shown_bound(column.maximum)}"
            own.append(_bound_fault(name, typed, rule, above(typed, column.lake_type, column.maximum)))
        if dataset.event_time and name == dataset.event_time.column:
            text = typed.cast(pl.String, strict=False).fill_null("a value")
            reason = pl.format(f"/{_braced(name)} event_time: {{}} is no time of the years 1 to 9999", text)
            own.append(Fault(typed.is_not_null() & event_time(dataset, typed).is_null(), reason))
        rules += own if is_key else [Fault(f.broken & (operation != DELETE), f.reason) for f in own]
    return rules


def _faults_of_dms(dataset: CdcTable, schema: pl.Schema, *, full_load: bool) -> list[Fault]:
    """The rules of the columns that DMS adds: the operation, the sequence, and the commit time."""
    operation = pl.col(OPERATION)
    known = operation.is_in(_OPERATIONS)
    if not full_load and OPERATION_COLUMN in schema:
        known &= raw(OPERATION_COLUMN).is_null() | (operation != LOAD)
    rules = [Fault(~known, pl.format("/Op enum: {} is not one of I, U, D", operation))]
    if not full_load:
        rules += [_sequence_fault(name, schema) for name in dataset.order_by]
    no_text = []
    if not full_load and OPERATION_COLUMN in schema and not is_text(schema[OPERATION_COLUMN]):
        no_text.append(OPERATION_COLUMN)
    rules += [_type_fault(name, schema[name], "string", broken=pl.lit(value=True)) for name in no_text]
    time = dataset.timestamp_column
    if time is not None and time in schema:
        moment = exactly(raw(time), schema[time], TIMESTAMP_TYPE)
        rules.append(_type_fault(time, schema[time], "timestamp", broken=moment.is_null()))
        shown = moment.cast(pl.String, strict=False).fill_null("a value")
        reason = pl.format(f"/{_braced(time)} timestamp_column: {{}} is no time of the years 1 to 9999", shown)
        rules.append(Fault(~in_calendar(moment.to_physical()), reason))
    return rules


def before_image(dataset: CdcTable, name: str) -> str | None:
    """The column in which DMS tells what a column held before a change; None where that is a column of the table."""
    column = f"{BEFORE_IMAGE}{name}"
    return None if column in dataset.columns else column


def key_before(dataset: CdcTable, name: str, schema: pl.Schema) -> pl.Expr:
    """The value that a column of the key had before a change: its own where nothing else is told."""
    column = before_image(dataset, name)
    if column is None or column not in schema:
        return pl.col(typed_name(name))
    before = exactly(raw(column), schema[column], dataset.columns[name].lake_type)
    return pl.coalesce(before, pl.col(typed_name(name)))


def moves(dataset: CdcTable, schema: pl.Schema) -> pl.Expr:
    """Whether an update gave a row another key."""
    other = (key_before(dataset, name, schema) != pl.col(typed_name(name)) for name in dataset.key)
    return (pl.col(OPERATION) == UPDATE) & pl.any_horizontal(other)


def order_number(name: str, schema: pl.Schema) -> pl.Expr:
    """What a column of the file says of the order of changes; null where it is absent or says nothing."""
    return sequence(raw(name), schema[name]) if name in schema else pl.lit(None, SEQUENCE_DTYPE)


def event_time(dataset: CdcTable, value: pl.Expr | None = None) -> pl.Expr:
    """When a row's event was, UTC; null for none, and for what is no time of the years 1 to 9999.

    `value` is the event time's column in its declared type; by default it goes by its own name. DMS clips Postgres's
    -infinity to 4713 BC.
    """
    if dataset.event_time is None:
        return pl.lit(None, dtype_of(TIMESTAMP_TYPE))
    column, unit = dataset.event_time.column, dataset.event_time.unit or "s"
    value = pl.col(column) if value is None else value
    match dataset.columns[column].lake_type.name:
        case "timestamp":
            ticks = value.to_physical()
        case "date":
            ticks = value.to_physical().cast(pl.Int64) * 86_400_000_000
        case "string":
            ticks = exactly(value, pl.String(), TIMESTAMP_TYPE).to_physical()
        case _:
            scale = _TICKS_PER_SECOND[unit]
            number = value.cast(pl.Int64, strict=False)
            in_range = number.is_between(_FIRST_SECOND * scale, _LAST_SECOND * scale)
            ticks = pl.when(in_range).then(number) * (1_000_000 // scale)
    return pl.when(in_calendar(ticks)).then(ticks).cast(dtype_of(TIMESTAMP_TYPE))


def in_calendar(ticks: pl.Expr) -> pl.Expr:
    """Whether microseconds since 1970 are a time of the years 1 to 9999, which a Python date can hold."""
    return ticks.is_between(_FIRST_SECOND * 1_000_000, _LAST_SECOND * 1_000_000 + 999_999)


def raw_name(name: str) -> str:
    """What a column of the file is called while it is read: apart from the lake's own, whatever its name is."""
    return f"raw {name}"


def typed_name(name: str) -> str:
    """What a declared column is called in its declared type."""
    return f"typed {name}"


def raw(name: str) -> pl.Expr:
    """A column of the file as it is."""
    return pl.col(raw_name(name))


def is_text(dtype: pl.DataType) -> bool:
    """Whether a column of the file holds text, or nothing at all."""
    return dtype in {pl.String(), pl.Null()}


def _type_fault(name: str, found: pl.DataType, wanted: str, *, broken: pl.Expr) -> Fault:
    """A value that can't be had in the wanted type: `broken` tells where the typed column is null."""
    text = raw(name).cast(pl.String, strict=False) if has_text(found) else pl.lit(None, pl.String)
    message = f"/{_braced(name)} type: {{}} ({_braced(str(found))}) is no {wanted}"
    return Fault(broken & raw(name).is_not_null(), pl.format(message, text.fill_null("a value").str.slice(0, _SHOWN)))


def _sequence_fault(name: str, schema: pl.Schema) -> Fault:
    """A change whose place among the others can't be told."""
    rule = f"/{_braced(name)} order_by:"
    if name not in schema:
        return Fault(
            pl.lit(value=True),
            pl.lit(f"{rule} the file lacks the column that orders changes; have DMS add it to all files"),
        )
    text = raw(name).cast(pl.String, strict=False) if has_text(schema[name]) else pl.lit(None, pl.String)
    shown = pl.when(raw(name).is_null()).then(pl.lit("NULL")).otherwise(text.fill_null("a value").str.slice(0, _SHOWN))
    return Fault(
        order_number(name, schema).is_null(),
        pl.format(f"{rule} {{}} is no place in an order; what tells it are digits, or an LSN like 16/B374D848", shown),
    )


def _bound_fault(name: str, typed: pl.Expr, rule: str, broken: pl.Expr) -> Fault:
    return Fault(broken, pl.format(f"/{_braced(name)} {rule}", typed.cast(pl.String)))


def _braced(name: str) -> str:
    """A name as a format string holds it."""
    return name.replace("{", "").replace("}", "")
