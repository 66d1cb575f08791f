"""Small files of one form are evaluated together: each is read as it is alone, whatever lies beside it."""

import io
import time
from collections.abc import Mapping, Sequence
from random import Random
from threading import Event
from typing import Any
from unittest.mock import patch

import polars as pl
import pytest

from datalake_assets.lake.readers.batch import Batch, Limits, held_bytes
from datalake_assets.lake.readers.change_parts import Part
from datalake_assets.lake.readers.change_rows import ChangeRows
from datalake_assets.lake.readers.changes import ChangeReader
from datalake_assets.lake.spec.dataset import CdcTable
from datalake_assets.lake.store.landing import LandedObject
from datalake_assets.lake.store.outcome import ObjectOutcome
from datalake_assets_tests.memory.lakes import LOADED, order, orders
from datalake_assets_tests.readers.bronze import loading

FOLDER = "dms/public/orders"
TYPES = {
    "committed": pl.String(),
    "seq": pl.String(),
    "id": pl.Int64(),
    "price": pl.String(),
    "created_at": pl.Datetime("us"),
    "note": pl.String(),
    "grams": pl.Int32(),
    "BI__id": pl.Int64(),
}
Files = Mapping[str, bytes]


def table() -> CdcTable:
    """A table with what takes a path of its own while it is read: old keys, kept values, limits, lines of CSV."""
    columns = {
        "note": {"type": "string", "on_missing": "keep"},
        "grams": {"type": "int32", "minimum": 0},
    }
    return orders(columns=columns, csv={"header": True})


def read(dataset: CdcTable, files: Files, limits: Limits | None = None) -> list[Batch]:
    objects = [LandedObject(key, "etag", len(data), LOADED, "2026-03-01-10:00") for key, data in files.items()]
    return list(ChangeReader(dataset, limits or Limits()).batches(loading(files), objects))


def accepted(batches: Sequence[Batch]) -> pl.DataFrame:
    frames: list[pl.LazyFrame] = [batch.accepted.drop("etl_timestamp").to_native() for batch in batches]
    return pl.concat(frames).collect().sort("source_filename", "_row_number", "operation")


def rejected(batches: Sequence[Batch]) -> pl.DataFrame:
    return pl.concat(batch.rejected.drop("etl_timestamp") for batch in batches)


def outcomes(batches: Sequence[Batch]) -> list[ObjectOutcome]:
    return [outcome for batch in batches for outcome in batch.outcomes]


def frame(rows: Sequence[Mapping[str, Any]], **types: pl.DataType) -> pl.DataFrame:
    known = {name: dtype for name, dtype in (TYPES | types).items() if name in rows[0]}
    return pl.DataFrame(rows, infer_schema_length=None, schema_overrides=known)


def parquet(rows: Sequence[Mapping[str, Any]], *, of_these: int = 100, **types: pl.DataType) -> bytes:
    sink = io.BytesIO()
    frame(rows, **types).head(of_these).write_parquet(sink)
    return sink.getvalue()


def row(random: Random, seq: int) -> dict[str, Any]:
    """A change of which every so often something is wrong, missing, or of an undeclared column."""
    values: dict[str, Any] = {
        "price": random.choice(["1.25", "1.255", None]),
        "note": random.choice([None, "as it was"]),
        "grams": random.choice([None, 5, -5]),
        "created_at": random.choice([None, LOADED.replace(tzinfo=None, day=random.randint(1, 28))]),
        "BI__id": random.choice([None, random.randint(1, 9)]),
    }
    change = order(random.choice("IIUUDX"), random.randint(1, 9), seq, **values)
    change["committed"] = random.choice([change["committed"], change["committed"], None, "soon"])
    change["id"] = random.choice([*[change["id"]] * 9, None])
    return change


def file(random: Random, number: int) -> tuple[str, bytes]:
    """A file of one of the forms that DMS lands, or of one that it should not."""
    name = f"{FOLDER}/2026/03/01/10/20260301-{100000000 + number}.parquet"
    rows = [row(random, 100 * number + n) for n in range(random.randint(1, 9))]
    match random.choice([*["changes"] * 5, "load", "no rows", "undeclared", "other types", "csv", "damaged"]):
        case "load":
            name, data = f"{FOLDER}/LOAD{number:08}.parquet", parquet([r | {"seq": None} for r in rows])
        case "no rows":
            data = parquet(rows, of_these=0)
        case "undeclared":
            data = parquet([r | {"weight": n} for n, r in enumerate(rows)])
        case "other types":
            data = parquet([r | {"grams": "5" if r["id"] else "much"} for r in rows], grams=pl.String())
        case "csv":
            ending = random.choice(["", "too,few,fields\n", '"no end\n'])
            name, data = name.replace(".parquet", ".csv"), (frame(rows).write_csv() + ending).encode()
        case "damaged":
            data = parquet(rows)[:-9]
        case _:
            data = parquet(rows)
    return name, data


@pytest.mark.parametrize("seed", range(8))
def test_a_file_is_read_as_it_is_alone(seed: int) -> None:
    random, dataset = Random(seed), table()
    files = dict(file(random, number) for number in range(random.randint(2, 30)))
    alone = [batch for key, data in files.items() for batch in read(dataset, {key: data})]
    for limits in (Limits(), Limits(memory_bytes=64 * 2_000)):
        together = read(dataset, files, limits)
        assert accepted(together).equals(accepted(alone))
        assert rejected(together).equals(rejected(alone))
        assert outcomes(together) == outcomes(alone)
    assert {outcome.key for outcome in outcomes(alone)} == set(files)


def test_files_that_can_not_be_evaluated_together_are_evaluated_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    evaluate = ChangeRows._changes  # noqa: SLF001 (stands for what a library can't do with some rows)

    def panics(self: ChangeRows, frame: pl.DataFrame, parts: Sequence[Part]) -> object:
        if 3 in frame["id"]:
            raise pl.exceptions.PanicException("index out of bounds")
        return evaluate(self, frame, parts)

    monkeypatch.setattr(ChangeRows, "_changes", panics)
    files = {f"{FOLDER}/2026/03/01/10/20260301-10000000{n}.parquet": parquet([order("I", n, n)]) for n in range(5)}
    batches = read(orders(), files)
    assert [outcome.state for outcome in outcomes(batches)] == [*["processed"] * 3, "failed", "processed"]
    assert accepted(batches)["id"].to_list() == [0, 1, 2, 4]
    assert "index out of bounds" in rejected(batches)["errors"].to_list()[0][0]


def test_a_damaged_file_beside_a_table_that_keeps_values_stops_no_other() -> None:
    """Columns of a file with no changes stood in another order: the batch could not be made, nor any after it."""
    good, bad = f"{FOLDER}/2026/03/01/10/20260301-100000000.parquet", f"{FOLDER}/LOAD00000001.parquet"
    batches = read(table(), {good: parquet([order("U", 1, 1, note=None, grams=1)]), bad: b"PAR1"})
    assert [outcome.state for outcome in outcomes(batches)] == ["processed", "failed"]
    assert accepted(batches).select("id", "_left_out").rows() == [(1, ",note,")]


def test_many_small_files_are_evaluated_together_as_far_as_memory_allows() -> None:
    """Texts that are NULL and files of one row counted for nothing: a group grew with the number of files."""
    dataset = orders(columns={f"text_{n}": {"type": "string"} for n in range(100)})
    rows = [order("I", n, n, **{f"text_{n}": None for n in range(100)}) for n in range(50)]
    types: dict[str, Any] = {f"text_{n}": pl.String() for n in range(100)}
    files = {f"{FOLDER}/2026/03/01/10/20260301-{100000000 + n}.parquet": parquet(rows, **types) for n in range(20)}
    limits = Limits(memory_bytes=20 * 1_000_000)
    batches = read(dataset, files, limits)
    assert [len(batch.outcomes) for batch in batches] == [5] * 4
    held: list[int] = [held_bytes(batch.accepted.collect().to_native()) for batch in batches]
    assert max(held) < 2 * limits.batch_bytes


def test_whoever_stops_reading_does_not_wait_for_all_that_could_be_read() -> None:
    """A Ctrl-C in a step over hundreds of small files took as long as reading them all."""
    data, asked, begun = parquet([order("I", 1, 1)]), [], Event()

    def load(landed: LandedObject) -> bytes:
        asked.append(landed.key)
        begun.set()
        time.sleep(0.01)
        return data

    keys = [f"{FOLDER}/2026/03/01/10/20260301-{100000000 + n}.parquet" for n in range(3_000)]
    objects = [LandedObject(key, "etag", len(data), LOADED, "2026-03-01-10:00") for key in keys]
    batches = ChangeReader(orders(), Limits()).batches(load, objects)

    def stop() -> None:
        begun.wait(timeout=10)
        raise InterruptedError

    with pytest.raises(InterruptedError), patch("queue.Queue.get", side_effect=stop):
        next(batches)
    assert len(asked) < len(keys) / 2
