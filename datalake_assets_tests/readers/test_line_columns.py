"""Lines that are cut into columns are those that the parser accepts, and have the values that it reads."""

import json
import random
import struct
from typing import Any

import polars as pl
import pytest

from datalake_assets.lake.readers import line_columns
from datalake_assets.lake.readers.event_columns import EventColumns
from datalake_assets.lake.readers.records import RecordReader
from datalake_assets.lake.readers.rejects import Reject
from datalake_assets.lake.spec.columns import ROW_NUMBER
from datalake_assets.lake.spec.dataset import EventStream
from datalake_assets_tests.streams import stream

ANY: dict[str, Any] = {}
PROPERTIES: dict[str, dict[str, Any]] = {
    "text": {"type": ["string", "null"], "maxLength": 12},
    "short": {"type": "string", "minLength": 2},
    "whole": {"type": "integer", "minimum": -5, "maximum": 10**18},
    "tiny": {"type": ["integer", "null"], "x-lake-type": "int8"},
    "ratio": {"type": "number", "exclusiveMinimum": -1},
    "price": {"type": "number", "x-lake-type": "decimal(12,2)"},
    "yes": {"type": ["boolean", "null"]},
    "payload": {"type": "object"},
    "anything": ANY,
}
NAMES = ["id", "at", *PROPERTIES]
_VALUES = r"""
0 -0 -1 7 10 127 128 007 +5 1.0 1e3 1E400 -0.0 -0.5 0.1 1.10 12.345 0.30000000000000004 1.7976931348623157e308
9007199254740993 999999999999999999 1000000000000000001 9223372036854775808 123456789012345678901234567890
true false null True nul NaN Infinity - . {} [] [[[[1]]]] [[[1]]] {] [1,] [,1] {"a"} {"a":1,} {"a":1}} {},"ratio":0.5
"" "x" "hello" "null" "true" "5" "1.5" "\u0041" "\"" "a\\" "tab\t" "ü" "日本" "😀😀" "a"b" "a",5 1,"yes":true
{"at":5,"id":"inner"} {"x":1,"whole":3} {"x":{"y":1,"price":3},"yes":true} {"x":"},{","y":"]"} [{"x":1},{"x":2}]
"""
VALUES = [
    *_VALUES.split(),
    '"a\tb"',
    '"a\x01b"',
    '"a\x7fb"',
    '"\u2028"',
    '" x"',
    '{"a": 1, "b":[true, null,"x"]}',
    '{"a" :1}',
    " 1",
    "1 ",
]
ODD_LINES = r"""
null
[]
{}
{
}
not json
{"id":"a","at":1}{"id":"b","at":2}
[{"id":"c","at":3}]
{"id":"torn","at":17
{"id":"comma","at":1},
 {"id":"space","at":1}
""".splitlines()
ODD_LINES += [" ", "\ufeff", '{"id":"crlf","at":1}\r', '{"id":"space","at":1} ']
ODD_LINES += ['{\n"id":"over lines",\n"at":1\n}', '[\n{"id":"d","at":4},\n{"id":"e","at":5}\n]']
STYLES = [(",", ":"), (", ", ": "), (",", ": "), (" ,", ":")]
PLAIN = {"id": '"k"', "at": "1772359200", "text": '"t"', "short": '"ab"', "whole": "5", "tiny": "1", "ratio": "0.5"}
PLAIN |= {"price": "1.10", "yes": "true", "payload": '{"a":[1]}', "anything": "[]"}


def text_of(chance: random.Random) -> bytes:
    """Lines that one writer has written, and some that it has not."""
    order, (comma, colon) = chance.sample(NAMES, len(NAMES)), chance.choice(STYLES)
    lines = []
    for _ in range(chance.randrange(20, 60)):
        names = [name for name in order if name in ("id", "at") or chance.random() < 0.9]
        pairs = [(name, PLAIN[name] if chance.random() < 0.97 else chance.choice(VALUES)) for name in names]
        if chance.random() < 0.1:
            pairs.insert(chance.randrange(len(pairs) + 1), (chance.choice([*NAMES, "other"]), chance.choice(VALUES)))
        if chance.random() < 0.02:
            chance.shuffle(pairs)
        lines.append("{" + comma.join(f'"{name}"{colon}{value}' for name, value in pairs) + "}")
        if chance.random() < 0.02:
            lines.append(chance.choice(ODD_LINES))
    return "\n".join(lines).encode() + chance.choice([b"", b"\n", b"\n\n"])


def read(dataset: EventStream, text: bytes) -> tuple[list[dict[str, Any]], list[Reject], int]:
    """The accepted records, the rejects and how many were cut, where the smallest text is cut if it can be."""
    reader = RecordReader(dataset, record_bytes=10**6)
    columns = EventColumns(reader.fields, event_time=dataset.event_time)
    raw, rejected, cut = columns.raw_columns(), [], 0
    for records in reader.parse(text):
        rejected += records.rejected
        cut += 0 if records.cut is None else records.cut.height
        raw.add(records, of=0)
    frame, doubtful = columns.typed(raw.frame())
    frame = frame.with_columns(doubtful=pl.int_range(pl.len()).is_in(doubtful)).sort(ROW_NUMBER)
    return frame.to_dicts(), rejected, cut


def parsed_and_cut(dataset: EventStream, text: bytes) -> int:
    """How many lines were cut of a text, of which the parser says the same."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(line_columns, "_WORTH_CUTTING", 0)
        patch.setattr(line_columns, "_PAYS", 0)
        accepted, rejected, cut = read(dataset, text)
        patch.setattr(line_columns, "_WORTH_CUTTING", 2**62)
        expected, expected_rejects, none = read(dataset, text)
    assert none == 0
    assert rejected == expected_rejects
    assert list(map(repr, accepted)) == list(map(repr, expected))  # which tells -0.0 from 0.0
    return cut


@pytest.mark.parametrize("unknown_fields", ["keep", "drop", "reject"])
@pytest.mark.parametrize("seed", range(4))
def test_what_is_cut_is_what_the_parser_reads(seed: int, unknown_fields: str) -> None:
    chance = random.Random(seed)
    dataset = stream(properties=PROPERTIES, unknown_fields=unknown_fields)
    assert sum(parsed_and_cut(dataset, text_of(chance)) for _ in range(25)) > 100


def test_a_stream_of_one_writer_is_cut_whole() -> None:
    record = {"id": "k", "at": 1, "text": None, "ratio": -0.25, "payload": {"a": [{"b": None}]}, "other": {"x": "ü"}}
    for separators in ((",", ":"), (", ", ": ")):
        line = json.dumps(record, separators=separators, ensure_ascii=False)
        assert parsed_and_cut(stream(properties=PROPERTIES), "\n".join([line] * 50).encode()) == 50


def test_doubles_are_those_of_the_parser_to_the_last_bit() -> None:
    chance = random.Random(11)
    doubles = [struct.unpack("<d", struct.pack("<Q", chance.getrandbits(64)))[0] for _ in range(20_000)]
    doubles += [chance.uniform(-180, 180) for _ in range(20_000)] + [
        chance.randrange(10**17) / 100 for _ in range(10_000)
    ]
    lines = [f'{{"id":"k","at":1,"ratio":{value!r}}}' for value in doubles if abs(value) < 1e300]
    lines += [f'{{"id":"k","at":1,"ratio":{n}.{n:020d}}}' for n in range(1_000)]
    assert parsed_and_cut(stream(properties={"ratio": {"type": "number"}}), "\n".join(lines).encode()) > 25_000


@pytest.mark.parametrize("odd", ['{"id":"a"', '{\n"id":"a","at":2\n}', '{"id":"a","at":2}{"id":"b","at":3}', "[\n]"])
def test_lines_behind_what_is_no_line_have_the_numbers_that_the_parser_gives(odd: str) -> None:
    lines = [f'{{"id":"{n}","at":{n}}}' for n in range(40)]
    lines[20:20] = [odd]
    cut = parsed_and_cut(stream(), "\n".join(lines).encode())
    assert cut >= (0 if "}{" in odd else 20)


def test_what_can_not_be_cut_is_left_to_the_parser_for_a_while() -> None:
    lines = [f'{{"id":"\\u0041{n}","at":{n}}}' for n in range(30_000)]
    assert read(stream(), "\n".join(lines).encode())[2] == 0
    lines = [f'{{"id":"{n}","at":{n}}}' for n in range(30_000)]
    assert read(stream(), "\n".join(lines).encode())[2] == 30_000
    assert read(stream(), "\n".join([*lines, *lines[::-1]] * 5).encode() + b"\xff")[2] < 300_000
