"""What every command begins with: the settings and the lake that they name, or one line that says what is wrong."""

from typing import TYPE_CHECKING

from pydantic import ValidationError

from datalake_assets.cli.console import fail
from datalake_assets.cli.places import UnusablePlaceError, check_places
from datalake_assets.lake.lake import Lake
from datalake_assets.lake.spec.dataset_files import DatasetError
from datalake_assets.lake.store.store_check import UnusableStoreError, check_stores
from datalake_assets.settings import Settings, UnusableRunnerError

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails


def read_settings() -> Settings:
    """The settings of the environment; ends the command where a variable is wrong."""
    try:
        return Settings()
    except ValidationError as error:
        fail("\n".join(map(_told, error.errors())))


def _told(error: "ErrorDetails") -> str:
    """A fault of the settings in words; one that they found themselves says what was given, where that helps."""
    told = error["msg"].removeprefix("Value error, ")
    if not error["loc"]:  # of several variables together, which it names itself
        return told
    given = "" if error["type"] == "value_error" else f", not {error['input']!r}"
    return f"DATALAKE_{'.'.join(map(str, error['loc'])).upper()}: {told}{given}"


def open_lake(settings: Settings, *, writes: bool = True) -> Lake:
    """The lake of some settings; ends the command where its folders or a dataset file are wrong."""
    require_places(settings, writes=writes)
    try:
        return settings.lake()
    except DatasetError as error:
        fail(str(error))


def source_url(settings: Settings, given: str | None) -> str:
    """The URL of the Postgres that is replicated, as an option or the settings give it; ends the command without."""
    url = given or (settings.source_url.get_secret_value() if settings.source_url else None)
    if url is None:
        fail("no source; give --source postgresql://USER@HOST/DATABASE, or set DATALAKE_SOURCE_URL")
    return url


def require_runners(settings: Settings, lake: Lake) -> None:
    """End the command where a runner of the settings, or of a dataset's own, can't run any step."""
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
