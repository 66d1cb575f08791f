"""Where figures are asked for: Athena, Redshift Serverless, the data mart in Aurora PostgreSQL, QuickSight."""

import json
from collections.abc import Mapping
from functools import cache

import aws_cdk as cdk
from aws_cdk import aws_athena as athena
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_iam as iam
from aws_cdk import aws_logs as logs
from aws_cdk import aws_rds as rds
from aws_cdk import aws_redshiftserverless as redshift
from aws_cdk import aws_secretsmanager as secrets
from aws_cdk import custom_resources as resources
from constructs import Construct

from infra.access import NO_RESOURCES, PUT_LOGS, SERVED_TABLES, LakeStack, acknowledge, allow, allow_catalogue, role_for
from infra.databases import AURORA_POSTGRES, aurora, secret_of
from infra.settings import Settings
from infra.stacks.network import NetworkStack
from infra.stacks.processing import SERVED, ProcessingStack
from infra.stacks.quicksight import make_dashboard
from infra.tasks import lake_environment

ANALYSTS = "analysts"
"""The folder of analysts' results, which others than they may not read; nor they those of others."""
_GIGABYTE = 10**9
_REDSHIFT_PEAK = 4
"""How many times its least capacity Redshift may grow to."""
_MART_PORT, _REDSHIFT_PORT = 5433, 5439
_REDSHIFT_ADMIN = "lake_admin"
_SIGNED_IN_BY_IAM = "People and jobs sign in by IAM; the password is used at deployment alone, through the Data API"
_READ = ("GetDatabase", "GetDatabases", "GetTable", "GetTables", "GetPartitions")
_MART_SCHEMAS = ("mart", "audit")
_QUERIES = {
    "rejected-by-source": "SELECT source, event_date, rejects, records FROM {gold}.daily_summary "
    "WHERE rejects > 0 ORDER BY event_date DESC, rejects DESC",
    "objects-that-failed": "SELECT dataset, key, attempts, reason, retry_at FROM {lake}.ledger "
    "WHERE status = 'failed' ORDER BY admitted_at DESC",
    "what-holds-gold-back": "SELECT dataset, rule, partition, detail, decided_at FROM {lake}.verdicts "
    "WHERE blocking AND NOT passed ORDER BY decided_at DESC",
    "newest-data": "SELECT dataset, max(last_modified) AS landed, max(processed_at) AS processed FROM {lake}.ledger "
    "WHERE status = 'processed' GROUP BY dataset",
}


class ServingStack(LakeStack):
    """Serving; `workgroup` is Athena's, `mart` the data mart (None: there is none), `readers` the engines' roles."""

    def __init__(
        self, scope: Construct, name: str, settings: Settings, network: NetworkStack, processing: ProcessingStack
    ) -> None:
        super().__init__(scope, name, settings)
        self.processing, self.network, self.storage = processing, network, processing.storage
        self.know_key(self.storage.key)
        self.add_stack_dependency(processing)  # what is queried must be in the catalogue
        self.readers: list[iam.Role] = []
        self.workgroup = self._make_workgroup("Workgroup", settings.prefix, "results")
        self._add_queries(self.workgroup)
        if settings.lake_formation:
            self._make_workgroup("AnalystsWorkgroup", f"{settings.prefix}-analysts", ANALYSTS)
        self.mart = self._make_mart() if settings.mart else None
        if settings.redshift:
            self._make_redshift()
        if settings.dagster == "none":
            told = lake_environment(settings, processing)
            cdk.CfnOutput(self, "LakeEnvironment", value=" ".join(f"{name}={value}" for name, value in told.items()))
        if settings.quicksight_user:
            role = role_for(self, "QuickSightRole", "quicksight", "QuickSight asks Athena")
            self._allow_tables(role, "lake")
            make_dashboard(self, self.storage, role, workgroup=self.workgroup)

    def _make_workgroup(self, name: str, full: str, results: str) -> athena.CfnWorkGroup:
        """A workgroup: encrypted results in their own folder, a bound on what a query reads, whoever asks."""
        settings = self.settings
        return athena.CfnWorkGroup(
            self,
            name,
            name=full,
            description="Silver and gold of the lake",
            recursive_delete_option=not settings.protects,
            work_group_configuration={
                "enforceWorkGroupConfiguration": True,
                "publishCloudWatchMetricsEnabled": True,
                "bytesScannedCutoffPerQuery": settings.athena_gigabytes * _GIGABYTE,
                "engineVersion": {"selectedEngineVersion": "Athena engine version 3"},
                "resultConfiguration": {
                    "outputLocation": f"s3://{settings.bucket('athena')}/{results}/",
                    "expectedBucketOwner": settings.account,
                    "encryptionConfiguration": {"encryptionOption": "SSE_KMS", "kmsKey": self.key.key_arn},
                },
            },
        )

    def _add_queries(self, workgroup: athena.CfnWorkGroup) -> None:
        settings = self.settings
        databases = {zone: settings.database(zone) for zone in ("silver", "gold", "lake")}
        for name, query in _QUERIES.items():
            text, asked = query.format(**databases), {"database": databases["gold"], "work_group": settings.prefix}
            named = athena.CfnNamedQuery(self, name.title().replace("-", ""), name=name, query_string=text, **asked)
            named.add_resource_dependency(workgroup)

    def _make_mart(self) -> rds.DatabaseCluster:
        """An Aurora PostgreSQL that sleeps while nobody asks, with its schemas."""
        network = self.network
        cluster = aurora(
            self,
            network,
            "Mart",
            user="mart",
            port=_MART_PORT,
            client=network.workers,
            engine=AURORA_POSTGRES,
            default_database_name="mart",
            parameters={"rds.force_ssl": "1", "log_statement": "ddl"},
            serverless_v2_min_capacity=0,
            serverless_v2_max_capacity=self.settings.mart_capacity,
            serverless_v2_auto_pause_duration=cdk.Duration.minutes(10),
            enable_data_api=True,
            cloudwatch_logs_exports=["postgresql"],
        )
        acknowledge(cluster, "AwsSolutions-SMG4", _SIGNED_IN_BY_IAM)
        arn, secret = cluster.cluster_arn, secret_of(cluster).secret_arn
        for number, schema in enumerate(_MART_SCHEMAS, start=1):
            told = {"resourceArn": arn, "secretArn": secret, "database": "mart"}
            told["sql"] = f"CREATE SCHEMA IF NOT EXISTS {schema}"
            made = self._call_once(f"MartSchema{number}", "rds-data:ExecuteStatement", told, on=arn, secret=secret)
            made.node.add_dependency(cluster)
        return cluster

    def _make_redshift(self) -> None:
        """Redshift Serverless, in the isolated subnets, with an external schema over each zone that is served."""
        settings, key = self.settings, self.key
        role = role_for(self, "SpectrumRole", "redshift redshift-serverless", "Redshift reads the lake's tables")
        self._allow_tables(role)
        self.storage.access.read(role, "athena", f"{ANALYSTS}/unloaded")
        admin = secrets.Secret(
            self,
            "RedshiftAdmin",
            secret_name=f"{settings.prefix}/redshift",
            encryption_key=key,
            generate_secret_string=secrets.SecretStringGenerator(
                secret_string_template=json.dumps({"username": _REDSHIFT_ADMIN}),
                generate_string_key="password",
                exclude_punctuation=True,
                password_length=40,
            ),
        )
        acknowledge(admin, "AwsSolutions-SMG4", _SIGNED_IN_BY_IAM)
        namespace = redshift.CfnNamespace(
            self,
            "Namespace",
            namespace_name=settings.prefix,
            db_name="lake",
            admin_username=_REDSHIFT_ADMIN,
            admin_user_password=admin.secret_value_from_json("password").unsafe_unwrap(),  # a reference, no password
            kms_key_id=key.key_arn,
            iam_roles=[role.role_arn],
            default_iam_role_arn=role.role_arn,
            final_snapshot_name=f"{settings.prefix}-last" if settings.protects else None,
            final_snapshot_retention_period=30 if settings.protects else None,
            log_exports=["userlog", "connectionlog", "useractivitylog"],
        )
        group = self.network.database_group(self, "RedshiftAccess", _REDSHIFT_PORT, self.network.workers)
        group.add_egress_rule(ec2.Peer.any_ipv4(), ec2.Port.tcp(443), "S3 and the catalogue, by endpoints")
        parameters = {"require_ssl": "true", "max_query_execution_time": "3600"}
        workgroup = redshift.CfnWorkgroup(
            self,
            "RedshiftWorkgroup",
            workgroup_name=settings.prefix,
            namespace_name=settings.prefix,
            base_capacity=settings.redshift_capacity,
            max_capacity=settings.redshift_capacity * _REDSHIFT_PEAK,
            port=_REDSHIFT_PORT,
            enhanced_vpc_routing=True,
            publicly_accessible=False,
            subnet_ids=self.network.subnets("isolated"),
            security_group_ids=[group.security_group_id],
            config_parameters=[{"parameterKey": name, "parameterValue": value} for name, value in parameters.items()],
        )
        workgroup.add_resource_dependency(namespace)
        statements = [
            f"CREATE EXTERNAL SCHEMA IF NOT EXISTS {zone} FROM DATA CATALOG DATABASE '{settings.database(zone)}' "
            f"IAM_ROLE '{role.role_arn}'"
            for zone in SERVED
        ]
        told = {"WorkgroupName": settings.prefix, "Database": "lake", "SecretArn": admin.secret_arn, "Sqls": statements}
        named = {"StatementName": external_schemas(settings), "WithEvent": True}  # by which a failure is told
        arn, action = workgroup.attr_workgroup_workgroup_arn, "redshift-data:BatchExecuteStatement"
        made = self._call_once("ExternalSchemas", action, {**told, **named}, on=arn, secret=admin.secret_arn)
        made.node.add_dependency(workgroup)

    def _call_once(
        self, name: str, action: str, told: Mapping[str, object], *, on: str, secret: str
    ) -> resources.AwsCustomResource:
        """Call an API when the stack is deployed and what is said has changed."""
        caller, log = self._caller()
        allow(caller, [action], on)
        allow(caller, ["secretsmanager:GetSecretValue"], secret)
        service, _, verb = action.partition(":")
        call = resources.AwsSdkCall(
            service=service,
            action=verb[0].lower() + verb[1:],
            parameters=told,
            physical_resource_id=resources.PhysicalResourceId.of(f"{self.settings.prefix}-{name}"),
        )
        return resources.AwsCustomResource(
            self, name, on_update=call, role=caller, log_group=log, install_latest_aws_sdk=False
        )

    @cache  # noqa: B019 (a stack lives as long as the app)
    def _caller(self) -> tuple[iam.Role, logs.ILogGroup]:
        """The role and the log of the one function that makes all these calls."""
        role = role_for(self, "Caller", "lambda", "Makes schemas at deployment")
        log = self.log_group("CallerLogs", f"/{self.settings.prefix}/deployment")
        allow(role, PUT_LOGS, log.log_group_arn)
        allow(role, ["kms:Decrypt"], self.key.key_arn)
        return role, log

    def _allow_tables(self, role: iam.Role, *more: str) -> None:
        """Let an engine read the tables of the zones that are served, and find them in the catalogue."""
        allow_catalogue(role, _READ, self.settings, (*SERVED, *more), SERVED_TABLES)
        for zone in (*SERVED, *more):
            self.storage.access.read(role, zone)
        if self.settings.lake_formation:
            allow(role, ["lakeformation:GetDataAccess"], "*", because=NO_RESOURCES)
            self.readers.append(role)


def external_schemas(settings: Settings) -> str:
    """The name of the statement that makes Redshift's external schemas, which no deployment waits for."""
    return f"{settings.prefix}-external-schemas"
