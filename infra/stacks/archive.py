"""The archive: a copy of all that landed, for the long run."""

import aws_cdk as cdk
from aws_cdk import aws_kms as kms
from aws_cdk import aws_s3 as s3
from constructs import Construct

from infra.access import acknowledge, removal
from infra.settings import Settings


class ArchiveStack(cdk.Stack):
    """The bucket and its key; in another region they outlive the lake's own. S3 copies to it: see `StorageStack`."""

    def __init__(self, scope: Construct, name: str, settings: Settings) -> None:
        super().__init__(scope, name, env=cdk.Environment(account=settings.account, region=settings.archive_place))
        key = kms.Key(
            self, "Key", enable_key_rotation=True, description="The archive", removal_policy=removal(settings)
        )
        key.add_alias(archive_alias(settings))
        archive = s3.Bucket(
            self,
            "Archive",
            bucket_name=settings.bucket("archive"),
            encryption=s3.BucketEncryption.KMS,
            encryption_key=key,
            bucket_key_enabled=True,
            block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
            object_ownership=s3.ObjectOwnership.BUCKET_OWNER_ENFORCED,
            enforce_ssl=True,
            minimum_tls_version=1.2,
            versioned=True,
            removal_policy=removal(settings),
            lifecycle_rules=[
                s3.LifecycleRule(
                    id="history",
                    transitions=[moved(s3.StorageClass.GLACIER, 1), moved(s3.StorageClass.DEEP_ARCHIVE, 180)],
                    abort_incomplete_multipart_upload_after=cdk.Duration.days(7),
                )
            ],
        )
        acknowledge(archive, "AwsSolutions-S1", "Only S3's replication writes here; CloudTrail's data events log it")


def archive_alias(settings: Settings) -> str:
    """The alias of the archive's key."""
    return f"alias/{settings.prefix}-archive"


def moved(kind: s3.StorageClass, days: int) -> s3.Transition:
    """A move to another storage class, after some days."""
    return s3.Transition(storage_class=kind, transition_after=cdk.Duration.days(days))
