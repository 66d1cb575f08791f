"""Changes: what each statement at the source comes to, in which files, in which order."""

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from threading import Event

import pyarrow.parquet as pq
import pytest
from obstore.store import ObjectStore

from datalake_assets.replicate import files
from datalake_assets.replicate.form import DatePartition
from datalake_assets.replicate.session import ReplicationError
from datalake_assets.replicate.task import replicate
from datalake_assets_tests.postgres import Database
from datalake_assets_tests.replicate.replica import Replica, values

pytestmark = pytest.mark.xdist_group("postgres")
_NAME = re.compile(r"(\d{4})/(\d\d)/(\d\d)/(\d\d)/\d{8}-\d{9}\.parquet")
_RANDOM = "(SELECT string_agg(md5(random()::text), '') FROM generate_series(1, 500))"  # stored beside the table


def test_inserts_updates_and_deletes_land_in_the_order_of_their_commits(postgres: Database, replica: Replica) -> None:
    postgres.execute("CREATE TABLE t (id int PRIMARY KEY, v text)")
    replica.catch_up()
    postgres.execute(
        "INSERT INTO t VALUES (1, 'a'), (2, 'b')",
        "UPDATE t SET v = 'c' WHERE id = 1; DELETE FROM t WHERE id = 2; INSERT INTO t VALUES (2, 'd')",
        "UPDATE t SET v = NULL",
    )
    assert replica.catch_up().changes == 7
    assert [values(row, "Op", "id", "v") for row in replica.rows()] == [
        ("I", 1, "a"),
        ("I", 2, "b"),
        ("U", 1, "c"),
        ("D", 2, None),
        ("I", 2, "d"),
        ("U", 1, None),
        ("U", 2, None),
    ]
    times = [row["dms_timestamp"] for row in replica.rows()]
    assert len(set(times)) == 3, "a transaction has one commit time"


def test_what_is_rolled_back_never_lands(postgres: Database, replica: Replica) -> None:
    postgres.execute("CREATE TABLE t (id int PRIMARY KEY)")
    replica.catch_up()
    postgres.execute(
        "BEGIN; INSERT INTO t VALUES (1); SAVEPOINT s; INSERT INTO t VALUES (2); ROLLBACK TO s; "
        "INSERT INTO t VALUES (3); COMMIT",
        "BEGIN; INSERT INTO t VALUES (4); ROLLBACK",
    )
    replica.catch_up()
    assert [row["id"] for row in replica.rows()] == [1, 3]


def test_a_changed_key_lands_as_an_update_with_the_old_key_beside_it(postgres: Database, replica: Replica) -> None:
    postgres.execute(
        "CREATE TABLE t (id int, part text, v int, PRIMARY KEY (id, part))", "INSERT INTO t VALUES (1, 'a', 5)"
    )
    replica.catch_up()
    postgres.execute("UPDATE t SET id = 2", "UPDATE t SET v = 6", "UPDATE t SET part = 'b', v = 7")
    replica.catch_up()
    assert [values(row, "Op", "id", "part", "v", "BI_id", "BI_part") for row in replica.changes()] == [
        ("U", 2, "a", 5, 1, "a"),
        ("U", 2, "a", 6, None, None),
        ("U", 2, "b", 7, 2, "a"),
    ]


def test_without_before_images_the_old_key_is_not_told(postgres: Database, replica: Replica) -> None:
    postgres.execute("CREATE TABLE t (id int PRIMARY KEY)", "INSERT INTO t VALUES (1)")
    replica.form = replace(replica.form, before_images=False)
    replica.catch_up()
    postgres.execute("UPDATE t SET id = 2")
    replica.catch_up()
    assert list(replica.changes()[0]) == ["Op", "dms_timestamp", "ar_h_change_seq", "id"]


def test_a_large_value_that_an_update_leaves_alone_lands_as_null(postgres: Database, replica: Replica) -> None:
    postgres.execute("CREATE TABLE t (id int PRIMARY KEY, v int, big text)")
    postgres.execute(f"INSERT INTO t VALUES (1, 1, {_RANDOM})")
    replica.catch_up()
    postgres.execute("UPDATE t SET v = 2", "UPDATE t SET big = 'small'")
    replica.catch_up()
    assert [values(row, "v", "big") for row in replica.changes()] == [(2, None), (2, "small")]


def test_under_a_full_replica_identity_nothing_is_left_out(postgres: Database, replica: Replica) -> None:
    postgres.execute("CREATE TABLE t (id int PRIMARY KEY, v int, big text); ALTER TABLE t REPLICA IDENTITY FULL")
    postgres.execute(f"INSERT INTO t VALUES (1, 1, {_RANDOM})")
    replica.catch_up()
    big = replica.rows()[0]["big"]
    postgres.execute("UPDATE t SET v = 2", "UPDATE t SET id = 3", "DELETE FROM t")
    replica.catch_up()
    assert [values(row, "Op", "id", "v", "big", "BI_id") for row in replica.changes()] == [
        ("U", 1, 2, big, None),
        ("U", 3, 2, big, 1),
        ("D", 3, 2, big, None),
    ]
    assert "BI_v" not in replica.changes()[0]


def test_a_large_key_is_not_lost(postgres: Database, replica: Replica) -> None:
    """The log leaves out a large value that did not change, but tells it as the old key."""
    postgres.execute("CREATE TABLE t (id text PRIMARY KEY, v int); ALTER TABLE t ALTER id SET STORAGE EXTERNAL")
    postgres.execute("INSERT INTO t SELECT string_agg(md5(n::text), ''), 1 FROM generate_series(1, 70) n")
    replica.catch_up()
    postgres.execute("UPDATE t SET v = 2")
    replica.catch_up()
    (row,) = replica.changes()
    assert values(row, "id", "v", "BI_id") == (replica.rows()[0]["id"], 2, None)


def test_truncate_is_told_and_lands_nothing(postgres: Database, replica: Replica) -> None:
    postgres.execute("CREATE TABLE t (id int PRIMARY KEY)", "INSERT INTO t VALUES (1)")
    replica.catch_up()
    postgres.execute("TRUNCATE t", "INSERT INTO t VALUES (2)")
    assert replica.catch_up().changes == 1
    assert any("public.t was truncated in the source" in line for line in replica.told)


def test_a_file_has_one_form_however_the_table_is_altered(postgres: Database, replica: Replica) -> None:
    postgres.execute("CREATE TABLE t (id int PRIMARY KEY, v int, w text)")
    replica.catch_up()
    postgres.execute(
        "INSERT INTO t VALUES (1, 1, 'a')",
        "ALTER TABLE t ADD COLUMN x numeric(6,2) DEFAULT 1.5",
        "INSERT INTO t VALUES (2, 2, 'b', 2.5)",
        "ALTER TABLE t ALTER v TYPE bigint",
        "UPDATE t SET v = 3000000000 WHERE id = 2",
        "ALTER TABLE t DROP COLUMN w",
        "ALTER TABLE t RENAME x TO y",
        "DELETE FROM t WHERE id = 1",
    )
    replica.catch_up()
    forms = [
        dict(zip(s.names[3:-1], map(str, s.types[3:-1]), strict=True)) for s in map(pq.read_schema, replica.files())
    ]
    assert forms == [
        {"id": "int32", "v": "int32", "w": "string"},
        {"id": "int32", "v": "int32", "w": "string", "x": "decimal128(6, 2)"},
        {"id": "int32", "v": "int64", "w": "string", "x": "decimal128(6, 2)"},
        {"id": "int32", "v": "int64", "y": "decimal128(6, 2)"},
    ]
    assert [row["id"] for row in replica.changes()] == [1, 2, 2, 1]


def test_changes_of_other_tables_are_passed_over(postgres: Database, replica: Replica) -> None:
    postgres.execute("CREATE TABLE t (id int PRIMARY KEY)", "CREATE TABLE other (id int PRIMARY KEY)")
    replica.catch_up()
    before = replica.state()["position"]
    postgres.execute("INSERT INTO other SELECT generate_series(1, 30000)")
    assert replica.catch_up().objects == 0
    assert replica.state()["position"] > before, "the source need not keep this log"


def test_files_lie_under_the_hour_of_the_commit(postgres: Database, replica: Replica) -> None:
    postgres.execute("CREATE TABLE t (id int PRIMARY KEY)")
    replica.catch_up()
    before = datetime.now(UTC) - timedelta(seconds=1)
    postgres.execute("INSERT INTO t VALUES (1)")
    replica.catch_up()
    (name,) = replica.names()
    match = _NAME.fullmatch(name)
    assert match
    assert "-".join(match.groups()) in {f"{before:%Y-%m-%d-%H}", f"{datetime.now(UTC):%Y-%m-%d-%H}"}


@pytest.mark.parametrize(("kind", "depth"), [("none", 0), ("month", 2), ("day", 3), ("hour", 4)])
def test_folders_are_as_deep_as_asked_for(postgres: Database, replica: Replica, kind: str, depth: int) -> None:
    postgres.execute("CREATE TABLE t (id int PRIMARY KEY)")
    replica.form = replace(replica.form, date_partition=DatePartition(kind))
    replica.catch_up()
    postgres.execute("INSERT INTO t VALUES (1)")
    replica.catch_up()
    assert [name.count("/") for name in replica.names()] == [depth]


def test_a_transaction_larger_than_a_file_is_cut(postgres: Database, replica: Replica) -> None:
    postgres.execute("CREATE TABLE t (id int PRIMARY KEY)")
    replica.form = replace(replica.form, change_rows=100)
    replica.catch_up()
    postgres.execute("INSERT INTO t SELECT generate_series(1, 1050)")
    replica.catch_up()
    assert [pq.read_metadata(path).num_rows for path in replica.files()] == [100] * 10 + [50]
    assert [row["id"] for row in replica.rows()] == list(range(1, 1051))


def test_sequences_rise_over_tables_files_and_restarts(postgres: Database, replica: Replica) -> None:
    postgres.execute("CREATE TABLE t (id int PRIMARY KEY)", "CREATE TABLE u (id int PRIMARY KEY)")
    replica.form = replace(replica.form, change_rows=3)
    for n in range(4):
        replica.catch_up("t", "u")
        postgres.execute(
            f"INSERT INTO t VALUES ({n}); INSERT INTO u VALUES ({n}); UPDATE t SET id = id; UPDATE u SET id = id"
        )
    replica.catch_up("t", "u")
    for table in ("t", "u"):
        sequences = [row["ar_h_change_seq"] for row in replica.rows(table)]
        assert all(before < after for before, after in pairwise(sequences))
    both = sorted(row["ar_h_change_seq"] for table in ("t", "u") for row in replica.rows(table))
    assert all(re.fullmatch(r"\d{35}", sequence) for sequence in both)
    assert [int(sequence[16:]) for sequence in both] == list(range(1, len(both) + 1))


def test_a_column_that_the_files_have_besides_and_that_comes_later_is_told_with_its_table(
    postgres: Database, replica: Replica
) -> None:
    postgres.execute("CREATE TABLE t (id int PRIMARY KEY)", "CREATE TABLE u (id int PRIMARY KEY)")
    replica.catch_up("t", "u")
    postgres.execute(
        'ALTER TABLE t ADD COLUMN "Op" text',
        "INSERT INTO t VALUES (1, 'x'); INSERT INTO u VALUES (1)",
        'ALTER TABLE t RENAME COLUMN "Op" TO operation',
    )
    with pytest.raises(
        ReplicationError, match=r"the files of public\.t would have two columns 'Op'; rename the column, run"
    ):
        replica.catch_up("t", "u")
    assert replica.catch_up("u").changes == 1
    assert replica.catch_up("t", "u").loaded == 1
    assert (replica.replayed("t"), list(replica.replayed("u"))) == ({1: {"id": 1, "operation": "x"}}, [1])


def test_what_landed_in_a_look_that_was_stopped_is_counted(postgres: Database, replica: Replica) -> None:
    postgres.execute("CREATE TABLE t (id int PRIMARY KEY)")
    replica.catch_up()
    replica.form = replace(replica.form, change_rows=1_000)
    postgres.execute("INSERT INTO t SELECT generate_series(1, 7000)")
    stop, make_durable = Event(), files.make_durable

    def stop_with_the_first(store: ObjectStore, key: str) -> None:
        make_durable(store, key)
        stop.set()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "make_durable", stop_with_the_first)
        tally = replicate(replica.task(), until_caught_up=False, stop=stop, tell=print)
    assert tally.is_stopped
    assert 0 < tally.changes == len(replica.changes()) < 7_000
    assert (tally.objects, tally.bytes) == (len(replica.files()), sum(path.stat().st_size for path in replica.files()))
    assert replica.catch_up().changes == 7_000
    assert len(replica.replayed()) == 7_000
