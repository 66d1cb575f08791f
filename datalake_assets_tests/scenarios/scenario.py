"""Scenarios: folders of landed files in a form that people read, and the tables that must come of them.

`<name>/landed/<step>/<path>.csv` becomes the Parquet file `<path>.parquet` below the table's prefix. An empty field is
null; columns have their declared types unless the header says otherwise (`price:string`, `made:naive` for a timestamp
without a zone). Where the dataset file says how to read CSV, files land as they are, and `<path>.gz.csv` as gzip in
`<path>.csv.gz`. A name is written `%3D` for `=` as in any other lake.

`<name>/control/` holds what silver, history and quarantine hold at the end, whatever the order of the steps; columns
that were found in the files beside the declared ones stand last. The table is that of `<name>/orders.yaml` or else of
the `orders.yaml` here. To write control files anew, call `write_control` and read the difference.
"""

import csv
import gzip
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa

from datalake_assets_tests.replicated import ReplicatedLake

HERE = Path(__file__).parent
TABLE = "orders"
ORDERS = (HERE / f"{TABLE}.yaml").read_text()
_ARROW: Mapping[str, pa.DataType] = {
    "naive": pa.timestamp("us"),
    "naive_ms": pa.timestamp("ms"),
    "utc_ms": pa.timestamp("ms", "UTC"),
    "time": pa.time32("ms"),
}


@dataclass(frozen=True, slots=True)
class Scenario:
    """A folder of landed files and their control output."""

    folder: Path

    @property
    def steps(self) -> list[Path]:
        """The folders whose files land together, in the order of their names."""
        return sorted(path for path in (self.folder / "landed").iterdir() if path.is_dir())

    @property
    def dataset(self) -> str:
        """The dataset file of the table."""
        own = self.folder / f"{TABLE}.yaml"
        return own.read_text() if own.exists() else ORDERS

    def lake(self, root: Path) -> ReplicatedLake:
        """An empty lake of the table."""
        return ReplicatedLake(root, self.dataset)

    def land(self, lake: ReplicatedLake, steps: Iterable[Path]) -> None:
        """Land the files of some steps."""
        declared = {name: column.type for name, column in lake.dataset(TABLE).columns.items()}
        for step in steps:
            for file in sorted(step.rglob("*.csv")):
                path = str(file.relative_to(step).with_suffix(""))
                if lake.dataset(TABLE).csv is None:
                    rows, types = _read(file, declared)
                    lake.land(f"{path}.parquet", rows, types={n: _ARROW.get(t, t) for n, t in types.items()})
                elif path.endswith(".gz"):
                    lake.land(f"{path.removesuffix('.gz')}.csv.gz", gzip.compress(file.read_bytes()))
                else:
                    lake.land(f"{path}.csv", file.read_bytes())

    def control(self) -> dict[str, str]:
        """The control output: CSV by table."""
        tables = ("silver", "history", "quarantine")
        return {name: (self.folder / "control" / f"{name}.csv").read_bytes().decode() for name in tables}

    def write_control(self, lake: ReplicatedLake) -> None:
        """Make what a lake holds the control output."""
        (self.folder / "control").mkdir(exist_ok=True)
        for name, text in outcome(lake).items():
            (self.folder / "control" / f"{name}.csv").write_text(text, newline="")


def scenarios() -> list[Scenario]:
    """All scenarios, by name."""
    return [Scenario(path.parent) for path in sorted(HERE.glob("*/landed"))]


def outcome(lake: ReplicatedLake) -> dict[str, str]:
    """What a lake's tables hold, as the control output has it."""
    dataset = lake.dataset(TABLE)
    added = sorted(lake.lake.as_found().datasets[TABLE].columns.keys() - dataset.columns.keys())
    placed = dataset.event_time.column if dataset.event_time else None
    values = [n for n in dataset.columns if n not in {*dataset.key, placed}]
    silver = [*dataset.columns, "event_date", "_unknown", *added]
    times = ["event_date", "valid_from", "valid_to", "is_current"]
    history = [*dataset.key, "operation", *values, "_unknown", *times, *added]
    in_order = [*dataset.key, *dataset.order_columns]
    changes = lake.rows(f"silver/{TABLE}_history", *dict.fromkeys([*history, *in_order]))
    rejects = ["source_filename", "row_number", "errors"]
    return {
        "silver": written(lake.rows(f"silver/{TABLE}", *silver), silver),
        "history": written(sorted(changes, key=lambda row: [row[name] for name in in_order]), history),
        "quarantine": written(lake.rows(f"quarantine/{TABLE}", *rejects), rejects),
    }


def _read(file: Path, declared: Mapping[str, str]) -> tuple[list[dict[str, Any]], dict[str, str]]:
    header, *lines = csv.reader(io.StringIO(file.read_bytes().decode(), newline=""))
    names = [name.partition(":")[0] for name in header]
    told = {name: type_ for name, _, type_ in (n.partition(":") for n in header) if type_}
    types = {**declared, **told}
    rows = [{n: _value(types.get(n, "string"), text) for n, text in zip(names, line, strict=True)} for line in lines]
    return rows, told


_VALUES: Mapping[str, Callable[[str], Any]] = {
    **dict.fromkeys(("int16", "int32", "int64"), int),
    "decimal": Decimal,
    "double": float,
    "boolean": "true".__eq__,
    "binary": bytes.fromhex,
    "date": date.fromisoformat,
    "timestamp": lambda text: datetime.fromisoformat(f"{text}+00:00"),
    "utc_ms": lambda text: datetime.fromisoformat(f"{text}+00:00"),
    "naive": datetime.fromisoformat,
    "naive_ms": datetime.fromisoformat,
    "time": time.fromisoformat,
}


def _value(type_: str, text: str) -> Any:
    return _VALUES.get(type_.partition("(")[0], str)(text) if text else None


def written(rows: Sequence[dict[str, Any]], columns: Sequence[str]) -> str:
    """Rows as CSV."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([_text(row[column]) for column in columns] for row in rows)
    return text.getvalue()


def _text(value: Any) -> str:
    match value:
        case None:
            return ""
        case "":
            return "''"  # no NULL
        case list():
            return "; ".join(value)
        case bytes():
            return value.hex()
        case _:
            return str(value)
