"""What all tests share: how properties are tried, and the emulated AWS of a test process."""

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

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
