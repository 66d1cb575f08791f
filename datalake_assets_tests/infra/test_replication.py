"""What DMS is told is what the lake reads: its names, folders, columns and settings, with the lake's own code."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import botocore.session
import pytest

from datalake_assets.lake.spec.cdc_table import OPERATION_COLUMN, CdcTable
from datalake_assets.lake.store.landing import is_data, is_full_load, landing_time
from datalake_assets_tests.infra.templates import Synthesized
from infra.declared import declared

pytestmark = pytest.mark.xdist_group("infra")

_WHEN = datetime(2026, 3, 9, 14, 5, 6, tzinfo=UTC)


def test_dms_writes_names_and_folders_that_the_lake_reads_back(staging: Synthesized) -> None:
    endpoint = staging.named("AWS::DMS::Endpoint", "EngineName", "s3")["S3Settings"]
    assert (endpoint["DatePartitionSequence"], endpoint["DatePartitionDelimiter"]) == ("YYYYMMDDHH", "SLASH")
    for dataset, (schema, table) in _mapped(staging):
        folder = f"{endpoint['BucketFolder']}/{schema}/{table}"
        assert folder == dataset.landing.prefix
        change = f"{_WHEN:%Y/%m/%d/%H}/{_WHEN:%Y%m%d-%H%M%S}123.{endpoint['DataFormat']}"
        assert landing_time(change, datetime.now(UTC)) == _WHEN.replace(minute=0, second=0)
        assert is_data(change, size=1)
        assert not is_full_load(change)
        assert is_full_load(f"{_WHEN:%Y/%m/%d/%H}/LOAD00000001.{endpoint['DataFormat']}")


def test_dms_writes_the_columns_that_the_lake_orders_changes_by(staging: Synthesized) -> None:
    endpoint = staging.named("AWS::DMS::Endpoint", "EngineName", "s3")["S3Settings"]
    rules = _rules(staging)
    for dataset, (schema, table) in _mapped(staging):
        added = {
            rule["value"]: rule["expression"]
            for rule in rules
            if rule["rule-type"] == "transformation" and _at(rule) == (schema, table)
        }
        assert added == {"ar_h_change_seq": "$AR_H_CHANGE_SEQ"}
        written = {OPERATION_COLUMN, endpoint["TimestampColumnName"], *added, *dataset.columns}
        assert dataset.timestamp_column == endpoint["TimestampColumnName"]
        assert {*dataset.order_by, *dataset.dms_columns} - written <= {f"BI_{name}" for name in dataset.columns}
    assert endpoint["IncludeOpForFullLoad"] is True
    assert endpoint["UseTaskStartTimeForFullLoadTimestamp"] is True
    assert endpoint["ParquetTimestampInMillisecond"] is False
    assert endpoint["PreserveTransactions"] is False


def test_dms_deletes_nothing_that_landed(staging: Synthesized) -> None:
    (replication,) = staging.resources("AWS::DMS::ReplicationConfig").values()
    settings = replication["ReplicationSettings"]
    ddl = settings["ChangeProcessingDdlHandlingPolicy"]
    assert (ddl["HandleSourceTableDropped"], ddl["HandleSourceTableTruncated"]) == (False, False)
    assert settings["FullLoadSettings"]["TargetTablePrepMode"] == "DO_NOTHING"
    assert settings["TargetMetadata"]["BatchApplyEnabled"] is False
    assert replication["ReplicationType"] == "full-load-and-cdc"


def test_the_source_lets_its_changes_be_followed(staging: Synthesized) -> None:
    source = staging.named("AWS::DMS::Endpoint", "EndpointType", "source")["PostgreSqlSettings"]
    assert source["MapBooleanAsBoolean"] is True
    assert source["HeartbeatEnable"] is True
    (parameters,) = staging.resources("AWS::RDS::DBClusterParameterGroup", stack="sources").values()
    assert parameters["Parameters"]["rds.logical_replication"] == "1"


def test_what_dms_is_told_are_settings_that_its_api_knows(staging: Synthesized) -> None:
    for endpoint in staging.resources("AWS::DMS::Endpoint").values():
        for part, shape in (("S3Settings", "S3Settings"), ("PostgreSqlSettings", "PostgreSQLSettings")):
            assert set(endpoint.get(part, {})) <= _members("dms", shape)
    (replication,) = staging.resources("AWS::DMS::ReplicationConfig").values()
    assert set(replication["ComputeConfig"]) <= _members("dms", "ComputeConfig")


def _rules(synthesized: Synthesized) -> list[dict[str, Any]]:
    name = f"{synthesized.settings.prefix}-lake"
    found = synthesized.named("AWS::DMS::ReplicationConfig", "ReplicationConfigIdentifier", name)
    return list(found["TableMappings"]["rules"])


def _at(rule: Mapping[str, Any]) -> tuple[str, str]:
    return rule["object-locator"]["schema-name"], rule["object-locator"]["table-name"]


def _mapped(synthesized: Synthesized) -> list[tuple[CdcTable, tuple[str, str]]]:
    """The replicated datasets with the schema and table that DMS takes for each."""
    datasets = declared(synthesized.settings).datasets.values()
    by_table: dict[tuple[str, ...], CdcTable] = {
        tuple(d.landing.prefix.split("/")[1:]): d for d in datasets if isinstance(d, CdcTable)
    }
    selected = [_at(rule) for rule in _rules(synthesized) if rule["rule-type"] == "selection"]
    assert sorted(selected) == sorted(by_table)
    return [(by_table[at], at) for at in selected]


def _members(service: str, shape: str) -> set[str]:
    return set(botocore.session.get_session().get_service_model(service).shape_for(shape).members)
