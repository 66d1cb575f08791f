"""Tables that are not there yet."""

from pathlib import Path

import pytest

from datalake_assets.lake.store.table import Table
from datalake_assets_tests.lake.tables import table


@pytest.fixture
def place(tmp_path: Path) -> Table:
    """A table that is not there yet, cut by event date."""
    return table(tmp_path, by_date=True)


@pytest.fixture
def uncut(tmp_path: Path) -> Table:
    """A table that is not there yet, not cut by anything."""
    return table(tmp_path)
