"""How the rows of a file that DMS lands become typed changes: the accepted ones in the lake's columns, and rejects.

A value that can't be had exactly in its declared type sends its row to quarantine.
"""

from collections.abc import Iterator, Sequence

import polars as pl

from datalake_assets.lake.readers.change_parts import (
    FILE_COMMIT,
    PART,
    Part,
    Verdict,
    columns_of_files,
    count_accepted,
    note_rejects,
    note_transfers,
)
from datalake_assets.lake.readers.change_rules import (
    TIMESTAMP_TYPE,
    before_image,
    event_time,
    faults,
    is_text,
    key_before,
    moves,
    order_number,
    raw,
    raw_name,
    typed_name,
)
from datalake_assets.lake.readers.columns import content_hash, exactly
from datalake_assets.lake.readers.failures import UnreadableObjectError
from datalake_assets.lake.readers.found_types import json_text
from datalake_assets.lake.readers.json_columns import json_object
from datalake_assets.lake.readers.sequence import SEQUENCE_DTYPE
from datalake_assets.lake.spec.columns import (
    COMMITTED_AT,
    CONTENT_HASH,
    DELETE,
    EVENT_DATE,
    EVENT_TIME,
    FILE_TIME,
    INSERT,
    IS_CHANGE,
    LEFT_OUT,
    LOAD,
    OPERATION,
    ROW_NUMBER,
    SOURCE_FILENAME,
    UNKNOWN,
    UPDATE,
)
from datalake_assets.lake.spec.dataset import OPERATION_COLUMN, CdcTable
from datalake_assets.lake.spec.widening import ANY
from datalake_assets.lake.store.dtypes import dtype_of

_FAULTY = "_faulty"
_SHOWN = 500
_TIMESTAMP = pl.Datetime("us", "UTC")


class ChangeRows:
    """Evaluates the rows of one CDC table's files."""

    def __init__(self, dataset: CdcTable) -> None:
        """Prepare for a dataset."""
        self._dataset = dataset
        self._types = {name: column.lake_type for name, column in dataset.columns.items()}
        self.none = self._no_changes()
        """No rows, with the columns of all that is accepted."""

    def evaluated(self, parts: Sequence[Part]) -> tuple[pl.DataFrame, list[Verdict]]:
        """The accepted changes of rows of files that are of one form, and what is told of each part.

        Raises `UnreadableObjectError` where Polars can't evaluate what is in them.
        """
        frame = pl.concat([part.rows.frame for part in parts])
        if not frame.width:
            return self.none, [Verdict() for _ in parts]
        if lacking := [name for name in self._dataset.key if name not in frame.columns]:
            found = ", ".join(frame.columns)[:_SHOWN]
            raise UnreadableObjectError(
                f"its columns are not those of the table: it has no {', '.join(lacking)}, which is the key, but "
                f"{found}; land it under its own table's prefix, or mend the dataset file"
            )
        try:
            return self._changes(frame, parts)
        except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
            reason = str(error).partition("\n")[0]
            raise UnreadableObjectError(
                f"its columns can't be evaluated: {reason}; replicate them with another type, or not at all, and land "
                "the object again"
            ) from None

    def _changes(self, frame: pl.DataFrame, parts: Sequence[Part]) -> tuple[pl.DataFrame, list[Verdict]]:
        schema, full_load = frame.schema, parts[0].is_full_load
        told_by_files = columns_of_files(parts, prefix=self._dataset.landing.prefix)
        read = pl.concat([frame.rename(raw_name), told_by_files], how="horizontal").with_columns(
            *(self._column(name, schema).alias(typed_name(name)) for name in self._types),
            self._operation(schema, full_load=full_load).alias(OPERATION),
            self._committed_at(schema).alias(COMMITTED_AT),
            self._unknown(schema).alias(UNKNOWN),
            *self._sequences(schema, full_load=full_load),
            pl.lit(not full_load).alias(IS_CHANGE),
        )
        rules = faults(self._dataset, schema, full_load=full_load)
        judged = read.with_columns(pl.any_horizontal(f.broken.fill_null(value=False) for f in rules).alias(_FAULTY))
        accepted = judged.filter(~pl.col(_FAULTY))
        row = {name: pl.col(typed_name(name)) for name in self._types}
        row |= {name: pl.col(name) for name in (*self.none.columns, PART) if name in judged.columns and name not in row}
        if full_load or not any(before_image(self._dataset, name) in schema for name in self._dataset.key):
            changes = self._stamped(accepted.select(**row))
        else:
            changes = self._stamped(pl.concat(self._split(accepted, row, schema)))
        verdicts = [Verdict() for _ in parts]
        count_accepted(changes, verdicts)
        # Only for the rows that break a rule is it worked out what to say.
        reasons = pl.concat_list(pl.when(f.broken).then(f.reason) for f in rules).list.drop_nulls()
        as_landed = json_object({name: (raw(name), dtype) for name, dtype in schema.items()})
        bad = judged.filter(_FAULTY).select(PART, ROW_NUMBER, as_landed.alias("raw"), reasons.alias("reasons"))
        note_rejects(bad, parts, verdicts)
        time = self._dataset.timestamp_column
        if full_load and time is not None and time in schema:
            moment = exactly(raw(time), schema[time], TIMESTAMP_TYPE)
            note_transfers(judged.select(PART, moment.alias("moment")), verdicts)
        return changes.select(self.none.columns), verdicts

    def _split(
        self, accepted: pl.DataFrame, row: dict[str, pl.Expr], schema: pl.Schema
    ) -> tuple[pl.DataFrame, pl.DataFrame]:
        """Changes, with the updates that moved a row to another key as inserts, and the deletes of the keys it left."""
        moved = moves(self._dataset, schema)
        operation = pl.when(moved).then(pl.lit(INSERT)).otherwise(OPERATION)
        nothing = {name: pl.lit(None, dtype_of(t)) for name, t in self._types.items()} | {
            UNKNOWN: pl.lit(None, pl.String)
        }
        before = {name: key_before(self._dataset, name, schema) for name in self._dataset.key}
        gone = row | nothing | before | {OPERATION: pl.lit(DELETE)}
        return accepted.select(**row | {OPERATION: operation}), accepted.filter(moved).select(**gone)

    def _stamped(self, good: pl.DataFrame) -> pl.DataFrame:
        """Changes with their event time and date and the hash of their content."""
        hashed = {name: dtype_of(t) for name, t in self._types.items()} | {UNKNOWN: pl.String()}
        with_nulls = [name for name in hashed if good[name].null_count()]
        return good.with_columns(
            content_hash(hashed, with_nulls=with_nulls).alias(CONTENT_HASH),
            event_time(self._dataset).alias(EVENT_TIME),
            *self._left_out(),
        ).with_columns(pl.col(EVENT_TIME).dt.date().alias(EVENT_DATE))

    def _left_out(self) -> Iterator[pl.Expr]:
        """Which of the columns that keep their value an update has none for."""
        if kept := self._dataset.kept_columns:
            names = [pl.when(pl.col(name).is_null()).then(pl.lit(f"{name},")) for name in kept]
            told = pl.concat_str(pl.lit(","), *names, ignore_nulls=True)
            yield pl.when((pl.col(OPERATION) == UPDATE) & (told != ",")).then(told).alias(LEFT_OUT)

    def _column(self, name: str, schema: pl.Schema) -> pl.Expr:
        """A declared column in its type; one that the file lacks is null (a column removed at the source)."""
        if name not in schema:
            return pl.lit(None, dtype_of(self._types[name]))
        if self._types[name] == ANY and name in self._dataset.added:
            return json_text(raw(name), schema[name])
        return exactly(raw(name), schema[name], self._types[name])

    def _sequences(self, schema: pl.Schema, *, full_load: bool) -> Iterator[pl.Expr]:
        """The numbers that order changes; a load has none (AWS DMS: AR_H_CHANGE_SEQ is empty there)."""
        for name, column in self._dataset.sequence_columns.items():
            yield (pl.lit(0, SEQUENCE_DTYPE) if full_load else order_number(name, schema)).alias(column)

    def _operation(self, schema: pl.Schema, *, full_load: bool) -> pl.Expr:
        """`Op`; a missing or NULL one is a load (AWS DMS: IncludeOpForFullLoad=false), as is all of a load file."""
        if full_load or OPERATION_COLUMN not in schema:
            return pl.lit(LOAD)
        if not is_text(schema[OPERATION_COLUMN]):
            return pl.when(raw(OPERATION_COLUMN).is_null()).then(pl.lit(LOAD))
        return raw(OPERATION_COLUMN).cast(pl.String).fill_null(LOAD)

    def _committed_at(self, schema: pl.Schema) -> pl.Expr:
        """The commit time; where there is none, the time of the file."""
        otherwise = pl.col(FILE_COMMIT)
        name = self._dataset.timestamp_column
        if name is None or name not in schema:
            return otherwise
        return exactly(raw(name), schema[name], TIMESTAMP_TYPE).fill_null(otherwise)

    def _unknown(self, schema: pl.Schema) -> pl.Expr:
        """The columns that are not declared, as JSON text in the order of their names; null where none has a value."""
        dms = self._dataset.dms_columns
        unknown = {n: (raw(n), schema[n]) for n in sorted(schema) if n not in self._types and n not in dms}
        if not unknown:
            return pl.lit(None, pl.String)
        has_value = pl.any_horizontal(value.is_not_null() for value, _ in unknown.values())
        return pl.when(has_value).then(json_object(unknown))

    def _no_changes(self) -> pl.DataFrame:
        """No rows, with the columns of all that is accepted."""
        lake: dict[str, pl.DataType] = {
            OPERATION: pl.String(),
            COMMITTED_AT: _TIMESTAMP,
            IS_CHANGE: pl.Boolean(),
            FILE_TIME: _TIMESTAMP,
            ROW_NUMBER: pl.Int64(),
            UNKNOWN: pl.String(),
            **dict.fromkeys(self._dataset.sequence_columns.values(), SEQUENCE_DTYPE),
            SOURCE_FILENAME: pl.String(),
            CONTENT_HASH: pl.String(),
            EVENT_TIME: _TIMESTAMP,
            EVENT_DATE: pl.Date(),
            **({LEFT_OUT: pl.String()} if self._dataset.kept_columns else {}),
        }
        return pl.DataFrame(schema={name: dtype_of(t) for name, t in self._types.items()} | lake)
