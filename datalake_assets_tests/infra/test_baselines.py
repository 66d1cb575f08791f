"""What is deployed changes only where somebody has seen it change."""

import difflib

import pytest

from datalake_assets_tests.infra.baselines import RENEW, baseline, path
from datalake_assets_tests.infra.conftest import Synthesize
from infra.settings import ENVIRONMENTS

pytestmark = pytest.mark.xdist_group("infra")


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_what_an_environment_deploys_is_what_its_baseline_says(name: str, synthesized: Synthesize) -> None:
    told, found = path(name).read_text().splitlines(), baseline(synthesized(name)).splitlines()
    changes = "\n".join(difflib.unified_diff(told, found, "baseline", "templates", lineterm="", n=2))
    assert not changes, f"{changes}\nIf that is meant, renew the baselines: {RENEW}"
