"""A small lake of replicated tables: landing files as DMS writes them, refreshing, and reading what came out."""

import os
import random
import shutil
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa

from datalake_assets.lake.engines.base import Engine
from datalake_assets.lake.engines.polars import PolarsEngine
from datalake_assets.lake.lake import Lake
from datalake_assets.lake.spec.dataset import CdcTable
from datalake_assets.lake.steps.messages import StepReport
from datalake_assets.settings import Settings
from datalake_assets_tests import lakes
from datalake_assets_tests.dms_files import DMS_COLUMNS, Row, parquet
from datalake_assets_tests.sources import write_datasets

_MOST_STEPS = 20
LOADED_AT = datetime(2026, 1, 5, 8, 30, tzinfo=UTC)
ORDERS = """
name: orders
kind: cdc_table
description: Orders of a test.
owner: team:test
landing: {prefix: dms/public/orders}
key: [id]
order_by: [ar_h_change_seq]
timestamp_column: dms_timestamp
columns:
  id: {type: int64, required: true}
  customer_id: {type: int64}
  product_name: {type: string}
  price: {type: "decimal(10,2)", minimum: 0}
  created_at: {type: timestamp}
event_time: {column: created_at}
history: true
max_rejected_fraction: 1
"""
CUSTOMERS = """
name: customers
kind: cdc_table
description: Customers of a test.
owner: team:test
landing: {prefix: dms/public/customers}
key: [id]
order_by: [ar_h_change_seq]
timestamp_column: dms_timestamp
columns:
  id: {type: int64, required: true}
  name: {type: string}
  country: {type: string}
"""


IN_ORDER = ("_is_change", "_sequence_1", "_committed_at", "_file_time", "source_filename", "_row_number")
"""The columns that order the changes of these tables."""


def in_order(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows of a history, or changes, in their total order as far as they tell it."""
    return sorted(rows, key=lambda row: [row[name] for name in IN_ORDER if name in row])


class ReplicatedLake:
    """A lake in a folder whose datasets are replicated tables."""

    def __init__(self, root: Path, *datasets: str) -> None:
        """A lake under `root` with a dataset for each YAML text (orders and customers when there is none)."""
        self.root = root
        self._texts = datasets or (ORDERS, CUSTOMERS)
        folder = write_datasets(root / "datasets", *self._texts)
        self.lake: Lake = Settings(root=str(root / "lake"), datasets=folder).lake()
        self.engine: Engine = PolarsEngine()

    def copy(self, root: Path) -> "ReplicatedLake":
        """The lake once more in another folder; hard links, so that its landed objects are the same ones."""
        shutil.copytree(self.root, root, copy_function=os.link)
        return ReplicatedLake(root, *self._texts)

    def dataset(self, name: str) -> CdcTable:
        """A dataset by its name."""
        dataset = self.lake.datasets[name]
        assert isinstance(dataset, CdcTable)
        return dataset

    def again(self) -> "ReplicatedLake":
        """The same lake as another process has it."""
        return ReplicatedLake(self.root, *self._texts)

    def fresh(self, root: Path) -> "ReplicatedLake":
        """A lake in another folder under the same landed files and dataset files, of which nothing is processed."""
        lake = ReplicatedLake(root, *self._texts)
        shutil.copytree(self.lake.layout.bronze, lake.lake.layout.bronze)
        return lake

    def refresh_all(self, *, luck: random.Random | None = None) -> None:
        """Steps (over all that waits, or a partition by luck) until nothing waits: wider columns have objects wait."""
        for _ in range(_MOST_STEPS):
            if not (waiting := self.waiting()):
                return
            self.refresh(partitions=waiting if luck is None else [luck.choice(waiting)])
        raise AssertionError(f"{self.waiting()} wait for ever")

    def land(
        self,
        path: str,
        rows: Sequence[Row] | bytes,
        *,
        table: str = "orders",
        types: Mapping[str, str | pa.DataType] | None = None,
        modified: datetime = LOADED_AT,
    ) -> str:
        """Land a file; `path` is below the table's prefix, `types` are those of columns unlike their declaration."""
        dataset = self.dataset(table)
        declared = {name: column.type for name, column in dataset.columns.items()}
        data = rows if isinstance(rows, bytes) else parquet(rows, {**DMS_COLUMNS, **declared, **(types or {})})
        key = f"{dataset.landing.prefix}/{path}"
        file = Path(self.lake.layout.bronze) / key
        file.parent.mkdir(parents=True, exist_ok=True)
        file.unlink(missing_ok=True)  # a copy of the lake may share its bytes
        file.write_bytes(data)
        os.utime(file, (modified.timestamp(), modified.timestamp()))
        return key

    def waiting(self, table: str = "orders") -> list[str]:
        """The partitions that have objects which are not in silver yet."""
        return list(lakes.landing(self.lake, table).waiting)

    def refresh(
        self, table: str = "orders", *, partitions: Sequence[str] | None = None, replay: bool = False
    ) -> StepReport:
        """Admit and process some partitions (all that wait, unless told otherwise) in one step."""
        chosen = self.waiting(table) if partitions is None else partitions
        return lakes.process(self.lake, table, chosen, replay=replay, engine=self.engine)

    def rebuild(self, table: str = "orders") -> StepReport:
        """Make a table anew from all that landed."""
        return lakes.rebuild(self.lake, table, engine=self.engine)

    def owed(self) -> dict[str, set[date]]:
        """The event dates that gold tables have to compute; tables that owe nothing are left out."""
        return lakes.owed(self.lake)

    def refresh_gold(self) -> dict[str, set[date]]:
        """Compute what gold owes; returns which dates of which table those were."""
        return lakes.compute_gold(self.lake, engine=self.engine)

    def rows(self, table: str, *columns: str) -> list[dict[str, Any]]:
        """The rows of a table named by zone and name: these columns, or all that do not tell when a row was written."""
        return lakes.rows(self.lake, table, *columns)

    def silver(self, table: str = "orders", *columns: str) -> dict[Any, tuple[Any, ...]]:
        """The declared columns (or those named) of the live rows by their key (a tuple when it is composite)."""
        dataset = self.dataset(table)
        wanted = columns or tuple(n for n in dataset.columns if n not in dataset.key)
        rows = self.rows(f"silver/{table}", *dict.fromkeys((*dataset.key, *wanted)))
        found = {_unwrapped(tuple(row[k] for k in dataset.key)): tuple(row[c] for c in wanted) for row in rows}
        assert len(found) == len(rows), "a key stands twice"
        return found

    def ledger(self, table: str = "orders") -> dict[str, tuple[str, int | None, int | None, str | None]]:
        """By file name: status, rows accepted, rows rejected and the reason."""
        rows = self.lake.ledger.rows(table).select("key", "status", "rows_out", "rows_rejected", "reason").iter_rows()
        return {key.rpartition("/")[2]: (status, out, rejected, why) for key, status, out, rejected, why in rows}

    def tables(self, names: Iterable[str]) -> dict[str, list[dict[str, Any]]]:
        """The rows of some tables, without what tells when or from which copy they came."""
        return {name: self.rows(name) for name in names}


def _unwrapped(key: tuple[Any, ...]) -> Any:
    return key[0] if len(key) == 1 else key


def change(
    op: str | None,
    id_: int | None,
    seq: int | None,
    *,
    at: datetime | None = None,
    created: datetime | None = None,
    **values: Any,
) -> dict[str, Any]:
    """A row of an orders file: a delete has its key alone, a load (`op` is None) no sequence."""
    moment = at or datetime(2026, 1, 5, 9, tzinfo=UTC) + timedelta(seconds=seq or 0)
    header = {"Op": op or "I", "dms_timestamp": f"{moment:%Y-%m-%d %H:%M:%S.%f}"}
    header["ar_h_change_seq"] = "" if seq is None else f"{seq:035d}"
    if op == "D":
        return header | {"id": id_} | values
    placed = created or datetime(2026, 1, 5, 9, tzinfo=UTC)
    return header | {"id": id_, "customer_id": 7, "product_name": "tea", "price": None, "created_at": placed} | values
