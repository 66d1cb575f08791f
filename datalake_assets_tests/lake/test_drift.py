"""What a declaration and what was found make together, and how two states of it stand to each other."""

from pathlib import Path

import pytest

from datalake_assets.lake.spec.dataset import CdcTable
from datalake_assets.lake.spec.drift import grown_from, with_found, without_added
from datalake_assets_tests.replicated import ORDERS, ReplicatedLake


@pytest.fixture
def orders(tmp_path: Path) -> CdcTable:
    return ReplicatedLake(tmp_path, ORDERS).dataset("orders")


def types(dataset: CdcTable) -> dict[str, str]:
    return {name: column.type for name, column in dataset.columns.items()}


def test_what_was_found_adds_and_widens_columns_and_leaves_the_contract_as_it_is(orders: CdcTable) -> None:
    found = {"gift": {"int16", "int64"}, "price": {"decimal(12,4)", "string"}, "valid_from": {"date"}, "Op": {"int8"}}
    grown = with_found(orders, found)
    assert types(grown) == types(orders) | {"gift": "int64", "price": "decimal(12,4)"}
    assert (grown.added, grown.declared, grown.contract) == (frozenset({"gift"}), orders, orders.contract)
    assert grown.shape != orders.shape
    assert types(without_added(grown)) == types(orders) | {"price": "decimal(12,4)"}
    assert with_found(grown, found) is grown
    assert with_found(grown, {}) == orders


def test_a_column_that_orders_changes_as_text_does_not_widen(orders: CdcTable) -> None:
    by_price = orders.model_copy(update={"order_by": ("price",)})
    assert with_found(by_price, {"price": {"decimal(12,4)"}}) == by_price


def test_tables_grow_from_less_to_more_and_not_by_a_changed_file(orders: CdcTable) -> None:
    some = with_found(orders, {"gift": {"int16"}})
    more = with_found(orders, {"gift": {"int64"}, "price": {"decimal(12,4)"}})
    for now, was in ((some, orders), (more, orders), (more, some)):
        before = grown_from(now, was.shape_text)
        assert before is not None
        assert types(before) == types(was)
    assert grown_from(some, more.shape_text) is None
    declared = orders.model_copy(update={"columns": {**orders.columns, "gift": some.columns["gift"]}})
    assert grown_from(declared, orders.shape_text) is None
    assert declared.shape_text == some.shape_text
    assert grown_from(orders.model_copy(update={"history": False}), orders.shape_text) is None
