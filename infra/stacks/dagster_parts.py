"""What Dagster's tasks stand beside: the database of its runs, and the load balancer before its pages."""

from typing import Any

import aws_cdk as cdk
from aws_cdk import aws_certificatemanager as certificates
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_ecs as ecs
from aws_cdk import aws_elasticloadbalancingv2 as balancing
from aws_cdk import aws_rds as rds
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_secretsmanager as secrets

from infra.access import LakeStack, acknowledge
from infra.databases import guarded, keep_logs, kept_for, let_go, secret_of
from infra.stacks.network import NetworkStack

WEB_PORT = 3000
_DATABASE_PORT = 5433


def make_database(stack: LakeStack, network: NetworkStack, *, client: ec2.ISecurityGroup) -> secrets.ISecret:
    """Where Dagster keeps what it knows of its runs; the lake itself keeps nothing there. Returns its secret."""
    protects, identifier = stack.settings.protects, f"{stack.settings.prefix}-dagster"
    database = rds.DatabaseInstance(
        stack,
        "Database",
        instance_identifier=identifier,
        engine=rds.DatabaseInstanceEngine.postgres(version=rds.PostgresEngineVersion.VER_17_9),
        instance_type=ec2.InstanceType("t4g.small" if protects else "t4g.micro"),
        parameters={"rds.force_ssl": "1"},
        database_name="dagster",
        port=_DATABASE_PORT,
        security_groups=[network.database_group(stack, "DatabaseAccess", _DATABASE_PORT, client)],
        multi_az=protects,
        allocated_storage=20,
        max_allocated_storage=100,
        storage_type=rds.StorageType.GP3,
        publicly_accessible=False,
        backup_retention=kept_for(stack),
        cloudwatch_logs_exports=["postgresql"],
        auto_minor_version_upgrade=True,
        **guarded(stack, network, "dagster", "dagster-database"),
    )
    let_go(database, stack.settings)
    keep_logs(stack, database, f"instance/{identifier}", ["postgresql"])
    if not protects:
        reason = "One zone will do for dev: what the lake knows is not in it, and nobody waits for Dagster there"
        acknowledge(database, "AwsSolutions-RDS3", reason)
    reason = "Dagster's processes hold the password as long as they live; docs/runbooks.md changes it with a restart"
    acknowledge(database, "AwsSolutions-SMG4", reason)
    return secret_of(database)


def open_pages(stack: LakeStack, network: NetworkStack, service: ecs.FargateService, *, logs: s3.IBucket) -> None:
    """Dagster's pages for the network and the clients that the settings name; nobody else reaches them."""
    settings = stack.settings
    group = network.group(stack, "Pages", "Pages of Dagster", tls="")
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
    port, opened = 80, dict[str, Any](protocol=balancing.ApplicationProtocol.HTTP)
    if settings.webserver_certificate:
        certificate = certificates.Certificate.from_certificate_arn(
            stack, "Certificate", settings.webserver_certificate
        )
        port, opened = 443, {"protocol": balancing.ApplicationProtocol.HTTPS, "certificates": [certificate]}
        opened["ssl_policy"] = balancing.SslPolicy.RECOMMENDED_TLS
    elif settings.protects:
        warned = "Dagster's pages are opened without TLS; set webserver_certificate to the ARN of a certificate"
        cdk.Annotations.of(stack).add_warning_v2("datalake:no-tls", warned)
    for client in (settings.cidr, *settings.listed("webserver_clients")):
        group.add_ingress_rule(ec2.Peer.ipv4(client), ec2.Port.tcp(port), "Who may open the pages of Dagster")
    listener = balancer.add_listener("Listener", port=port, open=False, **opened)
    listener.add_targets(
        "Webserver",
        port=WEB_PORT,
        protocol=balancing.ApplicationProtocol.HTTP,
        targets=[service],
        health_check=balancing.HealthCheck(path="/server_info", interval=cdk.Duration.seconds(30)),
        deregistration_delay=cdk.Duration.seconds(10),
    )
    cdk.CfnOutput(stack, "DagsterPages", value=balancer.load_balancer_dns_name)
