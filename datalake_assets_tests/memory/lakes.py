"""A small lake that is worked as the lake's own planning asks: what the tests of its memory share."""

import gzip
import io
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch

import polars as pl

from datalake_assets.lake.engines.polars import PolarsEngine
from datalake_assets.lake.lake import Lake
from datalake_assets.lake.spec.dataset import CdcTable, Dataset, EventStream
from datalake_assets.lake.steps import planning
from datalake_assets.lake.steps.context import Step
from datalake_assets.lake.steps.execute import execute
from datalake_assets.lake.steps.messages import StepReport, StepRequest
from datalake_assets.lake.steps.rebuild import rebuild_table
from datalake_assets.lake.store.layout import Layout
from datalake_assets.lake.store.snapshot import Snapshot

HOUR, NEXT_HOUR = "2026-03-01-10:00", "2026-03-01-11:00"
FOLDER = "2026/03/01/10"
AT = 1_772_359_200
"""10 o'clock on 1 March 2026, in seconds since 1970."""
DAY = 86_400
FIRST_DAY = date(2026, 3, 1)
LOADED = datetime(2026, 3, 1, 8, tzinfo=UTC)
_OF_WRITING = ("etl_timestamp",)
_ALWAYS = timedelta(days=3650)
_MOST_ROUNDS = 12


def stream(name: str = "clicks", *, without: Sequence[str] = (), **changes: Any) -> EventStream:
    """An event stream with `id` and `at`; `properties` are added to its contract, other keywords to its file."""
    properties = {"id": {"type": "string"}, "at": {"type": "integer"}} | changes.pop("properties", {})
    keys: dict[str, Any] = {
        "name": name,
        "kind": "event_stream",
        "description": "Clicks of a test.",
        "owner": "team:test",
        "landing": {"prefix": f"firehose/{name}"},
        "key": ["id"],
        "event_time": {"column": "at", "unit": "s"},
        "schema": {"type": "object", "required": ["id", "at"], "properties": properties},
        "max_rejected_fraction": 1.0,
    }
    kept = {k: v for k, v in (keys | changes).items() if k not in without}
    return EventStream.model_validate(kept)


def orders(name: str = "orders", *, columns: Mapping[str, Any] | None = None, **changes: Any) -> CdcTable:
    """A replicated table of orders; `columns` are added to its own, keywords change its file."""
    own: dict[str, Any] = {
        "id": {"type": "int64", "required": True},
        "customer_id": {"type": "int64"},
        "product_name": {"type": "string"},
        "price": {"type": "decimal(10,2)"},
        "created_at": {"type": "timestamp"},
    }
    keys: dict[str, Any] = {
        "name": name,
        "kind": "cdc_table",
        "description": "Orders of a test.",
        "owner": "team:test",
        "landing": {"prefix": f"dms/public/{name}"},
        "key": ["id"],
        "order_by": ["seq"],
        "timestamp_column": "committed",
        "columns": own | dict(columns or {}),
        "event_time": {"column": "created_at"},
        "history": True,
        "max_rejected_fraction": 1.0,
    }
    return CdcTable.model_validate(keys | changes)


def customers() -> CdcTable:
    """A replicated table of customers, beside which orders are shown."""
    columns = {"id": {"type": "int64", "required": True}, "name": {"type": "string"}, "country": {"type": "string"}}
    return CdcTable.model_validate(
        {
            "name": "customers",
            "kind": "cdc_table",
            "description": "Customers of a test.",
            "owner": "team:test",
            "landing": {"prefix": "dms/public/customers"},
            "key": ["id"],
            "order_by": ["seq"],
            "columns": columns,
        }
    )


def change(op: str, id_: int, seq: int, **values: Any) -> dict[str, Any]:
    """A change of an order (`op`: I, U, D) or of a customer, with the place it has among all changes."""
    committed = LOADED + timedelta(seconds=seq)
    return {"Op": op, "committed": f"{committed:%Y-%m-%d %H:%M:%S.%f}", "seq": f"{seq:035d}", "id": id_, **values}


def order(op: str, id_: int, seq: int, **values: Any) -> dict[str, Any]:
    """A change of an order that has all its columns."""
    row = {"customer_id": 7, "product_name": "tea", "price": None, "created_at": LOADED.replace(tzinfo=None)}
    return change(op, id_, seq, **row | values)


class MemoryLake:
    """A lake in a folder; what it knows is what lies there, so a second one on the same folder goes on."""

    def __init__(self, root: Path, *datasets: Dataset) -> None:
        self.root = root
        self.engine: Any = PolarsEngine()
        zones = {zone: str(root / zone) for zone in ("bronze", "silver", "gold", "quarantine")}
        self.lake = Lake(
            layout=Layout(root=str(root), **zones),
            datasets={d.name: d for d in datasets},
        )

    @property
    def dataset(self) -> Dataset:
        """The first of the datasets."""
        return next(iter(self.lake.datasets.values()))

    def under(self, *datasets: Dataset) -> "MemoryLake":
        """The same lake after its dataset files were changed."""
        return MemoryLake(self.root, *datasets)

    # --- landing

    def path(self, key: str) -> Path:
        """Where a landed object lies."""
        return self.root / "bronze" / key

    def land(
        self,
        name: str,
        records: Sequence[Mapping[str, Any] | str] | bytes,
        *,
        of: str = "clicks",
        at: float | None = None,
    ) -> str:
        """Land events (or bytes as they are) in the folder of 10 o'clock unless `name` has folders; returns the key.

        `at` is the time of modification that the file gets.
        """
        prefix = self.lake.datasets[of].landing.prefix
        key = f"{prefix}/{name}" if "/" in name else f"{prefix}/{FOLDER}/{name}"
        lines = b"" if isinstance(records, bytes) else b"".join(_line(r) for r in records)
        return self._put(key, records if isinstance(records, bytes) else gzip.compress(lines, mtime=0), at)

    def land_changes(
        self, name: str, rows: Sequence[Mapping[str, Any]] | bytes, *, of: str = "orders", at: float | None = None
    ) -> str:
        """Land changes as a Parquet file; returns the key."""
        key = f"{self.lake.datasets[of].landing.prefix}/{name}"
        if isinstance(rows, bytes):
            return self._put(key, rows, at)
        file = io.BytesIO()
        pl.DataFrame(rows, infer_schema_length=None).write_parquet(file)
        return self._put(key, file.getvalue(), at)

    def _put(self, key: str, data: bytes, at: float | None) -> str:
        path = self.path(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_name(f".{path.name}.tmp")
        beside.write_bytes(data)
        beside.rename(path)
        if at is not None:
            os.utime(path, (at, at))
        return key

    # --- working

    def waiting(self, name: str | None = None, *, now: datetime | None = None) -> planning.LandingWork:
        """What a look through everything finds of a dataset."""
        dataset = self.lake.datasets[name or self.dataset.name]
        moment = now or datetime.now(UTC)
        return planning.landing_work(self.lake, dataset, after=None, lookback=_ALWAYS, limit=10**9, now=moment)

    def admit(self, name: str | None = None, *, now: datetime | None = None) -> list[str]:
        """Admit what waits; returns its partitions."""
        moment = now or datetime.now(UTC)
        partitions = list(self.waiting(name, now=moment).waiting)
        if partitions:
            planning.admit(self.lake, self.lake.datasets[name or self.dataset.name], partitions, now=moment)
        return partitions

    def step(self, partitions: Sequence[str], *, name: str | None = None, replay: bool = False) -> StepReport:
        """One silver step."""
        request = StepRequest(
            zone="silver", name=name or self.dataset.name, partitions=tuple(partitions), replay=replay
        )
        return execute(request, lake=self.lake, engine=self.engine)

    def process(self, name: str | None = None) -> list[StepReport]:
        """Admit what waits of one dataset (of all) and bring it to silver, partition by partition."""
        names = [name] if name else list(self.lake.datasets)
        return [self.step([p], name=n) for n in names for p in self.admit(n)]

    def replay(self, *partitions: str, name: str | None = None) -> StepReport:
        """Materialize partitions again: all that the dataset has, unless told otherwise."""
        chosen = partitions or tuple(self.ledger(name)["partition"].unique().sort())
        return self.step(chosen, name=name, replay=True)

    def rebuild(self, name: str | None = None) -> StepReport:
        """Silver anew from bronze."""
        return rebuild_table(Step(self.lake, self.engine), self.lake.datasets[name or self.dataset.name])

    def gold(self, *, now: datetime | None = None) -> dict[str, planning.GoldWork]:
        """Compute what gold owes until it owes nothing that can be computed; returns what the first look found."""
        first = None
        for _ in range(_MOST_ROUNDS):
            work = planning.gold_work(self.lake, now=now or datetime.now(UTC))
            first = work if first is None else first
            due = {name: w for name, w in work.items() if w.is_due}
            for name, owed in due.items():
                self.compute(name, *sorted(owed.dates))
            if not due:
                return first
        raise AssertionError(f"gold never ends: {planning.gold_work(self.lake, now=datetime.now(UTC))}")

    def compute(self, name: str, *dates: date, earlier: bool = False) -> StepReport:
        """One gold step."""
        request = StepRequest(zone="gold", name=name, dates=dates, earlier=earlier)
        return execute(request, lake=self.lake, engine=self.engine)

    def run(self) -> "MemoryLake":
        """All that waits, to gold."""
        self.process()
        self.gold()
        return self

    # --- looking

    def rows(self, table: str, *columns: str) -> list[tuple[Any, ...]]:
        """The rows of a table by its name in SQL, in some order; [] where there is none."""
        spec = next(s for s in self.lake.specs() if s.sql_name == table)
        frame = self.lake.table(spec).open().scan()
        wanted = columns or [c for c in spec.columns if c not in _OF_WRITING]
        return sorted(frame.select(wanted).collect().rows(), key=repr)

    def ids(self, name: str = "clicks") -> list[str]:
        """The ids of the events that silver shows."""
        return [i for (i,) in self.rows(f"silver.{name}", "id")]

    def rejected(self, name: str = "clicks") -> list[tuple[str, int]]:
        """The rejects: the object's name and the line."""
        found = self.rows(f"quarantine.{name}", "source_filename", "row_number")
        return [(key.rpartition("/")[2], number) for key, number in found]

    def ledger(self, name: str | None = None) -> pl.DataFrame:
        """The ledger's rows of a dataset."""
        return self.lake.ledger.rows(name or self.dataset.name)

    def statuses(self, name: str | None = None) -> list[tuple[str, str]]:
        """Each object's name and status."""
        rows = self.ledger(name).select("key", "status").rows()
        return sorted((key.rpartition("/")[2], status) for key, status in rows)

    def undone(self) -> list[str]:
        """What is left to do."""
        return planning.undone(self.lake, now=datetime.now(UTC))

    def content(self, *, gold: bool = True) -> dict[str, list[tuple[Any, ...]]]:
        """The rows of all tables that users read; not when they were written."""
        hidden = ("_duplicates", "_tombstones")
        zones = ("silver", "quarantine", *(["gold"] if gold else []))
        return {
            s.sql_name: self.rows(s.sql_name)
            for s in self.lake.specs()
            if s.zone in zones and not s.name.endswith(hidden)
        }

    def fresh(self, *, gold: bool = True) -> "MemoryLake":
        """A lake without a memory over the same landed objects, worked to its end, or to silver."""
        root = self.root.with_name(f"{self.root.name}-fresh")
        shutil.rmtree(root, ignore_errors=True)
        shutil.copytree(self.root / "bronze", root / "bronze")
        lake = MemoryLake(root, *self.lake.datasets.values())
        lake.process()
        if gold:
            lake.gold()
        return lake

    def copy(self, name: str, *datasets: Dataset) -> "MemoryLake":
        """The lake as it is, in another folder; its landed objects are the same files."""
        root = self.root.with_name(name)
        shutil.copytree(self.root, root, copy_function=os.link)
        return MemoryLake(root, *(datasets or self.lake.datasets.values()))

    def assert_as_fresh(self, *, gold: bool = True) -> None:
        """The tables are those of a lake that read the same objects once, under the dataset files as they are."""
        found = self.content(gold=gold)
        for table, rows in self.fresh(gold=gold).content(gold=gold).items():
            assert found[table] == rows, table


class DiedError(BaseException):
    """Stands for SIGKILL: nothing may catch it and go on."""


@contextmanager
def dying(*, at: int, after: bool = False) -> Iterator[list[str]]:
    """Everything that is committed counted, and death just before (or after) the commit of a number (from 0).

    Gives the names of the tables that commits were made to, so far.
    """
    made: list[str] = []

    def mortal(verb: Any) -> Any:
        def commit(self: Snapshot, *args: Any, **kwargs: Any) -> Any:
            made.append(self.table.spec.sql_name)
            dies = len(made) - 1 == at
            if dies and not after:
                raise DiedError
            result = verb(self, *args, **kwargs)
            if dies:
                raise DiedError
            return result

        return commit

    with (
        patch.object(Snapshot, "change", mortal(Snapshot.change)),
        patch.object(Snapshot, "replace", mortal(Snapshot.replace)),
        patch.object(Snapshot, "swap", mortal(Snapshot.swap)),
    ):
        yield made


@contextmanager
def before_the_next_change_of(table: str, other: Callable[[], object], *, verb: str = "change") -> Iterator[None]:
    """Have another writer come between: once, when the table has been read and is about to be changed."""
    commit = getattr(Snapshot, verb)
    left = [other]

    def disturbed(self: Snapshot, *args: Any, **kwargs: Any) -> Any:
        if left and self.table.spec.sql_name == table:
            left.pop()()
        return commit(self, *args, **kwargs)

    with patch.object(Snapshot, verb, disturbed):
        yield
    assert not left, "nothing came between"


def _line(record: Mapping[str, Any] | str) -> bytes:
    return (record if isinstance(record, str) else json.dumps(record)).encode() + b"\n"
