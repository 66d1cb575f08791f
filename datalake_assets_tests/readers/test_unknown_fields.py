"""Fields that the contract does not declare are kept the same, whether they are expected by then or not."""

import json
import random

import pytest

from datalake_assets.lake.readers.records import RecordReader, Records
from datalake_assets_tests.streams import stream

OTHERS = [
    "",
    ',"x":1',
    ',"x":1.0,"y":"b"',
    ',"y":null',
    ',"x":{"b":[1, 2 ],"a":"ü"}',
    ',"x":1,"x":2',
    ',"u0":"named like ours"',
    ',"f0":[]',
    ',"odd \\" name":"\\u0041"',
]
FAULTY = [',"x":01', ',"x":"\\ud800"', ',"x":', ',"at":"soon"', f',"x":{"[" * 250}{"]" * 250}']


def lines_of(count: int, *, rare: bool) -> list[bytes]:
    chance = random.Random(5)
    lines = []
    for n in range(count):
        other = chance.choice(OTHERS)
        if rare and n % 97 == 0:
            other = chance.choice(FAULTY)
        if rare and n % 31 == 0:
            other = f',"rare {n}":{n}'
        lines.append(f'{{"id":"{n}","at":{n}{other}}}'.encode())
    return lines


def told(records: Records) -> list[tuple[int, bytes | None]]:
    return list(zip(records.row_numbers, records.unknown, strict=True))


@pytest.mark.parametrize("unknown_fields", ["keep", "drop"])
@pytest.mark.parametrize("rare", [False, True])
def test_undeclared_fields_are_read_as_the_authority_reads_them(unknown_fields: str, rare: bool) -> None:
    """A stream whose every record has some cost four times a clean one: each went to the authority."""
    contract = RecordReader(stream(unknown_fields=unknown_fields), record_bytes=10**6)
    lines = lines_of(7_000, rare=rare)
    parsed = list(contract.parse(b"\n".join(lines)))
    judged = RecordReader(stream(unknown_fields=unknown_fields), record_bytes=10**6).judge_lines(
        enumerate(lines, start=1)
    )
    assert [entry for part in parsed for entry in told(part)] == told(judged)
    assert [r for part in parsed for r in part.rejected] == judged.rejected
    if unknown_fields == "drop":
        assert not any(judged.unknown)
    else:
        assert all(json.loads(text) for text in judged.unknown if text)
    if not rare:
        assert not judged.rejected


def test_fields_that_are_met_often_are_expected_from_then_on(monkeypatch: pytest.MonkeyPatch) -> None:
    contract = RecordReader(stream(), record_bytes=10**6)
    lines = [f'{{"id":"\\u0041","at":{n},"x":{n}}}'.encode() for n in range(60_000)]  # an escape: none can be cut
    first, *others = contract.parse(b"\n".join(lines[:2_000]))
    assert not others
    with monkeypatch.context() as patch:  # nothing is read line by line any more
        patch.setattr(RecordReader, "_enter", None)
        later = list(contract.parse(b"\n".join(lines[2_000:])))
    assert len(later) > 1
    read = [(text, line) for part in (first, *later) for text, line in zip(told(part), part.lines, strict=True)]
    assert [text for (_, text), _ in read] == [f'{{"x":{n}}}'.encode() for n in range(60_000)]
    assert [line for _, line in read] == lines
