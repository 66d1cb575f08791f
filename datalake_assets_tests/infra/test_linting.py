"""cfn-lint's own look at what is deployed: types, values, references and limits of CloudFormation."""

import subprocess
import sys
from pathlib import Path

import pytest

from datalake_assets_tests.infra.conftest import Synthesize

pytestmark = pytest.mark.xdist_group("infra")


def test_cfn_lint_finds_no_error(synthesized: Synthesize) -> None:
    folders = [synthesized(name).out for name in ("prod", "extended")]
    templates = [str(file) for folder in folders for file in sorted(folder.glob("*.template.json"))]
    command = [str(Path(sys.executable).with_name("cfn-lint")), "--non-zero-exit-code", "error", "--ignore-checks", "W"]
    done = subprocess.run([*command, "--", *templates], capture_output=True, text=True, check=False, timeout=200)
    assert done.returncode == 0, done.stdout + done.stderr
