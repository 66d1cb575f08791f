"""The same lake on both engines: equal tables in turn, side by side, and where things go wrong."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from deltalake import DeltaTable

from datalake_assets.lake.engines import spark as spark_engine
from datalake_assets.lake.engines import spark_tables
from datalake_assets.lake.engines.base import Engine
from datalake_assets.lake.engines.polars import PolarsEngine
from datalake_assets.lake.engines.spark import SparkEngine
from datalake_assets.lake.lake import Lake
from datalake_assets.lake.spec.dataset import Dataset
from datalake_assets.lake.store.landing import LandedObject, open_store
from datalake_assets.lake.store.objects import MissingObjectError
from datalake_assets.settings import Settings
from datalake_assets.simulate.producer import simulate
from datalake_assets.simulate.simulation import Simulation
from datalake_assets_tests import lakes
from datalake_assets_tests.laws.driving import side_by_side
from datalake_assets_tests.memory.lakes import AT, DAY, MemoryLake, order, orders, stream
from datalake_assets_tests.replicated import ReplicatedLake
from datalake_assets_tests.scenarios.event_scenario import EventScenario, event_outcome, event_scenarios
from datalake_assets_tests.scenarios.scenario import ORDERS, Scenario, outcome, scenarios

pytestmark = [pytest.mark.spark, pytest.mark.xdist_group("spark")]
_HOURS = 4
# A scenario of each kind of dataset where there is one of this name; `make soak` has Spark take them all.
_QUICK = {"quality"}
_START = datetime(2026, 1, 5, tzinfo=UTC)


@pytest.fixture(scope="module")
def bronze(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the shop's datasets landed in some hours."""
    folder = tmp_path_factory.mktemp("bronze")
    simulate(open_store(str(folder)), Simulation(hours=_HOURS, rate=150, seed=11, start=_START))
    return folder


def shop(root: Path, bronze: Path) -> Lake:
    return Settings(root=str(root), bronze=str(bronze)).lake()


def shares(lake: Lake, dataset: Dataset, count: int) -> list[list[str]]:
    """The partitions that wait in so many shares, the latest first."""
    waiting = sorted(lakes.landing(lake, dataset.name).waiting)
    bounds = [len(waiting) * n // count for n in range(count + 1)]
    return [waiting[begin:end] for begin, end in reversed(list(pairwise(bounds)))]


def work(lake: Lake, *engines: Engine) -> None:
    """Everything to gold: a share of each dataset by each engine, gold in between."""
    parts = {name: shares(lake, dataset, len(engines)) for name, dataset in lake.datasets.items()}
    for n, engine in enumerate(engines):
        for name, of_dataset in parts.items():
            lakes.process(lake, name, of_dataset[n], engine=engine)
        lakes.compute_gold(lake, engine=engine)


def content(lake: Lake) -> dict[str, list[dict[str, Any]]]:
    """All tables but the lake's memory, what stands beside silver included; with lineage, without times of writing."""
    found = {}
    for spec in lake.specs():
        if spec.zone != "lake":
            rows = lake.table(spec).open().scan().drop("etl_timestamp", strict=False).collect()
            found[spec.sql_name] = sorted(rows.to_dicts(), key=lambda row: [repr(v) for v in row.values()])
    return found


def assert_equal(found: Lake, expected: Lake) -> None:
    wanted = content(expected)
    assert content(found).keys() == wanted.keys()
    for name, rows in content(found).items():
        assert rows == wanted[name], name


@pytest.mark.timeout(600)
def test_all_tables_of_the_shop_are_the_same(spark: SparkEngine, bronze: Path, tmp_path: Path) -> None:
    """Every transform and every gold table, with the log's statistics, shape, notes and protocol."""
    ours, theirs = shop(tmp_path / "spark", bronze), shop(tmp_path / "polars", bronze)
    work(ours, spark)
    work(theirs, PolarsEngine())
    assert_equal(ours, theirs)
    for spec in ours.specs():
        table, other = ours.table(spec).open(), theirs.table(spec).open()
        if spec.zone == "lake" or not table.exists:
            continue
        protocol = DeltaTable(table.table.uri).protocol()
        assert (protocol.min_reader_version, protocol.min_writer_version) == (1, 2)
        assert table.fits
        assert table.files.schema == other.files.schema, spec.sql_name
        told = [[commit.touched_dates for commit in each.commits_since(-1) or ()] for each in (table, other)]
        assert set().union(*filter(None, told[0])) == set().union(*filter(None, told[1])), spec.sql_name


@pytest.mark.soak
def test_engines_in_turn_are_one(spark: SparkEngine, bronze: Path, tmp_path: Path) -> None:
    """The latest partitions of a table by one engine, then earlier ones by the other, then the first ones."""
    ours, theirs = shop(tmp_path / "turns", bronze), shop(tmp_path / "polars", bronze)
    work(ours, PolarsEngine(), spark, PolarsEngine())
    work(theirs, PolarsEngine())
    assert_equal(ours, theirs)


@pytest.mark.soak
def test_many_keys_files_and_batches_give_the_same(
    spark: SparkEngine, bronze: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where keys are too many to be told to each task they are joined, each file is a task, each object a batch."""
    monkeypatch.setattr(spark_tables, "_FEW_KEYS", 1)
    monkeypatch.setattr(spark_tables, "TASK_BYTES", 1)
    monkeypatch.setattr(spark_engine, "_BATCH_OBJECTS", 9)
    ours, theirs = shop(tmp_path / "spark", bronze), shop(tmp_path / "polars", bronze)
    for lake, engine in ((ours, spark), (theirs, PolarsEngine())):
        parts = shares(lake, lake.datasets["orders"], 2)
        for partitions in parts:
            lakes.process(lake, "orders", partitions, engine=engine)
    assert_equal(ours, theirs)


@pytest.mark.parametrize(
    "scenario",
    [pytest.param(s, marks=() if s.folder.name in _QUICK else pytest.mark.soak) for s in scenarios()],
    ids=lambda scenario: scenario.folder.name,
)
def test_a_scenario_ends_in_its_control_output(spark: SparkEngine, tmp_path: Path, scenario: Scenario) -> None:
    lake = scenario.lake(tmp_path)
    lake.engine = spark
    scenario.land(lake, scenario.steps)
    lake.refresh_all()
    assert outcome(lake) == scenario.control()


@pytest.mark.parametrize(
    "scenario",
    [pytest.param(s, marks=() if s.folder.name in _QUICK else pytest.mark.soak) for s in event_scenarios()],
    ids=lambda scenario: scenario.folder.name,
)
def test_a_scenario_of_events_ends_in_its_control_output(
    spark: SparkEngine, tmp_path: Path, scenario: EventScenario
) -> None:
    lake = scenario.lake(tmp_path)
    scenario.land(lake, scenario.steps, engine=spark)
    assert event_outcome(lake) == scenario.control()


def _hours(count: int) -> list[str]:
    return [f"2026-03-01-{10 + n}:00" for n in range(count)]


def test_events_that_are_taken_back_uncover_what_lay_below(spark: SparkEngine, tmp_path: Path) -> None:
    """Copies within and across steps, another date, an overwritten object."""
    lake = MemoryLake(tmp_path / "lake", stream(properties={"n": {"type": "integer"}}))
    lake.engine = spark
    copy = {"id": "a", "at": AT, "n": 1}
    lake.land("one", [copy, {"id": "b", "at": AT, "n": 1}, copy, "torn"])
    lake.land("two", [{"id": "b", "at": AT, "n": 2}, {"id": "c", "at": AT + DAY, "n": -3}, {"id": "d", "at": 10**12}])
    lake.run()
    lake.land("two", [{"id": "c", "at": AT + DAY, "n": 4}, {"id": "e", "at": AT, "n": 5}])
    lake.run()
    lake.assert_as_fresh()
    assert lake.ids() == ["a", "b", "c", "e"]


@pytest.mark.soak
def test_events_that_a_contract_comes_to_refuse_are_taken_back(spark: SparkEngine, tmp_path: Path) -> None:
    lake = MemoryLake(tmp_path / "lake", stream(properties={"n": {"type": "integer"}}))
    lake.engine = spark
    lake.land("one", [{"id": "a", "at": AT, "n": 1}, {"id": "c", "at": AT + DAY, "n": 4}])
    lake.run()
    strict = lake.under(stream(properties={"n": {"type": "integer", "minimum": 2}}))
    strict.engine = spark
    strict.replay()
    strict.gold()
    strict.assert_as_fresh()
    assert strict.ids() == ["c"]


@pytest.mark.soak
def test_changes_that_are_taken_back(spark: SparkEngine, tmp_path: Path) -> None:
    lake = MemoryLake(tmp_path / "lake", orders())
    lake.engine = spark
    lake.land_changes("LOAD00000001.parquet", [order("I", n, 0, price=Decimal(n)) for n in range(4)])
    lake.land_changes("2026/03/01/10/a.parquet", [order("D", 1, 10), order("U", 2, 11, product_name="milk")])
    lake.run()
    lake.land_changes("2026/03/01/10/a.parquet", [order("U", 3, 5, product_name="cake")])
    lake.run()
    lake.assert_as_fresh()


@pytest.mark.soak
def test_a_table_of_another_shape_is_made_anew(spark: SparkEngine, tmp_path: Path) -> None:
    lake = MemoryLake(tmp_path / "lake", orders())
    lake.engine = spark
    lake.land_changes("LOAD00000001.parquet", [order("I", n, 0, price=Decimal(n)) for n in range(4)])
    lake.run()
    wider = lake.under(orders(columns={"note": {"type": "string"}}, partition_by="month"))
    wider.engine = spark
    wider.rebuild()
    wider.gold()
    wider.assert_as_fresh()


@pytest.mark.soak
def test_days_and_sums_at_the_limits_are_the_same(
    spark: SparkEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Spark's literals know no year below 1000 and no 10 October 1582; int64 sums wrap around in Polars, and raise."""
    monkeypatch.setattr(spark_tables, "_FEW_KEYS", 1)
    columns = {"path": {"type": "string", "required": True}, "price": {"type": "int64"}}
    lake = MemoryLake(tmp_path / "lake", stream(), orders(key=["id", "path"], columns=columns))
    lake.engine = spark
    days = [datetime(*day, tzinfo=UTC) for day in ((1, 1, 1), (999, 2, 3), (1582, 10, 10), (9999, 12, 31))]
    lake.land("old", [{"id": f"{day}", "at": int(day.timestamp())} for day in days])
    rows = [order("I", n, n, path=f"p{n}", price=2**63 - 1) for n in range(3)]
    late = order("I", 8, 8, path="late", price=1) | {"committed": "9999-12-31 23:59:59.999999"}
    lake.land_changes("2026/03/01/10/a.parquet", [*rows, late])
    lake.run()
    lake.land_changes("2026/03/01/11/b.parquet", [order("U", n, 10 + n, path=f"p{n}", price=7) for n in range(2)])
    lake.run()
    lake.assert_as_fresh()
    sales = lake.rows("gold.daily_sales", "revenue")
    assert (Decimal(2**63 - 1 + 15),) in sales
    assert {day for (day,) in lake.rows("gold.daily_summary", "event_date")} >= {day.date() for day in days}


def test_a_bad_object_stops_no_other(spark: SparkEngine, tmp_path: Path) -> None:
    """Damaged, missing, and away while it was asked for: each by itself, whichever task it was in."""
    lake = MemoryLake(tmp_path / "lake", stream(), orders())
    lake.engine = spark
    lake.land("good", [{"id": "a", "at": AT}])
    lake.land("damaged", b"\x1f\x8b\x08 no gzip")
    gone = lake.land("gone", [{"id": "b", "at": AT}])
    lake.land_changes("2026/03/01/10/a.parquet", [order("I", 1, 10)])
    lake.land_changes("2026/03/01/10/b.parquet", b"PAR1")
    hours = {name: lake.admit(name) for name in lake.lake.datasets}
    lake.path(gone).unlink()
    for name, partitions in hours.items():
        lake.step(partitions, name=name)
    assert lake.ids() == ["a"]
    assert lake.rejected() == [("damaged", 0)]
    assert lake.statuses("clicks") == [("damaged", "failed"), ("gone", "missing"), ("good", "processed")]
    assert lake.statuses("orders") == [("a.parquet", "processed"), ("b.parquet", "failed")]


class _Failing:
    """Objects that can be read once: a file that is read in parts fails by the way the second time."""

    def __init__(self, failing: str) -> None:
        self.failing = failing

    def __call__(self, landed: LandedObject) -> bytes:
        if landed.key.endswith(self.failing):
            raise MissingObjectError(landed.key)
        raise OSError("the network is down")


def test_what_a_task_raises_is_told_of_its_object(spark: SparkEngine, tmp_path: Path) -> None:
    lake = MemoryLake(tmp_path / "lake", stream())
    objects = [LandedObject(k, "e", 1, _START, _hours(1)[0]) for k in ("gone", "down")]
    (batch,) = spark.read(lake.dataset, _Failing("gone"), objects, limits=lake.lake.limits, prepare=lambda frame: frame)
    told = {o.key: (o.state, o.error) for o in batch.outcomes}
    assert told["gone"][0] == "missing"
    assert told["down"][0] == "failed"
    assert "the network is down" in str(told["down"][1])
    assert spark.rows(batch.accepted) == []


@pytest.mark.soak
def test_two_engines_at_once_on_one_table(spark: SparkEngine, tmp_path: Path) -> None:
    """There is one kind of commit: what one decided on an older state than the other's is decided again."""
    lake = ReplicatedLake(tmp_path / "a", ORDERS)

    def row(id_: int, seq: int) -> dict[str, Any]:
        moment = _START + timedelta(seconds=seq)
        header = {"Op": "I" if seq < 40 else "U", "dms_timestamp": f"{moment:%Y-%m-%d %H:%M:%S.%f}"}
        values = {"product": "tea", "price": Decimal(seq), "created_at": moment}
        return header | {"ar_h_change_seq": f"{seq:035d}", "id": id_} | values

    for hour in range(8, 14):
        rows = [row(n % 30, hour * 10 + n) for n in range(60)]
        lake.land(f"2026/01/05/{hour:02}/20260105-{hour:02}0000000.parquet", rows)
    fresh = lake.copy(tmp_path / "b")
    waiting = sorted(lake.waiting())

    def one_by_one(beside: ReplicatedLake, partitions: Sequence[str], engine: Engine) -> None:
        for partition in partitions:
            lakes.process(beside.lake, "orders", [partition], engine=engine)

    other = ReplicatedLake(lake.root, ORDERS)
    side_by_side(
        lambda: one_by_one(lake, waiting[::2], spark), lambda: one_by_one(other, waiting[1::2], PolarsEngine())
    )
    fresh.refresh()
    names = ["silver/orders", "silver/orders_history", "silver/orders_tombstones"]
    assert lake.tables(names) == fresh.tables(names)


@pytest.mark.parametrize(
    ("values", "to"),
    [
        (pl.Series([Decimal("1.239")], dtype=pl.Decimal(10, 3)), "decimal(10,2)"),
        (pl.Series([1.9]), "int64"),
        (pl.Series([2**40]), "int32"),
        (pl.Series([datetime(2026, 1, 1, 1, tzinfo=UTC)], dtype=pl.Datetime("us", "UTC")), "date"),
    ],
)
@pytest.mark.parametrize("name", ["polars", "spark"])
def test_a_value_that_its_column_can_not_hold_is_refused(
    spark: SparkEngine, name: str, values: pl.Series, to: str
) -> None:
    from datalake_assets.lake.spec.parts import Column

    engine: Engine = spark if name == "spark" else PolarsEngine()
    frame = engine.take(pl.DataFrame({"v": values, "w": [7]}))
    columns = {"w": Column(type="int32", description=""), "v": Column(type=to, description="")}
    with pytest.raises(Exception, match=r"v: values of type|overflow|conversion|out of range"):
        engine.rows(engine.compute(engine.conform(frame, columns)))
    fine = engine.conform(frame, {"w": columns["w"]})
    assert engine.rows(fine) == [{"w": 7}]


def test_rows_of_other_types_are_refused_before_anything_is_written(spark: SparkEngine, tmp_path: Path) -> None:
    from datalake_assets.lake.store.notes import NO_NOTES
    from datalake_assets.lake.store.snapshot import SchemaChangeError

    lake = MemoryLake(tmp_path / "lake", stream())
    seen = lake.lake.silver(lake.dataset).open()
    with pytest.raises(SchemaChangeError, match="id:"):
        spark.change(seen, add=spark.take(pl.DataFrame({"id": [1]})), notes=NO_NOTES)
    assert not lake.lake.silver(lake.dataset).open().exists
