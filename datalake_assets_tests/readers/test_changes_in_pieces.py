"""A file that is larger than memory allows at once is read in pieces, as if it were read whole."""

from collections.abc import Sequence
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from datalake_assets.lake.readers.batch import Batch, Limits
from datalake_assets.lake.readers.change_parts import Part
from datalake_assets.lake.readers.change_rows import ChangeRows
from datalake_assets.lake.readers.changes import ChangeReader
from datalake_assets.lake.store.landing import LandedObject
from datalake_assets_tests.memory.lakes import LOADED, DiedError, MemoryLake, dying, orders
from datalake_assets_tests.readers.bronze import loading

ROWS = 35_000
LIMITS = Limits(memory_bytes=32 * 200_000)
KEY = "dms/public/orders/LOAD00000001.parquet"


def load_file() -> bytes:
    """A full load of many rows in row groups as DMS writes them; every thousandth has no key."""
    ids = [None if n % 1000 == 999 else n for n in range(ROWS)]
    table = pa.table(
        {
            "committed": ["2026-03-01 08:00:00.000000"] * ROWS,
            "id": pa.array(ids, pa.int64()),
            "customer_id": pa.array(range(ROWS), pa.int64()),
            "product_name": [f"tea {n}" for n in range(ROWS)],
            "price": [f"{n}.25" for n in range(ROWS)],
            "created_at": pa.array([n * 60_000_000 for n in range(ROWS)], pa.timestamp("us")),
        }
    )
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, row_group_size=10_000, compression="none", use_dictionary=False)
    return bytes(sink.getvalue())


def batches(data: bytes, limits: Limits) -> list[Batch]:
    landed = LandedObject(KEY, "etag", len(data), LOADED, "2026-03-01-10:00")
    return list(ChangeReader(orders(), limits).batches(loading({KEY: data}), [landed]))


def rows(read: list[Batch]) -> pl.DataFrame:
    frames: list[pl.LazyFrame] = [batch.accepted.drop("etl_timestamp").to_native() for batch in read]
    return pl.concat(frames).collect()


def rejects(read: list[Batch]) -> pl.DataFrame:
    return pl.concat(batch.rejected.drop("etl_timestamp") for batch in read)


def test_pieces_are_read_as_the_whole_is() -> None:
    """A load of five million rows was one batch, and took 4.5 GB."""
    data = load_file()
    whole, pieces = batches(data, Limits()), batches(data, LIMITS)
    assert (len(whole), len(pieces)) == (1, 4)
    assert rows(pieces).equals(rows(whole))
    assert rejects(pieces).equals(rejects(whole))
    assert [len(batch.outcomes) for batch in pieces] == [0, 0, 0, 1]
    (told,), (outcome,) = whole[0].outcomes, pieces[-1].outcomes
    assert outcome.model_copy(update={"bytes_rejected": told.bytes_rejected}) == told
    assert outcome.bytes_rejected == pytest.approx(told.bytes_rejected, rel=0.2)
    assert [[o.rows_in for o in batch.unfinished] for batch in pieces] == [[10_000], [20_000], [30_000], []]


def damaged(data: bytes) -> bytes:
    """The file with one page of its third row group overwritten."""
    metadata = pq.ParquetFile(pa.BufferReader(data)).metadata
    column = metadata.row_group(2).column(3)
    begin, size = int(column.data_page_offset), int(column.total_compressed_size)
    return data[:begin] + b"\xff" * size + data[begin + size :]


def test_a_damaged_file_is_rejected_whole_however_it_is_cut() -> None:
    """What of it came to silver depended on the limit of memory."""
    data = damaged(load_file())
    for limits in (Limits(), LIMITS):
        (read,) = batches(data, limits)
        assert rows([read]).is_empty()
        (outcome,) = read.outcomes
        assert (outcome.state, outcome.final) == ("failed", True)


def test_rows_that_can_not_be_evaluated_are_rejected_by_reference_and_the_others_are_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    evaluate = ChangeRows._changes  # noqa: SLF001 (stands for what a library can't do with some rows)

    def panics(self: ChangeRows, frame: pl.DataFrame, parts: Sequence[Part]) -> object:
        if parts[0].rows.first > 20_000:
            raise pl.exceptions.PanicException("index out of bounds")
        return evaluate(self, frame, parts)

    monkeypatch.setattr(ChangeRows, "_changes", panics)
    read = batches(load_file(), LIMITS)
    assert rows(read).height == 20_000 - 20
    (outcome,) = read[-1].outcomes
    assert (outcome.state, outcome.rows_rejected) == ("processed", 20 + 2)
    reasons = rejects(read).filter(pl.col("row_number") == 20_001)["errors"].to_list()
    assert "its rows from 20,001 on: its columns can't be evaluated: index out of bounds" in reasons[0][0]


@pytest.mark.parametrize("at", range(2, 12))
def test_a_step_that_dies_between_the_pieces_of_a_file_loses_nothing(tmp_path: Path, at: int) -> None:
    lake = MemoryLake(tmp_path / "lake", orders())
    object.__setattr__(lake.lake, "limits", LIMITS)
    lake.land_changes("LOAD00000001.parquet", load_file())
    with pytest.raises(DiedError), dying(at=at):
        lake.process()
    lake.process()
    assert sorted(i for (i,) in lake.rows("silver.orders", "id")) == [n for n in range(ROWS) if n % 1000 != 999]
    assert len(lake.rejected("orders")) == 35
    assert len(lake.rows("silver.orders_history", "id")) == ROWS - 35
