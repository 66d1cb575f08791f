"""The two hashes of a dataset: `contract` follows how a record is read, `shape` the form of its tables."""

from pathlib import Path

import pytest

from datalake_assets.lake.spec.dataset import Dataset
from datalake_assets.lake.spec.dataset_files import load_dataset
from datalake_assets.lake.spec.shape import shape_difference
from datalake_assets_tests.lake.dataset_texts import EVENTS, TABLE, with_line


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An empty folder for dataset files."""
    return tmp_path


def load(folder: Path, text: str) -> Dataset:
    (folder / "1.yaml").write_text(text)
    return load_dataset(folder / "1.yaml")


SAME = (False, False)
READ = (True, False)
BUILT = (True, True)


@pytest.mark.parametrize(
    ("text", "old", "new", "changes"),
    [
        (EVENTS, "Clicks of a page.", "Clicks.", SAME),
        (EVENTS, "team:web", "team:other", SAME),
        (EVENTS, "key: [id]", "key: [id]\nmax_rejected_fraction: 0.5\nmin_records: 3", SAME),
        (EVENTS, "id: {type: string}", "id: {type: string, description: Its id, title: Id, examples: [a]}", SAME),
        (EVENTS, "{type: object", "{type: object", SAME),
        (EVENTS, "id: {type: string}\n    at: {type: integer}", "at: {type: integer}\n    id: {type: string}", SAME),
        (EVENTS, "id: {type: string}", "id: {type: string, minLength: 1}", READ),
        (EVENTS, "required: [id, at]", "required: [id]", READ),
        (EVENTS, "key: [id]", "key: [id]\nunknown_fields: reject", BUILT),
        (EVENTS, "key: [id]", "key: [id, at]", BUILT),
        (EVENTS, "unit: s", "unit: ms", BUILT),
        (EVENTS, "decimal(12,2)", "decimal(12,3)", BUILT),
        (EVENTS, "amount:", "price:", BUILT),
        (EVENTS, "key: [id]", "key: [id]\npartition_by: day", SAME),
        (EVENTS, "key: [id]", "key: [id]\npartition_by: month", (False, True)),
        (TABLE, "{type: timestamp}", "{type: timestamp, description: When}", SAME),
        (TABLE, "history: true", "history: true\npartition_by: none", SAME),
        (TABLE, "history: true", "history: true\npartition_by: day", (False, True)),
        (TABLE, "cadence: hourly", "cadence: daily", SAME),
        (TABLE, "{type: timestamp}", "{type: timestamp, required: true}", READ),
        (TABLE, "history: true", "history: false", (False, True)),
        (TABLE, "history: true", "history: true\norder_by: [seq]", BUILT),
        (TABLE, "history: true", "history: true\ntimestamp_column: ts", BUILT),
        (TABLE, "event_time: {column: placed}\n", "", BUILT),
        (TABLE, "history: true", "history: true\ncsv: {}", READ),
    ],
)
def test_a_change_of_the_file_changes_what_it_means(
    folder: Path, text: str, old: str, new: str, changes: tuple[bool, bool]
) -> None:
    before = load(folder, text)
    after = load(folder, text.replace(old, new))
    assert (before.contract != after.contract, before.shape != after.shape) == changes
    assert len(before.contract) == len(before.shape) == 16


def test_the_order_of_columns_is_of_the_contract_where_csv_without_a_header_goes_by_it(folder: Path) -> None:
    swapped = TABLE.replace("  id: {type: int64, required: true}\n", "").replace(
        "event_time:", "  id: {type: int64, required: true}\nevent_time:"
    )
    assert load(folder, TABLE).contract == load(folder, swapped).contract
    headed, bare = "csv: {header: true}\n", "csv: {}\n"
    assert load(folder, TABLE + headed).contract == load(folder, swapped + headed).contract
    assert load(folder, TABLE + bare).contract != load(folder, swapped + bare).contract
    named = "csv: {columns: [Op, id, placed]}\n"
    assert load(folder, TABLE + bare).contract == load(folder, swapped + named).contract


def test_words_inside_a_nested_rule_do_not_change_the_contract_but_values_and_names_do(folder: Path) -> None:
    def contract(rule: str) -> str:
        return load(folder, with_line(EVENTS, '{type: number, x-lake-type: "decimal(12,2)"}', rule)).contract

    plain = contract("{anyOf: [{type: array, items: {type: string}}]}")
    assert contract("{anyOf: [{$comment: c, type: array, items: {title: t, type: string, x-note: n}}]}") == plain
    assert contract("{anyOf: [{type: array, items: {type: integer}}]}") != plain
    assert contract("{const: {title: a}}") != contract("{const: {title: b}}")
    assert contract("{properties: {title: true}}") != contract("{properties: {}}")


def test_a_difference_of_shapes_is_told_in_words(folder: Path) -> None:
    old = load(folder, EVENTS).shape_text
    new = EVENTS.replace("unit: s", "unit: ms").replace("[id]", "[id, at]").replace("decimal(12,2)", "decimal(14,2)")
    new = new.replace("    at:", "    page: {type: string}\n    at:")
    assert shape_difference(old, load(folder, new).shape_text) == (
        "column `page` added; type of `amount`: decimal(12,2) -> decimal(14,2); event_time unit: s -> ms; "
        "key: id -> at, id"
    )
    assert shape_difference(old, old) == ""


def test_a_difference_of_replicated_tables_is_told_in_words(folder: Path) -> None:
    old = load(folder, TABLE).shape_text
    new = load(folder, TABLE.replace("history: true", "order_by: [seq]").replace("event_time: {column: placed}\n", ""))
    assert shape_difference(old, new.shape_text) == (
        "event_time column: placed -> none; order_by: none -> seq; history: true -> false"
    )
    by_day = load(folder, f"{TABLE}partition_by: day\n").shape_text
    assert shape_difference(old, by_day) == "partition_by: none -> day"
    assert shape_difference(new.shape_text, load(folder, EVENTS).shape_text).startswith(
        "column `amount` added; column `at` added; column `placed` removed; type of `id`: int64 -> string"
    )
