"""How properties are tried: the same examples on every run; `-m soak` takes its time and tries new ones."""

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile(
    "default", derandomize=True, deadline=None, max_examples=25, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("soak", settings.get_profile("default"), derandomize=False, max_examples=1_000)


def pytest_configure(config: pytest.Config) -> None:
    """Choose the profile by the tests that are asked for."""
    settings.load_profile("soak" if config.option.markexpr == "soak" else "default")
