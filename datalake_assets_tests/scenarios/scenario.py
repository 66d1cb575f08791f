"""Scenarios: folders of landed files in a form that people read, and the tables that must come of them.

`<name>/landed/<step>/<path>.csv` becomes the Parquet file `<path>.parquet` below the table's prefix. An empty field is
null; columns have their declared types unless the header says otherwise (`price:string`). `<name>/control/` holds what
silver, history and quarantine hold at the end, whatever the order of the steps; columns that were found in the files
beside the declared ones stand last. The table is that of `orders.yaml`.
To write control files anew, call `write_control` and read the difference.
"""

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from datalake_assets_tests.replicated import ReplicatedLake

HERE = Path(__file__).parent
ORDERS = (HERE / "orders.yaml").read_text()
_CONTROLLED = {
    "silver": ("silver/orders", ["id", "product", "price", "created_at", "event_date", "_unknown"]),
    "history": (
        "silver/orders_history",
        ["id", "operation", "product", "price", "_unknown", "event_date", "valid_from", "valid_to", "is_current"],
    ),
    "quarantine": ("quarantine/orders", ["source_filename", "row_number", "errors"]),
}


@dataclass(frozen=True, slots=True)
class Scenario:
    """A folder of landed files and their control output."""

    folder: Path

    @property
    def steps(self) -> list[Path]:
        """The folders whose files land together, in the order of their names."""
        return sorted(path for path in (self.folder / "landed").iterdir() if path.is_dir())

    def land(self, lake: ReplicatedLake, steps: Iterable[Path]) -> None:
        """Land the files of some steps as Parquet."""
        for step in steps:
            for file in sorted(step.rglob("*.csv")):
                rows, types = _read(file)
                lake.land(str(file.relative_to(step).with_suffix(".parquet")), rows, types=types)

    def control(self) -> dict[str, str]:
        """The control output: CSV by table."""
        return {name: (self.folder / "control" / f"{name}.csv").read_text() for name in _CONTROLLED}

    def write_control(self, lake: ReplicatedLake) -> None:
        """Make what a lake holds the control output."""
        (self.folder / "control").mkdir(exist_ok=True)
        for name, text in outcome(lake).items():
            (self.folder / "control" / f"{name}.csv").write_text(text)


def scenarios() -> list[Scenario]:
    """All scenarios, by name."""
    return [Scenario(path.parent) for path in sorted(HERE.glob("*/landed"))]


def outcome(lake: ReplicatedLake) -> dict[str, str]:
    """What a lake's tables hold, as the control output has it."""
    found = {}
    added = sorted(lake.lake.as_found().datasets["orders"].columns.keys() - lake.dataset("orders").columns.keys())
    for name, (table, declared) in _CONTROLLED.items():
        columns = [*declared, *(added if table.startswith("silver/") else [])]
        rows = lake.rows(table, *columns, *(["_change_order"] if name == "history" else []))
        if name == "history":
            rows = sorted(rows, key=lambda row: (row["id"], row["_change_order"]))
        found[name] = _written(rows, columns)
    return found


def _read(file: Path) -> tuple[list[dict[str, Any]], dict[str, str]]:
    header, *lines = csv.reader(io.StringIO(file.read_text()))
    names = [name.partition(":")[0] for name in header]
    types = {name: type_ for name, _, type_ in (n.partition(":") for n in header) if type_}
    rows = [{n: _value(n, text, types.get(n)) for n, text in zip(names, line, strict=True)} for line in lines]
    return rows, types


def _value(name: str, text: str, type_: str | None) -> Any:
    if not text or type_ == "string":
        return text or None
    if type_ and type_.startswith("int"):
        return int(text)
    match name:
        case "id":
            return int(text)
        case "price":
            return Decimal(text)
        case "created_at":
            return datetime.fromisoformat(f"{text}+00:00")
        case _:
            return text


def _written(rows: Sequence[dict[str, Any]], columns: Sequence[str]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([_text(row[column]) for column in columns] for row in rows)
    return text.getvalue()


def _text(value: Any) -> str:
    match value:
        case None:
            return ""
        case list():
            return "; ".join(value)
        case _:
            return str(value)
