"""The demo's lake from bronze to gold: through jobs of each service, and in this process; the tables are the same."""

from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pytest

from datalake_assets.definitions import build_definitions
from datalake_assets.lake.store.landing import open_store
from datalake_assets.settings import Settings
from datalake_assets.simulate.producer import Simulation, simulate
from datalake_assets_tests.frames import require_spark
from datalake_assets_tests.runners import shipped
from datalake_assets_tests.runners.conftest import LakeOf
from datalake_assets_tests.runners.fake_aws import FakeAws
from datalake_assets_tests.runners.lakes import SILVER, admit, clicks, content, land, materialize, metadata, run
from datalake_assets_tests.sources import CLICKS, write_datasets

_DATASETS = Path(__file__).parents[2] / "datalake_assets" / "datasets"


# On Polars `test_remote_runs.py` has a step on each service: the demo as a whole is for soak.
_SERVICES = ["glue", *(pytest.param(name, marks=pytest.mark.soak) for name in ("emr_serverless", "emr"))]
"""All three run the same code by the same parameters: how they differ is tried in the other modules, fast."""


def land_the_demo(settings: Settings) -> None:
    simulation = Simulation(hours=3, rate=40, seed=11, start=datetime(2026, 1, 1, tzinfo=UTC))
    simulate(open_store(settings.layout.bronze), simulation)


def beside(there: Settings) -> Settings:
    """A lake made of the same landed objects in this process."""
    changes = {"root": f"{there.root}_beside", "bronze": there.layout.bronze, "runner": "in_process"}
    return there.model_copy(update=changes)


@pytest.mark.soak
@pytest.mark.parametrize("runner", _SERVICES)
def test_remote_jobs_make_the_tables_that_this_process_makes(
    runner: str, lake_of: LakeOf, jobs: FakeAws, instance: dg.DagsterInstance
) -> None:
    there = lake_of(runner, datasets=_DATASETS)
    here = beside(there)
    land_the_demo(there)
    for settings in (here, there):
        outcome = run(settings, instance)
        assert outcome.is_complete, (outcome.failed, outcome.undone)
    made, expected = content(there.lake()), content(here.lake())
    assert made.keys() == expected.keys()
    for name, rows in expected.items():
        assert made[name] == rows, name
    assert {name for name, rows in expected.items() if rows} >= {
        "silver/orders",
        "silver/web_events",
        "gold/daily_summary",
    }
    assert len(jobs.jobs) >= len(here.lake().datasets) + len(here.lake().gold_tables)


def test_two_datasets_of_one_process_both_get_their_reports(
    lake_of: LakeOf, jobs: FakeAws, instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    """Of two steps that shared one of Dagster's readers, the second got no message and counted as a success."""
    datasets = write_datasets(tmp_path / "two", CLICKS, CLICKS.replace("clicks", "visits"))
    settings = lake_of("glue", datasets=datasets)
    land(settings, "one", clicks(10))
    land(settings, "one", clicks(7), source="visits")
    outcome = run(settings, instance)
    assert outcome.is_complete, (outcome.failed, outcome.undone)
    assert outcome.records == 17
    assert len({job.id for job in jobs.jobs.values()}) == len(jobs.jobs) > 2


@pytest.mark.spark
@pytest.mark.timeout(600)
@pytest.mark.parametrize("runner", _SERVICES)
def test_jobs_on_spark_make_the_tables_that_this_process_makes(
    runner: str, lake_of: LakeOf, jobs: FakeAws, instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    require_spark()
    jobs.platform = shipped.platform(tmp_path / "platform")
    there = lake_of(runner, remote_engine="spark")
    lakes = there, beside(there)
    land(there, "one", [*clicks(40), "not json"])
    for settings in lakes:
        admit(settings, instance)
        materialize(settings, instance, SILVER)
        gold = dg.AssetKey(["gold", "daily_summary"])
        job = build_definitions(settings).resolve_implicit_global_asset_job_def()
        assert job.execute_in_process(instance=instance, asset_selection=[gold], partition_key="2026-01-01").success
        assert metadata(instance, gold)["engine"] == ("spark" if settings is lakes[0] else "polars")
    made, expected = (content(settings.lake()) for settings in lakes)
    assert made == expected
    assert len(made["silver/clicks"]) == 40
    assert len(made["gold/daily_summary"]) == 1
    assert len(jobs.jobs) == 2
