"""The files of Dagster's storage stay open while a command writes much of it."""

from pathlib import Path

import dagster as dg
from sqlalchemy import create_engine, text

from datalake_assets.cli.event_log import kept_open, seldom_synced


def _logs(home: Path) -> set[str]:
    """SQLite's own logs: a file that nobody has open has none."""
    return {log.name for log in home.rglob("*.db-wal")}


def test_files_stay_open_between_dagsters_connections_and_no_longer(tmp_path: Path) -> None:
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        with kept_open(instance):
            instance.report_runless_asset_event(dg.AssetMaterialization("a"))
            assert _logs(tmp_path) >= {"index.db-wal", "runs.db-wal"}
            with kept_open(instance, run_id="one"):
                assert "one.db-wal" in _logs(tmp_path)
        assert _logs(tmp_path) == set()
        assert instance.get_latest_materialization_event(dg.AssetKey("a")) is not None


def test_an_instance_with_another_storage_is_let_be(tmp_path: Path) -> None:
    with dg.DagsterInstance.ephemeral(str(tmp_path)) as instance, kept_open(instance):
        assert _logs(tmp_path) == set()


def test_connections_that_are_made_meanwhile_sync_seldom_and_others_always(tmp_path: Path) -> None:
    def synced() -> int:
        with create_engine(f"sqlite:///{tmp_path}/one.db").connect() as connection:
            return int(connection.execute(text("PRAGMA synchronous")).scalar_one())

    with seldom_synced():
        assert synced() == 1
    assert synced() == 2
