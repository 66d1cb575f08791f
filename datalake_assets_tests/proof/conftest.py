"""The proof has a fresh database, as tests of replication do."""

from datalake_assets_tests.replicate.conftest import postgres, postgres_server

__all__ = ["postgres", "postgres_server"]
