"""Delivery: workflows enter AWS without keys, by roles that may do one thing each, and go where the settings say."""

import json
import os
import re
import subprocess
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
import yaml

from datalake_assets_tests.infra.conftest import Synthesize
from datalake_assets_tests.infra.templates import Synthesized, listed
from infra.settings import ENVIRONMENTS
from infra.stacks.delivery import BOOTSTRAP_ROLES

_PROJECT = Path(__file__).parents[2]
_WORKFLOWS = sorted((_PROJECT / ".github" / "workflows").glob("*.yml"))
_ACCOUNTS = json.dumps({name: settings.account for name, settings in ENVIRONMENTS.items()})

pytestmark = pytest.mark.xdist_group("infra")


def _workflow(name: str) -> dict[Any, Any]:
    parsed: dict[Any, Any] = yaml.safe_load((_PROJECT / ".github" / "workflows" / f"{name}.yml").read_text())
    return parsed


def _environment_of(branch: str) -> dict[str, str] | None:
    """What the workflows find out about a branch; None where it has no environment."""
    script, variables = str(_PROJECT / ".ci" / "environment-of-branch"), {"BRANCH": branch, "ACCOUNTS": _ACCOUNTS}
    done = subprocess.run([script], env={**os.environ, **variables}, capture_output=True, text=True, check=False)
    if done.returncode:
        assert branch in done.stderr
        return None
    return dict(line.split("=") for line in done.stdout.splitlines())


@pytest.mark.parametrize(
    "branch", ["main", "staging", "test", "dev", "develop-orders", "develop-a/b", "feature", "mainline", "devel"]
)
def test_a_branch_goes_to_the_environment_whose_settings_name_it(branch: str) -> None:
    named = [s for s in ENVIRONMENTS.values() if any(fnmatch(branch, pattern) for pattern in s.listed("branches"))]
    told = _environment_of(branch)
    assert told == ({"environment": named[0].env, "account": named[0].account} if named else None)


def test_what_is_deployed_on_a_push_is_what_the_settings_name() -> None:
    patterns = {pattern for s in ENVIRONMENTS.values() for pattern in s.listed("branches")}
    # YAML reads the key `on` as true; GitHub's ** also takes slashes.
    pushed = _workflow("deploy")[True]["push"]["branches"]
    assert {branch.replace("**", "*") for branch in pushed} == patterns


@pytest.mark.parametrize("file", _WORKFLOWS, ids=lambda file: file.name)
def test_actions_are_pinned_by_commit_and_tell_their_version(file: Path) -> None:
    for line in re.findall(r"uses: (.+)", file.read_text()):
        assert line.startswith("./") or re.fullmatch(r"[\w.-]+/[\w.-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", line), line


@pytest.mark.parametrize("file", _WORKFLOWS, ids=lambda file: file.name)
def test_workflows_may_read_the_repository_and_jobs_ask_for_what_they_need_besides(file: Path) -> None:
    parsed = yaml.safe_load(file.read_text())
    assert parsed["permissions"] == {"contents": "read"}
    for name, job in parsed["jobs"].items():
        more = {permission for permission, access in job.get("permissions", {}).items() if access == "write"}
        assert more <= {"id-token", "pull-requests"}, name
        enters = any("configure-aws-credentials" in step.get("uses", "") for step in job.get("steps", ()))
        assert ("id-token" in more) == (enters or "uses" in job), name


@pytest.mark.parametrize("file", _WORKFLOWS, ids=lambda file: file.name)
def test_no_key_of_aws_is_stored_and_no_input_is_pasted_into_a_script(file: Path) -> None:
    text = file.read_text()
    assert set(re.findall(r"secrets\.(\w+)", text)) <= {"DAGSTER_CLOUD_API_TOKEN"}
    for job in yaml.safe_load(text)["jobs"].values():
        for step in job.get("steps", ()):
            assert "${{" not in step.get("run", "")


def test_pull_requests_are_linted_tested_synthesized_and_shown_what_would_change() -> None:
    ci = _workflow("ci")
    assert "pull_request" in ci[True]
    commands = [step.get("run", "") for job in ci["jobs"].values() for step in job["steps"]]
    for wanted in ("make lint", "make test", "make synth"):
        assert wanted in commands
    assert any("cdk" in command and "diff" in command for command in commands)
    assert any("gh pr comment" in command for command in commands)


def test_a_pull_request_is_shown_what_the_deployment_would_be_told() -> None:
    (shown,) = (s["env"]["APP"] for s in _workflow("ci")["jobs"]["diff"]["steps"] if "APP" in s.get("env", {}))
    assert shown.replace("steps.where", "needs.where") == _workflow("deploy")["jobs"]["build"]["env"]["APP"]


def test_no_package_is_built_where_a_deployment_enters_aws() -> None:
    jobs = _workflow("deploy")["jobs"]
    assert "permissions" not in jobs["build"]
    assert "build" in jobs["deploy"]["needs"]
    commands = [step.get("run", "") for step in jobs["deploy"]["steps"]]
    assert not any(re.search(r"\b(make|pip)\b|npm ci(?! --ignore-scripts)", command) for command in commands)


def test_a_deployment_waits_for_the_checks_and_for_whoever_guards_its_environment() -> None:
    jobs = _workflow("deploy")["jobs"]
    assert "checks" in jobs["deploy"]["needs"]
    assert jobs["checks"]["uses"] == "./.github/workflows/ci.yml"
    assert jobs["deploy"]["environment"] == "${{ needs.where.outputs.environment }}"


def test_the_workflows_take_the_roles_and_fill_the_places_that_are_deployed(synthesized: Synthesize) -> None:
    made = synthesized("extended")
    settings = made.settings
    text = "".join(file.read_text() for file in _WORKFLOWS)
    taken = set(re.findall(r":role/datalake-\$\{\{ [\w.]+ \}\}-(\w+)", text))
    roles = made.resources("AWS::IAM::Role", stack="delivery").values()
    assert {role["RoleName"] for role in roles} == {f"{settings.prefix}-{name}" for name in taken}
    (repository,) = made.resources("AWS::ECR::Repository").values()
    assert repository["RepositoryName"] == settings.prefix
    filled = "s3://datalake-$ENV-artifacts-$ACCOUNT-$REGION/remote/"
    assert filled in text
    for name, value in (("$ENV", settings.env), ("$ACCOUNT", settings.account), ("$REGION", settings.region)):
        filled = filled.replace(name, value)
    assert filled == f"{settings.code_place}/"


def _role(made: Synthesized, name: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Whom a role of delivery trusts, and its statements."""
    role = made.named("AWS::IAM::Role", "RoleName", f"{made.settings.prefix}-{name}")
    (trust,) = role["AssumeRolePolicyDocument"]["Statement"]
    return trust, [s for where, s in made.statements if where.startswith(f"delivery/{name.title()}")]


def test_a_deployment_may_become_the_roles_of_the_bootstrap_and_nothing_else(synthesized: Synthesize) -> None:
    made = synthesized("extended")
    trust, (statement,) = _role(made, "deploy")
    assert statement["Action"] == "sts:AssumeRole"
    assert {arn.rpartition("cdk-hnb659fds-")[2].partition("-role-")[0] for arn in statement["Resource"]} == {
        *BOOTSTRAP_ROLES
    }
    regions = (made.settings.region, made.settings.archive_place)
    assert all(any(arn.endswith(region) for arn in statement["Resource"]) for region in regions)
    told = trust["Condition"]["StringEquals"]
    assert told["token.actions.githubusercontent.com:sub"] == "repo:octo/lake:environment:staging"
    assert told["token.actions.githubusercontent.com:aud"] == "sts.amazonaws.com"


def test_pull_requests_may_look_at_stacks_and_nothing_else(synthesized: Synthesize) -> None:
    trust, (statement,) = _role(synthesized("extended"), "diff")
    # Not the bootstrap's role for this: that one may read all that the account holds.
    assert {action.partition(":")[0] for action in statement["Action"]} == {"cloudformation"}
    assert all(":stack/datalake-staging-*/" in arn for arn in listed(statement["Resource"]))
    assert (
        trust["Condition"]["StringEquals"]["token.actions.githubusercontent.com:sub"] == "repo:octo/lake:pull_request"
    )


def test_images_can_not_be_replaced_under_their_tag(anywhere: Synthesized) -> None:
    (repository,) = anywhere.resources("AWS::ECR::Repository").values()
    assert repository["ImageTagMutability"] == "IMMUTABLE"
    assert repository["ImageScanningConfiguration"] == {"ScanOnPush": True}


def test_without_a_repository_nobody_outside_may_deploy(synthesized: Synthesize) -> None:
    assert not synthesized("dev").resources("AWS::IAM::Role", stack="delivery")
