"""Dagster on ECS: its tasks are told what the lake and Dagster read, and may do what they call and no more."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from datalake_assets.settings import Settings
from datalake_assets_tests.infra.conftest import Synthesize
from datalake_assets_tests.infra.templates import Synthesized, listed
from infra import agent

_PROJECT = Path(__file__).parents[2]
_RUNNERS = _PROJECT / "datalake_assets" / "resources" / "runners"
_QUEUE = "https://sqs.us-east-1.amazonaws.com/222222222222/datalake-staging-landing"
_TOLD_AT_DEPLOYMENT = {"DATALAKE_QUEUE_URL": _QUEUE}
_PARTS = ("AWS::ECS::TaskDefinition", "AWS::ECS::Service")

pytestmark = pytest.mark.xdist_group("infra")


def _containers(made: Synthesized) -> dict[str, dict[str, Any]]:
    """The one container of each task, by its name."""
    tasks = made.resources(_PARTS[0]).values()
    found = [container for task in tasks for container in task["ContainerDefinitions"]]
    return {container["Name"]: container for container in found}


def _environment(container: dict[str, Any]) -> dict[str, str]:
    """A container's variables; in the place of what only a deployment knows, something of its form."""
    told = {entry["Name"]: entry["Value"] for entry in container["Environment"]}
    return {n: v if isinstance(v, str) else _TOLD_AT_DEPLOYMENT.get(n, "told-at-deployment") for n, v in told.items()}


def _secrets(container: dict[str, Any]) -> set[str]:
    return {secret["Name"] for secret in container.get("Secrets", ())}


def _actions(made: Synthesized, role: str) -> dict[str, list[Any]]:
    """What a role of the orchestration may do: the resources of each action."""
    found: dict[str, list[Any]] = {}
    for where, statement in made.statements:
        if where.startswith(f"orchestration/{role}"):
            for action in listed(statement["Action"]):
                found.setdefault(action, []).extend(listed(statement["Resource"]))
    for where, policy in made.resources("AWS::IAM::ManagedPolicy").items():
        if role == "LakeRole" and where.startswith("processing/FollowRuns"):
            for statement in policy["PolicyDocument"]["Statement"]:
                found |= {action: listed(statement["Resource"]) for action in listed(statement["Action"])}
    return found


def _lake_settings(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Settings:
    for name, value in environment.items():
        if name.startswith("DATALAKE_"):
            monkeypatch.setenv(name, value)
    return Settings()


@pytest.mark.parametrize("container", ["code", "run"])
def test_the_lake_takes_what_the_tasks_are_told_and_its_zones_are_the_templates_buckets(
    staging: Synthesized, container: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = _lake_settings(_environment(_containers(staging)[container]), monkeypatch)
    assert told.layout == staging.settings.layout
    buckets = {bucket["BucketName"] for bucket in staging.resources("AWS::S3::Bucket").values()}
    places = [*(getattr(told.layout, zone) for zone in ("root", "bronze", "silver", "gold", "quarantine"))]
    for place in (*places, told.pipes_place, told.code_place):
        assert str(place).split("/")[2] in buckets
    assert told.sensor == "sqs"
    assert told.runner == "auto"
    assert told.glue_job in {job["Name"] for job in staging.resources("AWS::Glue::Job").values()}


def test_every_variable_of_the_lake_that_tasks_are_told_is_one_that_the_lake_knows(
    synthesized: Synthesize,
) -> None:
    for name in ("staging", "prod"):
        for container in _containers(synthesized(name)).values():
            lake = {n.removeprefix("DATALAKE_").lower() for n in _environment(container) if n.startswith("DATALAKE_")}
            assert lake <= set(Settings.model_fields)


def test_where_nobody_runs_dagster_the_stack_tells_a_laptop_the_same_variables(
    synthesized: Synthesize, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = synthesized("dev")
    parts = made.templates["serving"]["Outputs"]["LakeEnvironment"]["Value"]["Fn::Join"][1]
    text = "".join(part if isinstance(part, str) else _QUEUE for part in parts)
    environment = dict(pair.split("=", 1) for pair in text.split())
    assert _lake_settings(environment, monkeypatch).layout == made.settings.layout


def test_what_the_instance_and_the_workspace_ask_for_is_told_to_every_task(staging: Synthesized) -> None:
    asked = set[str]()
    for file in (_PROJECT / "deploy").iterdir():
        asked |= set(re.findall(r"\{env: (\w+)\}", file.read_text()))
    for name, container in _containers(staging).items():
        missing = asked - set(_environment(container)) - _secrets(container)
        # A run launches no runs: it is what is launched.
        assert missing == set(), name


def test_runs_are_launched_from_the_task_definition_that_is_deployed(staging: Synthesized) -> None:
    config = yaml.safe_load((_PROJECT / "deploy" / "dagster.yaml").read_text())["run_launcher"]["config"]
    told = {e["Name"]: e["Value"] for e in _containers(staging)["daemon"]["Environment"]}["DAGSTER_RUN_TASK_DEFINITION"]
    task = staging.resources(_PARTS[0])[f"orchestration/{told['Ref']}"]
    family = task["Family"]
    assert [c["Name"] for c in task["ContainerDefinitions"]] == [config["container_name"]]
    launched = _actions(staging, "ControlRole")["ecs:RunTask"]
    assert [arn.rpartition("/")[2] for arn in launched] == [f"{family}:*"]


def test_passwords_come_by_secrets_manager_and_not_by_variables(anywhere: Synthesized) -> None:
    for container in _containers(anywhere).values():
        assert not [name for name in _environment(container) if re.search("PASSWORD|TOKEN|SECRET", name)]


def test_the_lakes_role_may_read_bronze_and_write_the_other_zones(staging: Synthesized) -> None:
    zones = {staging.settings.bucket(zone): zone for zone in ("bronze", "silver", "gold", "quarantine", "lake")}
    allowed = _actions(staging, "LakeRole")

    def reached(action: str) -> set[str]:
        buckets = {arn.split(":::")[1].split("/")[0] for arn in allowed[action]}
        return {zones[bucket] for bucket in buckets if bucket in zones}

    assert reached("s3:GetObject") == {"bronze", "silver", "gold", "quarantine", "lake"}
    assert reached("s3:PutObject") == reached("s3:DeleteObject") == {"silver", "gold", "quarantine", "lake"}
    assert not [action for action in allowed if "*" in action]


def test_what_launches_runs_can_not_read_the_lake(staging: Synthesized) -> None:
    reached = list(_actions(staging, "ControlRole")["s3:GetObject"])
    assert reached == [f"arn:aws:s3:::{staging.settings.bucket('pipes')}/dagster/*"]


@pytest.mark.parametrize(
    ("module", "service", "client"), [("glue", "glue", "_glue"), ("emr_serverless", "emr-serverless", "_emr")]
)
def test_the_lakes_role_may_call_what_the_runners_call_and_nothing_more_of_these_services(
    staging: Synthesized, module: str, service: str, client: str
) -> None:
    text = (_RUNNERS / f"{module}.py").read_text()
    called = set(re.findall(rf"{client}\.(?!get_paginator|exceptions|meta)(\w+)\(", text))
    called |= set(re.findall(r'get_paginator\("(\w+)"\)', text))
    named = {f"{service}:{''.join(word.title() for word in call.split('_'))}" for call in called}
    assert {action for action in _actions(staging, "LakeRole") if action.startswith(f"{service}:")} == named


def test_nobody_outside_the_network_reaches_dagster(anywhere: Synthesized) -> None:
    for balancer in anywhere.resources("AWS::ElasticLoadBalancingV2::LoadBalancer").values():
        assert balancer["Scheme"] == "internal"
    for service in anywhere.resources(_PARTS[1]).values():
        network = service["NetworkConfiguration"]["AwsvpcConfiguration"]
        assert network["AssignPublicIp"] == "DISABLED"
    for group in anywhere.resources("AWS::EC2::SecurityGroup", stack="orchestration").values():
        for rule in group.get("SecurityGroupIngress", ()):
            assert rule.get("CidrIp") in {anywhere.settings.cidr, None}


def test_an_agent_gives_its_tasks_the_same_variables_and_serves_the_queue_that_delivery_names(
    synthesized: Synthesize, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = synthesized("extended")
    (container,) = _containers(made).values()
    told = next(e["Value"] for e in container["Environment"] if e["Name"] == agent.CONFIGURATION)
    joined = "".join(part if isinstance(part, str) else "told-at-deployment" for part in told["Fn::Join"][1])
    configuration = yaml.safe_load(joined)
    pairs = (pair.partition("=") for pair in configuration["user_code_launcher"]["config"]["env_vars"])
    environment = {name: value for name, _, value in pairs}
    environment["DATALAKE_QUEUE_URL"] = _QUEUE
    assert _lake_settings(environment, monkeypatch).layout == made.settings.layout
    script = (_PROJECT / ".ci" / "tell-dagster-plus").read_text()
    assert 'AGENT_QUEUE="datalake-$1"' in script
    assert configuration["agent_queues"]["additional_queues"] == [f"datalake-{made.settings.env}"]
    assert configuration["dagster_cloud_api"]["deployments"] == [made.settings.env]
