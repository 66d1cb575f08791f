"""What a reviewer asks of each environment: who may do what, what is encrypted, open, or outlives a mistake."""

import json
import re
from typing import Any

import pytest

from datalake_assets_tests.infra.conftest import Synthesize
from datalake_assets_tests.infra.templates import Synthesized, listed

pytestmark = pytest.mark.xdist_group("infra")

_MOST_REASONS = 25
_ANY_RESOURCE = {
    "cloudwatch:PutMetricData",  # in the lake's namespace
    "ec2:DescribeNetworkInterfaces",
    "ec2:DescribeRouteTables",
    "ecr:GetAuthorizationToken",
    "ecs:DescribeTaskDefinition",
    "lakeformation:GetDataAccess",  # what the grants give
}
_SERVICES = {"logs", "xray"}
"""Actions, and services whose log deliveries and traces, that know no resources: `*` is what AWS documents."""
_OF_THE_AGENT = {"ecs", "servicediscovery", "tag"}
"""What the agent of Dagster+ makes has no name before."""


def test_nothing_that_cdk_nag_finds_is_unanswered(anywhere: Synthesized) -> None:
    found = [v["ruleName"] for plugin in anywhere.report["pluginReports"] for v in plugin["violations"]]
    assert found == []


def test_the_reasons_given_to_cdk_nag_are_few(anywhere: Synthesized) -> None:
    assert len(anywhere.acknowledged) <= _MOST_REASONS


def test_no_role_has_an_action_with_a_wildcard(anywhere: Synthesized) -> None:
    actions = {(where, a) for where, s in anywhere.statements for a in listed(s["Action"]) if "*" in a}
    assert actions == set()


def test_no_role_may_reach_every_resource(anywhere: Synthesized) -> None:
    for where, statement in anywhere.statements:
        if "*" in listed(statement["Resource"]):
            agent = _OF_THE_AGENT if anywhere.settings.dagster == "hybrid" and "ControlRole" in where else set()
            others = set(listed(statement["Action"])) - _ANY_RESOURCE
            assert {action.partition(":")[0] for action in others} <= _SERVICES | agent, where


def test_objects_are_reached_below_prefixes_of_one_bucket_each(anywhere: Synthesized) -> None:
    buckets = {anywhere.settings.bucket(zone) for zone in ("silver", "gold", "quarantine", "lake", "archive", "bronze")}
    whole = {
        (where.partition("/")[2], resource)
        for where, statement in anywhere.statements
        for resource in listed(statement["Resource"])
        if str(resource).startswith("arn:aws:s3:::") and resource.endswith("/*") and resource.count("/") == 1
    }
    assert all(resource.removeprefix("arn:aws:s3:::").removesuffix("/*") in buckets for _, resource in whole)
    readers_of_all_bronze = {w for w, r in whole if r == f"arn:aws:s3:::{anywhere.settings.bucket('bronze')}/*"}
    assert all(name.startswith("ArchiveRole") for name in readers_of_all_bronze)


def test_nobody_but_jobs_writes_the_tables(anywhere: Synthesized) -> None:
    zones = [f"arn:aws:s3:::{anywhere.settings.bucket(zone)}/" for zone in ("silver", "gold", "quarantine", "lake")]
    writers = {
        where
        for where, statement in anywhere.statements
        if {"s3:PutObject", "s3:DeleteObject"} & set(listed(statement["Action"]))
        and any(str(r).startswith(tuple(zones)) for r in listed(statement["Resource"]))
    }
    ours = {w for w in writers if not w.startswith("orchestration/")}
    assert {re.sub(r"DefaultPolicy\w+", "", where) for where in ours} <= {"processing/JobRole", "processing/EmrRole"}


def test_each_bucket_is_private_encrypted_versioned_and_logged(anywhere: Synthesized) -> None:
    for where, bucket in anywhere.resources("AWS::S3::Bucket").items():
        assert all(bucket["PublicAccessBlockConfiguration"].values()), where
        (rule,) = bucket["BucketEncryption"]["ServerSideEncryptionConfiguration"]
        is_for_logs = bucket["BucketName"] == anywhere.settings.bucket("logs")
        assert rule["ServerSideEncryptionByDefault"]["SSEAlgorithm"] == ("AES256" if is_for_logs else "aws:kms"), where
        assert bucket["VersioningConfiguration"] == {"Status": "Enabled"}, where
        assert bucket["OwnershipControls"]["Rules"] == [{"ObjectOwnership": "BucketOwnerEnforced"}], where
        is_archive = bucket["BucketName"] == anywhere.settings.bucket("archive")
        assert "LoggingConfiguration" in bucket or is_for_logs or is_archive, where
        rules = bucket["LifecycleConfiguration"]["Rules"]
        assert any("AbortIncompleteMultipartUpload" in rule for rule in rules), where


def test_each_bucket_and_queue_and_topic_takes_tls_alone(anywhere: Synthesized) -> None:
    for kind, policy in (("S3::Bucket", "S3::BucketPolicy"), ("SQS::Queue", "SQS::QueuePolicy")):
        there = {json.dumps({"Ref": where.partition("/")[2]}) for where in anywhere.resources(f"AWS::{kind}")}
        guarded = {
            json.dumps(target)
            for found in anywhere.resources(f"AWS::{policy}").values()
            for target in listed(found.get("Bucket", found.get("Queues")))
            if any(_refuses_plain(s) for s in found["PolicyDocument"]["Statement"])
        }
        assert there == guarded
    for where, topic in anywhere.resources("AWS::SNS::TopicPolicy").items():
        assert any(_refuses_plain(s) for s in topic["PolicyDocument"]["Statement"]), where


def test_all_that_can_be_encrypted_is_under_the_lakes_key(anywhere: Synthesized) -> None:
    for kind, name in (
        ("Logs::LogGroup", "KmsKeyId"),
        ("SQS::Queue", "KmsMasterKeyId"),
        ("SNS::Topic", "KmsMasterKeyId"),
        ("RDS::DBCluster", "KmsKeyId"),
        ("SecretsManager::Secret", "KmsKeyId"),
        ("Lambda::Function", "KmsKeyArn"),
        ("Scheduler::Schedule", "KmsKeyArn"),
        ("DMS::ReplicationConfig", "ComputeConfig"),
    ):
        for where, resource in anywhere.resources(f"AWS::{kind}").items():
            if kind != "Lambda::Function" or "Environment" in resource:
                assert "Key961B73FD" in json.dumps(resource[name]), where
    for where, key in anywhere.resources("AWS::KMS::Key").items():
        assert key["EnableKeyRotation"] is True, where


def test_each_key_serves_this_account_alone(anywhere: Synthesized) -> None:
    for where, key in anywhere.resources("AWS::KMS::Key").items():
        for statement in key["KeyPolicy"]["Statement"]:
            told = json.dumps([statement["Principal"], statement.get("Condition", {})])
            assert anywhere.settings.account in told, where


def test_databases_are_isolated_encrypted_and_forced_to_tls(anywhere: Synthesized) -> None:
    for where, cluster in anywhere.resources("AWS::RDS::DBCluster").items():
        assert cluster["StorageEncrypted"] is True, where
        assert cluster["DeletionProtection"] is (anywhere.settings.env != "dev"), where
        assert cluster["EnableIAMDatabaseAuthentication"] is True, where
        assert "resolve:secretsmanager" in json.dumps(cluster["MasterUserPassword"]), where
    for where, instance in anywhere.resources("AWS::RDS::DBInstance").items():
        assert instance["PubliclyAccessible"] is False, where
    forced = [p["Parameters"] for p in anywhere.resources("AWS::RDS::DBClusterParameterGroup").values()]
    assert all(p.get("rds.force_ssl") == "1" or p.get("require_secure_transport") == "ON" for p in forced)
    for where, group in anywhere.resources("AWS::RDS::DBSubnetGroup").items():
        assert "isolated" in json.dumps(group["SubnetIds"]), where
    for where, endpoint in anywhere.resources("AWS::DMS::Endpoint").items():
        assert "Password" not in endpoint, where
        assert endpoint["EngineName"] == "s3" or endpoint["SslMode"] in {"require", "verify-ca"}, where


def test_nothing_lets_the_internet_in(anywhere: Synthesized) -> None:
    anyone = {"0.0.0.0/0", "::/0"}
    rules = [
        g
        for group in anywhere.resources("AWS::EC2::SecurityGroup").values()
        for g in group.get("SecurityGroupIngress", [])
    ]
    rules += anywhere.resources("AWS::EC2::SecurityGroupIngress").values()
    assert all(rule.get("CidrIp", rule.get("CidrIpv6")) not in anyone for rule in rules)


def test_whatever_leaves_the_network_leaves_by_tls(anywhere: Synthesized) -> None:
    for where, group in anywhere.resources("AWS::EC2::SecurityGroup").items():
        for rule in group.get("SecurityGroupEgress", []):
            if rule.get("CidrIp") == "0.0.0.0/0":
                assert (rule["IpProtocol"], rule["FromPort"], rule["ToPort"]) == ("tcp", 443, 443), where


def test_services_in_the_network_serve_this_account_alone(anywhere: Synthesized) -> None:
    for where, endpoint in anywhere.resources("AWS::EC2::VPCEndpoint").items():
        if endpoint["VpcEndpointType"] == "Interface":
            (statement,) = endpoint["PolicyDocument"]["Statement"]
            assert statement["Condition"] == {"StringEquals": {"aws:PrincipalAccount": anywhere.settings.account}}, (
                where
            )


def test_the_ingest_api_asks_for_signatures_is_throttled_and_logged(anywhere: Synthesized) -> None:
    routes = anywhere.resources("AWS::ApiGatewayV2::Route").values()
    assert {route["RouteKey"]: route["AuthorizationType"] for route in routes} == {
        "POST /ingest/{source}": "AWS_IAM",
        "GET /health": "AWS_IAM",
    }
    (stage,) = anywhere.resources("AWS::ApiGatewayV2::Stage").values()
    assert stage["DefaultRouteSettings"]["ThrottlingRateLimit"] == anywhere.settings.ingest_rate
    assert stage["AccessLogSettings"]["DestinationArn"]
    (api,) = anywhere.resources("AWS::ApiGatewayV2::Api").values()
    origins = anywhere.settings.listed("ingest_origins")
    assert api.get("CorsConfiguration", {}).get("AllowOrigins", []) == origins
    assert "*" not in origins


def test_what_a_mistake_must_not_take_is_kept_outside_dev(anywhere: Synthesized) -> None:
    kept = "RetainExceptOnCreate" if anywhere.settings.env != "dev" else "Delete"
    for stack, template in anywhere.templates.items():
        for name, resource in template["Resources"].items():
            # What a failed creation left under its fixed name would fail the next.
            assert resource.get("DeletionPolicy") != "Retain", f"{stack}/{name}"
            if resource["Type"] in {"AWS::S3::Bucket", "AWS::KMS::Key"}:
                assert resource["DeletionPolicy"] == kept, f"{stack}/{name}"
    manifest = json.loads((anywhere.out / "manifest.json").read_text())
    stacks = [a["properties"] for a in manifest["artifacts"].values() if a["type"] == "aws:cloudformation:stack"]
    assert {stack.get("terminationProtection", False) for stack in stacks} == {anywhere.settings.env != "dev"}


def test_dev_with_dagster_and_databases_can_be_made_and_taken_away(synthesized: Synthesize) -> None:
    made = synthesized("dev with dagster")
    for stack, template in made.templates.items():
        for name, resource in template["Resources"].items():
            assert resource.get("DeletionPolicy", "Delete") == "Delete", f"{stack}/{name}"
            assert resource.get("Properties", {}).get("DeletionProtection", False) is False, f"{stack}/{name}"
    (repository,) = made.resources("AWS::ECR::Repository").values()
    assert repository["EmptyOnDelete"] is True


@pytest.mark.parametrize("kind", ["DMS::Endpoint", "QuickSight::DataSource", "LakeFormation::Resource"])
def test_what_tries_its_role_when_it_is_made_waits_for_the_rights(synthesized: Synthesize, kind: str) -> None:
    templates = synthesized("extended").templates.values()
    made = [r for template in templates for r in template["Resources"].values() if r["Type"] == f"AWS::{kind}"]
    assert made
    assert all(any("DefaultPolicy" in name for name in resource["DependsOn"]) for resource in made)


def test_no_template_holds_a_secret(anywhere: Synthesized) -> None:
    for stack, template in anywhere.templates.items():
        text = json.dumps(template)
        assert not re.search(r"AKIA[0-9A-Z]{16}|BEGIN [A-Z ]*PRIVATE KEY", text), stack
        passwords = [m for m in re.findall(r'"(?:Master\w*)?Password": ("[^"]*")', text) if "resolve:" not in m]
        assert passwords == [], stack


def test_everything_that_can_be_tagged_tells_its_environment(anywhere: Synthesized) -> None:
    for kind in ("AWS::S3::Bucket", "AWS::KMS::Key", "AWS::RDS::DBCluster", "AWS::Lambda::Function", "AWS::Glue::Job"):
        for where, resource in anywhere.resources(kind).items():
            tags = resource["Tags"]
            told = tags if isinstance(tags, dict) else {tag["Key"]: tag["Value"] for tag in tags}
            assert told["environment"] == anywhere.settings.env, where


def test_synthesis_asks_no_account_for_anything(anywhere: Synthesized) -> None:
    manifest = json.loads((anywhere.out / "manifest.json").read_text())
    assert "missing" not in manifest


def _refuses_plain(statement: dict[str, Any]) -> bool:
    condition = json.dumps(statement.get("Condition", {}))
    return statement["Effect"] == "Deny" and '"aws:SecureTransport": "false"' in condition


def test_the_agent_may_tag_the_services_that_it_makes(synthesized: Synthesize) -> None:
    made = synthesized("extended")
    own = made.settings.arn("ecs", f"service/{made.settings.prefix}/*")
    (tagging,) = (s for _, s in made.statements if s["Resource"] == own and "ecs:TagResource" in listed(s["Action"]))
    assert tagging["Condition"] == {"StringEquals": {"ecs:CreateAction": "CreateService"}}


def test_services_take_roles_for_this_account_alone(anywhere: Synthesized) -> None:
    for where, role in anywhere.resources("AWS::IAM::Role").items():
        is_fixed = role.get("RoleName", "").startswith("dms-")
        for trust in role["AssumeRolePolicyDocument"]["Statement"]:
            service = json.dumps(trust["Principal"].get("Service", ""))
            if service != '""' and not is_fixed and not where.startswith("governance/TrailLogsRole"):
                (told,) = trust["Condition"].values()
                assert told == {"aws:SourceAccount": anywhere.settings.account}, where
            if re.search("dms|ecs-tasks|firehose|glue", service) and not is_fixed:
                assert "StringEquals" in trust["Condition"], where


def test_roles_use_the_key_by_way_of_the_service_that_they_ask(anywhere: Synthesized) -> None:
    # Who starts a Lambda, a schedule or a schema at deployment decrypts its own.
    itself = re.compile(
        r"processing/FallbackStarter|serving/Caller|streams/(ingest|validate)Role|sources/\w+SecretRole"
    )
    own = 0
    for where, statement in anywhere.statements:
        if "kms:Decrypt" in listed(statement["Action"]) and "ArchiveRole" not in where:
            services = statement.get("Condition", {}).get("StringEquals", {}).get("kms:ViaService", "")
            assert services.endswith(f".{anywhere.settings.region}.amazonaws.com") or itself.match(where), where
            own += bool(services)
    assert own


@pytest.mark.parametrize("role", ["streams/validateRole", "streams/Role", "sources/LakeRole"])
def test_who_asks_for_keys_that_may_be_missing_may_list_the_bucket(staging: Synthesized, role: str) -> None:
    bronze = f"arn:aws:s3:::{staging.settings.bucket('bronze')}"
    mine = [s for where, s in staging.statements if where.startswith(role) and s["Resource"] == bronze]
    assert any("s3:ListBucket" in listed(s["Action"]) and "Condition" not in s for s in mine)


def test_no_other_trail_writes_among_the_logs(staging: Synthesized) -> None:
    (trail,) = staging.resources("AWS::CloudTrail::Trail").values()
    own = {"StringEquals": {"aws:SourceArn": staging.settings.arn("cloudtrail", f"trail/{trail['TrailName']}")}}
    policies = staging.resources("AWS::S3::BucketPolicy", stack="storage").values()
    statements = [s for policy in policies for s in policy["PolicyDocument"]["Statement"]]
    taken = [s for s in statements if s["Principal"] == {"Service": "cloudtrail.amazonaws.com"}]
    assert sorted(s["Action"] for s in taken) == ["s3:GetBucketAcl", "s3:PutObject"]
    assert all(s["Condition"] == own for s in taken)
