"""Whether the folders that the settings name can hold a lake, found out before anything is done with them.

Belongs here: local folders. Object stores are tried by `lake.store.store_check`, as remote steps need that too.
"""

import os
import tempfile
from pathlib import Path

from datalake_assets.settings import Settings


class UnusablePlaceError(ValueError):
    """A folder that can't hold a lake: names the variable, the folder, and why."""


def check_places(settings: Settings, *, writes: bool) -> None:
    """Raise `UnusablePlaceError` for the lake's folder, or a zone set apart, that can't be used.

    What is there must be a folder that can be listed; one that is not there yet must be possible to make. With
    `writes` a folder that is there must take new files too. Nothing is left behind.
    """
    for name in ("root", "bronze", "silver", "gold", "quarantine"):
        place = getattr(settings, name)
        if place is None or "://" in place:
            continue
        folder = Path(place).expanduser().absolute()
        try:
            _try(folder, writes=writes)
        except OSError as error:
            reason = error.strerror or str(error)
            at = "" if error.filename in {None, str(folder)} else f" ({error.filename})"
            raise UnusablePlaceError(
                f"DATALAKE_{name.upper()}: {folder} can't be used as a folder: {reason}{at}; name one that can"
            ) from None


def dagster_home(settings: Settings) -> Path:
    """The folder of the Dagster instance: `DAGSTER_HOME`, else one in a local lake's own folder, else one here."""
    if given := os.environ.get("DAGSTER_HOME"):
        return Path(given)
    layout = settings.layout
    return Path(layout.root if layout.is_local else ".").absolute() / ".dagster"


def has_lake(settings: Settings) -> bool:
    """Whether anything landed or was processed here; an object store is taken to have."""
    layout = settings.layout
    return any("://" in place or Path(place).exists() for place in (layout.bronze, f"{layout.root}/ledger"))


def lost_bronze(settings: Settings) -> Path | None:
    """The local folder of bronze where it is not there, though the lake has a ledger of what it read."""
    layout = settings.layout
    is_lost = "://" not in layout.bronze and not Path(layout.bronze).exists() and has_lake(settings)
    return Path(layout.bronze).absolute() if is_lost else None


def _try(folder: Path, *, writes: bool) -> None:
    """Raises `OSError` where the folder can't be used."""
    if os.path.lexists(folder):
        with os.scandir(folder):
            pass
        if not writes:
            return
    there = next(place for place in (folder, *folder.parents) if os.path.lexists(place))
    os.rmdir(tempfile.mkdtemp(prefix=".datalake-", dir=there))  # noqa: PTH106 (mkdtemp gives text)
