"""What stacks share, and the only helpers: who may do what, what is logged, and how data are kept from harm.

Belongs here: statements with exact actions on exact prefixes, in the place of CDK's `grant_…`, whose wildcards reach
further than the lake needs.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_logs as logs
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sqs as sqs
from constructs import Construct, IConstruct

from datalake_assets.lake.store.store_check import PROBE
from infra.settings import LOG_DAYS, Settings

_WRITE = ("s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts")
_BELOW = "S3 can name the objects below a prefix in no other way: the actions are exact, and the prefix is the least"
_QUERY = ("StartQueryExecution", "StopQueryExecution", "GetQueryExecution", "GetQueryResults", "GetWorkGroup")
NO_RESOURCES = "AWS knows no resources for these actions: logins, descriptions, and what a condition or a grant bounds"
SERVED_TABLES = "All tables of these zones are served, those of new dataset files too"
PUT_LOGS = ("logs:CreateLogStream", "logs:PutLogEvents")
RUN_JOBS = ("glue:StartJobRun", "glue:GetJobRun", "glue:GetJobRuns", "glue:BatchStopJobRun")
_TELL_THE_ACCOUNT = frozenset(
    {"dms", "ecs-tasks", "emr-serverless", "firehose", "glue", "scheduler", "states", "vpc-flow-logs"}
)
"""Services whose documentation has `aws:SourceAccount` in the trust policies of roles that they take."""
_KEPT = (logs.RetentionDays.ONE_WEEK, logs.RetentionDays.ONE_MONTH, logs.RetentionDays.THREE_MONTHS)
_KEPT_LONGER = (logs.RetentionDays.SIX_MONTHS, logs.RetentionDays.ONE_YEAR, logs.RetentionDays.TWO_YEARS)
_RETENTION = dict(zip(LOG_DAYS, _KEPT + _KEPT_LONGER, strict=True))


class LakeStack(cdk.Stack):
    """A stack of an environment, named after it, in its account and region unless others are told."""

    key: kms.IKey

    def __init__(self, scope: Construct, name: str, settings: Settings, **env: str) -> None:
        where = cdk.Environment(**{"account": settings.account, "region": settings.region, **env})
        super().__init__(scope, f"{settings.prefix}-{name}", env=where)
        self.settings = settings

    def know_key(self, key: kms.IKey) -> None:
        """Take the lake's key by its ARN: constructs can't change its policy then, nor make its stack wait."""
        self.key = kms.Key.from_key_arn(self, "LakeKey", key.key_arn)

    def log_group(self, name: str, group: str) -> logs.LogGroup:
        """A log group under a given name, encrypted with `key`, whose entries expire."""
        days, policy = _RETENTION[self.settings.log_days], removal(self.settings)
        return logs.LogGroup(
            self, name, log_group_name=group, encryption_key=self.key, retention=days, removal_policy=policy
        )

    def queue(self, name: str, days: int, **more: Any) -> sqs.Queue:
        """A queue, encrypted with `key`, that keeps messages for some days."""
        queue = sqs.Queue(
            self,
            name.title().replace("-", ""),
            encryption=sqs.QueueEncryption.KMS,
            encryption_master_key=self.key,
            enforce_ssl=True,
            retention_period=cdk.Duration.days(days),
            **{"queue_name": f"{self.settings.prefix}-{name}", **more},
        )
        if "dead" in name:
            acknowledge(queue, "AwsSolutions-SQS3", "It is the dead-letter queue itself")
        return queue


@dataclass(frozen=True, slots=True)
class BucketAccess:
    """Access to what lies in the lake's buckets, which go by the names of their zones, and to the key it is under."""

    settings: Settings
    key: kms.IKey

    def read(self, role: iam.Role, zone: str, *prefixes: str) -> None:
        """Let a role list and read what lies below prefixes (none: all) of a zone's bucket."""
        listed = [*prefixes, PROBE]  # by which the lake finds out whether it may list
        below = {"StringLike": {"s3:prefix": [p for prefix in listed for p in (prefix, f"{prefix}/*")]}}
        allow(role, ["s3:ListBucket"], self.bucket_arn(zone), conditions=below if prefixes else {})
        allow(role, ["s3:GetBucketLocation"], self.bucket_arn(zone))
        self._objects(role, zone, prefixes, ["s3:GetObject"])
        use_key(role, self.key, ["kms:Decrypt"], "s3")

    def put(self, role: iam.Role, zone: str, *prefixes: str) -> None:
        """Let a role put objects below prefixes of a zone's bucket, and do nothing else there."""
        self._objects(role, zone, prefixes, ["s3:PutObject", "s3:AbortMultipartUpload"])
        use_key(role, self.key, ["kms:GenerateDataKey", "kms:Decrypt"], "s3")  # parts of an upload are decrypted

    def tag(self, role: iam.Role, zone: str, *prefixes: str) -> None:
        """Let a role tag objects below prefixes of a zone's bucket, as DMS wants to."""
        self._objects(role, zone, prefixes, ["s3:PutObjectTagging"])

    def write(self, role: iam.Role, zone: str, *prefixes: str) -> None:
        """Let a role list, read, put (on conditions too) and delete what lies below prefixes of a zone's bucket."""
        self.read(role, zone, *prefixes)
        self._objects(role, zone, prefixes, _WRITE)
        use_key(role, self.key, ["kms:GenerateDataKey"], "s3")

    def query(self, role: iam.Role, workgroup: str, results: str) -> None:
        """Let a role ask Athena in a workgroup, whose results lie in a folder of their own."""
        allow(role, [f"athena:{action}" for action in _QUERY], self.settings.arn("athena", f"workgroup/{workgroup}"))
        self.write(role, "athena", results)

    def find(self, role: iam.Role, zone: str) -> None:
        """Let a role list all of a zone's bucket: without, S3 says that a key is forbidden where it is missing."""
        allow(role, ["s3:ListBucket"], self.bucket_arn(zone))

    def _objects(self, role: iam.Role, zone: str, prefixes: Iterable[str], actions: Iterable[str]) -> None:
        folders = [f"{prefix}/" for prefix in prefixes] or [""]
        allow(role, actions, *(f"{self.bucket_arn(zone)}/{folder}*" for folder in folders), because=_BELOW)

    def bucket_arn(self, zone: str) -> str:
        """The ARN of a zone's bucket, by its name: no stack waits for it."""
        return f"arn:aws:s3:::{self.settings.bucket(zone)}"


def role_for(
    scope: Construct, name: str, service: str | iam.IPrincipal, description: str | None = None, **more: Any
) -> iam.Role:
    """A role for services of AWS (with spaces between) that act for this account, or for another principal."""
    if isinstance(service, str):
        # Some tell for whom they act, by their documentation; of others what they tell must be true.
        tell = service.partition(".")[0] in _TELL_THE_ACCOUNT
        told = {"StringEquals" if tell else "StringEqualsIfExists": {"aws:SourceAccount": cdk.Stack.of(scope).account}}
        principals = (iam.ServicePrincipal(f"{s}.amazonaws.com", conditions=told) for s in service.split())
        service = iam.CompositePrincipal(*principals)
    return iam.Role(scope, name, assumed_by=service, description=description, **more)


def use_key(role: iam.Role, key: kms.IKey, actions: Iterable[str], service: str) -> None:
    """Let a role use a key by way of a service of AWS that does what the role asks for, and in no other way."""
    via = {"StringEquals": {"kms:ViaService": f"{service}.{cdk.Stack.of(role).region}.amazonaws.com"}}
    allow(role, actions, key.key_arn, conditions=via)


def allow(
    role: iam.Role,
    actions: Iterable[str],
    *resources: str,
    conditions: Mapping[str, object] | None = None,
    because: str = "",
) -> None:
    """Let a role do exactly these actions on exactly these resources.

    `because` is for resources with a `*`: why none narrower can be named, as a reviewer reads it. cdk-nag refuses those
    without.
    """
    role.add_to_policy(iam.PolicyStatement(actions=list(actions), resources=list(resources), conditions=conditions))
    for resource in resources if because else ():
        acknowledge(role, f"AwsSolutions-IAM5[Resource::{resource}]", because)


def allow_catalogue(role: iam.Role, actions: Iterable[str], settings: Settings, zones: Iterable[str], why: str) -> None:
    """Let a role do something in the Glue catalogue, with all tables of zones."""
    names = [settings.database(zone) for zone in zones]
    found = [f"{kind}/{name}{rest}" for kind, rest in (("database", ""), ("table", "/*")) for name in names]
    allow(role, [f"glue:{a}" for a in actions], *(settings.arn("glue", r) for r in ("catalog", *found)), because=why)


def allow_services(
    resource: kms.Key | sns.Topic | s3.Bucket,
    actions: Iterable[str],
    target: str,
    services: Iterable[str],
    conditions: Mapping[str, object],
) -> None:
    """Let services of AWS do something with a resource, by its own policy: one statement for each."""
    for service in services:
        statement = iam.PolicyStatement(
            actions=list(actions),
            resources=[target],
            principals=[iam.ServicePrincipal(f"{service}.amazonaws.com")],
            conditions=conditions,
        )
        resource.add_to_resource_policy(statement)


def acknowledge(scope: IConstruct, rule: str, reason: str) -> None:
    """Tell cdk-nag and the reviewer why a finding is as it should be."""
    cdk.Validations.of(scope).acknowledge(cdk.Acknowledgment(id=rule, reason=reason))


def resource_of(construct: IConstruct) -> Any:
    """What a construct is made of in CloudFormation, to set what the construct does not offer."""
    return construct.node.default_child


def removal(settings: Settings) -> cdk.RemovalPolicy:
    """What becomes of data when its stack goes; what a failed creation leaves is empty, and in the way of the next."""
    return cdk.RemovalPolicy.RETAIN_ON_UPDATE_OR_DELETE if settings.protects else cdk.RemovalPolicy.DESTROY
