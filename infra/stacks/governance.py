"""Who may see what, who saw it, and what it costs: Lake Formation, CloudTrail, budgets."""

from collections.abc import Iterator

from aws_cdk import aws_budgets as budgets
from aws_cdk import aws_cloudtrail as cloudtrail
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lakeformation as lakeformation
from aws_cdk import aws_s3 as s3
from constructs import Construct

from datalake_assets.lake.spec.table_spec import TableSpec
from infra.access import NO_RESOURCES, SERVED_TABLES, LakeStack, allow, allow_catalogue, role_for
from infra.declared import declared
from infra.settings import Settings
from infra.stacks.monitoring import MonitoringStack
from infra.stacks.processing import SERVED
from infra.stacks.serving import ANALYSTS, ServingStack
from infra.stacks.storage import TRAIL, StorageStack

_WATCHED = ("bronze", "silver", "gold", "quarantine", "lake")
_PUBLIC, _PERSONAL = "public", "personal"


class GovernanceStack(LakeStack):
    """Governance."""

    def __init__(
        self, scope: Construct, name: str, settings: Settings, serving: ServingStack, monitoring: MonitoringStack
    ) -> None:
        super().__init__(scope, name, settings)
        storage = serving.storage
        self.know_key(storage.key)
        self.tag = f"{settings.prefix}-sensitivity"  # an account may have several environments
        self.add_stack_dependency(serving.processing)  # what is tagged must be in the catalogue
        if settings.trail:
            self._keep_trail()
        if settings.lake_formation:
            self._guard_catalogue(storage, serving)
        if settings.budget:
            self._watch_costs(monitoring)

    def _keep_trail(self) -> None:
        """Who read and wrote which object of the lake, in files that show when they were changed."""
        trail = cloudtrail.Trail(
            self,
            "Trail",
            trail_name=self.settings.prefix,
            bucket=s3.Bucket.from_bucket_name(self, "Logs", self.settings.bucket("logs")),  # whose policy knows it
            s3_key_prefix=TRAIL,
            is_multi_region_trail=True,
            include_global_service_events=True,
            enable_file_validation=True,
            encryption_key=self.key,
            send_to_cloud_watch_logs=True,
            cloud_watch_log_group=self.log_group("TrailLogs", f"/{self.settings.prefix}/trail"),
        )
        watched = (*_WATCHED, "archive") if self.settings.archive else _WATCHED
        buckets = [s3.Bucket.from_bucket_name(self, z.title(), self.settings.bucket(z)) for z in watched]
        selectors = [cloudtrail.S3EventSelector(bucket=bucket) for bucket in buckets]
        trail.add_s3_event_selector(selectors, include_management_events=True)

    def _guard_catalogue(self, storage: StorageStack, serving: ServingStack) -> None:
        """Columns that tell of persons are tagged; analysts and engines may read what is not tagged so."""
        settings, account = self.settings, self.settings.account
        deployer = f"arn:aws:iam::{account}:role/cdk-hnb659fds-cfn-exec-role-{account}-{settings.region}"
        admins = [{"dataLakePrincipalIdentifier": deployer}]
        lake = lakeformation.CfnDataLakeSettings(self, "LakeFormation", admins=admins, mutation_type="APPEND")
        tag = lakeformation.CfnTag(self, "Tag", tag_key=self.tag, tag_values=[_PUBLIC, _PERSONAL])
        tag.add_resource_dependency(lake)
        for name, role in {"Analysts": self._analyst(storage), **{r.node.id: r for r in serving.readers}}.items():
            self._let_read(f"{name}Read", role).add_resource_dependency(tag)
        # Lake Formation's own linked role can't have the key.
        reader = role_for(self, "LakeFormationRole", "lakeformation", "Reads silver and gold for whom it lets")
        for zone in SERVED:
            storage.access.read(reader, zone)
            arn = storage.access.bucket_arn(zone)
            place = lakeformation.CfnResource(
                self, f"{zone.title()}Place", resource_arn=arn, use_service_linked_role=False, role_arn=reader.role_arn
            )
            place.add_resource_dependency(lake)
            place.node.add_dependency(reader.node.find_child("DefaultPolicy"))
            database = {"catalogId": account, "name": settings.database(zone)}
            self._tag(f"{zone.title()}Public", tag, _PUBLIC, {"database": database})
        for spec, columns in self.personal():
            table = {"catalogId": account, "databaseName": settings.database(spec.zone), "name": spec.name}
            name = f"{spec.zone.title()}{spec.name.title().replace('_', '')}Personal"
            self._tag(name, tag, _PERSONAL, {"tableWithColumns": {**table, "columnNames": columns}})

    def _let_read(self, name: str, role: iam.Role) -> lakeformation.CfnPrincipalPermissions:
        """Let a role read, of all tables, what is tagged as public."""
        public = {"tagKey": self.tag, "tagValues": [_PUBLIC]}
        policy = {"catalogId": self.settings.account, "resourceType": "TABLE", "expression": [public]}
        return lakeformation.CfnPrincipalPermissions(
            self,
            name,
            principal={"dataLakePrincipalIdentifier": role.role_arn},
            permissions=["DESCRIBE", "SELECT"],
            permissions_with_grant_option=[],
            resource={"lfTagPolicy": policy},
        )

    def personal(self) -> Iterator[tuple[TableSpec, list[str]]]:
        """The tables that analysts may read, with those of their columns that tell of persons."""
        named = {name.lower() for name in self.settings.listed("personal_columns")}
        for spec in declared(self.settings).specs():
            columns = [column for column in spec.columns if column.lower() in named]
            if spec.zone in SERVED and columns:
                yield spec, columns

    def _tag(self, name: str, tag: lakeformation.CfnTag, value: str, resource: dict[str, object]) -> None:
        pair = {"catalogId": self.settings.account, "tagKey": self.tag, "tagValues": [value]}
        made = lakeformation.CfnTagAssociation(self, name, lf_tags=[pair], resource=resource)
        made.add_resource_dependency(tag)

    def _analyst(self, storage: StorageStack) -> iam.Role:
        """The role that people take to query: Athena's workgroup, and what Lake Formation lets through."""
        people, name = iam.AccountPrincipal(self.settings.account), f"{self.settings.prefix}-analyst"
        told = "Queries silver and gold by Athena, without columns that tell of persons"
        role = role_for(self, "Analyst", people, told, role_name=name)
        storage.access.query(role, f"{self.settings.prefix}-analysts", ANALYSTS)
        found = ("GetDatabase", "GetTable", "GetTables", "GetPartitions")
        allow_catalogue(role, found, self.settings, SERVED, SERVED_TABLES)
        allow(role, ["lakeformation:GetDataAccess"], "*", because=NO_RESOURCES)
        return role

    def _watch_costs(self, monitoring: MonitoringStack) -> None:
        told = {"comparisonOperator": "GREATER_THAN", "thresholdType": "PERCENTAGE"}
        marks = [
            {**told, "notificationType": kind, "threshold": n} for kind, n in (("ACTUAL", 80), ("FORECASTED", 100))
        ]
        topic = {"subscriptionType": "SNS", "address": monitoring.topic.topic_arn}
        budgets.CfnBudget(
            self,
            "Budget",
            budget={
                "budgetName": self.settings.prefix,
                "budgetType": "COST",
                "timeUnit": "MONTHLY",
                "budgetLimit": {"amount": self.settings.budget, "unit": "USD"},
                "costFilters": {"TagKeyValue": [f"user:environment${self.settings.env}"]},
            },
            notifications_with_subscribers=[{"notification": mark, "subscribers": [topic]} for mark in marks],
        )
