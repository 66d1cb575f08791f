"""The image of a deployment: what its files tell Dagster is what Dagster understands, on a real Postgres."""

import fnmatch
import json
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml
from dagster._core.errors import DagsterUserCodeUnreachableError
from dagster._core.remote_origin import GrpcServerCodeLocationOrigin
from dagster._core.workspace.load_target import WorkspaceFileTarget
from dagster._grpc.client import DagsterGrpcClient
from dagster._grpc.types import ListRepositoriesResponse
from dagster_shared.serdes import deserialize_value
from psycopg.conninfo import conninfo_to_dict

from datalake_assets_tests.aws import Aws
from datalake_assets_tests.postgres import Database, database, server

_PROJECT = Path(__file__).parents[2]
_DEPLOY = _PROJECT / "deploy"
_DOCKERFILE = (_PROJECT / "Dockerfile").read_text()
_SHARED = ("concurrency", "sensors", "schedules", "backfills", "retention", "telemetry", "nux")


@pytest.fixture
def postgres() -> Iterator[Database]:
    with server() as url, database(url) as made:
        yield made


def _variables(text: str) -> set[str]:
    return set(re.findall(r"\{env: (\w+)\}", text))


def _commands(name: str) -> list[Any]:
    """The arguments of the last instruction of a name in the Dockerfile, as JSON."""
    return list(json.loads(re.findall(rf"^{name} (\[.*\])$", _DOCKERFILE, re.MULTILINE)[-1]))


def _is_serving(client: DagsterGrpcClient) -> bool:
    try:
        return bool(client.ping("there?")["echo"] == "there?")
    except DagsterUserCodeUnreachableError:
        return False


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


@pytest.fixture
def home(tmp_path: Path, postgres: Database, aws: Aws, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A DAGSTER_HOME such as the image has, and the variables that a task definition sets."""
    told = conninfo_to_dict(postgres.url)
    cluster = aws.client("ecs").register_task_definition(
        family="lake-run", containerDefinitions=[{"name": "run", "image": "lake", "memory": 512}]
    )
    variables = {
        "DAGSTER_HOME": str(tmp_path),
        "DAGSTER_POSTGRES_HOST": "localhost",
        "DAGSTER_POSTGRES_PORT": "5432",
        "DAGSTER_POSTGRES_DB": str(told["dbname"]),
        "DAGSTER_POSTGRES_USER": str(told["user"]),
        "DAGSTER_POSTGRES_PASSWORD": str(told.get("password") or "none"),
        "DAGSTER_RUN_TASK_DEFINITION": cluster["taskDefinition"]["taskDefinitionArn"],
        "DAGSTER_LOG_BUCKET": aws.bucket(),
        "DAGSTER_LOG_PREFIX": "dagster",
    }
    config = (_DEPLOY / "dagster.yaml").read_text()
    assert _variables(config) <= variables.keys()
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    parsed = yaml.safe_load(config)
    params = parsed["storage"]["postgres"]["postgres_db"]["params"]
    assert params == {"sslmode": "require"}
    # The embedded server listens at a socket, which has no place in a host's name, and knows no TLS.
    params.update(host=told.get("host"), sslmode="prefer")
    (tmp_path / "dagster.yaml").write_text(yaml.safe_dump(parsed))
    return tmp_path


def test_dagster_takes_the_deployments_configuration_and_keeps_its_runs_in_postgres(
    home: Path, postgres: Database
) -> None:
    with dg.DagsterInstance.get() as instance:
        assert type(instance.run_launcher).__name__ == "EcsRunLauncher"
        assert type(instance.compute_log_manager).__name__ == "S3ComputeLogManager"
        assert type(instance.run_coordinator).__name__ == "QueuedRunCoordinator"
        assert instance.run_monitoring_enabled
        assert instance.run_retries_enabled

        @dg.op
        def nothing() -> None: ...

        @dg.job
        def kept() -> None:
            nothing()

        assert kept.execute_in_process(instance=instance).success
    assert postgres.rows("SELECT pipeline_name FROM runs") == [("kept",)]


def test_a_deployment_and_one_machine_share_what_does_not_hang_on_the_place() -> None:
    here, there = (yaml.safe_load((folder / "dagster.yaml").read_text()) for folder in (_PROJECT, _DEPLOY))
    here["concurrency"].pop("runs")  # tasks of their own are not bound by one machine's cores
    there["concurrency"].pop("runs")
    assert {name: here[name] for name in _SHARED} == {name: there[name] for name in _SHARED}


def test_the_images_command_serves_the_code_location_that_the_workspace_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = str(_free_port())
    monkeypatch.setenv("DATALAKE_ROOT", str(tmp_path / "lake"))
    monkeypatch.setenv("DAGSTER_CODE_HOST", "127.0.0.1")
    monkeypatch.setenv("DAGSTER_CODE_PORT", port)
    (origin,) = WorkspaceFileTarget(paths=[str(_DEPLOY / "workspace.yaml")]).create_origins()
    assert isinstance(origin, GrpcServerCodeLocationOrigin)
    assert origin.location_name == "datalake_assets"
    client = DagsterGrpcClient(host=origin.host, port=origin.port)
    program, *arguments = _commands("CMD")
    command = [sys.executable, "-m", program, *(port if a == "4000" else a for a in arguments)]
    deadline = time.monotonic() + 60
    with subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as serving:
        try:
            while not _is_serving(client):
                assert serving.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.5)
            listed = deserialize_value(client.list_repositories(), ListRepositoriesResponse)
        finally:
            serving.terminate()
    assert [found.attribute for found in listed.repository_symbols] == ["defs"]


def test_the_image_runs_as_nobody_in_particular_and_is_told_no_secrets() -> None:
    users = re.findall(r"^USER (\S+)$", _DOCKERFILE, re.MULTILINE)
    assert users == ["10001"]
    last_stage = _DOCKERFILE.rpartition("\nFROM ")[2]
    assert "USER 10001" in last_stage
    assert not re.search(r"(?i)^(ENV|ARG).*(password|secret|token|key)", _DOCKERFILE, re.MULTILINE)


def test_what_the_image_is_built_from_is_there_and_is_sent_to_the_builder() -> None:
    allowed = [line[1:] for line in (_PROJECT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    copied = [
        source
        for line in re.findall(r"^COPY (?!--from)(.+)$", _DOCKERFILE, re.MULTILINE)
        for source in line.split()[:-1]
    ]
    assert copied
    for source in copied:
        assert (_PROJECT / source).exists()
        assert any(fnmatch.fnmatch(source, name) or source.startswith(f"{name}/") for name in allowed)
