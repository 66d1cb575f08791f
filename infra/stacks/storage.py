"""Where data lies: the key, a bucket for each zone, the queue that tells of what lands, and the archive."""

from collections.abc import Sequence

import aws_cdk as cdk
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_kms as kms
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from infra.access import BucketAccess, LakeStack, acknowledge, allow, allow_services, removal, resource_of, role_for
from infra.declared import landing_prefixes
from infra.settings import Settings

ZONES = ("bronze", "silver", "gold", "quarantine", "lake", "athena", "pipes", "artifacts")
"""The buckets: the lake's zones, its own memory (`lake`), query results, Pipes messages, and what remote jobs run."""

TRAIL = "cloudtrail"
"""The folder of the trail among the logs."""
_PASSING = {"athena": 7, "pipes": 7}
"""Days after which what is of use for a while only expires."""
_RARELY_READ = ("bronze", "silver", "gold", "quarantine")
_TOLD_OF_KEY = ("events", "sns", "cloudwatch", "budgets", "cloudtrail", "delivery.logs")
_SEEN_AGAIN = cdk.Duration.minutes(5)
_UPLOADS = cdk.Duration.days(7)
_PATTERN_ROOM = 1_700
"""Characters that EventBridge leaves for prefixes: a pattern may have 2,048."""
_TRIES = 100
"""How often a message is shown: a sensor deletes it when the object is in silver, which takes some ticks."""


class StorageStack(LakeStack):
    """Data at rest.

    `key` encrypts it, `buckets` has a bucket for each of `ZONES` and `logs` for access logs. `access` lets roles reach
    what lies below prefixes. `landing_queue` has a message for each object that lands, `landing_dead_letters` those
    that no sensor could do anything with.
    """

    def __init__(self, scope: Construct, name: str, settings: Settings) -> None:
        super().__init__(scope, name, settings)
        self.key = self._make_key()
        self.access = BucketAccess(settings, self.key)
        rule = s3.LifecycleRule(
            id="expire",
            expiration=cdk.Duration.days(365),
            noncurrent_version_expiration=cdk.Duration.days(1),
            abort_incomplete_multipart_upload_after=_UPLOADS,
        )
        self.logs = _make_bucket(self, "logs", settings, None, [rule])
        self.buckets = {z: _make_bucket(self, z, settings, self.key, self._lifecycle(z), logs=self.logs) for z in ZONES}
        told = {"eventBridgeConfiguration": {"eventBridgeEnabled": True}}
        resource_of(self.buckets["bronze"]).notification_configuration = told
        self.landing_dead_letters = self.queue("landing-dead-letters", 14)
        dead = sqs.DeadLetterQueue(max_receive_count=_TRIES, queue=self.landing_dead_letters)
        self.landing_queue = self.queue("landing", 4, visibility_timeout=_SEEN_AGAIN, dead_letter_queue=dead)
        landed = landing_rule(self, "Landed", settings, landing_prefixes(settings))
        landed.add_target(targets.SqsQueue(self.landing_queue, dead_letter_queue=self.landing_dead_letters))
        if settings.archive:
            self._archive()
        if settings.trail:
            self._take_trail()

    def _make_key(self) -> kms.Key:
        settings, prefix = self.settings, self.settings.prefix
        key = _make_key(self, settings, f"All data of {prefix}", alias=prefix)
        account = {"StringEquals": {"aws:SourceAccount": settings.account}}
        actions = ["kms:Decrypt", "kms:DescribeKey", "kms:GenerateDataKey"]
        allow_services(key, actions, "*", _TOLD_OF_KEY, account)
        # With a topic under the key, EventBridge tells no account.
        topic = {"StringEquals": {"kms:EncryptionContext:aws:sns:topicArn": settings.arn("sns", f"{prefix}-alarms")}}
        allow_services(key, ["kms:Decrypt", "kms:GenerateDataKey"], "*", ["events"], topic)
        groups = {"ArnLike": {"kms:EncryptionContext:aws:logs:arn": settings.arn("logs", "log-group:*")}}
        actions = ["Encrypt", "Decrypt", "ReEncryptFrom", "ReEncryptTo", "GenerateDataKey", "DescribeKey"]
        actions = [f"kms:{action}" for action in actions]
        allow_services(key, actions, "*", [f"logs.{settings.region}"], groups)
        return key

    def _take_trail(self) -> None:
        """Let the environment's own trail write to `logs`, and no other."""
        logs, here = self.logs.bucket_arn, self.settings.arn("cloudtrail", f"trail/{self.settings.prefix}")
        own = {"StringEquals": {"aws:SourceArn": here}}
        allow_services(self.logs, ["s3:GetBucketAcl"], logs, ["cloudtrail"], own)
        below = f"{logs}/{TRAIL}/AWSLogs/{self.settings.account}/*"
        allow_services(self.logs, ["s3:PutObject"], below, ["cloudtrail"], own)

    def _lifecycle(self, zone: str) -> list[s3.LifecycleRule]:
        """What becomes of objects by their age: what is overwritten, what is rarely read, what is of no more use."""
        days = self.settings.version_days
        rules = [
            s3.LifecycleRule(
                id="old-versions",
                noncurrent_version_expiration=cdk.Duration.days(min(days, _PASSING.get(zone, days))),
                expired_object_delete_marker=zone not in _PASSING,
                abort_incomplete_multipart_upload_after=_UPLOADS,
            )
        ]
        if zone in _PASSING:
            rules.append(s3.LifecycleRule(id="expire", expiration=cdk.Duration.days(_PASSING[zone])))
        if zone in _RARELY_READ:
            ages = self.settings.bronze_days if zone == "bronze" else 0
            moves = {90: s3.StorageClass.INFREQUENT_ACCESS}
            if zone == "bronze":  # it is still read at once, as a rebuild wants it
                moves[365] = s3.StorageClass.GLACIER_INSTANT_RETRIEVAL
            transitions = _moves({after: kind for after, kind in moves.items() if not ages or after < ages})
            expiration = cdk.Duration.days(ages) if ages else None
            rules.append(s3.LifecycleRule(id="rarely-read", transitions=transitions or None, expiration=expiration))
        if zone == "bronze":
            rules.append(s3.LifecycleRule(id="notes", prefix="_invalid/", expiration=cdk.Duration.days(30)))
        return rules

    def _archive(self) -> None:
        """Have S3 copy what lands to the archive; deletes are not copied."""
        place, account = self.settings.archive_place, self.settings.account
        alias, on, off = _archive_alias(self.settings), {"status": "Enabled"}, {"status": "Disabled"}
        role = role_for(self, "ArchiveRole", "s3", "Copies what lands to the archive")
        source, copy = (self.access.bucket_arn(zone) for zone in ("bronze", "archive"))
        because = "S3's replication copies all objects of the bucket"
        allow(role, ["s3:GetReplicationConfiguration", "s3:ListBucket"], source)
        versions = ["s3:GetObjectVersionForReplication", "s3:GetObjectVersionAcl", "s3:GetObjectVersionTagging"]
        allow(role, versions, f"{source}/*", because=because)
        allow(role, ["s3:ReplicateObject", "s3:ReplicateTags"], f"{copy}/*", because=because)
        allow(role, ["kms:Decrypt"], self.key.key_arn)
        because = "The archive's key is made in another region and has no name before; the alias allows it alone"
        named, keys = {"ForAnyValue:StringEquals": {"kms:ResourceAliases": alias}}, f"arn:aws:kms:{place}:{account}"
        allow(role, ["kms:Encrypt", "kms:GenerateDataKey"], f"{keys}:key/*", conditions=named, because=because)
        copied = {"id": "archive", "priority": 1, "filter": {"prefix": ""}, **on}
        there = {"bucket": copy, "storageClass": "GLACIER"}
        rule = {
            **copied,
            "deleteMarkerReplication": off,
            "sourceSelectionCriteria": {"sseKmsEncryptedObjects": on},
            "destination": {**there, "encryptionConfiguration": {"replicaKmsKeyId": f"{keys}:{alias}"}},
        }
        bronze = resource_of(self.buckets["bronze"])
        bronze.replication_configuration = {"role": role.role_arn, "rules": [rule]}


class ArchiveStack(LakeStack):
    """A copy of all that landed, for the long run; in another region it outlives the lake. S3 copies what lands."""

    def __init__(self, scope: Construct, name: str, settings: Settings) -> None:
        super().__init__(scope, name, settings, region=settings.archive_place)
        key = _make_key(self, settings, "The archive")
        key.add_alias(_archive_alias(settings))
        rule = s3.LifecycleRule(
            id="history",
            transitions=_moves({180: s3.StorageClass.DEEP_ARCHIVE}),  # but what has less than 128 KB
            abort_incomplete_multipart_upload_after=_UPLOADS,
        )
        archive = _make_bucket(self, "archive", settings, key, [rule])
        acknowledge(
            archive,
            "AwsSolutions-S1",
            "Only S3's replication writes here; where there is a trail, its data events log it",
        )


def landing_rule(scope: Construct, name: str, settings: Settings, prefixes: Sequence[str]) -> events.Rule:
    """A rule for objects that are made below prefixes of bronze."""
    bucket, below = settings.bucket("bronze"), [{"prefix": f"{prefix}/"} for prefix in few_prefixes(prefixes)]
    detail = {"bucket": {"name": [bucket]}, "object": {"key": below}}
    pattern = events.EventPattern(source=["aws.s3"], detail_type=["Object Created"], detail=detail)
    return events.Rule(scope, name, description=f"Objects landed in {bucket}", event_pattern=pattern)


def few_prefixes(prefixes: Sequence[str]) -> list[str]:
    """Prefixes that a rule has room for: the first folders of many, as whoever is told looks again."""
    if sum(len(prefix) + len('{"prefix":"/"},') for prefix in prefixes) <= _PATTERN_ROOM:
        return sorted(prefixes)
    return sorted({prefix.partition("/")[0] for prefix in prefixes})


def _make_key(stack: cdk.Stack, settings: Settings, description: str, alias: str | None = None) -> kms.Key:
    policy = removal(settings)
    return kms.Key(stack, "Key", alias=alias, description=description, enable_key_rotation=True, removal_policy=policy)


def _make_bucket(
    stack: cdk.Stack,
    zone: str,
    settings: Settings,
    key: kms.IKey | None,
    rules: Sequence[s3.LifecycleRule],
    *,
    logs: s3.IBucket | None = None,
) -> s3.Bucket:
    """A zone's bucket: reached by TLS alone and by nobody else, with versions. Access logs can't be under a key."""
    return s3.Bucket(
        stack,
        zone.title(),
        bucket_name=settings.bucket(zone),
        encryption=s3.BucketEncryption.KMS if key else s3.BucketEncryption.S3_MANAGED,
        encryption_key=key,
        bucket_key_enabled=True if key else None,
        block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
        object_ownership=s3.ObjectOwnership.BUCKET_OWNER_ENFORCED,
        enforce_ssl=True,
        minimum_tls_version=1.2,
        versioned=True,
        removal_policy=removal(settings),
        server_access_logs_bucket=logs,
        server_access_logs_prefix=f"s3/{zone}/" if logs else None,
        lifecycle_rules=rules,
    )


def _archive_alias(settings: Settings) -> str:
    return f"alias/{settings.prefix}-archive"


def _moves(after: dict[int, s3.StorageClass]) -> list[s3.Transition]:
    """Moves to other storage classes, after so many days."""
    return [s3.Transition(storage_class=kind, transition_after=cdk.Duration.days(d)) for d, kind in after.items()]
