"""The network: where databases, workers and endpoints stand, who reaches whom, and the way to a source's network."""

from collections.abc import Sequence

import aws_cdk as cdk
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_iam as iam
from constructs import Construct

from infra.access import allow, log_group, role_for
from infra.settings import Settings
from infra.stacks.storage import StorageStack

_HTTPS = ec2.Port.tcp(443)
_POSTGRES = ec2.Port.tcp(5432)
_ENDPOINTS = {
    "Athena": ec2.InterfaceVpcEndpointAwsService.ATHENA,
    "Ec2": ec2.InterfaceVpcEndpointAwsService.EC2,
    "Ecr": ec2.InterfaceVpcEndpointAwsService.ECR,
    "EcrDocker": ec2.InterfaceVpcEndpointAwsService.ECR_DOCKER,
    "Ecs": ec2.InterfaceVpcEndpointAwsService.ECS,
    "EmrServerless": ec2.InterfaceVpcEndpointAwsService.EMR_SERVERLESS,
    "Firehose": ec2.InterfaceVpcEndpointAwsService.KINESIS_FIREHOSE,
    "Glue": ec2.InterfaceVpcEndpointAwsService.GLUE,
    "Kms": ec2.InterfaceVpcEndpointAwsService.KMS,
    "Logs": ec2.InterfaceVpcEndpointAwsService.CLOUDWATCH_LOGS,
    "Monitoring": ec2.InterfaceVpcEndpointAwsService.CLOUDWATCH_MONITORING,
    "Secrets": ec2.InterfaceVpcEndpointAwsService.SECRETS_MANAGER,
    "Sqs": ec2.InterfaceVpcEndpointAwsService.SQS,
    "Sts": ec2.InterfaceVpcEndpointAwsService.STS,
}


class NetworkStack(cdk.Stack):
    """The network.

    `vpc` has public, private (with a way out where the settings have NAT) and isolated subnets, `public`, `private` and
    `isolated` choose them. `workers` is the security group of whatever computes: tasks, EMR, DMS.
    """

    def __init__(self, scope: Construct, name: str, settings: Settings, storage: StorageStack) -> None:
        super().__init__(scope, name, env=cdk.Environment(account=settings.account, region=settings.region))
        self.settings = settings
        subnets = (
            ("public", ec2.SubnetType.PUBLIC, 24),
            ("private", ec2.SubnetType.PRIVATE_WITH_EGRESS, 20),
            ("isolated", ec2.SubnetType.PRIVATE_ISOLATED, 24),
        )
        self.vpc = ec2.Vpc(
            self,
            "Vpc",
            vpc_name=settings.prefix,
            ip_addresses=ec2.IpAddresses.cidr(settings.cidr),
            availability_zones=settings.availability_zones,
            nat_gateways=settings.nat_gateways,
            restrict_default_security_group=False,  # nothing is in it; closing it takes a Lambda with rights to
            subnet_configuration=[
                ec2.SubnetConfiguration(name=tier, subnet_type=kind, cidr_mask=mask, map_public_ip_on_launch=None)
                for tier, kind, mask in subnets
            ],
        )
        self.public, self.private, self.isolated = (ec2.SubnetSelection(subnet_group_name=t) for t, _, _ in subnets)
        self._log_flows(storage)
        self.workers = ec2.SecurityGroup(
            self, "Workers", vpc=self.vpc, description="Whatever computes", allow_all_outbound=False
        )
        self.workers.add_egress_rule(ec2.Peer.any_ipv4(), _HTTPS, "AWS and package indexes, by TLS")
        self._add_endpoints()
        if settings.peer_account:
            self._peer()

    def database_group(self, scope: Construct, name: str, port: int, *clients: ec2.ISecurityGroup) -> ec2.SecurityGroup:
        """The security group of one database: its clients may connect, and it connects to nobody.

        It belongs to the stack of its database, so that no two stacks wait for each other.
        """
        group = ec2.SecurityGroup(
            scope, name, vpc=self.vpc, description=f"The database {name}", allow_all_outbound=False
        )
        for number, client in enumerate(clients):
            told = f"From client {number + 1} of {name}"
            group.add_ingress_rule(client, ec2.Port.tcp(port), told)
            ec2.CfnSecurityGroupEgress(
                scope,
                f"{name}Client{number + 1}",
                group_id=client.security_group_id,
                destination_security_group_id=group.security_group_id,
                ip_protocol="tcp",
                from_port=port,
                to_port=port,
                description=f"To the database {name}",
            )
        return group

    def _log_flows(self, storage: StorageStack) -> None:
        group = log_group(self, "FlowLogs", self.settings, storage.key, group=f"/{self.settings.prefix}/network-flows")
        role = role_for(self, "FlowLogsRole", "vpc-flow-logs.amazonaws.com", description="Writes flow logs")
        allow(role, ["logs:CreateLogStream", "logs:PutLogEvents", "logs:DescribeLogStreams"], group.log_group_arn)
        ec2.CfnFlowLog(
            self,
            "FlowLog",
            resource_id=self.vpc.vpc_id,
            resource_type="VPC",
            traffic_type="ALL",
            log_group_name=group.log_group_name,
            deliver_logs_permission_arn=role.role_arn,
        )

    def _add_endpoints(self) -> None:
        self.vpc.add_gateway_endpoint("S3", service=ec2.GatewayVpcEndpointAwsService.S3)
        if not self.settings.interface_endpoints:
            return
        group = ec2.SecurityGroup(
            self, "Endpoints", vpc=self.vpc, description="Endpoints of AWS services", allow_all_outbound=False
        )
        group.add_ingress_rule(ec2.Peer.ipv4(self.settings.cidr), _HTTPS, "From within the network")
        for name, service in _ENDPOINTS.items():
            endpoint = self.vpc.add_interface_endpoint(
                name, service=service, subnets=self.isolated, security_groups=[group], open=False
            )
            endpoint.add_to_policy(_own_account(self.settings))

    def _peer(self) -> None:
        """Ask the source's network for a connection, and lead there; `AccepterStack` answers."""
        settings = self.settings
        peering = ec2.CfnVPCPeeringConnection(
            self,
            "Peering",
            vpc_id=self.vpc.vpc_id,
            peer_vpc_id=settings.peer_vpc,
            peer_owner_id=settings.peer_account,
            peer_region=settings.peer_region,
            peer_role_arn=f"arn:aws:iam::{settings.peer_account}:role/{accepter_role(settings)}",
        )
        for number, subnet in enumerate([*self.vpc.private_subnets, *self.vpc.isolated_subnets]):
            ec2.CfnRoute(
                self,
                f"ToPeer{number}",
                route_table_id=subnet.route_table.route_table_id,
                destination_cidr_block=settings.peer_cidr,
                vpc_peering_connection_id=peering.ref,
            )
        self.workers.add_egress_rule(ec2.Peer.ipv4(settings.peer_cidr), _POSTGRES, "To the peered source")
        cdk.CfnOutput(self, "PeeringId", value=peering.ref, description="For the accepter stack: -c peering=…")


class AccepterStack(cdk.Stack):
    """In the source's account: the role by which the lake's account opens the peering, and the ways back.

    It is deployed twice: before the network stack for the role, and after it, with `peering`, for routes and access.
    """

    def __init__(self, scope: Construct, name: str, settings: Settings) -> None:
        super().__init__(scope, name, env=cdk.Environment(account=settings.peer_account, region=settings.peer_region))
        role = iam.Role(
            self,
            "Role",
            role_name=accepter_role(settings),
            description="Lets the lake's account accept its own peering request",
            assumed_by=iam.AccountPrincipal(settings.account),
        )
        vpc = f"arn:aws:ec2:{settings.peer_region}:{settings.peer_account}:vpc"
        asked = {"ArnEquals": {"ec2:AccepterVpc": f"{vpc}/{settings.peer_vpc}"}}
        allow(role, ["ec2:AcceptVpcPeeringConnection"], f"{vpc}/{settings.peer_vpc}")
        allow(
            role,
            ["ec2:AcceptVpcPeeringConnection"],
            f"{vpc}-peering-connection/*",
            conditions=asked,
            because="A connection has no id before it is asked for; the condition allows this one network alone",
        )
        for number, table in enumerate(settings.listed("peer_route_tables") if settings.peering else ()):
            ec2.CfnRoute(
                self,
                f"Back{number}",
                route_table_id=table,
                destination_cidr_block=settings.cidr,
                vpc_peering_connection_id=settings.peering,
            )
        if settings.peering and settings.peer_security_group:
            ec2.CfnSecurityGroupIngress(
                self,
                "Replication",
                group_id=settings.peer_security_group,
                ip_protocol="tcp",
                from_port=5432,
                to_port=5432,
                cidr_ip=settings.cidr,
                description="DMS of the data lake",
            )


def accepter_role(settings: Settings) -> str:
    """The name of the role in the source's account."""
    return f"{settings.prefix}-peering-accepter"


def _own_account(settings: Settings) -> iam.PolicyStatement:
    """What an endpoint lets through: calls of this account's own roles."""
    return iam.PolicyStatement(
        actions=["*"],
        resources=["*"],
        principals=[iam.AnyPrincipal()],
        conditions={"StringEquals": {"aws:PrincipalAccount": settings.account}},
    )


def subnets_of(vpc: ec2.IVpc, chosen: ec2.SubnetSelection) -> Sequence[str]:
    """The ids of chosen subnets."""
    return list(vpc.select_subnets(subnet_group_name=chosen.subnet_group_name).subnet_ids)
