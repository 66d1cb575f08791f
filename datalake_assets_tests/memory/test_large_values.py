"""Large values in records, good and bad: the log of a table stays small, and every opening of it fast."""

from pathlib import Path

import pytest

from datalake_assets_tests.memory.lakes import AT, MemoryLake, order, orders, stream

MEGABYTES = 8 * 1024**2
_MOST_BYTES = 10_000


def longest_commit(lake: MemoryLake) -> int:
    return max(file.stat().st_size for file in lake.root.rglob("_delta_log/*.json"))


@pytest.mark.parametrize("place", ["a column", "the key", "an unknown field", "the type"])
def test_a_long_string_in_a_good_record_leaves_the_log_short(tmp_path: Path, place: str) -> None:
    """One long string made a commit of twice its size, as bounds of every column went into the log."""
    lake = MemoryLake(tmp_path / "lake", stream(properties={"text": {"type": "string"}, "type": {"type": "string"}}))
    name = {"a column": "text", "the key": "id", "an unknown field": "else", "the type": "type"}[place]
    lake.land("o", [{"id": "a", "at": AT} | {name: "é" * (MEGABYTES // 2)}, {"id": "b", "at": AT}])
    lake.run()
    assert len(lake.ids()) == 2
    assert lake.undone() == []
    assert longest_commit(lake) < _MOST_BYTES


@pytest.mark.parametrize(
    "line",
    [b"\xff" * MEGABYTES, b'{"id": "' + b"x" * MEGABYTES, b"[" * MEGABYTES],
    ids=["no text", "no end", "too deep"],
)
def test_a_large_reject_leaves_the_log_short_and_its_bytes_exact(tmp_path: Path, line: bytes) -> None:
    """A large reject that was no text made a commit of many times its size."""
    lake = MemoryLake(tmp_path / "lake", stream())
    lake.land("o", b'{"id": "a", "at": 1772359200}\n' + line + b"\n")
    lake.run()
    assert lake.ids() == ["a"]
    ((raw, exact, number),) = lake.rows("quarantine.clicks", "raw", "raw_bytes", "row_number")
    assert (raw.encode() if exact is None else exact, number) == (line, 2)
    assert longest_commit(lake) < _MOST_BYTES
    lake.replay()
    assert longest_commit(lake) < _MOST_BYTES


def test_a_long_text_in_a_replicated_table_leaves_the_log_short(tmp_path: Path) -> None:
    lake = MemoryLake(tmp_path / "lake", orders(columns={"note": {"type": "string"}}, key=["id", "note"]))
    lake.land_changes("LOAD00000001.parquet", [order("I", n, 0, note=f"{n}" * MEGABYTES) for n in range(2)])
    lake.run()
    assert len(lake.rows("silver.orders", "id")) == 2
    assert longest_commit(lake) < _MOST_BYTES
