"""Lines that are cut into columns are those that the parser accepts, and have the values that it reads."""

import json
import random
import struct
from typing import Any

import polars as pl
import pytest

from datalake_assets.lake.readers import line_columns
from datalake_assets.lake.readers.contract_fields import FieldRule
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
0 1 -0 -1 7 10 127 128 007 +5 1.0 1e3 1E400 -0.0 -0.5 0.1 1.10 12.345 0.30000000000000004 1.7976931348623157e308
9007199254740993 999999999999999999 1000000000000000001 9223372036854775808 123456789012345678901234567890
5. .5 -.5 -0. 1.e5 0x10 1_000 true false null True nul NaN Infinity - .
{} [] [[[[1]]]] [[[1]]] {] [1,] [,1] {"a"} {"a":1,} {"a":1}} {},"ratio":0.5
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
    "\u0661",  # a digit of another script
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
OF_NO_SUCH_WRITER = """
x{"id":"a","at":1}
{"id":"a","at":1x
{"id":"a","at":12
{"id":"a"}
{"at":1}
{"at":1,"id":"a"}
{"id":"a","at":1,"at":2}
{"id":"a","id":"b","at":1}
{"id":"a","at":1}}
{{"id":"a","at":1}
""".splitlines()
STYLES = [(",", ":"), (", ", ": "), (",", ": "), (" ,", ":")]
PLAIN = {"id": '"k"', "at": "1772359200", "text": '"t"', "short": '"ab"', "whole": "5", "tiny": "1", "ratio": "0.5"}
PLAIN |= {"price": "1.10", "yes": "true", "payload": '{"a":[1]}', "anything": "[]"}


def text_of(chance: random.Random) -> bytes:
    """Lines that one writer has written, and some that it has not."""
    order, (comma, colon) = chance.sample(NAMES, len(NAMES)), chance.choice(STYLES)
    others = chance.choice([0, 0.02, 0.7])
    lines = []
    for _ in range(chance.randrange(20, 60)):
        names = [name for name in order if chance.random() < (0.99 if name in ("id", "at") else 0.9)]
        pairs = [(name, PLAIN[name] if chance.random() < 0.97 else chance.choice(VALUES)) for name in names]
        pairs += [(name, '{"x":1}') for name in ("other", "another") if chance.random() < others]
        if chance.random() < 0.1:
            pairs.insert(chance.randrange(len(pairs) + 1), (chance.choice([*NAMES, "other"]), chance.choice(VALUES)))
        if chance.random() < 0.02:
            chance.shuffle(pairs)
        line = "{" + comma.join(f'"{name}"{colon}{value}' for name, value in pairs) + "}"
        lines.append(damaged(line, chance) if chance.random() < 0.04 else line)
        if chance.random() < 0.02:
            lines.append(chance.choice(ODD_LINES))
    return "\n".join(lines).encode() + chance.choice([b"", b"\n", b"\n\n"])


def damaged(line: str, chance: random.Random) -> str:
    """A line of which a piece is missing, doubled, or another."""
    at, to = sorted(chance.choices([0, 1, 2, *range(len(line) + 1), len(line) - 2, len(line) - 1, len(line)], k=2))
    pieces: list[str] = ["", "", line[at:to] * 2, *'{}[]",:x0 \\']
    return line[:at] + chance.choice(pieces) + line[to:]


def read(dataset: EventStream, text: bytes, *, record_bytes: int) -> tuple[list[dict[str, Any]], list[Reject], int]:
    """The accepted records, the rejects and how many were cut, where the smallest text is cut if it can be."""
    reader = RecordReader(dataset, record_bytes=record_bytes)
    columns = EventColumns(reader.fields, event_time=dataset.event_time)
    raw, rejected, cut = columns.raw_columns(), [], 0
    for records in reader.parse(text):
        rejected += records.rejected
        cut += 0 if records.cut is None else records.cut.height
        raw.add(records, of=0)
    frame, doubtful = columns.typed(raw.frame())
    frame = frame.with_columns(doubtful=pl.int_range(pl.len()).is_in(doubtful)).sort(ROW_NUMBER)
    return frame.to_dicts(), rejected, cut


def parsed_and_cut(dataset: EventStream, text: bytes, *, record_bytes: int = 10**6) -> int:
    """How many lines were cut of a text, of which the parser says the same."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(line_columns, "_WORTH_CUTTING", 0)
        patch.setattr(line_columns, "_PAYS", 0)
        accepted, rejected, cut = read(dataset, text, record_bytes=record_bytes)
        patch.setattr(line_columns, "_WORTH_CUTTING", 2**62)
        expected, expected_rejects, none = read(dataset, text, record_bytes=record_bytes)
    assert none == 0
    assert rejected == expected_rejects
    assert list(map(repr, accepted)) == list(map(repr, expected))  # which tells -0.0 from 0.0
    return cut


@pytest.mark.parametrize("unknown_fields", ["keep", "drop", "reject"])
@pytest.mark.parametrize("seed", range(4))
def test_what_is_cut_is_what_the_parser_reads(seed: int, unknown_fields: str) -> None:
    chance = random.Random(seed)
    dataset = stream(properties=PROPERTIES, unknown_fields=unknown_fields)
    assert sum(parsed_and_cut(dataset, text_of(chance)) for _ in range(25)) > 60


@pytest.mark.parametrize("style", STYLES)
def test_each_value_in_each_field_is_what_the_parser_reads(style: tuple[str, str]) -> None:
    comma, colon = style
    cut = 0
    for value in VALUES:  # a text for each: of what spans lines only those before are cut
        records = [PLAIN, PLAIN, *(PLAIN | {name: value} for name in NAMES)]
        lines = ["{" + comma.join(f'"{n}"{colon}{v}' for n, v in record.items()) + "}" for record in records]
        cut += parsed_and_cut(stream(properties=PROPERTIES), "\n".join(lines).encode())
    assert cut >= (0 if comma == " ," else 2 * len(VALUES))


@pytest.mark.parametrize("record_bytes", [30, 31, 32])
def test_a_line_that_is_too_long_is_not_cut(record_bytes: int) -> None:
    lines = [f'{{"id":"{"k" * (n % 20)}","at":17723592}}' for n in range(100)]
    assert 0 < parsed_and_cut(stream(), "\n".join(lines).encode(), record_bytes=record_bytes) < 100


def test_a_stream_of_one_writer_is_cut_whole() -> None:
    record = {"id": "k", "text": None, "ratio": -0.25, "at": 1, "payload": {"a": [{"b": None}]}, "other": {"x": "ü"}}
    fewer = [{n: v for n, v in record.items() if n not in left_out} for left_out in (["text"], ["ratio", "other"])]
    for separators in ((",", ":"), (", ", ": ")):
        lines = [json.dumps(r, separators=separators, ensure_ascii=False) for r in [record, *fewer] * 20]
        assert parsed_and_cut(stream(properties=PROPERTIES), "\n".join(lines).encode()) == 60


@pytest.mark.parametrize("odd", OF_NO_SUCH_WRITER)
def test_a_line_that_is_no_record_of_its_writer_is_left_to_the_parser(odd: str) -> None:
    lines = [f'{{"id":"{n}","at":{n}}}' for n in range(40)]
    assert parsed_and_cut(stream(), "\n".join([*lines, odd]).encode()) == 40


def test_many_fields_that_may_be_absent_are_cut() -> None:
    chance = random.Random(5)
    names = [f"field_{n}" for n in range(95)]
    records = [{"id": "k", "at": 1} | {name: n for name in names if chance.random() < 0.9} for n in range(100)]
    lines = [json.dumps(record, separators=(",", ":")) for record in records]
    assert parsed_and_cut(stream(), "\n".join(lines).encode()) > 90


def test_expressions_grow_with_the_number_of_fields_and_not_with_its_square() -> None:
    def size(fields: int) -> int:
        places = {f"field_{n:03}": pl.col(f"place {n:03}") for n in range(fields)}
        rules = dict.fromkeys(places, FieldRule(str, required=False, nullable=True, limits={}))
        ends, columns = line_columns.ends_of(places, rules)
        return sum(len(str(expression)) for expression in [*ends.values(), *columns])

    assert size(100) < 2.2 * size(50)


def test_more_than_a_hundred_fields_are_left_to_the_parser() -> None:
    wide = {f"field_{n}": {"type": "string"} for n in range(200)}
    text = json.dumps({"id": "k", "at": 1} | dict.fromkeys(wide, "v"))
    assert parsed_and_cut(stream(properties=wide), "\n".join([text] * 50).encode()) == 0


@pytest.mark.parametrize("limit", [2**53 + 1, 2**127, 10**40, 1e300])
@pytest.mark.parametrize("sign", [1, -1])
def test_limits_may_be_larger_than_any_whole_number_of_a_column(limit: float, sign: int) -> None:
    rule = {"type": "number", "maximum": limit} if sign > 0 else {"type": "number", "minimum": -limit}
    values = [0, 1.5, 2.0**53, 2.0**53 + 2, 2.0**127, 1e39, 1e41, 1e300, 1.5e300]
    lines = [f'{{"id":"k","at":1,"ratio":{sign * value!r}}}' for value in values * 3]
    assert parsed_and_cut(stream(properties={"ratio": rule}), "\n".join(lines).encode()) > 0


@pytest.mark.parametrize(
    "odd", [' {"id":"x}{y","at":"bad"}', " " * 1_200_000, " " * 1_200_000 + '{"id":"a","at":2}', "1" * 2_000_000]
)
def test_what_the_parser_takes_in_parts_is_left_to_it(odd: str) -> None:
    lines = [f'{{"id":"{n}","at":{n}}}' for n in range(40)]
    assert parsed_and_cut(stream(), "\n".join([*lines, odd, *lines]).encode(), record_bytes=10**7) == 0


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
    assert parsed_and_cut(stream(), "\n".join(lines).encode()) >= (0 if "}{" in odd else 20)


def test_what_can_not_be_cut_is_left_to_the_parser_for_a_while() -> None:
    lines = [f'{{"id":"\\u0041{n}","at":{n}}}' for n in range(30_000)]
    assert read(stream(), "\n".join(lines).encode(), record_bytes=10**6)[2] == 0
    lines = [f'{{"id":"{n}","at":{n}}}' for n in range(30_000)]
    assert read(stream(), "\n".join(lines).encode(), record_bytes=10**6)[2] == 30_000
    assert read(stream(), "\n".join([*lines, *lines[::-1]] * 5).encode() + b"\xff", record_bytes=10**6)[2] < 300_000
