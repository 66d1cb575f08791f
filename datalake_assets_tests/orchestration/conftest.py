"""A lake in a temporary folder, its Dagster instance, and the way to run it to the end."""

from collections.abc import Callable
from pathlib import Path

import dagster as dg
import pytest

from datalake_assets.cli.outcome import Outcome
from datalake_assets.cli.run import run_to_the_end
from datalake_assets.settings import Settings
from datalake_assets_tests.sources import CLICKS, write_datasets

Process = Callable[[], Outcome]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(root=str(tmp_path / "lake"), datasets=write_datasets(tmp_path / "datasets", CLICKS))


@pytest.fixture
def bronze(settings: Settings) -> Path:
    return Path(settings.layout.bronze)


@pytest.fixture
def process(settings: Settings, instance: dg.DagsterInstance) -> Process:
    return lambda: run_to_the_end(settings, instance, tell=lambda *_: None)
