"""Columns whose value an update leaves out where it did not change (`on_missing: keep`)."""

from collections.abc import Sequence
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest

from datalake_assets_tests.replicated import ORDERS, ReplicatedLake, change, in_order

KEPT = ORDERS.replace("product_name: {type: string}", "product_name: {type: string, on_missing: keep}")
TABLES = ("silver/orders", "silver/orders_history")


def named(op: str, key: int, seq: int, product: str | None) -> dict[str, Any]:
    return change(op, key, seq, product_name=product)


def file(hour: int) -> str:
    return f"2026/01/05/{hour:02d}/20260105-{hour:02d}1500000.parquet"


def lake_of(root: Path, files: Sequence[tuple[int, list[dict[str, Any]]]]) -> ReplicatedLake:
    """A lake that met some files one by one."""
    lake = ReplicatedLake(root, KEPT)
    for hour, rows in files:
        lake.land(file(hour), rows)
        lake.refresh()
    return lake


def products(lake: ReplicatedLake) -> dict[int, str | None]:
    return {key: value for key, (value,) in lake.silver("orders", "product_name").items()}


def told(lake: ReplicatedLake, key: int) -> list[tuple[str, str | None, str | None]]:
    """Operation, product and what was left out of the changes of a key in their order."""
    rows = in_order(lake.rows("silver/orders_history"))
    return [(row["operation"], row["product_name"], row["_left_out"]) for row in rows if row["id"] == key]


def test_an_update_without_a_value_leaves_the_one_before(tmp_path: Path) -> None:
    rows = [named("I", 1, 1, "tea"), named("U", 1, 2, None), named("I", 2, 3, None), named("U", 2, 4, None)]
    lake = lake_of(tmp_path, [(9, rows), (10, [named("U", 1, 9, None)])])
    assert products(lake) == {1: "tea", 2: None}
    left = ",product_name,"
    assert told(lake, 1) == [("I", "tea", None), ("U", "tea", left), ("U", "tea", left)]
    assert told(lake, 2) == [("I", None, None), ("U", None, left)]
    (row,) = (row for row in lake.rows("silver/orders") if row["id"] == 1)
    assert row["quality_score"] == pytest.approx(4 / 5)  # all but the price


def test_a_value_before_a_delete_is_not_that_of_the_row_after_it(tmp_path: Path) -> None:
    rows = [named("I", 1, 5, "tea"), named("D", 1, 6, "tea"), named("I", 1, 7, None), named("U", 1, 8, None)]
    assert products(lake_of(tmp_path, [(9, rows)])) == {1: None}


def test_the_order_in_which_files_come_does_not_matter(tmp_path: Path) -> None:
    files = [
        (9, [named("I", 1, 1, "tea"), named("I", 2, 2, "milk")]),
        (10, [named("U", 1, 3, None), named("U", 2, 4, "honey")]),
        (11, [named("U", 2, 5, None)]),
        (12, [named("U", 1, 6, "rum"), named("D", 2, 7, None)]),
    ]
    expected = lake_of(tmp_path / "expected", files).tables(TABLES)
    for n, order in enumerate(permutations(files)):
        if n % 5 == 0:
            assert lake_of(tmp_path / str(n), order).tables(TABLES) == expected
    lake = lake_of(tmp_path / "three", [files[2], files[1], files[0]])
    assert products(lake) == {1: "tea", 2: "honey"}


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (KEPT.replace("history: true\n", ""), "add `history: true`"),
        (
            KEPT.replace("created_at: {type: timestamp}", "created_at: {type: timestamp, on_missing: keep}"),
            "event time",
        ),
        (KEPT.replace("on_missing: keep", "on_missing: keep, required: true"), "take `on_missing` out"),
    ],
)
def test_what_can_not_keep_its_value_is_refused(tmp_path: Path, text: str, fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        ReplicatedLake(tmp_path, text)
