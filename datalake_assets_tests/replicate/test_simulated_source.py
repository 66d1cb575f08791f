"""`datalake simulate --postgres`: the shop in a real Postgres, with the history that the files would tell."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event, Timer

import pytest
from typer.testing import CliRunner, Result

from datalake_assets.cli.app import app
from datalake_assets.replicate.session import connected
from datalake_assets.simulate import database
from datalake_assets.simulate.replica import replica as replica_of
from datalake_assets.simulate.replication import Replication
from datalake_assets.simulate.simulation import HOUR, Simulation
from datalake_assets_tests.postgres import Database

pytestmark = pytest.mark.xdist_group("postgres")
SIMULATION = Simulation(hours=4, rate=60, seed=5, start=datetime(2026, 3, 1, tzinfo=UTC))


def simulate(postgres: Database, *arguments: str) -> Result:
    return CliRunner().invoke(app, ["simulate", "--postgres", postgres.url, "--rate", "60", "--seed", "5", *arguments])


def in_source(postgres: Database) -> dict[str, dict[int, tuple[object, ...]]]:
    return {
        "orders": {row[0]: row for row in postgres.rows("SELECT * FROM orders")},
        "customers": {row[0]: row for row in postgres.rows("SELECT * FROM customers")},
    }


def test_the_database_holds_what_the_shop_does(postgres: Database) -> None:
    with connected(postgres.url) as source:
        replication, done = database.fill(source, SIMULATION, stop=Event())
    assert done > 4 * 12
    shop = replication.shop
    found = in_source(postgres)
    assert found == {"orders": shop.orders.rows, "customers": shop.customers.rows}
    landed = replica_of(SIMULATION)["orders"]
    assert len(found["orders"].keys() ^ landed.keys()) < len(landed) / 20, "but for what the files hold back"


def test_a_history_that_was_cut_off_is_completed_and_a_whole_one_left_alone(postgres: Database) -> None:
    stop = Event()
    with connected(postgres.url) as source:
        _, first = database.fill(source, SIMULATION, stop=stop, progress=stop.set)
        replication, rest = database.fill(source, SIMULATION, stop=Event())
        assert first
        assert rest
        assert in_source(postgres) == {
            "orders": replication.shop.orders.rows,
            "customers": replication.shop.customers.rows,
        }
        _, again = database.fill(source, SIMULATION, stop=Event())
    assert again < 5
    assert in_source(postgres)["orders"] == replication.shop.orders.rows


def test_several_changes_of_a_transaction_are_committed_together(postgres: Database) -> None:
    log = Replication(SIMULATION).log(SIMULATION.start)
    transactions = len({change.committed for change in log})
    with connected(postgres.url) as source:
        database.fill(source, Simulation(hours=1, rate=60, seed=6, start=SIMULATION.start), stop=Event())
        assert database.commit(source, log) == transactions < len(log)


def test_the_command_fills_then_goes_on_live(postgres: Database) -> None:
    result = simulate(postgres, "--hours", "2", "--start", "2026-03-01")
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("Committed ")
    before = in_source(postgres)
    with connected(postgres.url) as source:
        replication, _ = database.fill(source, SIMULATION, stop=Event())
        stop = Event()
        Timer(0.5, stop.set).start()
        assert database.follow(source, SIMULATION, replication, stop=stop, seconds_per_flush=0.05) > 0
    assert in_source(postgres) != before


def test_until_now_goes_on_from_where_it_began(postgres: Database) -> None:
    yesterday = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(days=1)
    with connected(postgres.url) as source:
        assert database.started(source) is None
        simulation = Simulation(hours=2, rate=60, seed=5, start=yesterday)
        database.fill(source, simulation, stop=Event())
        assert database.started(source) == yesterday
    assert simulate(postgres, "--until-now").exit_code == 0
    assert postgres.rows("SELECT max(updated_at) FROM orders")[0][0] > yesterday + 20 * HOUR


def test_a_server_that_is_not_there_is_told_in_a_line(tmp_path: Path) -> None:
    result = simulate(Database("postgresql://me:secret@127.0.0.1:1/db"))
    assert result.exit_code == 2
    assert "can't connect to postgresql://me@127.0.0.1:1/db" in result.stderr
    assert "secret" not in result.output
