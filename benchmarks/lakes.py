"""Lakes and input for the benchmarks: generated once, kept, and copied where a run changes them."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import datalake_assets
from benchmarks.harness import say
from datalake_assets.lake.lake import Lake
from datalake_assets.settings import Settings

DATASETS = Path(datalake_assets.__file__).parent / "datasets"


def lake_at(root: Path, *, bronze: Path | None = None, datasets: Path = DATASETS) -> Lake:
    """A lake in a folder, whatever the environment says; `bronze` may lie elsewhere."""
    return settings_for(root, bronze=bronze, datasets=datasets).lake()


def settings_for(root: Path, *, bronze: Path | None = None, datasets: Path = DATASETS) -> Settings:
    """The settings of such a lake."""
    return Settings(
        root=str(root),
        bronze=str(bronze or root / "bronze"),
        silver=str(root / "silver"),
        gold=str(root / "gold"),
        quarantine=str(root / "quarantine"),
        datasets=datasets,
    )


def kept(folder: Path, *, make: Callable[[Path], None]) -> Path:
    """A folder of generated input: made by `make` under another name, so that one that stands is whole."""
    if not folder.exists():
        say(f"  making {folder} (once)")
        unfinished = folder.with_name(f"{folder.name}.unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
        make(unfinished)
        unfinished.rename(folder)
    return folder


def emptied(folder: Path) -> Path:
    """A folder with nothing in it."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def copied(source: Path, target: Path) -> Path:
    """A copy that shares the files' bytes: whatever a lake holds is replaced, never changed in place."""
    shutil.rmtree(target, ignore_errors=True)
    return shutil.copytree(source, target, copy_function=os.link)
