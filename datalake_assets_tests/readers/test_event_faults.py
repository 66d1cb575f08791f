"""An object that can't be read fails alone: what is told of it, and that its neighbours are read all the same."""

import gzip
import random
import zlib
from collections.abc import Iterable
from itertools import pairwise
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from isal import isal_zlib

from datalake_assets.lake.readers.batch import Limits
from datalake_assets.lake.readers.event_columns import EventColumns
from datalake_assets.lake.readers.records import RecordReader, Records
from datalake_assets.lake.store.objects import MissingObjectError, SupersededObjectError, TooLargeObjectError
from datalake_assets_tests.readers.reading import Read
from datalake_assets_tests.streams import AT, ndjson

GOOD = ndjson([{"id": "1", "at": AT}])[:-1]
LINE = gzip.compress(GOOD + b"\n", mtime=0)
WHOLE = gzip.compress(GOOD + b"\n" + GOOD, mtime=0)
BIG = 50_000_000
WHOLE_MEMBERS = isal_zlib.decompressobj


@pytest.mark.parametrize(
    "data",
    [
        WHOLE[:2],
        WHOLE[:10],
        WHOLE[:-4] + b"\0\0\0\0",
        WHOLE[:-8] + b"\0\0\0\0" + WHOLE[-4:],
        b"\x1f\x8brubbish of all kinds",
    ],
)
def test_a_damaged_object_fails_for_good_and_stops_no_other(data: bytes) -> None:
    found = Read({"bad": data, "good": GOOD})
    damaged = found.outcomes["bad"]
    assert (damaged.state, damaged.final) == ("failed", True)
    assert damaged.error is not None
    assert damaged.error.startswith("gzip: ")
    assert damaged.error.endswith("; land the object again")
    assert (damaged.rows_in, damaged.rows_out, damaged.rows_rejected) == (0, 0, 0)
    assert (damaged.bytes_read, damaged.bytes_rejected) == (len(data), len(data))
    assert found.outcomes["good"].state == "processed"
    assert found.files == ["good"]
    (reject,) = found.rejected
    assert {k: reject[k] for k in ("source_filename", "etag", "row_number", "raw", "raw_bytes", "errors")} == {
        "source_filename": "bad",
        "etag": "1",
        "row_number": 0,
        "raw": "",
        "raw_bytes": None,
        "errors": [f"object: {damaged.error}"],
    }


@pytest.mark.parametrize(
    ("data", "kept", "wrong"),
    [
        (WHOLE[:-1], 2, "it ends early"),
        (WHOLE[:-9], 2, "it ends early"),
        (WHOLE[:20], 0, "it ends early"),
        (WHOLE + b"rubbish", 2, f"what comes after {len(WHOLE)} bytes is something else"),
        (WHOLE + b"\n" + WHOLE[:-3], 2, f"what comes after {len(WHOLE)} bytes is something else"),
        (LINE + WHOLE[:-3], 3, "it ends early"),
        (LINE + WHOLE[:-8] + b"\0\0\0\0" + WHOLE[-4:], 1, "Error -6 Incorrect checksum found"),
    ],
)
def test_of_an_object_that_goes_wrong_in_the_midst_what_was_whole_is_kept(data: bytes, kept: int, wrong: str) -> None:
    found = Read({"bad": data, "good": GOOD})
    outcome = found.outcomes["bad"]
    assert (outcome.state, outcome.rows_out, outcome.rows_rejected) == ("processed", kept, 1)
    (reject,) = found.rejected
    assert reject["errors"][-1] == f"object: gzip: {wrong}; what comes before is kept, land the object again"
    assert outcome.unusable_bytes == len(data)  # nobody knows how much is lost


@given(data=st.data())
def test_no_damage_to_gzip_stops_the_reader(data: st.DataObject) -> None:
    damaged = bytearray(WHOLE)
    for at in data.draw(st.lists(st.integers(0, len(WHOLE) - 1), min_size=1, max_size=3)):
        damaged[at] = data.draw(st.integers(0, 255))
    found = Read({"bad": bytes(damaged)[: data.draw(st.integers(0, len(WHOLE)))], "good": GOOD})
    assert found.outcomes["bad"].rows_in == found.outcomes["bad"].rows_out + found.outcomes["bad"].rows_rejected
    assert "good" in found.files


@given(parts=st.lists(st.integers(0, 400), max_size=5), padding=st.integers(0, 3), seed=st.integers(0, 9))
def test_gzip_of_any_members_is_the_text_of_all(parts: list[int], padding: int, seed: int) -> None:
    lines = ndjson([{"id": f"{n}", "at": AT} for n in range(20)])
    cuts = [0, *sorted(min(part, len(lines)) for part in parts), len(lines)]
    levels = random.Random(seed)
    members = (gzip.compress(lines[a:b], levels.randint(0, 9)) for a, b in pairwise(cuts))
    assert len(Read({"a": b"".join(members) + b"\0" * padding}).accepted) == 20


@pytest.mark.parametrize(
    ("error", "state", "told"),
    [
        (MissingObjectError("a"), "missing", "a: there is no such object"),
        (SupersededObjectError("a", etag="2", size=9), "superseded", "a: other bytes lie there now (etag 2, 9 bytes)"),
        (PermissionError(13, "denied"), "failed", "PermissionError: [Errno 13] denied"),
        (FileNotFoundError(2, "no such file"), "failed", "FileNotFoundError: [Errno 2] no such file"),
        (MemoryError(), "failed", "MemoryError: no message"),
        (RuntimeError("odd\nmore"), "failed", "RuntimeError: odd"),
        (pl.exceptions.PanicException("index out of bounds"), "failed", "PanicException: index out of bounds"),
        (OSError("no \udcff here"), "failed", "OSError: no \\udcff here"),
    ],
)
def test_an_object_that_may_be_read_later_leaves_no_reject(error: BaseException, state: str, told: str) -> None:
    """One object that may not be opened kept its neighbours of five hours from silver."""
    found = Read({"a": GOOD, "bad": error, "z": GOOD})
    assert found.files == ["a", "z"]
    assert not found.rejected
    outcome = found.outcomes["bad"]
    assert (outcome.state, outcome.final, outcome.error) == (state, False, told)
    assert (outcome.bytes_read, outcome.bytes_rejected) == (0, 0)
    assert found.bytes_in == 2 * len(GOOD)


def test_an_object_that_is_too_large_to_load_fails_for_good() -> None:
    found = Read({"a": GOOD, "bad": TooLargeObjectError("bad", size=9, limit=8)})
    assert found.files == ["a"]
    assert (found.outcomes["bad"].state, found.outcomes["bad"].final) == ("failed", True)
    assert [row["errors"] for row in found.rejected] == [
        ["object: bad: 9 bytes are more than the limit of 8 bytes for one object"]
    ]


def test_when_no_object_can_be_read_there_are_no_rows() -> None:
    found = Read({"a": OSError("no"), "b": WHOLE[:9]})
    assert not found.accepted
    assert [outcome.state for outcome in found.outcomes.values()] == ["failed", "failed"]


def test_an_interrupt_is_no_fault_of_an_object() -> None:
    with pytest.raises(KeyboardInterrupt):
        Read({"a": GOOD, "b": KeyboardInterrupt()})


def bomb(*, told: int | None = None, members: int = 1) -> bytes:
    """Gzip that unpacks to 50 MB of text in each member; `told` is the size it pretends to have."""
    whole = gzip.compress(b" " * BIG, 1, mtime=0)
    return (whole if told is None else whole[:-4] + told.to_bytes(4, "little")) * members


@pytest.mark.parametrize(
    "data",
    [bomb(), bomb(told=10), bomb(told=1_000_001), bomb(members=3), b" " * 1_000_001],
    ids=["large", "tells less", "tells what just fits", "several members", "plain"],
)
def test_an_object_that_unpacks_to_more_than_the_limit_is_rejected_by_reference(data: bytes) -> None:
    """23 MB that unpacked to 5 GB ended the process, or in a `MemoryError` that stopped all others."""
    found = Read({"a": GOOD, "bomb": data, "z": WHOLE}, limits=Limits(object_bytes=1_000_000))
    assert found.files == ["a", "z", "z"]
    outcome = found.outcomes["bomb"]
    assert (outcome.state, outcome.final) == ("failed", True)
    assert outcome.error is not None
    assert outcome.error.startswith("unpacks to more than 1,000,000 bytes; ")
    assert "raise the limit" in outcome.error
    (reject,) = found.rejected
    assert (reject["row_number"], reject["raw"]) == (0, "")


def test_of_a_bomb_no_more_is_unpacked_than_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    class Watched:
        def __init__(self, wbits: int) -> None:
            self._member = WHOLE_MEMBERS(wbits)

        def __getattr__(self, name: str) -> Any:
            return getattr(self._member, name)

        def decompress(self, data: bytes, most: int) -> bytes:
            piece = self._member.decompress(data, most)
            asked.append(len(piece))
            return bytes(piece)

    monkeypatch.setattr(isal_zlib, "decompressobj", Watched)
    for data in (bomb(), bomb(told=10)):
        asked.clear()
        Read({"bomb": data}, limits=Limits(object_bytes=1_000_000))
        assert sum(asked) <= 1_000_001 + 11


def test_an_object_of_exactly_the_limit_is_read() -> None:
    text = GOOD + b" " * (1_000 - len(GOOD))
    for data in (text, gzip.compress(text), gzip.compress(text[:500]) + gzip.compress(text[500:])):
        assert Read({"a": data}, limits=Limits(object_bytes=1_000)).files == ["a"]
        assert not Read({"a": data}, limits=Limits(object_bytes=999)).files


@pytest.mark.parametrize("character", ["x", "é", "😀"])
def test_a_record_longer_than_the_limit_is_one_reject_by_reference(character: str) -> None:
    """Such a record's whole text went into quarantine, where a commit of it slowed every later one."""
    long = f'{{"id": "{character * 5_000}", "at": {AT}}}'
    found = Read({"a": GOOD + b"\n" + long.encode() + b"\n" + GOOD}, limits=Limits(record_bytes=2_000))
    assert [row["_row_number"] for row in found.accepted] == [1, 3]
    (reject,) = found.rejected
    assert (reject["row_number"], reject["raw"], reject["raw_bytes"]) == (2, long[:1_000] + "…", None)
    (error,) = reject["errors"]
    assert error.startswith(f"record_bytes: the record has {len(long.encode()):,} bytes, the limit is 2,000; ")
    outcome = found.outcomes["a"]
    assert (outcome.state, outcome.rows_rejected, outcome.bytes_rejected) == ("processed", 1, len(long.encode()))


def test_a_long_record_that_is_no_text_is_rejected_by_reference() -> None:
    (reject,) = Read({"a": b"\xff" * 5_000}, limits=Limits(record_bytes=2_000)).rejected
    assert reject["raw"] == ("\\xff" * 1_000)[:1_000] + "…"
    assert reject["raw_bytes"] is None


PANIC = pl.exceptions.PanicException("index out of bounds")


@pytest.mark.parametrize("error", [PANIC, MemoryError("no more"), ValueError("odd"), RecursionError("deep")])
@pytest.mark.parametrize("stage", ["parsing", "typing"])
def test_an_object_that_makes_a_library_fail_fails_alone(
    stage: str, error: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Small objects are read together, and what one of them caused was the end of all."""
    parse, typed = RecordReader.parse, EventColumns.typed

    def parse_or_fail(self: RecordReader, text: bytes, *, after: int) -> Iterable[Records]:
        yield from parse(self, text, after=after)
        if b"poison" in text:
            raise error

    def typed_or_fail(self: EventColumns, raw: pl.DataFrame) -> Any:
        if (raw["id"] == "poison").any():
            raise error
        return typed(self, raw)

    if stage == "parsing":
        monkeypatch.setattr(RecordReader, "parse", parse_or_fail)
    else:
        monkeypatch.setattr(EventColumns, "typed", typed_or_fail)
    poison = ndjson([{"id": "fine", "at": AT}, {"id": "poison", "at": AT}])
    bad_line = GOOD + b"\nnot json"
    found = Read({"a": bad_line, "bad": poison, "damaged": WHOLE[:9], "z": bad_line})
    assert found.files == ["a", "z"]
    assert [(row["source_filename"], row["row_number"]) for row in found.rejected] == [
        ("a", 2),
        ("damaged", 0),
        ("z", 2),
    ]
    outcome = found.outcomes["bad"]
    assert (outcome.state, outcome.final) == ("failed", False)
    assert outcome.error == f"{type(error).__name__}: {error}"
    assert [(o.rows_out, o.rows_rejected) for o in found.outcomes.values()] == [(1, 1), (0, 0), (0, 0), (1, 1)]


def test_raw_deflate_and_zlib_are_no_gzip() -> None:
    assert not Read({"a": zlib.compress(GOOD)}).accepted
