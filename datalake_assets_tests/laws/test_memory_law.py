"""Silver, quarantine and gold are a function of what landed and of the dataset files, whatever happened on the way.

Random histories of a lake: objects land, land again, are overwritten (also with an older time), deleted and restored,
the contract changes, partitions are replayed, tables rebuilt, one or two processes run at once and are killed at any
commit. At the end, when everything was read under the contract as it is then, the lake equals a fresh one that is
given every object's last content.
"""

import gzip
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from datalake_assets.lake.engines.polars import PolarsEngine
from datalake_assets.lake.lake import Lake
from datalake_assets.lake.spec.dataset import CdcTable, Dataset, EventStream
from datalake_assets.lake.steps import planning
from datalake_assets.lake.steps.context import Step
from datalake_assets.lake.steps.rebuild import RebuildRefusedError, rebuild_table
from datalake_assets.lake.steps.shape import ShapeChangedError, require_shape
from datalake_assets.lake.store.layout import Layout
from datalake_assets_tests.laws.driving import killed_at_commit, replay, run_to_the_end, side_by_side

HOURS = ["2026/03/01/22", "2026/03/01/23", "2026/03/02/00"]
MIDNIGHT = int(datetime(2026, 3, 2, tzinfo=UTC).timestamp())
_NOW_ONLY = timedelta(0)
LINEAGE = {"etl_timestamp", "source_filename", "_row_number"}


def clicks(variant: int) -> EventStream:
    """The stream under one of its contracts: as it is, tightened, loosened, with a column more, in milliseconds."""
    amount: dict[str, Any] = {"type": "integer"}
    properties: dict[str, Any] = {"id": {"type": "string"}, "at": {"type": "integer"}, "amount": amount}
    unit = "s"
    if variant == 1:
        amount["minimum"] = 3
    elif variant == 2:
        amount["type"] = "integer"
        amount["maximum"] = 7
    elif variant == 3:
        properties["page"] = {"type": "string"}
    elif variant == 4:
        unit = "ms"
    return EventStream.model_validate(
        {
            "name": "clicks",
            "kind": "event_stream",
            "description": "Clicks.",
            "owner": "team:test",
            "landing": {"prefix": "firehose/clicks"},
            "key": ["id"],
            "event_time": {"column": "at", "unit": unit},
            "schema": {"type": "object", "required": ["id", "at"], "properties": properties},
            "max_rejected_fraction": 1.0,
        }
    )


def orders(variant: int) -> CdcTable:
    """The table under one of its contracts, as `clicks`."""
    columns: dict[str, Any] = {"id": {"type": "int64"}, "amount": {"type": "int64"}, "at": {"type": "int64"}}
    unit = "s"
    if variant == 1:
        columns["amount"]["minimum"] = 3
    elif variant == 2:
        columns["amount"]["maximum"] = 7
    elif variant == 3:
        columns["page"] = {"type": "string"}
    elif variant == 4:
        unit = "ms"
    return CdcTable.model_validate(
        {
            "name": "orders",
            "kind": "cdc_table",
            "description": "Orders.",
            "owner": "team:test",
            "landing": {"prefix": "dms/public/orders"},
            "key": ["id"],
            "order_by": ["seq"],
            "columns": columns,
            "event_time": {"column": "at", "unit": unit},
            "history": True,
            "max_rejected_fraction": 1.0,
        }
    )


def event_bytes(seed: int) -> bytes:
    """A few events and a torn line, told by a number."""
    lines = []
    for n in range(1 + seed % 4):
        mixed = (seed * 31 + n * 17) % 97
        record: dict[str, Any] = {"id": str(mixed % 6), "at": MIDNIGHT + (mixed % 5 - 2) * 3000, "amount": mixed % 9}
        if mixed % 3 == 0:
            record["page"] = f"/{mixed % 4}" if mixed % 2 else mixed
        lines.append(json.dumps(record))
    if seed % 5 == 0:
        lines.append('{"id": "torn')
    data = "\n".join(lines).encode()
    return gzip.compress(data, mtime=0) if seed % 7 else data[: len(data) // 2] + b"\xff"


def change_bytes(seed: int) -> bytes:
    """A few changes as DMS writes them, told by a number."""
    rows = []
    for n in range(1 + seed % 4):
        mixed = (seed * 31 + n * 17) % 97
        row = {"Op": "IUUD"[mixed % 4], "seq": f"{mixed:05d}", "id": mixed % 5, "amount": mixed % 9}
        row |= {"at": MIDNIGHT + (mixed % 5 - 2) * 3000, "page": f"/{mixed % 3}"}
        rows.append(row)
    with tempfile.TemporaryFile() as file:
        pl.DataFrame(rows).write_parquet(file)
        file.seek(0)
        data = file.read()
    return data if seed % 7 else data[: len(data) // 2]


@dataclass
class Source:
    """A kind of dataset: how its file looks under a contract, where its objects land, what they hold."""

    name: str
    prefix: str
    dataset: Any
    content: Any
    names: list[str] = field(default_factory=list)

    def key(self, n: int) -> str:
        return f"{self.prefix}/{self.names[n % len(self.names)]}"


SOURCES = [
    Source("clicks", "firehose/clicks", clicks, event_bytes, [f"{h}/{n}.gz" for h in HOURS for n in "ab"]),
    Source(
        "orders",
        "dms/public/orders",
        orders,
        change_bytes,
        ["LOAD00000001.parquet", *(f"{h}/2026030{1 + n // 2}-{h[-2:]}1500000.parquet" for n, h in enumerate(HOURS))],
    ),
]
Action = tuple[str, int, int]


class History:
    """A lake, and beside it what its objects last held."""

    def __init__(self, source: Source, root: Path) -> None:
        self.source, self.root = source, root
        self.variant = 0
        self.contents: dict[str, bytes] = {}

    @property
    def dataset(self) -> Dataset:
        dataset: Dataset = self.source.dataset(self.variant)
        return dataset

    def lake(self, name: str = "lake") -> Lake:
        folder = self.root / name
        zones = {zone: str(folder / zone) for zone in ("bronze", "silver", "gold", "quarantine")}
        return Lake(
            layout=Layout(root=str(folder), **zones),
            datasets={self.dataset.name: self.dataset},
        )

    def put(self, key: str, data: bytes, *, name: str = "lake", age: int = 0) -> None:
        file = self.root / name / "bronze" / key
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
        moment = MIDNIGHT - (age if "/2026/" in key else 0)  # a name without a time lands when it was last modified
        os.utime(file, (moment, moment))

    def file(self, key: str) -> Path:
        return self.root / "lake" / "bronze" / key

    def do(self, action: Action) -> None:
        """One thing that happens to a lake."""
        what, one, two = action
        key = self.source.key(one)
        match what:
            case "land":
                self.contents[key] = self.source.content(two)
                self.put(key, self.contents[key], age=(one * 7 + two) % 3)
            case "copy" if self.contents:
                data = sorted(self.contents.items())[two % len(self.contents)][1]
                self.contents[key] = data
                self.put(key, data)
            case "delete" if key in self.contents:
                self.file(key).unlink(missing_ok=True)
            case "restore" if key in self.contents:
                self.put(key, self.contents[key])
            case "contract":
                self.variant = one % 5
            case "replay":
                partitions = self.lake().ledger.rows(self.dataset.name)["partition"].unique().sort().to_list()
                self.suffer(partial(replay, self.lake(), self.dataset, tuple(partitions[one % 3 :])), two)
            case "rebuild":
                self.suffer(self.rebuild, two)
            case "run":
                self.suffer(partial(run_to_the_end, self.lake()), two)
            case "two":
                side_by_side(partial(run_to_the_end, self.lake()), partial(run_to_the_end, self.lake()))
            case _:
                pass

    def suffer(self, call: Any, number: int) -> None:
        """Do something, killed at some commit by the way, or not at all."""
        with killed_at_commit(number // 2, after=bool(number % 2)):
            call()

    def rebuild(self) -> None:
        lake = self.lake()
        if lake.ledger.rows(self.dataset.name).height:
            with suppress(RebuildRefusedError):
                rebuild_table(Step(lake, PolarsEngine()), self.dataset)

    def settle(self) -> None:
        """Everything read under the contract as it is: what was not read yet, or under another, is put back first."""
        lake = self.lake()
        rows = lake.ledger.rows(self.dataset.name).filter(pl.col("status") == "processed")
        under_it = rows.filter(pl.col("contract") == self.dataset.contract)
        current = set(under_it.select("key", "etag").iter_rows())
        try:
            require_shape(lake.silver(self.dataset).open(), self.dataset)
        except ShapeChangedError:
            current = set()
        waits = planning.landing_work(
            lake, self.dataset, after=None, lookback=_NOW_ONLY, limit=2**62, now=datetime.now(UTC)
        )
        for key, data in self.contents.items():
            identity = key, hashlib.sha256(data).hexdigest()[:32]
            needed = identity not in current or waits.waiting or isinstance(self.dataset, CdcTable)
            if needed and not self.file(key).exists():
                self.put(key, data)
        try:
            require_shape(lake.silver(self.dataset).open(), self.dataset)
        except ShapeChangedError:
            admit_all(lake, self.dataset)
            rebuild_table(Step(lake, PolarsEngine()), self.dataset)
        run_to_the_end(lake)
        older = tuple(planning.outdated_partitions(lake, self.dataset, now=datetime.now(UTC)))
        if older:
            replay(lake, self.dataset, older)
        run_to_the_end(lake)

    def fresh(self) -> Lake:
        """A lake that is given every object's last content."""
        for key, data in self.contents.items():
            self.put(key, data, name="fresh")
        lake = self.lake("fresh")
        run_to_the_end(lake)
        return lake


def admit_all(lake: Lake, dataset: Dataset) -> None:
    """Enter everything that lies in bronze."""
    now = datetime.now(UTC)
    page = lake.landing.sweep(dataset, after=None, limit=2**62, now=now)
    lake.ledger.admit(dataset, page.objects, identify=lake.landing.identified, now=now)


def shown(lake: Lake, dataset: Dataset) -> dict[str, list[dict[str, Any]]]:
    """All that a lake's tables show, without what tells when, and from which of equal copies, it came."""
    found = {}
    for spec in lake.specs():
        if spec.zone == "lake" or spec.name.endswith("_duplicates"):
            continue
        left_out = {"etl_timestamp"} if spec.zone == "quarantine" else LINEAGE
        rows = lake.table(spec).open().scan().collect().drop(left_out, strict=False)
        found[spec.sql_name] = sorted(rows.to_dicts(), key=_order)
    return found


def _order(row: Mapping[str, Any]) -> list[str]:
    return [repr(value) for value in row.values()]


numbers = st.integers(0, 60)
actions = st.lists(
    st.tuples(
        st.sampled_from(
            ["land"] * 6 + ["copy"] * 2 + ["delete", "restore", "contract", "replay", "rebuild", "two"] + ["run"] * 4
        ),
        numbers,
        numbers,
    ),
    min_size=3,
    max_size=14,
)


def holds(source: Source, history: list[Action]) -> None:
    """The law, for one history."""
    root = Path(tempfile.mkdtemp(prefix="law-"))
    try:
        lake = History(source, root)
        for action in history:
            lake.do(action)
        lake.settle()
        fresh = lake.fresh()
        assert shown(lake.lake(), lake.dataset) == shown(fresh, lake.dataset)
    finally:
        shutil.rmtree(root)


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.name)
@settings(max_examples=6, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(history=actions)
def test_a_lake_equals_a_fresh_one_whatever_happened_on_the_way(source: Source, history: list[Action]) -> None:
    holds(source, history)


@pytest.mark.soak
@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.name)
@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck), print_blob=True)
@given(history=actions)
def test_a_lake_equals_a_fresh_one_in_hundreds_of_histories(source: Source, history: list[Action]) -> None:
    holds(source, history)
