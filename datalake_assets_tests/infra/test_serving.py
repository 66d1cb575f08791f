"""Serving and governance: what is asked is there, what is personal is not shown, and who looked is known."""

import json
from typing import Any

import duckdb
import polars as pl
import pytest

from datalake_assets_tests.infra.conftest import Synthesize
from datalake_assets_tests.infra.templates import Synthesized, listed
from infra.dashboard import SHEETS
from infra.declared import declared
from infra.stacks.processing import SERVED
from infra.stacks.serving import ANALYSTS

pytestmark = pytest.mark.xdist_group("infra")


def _columns(made: Synthesized) -> dict[tuple[str, str], list[str]]:
    """The columns of each table that the catalogue has, by database and name."""
    return {
        (table["DatabaseName"], table["TableInput"]["Name"]): [
            column["Name"] for column in table["TableInput"]["StorageDescriptor"]["Columns"]
        ]
        for table in made.resources("AWS::Glue::Table").values()
    }


def test_athena_writes_encrypted_results_to_its_bucket_and_bounds_what_a_query_reads(anywhere: Synthesized) -> None:
    workgroup = anywhere.named("AWS::Athena::WorkGroup", "Name", anywhere.settings.prefix)
    told = workgroup["WorkGroupConfiguration"]
    assert told["EnforceWorkGroupConfiguration"]
    assert told["EngineVersion"] == {"SelectedEngineVersion": "Athena engine version 3"}
    assert told["BytesScannedCutoffPerQuery"] == anywhere.settings.athena_gigabytes * 10**9
    results = told["ResultConfiguration"]
    assert results["OutputLocation"] == f"s3://{anywhere.settings.bucket('athena')}/results/"
    assert results["EncryptionConfiguration"]["EncryptionOption"] == "SSE_KMS"


def test_the_named_queries_run_on_the_lakes_tables(staging: Synthesized) -> None:
    settings = staging.settings
    with duckdb.connect() as connection:
        for zone in ("silver", "gold", "lake"):
            connection.execute(f"CREATE SCHEMA {settings.database(zone)}")
        lake = declared(settings)
        for spec in lake.specs():
            if spec.zone in {"gold", "lake"}:
                empty = pl.DataFrame(schema=lake.table(spec).dtypes)  # noqa: F841 (DuckDB reads it by its name)
                connection.execute(f"CREATE TABLE {settings.database(spec.zone)}.{spec.name} AS FROM empty")
        queries = staging.resources("AWS::Athena::NamedQuery").values()
        assert len(queries) == 4
        for query in queries:
            assert connection.execute(query["QueryString"]).fetchall() == []


def test_databases_of_figures_are_encrypted_hidden_and_hard_to_delete(anywhere: Synthesized) -> None:
    for cluster in anywhere.resources("AWS::RDS::DBCluster", stack="serving").values():
        assert cluster["StorageEncrypted"]
        assert cluster["DeletionProtection"]
        assert cluster["EnableIAMDatabaseAuthentication"]
    for database in anywhere.resources("AWS::RDS::DBInstance").values():
        assert database["PubliclyAccessible"] is False
    for workgroup in anywhere.resources("AWS::RedshiftServerless::Workgroup").values():
        assert workgroup["PubliclyAccessible"] is False
        assert workgroup["EnhancedVpcRouting"]
        assert {"ParameterKey": "require_ssl", "ParameterValue": "true"} in workgroup["ConfigParameters"]
    for namespace in anywhere.resources("AWS::RedshiftServerless::Namespace").values():
        assert namespace["KmsKeyId"]
        assert "{{resolve:secretsmanager:" in str(namespace["AdminUserPassword"])


def test_the_mart_has_its_schemas_and_redshift_those_of_the_catalogue(synthesized: Synthesize) -> None:
    made = synthesized("extended")
    calls = json.dumps(made.resources("Custom::AWS")).replace("\\", "")
    for statement in ("CREATE SCHEMA IF NOT EXISTS mart", "CREATE SCHEMA IF NOT EXISTS audit"):
        assert statement in calls
    for zone in SERVED:
        database = made.settings.database(zone)
        assert f"CREATE EXTERNAL SCHEMA IF NOT EXISTS {zone} FROM DATA CATALOG DATABASE '{database}'" in calls


def test_the_dashboard_shows_columns_that_its_data_sets_have(synthesized: Synthesize) -> None:
    made = synthesized("extended")
    sets = {
        table["Name"]: table
        for data_set in made.resources("AWS::QuickSight::DataSet").values()
        for table in (data_set["PhysicalTableMap"]["table"]["RelationalTable"],)
    }
    in_catalogue = _columns(made)
    for name, table in sets.items():
        assert {column["Name"] for column in table["InputColumns"]} <= {*in_catalogue[table["Schema"], name]}
    (dashboard,) = made.resources("AWS::QuickSight::Dashboard").values()
    definition = dashboard["Definition"]
    assert {sheet["Name"] for sheet in definition["Sheets"]} == {"Ingestion", "Quality", "Sources", "Cost"}
    assert {told["Identifier"] for told in definition["DataSetIdentifierDeclarations"]} == set(sets)
    for chart in (chart for charts in SHEETS.values() for chart in charts):
        columns = {column["Name"] for column in sets[chart.table]["InputColumns"]}
        assert {chart.over, chart.value, chart.by} <= columns, chart.title


def test_every_column_that_tells_of_persons_is_tagged_and_analysts_see_the_others(synthesized: Synthesize) -> None:
    made = synthesized("extended")
    settings = made.settings
    served = {settings.database(zone) for zone in SERVED}
    personal = {
        (database, table, column)
        for (database, table), columns in _columns(made).items()
        for column in columns
        if database in served and column in settings.listed("personal_columns")
    }
    assert (settings.database("silver"), "customers", "email") in personal
    tagged: dict[str, set[Any]] = {"public": set(), "personal": set()}
    for association in made.resources("AWS::LakeFormation::TagAssociation").values():
        ((value,),) = (pair["TagValues"] for pair in association["LFTags"])
        resource = association["Resource"]
        if "Database" in resource:
            tagged[value].add(resource["Database"]["Name"])
        else:
            at = resource["TableWithColumns"]
            tagged[value] |= {(at["DatabaseName"], at["Name"], column) for column in at["ColumnNames"]}
    assert tagged == {"public": served, "personal": personal}
    grants = made.resources("AWS::LakeFormation::PrincipalPermissions")
    assert len(grants) == 3  # analysts, Redshift, QuickSight
    for grant in grants.values():
        (expression,) = grant["Resource"]["LFTagPolicy"]["Expression"]
        assert expression["TagValues"] == ["public"]
        assert set(grant["Permissions"]) == {"DESCRIBE", "SELECT"}


def test_analysts_have_no_way_to_the_objects_themselves(staging: Synthesized) -> None:
    reached = [
        arn
        for where, statement in staging.statements
        if where.startswith("governance/Analyst")
        for arn in listed(statement["Resource"])
        if str(arn).startswith("arn:aws:s3:::")
    ]
    assert reached
    assert all(staging.settings.bucket("athena") in arn for arn in reached)


def test_who_reads_or_writes_an_object_of_the_lake_is_kept(staging: Synthesized) -> None:
    (trail,) = staging.resources("AWS::CloudTrail::Trail").values()
    assert trail["EnableLogFileValidation"]
    assert trail["IsMultiRegionTrail"]
    assert trail["KMSKeyId"]
    watched = str(trail["EventSelectors"])
    for zone in ("bronze", "silver", "gold", "quarantine", "lake"):
        assert f"{staging.settings.bucket(zone)}/" in watched


def test_mails_go_out_at_four_fifths_of_the_budget_and_when_the_forecast_exceeds_it(anywhere: Synthesized) -> None:
    (budget,) = anywhere.resources("AWS::Budgets::Budget").values()
    told = [entry["Notification"] for entry in budget["NotificationsWithSubscribers"]]
    assert [(n["NotificationType"], n["Threshold"]) for n in told] == [("ACTUAL", 80), ("FORECASTED", 100)]
    assert budget["Budget"]["CostFilters"] == {"TagKeyValue": [f"user:environment${anywhere.settings.env}"]}


def test_new_tables_are_not_everybodys_where_lake_formation_guards(staging: Synthesized) -> None:
    for zone in SERVED:
        (told,) = (
            d["DatabaseInput"]
            for d in staging.resources("AWS::Glue::Database").values()
            if d["DatabaseInput"]["Name"] == staging.settings.database(zone)
        )
        assert told["CreateTableDefaultPermissions"] == []


def test_lake_formation_reads_what_is_under_the_key_by_a_role_that_may(staging: Synthesized) -> None:
    places = staging.resources("AWS::LakeFormation::Resource").values()
    assert len(places) == len(SERVED)
    assert all("LakeFormationRole" in json.dumps(place["RoleArn"]) for place in places)
    may = [s["Action"] for where, s in staging.statements if where.startswith("governance/LakeFormationRole")]
    assert {"s3:GetObject", "kms:Decrypt"} <= {action for actions in may for action in listed(actions)}


def test_who_reads_the_archive_is_logged(synthesized: Synthesize) -> None:
    made = synthesized("extended")
    (trail,) = made.resources("AWS::CloudTrail::Trail").values()
    assert made.settings.bucket("archive") in json.dumps(trail["EventSelectors"])


def test_analysts_reach_no_results_but_their_own(staging: Synthesized) -> None:
    may = [s for where, s in staging.statements if where.startswith("governance/Analyst")]
    objects = {r for s in may for r in listed(s["Resource"]) if str(r).startswith("arn:aws:s3:::") and "/" in r}
    assert objects == {f"arn:aws:s3:::{staging.settings.bucket('athena')}/{ANALYSTS}/*"}
    (asked,) = (s["Resource"] for s in may if "athena:StartQueryExecution" in s["Action"])
    workgroup = staging.named("AWS::Athena::WorkGroup", "Name", asked.rpartition("/")[2])
    place = workgroup["WorkGroupConfiguration"]["ResultConfiguration"]["OutputLocation"]
    assert place == f"s3://{staging.settings.bucket('athena')}/{ANALYSTS}/"


def test_redshift_reaches_what_it_reads_and_has_a_bound(synthesized: Synthesize) -> None:
    made = synthesized("prod")
    (workgroup,) = made.resources("AWS::RedshiftServerless::Workgroup").values()
    assert workgroup["MaxCapacity"] > workgroup["BaseCapacity"]
    (group,) = (g for w, g in made.resources("AWS::EC2::SecurityGroup").items() if "RedshiftAccess" in w)
    assert [rule["FromPort"] for rule in group["SecurityGroupEgress"]] == [443]
    assert any("LakeFormation" in where for where in made.resources("AWS::EC2::VPCEndpoint"))
    may = [s for where, s in made.statements if where.startswith("serving/SpectrumRole")]
    unloaded = f"arn:aws:s3:::{made.settings.bucket('athena')}/{ANALYSTS}/unloaded/*"
    assert any(unloaded in listed(s["Resource"]) for s in may)
