"""Who may do what, what is logged and what is watched: the only helpers that stacks share.

Belongs here: statements with exact actions on exact prefixes, in the place of CDK's `grant_…`, whose wildcards reach
further than the lake needs.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import aws_cdk as cdk
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_logs as logs
from constructs import Construct, IConstruct

from datalake_assets.lake.store.store_check import PROBE
from infra.settings import Settings

_LIST = ("s3:ListBucket", "s3:GetBucketLocation")
_WRITE = ("s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts")
_BELOW = "S3 can name the objects below a prefix in no other way: the actions are exact, and the prefix is the least"
NO_RESOURCES = "AWS knows no resources for these actions: logins, descriptions, and what a condition or a grant bounds"
SERVED_TABLES = "All tables of these zones are served, those of new dataset files too"
_TELL_THE_ACCOUNT = frozenset({"emr-serverless", "scheduler", "states", "vpc-flow-logs"})
"""Services whose documentation has `aws:SourceAccount` in the trust policies of roles that they take."""
_RETENTION = {
    7: logs.RetentionDays.ONE_WEEK,
    30: logs.RetentionDays.ONE_MONTH,
    90: logs.RetentionDays.THREE_MONTHS,
    180: logs.RetentionDays.SIX_MONTHS,
    365: logs.RetentionDays.ONE_YEAR,
    731: logs.RetentionDays.TWO_YEARS,
}


@dataclass(frozen=True, slots=True)
class BucketAccess:
    """Access to what lies in the lake's buckets, which go by the names of their zones, and to the key it is under."""

    settings: Settings
    key: kms.IKey

    def read(self, role: iam.Role, zone: str, *prefixes: str) -> None:
        """Let a role list and read what lies below prefixes (none: all) of a zone's bucket."""
        listed = [*prefixes, PROBE]  # by which the lake finds out whether it may list
        below = {"StringLike": {"s3:prefix": [p for prefix in listed for p in (prefix, f"{prefix}/*")]}}
        allow(role, _LIST[:1], self.bucket_arn(zone), conditions=below if prefixes else {})
        allow(role, _LIST[1:], self.bucket_arn(zone))
        self._objects(role, zone, prefixes, ("s3:GetObject",))
        allow(role, ("kms:Decrypt",), self.key.key_arn)

    def put(self, role: iam.Role, zone: str, *prefixes: str) -> None:
        """Let a role put objects below prefixes of a zone's bucket, and do nothing else there."""
        self._objects(role, zone, prefixes, ("s3:PutObject", "s3:AbortMultipartUpload"))
        allow(role, ("kms:GenerateDataKey", "kms:Decrypt"), self.key.key_arn)  # parts of an upload are decrypted

    def tag(self, role: iam.Role, zone: str, *prefixes: str) -> None:
        """Let a role tag objects below prefixes of a zone's bucket, as DMS wants to."""
        self._objects(role, zone, prefixes, ("s3:PutObjectTagging",))

    def write(self, role: iam.Role, zone: str, *prefixes: str) -> None:
        """Let a role list, read, put (on conditions too) and delete what lies below prefixes of a zone's bucket."""
        self.read(role, zone, *prefixes)
        self._objects(role, zone, prefixes, _WRITE)
        allow(role, ("kms:GenerateDataKey",), self.key.key_arn)

    def _objects(self, role: iam.Role, zone: str, prefixes: Iterable[str], actions: Iterable[str]) -> None:
        folders = [f"{prefix}/" for prefix in prefixes] or [""]
        allow(role, actions, *(f"{self.bucket_arn(zone)}/{folder}*" for folder in folders), because=_BELOW)

    def bucket_arn(self, zone: str) -> str:
        """The ARN of a zone's bucket, by its name: no stack waits for it."""
        return f"arn:aws:s3:::{self.settings.bucket(zone)}"


def role_for(scope: Construct, name: str, service: str, *, description: str) -> iam.Role:
    """A role that one service of AWS may take; where the service tells for whom it acts, for this account alone."""
    account = {"StringEquals": {"aws:SourceAccount": cdk.Stack.of(scope).account}}
    told = service.partition(".")[0] in _TELL_THE_ACCOUNT
    principal = iam.ServicePrincipal(service, conditions=account if told else None)
    return iam.Role(scope, name, assumed_by=principal, description=description)


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


def acknowledge(scope: IConstruct, rule: str, reason: str) -> None:
    """Tell cdk-nag and the reviewer why a finding is as it should be."""
    cdk.Validations.of(scope).acknowledge(cdk.Acknowledgment(id=rule, reason=reason))


def log_group(scope: Construct, name: str, settings: Settings, key: kms.IKey, *, group: str) -> logs.LogGroup:
    """An encrypted log group under a given name, whose entries expire."""
    return logs.LogGroup(
        scope,
        name,
        log_group_name=group,
        encryption_key=key,
        retention=_RETENTION[settings.log_days],
        removal_policy=removal(settings),
    )


def known_key(scope: Construct, key: kms.IKey) -> kms.IKey:
    """A key of another stack by its ARN: constructs that use it can't change its policy, nor make that stack wait."""
    return kms.Key.from_key_arn(scope, "LakeKey", key.key_arn)


def removal(settings: Settings) -> cdk.RemovalPolicy:
    """What becomes of data when its stack goes."""
    return cdk.RemovalPolicy.RETAIN if settings.protects else cdk.RemovalPolicy.DESTROY


def alarm(
    scope: Construct,
    name: str,
    metric: cloudwatch.IMetric,
    *,
    settings: Settings,
    above: float,
    told: str,
    periods: int = 1,
    missing_is_bad: bool = False,
) -> cloudwatch.Alarm:
    """An alarm while a metric is above a bound; `told` is what a person reads first: what it means and what to do."""
    missing = cloudwatch.TreatMissingData.BREACHING if missing_is_bad else cloudwatch.TreatMissingData.NOT_BREACHING
    return cloudwatch.Alarm(
        scope,
        name,
        alarm_name=f"{settings.prefix}-{name}",
        alarm_description=told,
        metric=metric,
        threshold=above,
        comparison_operator=cloudwatch.ComparisonOperator.GREATER_THAN_THRESHOLD,
        evaluation_periods=periods,
        treat_missing_data=missing,
    )
