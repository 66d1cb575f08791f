"""A fresh database for each test, and a lake that replicates its table `t`."""

from datalake_assets_tests.replicate.conftest import postgres, postgres_server

__all__ = ["postgres", "postgres_server"]
