"""What Dagster's tasks stand beside: the database of its runs, and the load balancer before its pages."""

import aws_cdk as cdk
from aws_cdk import aws_certificatemanager as certificates
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_ecs as ecs
from aws_cdk import aws_elasticloadbalancingv2 as balancing
from aws_cdk import aws_kms as kms
from aws_cdk import aws_rds as rds
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_secretsmanager as secrets

from infra.access import acknowledge, removal
from infra.settings import Settings
from infra.stacks.network import NetworkStack

WEB_PORT = 3000
_DATABASE_PORT = 5433


def make_database(
    stack: cdk.Stack, settings: Settings, network: NetworkStack, key: kms.IKey, *, client: ec2.ISecurityGroup
) -> tuple[rds.DatabaseInstance, secrets.ISecret]:
    """Where Dagster keeps what it knows of its runs, and its secret; the lake itself keeps nothing there."""
    engine = rds.DatabaseInstanceEngine.postgres(version=rds.PostgresEngineVersion.VER_17_9)
    database = rds.DatabaseInstance(
        stack,
        "Database",
        engine=engine,
        instance_type=ec2.InstanceType("t4g.small" if settings.protects else "t4g.micro"),
        parameters={"rds.force_ssl": "1"},
        database_name="dagster",
        port=_DATABASE_PORT,
        credentials=rds.Credentials.from_generated_secret(
            "dagster", encryption_key=key, secret_name=f"{settings.prefix}/dagster-database"
        ),
        vpc=network.vpc,
        vpc_subnets=network.isolated,
        security_groups=[network.database_group(stack, "DatabaseAccess", _DATABASE_PORT, client)],
        multi_az=settings.protects,
        allocated_storage=20,
        max_allocated_storage=100,
        storage_type=rds.StorageType.GP3,
        storage_encrypted=True,
        storage_encryption_key=key,
        iam_authentication=True,
        publicly_accessible=False,
        backup_retention=cdk.Duration.days(14 if settings.protects else 3),
        cloudwatch_logs_exports=["postgresql"],
        copy_tags_to_snapshot=True,
        deletion_protection=True,
        auto_minor_version_upgrade=True,
        removal_policy=cdk.RemovalPolicy.SNAPSHOT if settings.protects else removal(settings),
    )
    reason = "Dagster's processes hold the password as long as they live; docs/runbooks.md changes it with a restart"
    acknowledge(database, "AwsSolutions-SMG4", reason)
    if database.secret is None:
        raise RuntimeError("a database with a generated secret has none")
    return database, database.secret


def open_pages(
    stack: cdk.Stack, settings: Settings, network: NetworkStack, service: ecs.FargateService, *, logs: s3.IBucket
) -> None:
    """Dagster's pages for the network and the clients that the settings name; nobody else reaches them."""
    group = ec2.SecurityGroup(stack, "Pages", vpc=network.vpc, description="Pages of Dagster", allow_all_outbound=False)
    port = 443 if settings.webserver_certificate else 80
    for client in (settings.cidr, *settings.listed("webserver_clients")):
        group.add_ingress_rule(ec2.Peer.ipv4(client), ec2.Port.tcp(port), "Who may open the pages of Dagster")
    balancer = balancing.ApplicationLoadBalancer(
        stack,
        "Balancer",
        load_balancer_name=settings.prefix,
        vpc=network.vpc,
        vpc_subnets=network.private,
        internet_facing=False,
        security_group=group,
        drop_invalid_header_fields=True,
        deletion_protection=settings.protects,
    )
    balancer.log_access_logs(logs, "balancer")
    certificate = settings.webserver_certificate
    listener = balancer.add_listener(
        "Listener",
        port=port,
        protocol=balancing.ApplicationProtocol.HTTPS if certificate else balancing.ApplicationProtocol.HTTP,
        ssl_policy=balancing.SslPolicy.RECOMMENDED_TLS if certificate else None,
        certificates=[certificates.Certificate.from_certificate_arn(stack, "Certificate", certificate)]
        if certificate
        else None,
        open=False,
    )
    listener.add_targets(
        "Webserver",
        port=WEB_PORT,
        protocol=balancing.ApplicationProtocol.HTTP,
        targets=[service],
        health_check=balancing.HealthCheck(path="/server_info", interval=cdk.Duration.seconds(30)),
        deregistration_delay=cdk.Duration.seconds(10),
    )
    cdk.CfnOutput(stack, "DagsterPages", value=balancer.load_balancer_dns_name)
