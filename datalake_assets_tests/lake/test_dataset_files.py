"""A wrong dataset file is refused with its file, its line, and what to write instead."""

from pathlib import Path

import pytest

from datalake_assets.lake.spec.dataset import CdcTable, EventStream
from datalake_assets.lake.spec.dataset_files import DatasetError, load_dataset, load_datasets
from datalake_assets.settings import Settings
from datalake_assets_tests.lake.dataset_texts import EVENTS, TABLE, refusal, with_line

KNOWN_TYPES = (
    "binary, boolean, date, double, float, int16, int32, int64, int8, json, string, timestamp, "
    "decimal(p,s) with p <= 38"
)
UNDECLARED = "rename it at the source, or leave it undeclared (it is kept in `_unknown`)"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An empty folder for dataset files."""
    return tmp_path


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        (
            "owner: team:web",
            "owner: team:web\nevent_tipe: id",
            "1.yaml:5: unknown key `event_tipe`; did you mean `event_type`?",
        ),
        ("cadence: hourly", "cadense: daily", "1.yaml:5: unknown key `landing.cadense`; did you mean `cadence`?"),
        (
            "key: [id]",
            "colour: red",
            (
                "1.yaml:6: unknown key `colour`; known here: name, description, owner, landing, key, "
                "max_rejected_fraction, min_records, runner, kind, event_time, schema, unknown_fields, coerce, "
                "max_ahead, envelope, event_type, quality, "
                "partition_by"
            ),
        ),
        ("owner: team:web\n", "", "1.yaml:1: `owner` is missing; add it"),
        ("{column: at, unit: s}", "{unit: s}", "1.yaml:7: `event_time.column` is missing; add it"),
        (
            "cadence: hourly",
            "cadence: weekly",
            "1.yaml:5: `landing.cadence`: should be 'hourly' or 'daily', not 'weekly'",
        ),
        ("kind: event_stream\n", "", "1.yaml:1: `kind` is missing; write cdc_table or event_stream"),
        ("kind: event_stream", "kind: events", "1.yaml:2: `kind` is 'events'; write cdc_table or event_stream"),
        (
            "name: clicks",
            "name: Web-Clicks",
            (
                "1.yaml:1: `name` is 'Web-Clicks'; write lower-case letters, digits and underscores, beginning "
                "with a letter, such as web_events"
            ),
        ),
        ("owner: team:web", "owner: Bob", "1.yaml:4: `owner` is 'Bob'; write team:NAME or an e-mail address"),
        (
            "landing: {prefix: firehose/clicks, cadence: hourly}",
            "landing: firehose/clicks",
            "1.yaml:5: `landing` is 'firehose/clicks'; write a mapping with the keys prefix, cadence",
        ),
        (
            "prefix: firehose/clicks",
            "prefix: /firehose/clicks/",
            (
                "1.yaml:5: `landing.prefix`: '/firehose/clicks/' is no folder of the landing zone; write one "
                "like firehose/web_events, relative to the zone and without a slash at either end"
            ),
        ),
        ("key: [id]", "key: id", "1.yaml:6: `key` is 'id'; write a list, such as [id]"),
        ("key: [id]", "key: [idd]", "1.yaml:6: key column 'idd' is not declared; did you mean 'id'?"),
        (
            "key: [id]",
            "key: [nonsense]",
            "1.yaml:6: key column 'nonsense' is not declared; declare it, or take it out of `key`",
        ),
        ("key: [id]", "key: [id, id]", "1.yaml:6: key column 'id' stands twice; keep one"),
        (
            "{column: at, unit: s}",
            "{column: moment, unit: s}",
            "1.yaml:7: event_time column 'moment' is not declared; declare it, or name one that is",
        ),
        ("{column: at, unit: s}", "{column: at}", "1.yaml:7: event_time needs a `unit`: s, ms, us or iso8601"),
        (
            "{column: at, unit: s}",
            "{column: at, unit: iso8601}",
            (
                "1.yaml:7: event_time column 'at' holds int64, which can't be read as unit iso8601; declare it "
                "as string, or change the unit"
            ),
        ),
        (
            'x-lake-type: "decimal(12,2)"',
            "x-lake-type: date",
            (
                "1.yaml:14: column 'amount': x-lake-type date does not fit JSON type number; write one of "
                "decimal, double, json"
            ),
        ),
        (
            'x-lake-type: "decimal(12,2)"',
            'x-lake-type: "decimal(99,2)"',
            f"1.yaml:14: column 'amount': unknown type 'decimal(99,2)'; write one of {KNOWN_TYPES}",
        ),
        (
            "at: {type: integer}",
            "at: {type: integr}",
            (
                '1.yaml:13: not a JSON Schema: "integr" is not valid under any of the schemas listed in the '
                "'anyOf' keyword; write string, integer, number, boolean, object, array or null"
            ),
        ),
        (
            "id: {type: string}",
            'id: {type: string, pattern: "("}',
            ('1.yaml:12: not a JSON Schema: "(" is not a "regex"; json-schema.org tells what may stand here'),
        ),
        (
            "amount: {type",
            "Event_Date: {type",
            ("1.yaml:14: column 'Event_Date' is one the lake adds itself; give the source's column another name"),
        ),
        (
            "amount: {type",
            "the amount: {type",
            (
                "1.yaml:14: column 'the amount' can't be one: no space, quote, backtick, backslash, dot or any of "
                ",;{}()= may stand in a name, as Delta or Spark does not take it; " + UNDECLARED
            ),
        ),
        (
            "amount: {type",
            "ID: {type",
            "1.yaml:12: column 'id' is declared twice (case does not tell columns apart); rename one",
        ),
        ("key: [id]", "owner: team:other", "1.yaml:6: key `owner` stands twice (first in line 4); keep one"),
        (
            "at: {type: integer}",
            "id: {type: integer}",
            "1.yaml:13: key `id` stands twice (first in line 12); keep one",
        ),
        ("amount: {type", "on: {type", "1.yaml:14: key `on` is no text for YAML; put it in quotes"),
        (
            "owner: team:web",
            "owner: [team:web",
            "1.yaml:5: not YAML: expected ',' or ']', but got ':'; mend the line",
        ),
        (
            "owner: team:web",
            "owner: !secret web",
            "1.yaml:4: could not determine a constructor for the tag '!secret'; write the value itself",
        ),
        (
            "owner: team:web",
            "owner: 2026-13-45",
            "1.yaml:4: month must be in 1..12; put the value in quotes if it is text",
        ),
        (
            "key: [id]",
            "event_type: kind",
            "1.yaml:6: event_type column 'kind' is not declared; declare it, or name one that is",
        ),
        ("key: [id]", "partition_by: ~", "1.yaml:6: `partition_by`: should be 'none', 'month' or 'day', not None"),
        ("key: [id]", "min_records: 0", "1.yaml:6: `min_records`: should be greater than or equal to 1, not 0"),
        (
            "key: [id]",
            "max_rejected_fraction: 5",
            "1.yaml:6: `max_rejected_fraction`: should be less than or equal to 1, not 5",
        ),
        (
            "  properties:",
            "  properties: {}\n  x-old:",
            ("1.yaml:8: `schema`: the contract declares no `properties`; name each field that should become a column"),
        ),
    ],
)
def test_a_wrong_event_stream_is_refused(folder: Path, old: str, new: str, told: str) -> None:
    assert refusal(folder, with_line(EVENTS, old, new)) == [told]


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("key: [id]\n", "", "1.yaml:1: `key` is missing; add it"),
        (
            "key: [id]",
            "key: [order_id]",
            "1.yaml:6: key column 'order_id' is not declared; declare it, or take it out of `key`",
        ),
        (
            "id: {type: int64",
            "id: {type: integer",
            f"1.yaml:8: `columns.id.type`: unknown type 'integer'; write one of {KNOWN_TYPES}",
        ),
        (
            "{type: int64, required: true}",
            "int64",
            (
                "1.yaml:8: `columns.id` is 'int64'; write a mapping with the keys type, required, minimum, "
                "maximum, on_missing, description"
            ),
        ),
        (
            "required: true",
            "required: true, description: open, paid",
            "1.yaml:8: unknown key `columns.id.paid`; put text with a comma in quotes",
        ),
        ("required: true", "requird: true", "1.yaml:8: unknown key `columns.id.requird`; did you mean `required`?"),
        (
            "event_time: {column: placed}",
            "event_time: {column: place}",
            "1.yaml:10: event_time column 'place' is not declared; did you mean 'placed'?",
        ),
        (
            "event_time: {column: placed}",
            "event_time: {column: id}",
            (
                "1.yaml:10: event_time column 'id' holds int64; declare it as timestamp or date, or give event_time "
                "the `unit` of what it holds: s, ms or us for a number, iso8601 for a string"
            ),
        ),
        (
            "history: true",
            "partition_by: year",
            "1.yaml:11: `partition_by`: should be 'none', 'month' or 'day', not 'year'",
        ),
        (
            "event_time: {column: placed}\n",
            "partition_by: month\n",
            (
                "1.yaml:10: partition_by month cuts tables by event date, and this one has none; write "
                "`partition_by: none`, or name the column that tells it in `event_time`"
            ),
        ),
        (
            "  placed: {type: timestamp}",
            "  placed: {type: timestamp}\n  event_month: {type: date}\npartition_by: month",
            ("1.yaml:10: column 'event_month' is one the lake adds itself; give the source's column another name"),
        ),
        (
            "  placed:",
            "  Op: {type: string}\n  placed:",
            "1.yaml:9: `Op` is DMS's own column and is read without being declared; take it out",
        ),
        (
            "history: true",
            "csv: {delimeter: ;}",
            "1.yaml:11: unknown key `csv.delimeter`; did you mean `delimiter`?",
        ),
        (
            "history: true",
            'csv: {delimiter: "::"}',
            "1.yaml:11: `csv.delimiter`: '::' can't part fields; write one ASCII character, such as a semicolon",
        ),
        (
            "history: true",
            'csv: {null_value: "a,b"}',
            (
                "1.yaml:11: null_value 'a,b' can't stand in a field without quotes; set CsvNullValue to a plain word, "
                "and write that"
            ),
        ),
        (
            "history: true",
            "csv:\n  header: true\n  columns: [Op, id]",
            (
                "1.yaml:13: files with a header tell their columns themselves; take `columns` out, or write "
                "`header: false`"
            ),
        ),
        (
            "history: true",
            "csv:\n  columns: [id, Op, id]",
            "1.yaml:12: column 'id' stands twice; keep one",
        ),
        (
            "history: true",
            "csv:\n  columns: [Op, placed]",
            (
                "1.yaml:12: csv: column 'id' is not among the `columns` of its files; name it where DMS writes it, or "
                "take `columns` out for DMS's own order"
            ),
        ),
        (
            "history: true",
            "timestamp_column: ts\ncsv: {columns: [Op, id, placed]}",
            (
                "1.yaml:12: csv: column 'ts' is not among the `columns` of its files; name it where DMS writes it, or "
                "take `columns` out for DMS's own order"
            ),
        ),
        (
            "history: true",
            "csv: ';'",
            "1.yaml:11: `csv` is ';'; write a mapping with the keys header, delimiter, null_value, columns",
        ),
        (
            "history: true",
            "history: perhaps",
            "1.yaml:11: `history`: should be a valid boolean, unable to interpret input, not 'perhaps'",
        ),
    ],
)
def test_a_wrong_cdc_table_is_refused(folder: Path, old: str, new: str, told: str) -> None:
    assert refusal(folder, with_line(TABLE, old, new)) == [told]


def test_every_fault_of_every_file_is_told_at_once(folder: Path) -> None:
    first = with_line(EVENTS, "owner: team:web", "ownr: team:web")
    second = with_line(TABLE, "key: [id]\n", "")
    assert refusal(folder, first, second) == [
        "1.yaml:1: `owner` is missing; add it",
        "1.yaml:4: unknown key `ownr`; did you mean `owner`?",
        "2.yaml:1: `key` is missing; add it",
    ]


def test_two_datasets_of_one_name_are_refused(folder: Path) -> None:
    other = with_line(EVENTS, "prefix: firehose/clicks", "prefix: firehose/others")
    assert refusal(folder, EVENTS, other) == [
        "2.yaml:1: the name 'clicks' is taken by 1.yaml; choose another `name`",
        "2.yaml:1: the name 'clicks_duplicates' (a table of clicks) is taken by 1.yaml; choose another `name`",
    ]


@pytest.mark.parametrize(
    ("text", "name"), [(TABLE, "orders_history"), (TABLE, "orders_tombstones"), (EVENTS, "clicks_duplicates")]
)
def test_a_name_that_another_dataset_needs_for_its_tables_is_refused(folder: Path, text: str, name: str) -> None:
    other = with_line(EVENTS, "name: clicks", f"name: {name}").replace("firehose/clicks", "firehose/others")
    assert refusal(folder, text, other) == [f"2.yaml:1: the name {name!r} is taken by 1.yaml; choose another `name`"]
    owner = "clicks" if text is EVENTS else "orders"
    assert refusal(folder, other, text) == [
        f"2.yaml:1: the name {name!r} (a table of {owner}) is taken by 1.yaml; choose another `name`"
    ]


def test_a_table_without_history_leaves_that_name_to_others(folder: Path) -> None:
    (folder / "1.yaml").write_text(with_line(TABLE, "history: true", "history: false"))
    (folder / "2.yaml").write_text(with_line(EVENTS, "name: clicks", "name: orders_history"))
    assert set(load_datasets(folder)) == {"orders", "orders_history"}


@pytest.mark.parametrize("name", ["found_columns", "ledger", "pending", "verdicts"])
def test_a_name_of_the_lakes_own_tables_is_refused(folder: Path, name: str) -> None:
    assert refusal(folder, with_line(EVENTS, "name: clicks", f"name: {name}")) == [
        f"1.yaml:1: the name {name!r} is taken by the lake itself; choose another `name`"
    ]


@pytest.mark.parametrize("prefix", ["firehose/clicks", "firehose/clicks/eu", "firehose"])
def test_two_datasets_whose_prefixes_overlap_are_refused(folder: Path, prefix: str) -> None:
    other = with_line(EVENTS, "name: clicks", "name: others").replace("firehose/clicks", prefix)
    assert refusal(folder, EVENTS, other) == [
        f"2.yaml:5: `landing.prefix` {prefix!r} overlaps that of 1.yaml; give each its own"
    ]


def test_a_prefix_that_only_begins_alike_is_another_one(folder: Path) -> None:
    (folder / "a.yaml").write_text(EVENTS)
    (folder / "b.yml").write_text(EVENTS.replace("clicks", "clicks_2"))
    assert list(load_datasets(folder)) == ["clicks", "clicks_2"]


@pytest.mark.parametrize("text", ["", "- a\n- b\n", "just words\n"])
def test_a_file_that_is_no_mapping_is_refused(folder: Path, text: str) -> None:
    assert refusal(folder, text) == ["1.yaml:1: a dataset file is a mapping of keys; begin it with `name:` and `kind:`"]


def test_an_alias_that_contains_itself_is_refused(folder: Path) -> None:
    text = with_line(EVENTS, "key: [id]", "key: &loop [*loop]")
    assert refusal(folder, text) == ["1.yaml:6: a YAML alias contains itself; write the mapping out"]


def test_a_file_in_another_encoding_is_refused(folder: Path) -> None:
    (folder / "1.yaml").write_bytes("name: cafe\ndescription: Caf\xe9".encode("latin-1"))
    assert refusal(folder) == ["1.yaml:2: not UTF-8 text (unexpected end of data); save the file as UTF-8"]


def test_a_control_character_is_refused(folder: Path) -> None:
    assert refusal(folder, "kind: event_stream\nname: cli\x01cks")[0].startswith(
        "1.yaml:2: not YAML: unacceptable character #x0001"
    )


def test_an_empty_and_a_missing_folder_are_refused(folder: Path) -> None:
    (folder / "readme.md").write_text("no dataset")
    (folder / "nested.yaml").mkdir()
    for place, wrong in ((folder, r"no dataset file .* here"), (folder / "missing", "there is no such folder")):
        with pytest.raises(DatasetError, match=f"{wrong}; point DATALAKE_DATASETS at a folder"):
            load_datasets(place)


def test_columns_come_from_the_contract(folder: Path) -> None:
    (folder / "clicks.yaml").write_text(EVENTS)
    dataset = load_dataset(folder / "clicks.yaml")
    assert isinstance(dataset, EventStream)
    assert {n: (c.type, c.required) for n, c in dataset.columns.items()} == {
        "id": ("string", True),
        "at": ("int64", True),
        "amount": ("decimal(12,2)", False),
    }


def test_the_packaged_datasets_are_right() -> None:
    datasets = load_datasets(Settings().datasets)
    assert {n: type(d) for n, d in datasets.items()} == {
        "customers": CdcTable,
        "device_readings": EventStream,
        "orders": CdcTable,
        "web_events": EventStream,
    }
