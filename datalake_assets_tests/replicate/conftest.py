"""A fresh database and a fresh lake for each test of replication."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from datalake_assets_tests.postgres import Database, database, server
from datalake_assets_tests.replicate.replica import Replica


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """The URL of a server that the tests of this process share."""
    with server() as url:
        yield url


@pytest.fixture
def postgres(postgres_server: str) -> Iterator[Database]:
    """A database of this test's own."""
    with database(postgres_server) as made:
        yield made


@pytest.fixture
def replica(postgres: Database, tmp_path: Path) -> Replica:
    """The database's replication into a lake of this test's own."""
    return Replica(postgres, tmp_path / "lake")
