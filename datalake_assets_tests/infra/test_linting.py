"""cfn-lint's own look at what is deployed: types, values, references and limits of CloudFormation."""

import subprocess
import sys
from pathlib import Path

import pytest

from datalake_assets_tests.infra.conftest import Synthesize

pytestmark = pytest.mark.xdist_group("infra")


@pytest.mark.parametrize("name", [pytest.param("prod", marks=pytest.mark.soak), "extended"])
def test_cfn_lint_finds_no_error(synthesized: Synthesize, name: str) -> None:
    templates = [str(file) for file in sorted(synthesized(name).out.glob("*.template.json"))]
    command = [str(Path(sys.executable).with_name("cfn-lint")), "--non-zero-exit-code", "error", "--ignore-checks", "W"]
    done = subprocess.run([*command, "--", *templates], capture_output=True, text=True, check=False, timeout=200)
    assert done.returncode == 0, done.stdout + done.stderr
