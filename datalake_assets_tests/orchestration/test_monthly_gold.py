"""Gold over replicated tables: months in Dagster, of which only the days are computed that are due."""

from datetime import UTC, date, datetime
from pathlib import Path

import dagster as dg
import polars as pl
import pytest

from datalake_assets.assets.partitions import consecutive, count_partitions
from datalake_assets.cli.run import run_to_the_end
from datalake_assets.definitions import build_definitions
from datalake_assets.settings import Settings
from datalake_assets_tests.replicated import ORDERS, change
from datalake_assets_tests.sources import write_datasets

SALES = dg.AssetKey(["gold", "daily_sales"])
DAILY = dg.AssetKey(["gold", "daily_summary"])


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(root=str(tmp_path / "lake"), datasets=write_datasets(tmp_path / "datasets", ORDERS))


def land(settings: Settings, name: str, *rows: dict[str, object]) -> None:
    file = Path(settings.layout.bronze, "dms/public/orders", name)
    file.parent.mkdir(parents=True, exist_ok=True)
    pl.DataFrame(rows, infer_schema_length=None).write_parquet(file)


def placed(id_: int, *day: int) -> dict[str, object]:
    return change("I", id_, id_, created=datetime(*day, 12, tzinfo=UTC))  # type: ignore[arg-type, misc] # mypy takes `tzinfo` for one of the parts


def run(settings: Settings, instance: dg.DagsterInstance) -> None:
    assert run_to_the_end(settings, instance, tell=lambda *_: None).is_complete


def partitions(instance: dg.DagsterInstance, key: dg.AssetKey) -> list[str]:
    records = instance.fetch_materializations(key, limit=1_000).records
    return sorted(r.partition_key or "" for r in records)


def sales(settings: Settings) -> dict[date, int]:
    rows = pl.read_delta(f"{settings.layout.gold}/daily_sales")
    return dict(rows.group_by("event_date").agg(pl.col("orders").sum()).iter_rows())


def test_old_rows_that_are_loaded_today_are_one_day_of_figures_and_a_few_months_of_sales(
    settings: Settings, instance: dg.DagsterInstance
) -> None:
    """Ten years of customers made gold owe 3,650 days in each table, at 20 ms a day in Dagster alone."""
    land(settings, "LOAD00000001.parquet", placed(1, 2016, 1, 5), placed(2, 2016, 1, 31), placed(3, 2020, 7, 1))
    run(settings, instance)
    assert partitions(instance, SALES) == ["2016-01-01", "2020-07-01"]
    (day,) = set(partitions(instance, DAILY))
    assert day == f"{datetime.now(UTC):%Y-%m-%d}" or day.startswith("2026")  # when the file was loaded
    days = [date(2016, 1, 5), date(2016, 1, 31), date(2020, 7, 1)]
    assert sales(settings) == dict.fromkeys(days, 1)
    later = placed(4, 2016, 1, 5) | {"Op": "I", "ar_h_change_seq": f"{1:035d}"}
    land(settings, "2026/01/05/09/20260105-091500000.parquet", later)
    run(settings, instance)
    assert partitions(instance, SALES) == ["2016-01-01", "2016-01-01", "2020-07-01"]
    assert sales(settings) == dict.fromkeys(days, 1) | {days[0]: 2}
    (newest,) = instance.fetch_materializations(SALES, limit=1).records
    assert newest.asset_materialization is not None
    assert newest.asset_materialization.metadata["touched_dates"].value == ["2016-01-05"]


def test_orders_before_the_first_month_and_after_this_one_belong_to_the_outermost_months(
    settings: Settings, instance: dg.DagsterInstance
) -> None:
    land(settings, "LOAD00000001.parquet", placed(1, 1999, 5, 5), placed(2, 2099, 5, 5))
    run(settings.model_copy(update={"first_event_date": date(2015, 1, 1)}), instance)
    assert partitions(instance, SALES) == ["2015-01-01", f"{datetime.now(UTC):%Y-%m}-01"]
    assert sales(settings) == {date(1999, 5, 5): 1, date(2099, 5, 5): 1}


def test_a_month_that_is_materialized_by_hand_is_computed_whole(
    settings: Settings, instance: dg.DagsterInstance
) -> None:
    land(settings, "LOAD00000001.parquet", placed(1, 2016, 1, 5), placed(2, 2016, 2, 5))
    run(settings, instance)
    before = pl.read_delta(f"{settings.layout.gold}/daily_sales")
    job = build_definitions(settings).resolve_implicit_global_asset_job_def()
    job.execute_in_process(instance=instance, asset_selection=[SALES], partition_key="2016-01-01")
    after = pl.read_delta(f"{settings.layout.gold}/daily_sales")
    wrote = {
        day: frame["etl_timestamp"][0]
        for frame, day in ((after.filter(pl.col("event_date") == d), d) for d in after["event_date"])
    }
    was = dict(before.select("event_date", "etl_timestamp").iter_rows())
    assert {day for day in was if wrote[day] != was[day]} == {date(2016, 1, 5)}


def test_a_run_tells_how_much_it_did_each_once(settings: Settings, instance: dg.DagsterInstance) -> None:
    """Objects were counted once for each partition of their range, and records once more with their history."""
    for n in range(3):
        land(settings, f"2026/01/05/{n + 9:02}/20260105-{n + 9:02}1500000.parquet", placed(n, 2026, 1, n + 1))
    outcome = run_to_the_end(settings, instance, tell=lambda *_: None)
    assert (outcome.objects, outcome.records) == (3, 3)


def test_months_follow_each_other_over_the_turn_of_a_year() -> None:
    months = ["2025-11-01", "2025-12-01", "2026-01-01", "2026-03-01"]
    assert list(consecutive(months, every="monthly", most=10)) == [tuple(months[:3]), tuple(months[3:])]
    assert count_partitions(months[0], months[3], every="monthly") == 5


def test_the_upkeep_of_all_tables_is_an_asset_that_tells_what_it_saved(
    settings: Settings, instance: dg.DagsterInstance
) -> None:
    for n in range(3):
        land(settings, f"2026/01/05/{n + 9:02}/20260105-{n + 9:02}1500000.parquet", placed(n, 2026, 1, n + 1))
        run(settings, instance)
    job = build_definitions(settings.model_copy(update={"retention_hours": 0})).resolve_job_def("maintenance")
    assert job.execute_in_process(instance=instance).success
    (record,) = instance.fetch_materializations(dg.AssetKey(["maintenance"]), limit=1).records
    assert record.asset_materialization is not None
    told = {name: str(value.value) for name, value in record.asset_materialization.metadata.items()}
    assert int(told["files_deleted"]) > 0
    assert int(told["bytes_freed"]) > 0
    assert len(pl.read_delta(f"{settings.layout.silver}/orders")) == 3
