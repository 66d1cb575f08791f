"""What a contract may say: a file that some reader, engine or table could not serve is refused when it is loaded."""

import sys
from pathlib import Path

import pytest

from datalake_assets.lake.readers.contract import Contract
from datalake_assets.lake.readers.readable import check_readable
from datalake_assets.lake.spec.dataset import CdcTable, EventStream
from datalake_assets.lake.spec.dataset_files import load_dataset
from datalake_assets_tests.lake.dataset_texts import EVENTS, TABLE, refusal, with_line
from datalake_assets_tests.streams import stream, table

UNDECLARED = "rename it at the source, or leave it undeclared (it is kept in `_unknown`)"
DRAFT = "https://json-schema.org/draft/2020-12/schema"


def field(rule: str) -> str:
    """A dataset file with the rule of its field `amount` in line 14."""
    return with_line(EVENTS, '{type: number, x-lake-type: "decimal(12,2)"}', rule)


@pytest.mark.parametrize(
    ("rule", "told"),
    [
        (
            "{$ref: 'https://example.com/money.json'}",
            (
                "`$ref` 'https://example.com/money.json' points out of this contract, or to all of it; "
                "write `#/$defs/NAME`, or the rule itself"
            ),
        ),
        ("{$ref: '#/$defs/money'}", "`$ref` '#/$defs/money' points to nothing; define it under `$defs`"),
        (
            "{type: object, properties: {inner: {$ref: '#/properties/amount'}}}",
            "`$ref` '#/properties/amount' contains itself; write `type: object` there, which keeps it as JSON text",
        ),
        ("{$dynamicRef: '#money'}", "`$dynamicRef` is not read; write `$ref: '#/$defs/NAME'`, or the rule itself"),
        ("{$anchor: money}", "`$anchor` is not read; put the part under `$defs` and point there"),
        ("{$id: 'https://example.com/money'}", "`$id` inside a contract is not read; take it out"),
        (
            "{$schema: 'http://json-schema.org/schema#'}",
            f"`$schema` 'http://json-schema.org/schema#' is not read; write {DRAFT} at the top, or take it out",
        ),
        ("{type: string, minLength: 2.0}", "`minLength` is 2.0; write 2"),
        ("{type: array, maxItems: 2.5}", "`maxItems` is 2.5; write a whole number"),
        (
            "{type: string, maxLength: 9223372036854775808}",
            "`maxLength` is more than 9223372036854775807; write a smaller number, or take it out",
        ),
        (
            f"{{type: number, maximum: 1{'0' * 400}}}",
            "`maximum` is beyond every double; write a smaller number, or take it out",
        ),
        ("{type: number, minimum: .inf}", "inf is no number of JSON; write a number, or take the rule out"),
        ("{type: number, minimun: 0}", "`minimun` is no keyword of JSON Schema; did you mean `minimum`?"),
        ("{type: number, unit: cent}", "`unit` is no keyword of JSON Schema; take it out, or call it `x-unit`"),
        (
            "{type: number, description: In euros, with tax}",
            "`with tax` is no keyword of JSON Schema; put text with a comma in quotes",
        ),
        ("{const: 2026-01-01}", "`2026-01-01` is a date for YAML, which JSON lacks; put it in quotes"),
        ("{enum: [!!binary aGk=]}", "`b'hi'` is a bytes for YAML, which JSON lacks; put it in quotes"),
        (r'{const: "\ud800"}', "half of a character (a surrogate) is no text; write the whole character"),
    ],
)
def test_a_rule_that_a_reader_cannot_keep_is_refused(tmp_path: Path, rule: str, told: str) -> None:
    """Such files were accepted, and every step of theirs failed; a remote `$ref` was fetched while loading."""
    assert refusal(tmp_path, field(rule)) == [f"1.yaml:14: {told}"]


def test_a_contract_nested_too_deeply_is_refused(tmp_path: Path) -> None:
    deep = "{items: " * 150 + "{}" + "}" * 150
    assert refusal(tmp_path, field(deep)) == [
        "1.yaml:14: nested more than 100 deep; write `type: object` further up, which keeps it as JSON text"
    ]
    deeper = "[" * 2_000 + "]" * 2_000
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(1_000)  # Python's own: libraries that other tests load raise it
    try:
        told = refusal(tmp_path, field(f"{{enum: {deeper}}}"))
    finally:
        sys.setrecursionlimit(limit)
    assert told == ["1.yaml:1: nested too deeply to be read; write it flatter"]


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("'*'", f"column '*' can't be one: Polars takes it for a pattern; {UNDECLARED}"),
        ("'^a.*$'", "column '^a.*$' can't be one: no space, quote"),
        ("'^a$'", f"column '^a$' can't be one: Polars takes it for a pattern; {UNDECLARED}"),
        ("a.b", "column 'a.b' can't be one: no space, quote, backtick, backslash, dot or any of ,;{}()= may stand"),
        ("'a`b'", "column 'a`b' can't be one: no space, quote"),
        ("_row_number", f"column '_row_number' begins with `_`, as the lake's own do; {UNDECLARED}"),
        (r'"a\u200bb"', r"column 'a\u200bb' can't be one: a name has at most 255 characters that can be seen"),
        ("a" * 256, "column 'aaaa"),
    ],
)
def test_a_column_that_some_engine_takes_for_something_else_is_refused(tmp_path: Path, name: str, told: str) -> None:
    """A column named `*` or `^…$` is a selector to Polars: every step raised that a name was there twice."""
    (event_fault,) = refusal(tmp_path, with_line(EVENTS, "amount: {", f"{name}: {{"))
    assert event_fault.startswith(f"1.yaml:14: {told}")
    (table_fault,) = refusal(tmp_path, with_line(TABLE, "  placed: {", f"  {name}: {{type: string}}\n  placed: {{"))
    assert table_fault.startswith(f"1.yaml:9: {told}")


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("history: true", "order_by: ['*']", "1.yaml:11: column '*' can't be one: Polars takes it for a pattern"),
        ("history: true", "order_by: [seq, seq]", "1.yaml:11: order_by column 'seq' stands twice; keep one"),
        ("history: true", "timestamp_column: event_date", "1.yaml:11: column 'event_date' is one the lake adds itself"),
        (
            "{type: timestamp}",
            "{type: timestamp, minimum: 0}",
            "1.yaml:9: column 'placed' holds timestamp, which has no `minimum`; take it out, or declare a number",
        ),
        ("{type: timestamp}", "{type: int64, maximum: .inf}", "1.yaml:9: `columns.placed.maximum`: should be a finite"),
        ("dms/public/orders", r'"dms/or\u0007ders"', r"1.yaml:5: `landing.prefix`: 'dms/or\x07ders' can't be a folder"),
    ],
)
def test_what_a_replicated_table_cannot_be_read_with_is_refused(tmp_path: Path, old: str, new: str, told: str) -> None:
    (fault,) = refusal(tmp_path, with_line(TABLE, old, new))
    assert fault.startswith(told)


def test_a_reference_within_the_contract_is_read_as_what_it_points_to(tmp_path: Path) -> None:
    definitions = "  $defs:\n    money: {type: number, minimum: 0, x-lake-type: 'decimal(12,2)'}\n  type: object"
    text = with_line(field("{$ref: '#/$defs/money', description: In euros}"), "  type: object", definitions)
    (tmp_path / "1.yaml").write_text(text)
    dataset = load_dataset(tmp_path / "1.yaml", check=check_readable)
    assert isinstance(dataset, EventStream)
    assert dataset.columns["amount"].type == "decimal(12,2)"
    assert dataset.columns["amount"].description == "In euros"
    verdict = Contract(dataset).judge(b'{"id": "a", "at": 1, "amount": -1}')
    assert verdict == ("/amount minimum: -1 is less than the minimum of 0",)
    written_out = field("{type: number, minimum: 0, x-lake-type: 'decimal(12,2)'}")
    (tmp_path / "1.yaml").write_text(written_out)
    assert load_dataset(tmp_path / "1.yaml").contract == dataset.contract


def test_what_a_reference_points_to_is_checked_wherever_it_lies(tmp_path: Path) -> None:
    definitions = "  x-shared: {money: {type: number, minimun: 0}}\n  type: object"
    text = with_line(field("{$ref: '#/x-shared/money'}"), "  type: object", definitions)
    (fault,) = refusal(tmp_path, text)
    assert fault.endswith("`minimun` is no keyword of JSON Schema; did you mean `minimum`?")


def test_a_rule_beside_a_reference_is_kept_as_well() -> None:
    short = {"$ref": "#/$defs/word", "maxLength": 3}
    contract = {
        "type": "object",
        "properties": {"id": {"type": "string"}, "at": {"type": "integer"}, "word": short},
        "$defs": {"word": {"type": "string", "pattern": "^[a-z]+$"}},
    }
    judge = Contract(stream(schema=contract)).judge
    assert [len(judge(f'{{"id": "a", "at": 1, "word": {w}}}'.encode())) for w in ('"abcd"', '"A"', "5")] == [1, 1, 1]
    assert not isinstance(judge(b'{"id": "a", "at": 1, "word": "abc"}'), tuple)


def test_a_reader_that_fails_all_the_same_is_a_fault_of_its_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OverflowError("a bound that no library takes\nand its trace")

    for kind in ("EventReader", "ChangeReader"):
        monkeypatch.setattr(f"datalake_assets.lake.readers.readable.{kind}", fail)
    told = "no reader can be made of this (OverflowError: a bound that no library takes); write it plainer"
    assert refusal(tmp_path, EVENTS, TABLE) == [f"1.yaml:8: clicks: {told}", f"2.yaml:7: orders: {told}"]


def test_a_table_of_every_type_is_readable() -> None:
    names = ["boolean", "int8", "int64", "float", "double", "string", "binary", "date", "timestamp", "json"]
    columns = {f"a_{n}": {"type": n} for n in [*names, "decimal(38,38)", "decimal(1,0)"]}
    columns = {name.replace("(", "_").replace(")", "").replace(",", "_"): rule for name, rule in columns.items()}
    for event_time in (None, {"column": "a_int8", "unit": "s"}, {"column": "a_string", "unit": "iso8601"}):
        dataset = table(columns=columns, key=list(columns), event_time=event_time, order_by=["seq", "a_int8"])
        assert isinstance(dataset, CdcTable)
        check_readable(dataset)
