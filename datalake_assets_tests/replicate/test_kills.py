"""A task that is killed at any moment loses nothing."""

import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from threading import Event, Thread

import pytest

import datalake_assets
from datalake_assets_tests.postgres import Database
from datalake_assets_tests.replicate.replica import Replica

pytestmark = pytest.mark.xdist_group("postgres")
_PROJECT = str(Path(datalake_assets.__file__).parents[1])
_PROGRAM = """
import sys
from dataclasses import replace
from pathlib import Path
from threading import Event
from datalake_assets.replicate.task import replicate
from datalake_assets_tests.postgres import Database
from datalake_assets_tests.replicate.replica import Replica

replica = Replica(Database(sys.argv[1]), Path(sys.argv[2]))
replica.form = replace(replica.form, load_rows=150, change_rows=40)
print("begins", flush=True)
replicate(replica.task("t", "u"), until_caught_up=False, stop=Event(), tell=print)
"""


@contextmanager
def _busy(postgres: Database, dice: random.Random) -> Iterator[None]:
    """Random transactions over two tables, until the block ends."""
    done, ids = Event(), count(10_000)

    def work() -> None:
        with postgres.connect() as connection:
            while not done.is_set():
                for _ in range(dice.randint(1, 6)):
                    table, id_, fresh = dice.choice(("t", "u")), dice.randrange(400), next(ids)
                    statement = dice.choice(
                        (
                            f"INSERT INTO {table} VALUES ({id_}, {fresh}) ON CONFLICT (id) DO UPDATE SET v = 1",
                            f"UPDATE {table} SET v = {fresh} WHERE id % 400 = {id_}",
                            f"DELETE FROM {table} WHERE id = {id_}",
                            f"UPDATE {table} SET id = {fresh} WHERE id = {id_}",
                        )
                    )
                    connection.execute(statement)
                connection.commit()
                time.sleep(dice.random() * 0.004)

    worker = Thread(target=work)
    worker.start()
    try:
        yield
    finally:
        done.set()
        worker.join()


def test_a_task_killed_at_random_moments_lands_everything(postgres: Database, replica: Replica, tmp_path: Path) -> None:
    dice = random.Random(7)
    for table in ("t", "u"):
        postgres.execute(
            f"CREATE TABLE {table} (id bigint PRIMARY KEY, v bigint)",
            f"INSERT INTO {table} SELECT n, 0 FROM generate_series(0, 1999) n",
        )
    command = [sys.executable, "-c", _PROGRAM, postgres.url, str(replica.root)]
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": _PROJECT}
    with _busy(postgres, dice):
        for _ in range(5):
            with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE) as process:
                assert process.stdout
                process.stdout.readline()
                time.sleep(dice.random() * 0.7)
                process.kill()
            _let_go(postgres)
    replica.catch_up("t", "u")
    for table in ("t", "u"):
        landed = {id_: row["v"] for id_, row in replica.replayed(table).items()}
        assert landed == dict(postgres.rows(f"SELECT id, v FROM {table}"))
        by_sequence = {row["ar_h_change_seq"]: (row["Op"], row["id"], row["v"]) for row in replica.changes(table)}
        again = [(row["Op"], row["id"], row["v"]) for row in replica.changes(table)]
        assert len(by_sequence) > 100
        assert set(by_sequence.values()) == set(again)


def _let_go(postgres: Database) -> None:
    """Wait until the server has noticed that the process is gone."""
    for _ in range(100):
        if not postgres.rows("SELECT 1 FROM pg_stat_activity WHERE application_name = 'datalake replicate'"):
            return
        time.sleep(0.05)
    raise AssertionError("the killed process' session is still there")
