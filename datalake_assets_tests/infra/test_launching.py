"""A run becomes a task on ECS: what the launcher calls there is what its role may call."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import boto3
import dagster as dg
import pytest
from dagster._core.instance import DagsterInstance
from dagster._core.launcher import LaunchRunContext

from datalake_assets_tests.aws import Aws
from datalake_assets_tests.infra.conftest import Synthesize
from datalake_assets_tests.infra.templates import listed

pytestmark = pytest.mark.xdist_group("infra")


@dg.op
def _nothing() -> None: ...


@dg.job
def _job() -> None:
    _nothing()


@pytest.fixture
def called(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The actions, as policies name them, of all calls to ECS, EC2 and CloudWatch Logs from now on."""
    found: list[str] = []
    made = boto3.session.Session()
    services = {"ECS": "ecs", "EC2": "ec2", "CloudWatch Logs": "logs"}

    def note(model: Any, **_: Any) -> None:
        service = services.get(model.service_model.service_id)
        if service:
            found.append(f"{service}:{model.name}")

    made.events.register("before-call", note)
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", made)
    return found


@pytest.fixture
def daemon(aws: Aws, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A task of the daemon on the emulated ECS, which this process takes itself for; gives the cluster's name."""
    ecs, ec2 = aws.client("ecs"), aws.client("ec2")
    cluster, subnet = "lake", ec2.describe_subnets()["Subnets"][0]["SubnetId"]
    ecs.create_cluster(clusterName=cluster)
    for name in ("daemon", "run"):
        container = {"name": name, "image": "lake", "memory": 512, "essential": True}
        ecs.register_task_definition(
            family=f"lake-{name}",
            containerDefinitions=[container],
            networkMode="awsvpc",
            requiresCompatibilities=["FARGATE"],
            cpu="512",
            memory="1024",
        )
    group = ec2.describe_security_groups()["SecurityGroups"][0]["GroupId"]
    network = {"awsvpcConfiguration": {"subnets": [subnet], "securityGroups": [group], "assignPublicIp": "DISABLED"}}
    ran = ecs.run_task(
        cluster=cluster, taskDefinition="lake-daemon", launchType="FARGATE", networkConfiguration=network
    )
    (task,) = ran["tasks"]
    told = json.dumps({"Cluster": cluster, "TaskARN": task["taskArn"], "Name": "daemon"}).encode()

    class Metadata(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(told)

        def log_message(self, format: str, *args: object) -> None: ...  # noqa: A002 (its own name for it)

    with HTTPServer(("127.0.0.1", 0), Metadata) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("ECS_CONTAINER_METADATA_URI_V4", f"http://127.0.0.1:{server.server_port}")
        monkeypatch.setenv("ECS_CONTAINER_METADATA_URI", f"http://127.0.0.1:{server.server_port}")
        yield cluster
        server.shutdown()


def test_a_run_is_a_task_of_the_deployed_definition_and_its_role_allows_every_call(
    aws: Aws, daemon: str, called: list[str], tmp_path: Path, synthesized: Synthesize
) -> None:
    overrides = {
        "run_launcher": {
            "module": "dagster_aws.ecs",
            "class": "EcsRunLauncher",
            "config": {
                "task_definition": "lake-run",
                "container_name": "run",
                "secrets_tag": None,
                "use_current_ecs_task_config": True,
            },
        }
    }
    with DagsterInstance.local_temp(str(tmp_path), overrides=overrides) as instance:
        origin = dg.reconstructable(_job).get_python_origin()
        run = instance.create_run_for_job(_job, job_code_origin=origin)
        launcher = instance.run_launcher
        launcher.launch_run(LaunchRunContext(run, workspace=None))
        kept = instance.get_run_by_id(run.run_id)
        assert kept is not None
        (task,) = aws.client("ecs").describe_tasks(cluster=daemon, tasks=[kept.tags["ecs/task_arn"]])["tasks"]
        assert task["taskDefinitionArn"].rpartition("/")[2] == "lake-run:1"
        (override,) = task["overrides"]["containerOverrides"]
        assert override["name"] == "run"
        assert override["command"][:3] == ["dagster", "api", "execute_run"]
        launcher.check_run_worker_health(kept)
        launcher.terminate(run.run_id)
    allowed = {
        action
        for where, statement in synthesized("staging").statements
        if where.startswith("orchestration/ControlRole")
        for action in listed(statement["Action"])
    }
    assert {"ecs:RunTask", "ecs:StopTask"} <= {*called}
    assert {*called} <= allowed
