"""The templates of every environment, synthesized once for all tests of a process, without network or credentials."""

from collections.abc import Callable
from functools import cache

import pytest

from datalake_assets_tests.infra.templates import Synthesized, synthesize
from datalake_assets_tests.infra.variants import settings_of_variant

Synthesize = Callable[[str], Synthesized]


@pytest.fixture(scope="session")
def synthesized(tmp_path_factory: pytest.TempPathFactory) -> Synthesize:
    """The templates of an environment, or of a variant of one, by name."""

    @cache
    def make(name: str) -> Synthesized:
        folder = tmp_path_factory.mktemp(name)
        return synthesize(settings_of_variant(name, folder), folder / "out")

    return make


@pytest.fixture(params=["dev", "staging", "prod", "extended"])
def anywhere(request: pytest.FixtureRequest, synthesized: Synthesize) -> Synthesized:
    """The templates of each environment in turn, and of one that has all there is."""
    return synthesized(request.param)


@pytest.fixture
def staging(synthesized: Synthesize) -> Synthesized:
    """Staging: everything on, nothing large."""
    return synthesized("staging")
