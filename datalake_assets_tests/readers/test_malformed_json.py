"""Malformed JSON of all kinds: each line ends once, accepted or rejected, and stops no neighbour.

The kinds are those of public suites: `y_` a reader must accept, `n_` it must not, `i_` is left to it (what is written
here is what this one does). Each line is read as a record, and as a declared and an undeclared field of one.
"""

import pytest

from datalake_assets.lake.readers.batch import Limits
from datalake_assets.lake.readers.events import EventReader
from datalake_assets_tests.frames import rows_of
from datalake_assets_tests.readers.bronze import loading
from datalake_assets_tests.streams import AT, landed, stream

GOOD = b'{"id": "good", "at": %d}' % AT
VALUES: dict[str, bytes] = {
    "y_null": b"null",
    "y_string": b'"a"',
    "y_escapes": rb'"\"\\\/\b\f\n\r\t\u00e9"',
    "y_surrogate_pair": rb'"\ud83d\ude00"',
    "y_escaped_nul": rb'"\u0000"',
    "y_noncharacter": '"\uffff"'.encode(),
    "y_delete_character": b'"\x7f"',
    "y_line_separator": '"\u2028\u2029"'.encode(),
    "y_minus_zero": b"-0",
    "y_double": b"-1.5E-2",
    "y_many_digits": b"123456789012345678901234567890.123456789012345678901234567890",
    "y_space_around": b"\t [ 1 , 2 ] \t",
    "y_empty_key": b'{"": 0}',
    "y_key_twice": b'{"a": 1, "a": 2}',
    "y_escaped_key": rb'{"\u0000": 1}',
    "y_byte_order_mark_in_text": b'"\xef\xbb\xbf"',
    "y_nested_100": b"[" * 100 + b"]" * 100,
    "i_beyond_doubles": b"1e999",
    "i_below_doubles": b"-1e-999",
    "i_huge_exponent": b"0.4e00669999999999999999999999999999999999999999999999999999999999999999999969999999006",
    "i_huge_integer": b"9" * 5_000,
    "n_lone_high_surrogate": rb'"\ud800"',
    "n_lone_low_surrogate": rb'"\udc00"',
    "n_surrogates_inverted": rb'"\udc00\ud800"',
    "n_surrogate_twice": rb'"\ud800\ud800"',
    "n_surrogate_cut": rb'"\ud800\u"',
    "n_surrogate_then_letter": rb'"\ud800a"',
    "n_nul_in_text": b'"a\x00b"',
    "n_nul": b"\x00",
    "n_tab_in_text": b'"\t"',
    "n_carriage_return_in_text": b'"\r"',
    "n_escape_cut": b'"\\',
    "n_escape_unknown": rb'"\a"',
    "n_escape_hex": rb'"\x00"',
    "n_escape_digits": rb'"\u00G0"',
    "n_text_unterminated": b'"abc',
    "n_single_quotes": b"'a'",
    "n_bare_word": b"abc",
    "n_true_cut": b"tru",
    "n_true_capital": b"True",
    "n_nan": b"NaN",
    "n_infinity": b"-Infinity",
    "n_leading_zero": b"012",
    "n_minus_leading_zero": b"-012",
    "n_plus": b"+1",
    "n_minus_alone": b"-",
    "n_minus_twice": b"--1",
    "n_point_first": b".5",
    "n_point_last": b"1.",
    "n_exponent_empty": b"1e",
    "n_exponent_sign": b"1e+",
    "n_exponent_twice": b"1e1e1",
    "n_hexadecimal": b"0x1F",
    "n_underscore": b"1_000",
    "n_thousands": b"1 000",
    "n_full_width_digit": "\uff11".encode(),
    "n_array_unclosed": b"[1",
    "n_array_trailing_comma": b"[1,]",
    "n_array_leading_comma": b"[,1]",
    "n_array_double_comma": b"[1,,2]",
    "n_array_no_comma": b"[1 2]",
    "n_array_closed_twice": b"[1]]",
    "n_array_closed_wrongly": b"[1}",
    "n_object_unclosed": b'{"a": 1',
    "n_object_trailing_comma": b'{"a": 1,}',
    "n_object_no_value": b'{"a":}',
    "n_object_no_colon": b'{"a" 1}',
    "n_object_two_colons": b'{"a"::1}',
    "n_object_no_key": b"{: 1}",
    "n_object_bare_key": b"{a: 1}",
    "n_object_number_key": b"{1: 1}",
    "n_comment_block": b"/* a */ 1",
    "n_comment_line": b"1 // a",
    "n_comment_hash": b"1 # a",
    "n_no_break_space": b"\xc2\xa01",
    "n_form_feed": b"[\x0c]",
    "n_byte_order_mark": b"\xef\xbb\xbf1",
    "n_invalid_utf8": b'"\xff"',
    "n_continuation_alone": b'"\x80"',
    "n_utf8_cut": b'"\xe2\x82"',
    "n_overlong_slash": b'"\xc0\xaf"',
    "n_overlong_six_bytes": b'"\xfc\x83\xbf\xbf\xbf\xbf"',
    "n_surrogate_as_utf8": b'"\xed\xa0\x80"',
    "n_beyond_unicode": b'"\xf4\xbf\xbf\xbf"',
    "n_latin_1": b'"\xe9"',
    "n_utf16": '"é"'.encode("utf-16"),
    "n_utf16_without_mark": '"é"'.encode("utf-16-le"),
    "n_nested_500": b"[" * 500 + b"]" * 500,
    "n_nested_500_objects": b'{"a":' * 500 + b"1" + b"}" * 500,
    "n_nested_100_000": b"[" * 100_000 + b"]" * 100_000,
    "n_nested_100_000_unclosed": b"[" * 100_000,
    "n_nested_unclosed_in_objects": b'[{"":' * 50_000,
}
DATASET = stream(
    properties={"any": {}, "few": {"type": "array", "maxItems": 9}, "ruled": {"anyOf": [{"maxLength": 9}, {}]}}
)


def places(value: bytes) -> list[bytes]:
    """A value as fields of records: declared under several rules, undeclared, and beside a field that is."""
    head = GOOD[:-1]
    fields = [b'"any": %b', b'"undeclared": %b', b'"ruled": %b', b'"undeclared": 1, "any": %b']
    return [head + b", " + (field % value) + b"}" for field in fields]


def judged(*lines: bytes) -> list[bool]:
    """Whether each line is accepted, when they stand in one object with good ones between them."""
    text = b"\n".join(part for line in lines for part in (GOOD, line)) + b"\n" + GOOD
    (batch,) = EventReader(DATASET, Limits()).batches(loading({"a": text}), [landed("a")])
    accepted = [row["_row_number"] for row in rows_of(batch.accepted)]
    rejected = {row["row_number"]: row for row in batch.rejected.to_dicts()}
    assert sorted([*accepted, *rejected]) == list(range(1, 2 * len(lines) + 2))
    assert set(range(1, 2 * len(lines) + 2, 2)) <= set(accepted)
    assert all(row["errors"] for row in rejected.values())
    for n, row in rejected.items():
        assert (row["raw_bytes"] or row["raw"].encode()) == lines[n // 2 - 1]
    return [2 * n + 2 in accepted for n in range(len(lines))]


@pytest.mark.parametrize("kind", VALUES)
def test_a_malformed_value_rejects_its_record_alone_wherever_it_stands(kind: str) -> None:
    """One record of 500 nested arrays stopped the whole step: the validator raised instead of judging."""
    assert judged(*places(VALUES[kind])) == [not kind.startswith("n_")] * 4


@pytest.mark.parametrize("kind", VALUES)
def test_what_is_no_object_is_no_record(kind: str) -> None:
    line = VALUES[kind]
    assert judged(line) == [False]


def test_all_kinds_stand_in_one_object() -> None:
    lines = [line for value in VALUES.values() for line in (value, *places(value))]
    expected = [ok for kind in VALUES for ok in (False, *[not kind.startswith("n_")] * 4)]
    assert judged(*lines) == expected


@pytest.mark.parametrize("rule", [{"type": "array"}, {"anyOf": [{"type": "array"}]}, {"items": {"items": {}}}, True])
@pytest.mark.parametrize("levels", [190, 500, 100_000])
def test_a_record_nested_too_deep_is_one_reject_under_any_rule(levels: int, rule: object) -> None:
    dataset = stream(properties={"deep": rule})
    line = GOOD[:-1] + b', "deep": ' + b"[" * levels + b"]" * levels + b"}"
    (batch,) = EventReader(dataset, Limits()).batches(loading({"a": GOOD + b"\n" + line}), [landed("a")])
    assert len(rows_of(batch.accepted)) == (2 if levels < 200 else 1)
    assert [row["errors"] for row in batch.rejected.to_dicts()] == (
        [] if levels < 200 else [["json: nested deeper than 200 levels"]]
    )
