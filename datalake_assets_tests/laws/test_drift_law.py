"""Law 1 under drift: whatever columns the files have, silver, history and quarantine are functions of their set.

Each file has its own columns, and types of them: an added column that is a number here and a text there, a declared one
that is narrower, wider, or of another kind. However they are processed, by steps that die or disturb each other: the
tables are those of one step over all.
"""

import random
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from deltalake import DeltaTable
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from datalake_assets_tests import lakes
from datalake_assets_tests.laws.driving import killed_at_commit, side_by_side
from datalake_assets_tests.replicated import CUSTOMERS, ORDERS, ReplicatedLake, change

TABLES = ("silver/orders", "silver/orders_history", "quarantine/orders")
NARROW = ORDERS.replace("customer_id: {type: int64}", "customer_id: {type: int16}").replace("(10,2)", "(4,2)")
WIDE = 2**40
VALUES: dict[str, tuple[Any, ...]] = {
    "boolean": (True, None),
    "int16": (7, None),
    "int32": (7, 2**20),
    "int64": (7, WIDE, None),
    "float": (0.5, 0.1),
    "double": (0.5, 0.1, float("nan")),
    "decimal(4,2)": (Decimal("7.50"), Decimal("7.00")),
    "decimal(9,4)": (Decimal("7.5"), Decimal("7.0001")),
    "decimal(20,0)": (Decimal(7), Decimal(WIDE)),
    "string": ("7", "7.5", str(WIDE), "x", None),
    "date": (date(2026, 1, 5), None),
    "timestamp": (datetime(2026, 1, 5, tzinfo=UTC), None),
}
TYPES: dict[str, tuple[str, ...]] = {
    "gift": tuple(VALUES),
    "Size": ("int16", "int32", "int64"),
    "size of it": ("int16", "string"),
    "customer_id": ("int16", "int32", "int64", "string", "decimal(4,2)"),
    "price": ("decimal(4,2)", "decimal(9,4)", "decimal(20,0)", "string", "int32"),
}
QUICK = (Phase.explicit, Phase.generate)  # shrinking a failing plan takes minutes: the soak run does that


@dataclass(frozen=True, slots=True)
class File:
    """A landed file: its hour, its rows, and the types of its columns."""

    hour: int
    rows: tuple[dict[str, Any], ...]
    types: dict[str, str]


@dataclass(frozen=True, slots=True)
class Plan:
    """Files in the order in which they land, and by what luck they are processed."""

    files: tuple[File, ...]
    luck: random.Random


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    files = []
    for n in range(draw(st.integers(2, 6))):
        types = {
            name: draw(st.sampled_from(choices))
            for name, choices in TYPES.items()
            if name == "customer_id" or draw(st.booleans())
        }
        rows = []
        for row in range(draw(st.integers(1, 2))):
            values = {name: draw(st.sampled_from(VALUES[kind])) for name, kind in types.items()}
            rows.append(change(draw(st.sampled_from("IUUD")), draw(st.integers(1, 3)), 10 * n + row) | values)
        files.append(File(9 + draw(st.integers(0, 2)), tuple(rows), types))
    return Plan(tuple(draw(st.permutations(files))), random.Random(draw(st.integers(0, 2**32))))


def land(lake: ReplicatedLake, number: int, file: File) -> None:
    rows = [{n: v for n, v in row.items() if n in file.types or n not in TYPES} for row in file.rows]
    lake.land(f"2026/01/05/{file.hour:02d}/20260105-{file.hour:02d}000{number}000.parquet", rows, types=file.types)


def state(lake: ReplicatedLake) -> dict[str, Any]:
    """The rows of the tables as text (NaN equals itself), and their columns as any reader of Delta sees them."""
    found: dict[str, Any] = {name: list(map(repr, lake.rows(name))) for name in TABLES}
    for name in TABLES[:2]:
        if (table := lakes.table_of(lake.lake, name)).open().exists:
            fields = DeltaTable(table.uri).schema().fields
            found[f"{name} columns"] = {field.name: str(field.type) for field in fields}
    return found


def in_pieces(lake: ReplicatedLake, plan: Plan) -> None:
    """Some files at a time, by steps that are killed, that run side by side, and that read again."""
    luck = plan.luck
    for number, file in enumerate(plan.files):
        land(lake, number, file)
        waiting = lake.waiting()
        match luck.randint(0, 4):
            case 0 | 1:
                lake.refresh(partitions=[luck.choice(waiting)])
            case 2:
                with killed_at_commit(luck.randint(1, 12), after=luck.random() < 0.5):
                    lake.refresh(partitions=waiting)
            case 3:
                side_by_side(*(partial(lake.again().refresh, partitions=[partition]) for partition in waiting))
            case _:
                lake.refresh(partitions=[f"2026-01-05-{file.hour:02d}:00"], replay=True)
    lake.refresh_all(luck=luck)


def check(plan: Plan) -> None:
    with TemporaryDirectory() as folder:
        whole, pieces = (ReplicatedLake(Path(folder) / name, NARROW, CUSTOMERS) for name in ("whole", "pieces"))
        for number, file in enumerate(plan.files):
            land(whole, number, file)
        whole.refresh_all()
        in_pieces(pieces, plan)
        expected = state(whole)
        assert state(pieces) == expected
        pieces.rebuild()
        assert state(pieces) == expected


@settings(max_examples=4, phases=QUICK)
@given(plans())
def test_tables_are_those_of_the_set_of_files_whatever_their_columns(plan: Plan) -> None:
    check(plan)


@pytest.mark.soak
@settings(max_examples=300)
@given(plans())
def test_tables_are_those_of_the_set_of_files_whatever_their_columns_in_many_more_cases(plan: Plan) -> None:
    check(plan)
