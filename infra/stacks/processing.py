"""What computes, and what is known of tables: the catalogue, Glue jobs, EMR Serverless."""

import aws_cdk as cdk
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_emrserverless as emr
from aws_cdk import aws_glue as glue
from aws_cdk import aws_iam as iam
from constructs import Construct

from datalake_assets.unattended import ZONES as PLACES
from infra.access import allow, log_group, role_for
from infra.declared import catalogued, event_streams, glue_type, landing_prefixes
from infra.settings import Settings
from infra.stacks.fallback import make_fallback
from infra.stacks.network import NetworkStack
from infra.stacks.storage import StorageStack

DATABASES = ("bronze", "silver", "gold", "quarantine", "lake")
_CODE, _PIPES = "remote", "steps"
_GLUE, _EMR_RELEASE = "6.0", "emr-spark-8.1.0"
_SPARK = "spark.sql.extensions=io.delta.sql.DeltaSparkSessionExtension"
_CATALOG = "spark.sql.catalog.spark_catalog=org.apache.spark.sql.delta.catalog.DeltaCatalog"
_DELTA_JARS = "/usr/share/aws/delta/lib/delta-spark.jar,/usr/share/aws/delta/lib/delta-storage.jar"
_HOURS = 6
LOGS_OF_JOBS = "Glue names its log streams and groups itself; only its own groups are meant"


class ProcessingStack(cdk.Stack):
    """The catalogue and the jobs.

    `databases` has the catalogue's databases by zone, `crawler` is the crawler's name. `step_job` is the name of the
    Glue job for Dagster's steps (`DATALAKE_GLUE_JOB`), `catch_up_job` of the one that runs the lake without Dagster;
    `fallback` is the state machine that starts it. `job_role` is what Glue jobs may do. `emr` is the EMR Serverless
    application (None: there is none; its id is `DATALAKE_EMR_APPLICATION`), `emr_role` its jobs' (`DATALAKE_EMR_ROLE`).
    """

    def __init__(
        self, scope: Construct, name: str, settings: Settings, storage: StorageStack, network: NetworkStack
    ) -> None:
        super().__init__(scope, name, env=cdk.Environment(account=settings.account, region=settings.region))
        self.settings, self.storage = settings, storage
        self.databases = {zone: self._make_database(zone) for zone in DATABASES}
        self._add_tables()
        self.security = self._make_security()
        self.crawler = self._make_crawler()
        self.job_role = self._make_job_role("JobRole", "glue")
        self.step_job = self._make_job("step", "entry.py")
        self.catch_up_job = self._make_job("catch-up", "unattended.py", **self._places())
        self.emr, self.emr_role = None, None
        if settings.emr:
            self.emr_role = self._make_job_role("EmrRole", "emr-serverless")
            log_group(self, "EmrLogs", settings, storage.key, group="/aws/emr-serverless")
            self.emr = self._make_emr(network)
        self.fallback = make_fallback(self, settings, storage, crawler=self.crawler, job=self.catch_up_job)

    def _places(self) -> dict[str, str]:
        layout = self.settings.layout
        return {f"--{place}": getattr(layout, place) for place in PLACES}

    # --- the catalogue

    def _make_database(self, zone: str) -> glue.CfnDatabase:
        return glue.CfnDatabase(
            self,
            f"{zone.title()}Database",
            catalog_id=self.account,
            database_input=glue.CfnDatabase.DatabaseInputProperty(
                name=self.settings.database(zone),
                description=f"The lake's {zone} zone ({self.settings.env})",
                location_uri=f"s3://{self.settings.bucket(zone)}/",
            ),
        )

    def _add_tables(self) -> None:
        """Each table that the lake writes, with the columns of its registry, as engines find Delta tables."""
        for zone, table, place in catalogued(self.settings):
            columns = [
                glue.CfnTable.ColumnProperty(name=name, type=glue_type(column.type), comment=column.description[:255])
                for name, column in table.stored_columns.items()
            ]
            entry = glue.CfnTable(
                self,
                f"{zone}-{table.name}",
                catalog_id=self.account,
                database_name=self.settings.database(zone),
                table_input=glue.CfnTable.TableInputProperty(
                    name=table.name,
                    description=table.description,
                    table_type="EXTERNAL_TABLE",
                    parameters={"spark.sql.sources.provider": "delta", "EXTERNAL": "TRUE"},
                    storage_descriptor=glue.CfnTable.StorageDescriptorProperty(
                        columns=columns,
                        location=place,
                        serde_info=glue.CfnTable.SerdeInfoProperty(parameters={"path": place}),
                    ),
                ),
            )
            entry.add_resource_dependency(self.databases[zone])

    def _make_security(self) -> str:
        """What Glue encrypts: all that it writes, logs or remembers. Returns the configuration's name."""
        key = self.storage.key.key_arn
        name = f"{self.settings.prefix}-encrypted"
        glue.CfnSecurityConfiguration(
            self,
            "Security",
            name=name,
            encryption_configuration=glue.CfnSecurityConfiguration.EncryptionConfigurationProperty(
                s3_encryptions=[
                    glue.CfnSecurityConfiguration.S3EncryptionProperty(s3_encryption_mode="SSE-KMS", kms_key_arn=key)
                ],
                cloud_watch_encryption=glue.CfnSecurityConfiguration.CloudWatchEncryptionProperty(
                    cloud_watch_encryption_mode="SSE-KMS", kms_key_arn=key
                ),
                job_bookmarks_encryption=glue.CfnSecurityConfiguration.JobBookmarksEncryptionProperty(
                    job_bookmarks_encryption_mode="CSE-KMS", kms_key_arn=key
                ),
            ),
        )
        return name

    def _make_crawler(self) -> str:
        """The crawler that finds the schema of raw events; it is started by hand or by the state machine."""
        name, bronze = f"{self.settings.prefix}-raw", self.settings.database("bronze")
        prefixes = [dataset.landing.prefix for dataset in event_streams(self.settings)]
        role = role_for(self, "CrawlerRole", "glue.amazonaws.com", description="Finds the schema of raw events")
        self.storage.access.read(role, "bronze", *prefixes)
        self._allow_logs(role)
        catalog = f"arn:aws:glue:{self.region}:{self.account}"
        changes = ["glue:GetDatabase", "glue:GetTable", "glue:GetTables", "glue:CreateTable", "glue:UpdateTable"]
        changes += ["glue:GetPartition", "glue:GetPartitions", "glue:BatchGetPartition", "glue:BatchCreatePartition"]
        allow(
            role,
            [*changes, "glue:UpdatePartition"],
            f"{catalog}:catalog",
            f"{catalog}:database/{bronze}",
            f"{catalog}:table/{bronze}/*",
            because="A crawler names the tables that it finds; the database is the raw zone's alone",
        )
        crawler = glue.CfnCrawler(
            self,
            "Crawler",
            name=name,
            description="Finds the schema of raw events, and the hours that landed",
            role=role.role_arn,
            database_name=bronze,
            table_prefix="raw_",
            crawler_security_configuration=self.security,
            recrawl_policy=glue.CfnCrawler.RecrawlPolicyProperty(recrawl_behavior="CRAWL_NEW_FOLDERS_ONLY"),
            schema_change_policy=glue.CfnCrawler.SchemaChangePolicyProperty(
                update_behavior="LOG", delete_behavior="LOG"
            ),
            targets=glue.CfnCrawler.TargetsProperty(
                s3_targets=[
                    glue.CfnCrawler.S3TargetProperty(
                        path=f"{self.settings.layout.bronze}/{prefix}/",
                        exclusions=["processing-failed/**", "format-conversion-failed/**"],
                    )
                    for prefix in prefixes
                ]
            ),
        )
        crawler.add_resource_dependency(self.databases["bronze"])
        return name

    # --- jobs

    def _make_job_role(self, name: str, service: str) -> iam.Role:
        """What a job may do: read what landed and its own code, write the zones of tables, and talk to its run."""
        role = role_for(self, name, f"{service}.amazonaws.com", description=f"The lake's steps on {service}")
        access = self.storage.access
        access.read(role, "bronze", *landing_prefixes(self.settings))
        access.read(role, "artifacts", _CODE)
        for zone in ("silver", "gold", "quarantine", "lake"):
            access.write(role, zone)
        access.write(role, "pipes", _PIPES)
        self._allow_logs(role)
        return role

    def _allow_logs(self, role: iam.Role) -> None:
        groups = f"arn:aws:logs:{self.region}:{self.account}:log-group:"
        actions = ["logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents", "logs:AssociateKmsKey"]
        actions += ["logs:DescribeLogStreams"]
        allow(role, actions, f"{groups}/aws-glue/*", f"{groups}/aws/emr-serverless*", because=LOGS_OF_JOBS)

    def _make_job(self, name: str, script: str, **arguments: str) -> str:
        """A Glue job that runs a script of the shipped code; which packages it installs is told when it is started."""
        full = f"{self.settings.prefix}-{name}"
        glue.CfnJob(
            self,
            f"Job{name}",
            name=full,
            description=f"{script} of the lake's shipped code",
            role=self.job_role.role_arn,
            glue_version=_GLUE,
            worker_type="G.1X",
            number_of_workers=self.settings.glue_workers if script == "entry.py" else 2,
            timeout=_HOURS * 60,
            max_retries=0,
            execution_property=glue.CfnJob.ExecutionPropertyProperty(
                max_concurrent_runs=20 if script == "entry.py" else 1
            ),
            security_configuration=self.security,
            command=glue.CfnJob.JobCommandProperty(
                name="glueetl", python_version="3", script_location=f"{self.settings.code_place}/{script}"
            ),
            default_arguments={
                "--datalake-formats": "delta",
                "--conf": f"{_SPARK} --conf {_CATALOG}",
                "--enable-auto-scaling": "true",
                "--enable-observability-metrics": "true",
                "--job-bookmark-option": "job-bookmark-disable",
                "--TempDir": f"{self.settings.pipes_place}/glue",
                **arguments,
            },
        )
        return full

    def _make_emr(self, network: NetworkStack) -> emr.CfnApplication:
        """An application that stops when nobody uses it, and starts with a job."""
        settings = self.settings
        group = ec2.SecurityGroup(self, "Emr", vpc=network.vpc, description="EMR Serverless", allow_all_outbound=False)
        group.add_egress_rule(ec2.Peer.any_ipv4(), ec2.Port.tcp(443), "AWS services, by TLS")
        group.add_ingress_rule(group, ec2.Port.all_tcp(), "Executors and driver")
        group.add_egress_rule(group, ec2.Port.all_tcp(), "Executors and driver")
        delta = {"spark.jars": _DELTA_JARS}
        delta |= dict([_SPARK.split("=", 1), _CATALOG.split("=", 1)])
        return emr.CfnApplication(
            self,
            "EmrApplication",
            name=settings.prefix,
            type="SPARK",
            release_label=_EMR_RELEASE,
            architecture="X86_64",  # as the archive of packages is
            auto_start_configuration=emr.CfnApplication.AutoStartConfigurationProperty(enabled=True),
            auto_stop_configuration=emr.CfnApplication.AutoStopConfigurationProperty(
                enabled=True, idle_timeout_minutes=5
            ),
            maximum_capacity=emr.CfnApplication.MaximumAllowedResourcesProperty(
                cpu=f"{settings.emr_vcpus} vCPU", memory=f"{settings.emr_vcpus * 4} GB"
            ),
            network_configuration=emr.CfnApplication.NetworkConfigurationProperty(
                subnet_ids=list(network.vpc.select_subnets(subnet_group_name="private").subnet_ids),
                security_group_ids=[group.security_group_id],
            ),
            runtime_configuration=[
                emr.CfnApplication.ConfigurationObjectProperty(classification="spark-defaults", properties=delta)
            ],
        )
