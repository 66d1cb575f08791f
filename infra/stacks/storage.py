"""Where data lies: the key, a bucket for each zone, and the queue that tells of what lands."""

from collections.abc import Sequence

import aws_cdk as cdk
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from infra.access import BucketAccess, acknowledge, allow, removal, role_for
from infra.declared import landing_prefixes
from infra.settings import Settings
from infra.stacks.archive import archive_alias, moved

ZONES = ("bronze", "silver", "gold", "quarantine", "lake", "athena", "pipes", "artifacts")
"""The buckets: the lake's zones, its own memory (`lake`), query results, Pipes messages, and what remote jobs run."""

_PASSING = {"athena": 7, "pipes": 7}
"""Days after which what is of use for a while only expires."""
_RARELY_READ = ("bronze", "silver", "gold", "quarantine")
_SEEN_AGAIN = cdk.Duration.minutes(5)
_PATTERN_ROOM = 1_700
"""Characters that EventBridge leaves for prefixes: a pattern may have 2,048."""
_TRIES = 100
"""How often a message is shown: a sensor deletes it when the object is in silver, which takes some ticks."""


class StorageStack(cdk.Stack):
    """Data at rest.

    `key` encrypts it, `buckets` has a bucket for each of `ZONES` and `logs` for access logs. `access` lets roles reach
    what lies below prefixes, `bucket_arn` tells a bucket's ARN. `landing_queue` has a message for each object that
    lands, `landing_dead_letters` those that no sensor could do anything with.
    """

    def __init__(self, scope: Construct, name: str, settings: Settings) -> None:
        super().__init__(scope, name, env=cdk.Environment(account=settings.account, region=settings.region))
        self.settings = settings
        self.key = self._make_key()
        self.access = BucketAccess(settings, self.key)
        self.logs = self._make_log_bucket()
        self.buckets = {zone: self._make_bucket(zone) for zone in ZONES}
        self.landing_dead_letters = self._make_queue("landing-dead-letters", kept=cdk.Duration.days(14))
        dead = sqs.DeadLetterQueue(max_receive_count=_TRIES, queue=self.landing_dead_letters)
        self.landing_queue = self._make_queue(
            "landing", kept=cdk.Duration.days(4), visibility_timeout=_SEEN_AGAIN, dead_letter_queue=dead
        )
        acknowledge(self.landing_dead_letters, "AwsSolutions-SQS3", "It is the dead-letter queue itself")
        rule = landing_rule(self, "Landed", settings, landing_prefixes(settings))
        rule.add_target(targets.SqsQueue(self.landing_queue, dead_letter_queue=self.landing_dead_letters))
        if settings.archive:
            self._archive()

    def bucket_arn(self, zone: str) -> str:
        """The ARN of a zone's bucket."""
        return self.access.bucket_arn(zone)

    def _make_key(self) -> kms.Key:
        key = kms.Key(
            self,
            "Key",
            alias=self.settings.prefix,
            description=f"All data of {self.settings.prefix}",
            enable_key_rotation=True,
            removal_policy=removal(self.settings),
        )
        account = {"StringEquals": {"aws:SourceAccount": self.settings.account}}
        for service in ("events", "sns", "cloudwatch", "budgets", "cloudtrail", "delivery.logs"):
            principal = iam.ServicePrincipal(f"{service}.amazonaws.com", conditions=account)
            key.add_to_resource_policy(
                iam.PolicyStatement(
                    actions=["kms:Decrypt", "kms:DescribeKey", "kms:GenerateDataKey"],
                    resources=["*"],
                    principals=[principal],
                )
            )
        groups = f"arn:aws:logs:{self.settings.region}:{self.settings.account}:log-group:*"
        key.add_to_resource_policy(
            iam.PolicyStatement(
                actions=["kms:Encrypt", "kms:Decrypt", "kms:GenerateDataKey", "kms:DescribeKey"],
                resources=["*"],
                principals=[iam.ServicePrincipal(f"logs.{self.settings.region}.amazonaws.com")],
                conditions={"ArnLike": {"kms:EncryptionContext:aws:logs:arn": groups}},
            )
        )
        return key

    def _make_log_bucket(self) -> s3.Bucket:
        return s3.Bucket(
            self,
            "Logs",
            bucket_name=self.settings.bucket("logs"),
            encryption=s3.BucketEncryption.S3_MANAGED,  # the only kind that S3's access logs can be put under
            block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
            object_ownership=s3.ObjectOwnership.BUCKET_OWNER_ENFORCED,
            enforce_ssl=True,
            minimum_tls_version=1.2,
            versioned=True,
            removal_policy=removal(self.settings),
            lifecycle_rules=[
                s3.LifecycleRule(
                    id="expire",
                    expiration=cdk.Duration.days(365),
                    noncurrent_version_expiration=cdk.Duration.days(1),
                    abort_incomplete_multipart_upload_after=cdk.Duration.days(7),
                )
            ],
        )

    def _make_bucket(self, zone: str) -> s3.Bucket:
        settings = self.settings
        bucket = s3.Bucket(
            self,
            zone.title(),
            bucket_name=settings.bucket(zone),
            encryption=s3.BucketEncryption.KMS,
            encryption_key=self.key,
            bucket_key_enabled=True,
            block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
            object_ownership=s3.ObjectOwnership.BUCKET_OWNER_ENFORCED,
            enforce_ssl=True,
            minimum_tls_version=1.2,
            versioned=True,
            server_access_logs_bucket=self.logs,
            server_access_logs_prefix=f"s3/{zone}/",
            removal_policy=removal(settings),
            lifecycle_rules=self._lifecycle(zone),
        )
        if zone == "bronze":
            plain = bucket.node.default_child
            assert isinstance(plain, s3.CfnBucket)  # noqa: S101 (what the construct is made of)
            plain.notification_configuration = s3.CfnBucket.NotificationConfigurationProperty(
                event_bridge_configuration=s3.CfnBucket.EventBridgeConfigurationProperty(event_bridge_enabled=True)
            )
        return bucket

    def _lifecycle(self, zone: str) -> list[s3.LifecycleRule]:
        """What becomes of objects by their age: what is overwritten, what is rarely read, what is of no more use."""
        days = self.settings.version_days
        rules = [
            s3.LifecycleRule(
                id="old-versions",
                noncurrent_version_expiration=cdk.Duration.days(min(days, _PASSING.get(zone, days))),
                expired_object_delete_marker=zone not in _PASSING,
                abort_incomplete_multipart_upload_after=cdk.Duration.days(7),
            )
        ]
        if zone in _PASSING:
            rules.append(s3.LifecycleRule(id="expire", expiration=cdk.Duration.days(_PASSING[zone])))
        if zone in _RARELY_READ:
            ages = self.settings.bronze_days if zone == "bronze" else 0
            moves = {90: s3.StorageClass.INFREQUENT_ACCESS}
            if zone == "bronze":  # it is still read at once, as a rebuild wants it
                moves[365] = s3.StorageClass.GLACIER_INSTANT_RETRIEVAL
            transitions = [moved(kind, after) for after, kind in moves.items() if not ages or after < ages]
            expiration = cdk.Duration.days(ages) if ages else None
            rules.append(s3.LifecycleRule(id="rarely-read", transitions=transitions or None, expiration=expiration))
        if zone == "bronze":
            rules.append(s3.LifecycleRule(id="notes", prefix="_invalid/", expiration=cdk.Duration.days(30)))
        return rules

    def _make_queue(self, name: str, *, kept: cdk.Duration, **more: object) -> sqs.Queue:
        return sqs.Queue(
            self,
            name.title().replace("-", ""),
            queue_name=f"{self.settings.prefix}-{name}",
            encryption=sqs.QueueEncryption.KMS,
            encryption_master_key=self.key,
            enforce_ssl=True,
            retention_period=kept,
            **more,  # type: ignore[arg-type]
        )

    def _archive(self) -> None:
        """Have S3 copy what lands to the archive; deletes are not copied."""
        settings, place = self.settings, self.settings.archive_place
        role = role_for(self, "ArchiveRole", "s3.amazonaws.com", description="Copies what lands to the archive")
        source, copy = (f"arn:aws:s3:::{settings.bucket(zone)}" for zone in ("bronze", "archive"))
        because = "S3's replication copies all objects of the bucket"
        allow(role, ["s3:GetReplicationConfiguration", "s3:ListBucket"], source)
        versions = ["s3:GetObjectVersionForReplication", "s3:GetObjectVersionAcl", "s3:GetObjectVersionTagging"]
        allow(role, versions, f"{source}/*", because=because)
        allow(role, ["s3:ReplicateObject", "s3:ReplicateTags"], f"{copy}/*", because=because)
        allow(role, ["kms:Decrypt"], self.key.key_arn)
        allow(
            role,
            ["kms:Encrypt", "kms:GenerateDataKey"],
            f"arn:aws:kms:{place}:{settings.account}:key/*",
            conditions={"ForAnyValue:StringEquals": {"kms:ResourceAliases": archive_alias(settings)}},
            because="The archive's key is made in another region and has no name before; the alias allows it alone",
        )
        plain = self.buckets["bronze"].node.default_child
        assert isinstance(plain, s3.CfnBucket)  # noqa: S101
        plain.replication_configuration = s3.CfnBucket.ReplicationConfigurationProperty(
            role=role.role_arn,
            rules=[
                s3.CfnBucket.ReplicationRuleProperty(
                    id="archive",
                    status="Enabled",
                    priority=1,
                    filter=s3.CfnBucket.ReplicationRuleFilterProperty(prefix=""),
                    delete_marker_replication=s3.CfnBucket.DeleteMarkerReplicationProperty(status="Disabled"),
                    source_selection_criteria=s3.CfnBucket.SourceSelectionCriteriaProperty(
                        sse_kms_encrypted_objects=s3.CfnBucket.SseKmsEncryptedObjectsProperty(status="Enabled")
                    ),
                    destination=s3.CfnBucket.ReplicationDestinationProperty(
                        bucket=copy,
                        storage_class="STANDARD_IA",
                        encryption_configuration=s3.CfnBucket.EncryptionConfigurationProperty(
                            replica_kms_key_id=f"arn:aws:kms:{place}:{settings.account}:{archive_alias(settings)}"
                        ),
                    ),
                )
            ],
        )


def landing_rule(scope: Construct, name: str, settings: Settings, prefixes: Sequence[str]) -> events.Rule:
    """A rule for objects that are made below prefixes of bronze."""
    return events.Rule(
        scope,
        name,
        description=f"Objects landed in {settings.bucket('bronze')}",
        event_pattern=events.EventPattern(
            source=["aws.s3"],
            detail_type=["Object Created"],
            detail={
                "bucket": {"name": [settings.bucket("bronze")]},
                "object": {"key": [{"prefix": f"{prefix}/"} for prefix in few_prefixes(prefixes)]},
            },
        ),
    )


def few_prefixes(prefixes: Sequence[str]) -> list[str]:
    """Prefixes that a rule has room for: the first folders of many, as whoever is told looks again."""
    if sum(len(prefix) + len('{"prefix":"/"},') for prefix in prefixes) <= _PATTERN_ROOM:
        return sorted(prefixes)
    return sorted({prefix.partition("/")[0] for prefix in prefixes})
