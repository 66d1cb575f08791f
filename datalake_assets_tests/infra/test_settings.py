"""Settings of the infrastructure: what can't be deployed is refused before anything is, with what to write instead."""

import re
from dataclasses import fields, replace
from functools import partial
from pathlib import Path

import pytest

from infra.settings import ENVIRONMENTS, Settings, SettingsError, own_settings, settings_of

_PROJECT = Path(__file__).parents[2]


def test_settings_are_given_as_texts_and_read_as_what_they_are() -> None:
    given = {"account": "123456789012", "nat_gateways": "2", "emr": "true", "region": "eu-west-1", "zones": "a,c"}
    settings = settings_of("dev", given)
    assert (settings.account, settings.nat_gateways, settings.emr) == ("123456789012", 2, True)
    assert settings.availability_zones == ["eu-west-1a", "eu-west-1c"]
    assert settings.bucket("bronze") == "datalake-dev-bronze-123456789012-eu-west-1"


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"account": "12"}, "account: '12' is no account; write its twelve digits"),
        ({"region": "Frankfurt"}, "region: 'Frankfurt' is no region; write one such as eu-west-1"),
        ({"cidr": "10.0.0.0"}, "cidr: 10.0.0.0 has not the size; write one from /16 to /18"),
        ({"cidr": "10.0.0.0/24"}, "cidr: 10.0.0.0/24 has not the size"),
        ({"cidr": "2001:db8::/32"}, "cidr: .* write one such as 10.10.0.0/16"),
        ({"cidr": "10.0.0.1/16"}, "cidr: 10.0.0.1/16 has host bits set; write one such as 10.10.0.0/16"),
        ({"nat_gateways": "some"}, "nat_gateways: 'some' is no whole number"),
        ({"emr": "maybe"}, "emr: 'maybe' is neither true nor false"),
        ({"log_days": "8"}, r"log_days: write one of \(7, 30"),
        ({"source": "external", "nat_gateways": "1"}, "source: an external one needs source_secret and source_cidr"),
        ({"source": "aurora"}, "set nat_gateways or interface_endpoints"),
        ({"mysql_replica": "true"}, "mysql_replica: there is no source to replicate"),
        ({"peer_account": "123456789012"}, "peer_account: a peering needs peer_vpc"),
        ({"datasets": "/nowhere"}, "datasets: /nowhere is no folder"),
        ({"colour": "blue"}, "colour: there is no such setting; infra/settings.py has them all"),
        ({"redshfit": "true"}, "redshfit: there is no such setting; did you mean redshift?"),
        ({"dagster": "esc"}, r"dagster: write one of \('none', 'ecs', 'hybrid'\), not esc"),
        ({"source": "postgres", "nat_gateways": "1"}, "source: write one of"),
        ({"region": "us-gov-west-1"}, "no China, GovCloud"),
        ({"zones": "eu-central-1a,eu-central-1b"}, "is no list of two zones' letters or more; write one such as a,b"),
        ({"zones": "a"}, "zones: 'a' is no list of two"),
        ({"replication_capacity": "3"}, "replication_capacity: write one of"),
        ({"version_days": "0"}, "version_days: it can't be 0"),
        ({"webserver_certificate": "mine"}, "webserver_certificate: 'mine' is no ARN of a certificate of ACM"),
        ({"zones": "a,b,a"}, "zones: 'a,b,a' is no list"),
        ({"alarm_email": "nobody"}, "alarm_email: 'nobody' is no address"),
        ({"peer_vpc": "vpc-1"}, "peer_account: a peering needs"),
        ({"archive": "true", "archive_region": "us-east-1"}, "archive_region: the lake is in us-east-1 too"),
    ],
)
def test_what_cannot_be_deployed_is_refused(changes: dict[str, str], told: str) -> None:
    with pytest.raises(SettingsError, match=told):
        settings_of("dev", changes)


@pytest.mark.parametrize(
    ("context", "told"),
    [
        ({"redshfit": "true"}, r"redshfit: there is no such setting; did you mean redshift\?"),
        ({"env": "test"}, "'test' is no environment"),
        ({"account": "12", "cli-telemetry": False}, "account: '12' is no account"),
        ({"datasets": "{empty}"}, "no dataset file"),
    ],
)
def test_the_command_line_ends_with_what_is_wrong_and_no_traceback(
    context: dict[str, object], told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from infra import app

    given = {name: str(tmp_path) if value == "{empty}" else value for name, value in context.items()}
    monkeypatch.setattr(app, "new_app", partial(app.new_app, tmp_path / "out", context=given))
    with pytest.raises(SystemExit, match=told):
        app.main()


def test_ones_own_file_is_read_below_what_is_given(tmp_path: Path) -> None:
    own = tmp_path / "own.toml"
    assert own_settings("dev", own) == {}
    own.write_text('[all]\nregion = "eu-central-1"\nbudget = 70\n[prod]\naccount = "444455556666"\nredshift = false\n')
    prod, dev = (settings_of(env, {**own_settings(env, own), "budget": "9"}) for env in ("prod", "dev"))
    assert (prod.region, prod.account, prod.redshift, prod.budget) == ("eu-central-1", "444455556666", False, 9)
    assert (dev.region, dev.account) == ("eu-central-1", ENVIRONMENTS["dev"].account)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[production]\na = 1", "own.toml: production is no table"),
        ("region = 'x'", "region is no table"),
        ("[all", "own.toml: "),
    ],
)
def test_a_file_of_ones_own_that_is_wrong_is_refused(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "own.toml").write_text(text)
    with pytest.raises(SettingsError, match=told):
        own_settings("prod", tmp_path / "own.toml")


def test_networks_that_overlap_are_not_peered() -> None:
    peer = {
        "peer_account": "123456789012",
        "peer_vpc": "vpc-1",
        "peer_region": "eu-west-1",
        "peer_cidr": "10.10.9.0/24",
    }
    with pytest.raises(SettingsError, match=r"peer_cidr: 10\.10\.9\.0/24 overlaps 10\.10\.0\.0/16"):
        settings_of("dev", peer)


def test_an_unknown_environment_is_refused_with_those_there_are() -> None:
    with pytest.raises(SettingsError, match="'test' is no environment; write one of dev, staging, prod"):
        settings_of("test", {})


def test_environments_stand_in_accounts_and_networks_of_their_own() -> None:
    assert len({s.account for s in ENVIRONMENTS.values()}) == len({s.cidr for s in ENVIRONMENTS.values()}) == 3
    assert [name for name, s in ENVIRONMENTS.items() if s.protects] == ["staging", "prod"]


def test_dev_costs_next_to_nothing_while_nobody_uses_it() -> None:
    dev = ENVIRONMENTS["dev"]
    assert (dev.nat_gateways, dev.interface_endpoints, dev.source, dev.kinesis, dev.emr) == (
        0,
        False,
        "none",
        False,
        False,
    )


def test_bucket_names_are_such_as_s3_takes() -> None:
    longest = replace(ENVIRONMENTS["staging"], region="ap-southeast-4")
    assert all(len(longest.bucket(zone)) <= 63 for zone in ("quarantine", "artifacts", "archive"))


def test_the_guides_name_settings_that_there_are() -> None:
    known = {field.name for field in fields(Settings)}
    for guide in ("aws", "deploy", "runbooks"):
        text = (_PROJECT / "docs" / f"{guide}.md").read_text()
        given = set(re.findall(r"-c (\w+)=", text))
        assert given <= known, guide
    table = re.findall(r"^\| [^|]+ \| [^|]+ \| ([^|]+) \|", (_PROJECT / "docs" / "aws.md").read_text(), re.MULTILINE)
    switches = {name for cell in table for name in re.findall(r"`(\w+)(?:=\w+)?`", cell)}
    assert switches
    assert switches <= known


def test_the_agent_of_dagster_plus_is_of_the_version_that_the_lake_is_tested_with() -> None:
    pinned = re.search(r"^dagster-cloud==(.+)$", (_PROJECT / "constraints.txt").read_text(), re.MULTILINE)
    assert pinned is not None
    assert all(s.dagster_agent.endswith(f":{pinned[1]}") for s in ENVIRONMENTS.values())


@pytest.mark.parametrize(
    ("env", "given", "told"),
    [
        ("dev", {"dagster": "ecs"}, "tasks reach no registry"),
        ("staging", {"dagster": "hybrid"}, "dagster_organization"),
        ("staging", {"redshift": True}, "it wants 3 zones"),
        ("dev", {"slack_channel": "C1"}, "slack_workspace"),
        ("dev", {"github": "octo"}, "octo/lake"),
        ("prod", {"webserver_clients": "10.0.0.1/8"}, "webserver_clients, 1"),
        ("staging", {"source_name": "my-shop"}, "source_name: Aurora takes letters, digits and underscores"),
    ],
)
def test_what_could_not_run_or_be_reached_is_refused(env: str, given: dict[str, object], told: str) -> None:
    with pytest.raises(SettingsError, match=told):
        settings_of(env, given)
