"""What can't be replicated is refused in one line that says what to do, and never tells a password."""

import os
from pathlib import Path
from typing import LiteralString

import pytest
from typer.testing import CliRunner, Result

from datalake_assets.cli.app import app
from datalake_assets_tests.postgres import Database, database

pytestmark = pytest.mark.xdist_group("postgres")


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    return {"DATALAKE_ROOT": str(tmp_path / "lake"), "COLUMNS": "200"}


def replicate(environment: dict[str, str], *arguments: str) -> Result:
    return CliRunner().invoke(app, ["replicate", "--until-caught-up", *arguments], env=environment)


@pytest.mark.parametrize(
    ("table", "told"),
    [
        ("public.x", "there is no table public.x in the source; public has heap, nothing, t"),
        ("x", "there is no table public.x in the source"),
        ("elsewhere.x", "the schema elsewhere has none at all"),
        ("public.heap", "public.heap has no primary key"),
        ("public.nothing", "run ALTER TABLE … REPLICA IDENTITY DEFAULT, or FULL"),
        ("public.seen", "public.seen can't be replicated: name an ordinary, logged table"),
    ],
)
def test_a_table_that_can_not_be_replicated(
    postgres: Database, environment: dict[str, str], table: str, told: str
) -> None:
    postgres.execute(
        "CREATE TABLE heap (v int)",
        "CREATE TABLE nothing (id int PRIMARY KEY); ALTER TABLE nothing REPLICA IDENTITY NOTHING",
        "CREATE TABLE t (id int PRIMARY KEY)",
        "CREATE VIEW seen AS SELECT * FROM t",
    )
    result = replicate(environment, "--source", postgres.url, "--table", "public.t", "--table", table)
    assert result.exit_code == 2, result.output
    assert told in result.stderr
    assert "\n" not in result.stderr.strip()
    assert postgres.rows("SELECT 1 FROM pg_publication") == [], "nothing is left in the source"


@pytest.mark.parametrize(
    ("column", "remedy"),
    [
        ("Op", "rename the column, or leave the table out"),
        ("dms_timestamp", "give theirs another name (--timestamp-column, --sequence-column, --no-before-images)"),
        ("BI_id", "give theirs another name (--timestamp-column, --sequence-column, --no-before-images)"),
    ],
)
def test_a_column_that_the_files_have_besides_is_refused_before_anything_is_loaded(
    postgres: Database, environment: dict[str, str], tmp_path: Path, column: LiteralString, remedy: str
) -> None:
    postgres.execute(
        "CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)",
        f'CREATE TABLE u (id int PRIMARY KEY, "{column}" text)',
    )
    result = replicate(environment, "--source", postgres.url, "--table", "public.t", "--table", "public.u")
    assert result.exit_code == 2, result.output
    assert f"the files of public.u would have two columns '{column}'; {remedy}" in result.stderr
    assert postgres.rows("SELECT 1 FROM pg_publication") == [], "nothing is left in the source"
    assert not list(tmp_path.rglob("*.parquet"))


def test_a_server_whose_log_is_not_logical(environment: dict[str, str]) -> None:
    if os.environ.get("DATALAKE_TEST_POSTGRES"):
        pytest.skip("needs an embedded server of its own")
    from datalake_assets_tests.postgres import server

    with server("wal_level = replica\n") as url:
        result = replicate(environment, "--source", url, "--table", "public.t")
    assert result.exit_code == 2
    assert "wal_level = replica" in result.stderr
    assert "ALTER SYSTEM SET wal_level = logical and restart the server" in " ".join(result.stderr.split())


def test_a_server_that_does_not_answer_and_a_password_that_is_not_told(environment: dict[str, str]) -> None:
    url = "postgresql://me:secret@127.0.0.1:1/db"
    result = replicate(environment | {"DATALAKE_SOURCE_URL": url}, "--table", "public.t")
    assert result.exit_code == 1
    assert "can't connect to postgresql://me@127.0.0.1:1/db: " in result.stderr
    assert "secret" not in result.output


def test_what_is_no_url_is_not_printed(environment: dict[str, str]) -> None:
    result = replicate(environment, "--source", "postgres:/me:secret@host", "--table", "public.t")
    assert result.exit_code == 2
    assert "this is no URL of a Postgres" in result.stderr
    assert "secret" not in result.output


@pytest.mark.parametrize(
    "password", ["s3cr3t/with/slash", "54/s3cr3t", "54@s3cr3t", "s3cr3t%", "/s3cr3t", "1,2/s3cr3t"]
)
def test_a_password_that_is_not_percent_encoded_is_not_printed(environment: dict[str, str], password: str) -> None:
    url = f"postgresql://me:{password}@127.0.0.1:1/db"
    result = replicate(environment | {"DATALAKE_SOURCE_URL": url}, "--table", "public.t")
    assert result.exit_code == 2
    assert "percent-encode what has a meaning in URLs: / is %2F" in result.stderr
    assert "s3cr3t" not in result.output


def test_a_source_and_a_table_are_asked_for(environment: dict[str, str]) -> None:
    assert "set DATALAKE_SOURCE_URL" in replicate(environment, "--table", "public.t").stderr
    assert "give --table SCHEMA.TABLE" in replicate(environment, "--source", "postgresql://h/d").stderr
    wrong = replicate(environment, "--source", "postgresql://h/d", "--table", "t", "--task", "My-Task")
    assert (wrong.exit_code, "--task 'My-Task': write lower-case letters" in wrong.stderr) == (2, True)


def test_a_publication_of_somebody_else_that_leaves_changes_out(
    postgres: Database, environment: dict[str, str]
) -> None:
    postgres.execute(
        "CREATE TABLE t (id int PRIMARY KEY)", "CREATE PUBLICATION datalake FOR TABLE ONLY t WITH (publish = 'insert')"
    )
    result = replicate(environment, "--source", postgres.url, "--table", "public.t")
    assert result.exit_code == 2
    assert "the publication datalake leaves changes out" in result.stderr


def test_a_role_without_rights_is_told_which_it_needs(postgres: Database, environment: dict[str, str]) -> None:
    role = f"reader_{os.getpid()}"
    database = postgres.rows("SELECT current_database()")[0][0]
    postgres.execute(
        "CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)",
        f"CREATE ROLE {role} LOGIN PASSWORD 'secret'",
    )
    source = postgres.with_user(role, "secret")
    told = []
    try:
        for grant in (
            f'GRANT CREATE ON DATABASE "{database}" TO {role}; CREATE PUBLICATION datalake FOR TABLE ONLY t',
            f"ALTER ROLE {role} REPLICATION",
            f"GRANT SELECT ON t TO {role}",
        ):
            result = replicate(environment, "--source", source, "--table", "public.t")
            assert result.exit_code == 2, result.output
            told.append(result.stderr)
            postgres.execute(grant)
        result = replicate(environment, "--source", source, "--table", "public.t")
        assert result.exit_code == 0, result.output
    finally:
        postgres.execute(f"DROP OWNED BY {role}", f"DROP ROLE {role}")
    assert "may not publish the tables" in told[0]
    assert "run ALTER ROLE … REPLICATION" in told[1]
    assert "run GRANT SELECT ON public.t TO …" in told[2]
    assert "secret" not in "".join(told)


def test_a_task_of_another_database_of_the_server_is_told_and_never_ended(
    postgres_server: str, postgres: Database, environment: dict[str, str], tmp_path: Path
) -> None:
    postgres.execute("CREATE TABLE t (id int PRIMARY KEY)")
    assert replicate(environment, "--source", postgres.url, "--table", "public.t").exit_code == 0
    with database(postgres_server) as other:
        other.execute("CREATE TABLE t (id int PRIMARY KEY)", "INSERT INTO t VALUES (1)")
        there = environment | {"DATALAKE_ROOT": str(tmp_path / "other"), "DATALAKE_SOURCE_URL": other.url}
        for arguments in (["--table", "t"], ["--drop"]):
            result = replicate(there, *arguments)
            assert result.exit_code == 2, result.output
            assert "the slot datalake is of another database of the server, datalake_test_" in result.stderr
            assert "name another --task" in result.stderr
        assert replicate(there, "--table", "t", "--task", "other").exit_code == 0
        assert replicate(there, "--drop", "--task", "other").exit_code == 0
    assert replicate(environment, "--source", postgres.url, "--table", "public.t").exit_code == 0, "it goes on"


def test_a_table_that_was_renamed_is_told_with_its_new_name(
    postgres: Database, environment: dict[str, str], tmp_path: Path
) -> None:
    postgres.execute("CREATE TABLE t (id int PRIMARY KEY)", "INSERT INTO t VALUES (1)", "CREATE TABLE u (id int)")
    environment |= {"DATALAKE_SOURCE_URL": postgres.url}
    assert replicate(environment, "--table", "t").exit_code == 0
    postgres.execute("ALTER TABLE t RENAME TO t2")
    result = replicate(environment, "--table", "t")
    assert result.exit_code == 2, result.output
    assert "no table public.t in the source: it was renamed to public.t2; name that by --table" in result.stderr
    assert "Landed 1 row and 0 changes: 1 new object," in replicate(environment, "--table", "public.t2").stdout
    loads = sorted(tmp_path.rglob("LOAD*"))
    assert [load.parent.name for load in loads] == ["t", "t2"]
