"""The proof: whatever happens on the way, silver ends as the source is, and history as the landed files tell."""

import hashlib
import json
import os
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from threading import Event, Thread
from typing import Any

import polars as pl
import psycopg
import pytest
from psycopg import sql

import datalake_assets
from datalake_assets.lake.lake import Lake
from datalake_assets.settings import Settings
from datalake_assets_tests import lakes
from datalake_assets_tests.postgres import Database
from datalake_assets_tests.proof import replay
from datalake_assets_tests.proof.carrier import Carrier
from datalake_assets_tests.proof.processes import Command, Mortal
from datalake_assets_tests.proof.tables import Table, tables
from datalake_assets_tests.proof.work import Worker
from datalake_assets_tests.sources import write_datasets

pytestmark = pytest.mark.xdist_group("postgres")
_PROJECT = str(Path(datalake_assets.__file__).parents[1])
_CLI = (sys.executable, "-m", "datalake_assets.cli")
_STEPPING = (sys.executable, "-m", "datalake_assets_tests.proof.stepping")
_RELOADED = ("accounts", "pages")


@dataclass
class Proof:
    """A source, a task that lands beside bronze, a carrier, and a lake; `runs`: how often that is `datalake run`."""

    postgres: Database
    folder: Path
    seed: int
    tables: tuple[Table, ...]
    runs: float = 0.1
    reloads: tuple[str, ...] = ()
    figures: Counter[str] = field(default_factory=Counter)

    def dice(self, name: str) -> random.Random:
        return random.Random(f"{self.seed} {name}")

    @cached_property
    def lake(self) -> Lake:
        return Settings(root=str(self.folder / "lake"), datasets=self.folder / "datasets").lake()

    @cached_property
    def carrier(self) -> Carrier:
        staged, bronze, aside = (self.folder / name for name in ("staged/bronze", "lake/bronze", "aside"))
        for place in (staged, bronze, aside):
            place.mkdir(parents=True)
        return Carrier(staged, bronze, aside, self.dice("carrier"), self.is_read)

    def is_read(self, key: str) -> bool:
        """Whether what lies under a key of a load is in silver."""
        table = key.split("/")[2]
        etag = hashlib.sha256((Path(self.lake.layout.bronze) / key).read_bytes()).hexdigest()[:32]
        rows = self.lake.ledger.rows(table).select("key", "etag", "status").iter_rows()
        return (key, etag, "processed") in set(rows)

    @property
    def environment(self) -> dict[str, str]:
        return {"PATH": os.environ["PATH"], "PYTHONPATH": _PROJECT, "DATALAKE_SOURCE_URL": self.postgres.url}

    @property
    def lake_environment(self) -> dict[str, str]:
        home = self.folder / "dagster"
        home.mkdir(exist_ok=True)
        (home / "dagster.yaml").write_text("telemetry: {enabled: false}\nconcurrency: {pools: {default_limit: 1}}\n")
        places = {"DATALAKE_ROOT": self.lake.layout.root, "DATALAKE_DATASETS": str(self.folder / "datasets")}
        return self.environment | places | {"DAGSTER_HOME": str(home)}

    def replicates(self) -> Command:
        options = [option for table in self.tables for option in ("--table", f"public.{table.name}")]
        options += ["--interval", "0.3", "--load-rows", "23", "--change-rows", "60"]
        options += [option for name in self.reloads for option in ("--reload", f"public.{name}")]
        return (*_CLI, "replicate", *options)

    def mortals(self) -> tuple[Mortal, Mortal]:
        """The task and the lake, which are killed and begin again."""
        staged = self.environment | {"DATALAKE_ROOT": str(self.folder / "staged")}
        dice = self.dice("commands")

        def works() -> Command:
            self.figures["lives of the lake"] += 1
            if self.figures["lives of the lake"] == 2 or dice.random() < self.runs:
                self.figures["runs of Dagster"] += 1
                return (*_CLI, "run")
            root, datasets = self.lake.layout.root, str(self.folder / "datasets")
            return (*_STEPPING, root, datasets, str(dice.randrange(2**32)))

        return (
            Mortal(self.replicates, staged, self.dice("replicate"), lives=(1.5, 5), progress=self.remembered),
            Mortal(works, self.lake_environment, self.dice("lake"), lives=(2, 8), progress=self.processed),
        )

    @contextmanager
    def carried(self) -> Iterator[None]:
        """Files are carried until the block ends."""
        done, errors = Event(), []

        def carry() -> None:
            while not done.wait(0.05):
                try:
                    self.carrier.capture()
                    if self.carrier.dice.random() < 0.15:
                        self.carrier.deliver(everything=False)
                    if self.carrier.dice.random() < 0.01:
                        self.carrier.land_again()
                except BaseException as error:  # noqa: BLE001 (raised below, in the test's own thread)
                    errors.append(error)
                    return

        worker = Thread(target=carry)
        worker.start()
        try:
            yield
        finally:
            done.set()
            worker.join()
        if errors:
            raise errors[0]

    def remembered(self) -> dict[str, Any] | None:
        """What the task remembers."""
        file = self.folder / "staged/_replication/datalake.json"
        state: dict[str, Any] | None = json.loads(file.read_text()) if file.exists() else None
        return state

    def knows_first_loads(self) -> bool:
        """Whether the lake has seen the first load of each table that is to be truncated and loaded again.

        What a TRUNCATE takes no change tells; the load that follows does, to who knows that it is not the first.
        """
        return all(self.lake.ledger.loads.known(self.lake.datasets[name]) for name in _RELOADED)

    def processed(self) -> int:
        """How many objects are in silver, also in what they said before they were overwritten."""
        return sum(self.lake.ledger.rows(table.name)["processed_at"].count() for table in self.tables)

    def reloads_are_known(self) -> bool:
        """Whether the task remembers that tables are to be loaded again, so that it need not be told once more."""
        state = self.remembered()
        assert state, "the task has begun by now"
        return not any(state["tables"][name]["loaded"] for name in (f"public.{name}" for name in _RELOADED))

    def land_the_rest(self) -> None:
        """Bring all that is left to the lake, and the lake to its end."""
        staged = self.environment | {"DATALAKE_ROOT": str(self.folder / "staged")}
        self.run((*self.replicates(), "--until-caught-up"), staged)
        self.carrier.capture()
        for _ in range(100):
            self.carrier.deliver(everything=True)
            if not self.carrier.waits:
                break
            for name in self.lake.datasets:
                lakes.process(self.lake, name, list(lakes.landing(self.lake, name).waiting))
        assert not self.carrier.waits
        self.run((*_CLI, "run"), self.lake_environment)

    def run(self, command: Command, environment: dict[str, str]) -> None:
        result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert result.returncode == 0, result.stdout + result.stderr

    def in_source(self, table: Table) -> list[tuple[Any, ...]]:
        columns = (*table.columns, *table.added)
        query = sql.SQL("SELECT {} FROM {}").format(
            sql.SQL(", ").join(sql.SQL(c.source) for c in columns),
            sql.Identifier(table.name),
        )
        with psycopg.connect(self.postgres.url) as connection:
            return _comparable(connection.execute(query))

    def in_silver(self, table: Table) -> list[tuple[Any, ...]]:
        columns = [c.in_silver() for c in (*table.columns, *table.added)]
        found = lakes.table_of(self.lake, f"silver/{table.name}").open().scan().select(columns).collect()
        return _comparable(found.rows())

    def in_history(self, table: Table) -> list[tuple[Any, ...]]:
        by_name = {c.name: c for c in (*table.columns, *table.added)}
        names = [*table.key, *(name for name in by_name if name not in table.key)]
        times = [pl.col(name).to_physical() for name in ("valid_from", "valid_to")]
        columns = ["operation", *times, "is_current", *(by_name[name].in_silver() for name in names)]
        found = lakes.table_of(self.lake, f"silver/{table.name}_history").open().scan().select(columns).collect()
        return _comparable(found.rows())


def _comparable(rows: Any) -> list[tuple[Any, ...]]:
    """Rows in an order of their own; NaN is equal to itself, and -0.0 to nothing else."""
    told = [tuple(f"float {v!r}" if isinstance(v, float) else v for v in row) for row in rows]
    return sorted(told, key=repr)


def prove(proof: Proof, *, transactions: int, pause: float) -> None:
    print(f"seed {proof.seed}")  # noqa: T201 (pytest shows it when the test fails)
    began = time.monotonic()
    write_datasets(proof.folder / "datasets", *(table.dataset() for table in proof.tables))
    proof.postgres.execute("CREATE TYPE mood AS ENUM ('sad', 'ok', 'über 🙂')")
    for table in proof.tables:
        for statement in table.create():
            proof.postgres.execute(statement)
    pace = proof.dice("pace")
    with proof.postgres.connect() as connection, proof.carried():
        worker = Worker(connection, proof.tables, proof.dice("work"))

        def work(count: int) -> None:
            for _ in range(count):
                worker.transact()
                time.sleep(pace.random() * 2 * pause)

        work(transactions // 5)
        task, lake = proof.mortals()
        with task, lake:
            work(transactions * 3 // 10)
            while not proof.knows_first_loads():
                work(1)
                time.sleep(0.3)  # the lake is to catch up
            worker.add_columns()
            work(transactions // 10)
            for name in _RELOADED:
                worker.truncate(name)
            work(transactions // 10)
            proof.reloads = _RELOADED
            while not proof.reloads_are_known():
                work(1)
            proof.reloads = ()
            work(transactions * 3 // 10)
    proof.land_the_rest()
    changes = sum(len(replay.rows_of(file)) for file in proof.carrier.delivered)
    print(  # noqa: T201 (the figures of a long run)
        f"{transactions:,} transactions, {worker.operations:,} statements, {len(proof.carrier.delivered):,} files with "
        f"{changes:,} rows; {proof.carrier.duplicates} duplicates, {proof.carrier.landed_again} landed again; the task "
        f"killed {task.kills} times, the lake {lake.kills} times, {proof.figures['runs of Dagster']} of them runs of "
        f"Dagster; {time.monotonic() - began:.0f} s"
    )
    for table in proof.tables:
        _check(proof, table)
    assert not _faults(task.ended), task.ended
    assert not _faults(lake.ended), lake.ended


def _faults(ended: Sequence[tuple[int, str]]) -> list[str]:
    """Why processes ended that were not killed; a session of a killed one may hold the slot for a moment."""
    return [text for code, text in ended if code and "is in use" not in text and "is being read" not in text]


def _check(proof: Proof, table: Table) -> None:
    source = proof.in_source(table)
    _assert_same(proof.in_silver(table), source, what=f"silver/{table.name}")
    quarantine = lakes.table_of(proof.lake, f"quarantine/{table.name}").open()
    assert not quarantine.exists or not quarantine.scan().collect().height
    if table.has_history:
        expected = _comparable(replay.history(table, proof.carrier.delivered))
        _assert_same(proof.in_history(table), expected, what=f"history of {table.name}")


def _assert_same(found: list[tuple[Any, ...]], expected: list[tuple[Any, ...]], *, what: str) -> None:
    counted, wanted = Counter(map(repr, found)), Counter(map(repr, expected))
    more, less = list((counted - wanted).elements()), list((wanted - counted).elements())
    shown = "\n".join([*(f"+ {row[:400]}" for row in more[:6]), *(f"- {row[:400]}" for row in less[:6])])
    assert not more, f"{what}: {len(more)} rows too many, {len(less)} missing of {len(expected)}\n{shown}"
    assert not less, f"{what}: {len(less)} missing of {len(expected)}\n{shown}"


@pytest.fixture
def seed() -> int:
    return int(os.environ.get("DATALAKE_PROOF_SEED", "20261122"))


def test_silver_equals_the_source_whatever_happens_on_the_way(postgres: Database, tmp_path: Path, seed: int) -> None:
    prove(Proof(postgres, tmp_path, seed, tables(keys=40)), transactions=500, pause=0.01)


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_silver_equals_the_source_after_many_transactions(postgres: Database, tmp_path: Path, seed: int) -> None:
    prove(Proof(postgres, tmp_path, seed, tables(keys=300)), transactions=20_000, pause=0.004)
