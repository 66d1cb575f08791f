"""The lake installs and imports without the orchestrator, the command line and AWS' control planes."""

import ast
import os
import re
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

import datalake_assets

PACKAGE = Path(datalake_assets.__file__).parent
PROJECT = PACKAGE.parent / "pyproject.toml"
REFUSE = """
import sys
refused = set(sys.argv[1].split(","))
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in refused:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Refuse())
"""
ABSENT = "dagster,dagster_aws,dagster_pipes,dagster_pyspark,boto3,botocore,pydantic_settings,typer,rich,pyspark,pandas"
OF_THE_PLATFORM = {"pyspark"}
"""What Glue, EMR and the `spark` extra bring: imported where Spark is used, and nowhere else."""


def without(absent: str, program: str) -> "subprocess.CompletedProcess[str]":
    """Run a program in which importing some packages fails as if they were not installed."""
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(PACKAGE.parent)}
    command = [sys.executable, "-c", REFUSE + program, absent]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=120)


def modules(folder: Path) -> list[str]:
    files = sorted(folder.rglob("*.py"))
    names = [".".join(file.relative_to(PACKAGE.parent).with_suffix("").parts) for file in files]
    return [name.removesuffix(".__init__") for name in names]


def imported(file: Path) -> set[str]:
    """The top-level packages that a module imports, wherever it does so."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.partition(".")[0])
    return found


@pytest.mark.parametrize("folder", ["lake", "simulate"])
def test_every_module_imports_without_the_orchestrator(folder: str) -> None:
    """The wheel required Dagster, its web server and boto3, whatever it was installed for."""
    names = modules(PACKAGE / folder)
    assert len(names) > 5
    done = without(ABSENT, f"import importlib\nfor name in {names!r}: importlib.import_module(name)")
    assert done.returncode == 0, done.stderr


def test_what_the_lake_imports_is_what_installing_it_brings() -> None:
    project = tomllib.loads(PROJECT.read_text())["project"]
    brought = {re.split(r"[<>=~\[; ]", line)[0].lower().replace("_", "-") for line in project["dependencies"]}
    distributions = packages_distributions()
    files = sorted((PACKAGE / "lake").rglob("*.py"))
    packages = {p for file in files for p in imported(file)} - sys.stdlib_module_names - {"datalake_assets"}
    needed = {distributions[package][0].lower().replace("_", "-") for package in packages - OF_THE_PLATFORM}
    assert needed == brought
    using_spark = {file.stem for file in files if imported(file) & OF_THE_PLATFORM}
    assert using_spark == {"spark", "spark_session", "spark_tables"}


@pytest.mark.parametrize("absent", ["typer,rich,dagster,pydantic_settings", "dagster,pydantic_settings", "pyarrow"])
def test_the_command_without_its_extra_says_what_to_install(absent: str, tmp_path: Path) -> None:
    program = f"""
import os
os.environ["DATALAKE_ROOT"] = {str(tmp_path / "lake")!r}
sys.argv = ["datalake", "simulate", "--hours", "1"]
from datalake_assets.cli.__main__ import main
main()
"""
    done = without(absent, program)
    assert done.returncode == 2, done.stderr
    (line,) = done.stderr.splitlines()
    assert re.fullmatch(r"datalake: \w+ is not installed; run: pip install 'datalake-assets\[dagster\]'", line)
    assert not (tmp_path / "lake").exists()


@pytest.mark.parametrize("command", [["replicate", "--table", "t"], ["simulate", "--postgres", "postgresql://h/d"]])
def test_the_commands_over_a_postgres_say_what_to_install(command: list[str], tmp_path: Path) -> None:
    program = f"""
import os
os.environ["DATALAKE_ROOT"] = {str(tmp_path / "lake")!r}
os.environ["DATALAKE_SOURCE_URL"] = "postgresql://h/d"
sys.argv = ["datalake", *{command!r}]
from datalake_assets.cli.__main__ import main
main()
"""
    done = without("psycopg", program)
    assert done.returncode == 2, done.stderr
    assert done.stderr == "datalake: psycopg is not installed; run: pip install 'datalake-assets[postgres]'\n"


def test_sample_data_are_landed_without_a_driver_for_postgres(tmp_path: Path) -> None:
    program = f"""
import os
os.environ["DATALAKE_ROOT"] = {str(tmp_path / "lake")!r}
sys.argv = ["datalake", "simulate", "--hours", "1", "--rate", "10"]
from datalake_assets.cli.__main__ import main
main()
"""
    assert without("psycopg", program).returncode == 0
