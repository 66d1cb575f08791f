"""What remote jobs run, as the platform has it: a folder with the built wheel and the packages it needs, no others."""

import re
import sys
import zipfile
from importlib.metadata import Distribution, distribution
from pathlib import Path

from packaging.requirements import Requirement

from shipping.__main__ import build_wheel

_SPARK = ("pyspark", "py4j", "pandas", "numpy", "python-dateutil", "six", "tzdata")
"""Of Spark what a platform has by itself, and what pyspark uses where it is there."""


def build(folder: Path) -> tuple[Path, Path]:
    """The wheel's packages in a folder, and the wheel itself."""
    wheel = build_wheel(folder / "dist")
    shipped = folder / "environment"
    with zipfile.ZipFile(wheel) as file:
        file.extractall(shipped)
    (own,) = shipped.glob("*.dist-info")
    for name in _needed(Distribution.at(own), {"remote"}):
        _link(distribution(name), shipped)
    return shipped, wheel


def platform(folder: Path) -> Path:
    """A folder with what the platform adds for Spark jobs."""
    folder.mkdir()
    for name in _SPARK:
        try:
            _link(distribution(name), folder)
        except ModuleNotFoundError:
            continue
    return folder


def interpreter(folder: Path) -> Path:
    """A Python that has its standard library, and beside it what PYTHONPATH names and nothing else."""
    file = folder / "python"
    file.write_text(f'#!/bin/sh\nexec {sys.executable} -S "$@"\n')
    file.chmod(0o755)
    return file


def _needed(wheel: Distribution, extras: set[str]) -> set[str]:
    found: set[str] = set()
    todo = [(wheel, frozenset(extras))]
    while todo:
        package, wanted = todo.pop()
        for line in package.requires or ():
            requirement = Requirement(line)
            applies = [requirement.marker.evaluate({"extra": e}) for e in wanted or {""}] if requirement.marker else [1]
            name = re.sub(r"[-_.]+", "-", requirement.name).lower()
            if any(applies) and name not in found:
                found.add(name)
                todo.append((distribution(name), frozenset(requirement.extras)))
    return found


def _link(package: Distribution, folder: Path) -> None:
    for top in {file.parts[0] for file in package.files or ()} - {"..", "__pycache__"}:
        source = Path(str(package.locate_file(top)))
        if source.exists() and not (folder / top).exists():
            (folder / top).symlink_to(source)
