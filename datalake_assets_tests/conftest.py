"""What all tests share: how properties are tried, the emulated AWS of a test process, Dagster's instances."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
import pytest
from hypothesis import HealthCheck, settings

from datalake_assets.cli.instance import NO_LOGS
from datalake_assets_tests.aws import Aws, moto_server

settings.register_profile(
    "default", derandomize=True, deadline=None, max_examples=25, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("soak", settings.get_profile("default"), derandomize=False, max_examples=1_000)


def pytest_configure(config: pytest.Config) -> None:
    """Choose the profile by the tests that are asked for: `-m soak` takes its time and tries new examples."""
    settings.load_profile("soak" if config.option.markexpr == "soak" else "default")


@pytest.fixture(scope="session")
def moto() -> Iterator[Aws]:
    """A moto server that the tests of this process share; each makes its own buckets."""
    with moto_server() as server:
        yield server


@pytest.fixture
def aws(moto: Aws, monkeypatch: pytest.MonkeyPatch) -> Aws:
    """The emulated AWS, which this process and those that it starts find by the usual variables."""
    for name, value in moto.environment.items():
        monkeypatch.setenv(name, value)
    return moto


@contextmanager
def _opened(home: Path) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.local_temp(str(home), overrides={"telemetry": {"enabled": False}, **NO_LOGS}) as made:
        yield made


@pytest.fixture(scope="session")
def new_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an instance that did nothing yet; to make its tables takes longer than many a test."""
    home = tmp_path_factory.mktemp("new_home")
    with _opened(home) as instance:
        instance.all_instigator_state()
    return home


@pytest.fixture
def instance(tmp_path: Path, new_home: Path) -> Iterator[dg.DagsterInstance]:
    """An instance of the test's own, which other processes find in its folder."""
    home = shutil.copytree(new_home, tmp_path / "dagster")
    (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    with _opened(home) as made:
        yield made
