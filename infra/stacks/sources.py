"""What the lake follows: an Aurora PostgreSQL made here or a database elsewhere, and DMS, which replicates it."""

from typing import Any

import aws_cdk as cdk
from aws_cdk import aws_dms as dms
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_iam as iam
from aws_cdk import aws_rds as rds
from aws_cdk import aws_secretsmanager as secrets
from constructs import Construct

from infra import replication
from infra.access import LakeStack, acknowledge, allow, role_for
from infra.databases import AURORA_POSTGRES, aurora, secret_of
from infra.settings import Settings
from infra.stacks.network import NetworkStack
from infra.stacks.storage import StorageStack

_POSTGRES_PORT, _MYSQL_PORT = 5432, 3307
_POSTGRES = {"rds.logical_replication": "1", "rds.force_ssl": "1", "log_statement": "ddl"}
_MYSQL = {
    "require_secure_transport": "ON",
    "local_infile": "1",
    "server_audit_logging": "1",
    "server_audit_events": "CONNECT,QUERY_DCL,QUERY_DDL",
}
_ACCOUNT_ROLES = {
    "dms-vpc-role": "service-role/AmazonDMSVPCManagementRole",
    "dms-cloudwatch-logs-role": "service-role/AmazonDMSCloudWatchLogsRole",
}
"""The roles that DMS asks for under these names, once in an account, and their policies."""


class SourcesStack(LakeStack):
    """The source and its replication: `replications` has DMS's by name, `lake` and, where there is one, `replica`.

    `source` is the Aurora PostgreSQL (None: it is elsewhere), `replica` the Aurora MySQL that follows it (or None).
    """

    def __init__(
        self, scope: Construct, name: str, settings: Settings, storage: StorageStack, network: NetworkStack
    ) -> None:
        super().__init__(scope, name, settings)
        self.storage, self.network, self.key = storage, network, storage.key
        self.tables = replication.replicated_tables(settings)
        self.group = network.group(self, "Replication", "DMS")
        self.source, self.replica = None, None
        if settings.source == "aurora":
            single_user = secrets.HostedRotation.postgre_sql_single_user
            self.source = self._make_cluster("Source", AURORA_POSTGRES, _POSTGRES_PORT, _POSTGRES, single_user)
        if settings.mysql_replica:
            engine = rds.DatabaseClusterEngine.aurora_mysql(version=rds.AuroraMysqlEngineVersion.VER_3_12_0)
            single_user = secrets.HostedRotation.mysql_single_user
            self.replica = self._make_cluster("Replica", engine, _MYSQL_PORT, _MYSQL, single_user)
            reason = "It is a copy: DMS fills it again, which needs no way back in time"
            acknowledge(self.replica, "AwsSolutions-RDS14", reason)
        self.replications: dict[str, dms.CfnReplicationConfig] = {}
        self._replicate()

    def _make_cluster(
        self, name: str, engine: rds.IClusterEngine, port: int, parameters: dict[str, str], single_user: Any
    ) -> rds.DatabaseCluster:
        """A database whose user gets another password every month, by AWS' own function."""
        network = self.network
        cluster = aurora(
            self,
            network,
            name,
            user="replication",
            port=port,
            client=self.group,
            engine=engine,
            default_database_name=self.settings.source_name,
            parameter_group=rds.ParameterGroup(self, f"{name}Parameters", engine=engine, parameters=parameters),
            serverless_v2_min_capacity=0.5,
            serverless_v2_max_capacity=self.settings.source_capacity,
            cloudwatch_logs_exports=["postgresql"] if name == "Source" else ["audit", "error"],
        )
        group = network.group(self, f"{name}Rotation", "Rotates passwords", tls="Secrets Manager, by TLS")
        cluster.connections.allow_from(group, ec2.Port.tcp(port), "Rotates passwords")
        rotation = single_user(vpc=network.vpc, vpc_subnets=network.private, security_groups=[group])
        month = cdk.Duration.days(30)
        secret_of(cluster).add_rotation_schedule("Rotation", automatically_after=month, hosted_rotation=rotation)
        return cluster

    def _replicate(self) -> None:
        """DMS: its roles, its place in the network, both ends, and what goes from one to the other."""
        subnets = dms.CfnReplicationSubnetGroup(
            self,
            "Subnets",
            replication_subnet_group_identifier=self.settings.prefix,
            replication_subnet_group_description="Where DMS stands",
            subnet_ids=self.network.subnets("private"),
        )
        for name, policy in _ACCOUNT_ROLES.items() if self.settings.dms_roles else ():
            managed = iam.ManagedPolicy.from_aws_managed_policy_name(policy)
            service = iam.ServicePrincipal("dms.amazonaws.com")  # for these, DMS documents no account to be told
            role = role_for(self, name.title().replace("-", ""), service, role_name=name, managed_policies=[managed])
            rule = f"AwsSolutions-IAM4[Policy::arn:<AWS::Partition>:iam::aws:policy/{policy}]"
            acknowledge(role, rule, "DMS insists on a role of this name, and AWS documents this policy for it")
            subnets.node.add_dependency(role)
        source = self._make_source_endpoint()
        self._add_replication("lake", source, self._make_lake_endpoint(), subnets)
        if self.replica is not None:
            self._add_replication("replica", source, self._make_replica_endpoint(self.replica), subnets)

    def _endpoint(self, name: str, kind: str, role: iam.Role, **more: Any) -> dms.CfnEndpoint:
        """One end of a replication; DMS tries the role's rights when it is made."""
        full = f"{self.settings.prefix}-{name.lower()}"
        made = dms.CfnEndpoint(self, f"{name}Endpoint", endpoint_identifier=full, endpoint_type=kind, **more)
        made.node.add_dependency(role.node.find_child("DefaultPolicy"))
        return made

    def _make_source_endpoint(self) -> dms.CfnEndpoint:
        settings = self.settings
        secret, key = settings.source_secret, settings.source_secret_key
        if self.source is not None:
            secret, key = secret_of(self.source).secret_arn, self.key.key_arn
        else:
            self.group.add_egress_rule(ec2.Peer.ipv4(settings.source_cidr), ec2.Port.tcp(5432), "To the source")
        role, signed_in = self._sign_in("SourceSecretRole", secret, key)
        return self._endpoint(
            "Source",
            "source",
            role,
            engine_name="aurora-postgresql" if self.source else "postgres",
            database_name=settings.source_name,
            ssl_mode="require",
            kms_key_id=self.key.key_arn,
            postgre_sql_settings=dms.CfnEndpoint.PostgreSqlSettingsProperty(
                **signed_in,
                map_boolean_as_boolean=True,
                heartbeat_enable=True,  # else an idle source keeps its log for the slot
                heartbeat_frequency=5,
                fail_tasks_on_lob_truncation=True,  # stops and is told: a value cut off would pass for the value
            ),
        )

    def _make_lake_endpoint(self) -> dms.CfnEndpoint:
        role = role_for(self, "LakeRole", "dms", "DMS lands tables")
        self.storage.access.write(role, "bronze", replication.DMS_FOLDER)
        self.storage.access.find(role, "bronze")
        self.storage.access.tag(role, "bronze", replication.DMS_FOLDER)
        settings = dms.CfnEndpoint.S3SettingsProperty(
            bucket_name=self.settings.bucket("bronze"),
            bucket_folder=replication.DMS_FOLDER,
            expected_bucket_owner=self.settings.account,
            service_access_role_arn=role.role_arn,
            encryption_mode="sse-kms",
            server_side_encryption_kms_key_id=self.key.key_arn,
            timestamp_column_name=replication.timestamp_column(self.tables),
            **replication.TARGET_SETTINGS,
        )
        return self._endpoint("Lake", "target", role, engine_name="s3", s3_settings=settings)

    def _make_replica_endpoint(self, replica: rds.DatabaseCluster) -> dms.CfnEndpoint:
        role, signed_in = self._sign_in("ReplicaSecretRole", secret_of(replica).secret_arn, self.key.key_arn)
        return self._endpoint(
            "Replica",
            "target",
            role,
            engine_name="aurora",
            ssl_mode="verify-ca",  # MySQL endpoints know no `require`
            certificate_arn=self.settings.mysql_certificate,
            kms_key_id=self.key.key_arn,
            my_sql_settings=dms.CfnEndpoint.MySqlSettingsProperty(**signed_in),
        )

    def _sign_in(self, name: str, secret: str, key: str) -> tuple[iam.Role, dict[str, Any]]:
        """The role by which DMS reads a database's secret, and both as an endpoint is told."""
        role = role_for(self, name, f"dms.{self.region}", "DMS reads a database's secret")
        allow(role, ["secretsmanager:GetSecretValue", "secretsmanager:DescribeSecret"], secret)
        if key:
            allow(role, ["kms:Decrypt", "kms:DescribeKey"], key)
        return role, {"secrets_manager_secret_id": secret, "secrets_manager_access_role_arn": role.role_arn}

    def _add_replication(
        self, name: str, source: dms.CfnEndpoint, target: dms.CfnEndpoint, subnets: dms.CfnReplicationSubnetGroup
    ) -> None:
        capacity = {"minCapacityUnits": 1, "maxCapacityUnits": self.settings.replication_capacity}
        place = {"replicationSubnetGroupId": subnets.ref, "vpcSecurityGroupIds": [self.group.security_group_id]}
        safe = {"multiAz": self.settings.env == "prod", "kmsKeyId": self.key.key_arn}
        self.replications[name] = dms.CfnReplicationConfig(
            self,
            f"{name.title()}Replication",
            replication_config_identifier=f"{self.settings.prefix}-{name}",
            replication_type="full-load-and-cdc",
            source_endpoint_arn=source.ref,
            target_endpoint_arn=target.ref,
            compute_config={**capacity, **place, **safe},
            replication_settings=replication.replication_settings(),
            table_mappings=replication.table_mappings(self.tables, with_added=name == "lake"),
        )
