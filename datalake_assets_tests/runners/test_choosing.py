"""Which runner a step gets, and what is refused before anything runs."""

from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pytest
from pydantic import ValidationError

from datalake_assets.definitions import build_definitions
from datalake_assets.lake.spec.dataset_files import DatasetError
from datalake_assets.lake.steps.messages import StepRequest
from datalake_assets.lake.steps.planning import admit
from datalake_assets.lake.steps.sizes import step_bytes
from datalake_assets.resources.runners.choosing import ChoosingRunner
from datalake_assets.resources.runners.workers import Workers
from datalake_assets.settings import Settings, UnusableRunnerError
from datalake_assets_tests.runners.lakes import PARTITION, clicks, land
from datalake_assets_tests.sources import CLICKS, write_datasets

GIB = 1024**3
SILVER = StepRequest(zone="silver", name="clicks", partitions=(PARTITION,))
REMOTE = {"remote_runner": "glue", "glue_job": "steps", "root": "s3://bucket/lake"}


def local(tmp_path: Path, *texts: str, **changes: object) -> Settings:
    datasets = write_datasets(tmp_path / "datasets", *(texts or (CLICKS,)))
    return Settings(**{"root": str(tmp_path / "lake"), "datasets": datasets, **changes})  # type: ignore[arg-type]


def test_a_dataset_names_its_runner_and_others_take_that_of_the_settings(tmp_path: Path) -> None:
    own = CLICKS + "runner: spark_local\n"
    settings = local(tmp_path, own, CLICKS.replace("clicks", "visits"))
    lake, runner = settings.lake(), ChoosingRunner(settings)
    assert runner.choose(SILVER, lake) == ("spark_local", "`runner` of clicks is spark_local")
    visits = SILVER.model_copy(update={"name": "visits"})
    assert runner.choose(visits, lake) == ("in_process", "DATALAKE_RUNNER is in_process")
    gold = StepRequest(zone="gold", name="daily_summary")
    assert runner.choose(gold, lake) == ("in_process", "DATALAKE_RUNNER is in_process")
    assert lake.datasets["clicks"].contract == local(tmp_path, CLICKS).lake().datasets["clicks"].contract


def test_auto_goes_by_the_bytes_that_wait_and_says_so(tmp_path: Path) -> None:
    settings = local(tmp_path)
    land(settings, "one", clicks(2_000))
    lake = settings.lake()
    admit(lake, lake.datasets["clicks"], [PARTITION], now=datetime.now(UTC))
    size = step_bytes(SILVER, lake, now=datetime.now(UTC))
    assert size > 5_000
    auto = {"runner": "auto", **REMOTE}
    name, reason = ChoosingRunner(Settings(**auto, auto_bytes=size)).choose(SILVER, lake)  # type: ignore[arg-type]
    told = f"{size / 1024:.1f}KiB"  # it was "0.00 GiB"
    assert (name, reason) == (
        "in_process",
        f"DATALAKE_RUNNER is auto: {told} to read, at most {told} (DATALAKE_AUTO_BYTES)",
    )
    name, reason = ChoosingRunner(Settings(**auto, auto_bytes=size - 1)).choose(SILVER, lake)  # type: ignore[arg-type]
    assert name == "glue"
    assert "above" in reason


def test_what_waits_is_counted_by_partition_and_a_replay_counts_all(tmp_path: Path) -> None:
    from datalake_assets_tests.lakes import process

    settings = local(tmp_path)
    land(settings, "one", clicks(100))
    lake = settings.lake()
    now = datetime.now(UTC)
    admit(lake, lake.datasets["clicks"], [PARTITION], now=now)
    waiting = step_bytes(SILVER, lake, now=now)
    assert waiting > 0
    assert step_bytes(SILVER.model_copy(update={"partitions": ("2026-01-02-00:00",)}), lake, now=now) == 0
    process(lake, "clicks", [PARTITION])
    assert step_bytes(SILVER, lake, now=now) == 0
    assert step_bytes(SILVER.model_copy(update={"replay": True}), lake, now=now) == waiting


def test_gold_counts_the_files_of_its_dates(tmp_path: Path) -> None:
    from datetime import date

    from datalake_assets_tests.lakes import process

    settings = local(tmp_path)
    land(settings, "one", clicks(100))
    lake = settings.lake()
    process(lake, "clicks", [PARTITION])
    gold = StepRequest(zone="gold", name="hourly_metrics", dates=(date(2026, 1, 1),))
    now = datetime.now(UTC)
    assert step_bytes(gold, lake, now=now) > 0
    assert step_bytes(gold.model_copy(update={"dates": (date(2026, 1, 2),)}), lake, now=now) == 0


def test_workers_grow_with_the_bytes_within_their_bounds() -> None:
    workers = Workers(least=2, most=10)
    assert [workers.of(n) for n in (0, 1, GIB, GIB + 1, 5 * GIB, 500 * GIB)] == [2, 2, 2, 3, 6, 10]


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"runner": "glue"}, "DATALAKE_RUNNER is glue, which needs DATALAKE_GLUE_JOB"),
        (
            {"runner": "emr_serverless", "emr_application": "00a"},
            "DATALAKE_RUNNER is emr_serverless, which needs DATALAKE_EMR_ROLE and DATALAKE_CODE",
        ),
        ({"runner": "auto"}, "DATALAKE_RUNNER is auto, and DATALAKE_REMOTE_RUNNER does not say"),
        ({"runner": "glue", "glue_job": "steps"}, "whose jobs can't see .*; put the lake on S3"),
        (
            {"runner": "glue", "glue_job": "steps", "root": "s3://b/lake", "code": "/tmp/x"},  # noqa: S108
            r"whose jobs can't see /tmp/x \(DATALAKE_CODE\); put .* such as DATALAKE_CODE=s3://BUCKET/PREFIX",
        ),
        (
            {"runner": "glue", "glue_job": "steps", "root": "s3://b/lake", "pipes": "/tmp/x"},  # noqa: S108
            r"whose jobs can't see /tmp/x \(DATALAKE_PIPES\); put .* such as DATALAKE_PIPES=s3://BUCKET/PREFIX",
        ),
        ({"workers_min": 9, "workers_max": 3}, "DATALAKE_WORKERS_MIN is 9, more than DATALAKE_WORKERS_MAX, 3"),
    ],
)
def test_a_runner_that_lacks_something_is_refused(given: dict[str, object], told: str, tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match=told):
        local(tmp_path, **given)


def test_a_dataset_whose_runner_is_not_described_is_refused_where_it_would_run(tmp_path: Path) -> None:
    settings = local(tmp_path, CLICKS + "runner: glue\n")
    assert settings.lake().datasets["clicks"].runner == "glue"
    with pytest.raises(UnusableRunnerError, match="`runner` of dataset clicks is glue, which needs DATALAKE_GLUE_JOB"):
        build_definitions(settings)


def test_a_runner_that_there_is_not_is_refused_with_file_line_and_the_choices(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"dataset_0.yaml:\d+: `runner`: .*'emr_serverless'.*, not 'lambda'"):
        local(tmp_path, CLICKS + "runner: lambda\n").lake()


def test_assets_show_the_engines_that_compute_them(tmp_path: Path) -> None:
    settings = local(tmp_path, CLICKS + "runner: spark_local\n")
    graph = build_definitions(settings).resolve_asset_graph()
    assert graph.get(dg.AssetKey(["silver", "clicks"])).kinds == {"silver", "spark", "deltalake"}
    assert graph.get(dg.AssetKey(["gold", "daily_summary"])).kinds == {"gold", "polars", "deltalake"}
