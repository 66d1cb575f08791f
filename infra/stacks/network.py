"""The network: where databases, workers and endpoints stand, who reaches whom, and the way to a source's network."""

from collections.abc import Iterable
from typing import Any

import aws_cdk as cdk
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_iam as iam
from aws_cdk.aws_ec2 import SecurityGroup
from constructs import Construct

from infra.access import PUT_LOGS, LakeStack, allow, role_for
from infra.settings import Settings
from infra.stacks.storage import StorageStack

_HTTPS = ec2.Port.tcp(443)
_POSTGRES = ec2.Port.tcp(5432)
_AWS = ec2.InterfaceVpcEndpointAwsService
_ENDPOINTS = {"Athena": _AWS.ATHENA, "Ec2": _AWS.EC2, "Ecr": _AWS.ECR, "EcrDocker": _AWS.ECR_DOCKER, "Ecs": _AWS.ECS}
_ENDPOINTS |= {"EmrServerless": _AWS.EMR_SERVERLESS, "Firehose": _AWS.KINESIS_FIREHOSE, "Glue": _AWS.GLUE}
_ENDPOINTS |= {"Kms": _AWS.KMS, "Logs": _AWS.CLOUDWATCH_LOGS, "Monitoring": _AWS.CLOUDWATCH_MONITORING}
_ENDPOINTS |= {"Secrets": _AWS.SECRETS_MANAGER, "Sqs": _AWS.SQS, "Sts": _AWS.STS}


class NetworkStack(LakeStack):
    """The network.

    `vpc` has public, private (with a way out where the settings have NAT) and isolated subnets, `private` and
    `isolated` choose them. `workers` is the security group of whatever computes: tasks, EMR, DMS.
    """

    def __init__(self, scope: Construct, name: str, settings: Settings, storage: StorageStack) -> None:
        super().__init__(scope, name, settings)
        self.key = storage.key
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
        self.private, self.isolated = (ec2.SubnetSelection(subnet_group_name=t) for t in ("private", "isolated"))
        self._log_flows()
        self.workers = self.group(self, "Workers", "Whatever computes", tls="AWS and package indexes, by TLS")
        self._add_endpoints()
        if settings.peer_account:
            self._peer()

    def subnets(self, tier: str) -> list[str]:
        """The ids of the subnets of a kind."""
        return list(self.vpc.select_subnets(subnet_group_name=tier).subnet_ids)

    def group(self, scope: Construct, name: str, description: str, tls: str = "AWS services, by TLS") -> SecurityGroup:
        """A security group that lets nobody in, and nothing out but TLS (`tls` says for what; empty: not even that)."""
        group = SecurityGroup(scope, name, vpc=self.vpc, description=description, allow_all_outbound=False)
        if tls:
            group.add_egress_rule(ec2.Peer.any_ipv4(), _HTTPS, tls)
        return group

    def database_group(self, scope: Construct, name: str, port: int, *clients: ec2.ISecurityGroup) -> SecurityGroup:
        """The security group of one database: its clients may connect, and it connects to nobody.

        It belongs to the stack of its database, so that no two stacks wait for each other.
        """
        group = self.group(scope, name, f"The database {name}", tls="")
        for number, client in enumerate(clients, start=1):
            group.add_ingress_rule(client, ec2.Port.tcp(port), f"From client {number} of {name}")
            ends = {"group_id": client.security_group_id, "destination_security_group_id": group.security_group_id}
            way = _tcp(port, f"To the database {name}", **ends)
            ec2.CfnSecurityGroupEgress(scope, f"{name}Client{number}", **way)
        return group

    def _log_flows(self) -> None:
        group = self.log_group("FlowLogs", f"/{self.settings.prefix}/network-flows")
        role = role_for(self, "FlowLogsRole", "vpc-flow-logs", "Writes flow logs")
        allow(role, [*PUT_LOGS, "logs:DescribeLogStreams"], group.log_group_arn)
        logged: dict[str, Any] = {"resource_id": self.vpc.vpc_id, "resource_type": "VPC", "traffic_type": "ALL"}
        logged |= {"log_group_name": group.log_group_name, "deliver_logs_permission_arn": role.role_arn}
        ec2.CfnFlowLog(self, "FlowLog", **logged)

    def _add_endpoints(self) -> None:
        self.vpc.add_gateway_endpoint("S3", service=ec2.GatewayVpcEndpointAwsService.S3)
        if not self.settings.interface_endpoints:
            return
        group = self.group(self, "Endpoints", "Endpoints of AWS services", tls="")
        group.add_ingress_rule(ec2.Peer.ipv4(self.settings.cidr), _HTTPS, "From within the network")
        own = {"StringEquals": {"aws:PrincipalAccount": self.settings.account}}
        endpoints = dict(_ENDPOINTS)
        if self.settings.redshift and self.settings.lake_formation:
            endpoints["LakeFormation"] = _AWS.LAKE_FORMATION
        for name, service in endpoints.items():
            endpoint = self.vpc.add_interface_endpoint(
                name, service=service, subnets=self.isolated, security_groups=[group], open=False
            )
            statement = iam.PolicyStatement(
                actions=["*"], resources=["*"], principals=[iam.AnyPrincipal()], conditions=own
            )
            endpoint.add_to_policy(statement)  # calls of this account's own roles

    def _peer(self) -> None:
        """Ask the source's network for a connection, and lead there; `AccepterStack` answers."""
        settings = self.settings
        owner, role = settings.peer_account, accepter_role(settings)
        peer: dict[str, Any] = {"peer_vpc_id": settings.peer_vpc, "peer_region": settings.peer_region}
        peer |= {"peer_owner_id": owner, "peer_role_arn": f"arn:aws:iam::{owner}:role/{role}"}
        peering = ec2.CfnVPCPeeringConnection(self, "Peering", vpc_id=self.vpc.vpc_id, **peer)
        subnets = [*self.vpc.private_subnets, *self.vpc.isolated_subnets]
        _lead(self, "ToPeer", [s.route_table.route_table_id for s in subnets], settings.peer_cidr, peering.ref)
        self.workers.add_egress_rule(ec2.Peer.ipv4(settings.peer_cidr), _POSTGRES, "To the peered source")
        cdk.CfnOutput(self, "PeeringId", value=peering.ref, description="For the accepter stack: -c peering=…")


class AccepterStack(LakeStack):
    """In the source's account: the role by which the lake's account opens the peering, and the ways back.

    It is deployed twice: before the network stack for the role, and after it, with `peering`, for routes and access.
    """

    def __init__(self, scope: Construct, name: str, settings: Settings) -> None:
        super().__init__(scope, name, settings, account=settings.peer_account, region=settings.peer_region)
        lake, told = iam.AccountPrincipal(settings.account), "Lets the lake's account accept its own peering request"
        role = role_for(self, "Role", lake, told, role_name=accepter_role(settings))
        vpc = f"arn:aws:ec2:{settings.peer_region}:{settings.peer_account}:vpc"
        asked = {"ArnEquals": {"ec2:AccepterVpc": f"{vpc}/{settings.peer_vpc}"}}
        because = "A connection has no id before it is asked for; the condition allows this one network alone"
        allow(role, ["ec2:AcceptVpcPeeringConnection"], f"{vpc}/{settings.peer_vpc}")
        connections = f"{vpc}-peering-connection/*"
        allow(role, ["ec2:AcceptVpcPeeringConnection"], connections, conditions=asked, because=because)
        if settings.peering:
            _lead(self, "Back", settings.listed("peer_route_tables"), settings.cidr, settings.peering)
        if settings.peering and settings.peer_security_group:
            group = settings.peer_security_group
            way = _tcp(5432, "DMS of the data lake", group_id=group, cidr_ip=settings.cidr)
            ec2.CfnSecurityGroupIngress(self, "Replication", **way)


def accepter_role(settings: Settings) -> str:
    """The name of the role in the source's account."""
    return f"{settings.prefix}-peering-accepter"


def _tcp(port: int, description: str, **ends: str) -> dict[str, Any]:
    return {"ip_protocol": "tcp", "from_port": port, "to_port": port, "description": description, **ends}


def _lead(stack: cdk.Stack, name: str, tables: Iterable[str], cidr: str, peering: str) -> None:
    for number, table in enumerate(tables):
        way = {"route_table_id": table, "destination_cidr_block": cidr, "vpc_peering_connection_id": peering}
        ec2.CfnRoute(stack, f"{name}{number}", **way)
