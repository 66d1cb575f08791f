"""What every command begins with: the settings and the lake that they name, or one line that says what is wrong."""

import os
from collections.abc import Iterable
from difflib import get_close_matches
from typing import TYPE_CHECKING

from pydantic import ValidationError

from datalake_assets.cli.console import fail, tell
from datalake_assets.cli.places import UnusablePlaceError, check_places, lost_bronze
from datalake_assets.lake.lake import Lake
from datalake_assets.lake.spec.dataset_files import DatasetError
from datalake_assets.lake.store.store_check import UnusableStoreError, check_stores
from datalake_assets.settings import Settings, UnusableRunnerError

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

_PREFIX = "DATALAKE_"
_OTHERS = {"PROOF_SEED", "REQUIRE_SPARK", "TEST_DATA", "TEST_POSTGRES"}
"""What the tests know besides the settings."""


def read_settings() -> Settings:
    """The settings of the environment; ends the command where a variable is wrong, warns of one that is none."""
    _warn_of_unknown_variables(os.environ)
    try:
        return Settings()
    except ValidationError as error:
        fail("\n".join(map(_told, error.errors())))


def _warn_of_unknown_variables(names: Iterable[str]) -> None:
    """Tell of variables that look like settings and are none: else a misspelt one would do nothing, silently."""
    known = {name.upper() for name in Settings.model_fields}
    given = {name: name.upper().removeprefix(_PREFIX) for name in names if name.upper().startswith(_PREFIX)}
    for name, rest in sorted(given.items()):
        if rest not in known | _OTHERS:
            near = get_close_matches(rest, known, n=1)
            tell(f"{name} is no setting{f'; did you mean {_PREFIX}{near[0]}?' if near else ''}")


def _told(error: "ErrorDetails") -> str:
    """A fault of the settings in words; one that they found themselves says what was given, where that helps."""
    told = error["msg"].removeprefix("Value error, ")
    if not error["loc"]:  # of several variables together, which it names itself
        return told
    given = "" if error["type"] == "value_error" else f", not {error['input']!r}"
    if error["type"].startswith("byte_size"):
        told, given = f"{error['input']!r} is no number of bytes", "; write one such as 2GiB or 500MB"
    return f"DATALAKE_{'.'.join(map(str, error['loc'])).upper()}: {told}{given}"


def open_lake(settings: Settings, *, writes: bool = True) -> Lake:
    """The lake of some settings; ends the command where its folders or a dataset file are wrong."""
    require_places(settings, writes=writes)
    try:
        lake = settings.lake()
    except DatasetError as error:
        fail(str(error))
    if (folder := lost_bronze(settings)) and lake.ledger.datasets():
        tell(
            f"DATALAKE_BRONZE: there is no folder {folder}, from which the lake has read objects; is it the right one?"
        )
    return lake


def source_url(settings: Settings, given: str | None) -> str:
    """The URL of the Postgres that is replicated, as an option or the settings give it; ends the command without."""
    url = given or (settings.source_url.get_secret_value() if settings.source_url else None)
    if url is None:
        fail("no source; give --source postgresql://USER@HOST/DATABASE, or set DATALAKE_SOURCE_URL")
    return url


def require_runners(settings: Settings, lake: Lake) -> None:
    """End the command where a runner of the settings, or of a dataset's own, can't run any step."""
    if {settings.runner_of(dataset)[0] for dataset in (None, *lake.datasets.values())} == {"in_process"}:
        return
    from datalake_assets.resources.runners.choosing import check_runners

    try:
        check_runners(settings, lake)
    except UnusableRunnerError as error:
        fail(" ".join(str(error).split()))


def require_places(settings: Settings, *, writes: bool) -> None:
    """End the command where a folder or an object store that the settings name can't be used."""
    try:
        check_places(settings, writes=writes)
        check_stores(settings.layout, writes=writes)
    except (UnusablePlaceError, UnusableStoreError) as error:
        fail(str(error))
