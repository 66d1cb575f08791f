"""Who may see what, who saw it, and what it costs: Lake Formation, CloudTrail, budgets."""

from collections.abc import Iterator

import aws_cdk as cdk
from aws_cdk import aws_budgets as budgets
from aws_cdk import aws_cloudtrail as cloudtrail
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lakeformation as lakeformation
from aws_cdk import aws_s3 as s3
from constructs import Construct

from datalake_assets.lake.spec.table_spec import TableSpec
from infra.access import NO_RESOURCES, SERVED_TABLES, allow, known_key, log_group
from infra.declared import declared
from infra.settings import Settings
from infra.stacks.monitoring import MonitoringStack
from infra.stacks.processing import ProcessingStack
from infra.stacks.serving import SERVED, ServingStack
from infra.stacks.storage import StorageStack

_WATCHED = ("bronze", "silver", "gold", "quarantine", "lake")
_TAG, _PUBLIC, _PERSONAL = "sensitivity", "public", "personal"


class GovernanceStack(cdk.Stack):
    """Governance."""

    def __init__(
        self,
        scope: Construct,
        name: str,
        settings: Settings,
        *,
        storage: StorageStack,
        processing: ProcessingStack,
        serving: ServingStack,
        monitoring: MonitoringStack,
    ) -> None:
        super().__init__(scope, name, env=cdk.Environment(account=settings.account, region=settings.region))
        self.settings, self.key = settings, known_key(self, storage.key)
        self.add_stack_dependency(processing)  # what is tagged must be in the catalogue
        if settings.trail:
            self._keep_trail(storage)
        if settings.lake_formation:
            self._guard_catalogue(storage, serving)
        if settings.budget:
            self._watch_costs(monitoring)

    def _keep_trail(self, storage: StorageStack) -> None:
        """Who read and wrote which object of the lake, in files that show when they were changed."""
        trail = cloudtrail.Trail(
            self,
            "Trail",
            trail_name=self.settings.prefix,
            bucket=storage.logs,
            s3_key_prefix="cloudtrail",
            is_multi_region_trail=True,
            include_global_service_events=True,
            enable_file_validation=True,
            encryption_key=self.key,
            send_to_cloud_watch_logs=True,
            cloud_watch_log_group=log_group(
                self, "TrailLogs", self.settings, self.key, group=f"/{self.settings.prefix}/trail"
            ),
        )
        buckets = [s3.Bucket.from_bucket_name(self, z.title(), self.settings.bucket(z)) for z in _WATCHED]
        trail.add_s3_event_selector(
            [cloudtrail.S3EventSelector(bucket=bucket) for bucket in buckets], include_management_events=True
        )

    def _guard_catalogue(self, storage: StorageStack, serving: ServingStack) -> None:
        """Columns that tell of persons are tagged; analysts and engines may read what is not tagged so."""
        account, region = self.settings.account, self.settings.region
        deployer = f"arn:aws:iam::{account}:role/cdk-hnb659fds-cfn-exec-role-{account}-{region}"
        lake = lakeformation.CfnDataLakeSettings(
            self,
            "LakeFormation",
            admins=[
                lakeformation.CfnDataLakeSettings.DataLakePrincipalProperty(data_lake_principal_identifier=deployer)
            ],
            mutation_type="APPEND",
        )
        tag = lakeformation.CfnTag(self, "Tag", tag_key=_TAG, tag_values=[_PUBLIC, _PERSONAL])
        tag.add_resource_dependency(lake)
        for name, role in {"Analysts": self._analyst(storage), **{r.node.id: r for r in serving.readers}}.items():
            self._let_read(f"{name}Read", role).add_resource_dependency(tag)
        for zone in SERVED:
            place = lakeformation.CfnResource(
                self,
                f"{zone.title()}Place",
                resource_arn=f"arn:aws:s3:::{self.settings.bucket(zone)}",
                use_service_linked_role=True,
            )
            place.add_resource_dependency(lake)
            self._tag(
                f"{zone.title()}Public",
                tag,
                _PUBLIC,
                database=lakeformation.CfnTagAssociation.DatabaseResourceProperty(
                    catalog_id=account, name=self.settings.database(zone)
                ),
            )
        for spec, columns in self.personal():
            self._tag(
                f"{spec.zone.title()}{spec.name.title().replace('_', '')}Personal",
                tag,
                _PERSONAL,
                table_with_columns=lakeformation.CfnTagAssociation.TableWithColumnsResourceProperty(
                    catalog_id=account,
                    database_name=self.settings.database(spec.zone),
                    name=spec.name,
                    column_names=columns,
                ),
            )

    def _let_read(self, name: str, role: iam.Role) -> lakeformation.CfnPrincipalPermissions:
        """Let a role read, of all tables, what is tagged as public."""
        public = lakeformation.CfnPrincipalPermissions.LFTagProperty(tag_key=_TAG, tag_values=[_PUBLIC])
        return lakeformation.CfnPrincipalPermissions(
            self,
            name,
            principal=lakeformation.CfnPrincipalPermissions.DataLakePrincipalProperty(
                data_lake_principal_identifier=role.role_arn
            ),
            permissions=["DESCRIBE", "SELECT"],
            permissions_with_grant_option=[],
            resource=lakeformation.CfnPrincipalPermissions.ResourceProperty(
                lf_tag_policy=lakeformation.CfnPrincipalPermissions.LFTagPolicyResourceProperty(
                    catalog_id=self.settings.account, resource_type="TABLE", expression=[public]
                )
            ),
        )

    def personal(self) -> Iterator[tuple[TableSpec, list[str]]]:
        """The tables that analysts may read, with those of their columns that tell of persons."""
        named = set(self.settings.listed("personal_columns"))
        for spec in declared(self.settings).specs():
            columns = [column for column in spec.columns if column in named]
            if spec.zone in SERVED and columns:
                yield spec, columns

    def _tag(self, name: str, tag: lakeformation.CfnTag, value: str, **resource: object) -> None:
        pair = lakeformation.CfnTagAssociation.LFTagPairProperty(
            catalog_id=self.settings.account, tag_key=_TAG, tag_values=[value]
        )
        made = lakeformation.CfnTagAssociation(
            self,
            name,
            lf_tags=[pair],
            resource=lakeformation.CfnTagAssociation.ResourceProperty(**resource),  # type: ignore[arg-type]
        )
        made.add_resource_dependency(tag)

    def _analyst(self, storage: StorageStack) -> iam.Role:
        """The role that people take to query: Athena's workgroup, and what Lake Formation lets through."""
        account, region = self.settings.account, self.settings.region
        role = iam.Role(
            self,
            "Analyst",
            role_name=f"{self.settings.prefix}-analyst",
            description="Queries silver and gold by Athena, without columns that tell of persons",
            assumed_by=iam.AccountPrincipal(account),
        )
        queries = ("StartQueryExecution", "StopQueryExecution", "GetQueryExecution", "GetQueryResults", "GetWorkGroup")
        workgroup = f"arn:aws:athena:{region}:{account}:workgroup/{self.settings.prefix}"
        allow(role, [f"athena:{action}" for action in queries], workgroup)
        catalogue = f"arn:aws:glue:{region}:{account}"
        names = [self.settings.database(zone) for zone in SERVED]
        allow(
            role,
            ["glue:GetDatabase", "glue:GetTable", "glue:GetTables", "glue:GetPartitions"],
            f"{catalogue}:catalog",
            *(f"{catalogue}:database/{database}" for database in names),
            *(f"{catalogue}:table/{database}/*" for database in names),
            because=SERVED_TABLES,
        )
        allow(role, ["lakeformation:GetDataAccess"], "*", because=NO_RESOURCES)
        storage.access.write(role, "athena", "results")
        return role

    def _watch_costs(self, monitoring: MonitoringStack) -> None:
        subscriber = budgets.CfnBudget.SubscriberProperty(subscription_type="SNS", address=monitoring.topic.topic_arn)
        budgets.CfnBudget(
            self,
            "Budget",
            budget=budgets.CfnBudget.BudgetDataProperty(
                budget_name=self.settings.prefix,
                budget_type="COST",
                time_unit="MONTHLY",
                budget_limit=budgets.CfnBudget.SpendProperty(amount=self.settings.budget, unit="USD"),
                cost_filters={"TagKeyValue": [f"user:environment${self.settings.env}"]},
            ),
            notifications_with_subscribers=[
                budgets.CfnBudget.NotificationWithSubscribersProperty(
                    notification=budgets.CfnBudget.NotificationProperty(
                        comparison_operator="GREATER_THAN",
                        notification_type=kind,
                        threshold=share,
                        threshold_type="PERCENTAGE",
                    ),
                    subscribers=[subscriber],
                )
                for kind, share in (("ACTUAL", 80), ("FORECASTED", 100))
            ],
        )
