"""A task over several runs: it goes on where it was, takes tables in, loads them again, and notices what it lost."""

import threading
import time
from dataclasses import replace
from pathlib import Path
from threading import Event

import pytest

from datalake_assets.replicate.plan import Tally
from datalake_assets.replicate.session import ReplicationError, connected
from datalake_assets.replicate.slot import Slot
from datalake_assets.replicate.task import replicate
from datalake_assets_tests.postgres import Database
from datalake_assets_tests.replicate.replica import Replica, values

pytestmark = pytest.mark.xdist_group("postgres")


def test_changes_between_two_runs_are_not_lost_and_land_once(postgres: Database, replica: Replica) -> None:
    postgres.execute("CREATE TABLE t (id int PRIMARY KEY)")
    replica.catch_up()
    for n in range(3):
        postgres.execute(f"INSERT INTO t VALUES ({n})")
        replica.catch_up()
    replica.catch_up()
    assert [row["id"] for row in replica.rows()] == [0, 1, 2]


def test_a_table_that_joins_the_task_is_loaded_while_the_others_go_on(postgres: Database, replica: Replica) -> None:
    postgres.execute("CREATE TABLE t (id int PRIMARY KEY)", "INSERT INTO t VALUES (1)")
    replica.catch_up("t")
    postgres.execute("CREATE TABLE u (id int PRIMARY KEY)", "INSERT INTO u VALUES (7)", "INSERT INTO t VALUES (2)")
    tally = replica.catch_up("t", "u")
    assert (tally.loaded, tally.changes) == (1, 1)
    postgres.execute("INSERT INTO u VALUES (8)")
    replica.catch_up("t", "u")
    assert [list(replica.replayed(table)) for table in ("t", "u")] == [[1, 2], [7, 8]]


def test_a_transaction_that_began_before_its_table_joined_is_not_lost(postgres: Database, replica: Replica) -> None:
    """The log does not tell what it wrote before the table was published, and a snapshot does not show it."""
    postgres.execute("CREATE TABLE t (id int PRIMARY KEY)", "CREATE TABLE u (id int PRIMARY KEY)")
    replica.catch_up("t")
    with postgres.connect() as connection:
        connection.execute("INSERT INTO u VALUES (1)")
        run = threading.Thread(target=replica.catch_up, args=("t", "u"))
        run.start()
        time.sleep(0.5)
        assert run.is_alive(), "waits for the transaction"
        connection.commit()
        run.join()
    assert list(replica.replayed("u")) == [1]


def test_a_table_that_leaves_the_task_is_loaded_anew_when_it_comes_back(postgres: Database, replica: Replica) -> None:
    postgres.execute("CREATE TABLE t (id int PRIMARY KEY)", "CREATE TABLE u (id int PRIMARY KEY)")
    replica.catch_up("t", "u")
    replica.catch_up("t")
    postgres.execute("INSERT INTO u VALUES (1)")
    assert replica.catch_up("t").changes == 0
    assert replica.catch_up("t", "u").loaded == 1


def test_a_table_made_anew_under_its_name_is_loaded_again(postgres: Database, replica: Replica) -> None:
    postgres.execute("CREATE TABLE t (id int PRIMARY KEY)", "INSERT INTO t VALUES (1)")
    replica.catch_up()
    postgres.execute("DROP TABLE t", "CREATE TABLE t (id int PRIMARY KEY)", "INSERT INTO t VALUES (2)")
    assert replica.catch_up().loaded == 1


def test_a_reload_overwrites_the_load_files_and_tells_its_place_among_changes(
    postgres: Database, replica: Replica
) -> None:
    postgres.execute(
        "CREATE TABLE t (id int PRIMARY KEY, v int)", "INSERT INTO t SELECT n, 0 FROM generate_series(1, 5) n"
    )
    replica.form = replace(replica.form, load_rows=2)
    replica.catch_up()
    first = replica.loads()
    postgres.execute("DELETE FROM t WHERE id > 3", "UPDATE t SET v = 1")
    replica.catch_up()
    newest = replica.changes()[-1]["ar_h_change_seq"]
    tally = replica.catch_up(reload=["public.t"])
    assert (tally.loaded, tally.changes) == (3, 0)
    again = replica.loads()
    assert [load["file"] for load in again] == [1, 2, 3]
    assert [load["last"] for load in again] == [False, True, True]
    assert again[0]["load"] == again[1]["load"] > first[0]["load"]
    assert again[2] == first[2], "the third file is left from the first load"
    assert [load["after"] for load in again] == [newest, newest, ""]
    postgres.execute("UPDATE t SET v = 2 WHERE id = 1")
    replica.catch_up()
    assert replica.changes()[-1]["ar_h_change_seq"] > newest


def test_changes_go_on_landing_while_a_table_is_loaded(
    postgres: Database, replica: Replica, monkeypatch: pytest.MonkeyPatch
) -> None:
    postgres.execute("CREATE TABLE t (id int PRIMARY KEY)", "INSERT INTO t SELECT generate_series(1, 30)")
    replica.form = replace(replica.form, load_rows=10)
    seen: list[tuple[int, int]] = []

    def write_meanwhile(tally: Tally) -> None:
        seen.append((tally.loaded, tally.changes))
        if 0 < tally.loaded < 30:
            postgres.execute(f"UPDATE t SET id = id + 100 WHERE id = {tally.loaded}")
            time.sleep(0.1)  # the task's interval

    replicate(replica.task(), until_caught_up=True, stop=Event(), tell=print, progress=write_meanwhile)
    replica.catch_up()
    assert any(loaded < 30 and changes for loaded, changes in seen)
    assert set(replica.replayed()) == {row[0] for row in postgres.rows("SELECT id FROM t")}


def test_a_change_that_lands_again_has_the_sequence_it_had(postgres: Database, replica: Replica) -> None:
    """As after a kill between the files and the memory of them."""
    postgres.execute("CREATE TABLE t (id int PRIMARY KEY)")
    replica.catch_up()
    memory = replica.root / "_replication" / "datalake.json"
    for n in (1, 2):
        postgres.execute(f"INSERT INTO t VALUES ({n})")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Slot, "advance", lambda *_: None)
            before = memory.read_bytes()
            replica.catch_up()
        memory.write_bytes(before)
        replica.catch_up()
    rows = [values(row, "id", "ar_h_change_seq") for row in replica.rows()]
    assert [id_ for id_, _ in rows] == [1, 1, 2, 2]
    assert len(set(rows)) == 2


def test_what_landed_is_not_repeated_when_only_the_slot_was_not_told(postgres: Database, replica: Replica) -> None:
    postgres.execute("CREATE TABLE t (id int PRIMARY KEY)")
    replica.catch_up()
    postgres.execute("INSERT INTO t VALUES (1)")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Slot, "advance", lambda *_: None)
        replica.catch_up()
    replica.catch_up()
    assert len(replica.rows()) == 1


def test_a_slot_that_is_gone_is_told_and_the_task_begun_anew(postgres: Database, replica: Replica) -> None:
    postgres.execute("CREATE TABLE t (id int PRIMARY KEY)", "INSERT INTO t VALUES (1)")
    replica.catch_up()
    postgres.execute("INSERT INTO t VALUES (2)")
    replica.catch_up()
    postgres.execute("SELECT pg_drop_replication_slot('datalake')")
    with pytest.raises(ReplicationError, match="the slot datalake is gone from the source, and with it changes"):
        replica.catch_up()
    replica.drop()
    counter = replica.state()["counter"]
    assert replica.catch_up().loaded == 2
    postgres.execute("INSERT INTO t VALUES (3)")
    replica.catch_up()
    assert replica.changes()[-1]["ar_h_change_seq"].endswith(f"{counter + 1}"), "sequences go on"


def test_another_lake_does_not_take_the_slot_of_this_one(postgres: Database, replica: Replica, tmp_path: Path) -> None:
    postgres.execute("CREATE TABLE t (id int PRIMARY KEY)")
    replica.catch_up()
    other = Replica(postgres, tmp_path / "other")
    with pytest.raises(ReplicationError, match="this lake knows nothing of it"):
        other.catch_up()
    other.name = "other"
    assert other.catch_up().objects == 0


def test_a_lake_that_was_refused_a_slot_does_not_take_the_one_another_makes(
    postgres: Database, replica: Replica, tmp_path: Path
) -> None:
    def refuse(_: Slot) -> None:
        raise ReplicationError("all replication slots are in use")

    postgres.execute("CREATE TABLE t (id int PRIMARY KEY)")
    other = Replica(postgres, tmp_path / "other")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Slot, "create", refuse)
        with pytest.raises(ReplicationError, match="in use"):
            other.catch_up()
    replica.catch_up()
    with pytest.raises(ReplicationError, match="this lake knows nothing of it"):
        other.catch_up()


def test_a_run_that_was_killed_when_its_slot_was_made_goes_on_with_it(postgres: Database, replica: Replica) -> None:
    def die(_: Slot) -> int:
        raise KeyboardInterrupt

    postgres.execute("CREATE TABLE t (id int PRIMARY KEY)")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Slot, "position", die)
        with pytest.raises(KeyboardInterrupt):
            replica.catch_up()
    postgres.execute("INSERT INTO t VALUES (1)")
    assert replica.catch_up().loaded == 1


def test_changes_that_a_copy_of_the_lake_took_are_missed(postgres: Database, replica: Replica) -> None:
    postgres.execute("CREATE TABLE t (id int PRIMARY KEY)")
    replica.catch_up()
    memory = replica.root / "_replication" / "datalake.json"
    before = memory.read_bytes()
    postgres.execute("INSERT INTO t VALUES (1)")
    replica.catch_up()
    memory.write_bytes(before)
    with pytest.raises(ReplicationError, match="was read past what has landed in this lake"):
        replica.catch_up()


def test_a_task_is_run_by_one_process_at_a_time(postgres: Database, replica: Replica) -> None:
    postgres.execute("CREATE TABLE t (id int PRIMARY KEY)")
    replica.catch_up()
    with (
        connected(postgres.url) as connection,
        Slot(connection, "datalake").locked(),
        pytest.raises(ReplicationError, match="the task datalake is being run by another process"),
    ):
        replica.catch_up()


def test_dropping_a_task_leaves_nothing_in_the_source(postgres: Database, replica: Replica) -> None:
    postgres.execute("CREATE TABLE t (id int PRIMARY KEY)")
    replica.catch_up()
    replica.drop()
    replica.drop()
    assert postgres.rows("SELECT 1 FROM pg_publication") == []
    assert postgres.rows("SELECT 1 FROM pg_replication_slots WHERE database = current_database()") == []


def test_a_run_that_waits_for_a_transaction_can_be_stopped(postgres: Database, replica: Replica) -> None:
    postgres.execute("CREATE TABLE t (id int PRIMARY KEY)")
    stop = Event()
    with postgres.connect() as connection:
        connection.execute("SELECT pg_current_xact_id()")
        threading.Timer(0.5, stop.set).start()
        tally = replicate(replica.task(), until_caught_up=False, stop=stop, tell=print)
    assert tally.is_stopped
    assert replica.catch_up().objects == 0
