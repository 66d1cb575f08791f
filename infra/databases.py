"""What all databases have in common: a generated password, encryption, IAM, and no way to lose them by mistake."""

from collections.abc import Sequence
from typing import Any

import aws_cdk as cdk
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_rds as rds
from aws_cdk import aws_secretsmanager as secrets
from constructs import Construct

from infra.access import LakeStack, acknowledge, removal
from infra.settings import Settings
from infra.stacks.network import NetworkStack

AURORA_POSTGRES = rds.DatabaseClusterEngine.aurora_postgres(version=rds.AuroraPostgresEngineVersion.VER_17_9)


def guarded(stack: LakeStack, network: NetworkStack, user: str, secret: str) -> dict[str, Any]:
    """The arguments that make a database one that is kept, out of reach, and opened by a secret or by IAM."""
    settings, name = stack.settings, f"{stack.settings.prefix}/{secret}"
    return {
        "credentials": rds.Credentials.from_generated_secret(user, encryption_key=stack.key, secret_name=name),
        "vpc": network.vpc,
        "vpc_subnets": network.isolated,
        "storage_encrypted": True,
        "storage_encryption_key": stack.key,
        "iam_authentication": True,
        "copy_tags_to_snapshot": True,
        "deletion_protection": settings.protects,
        "removal_policy": cdk.RemovalPolicy.SNAPSHOT if settings.protects else removal(settings),
    }


def kept_for(stack: LakeStack) -> cdk.Duration:
    """How long backups are kept."""
    return cdk.Duration.days(14 if stack.settings.protects else 3)


def aurora(
    stack: LakeStack, network: NetworkStack, name: str, *, user: str, port: int, client: ec2.ISecurityGroup, **more: Any
) -> rds.DatabaseCluster:
    """An Aurora Serverless v2 with one writer, which one kind of client may reach."""
    identifier = f"{stack.settings.prefix}-{name.lower()}"
    cluster = rds.DatabaseCluster(
        stack,
        name,
        cluster_identifier=identifier,
        port=port,
        security_groups=[network.database_group(stack, f"{name}Access", port, client)],
        writer=rds.ClusterInstance.serverless_v2("writer", publicly_accessible=False),
        backup=rds.BackupProps(retention=kept_for(stack)),
        **guarded(stack, network, user, name.lower()),
        **more,
    )
    let_go(cluster, stack.settings)
    keep_logs(stack, cluster, f"cluster/{identifier}", more["cloudwatch_logs_exports"])
    return cluster


def keep_logs(stack: LakeStack, database: Construct, name: str, kinds: Sequence[str]) -> None:
    """Make the log groups of a database before RDS does, which would keep them for ever."""
    for kind in kinds:
        database.node.add_dependency(stack.log_group(f"{database.node.id}{kind}", f"/aws/rds/{name}/{kind}"))


def let_go(database: rds.DatabaseCluster | rds.DatabaseInstance, settings: Settings) -> None:
    """Tell why a database is not kept from deletion, where it is not."""
    if not settings.protects:
        acknowledge(database, "AwsSolutions-RDS10", "dev can be taken away at once, its databases with it")


def secret_of(database: rds.DatabaseCluster | rds.DatabaseInstance) -> secrets.ISecret:
    """The secret that was generated for a database."""
    if database.secret is None:
        raise TypeError("a database with generated credentials has no secret")
    return database.secret
