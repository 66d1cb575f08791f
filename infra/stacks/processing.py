"""What computes, and what is known of tables: the catalogue, Glue jobs, EMR Serverless."""

from typing import Any

from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_emrserverless as emr
from aws_cdk import aws_glue as glue
from aws_cdk import aws_iam as iam
from constructs import Construct

from datalake_assets.unattended import ZONES as PLACES
from infra.access import NO_RESOURCES, LakeStack, allow, allow_catalogue, role_for
from infra.declared import catalogued, event_streams, glue_type, landing_prefixes
from infra.settings import Settings
from infra.stacks.fallback import make_fallback
from infra.stacks.network import NetworkStack
from infra.stacks.storage import StorageStack

SERVED = ("silver", "gold")
"""The zones that are served."""
DATABASES = ("bronze", "silver", "gold", "quarantine", "lake")
_CODE, _PIPES = "remote", "steps"
_EMR_RELEASE = "emr-spark-8.1.0"
_SPARK = {
    "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
    "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
}
_JOB_ARGUMENTS = {
    "--datalake-formats": "delta",
    "--conf": " --conf ".join(f"{option}={value}" for option, value in _SPARK.items()),
    "--enable-auto-scaling": "true",
    "--enable-observability-metrics": "true",
    "--job-bookmark-option": "job-bookmark-disable",
}
_DELTA_JARS = "/usr/share/aws/delta/lib/delta-spark.jar,/usr/share/aws/delta/lib/delta-storage.jar"
_JOB: dict[str, Any] = {"glue_version": "6.0", "worker_type": "G.1X", "timeout": 6 * 60, "max_retries": 0}  # minutes
_CRAWLED: tuple[str, ...] = ("GetDatabase", "GetTable", "GetTables", "CreateTable", "UpdateTable", "GetPartition")
_CRAWLED += ("GetPartitions", "BatchGetPartition", "BatchCreatePartition", "UpdatePartition")
LOGS_OF_JOBS = "Glue names its log streams and groups itself; only its own groups are meant"


class ProcessingStack(LakeStack):
    """The catalogue and the jobs.

    `step_job` is the name of the Glue job for Dagster's steps (`DATALAKE_GLUE_JOB`), `catch_up_job` of the one that
    runs the lake without Dagster; `fallback` is the state machine that starts it. `emr` is the EMR Serverless
    application (None: there is none; its id is `DATALAKE_EMR_APPLICATION`), `emr_role` its jobs' (`DATALAKE_EMR_ROLE`).
    """

    def __init__(
        self, scope: Construct, name: str, settings: Settings, storage: StorageStack, network: NetworkStack
    ) -> None:
        super().__init__(scope, name, settings)
        self.storage, self.network, self.key = storage, network, storage.key
        self.databases = {zone: self._make_database(zone) for zone in DATABASES}
        self._add_tables()
        self.security = self._make_security()
        self.job_role = self._make_job_role("JobRole", "glue", role_name=f"{settings.prefix}-glue")
        for kind in ("error", "output"):  # by the names that Glue gives them; it would keep them for ever
            self.log_group(f"Glue{kind}", f"/aws-glue/jobs/{self.security}-role/{settings.prefix}-glue/{kind}")
        places = {f"--{place}": getattr(settings.layout, place) for place in PLACES}
        self.step_job = self._make_job("step", "entry.py", workers=settings.glue_workers, runs=20)
        self.catch_up_job = self._make_job("catch-up", "unattended.py", workers=2, runs=1, **places)
        self.emr, self.emr_role = None, None
        if settings.emr:
            self.emr_role = self._make_job_role("EmrRole", "emr-serverless")
            self.emr = self._make_emr()
            self.log_group("EmrLogs", f"/aws/emr-serverless/{self.emr.attr_application_id}")  # as its runs are told
        crawler = self._make_crawler() if event_streams(settings) else ""
        self.fallback = make_fallback(self, storage, crawler=crawler, job=self.catch_up_job)

    # --- the catalogue

    def _make_database(self, zone: str) -> glue.CfnDatabase:
        database, description = self.settings.database(zone), f"The lake's {zone} zone ({self.settings.env})"
        place = f"s3://{self.settings.bucket(zone)}/"
        entry: dict[str, Any] = {"name": database, "description": description, "locationUri": place}
        if self.settings.lake_formation and zone in SERVED:
            entry["createTableDefaultPermissions"] = []  # else new tables are everybody's
        return glue.CfnDatabase(self, f"{zone.title()}Database", catalog_id=self.account, database_input=entry)

    def _add_tables(self) -> None:
        """Each table that the lake writes, with the columns of its registry, as engines find Delta tables."""
        for zone, spec, place in catalogued(self.settings):
            columns = [
                {"name": name, "type": glue_type(column.type), "comment": " ".join(column.description.split())[:255]}
                for name, column in spec.stored_columns.items()
            ]
            stored = {"columns": columns, "location": place}
            table = {
                "name": spec.name,
                "description": spec.description[:2_048],
                "tableType": "EXTERNAL_TABLE",
                "parameters": {"spark.sql.sources.provider": "delta", "EXTERNAL": "TRUE"},
                "storageDescriptor": {**stored, "serdeInfo": {"parameters": {"path": place}}},
            }
            database, name = self.settings.database(zone), f"{zone}-{spec.name}"
            entry = glue.CfnTable(self, name, catalog_id=self.account, database_name=database, table_input=table)
            entry.add_resource_dependency(self.databases[zone])

    def _make_security(self) -> str:
        """What Glue encrypts: all that it writes, logs or remembers. Returns the configuration's name."""
        key, name = {"kmsKeyArn": self.key.key_arn}, f"{self.settings.prefix}-encrypted"
        encrypted = {
            "s3Encryptions": [{"s3EncryptionMode": "SSE-KMS", **key}],
            "cloudWatchEncryption": {"cloudWatchEncryptionMode": "SSE-KMS", **key},
            "jobBookmarksEncryption": {"jobBookmarksEncryptionMode": "CSE-KMS", **key},
        }
        glue.CfnSecurityConfiguration(self, "Security", name=name, encryption_configuration=encrypted)
        return name

    def _make_crawler(self) -> str:
        """The crawler that finds the schema of raw events; it is started by hand or by the state machine."""
        name, bronze = f"{self.settings.prefix}-raw", self.settings.layout.bronze
        prefixes = [dataset.landing.prefix for dataset in event_streams(self.settings)]
        role = role_for(self, "CrawlerRole", "glue", "Finds the schema of raw events")
        self.storage.access.read(role, "bronze", *prefixes)
        self._allow_logs(role)
        because = "A crawler names the tables that it finds; the database is the raw zone's alone"
        allow_catalogue(role, _CRAWLED, self.settings, ["bronze"], because)
        failed = ["processing-failed/**", "format-conversion-failed/**"]
        crawler = glue.CfnCrawler(
            self,
            "Crawler",
            name=name,
            description="Finds the schema of raw events, and the hours that landed",
            role=role.role_arn,
            database_name=self.settings.database("bronze"),
            table_prefix="raw_",
            crawler_security_configuration=self.security,
            recrawl_policy={"recrawlBehavior": "CRAWL_NEW_FOLDERS_ONLY"},
            schema_change_policy={"updateBehavior": "LOG", "deleteBehavior": "LOG"},
            targets={"s3Targets": [{"path": f"{bronze}/{prefix}/", "exclusions": failed} for prefix in prefixes]},
        )
        crawler.add_resource_dependency(self.databases["bronze"])
        return name

    # --- jobs

    def _make_job_role(self, name: str, service: str, **more: str) -> iam.Role:
        """What a job may do: read what landed and its own code, write the zones of tables, and talk to its run."""
        role = role_for(self, name, service, f"The lake's steps on {service}", **more)
        access = self.storage.access
        access.read(role, "bronze", *landing_prefixes(self.settings))
        access.read(role, "artifacts", _CODE)
        for zone in ("silver", "gold", "quarantine", "lake"):
            access.write(role, zone)
        access.write(role, "pipes", _PIPES)
        self._allow_logs(role)
        if service == "glue":
            own = {"StringEquals": {"cloudwatch:namespace": "Glue"}}
            allow(role, ["cloudwatch:PutMetricData"], "*", conditions=own, because=NO_RESOURCES)
        else:
            allow(role, ["logs:DescribeLogGroups"], "*", because=NO_RESOURCES)
        return role

    def _allow_logs(self, role: iam.Role) -> None:
        groups = [self.settings.arn("logs", f"log-group:{g}") for g in ("/aws-glue/*", "/aws/emr-serverless*")]
        actions = ("CreateLogGroup", "CreateLogStream", "PutLogEvents", "AssociateKmsKey", "DescribeLogStreams")
        allow(role, [f"logs:{action}" for action in actions], *groups, because=LOGS_OF_JOBS)

    def _make_job(self, name: str, script: str, *, workers: int, runs: int, **arguments: str) -> str:
        """A Glue job that runs a script of the shipped code; which packages it installs is told when it is started."""
        full, place = f"{self.settings.prefix}-{name}", f"{self.settings.code_place}/{script}"
        glue.CfnJob(
            self,
            f"Job{name}",
            name=full,
            description=f"{script} of the lake's shipped code",
            role=self.job_role.role_arn,
            **_JOB,
            number_of_workers=workers,
            execution_property={"maxConcurrentRuns": runs},
            security_configuration=self.security,
            command={"name": "glueetl", "pythonVersion": "3", "scriptLocation": place},
            default_arguments={**_JOB_ARGUMENTS, "--TempDir": f"{self.settings.pipes_place}/glue", **arguments},
        )
        return full

    def _make_emr(self) -> emr.CfnApplication:
        """An application that stops when nobody uses it, and starts with a job."""
        network, vcpus = self.network, self.settings.emr_vcpus
        group = network.group(self, "Emr", "EMR Serverless")
        group.add_ingress_rule(group, ec2.Port.all_tcp(), "Executors and driver")
        group.add_egress_rule(group, ec2.Port.all_tcp(), "Executors and driver")
        place = {"subnetIds": network.subnets("private"), "securityGroupIds": [group.security_group_id]}
        spark = {"classification": "spark-defaults", "properties": {"spark.jars": _DELTA_JARS, **_SPARK}}
        return emr.CfnApplication(
            self,
            "EmrApplication",
            name=self.settings.prefix,
            type="SPARK",
            release_label=_EMR_RELEASE,
            architecture="X86_64",  # as the archive of packages is
            auto_start_configuration={"enabled": True},
            auto_stop_configuration={"enabled": True, "idleTimeoutMinutes": 5},
            maximum_capacity={"cpu": f"{vcpus} vCPU", "memory": f"{vcpus * 4} GB"},
            network_configuration=place,
            runtime_configuration=[spark],
        )
