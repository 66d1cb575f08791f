"""QuickSight: what `infra/dashboard.py` shows, over Athena, for one user who shares it further."""

from collections.abc import Iterator

import aws_cdk as cdk
from aws_cdk import aws_athena as athena
from aws_cdk import aws_iam as iam
from aws_cdk import aws_quicksight as quicksight

from infra import dashboard
from infra.access import allow
from infra.declared import catalogued
from infra.settings import Settings
from infra.stacks.storage import StorageStack


def make_dashboard(
    stack: cdk.Stack, settings: Settings, storage: StorageStack, role: iam.Role, *, workgroup: athena.CfnWorkGroup
) -> None:
    """The data source, the data sets and the dashboard of the user whom the settings name; `role` reads the tables."""
    owner = f"arn:aws:quicksight:{settings.region}:{settings.account}:user/default/{settings.quicksight_user}"
    asked = f"arn:aws:athena:{settings.region}:{settings.account}:workgroup/{settings.prefix}"
    queries = ("StartQueryExecution", "StopQueryExecution", "GetQueryExecution", "GetQueryResults", "GetWorkGroup")
    allow(role, [f"athena:{action}" for action in queries], asked)
    storage.access.write(role, "athena", "results")
    source = quicksight.CfnDataSource(
        stack,
        "DataSource",
        aws_account_id=settings.account,
        data_source_id=settings.prefix,
        name=settings.prefix,
        type="ATHENA",
        data_source_parameters=quicksight.CfnDataSource.DataSourceParametersProperty(
            athena_parameters=quicksight.CfnDataSource.AthenaParametersProperty(
                work_group=settings.prefix, role_arn=role.role_arn
            )
        ),
        permissions=[
            quicksight.CfnDataSource.ResourcePermissionProperty(
                principal=owner,
                actions=_quicksight("DescribeDataSource", "DescribeDataSourcePermissions", "PassDataSource"),
            )
        ],
    )
    source.node.add_dependency(workgroup)
    data_sets = dict(_make_data_sets(stack, settings, source, owner))
    shown = quicksight.CfnDashboard(
        stack,
        "Dashboard",
        aws_account_id=settings.account,
        dashboard_id=settings.prefix,
        name=f"The lake ({settings.env})",
        permissions=[
            quicksight.CfnDashboard.ResourcePermissionProperty(
                principal=owner,
                actions=_quicksight(
                    "DescribeDashboard", "ListDashboardVersions", "QueryDashboard", "UpdateDashboardPermissions"
                ),
            )
        ],
    )
    shown.add_property_override("Definition", dashboard.definition(data_sets))


def _make_data_sets(
    stack: cdk.Stack, settings: Settings, source: quicksight.CfnDataSource, owner: str
) -> Iterator[tuple[str, str]]:
    for zone, spec, _ in catalogued(settings):
        if spec.name not in dashboard.tables() or zone not in {"gold", "lake"}:
            continue
        data_set = quicksight.CfnDataSet(
            stack,
            f"DataSet{spec.name.title().replace('_', '')}",
            aws_account_id=settings.account,
            data_set_id=f"{settings.prefix}-{spec.name}",
            name=f"{settings.prefix} {spec.name}",
            import_mode="DIRECT_QUERY",
            permissions=[
                quicksight.CfnDataSet.ResourcePermissionProperty(
                    principal=owner,
                    actions=_quicksight(
                        "DescribeDataSet", "DescribeDataSetPermissions", "PassDataSet", "DescribeIngestion"
                    ),
                )
            ],
        )
        table = {"DataSourceArn": source.attr_arn, "Catalog": "AwsDataCatalog", "Name": spec.name}
        database = {"Schema": settings.database(zone), "InputColumns": dashboard.input_columns(spec)}
        data_set.add_property_override("PhysicalTableMap", {"table": {"RelationalTable": {**table, **database}}})
        yield spec.name, data_set.attr_arn


def _quicksight(*actions: str) -> list[str]:
    return [f"quicksight:{action}" for action in actions]
