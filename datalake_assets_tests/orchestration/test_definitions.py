"""Loading the definitions: nothing is read at import, and one YAML file is all that a new source takes."""

import subprocess
import sys
from pathlib import Path

import dagster as dg
import polars as pl
import pytest

from datalake_assets.definitions import build_definitions
from datalake_assets.lake.spec.dataset_files import DatasetError
from datalake_assets.settings import Settings
from datalake_assets_tests.orchestration.conftest import Process
from datalake_assets_tests.sources import CLICKS, land, write_datasets

_IMPORT_WITHOUT_A_WORLD = """
import sys
def forbid(event, arguments):
    if event == "open" and isinstance(arguments[2], int) and arguments[2] & 0b11:
        raise PermissionError(f"writes {arguments[0]}")
    if event in {"socket.connect", "socket.getaddrinfo", "os.mkdir", "subprocess.Popen"}:
        raise PermissionError(f"{event} {arguments}")
    if event == "open" and str(arguments[0]).endswith((".yaml", ".yml")):
        raise PermissionError(f"reads {arguments[0]}")
sys.addaudithook(forbid)
import datalake_assets.definitions
"""


def test_importing_the_definitions_needs_no_environment_network_or_writable_disk(tmp_path: Path) -> None:
    program = [sys.executable, "-B", "-c", _IMPORT_WITHOUT_A_WORLD]
    done = subprocess.run(program, env={}, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert list(tmp_path.iterdir()) == []


def test_building_definitions_makes_no_folder(tmp_path: Path) -> None:
    build_definitions(Settings(root=str(tmp_path / "lake")))
    assert list(tmp_path.iterdir()) == []


def test_every_asset_of_the_packaged_datasets_has_its_place_in_the_graph(tmp_path: Path) -> None:
    definitions = build_definitions(Settings(root=str(tmp_path)))
    keys = {key.to_user_string() for key in definitions.resolve_asset_graph().get_all_asset_keys()}
    assert keys >= {"bronze/orders", "silver/orders", "silver/orders_history", "silver/web_events", "gold/daily_sales"}
    checks = {str(check.name) for check in definitions.resolve_asset_graph().asset_check_keys}
    assert "rejected_fraction" in checks


def test_bronze_and_silver_are_cut_by_landing_hour_and_gold_by_event_date(tmp_path: Path) -> None:
    graph = build_definitions(Settings(root=str(tmp_path))).resolve_asset_graph()

    def partitions(*path: str) -> dg.PartitionsDefinition[str] | None:
        return graph.get(dg.AssetKey(path)).partitions_def

    assert isinstance(partitions("silver", "web_events"), dg.HourlyPartitionsDefinition)
    assert isinstance(partitions("silver", "device_readings"), dg.DailyPartitionsDefinition)
    assert isinstance(partitions("gold", "daily_summary"), dg.DailyPartitionsDefinition)
    assert partitions("gold", "source_statistics") is None


def test_a_hundred_datasets_load(tmp_path: Path) -> None:
    texts = [CLICKS.replace("clicks", f"clicks_{n}") for n in range(100)]
    folder = write_datasets(tmp_path / "datasets", *texts)
    graph = build_definitions(Settings(root=str(tmp_path / "lake"), datasets=folder)).resolve_asset_graph()
    assert len([key for key in graph.get_all_asset_keys() if key.path[0] == "silver"]) == 100


def test_a_wrong_dataset_file_stops_the_load_and_says_where(tmp_path: Path) -> None:
    folder = write_datasets(tmp_path / "datasets", CLICKS.replace("owner:", "ownr:"))
    with pytest.raises(DatasetError, match=r"dataset_0\.yaml:5: unknown key `ownr`; did you mean `owner`"):
        build_definitions(Settings(root=str(tmp_path / "lake"), datasets=folder))


def test_a_new_source_takes_one_yaml_file_and_landed_objects(
    settings: Settings, bronze: Path, process: Process
) -> None:
    first = [{"id": "a", "at": 1_767_225_600, "page": "/"}, {"id": "b", "at": 1_767_312_000}]
    land(bronze, "firehose/clicks", "2026/01/02/00", "one", first)
    land(bronze, "firehose/clicks", "2026/01/02/01", "two", [*first, {"id": "c", "at": 1_767_312_001, "page": "/c"}])
    outcome = process()
    assert not outcome.failed
    silver = pl.read_delta(f"{settings.layout.silver}/clicks").sort("id")
    assert silver.select("id", "at", "page").rows() == [
        ("a", 1_767_225_600, "/"),
        ("b", 1_767_312_000, None),
        ("c", 1_767_312_001, "/c"),
    ]
    summary = pl.read_delta(f"{settings.layout.gold}/daily_summary").sort("event_date")
    assert summary.select("source", "records", "rejects").rows() == [("clicks", 1, 0), ("clicks", 2, 0)]
    totals = pl.read_delta(f"{settings.layout.gold}/source_statistics")
    assert totals.select("source", "records", "days").rows() == [("clicks", 3, 2)]


def test_every_job_sensor_and_schedule_of_the_packaged_datasets_resolves(tmp_path: Path) -> None:
    repository = build_definitions(Settings(root=str(tmp_path))).get_repository_def()
    jobs = {job.name: job.description for job in repository.get_all_jobs() if job.name != "__ASSET_JOB"}
    assert jobs.keys() == {"landed_hourly", "landed_daily", "gold", "gold_monthly", "maintenance"}
    assert all(jobs.values()), "each says what it is for"
    assert {s.name for s in repository.sensor_defs} == {"landing", "gold_refresh"}
    assert {s.name for s in repository.schedule_defs} == {"nightly_backfill", "nightly_replay", "nightly_maintenance"}


@pytest.mark.parametrize("folder", ["with space", "per%cent", "umlaut-ä"])
def test_a_place_where_delta_tables_cannot_be_read_is_refused_at_once(tmp_path: Path, folder: str) -> None:
    with pytest.raises(ValueError, match="where Delta tables can't be read; choose another"):
        Settings(root=str(tmp_path / folder))
