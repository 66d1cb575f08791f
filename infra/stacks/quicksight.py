"""QuickSight: what `infra/dashboard.py` shows, over Athena, for one user who shares it further."""

from typing import Any

from aws_cdk import aws_athena as athena
from aws_cdk import aws_iam as iam
from aws_cdk import aws_quicksight as quicksight

from infra import dashboard
from infra.access import LakeStack
from infra.declared import catalogued
from infra.stacks.storage import StorageStack


def make_dashboard(stack: LakeStack, storage: StorageStack, role: iam.Role, *, workgroup: athena.CfnWorkGroup) -> None:
    """The data source, the data sets and the dashboard of the user whom the settings name; `role` reads the tables."""
    settings, prefix = stack.settings, stack.settings.prefix
    owner = settings.arn("quicksight", f"user/default/{settings.quicksight_user}")

    def shared(*actions: str) -> dict[str, Any]:
        owned = {"principal": owner, "actions": [f"quicksight:{action}" for action in actions]}
        return {"aws_account_id": settings.account, "permissions": [owned]}

    storage.access.query(role, prefix, "results")
    source = quicksight.CfnDataSource(
        stack,
        "DataSource",
        data_source_id=prefix,
        name=prefix,
        type="ATHENA",
        data_source_parameters={"athenaParameters": {"workGroup": prefix, "roleArn": role.role_arn}},
        **shared("DescribeDataSource", "DescribeDataSourcePermissions", "PassDataSource"),
    )
    source.node.add_dependency(workgroup, role.node.find_child("DefaultPolicy"))  # it is tried when it is made
    data_sets: dict[str, str] = {}
    for zone, spec, _ in catalogued(settings):
        if spec.name not in dashboard.tables() or zone not in {"gold", "lake"}:
            continue
        data_set = quicksight.CfnDataSet(
            stack,
            f"DataSet{spec.name.title().replace('_', '')}",
            data_set_id=f"{prefix}-{spec.name}",
            name=f"{prefix} {spec.name}",
            import_mode="DIRECT_QUERY",
            **shared("DescribeDataSet", "DescribeDataSetPermissions", "PassDataSet", "DescribeIngestion"),
        )
        table = {"DataSourceArn": source.attr_arn, "Catalog": "AwsDataCatalog", "Name": spec.name}
        database = {"Schema": settings.database(zone), "InputColumns": dashboard.input_columns(spec)}
        data_set.add_property_override("PhysicalTableMap", {"table": {"RelationalTable": {**table, **database}}})
        data_sets[spec.name] = data_set.attr_arn
    shown = quicksight.CfnDashboard(
        stack,
        "Dashboard",
        dashboard_id=prefix,
        name=f"The lake ({settings.env})",
        **shared("DescribeDashboard", "ListDashboardVersions", "QueryDashboard", "UpdateDashboardPermissions"),
    )
    shown.add_property_override("Definition", dashboard.definition(data_sets))
