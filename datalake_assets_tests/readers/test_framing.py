"""Records are found wherever a text is cut to be looked at, and damage takes nothing with it."""

import json
import random
from collections import Counter

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from datalake_assets.lake.readers import framing
from datalake_assets.lake.readers.framing import documents
from datalake_assets_tests.readers.reading import Read
from datalake_assets_tests.readers.test_event_forms import FORMS, PRETTY_FORMS
from datalake_assets_tests.streams import AT, stream

DATASET = stream(properties={"text": {"type": "string"}, "payload": {}})
LONG = b'{"id": "1", "at": %d, "payload": %b}' % (AT, b"9" * 5_000)
TEXTS = ["", "}{", "]", '{"', '"', "\\", "é", "😀", "\n", ", {", "[{", "x" * 70]
DAMAGES = [
    b"rubbish",
    b'{"id": "torn',
    b'{"id": }',
    b"null",
    b"[1, 2]",
    b'"text"',
    b"{]",
    b"[",
    b"}",
    b'{"a": "\xff"}',
    b"\x00",
]


@pytest.mark.parametrize("cut", [1, 7, 40, 200])
@pytest.mark.parametrize("form", [*FORMS, *PRETTY_FORMS])
def test_records_are_found_wherever_the_text_is_cut(form: str, cut: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(framing, "SLICE_BYTES", cut)
    monkeypatch.setattr(framing, "_WINDOW", cut)
    found = Read({"a": (FORMS | PRETTY_FORMS)[form]}, dataset=stream(properties={"text": {"type": "string"}}))
    assert found.rejected == []
    assert [row["id"] for row in found.accepted] == ["0", "1", "2"]


@st.composite
def laid_out(draw: st.DrawFn) -> tuple[bytes, list[str], list[bytes]]:
    """A text, the ids of its records, and what stands damaged between them on lines of its own."""
    chosen = random.Random(draw(st.integers(0, 10**6)))
    pieces, ids, damages = [], [], []
    for n in range(draw(st.integers(1, 12))):
        if chosen.random() < 0.2:
            damages.append(chosen.choice(DAMAGES))
            pieces.append(b"\n" + damages[-1] + b"\n")
        many = chosen.choice([1, 1, 1, 2, 3])
        records = [
            {"id": f"{n}.{m}", "at": AT, "text": chosen.choice(TEXTS), "payload": [{"a": {}}]} for m in range(many)
        ]
        ids += [f"{n}.{m}" for m in range(many)]
        indent, ensure_ascii = chosen.choice([None, None, 1, "\t"]), chosen.random() < 0.5
        if many > 1 and chosen.random() < 0.5:
            text = json.dumps(records, indent=indent, ensure_ascii=ensure_ascii)
            pieces.append(chosen.choice([b"\n", b""]) if not pieces or pieces[-1].endswith(b"\n") else b"\n")
            pieces += [text.encode(), b"\n"]
        else:
            texts = [json.dumps(record, indent=indent, ensure_ascii=ensure_ascii).encode() for record in records]
            pieces += [part for one in texts for part in (one, chosen.choice([b"", b"\n", b"\r\n", b" ", b"\n\n"]))]
    return b"".join(pieces), ids, damages


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(made=laid_out(), cut=st.sampled_from([3, 33, 150, 10_000]))
def test_each_record_is_found_once_whatever_stands_beside_it(
    made: tuple[bytes, list[str], list[bytes]], cut: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    text, ids, damages = made
    monkeypatch.setattr(framing, "SLICE_BYTES", cut)
    monkeypatch.setattr(framing, "_WINDOW", cut)
    found = Read({"a": text}, dataset=DATASET)
    assert [row["id"] for row in found.accepted] == ids
    rejected = Counter((row["raw_bytes"] or row["raw"].encode()).strip() for row in found.rejected)
    assert rejected == Counter(damages)


@pytest.mark.parametrize("text", [b"[" + LONG + b"]", b"[\n" + LONG + b",\n" + LONG + b"]", LONG + LONG])
def test_numbers_of_any_length_stand_in_records_that_are_not_in_lines(text: bytes) -> None:
    found = Read({"a": text}, dataset=DATASET)
    assert len(found.accepted) == text.count(b'"id"')


@pytest.mark.parametrize("between", [b"", b", "])
@pytest.mark.parametrize("count", [1, 32, 33, 100])
def test_many_damaged_records_in_a_row_take_none_of_those_behind_them(count: int, between: bytes) -> None:
    good = [b'{"id": "%d", "at": %d}' % (n, AT) for n in range(20)]
    found = Read({"a": between.join([good[0], *[b'{"id": "x", "at":}'] * count, *good[1:]])}, dataset=DATASET)
    assert len(found.accepted) == 20
    assert sum(row["raw"].count('"x"') for row in found.rejected) == count


def test_lines_after_a_damaged_one_are_its_own_only_where_they_are_fields() -> None:
    good = [b'{"id": "%d", "at": %d}' % (n, AT) for n in range(3)]
    found = Read({"a": b"\n ".join([b'{"id": ', *good]) + b"\n" + b'{"id": "9", "at": 9}'}, dataset=DATASET)
    assert [row["id"] for row in found.accepted] == ["0", "1", "2", "9"]


@given(text=st.binary(max_size=300), cut=st.sampled_from([3, 33, 10_000]))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_of_any_bytes_nothing_is_left_out_but_space_brackets_and_commas(
    text: bytes, cut: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(framing, "SLICE_BYTES", cut)
    monkeypatch.setattr(framing, "_WINDOW", cut)
    _assert_all_there(text)


@given(
    parts=st.lists(
        st.sampled_from(
            [b"{", b"}", b"[", b"]", b",", b'"', b"\\", b":", b"1", b"a", b"\n", b" ", b"\xc3", b'{"a":1}']
        ),
        max_size=60,
    )
)
def test_of_anything_like_json_nothing_is_left_out_but_space_brackets_and_commas(parts: list[bytes]) -> None:
    _assert_all_there(b"".join(parts))


def _assert_all_there(text: bytes) -> None:
    at = 0
    for piece in documents(text, limit=10**6):
        begin = text.index(piece, at)
        assert not text[at:begin].strip(b" \t\r\n[],"), (text, piece)
        at = begin + len(piece)
    assert not text[at:].strip(b" \t\r\n[],"), text
