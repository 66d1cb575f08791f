"""What the lake follows: an Aurora PostgreSQL made here or a database elsewhere, and DMS, which replicates it."""

import aws_cdk as cdk
from aws_cdk import aws_dms as dms
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_iam as iam
from aws_cdk import aws_rds as rds
from aws_cdk import aws_secretsmanager as secrets
from constructs import Construct

from infra.access import acknowledge, allow, removal, role_for
from infra.replication import (
    DMS_FOLDER,
    TARGET_SETTINGS,
    replicated_tables,
    replication_settings,
    table_mappings,
    timestamp_column,
)
from infra.settings import Settings
from infra.stacks.network import NetworkStack
from infra.stacks.storage import StorageStack

_POSTGRES_PORT, _MYSQL_PORT = 5432, 3307


class SourcesStack(cdk.Stack):
    """The source and its replication.

    `source` is the Aurora PostgreSQL (None: it is elsewhere), `replica` the Aurora MySQL that follows it (None: no
    such). `replications` has DMS's serverless replications by name: `lake`, and `replica` where there is one.
    """

    def __init__(
        self, scope: Construct, name: str, settings: Settings, storage: StorageStack, network: NetworkStack
    ) -> None:
        super().__init__(scope, name, env=cdk.Environment(account=settings.account, region=settings.region))
        self.settings, self.storage, self.network = settings, storage, network
        self.tables = replicated_tables(settings)
        self.group = ec2.SecurityGroup(
            self, "Replication", vpc=network.vpc, description="DMS", allow_all_outbound=False
        )
        self.group.add_egress_rule(ec2.Peer.any_ipv4(), ec2.Port.tcp(443), "AWS services, by TLS")
        self.source = self._make_source() if settings.source == "aurora" else None
        self.replica = self._make_replica() if settings.mysql_replica else None
        self.replications: dict[str, dms.CfnReplicationConfig] = {}
        self._replicate()

    def _make_source(self) -> rds.DatabaseCluster:
        engine = rds.DatabaseClusterEngine.aurora_postgres(version=rds.AuroraPostgresEngineVersion.VER_17_9)
        parameters = {"rds.logical_replication": "1", "rds.force_ssl": "1", "log_statement": "ddl"}
        return self._make_cluster("Source", engine, _POSTGRES_PORT, parameters, logs=["postgresql"])

    def _make_replica(self) -> rds.DatabaseCluster:
        engine = rds.DatabaseClusterEngine.aurora_mysql(version=rds.AuroraMysqlEngineVersion.VER_3_12_0)
        parameters = {"require_secure_transport": "ON", "local_infile": "1", "server_audit_logging": "1"}
        parameters["server_audit_events"] = "CONNECT,QUERY_DCL,QUERY_DDL"
        replica = self._make_cluster("Replica", engine, _MYSQL_PORT, parameters, logs=["audit", "error"])
        acknowledge(replica, "AwsSolutions-RDS14", "It is a copy: DMS fills it again, which needs no way back in time")
        return replica

    def _make_cluster(
        self, name: str, engine: rds.IClusterEngine, port: int, parameters: dict[str, str], *, logs: list[str]
    ) -> rds.DatabaseCluster:
        settings, network, key = self.settings, self.network, self.storage.key
        group = network.database_group(self, f"{name}Access", port, self.group)
        cluster = rds.DatabaseCluster(
            self,
            name,
            engine=engine,
            port=port,
            default_database_name=settings.source_name,
            credentials=rds.Credentials.from_generated_secret(
                "replication", encryption_key=key, secret_name=f"{settings.prefix}/{name.lower()}"
            ),
            parameter_group=rds.ParameterGroup(self, f"{name}Parameters", engine=engine, parameters=parameters),
            vpc=network.vpc,
            vpc_subnets=network.isolated,
            security_groups=[group],
            writer=rds.ClusterInstance.serverless_v2("writer", publicly_accessible=False),
            serverless_v2_min_capacity=0.5,
            serverless_v2_max_capacity=settings.source_capacity,
            storage_encrypted=True,
            storage_encryption_key=key,
            iam_authentication=True,
            copy_tags_to_snapshot=True,
            cloudwatch_logs_exports=logs,
            backup=rds.BackupProps(retention=cdk.Duration.days(14 if settings.protects else 3)),
            deletion_protection=True,
            removal_policy=cdk.RemovalPolicy.SNAPSHOT if settings.protects else removal(settings),
        )
        self._rotate(cluster, name, port)
        return cluster

    def _rotate(self, cluster: rds.DatabaseCluster, name: str, port: int) -> None:
        """Give a database's user another password every month, by AWS' own function."""
        network, engine = self.network, secrets.HostedRotation
        group = ec2.SecurityGroup(
            self, f"{name}Rotation", vpc=network.vpc, description="Rotates passwords", allow_all_outbound=False
        )
        group.add_egress_rule(ec2.Peer.any_ipv4(), ec2.Port.tcp(443), "Secrets Manager, by TLS")
        cluster.connections.allow_from(group, ec2.Port.tcp(port), "Rotates passwords")
        single = engine.postgre_sql_single_user if name == "Source" else engine.mysql_single_user
        rotation = single(vpc=network.vpc, vpc_subnets=network.private, security_groups=[group])
        _secret(cluster).add_rotation_schedule(
            "Rotation", automatically_after=cdk.Duration.days(30), hosted_rotation=rotation
        )

    def _replicate(self) -> None:
        """DMS: its roles, its place in the network, both ends, and what goes from one to the other."""
        settings, account_roles = self.settings, self._make_account_roles()
        subnets = dms.CfnReplicationSubnetGroup(
            self,
            "Subnets",
            replication_subnet_group_identifier=settings.prefix,
            replication_subnet_group_description="Where DMS stands",
            subnet_ids=list(self.network.vpc.select_subnets(subnet_group_name="private").subnet_ids),
        )
        for role in account_roles:
            subnets.node.add_dependency(role)
        source = self._make_source_endpoint()
        self._add_replication("lake", source, self._make_lake_endpoint(), subnets)
        if self.replica is not None:
            self._add_replication("replica", source, self._make_replica_endpoint(self.replica), subnets)

    def _make_account_roles(self) -> list[iam.Role]:
        """The roles that DMS asks for under these names, once in an account."""
        if not self.settings.dms_roles:
            return []
        roles = []
        for name, policy in (
            ("dms-vpc-role", "service-role/AmazonDMSVPCManagementRole"),
            ("dms-cloudwatch-logs-role", "service-role/AmazonDMSCloudWatchLogsRole"),
        ):
            role = iam.Role(
                self,
                name.title().replace("-", ""),
                role_name=name,
                assumed_by=iam.ServicePrincipal("dms.amazonaws.com"),
                managed_policies=[iam.ManagedPolicy.from_aws_managed_policy_name(policy)],
            )
            rule = f"AwsSolutions-IAM4[Policy::arn:<AWS::Partition>:iam::aws:policy/{policy}]"
            acknowledge(role, rule, "DMS insists on a role of this name, and AWS documents this policy for it")
            roles.append(role)
        return roles

    def _make_source_endpoint(self) -> dms.CfnEndpoint:
        settings = self.settings
        secret, key = settings.source_secret, settings.source_secret_key
        if self.source is not None:
            secret, key = _secret(self.source).secret_arn, self.storage.key.key_arn
        else:
            self.group.add_egress_rule(ec2.Peer.ipv4(settings.source_cidr), ec2.Port.tcp(5432), "To the source")
        return dms.CfnEndpoint(
            self,
            "SourceEndpoint",
            endpoint_identifier=f"{settings.prefix}-source",
            endpoint_type="source",
            engine_name="aurora-postgresql" if self.source else "postgres",
            database_name=settings.source_name,
            ssl_mode="require",
            kms_key_id=self.storage.key.key_arn,
            postgre_sql_settings=dms.CfnEndpoint.PostgreSqlSettingsProperty(
                secrets_manager_secret_id=secret,
                secrets_manager_access_role_arn=self._secret_role("SourceSecretRole", secret, key).role_arn,
                map_boolean_as_boolean=True,
                heartbeat_enable=True,  # else an idle source keeps its log for the slot
                heartbeat_frequency=5,
                fail_tasks_on_lob_truncation=True,  # stops and is told: a value cut off would pass for the value
            ),
        )

    def _make_lake_endpoint(self) -> dms.CfnEndpoint:
        settings = self.settings
        role = iam.Role(
            self, "LakeRole", description="DMS lands tables", assumed_by=iam.ServicePrincipal("dms.amazonaws.com")
        )
        self.storage.access.write(role, "bronze", DMS_FOLDER)
        self.storage.access.tag(role, "bronze", DMS_FOLDER)
        return dms.CfnEndpoint(
            self,
            "LakeEndpoint",
            endpoint_identifier=f"{settings.prefix}-lake",
            endpoint_type="target",
            engine_name="s3",
            s3_settings=dms.CfnEndpoint.S3SettingsProperty(
                bucket_name=settings.bucket("bronze"),
                bucket_folder=DMS_FOLDER,
                expected_bucket_owner=settings.account,
                service_access_role_arn=role.role_arn,
                encryption_mode="sse-kms",
                server_side_encryption_kms_key_id=self.storage.key.key_arn,
                timestamp_column_name=timestamp_column(self.tables),
                **TARGET_SETTINGS,
            ),
        )

    def _make_replica_endpoint(self, replica: rds.DatabaseCluster) -> dms.CfnEndpoint:
        secret = _secret(replica).secret_arn
        role = self._secret_role("ReplicaSecretRole", secret, self.storage.key.key_arn)
        return dms.CfnEndpoint(
            self,
            "ReplicaEndpoint",
            endpoint_identifier=f"{self.settings.prefix}-replica",
            endpoint_type="target",
            engine_name="aurora",
            ssl_mode="verify-ca",  # MySQL endpoints know no `require`
            certificate_arn=self.settings.mysql_certificate,
            kms_key_id=self.storage.key.key_arn,
            my_sql_settings=dms.CfnEndpoint.MySqlSettingsProperty(
                secrets_manager_secret_id=secret, secrets_manager_access_role_arn=role.role_arn
            ),
        )

    def _secret_role(self, name: str, secret: str, key: str) -> iam.Role:
        role = role_for(self, name, f"dms.{self.region}.amazonaws.com", description="DMS reads a database's secret")
        allow(role, ["secretsmanager:GetSecretValue", "secretsmanager:DescribeSecret"], secret)
        if key:
            allow(role, ["kms:Decrypt", "kms:DescribeKey"], key)
        return role

    def _add_replication(
        self, name: str, source: dms.CfnEndpoint, target: dms.CfnEndpoint, subnets: dms.CfnReplicationSubnetGroup
    ) -> None:
        settings = self.settings
        self.replications[name] = dms.CfnReplicationConfig(
            self,
            f"{name.title()}Replication",
            replication_config_identifier=f"{settings.prefix}-{name}",
            replication_type="full-load-and-cdc",
            source_endpoint_arn=source.ref,
            target_endpoint_arn=target.ref,
            compute_config=dms.CfnReplicationConfig.ComputeConfigProperty(
                min_capacity_units=1,
                max_capacity_units=settings.replication_capacity,
                multi_az=settings.env == "prod",
                kms_key_id=self.storage.key.key_arn,
                replication_subnet_group_id=subnets.ref,
                vpc_security_group_ids=[self.group.security_group_id],
            ),
            replication_settings=replication_settings(),
            table_mappings=table_mappings(self.tables, with_added=name == "lake"),
        )


def _secret(cluster: rds.DatabaseCluster) -> secrets.ISecret:
    """The secret that was generated for a cluster."""
    if cluster.secret is None:
        raise TypeError("a cluster with generated credentials has no secret")
    return cluster.secret
