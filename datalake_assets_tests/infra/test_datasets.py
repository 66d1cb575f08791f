"""A new dataset file is all that a new table or stream needs: what it changes in AWS follows."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from datalake_assets.lake.spec.dataset_files import DatasetError
from datalake_assets_tests.infra.conftest import Synthesize
from datalake_assets_tests.infra.templates import Synthesized, synthesize
from infra.declared import delivery_streams
from infra.replication import replicated_tables, table_mappings, timestamp_column
from infra.settings import ENVIRONMENTS, Settings, SettingsError
from infra.stacks.storage import few_prefixes

pytestmark = pytest.mark.xdist_group("infra")


@pytest.fixture
def extended(synthesized: Synthesize) -> Synthesized:
    """Staging with two dataset files more: the replicated table `invoices`, the event stream `clicks`."""
    return synthesized("extended")


def test_a_replicated_table_more_is_one_that_dms_replicates(staging: Synthesized, extended: Synthesized) -> None:
    added = [rule for rule in _rules(extended) if rule["object-locator"]["table-name"] == "invoices"]
    assert {rule["rule-type"] for rule in added} == {"selection", "transformation"}
    assert {rule["object-locator"]["schema-name"] for rule in added} == {"billing"}
    assert len(_rules(extended)) == len(_rules(staging)) + 2
    assert len({rule["rule-id"] for rule in _rules(extended)}) == len(_rules(extended))


def test_an_event_stream_more_has_a_delivery_stream_that_the_ingest_api_may_put_to(
    staging: Synthesized, extended: Synthesized
) -> None:
    before, now = (_names(s, "AWS::KinesisFirehose::DeliveryStream", "DeliveryStreamName") for s in (staging, extended))
    assert now - before == {"datalake-staging-clicks", "datalake-staging-clicks-from-kinesis"}
    contracts = json.loads((extended.out / "lambdas" / "contracts.json").read_text())
    assert contracts["clicks"]["stream"] == "datalake-staging-clicks"
    allowed = [s for w, s in extended.statements if w.startswith("streams/ingest") and "PutRecordBatch" in str(s)]
    assert "clicks" in json.dumps(allowed)


def test_new_datasets_are_in_the_catalogue_the_queue_and_the_rights_of_jobs(
    staging: Synthesized, extended: Synthesized
) -> None:
    tables = [{t["TableInput"]["Name"] for t in s.resources("AWS::Glue::Table").values()} for s in (staging, extended)]
    assert tables[1] - tables[0] == {"invoices", "invoices_tombstones", "clicks", "clicks_duplicates"}
    for prefix in ("dms/billing/invoices", "firehose/clicks"):
        assert f'"{prefix}/"' in json.dumps(extended.templates["storage"])
        assert f"{prefix}/*" in json.dumps(extended.templates["processing"])
        assert prefix not in json.dumps(staging.templates)


def test_many_datasets_fit_into_one_rule_by_their_first_folders() -> None:
    few = ["dms/public/orders", "firehose/clicks"]
    many = [f"dms/public/table_{n:03}" for n in range(100)] + ["firehose/clicks"]
    assert few_prefixes(few) == few
    assert few_prefixes(many) == ["dms", "firehose"]


def test_the_replica_gets_the_tables_without_what_the_lake_adds(extended: Synthesized) -> None:
    replica = extended.named("AWS::DMS::ReplicationConfig", "ReplicationConfigIdentifier", "datalake-staging-replica")
    assert {rule["rule-type"] for rule in replica["TableMappings"]["rules"]} == {"selection"}
    target = extended.named("AWS::DMS::Endpoint", "EngineName", "aurora")
    assert target["SslMode"] == "verify-ca"


def test_a_peered_source_lets_the_lake_in_and_both_sides_know_the_way(extended: Synthesized) -> None:
    settings = extended.settings
    (asked,) = extended.resources("AWS::EC2::VPCPeeringConnection").values()
    (role,) = extended.resources("AWS::IAM::Role", stack="accepter").values()
    assert asked["PeerRoleArn"].endswith(f"/{role['RoleName']}")
    assert asked["PeerOwnerId"] == settings.peer_account
    assert settings.account in json.dumps(role["AssumeRolePolicyDocument"])
    (back,) = extended.resources("AWS::EC2::Route", stack="accepter").values()
    assert back["DestinationCidrBlock"] == settings.cidr
    there = [
        r for r in extended.resources("AWS::EC2::Route", stack="network").values() if "VpcPeeringConnectionId" in r
    ]
    assert len(there) == 6
    (entrance,) = extended.resources("AWS::EC2::SecurityGroupIngress", stack="accepter").values()
    assert (entrance["CidrIp"], entrance["FromPort"]) == (settings.cidr, 5432)


def test_the_archive_takes_copies_and_no_deletes(extended: Synthesized) -> None:
    bronze = extended.named("AWS::S3::Bucket", "BucketName", extended.settings.bucket("bronze"))
    (rule,) = bronze["ReplicationConfiguration"]["Rules"]
    assert rule["Status"] == "Enabled"
    assert rule["DeleteMarkerReplication"] == {"Status": "Disabled"}
    archive = extended.named("AWS::S3::Bucket", "BucketName", extended.settings.bucket("archive"))
    assert rule["Destination"]["Bucket"].endswith(archive["BucketName"])
    (history,) = archive["LifecycleConfiguration"]["Rules"]
    assert [move["StorageClass"] for move in history["Transitions"]] == ["DEEP_ARCHIVE"]
    assert rule["Destination"]["StorageClass"] == "GLACIER"  # at once: a transition leaves out what is small


def test_a_table_whose_commit_times_are_in_another_column_is_refused(tmp_path: Path) -> None:
    settings = _with(tmp_path, "orders.yaml", ("dms_timestamp", "committed"))
    with pytest.raises(SettingsError, match=r"orders.*committed.*write the same in each dataset file"):
        timestamp_column(replicated_tables(settings))


def test_an_order_that_dms_cannot_tell_is_refused(tmp_path: Path) -> None:
    settings = _with(tmp_path, "orders.yaml", ("ar_h_change_seq", "ar_h_moon_phase"))
    with pytest.raises(SettingsError, match=r"order_by of orders has ar_h_moon_phase.*ar_h_change_seq"):
        table_mappings(replicated_tables(settings))


def test_an_order_that_the_table_itself_has_needs_nothing_of_dms(tmp_path: Path) -> None:
    settings = _with(tmp_path, "orders.yaml", ("ar_h_change_seq", "updated_at"))
    rules = table_mappings(replicated_tables(settings))["rules"]
    assert [r["rule-action"] for r in rules if r["object-locator"]["table-name"] == "orders"] == ["include"]


def test_a_table_that_lands_elsewhere_is_not_replicated_by_this_task(tmp_path: Path) -> None:
    settings = _with(tmp_path, "orders.yaml", ("dms/public/orders", "other/tool/orders"))
    before = replicated_tables(ENVIRONMENTS["staging"])
    assert replicated_tables(settings) == [dataset for dataset in before if dataset.name != "orders"]


def test_a_lake_without_events_has_nothing_that_looks_for_them(tmp_path: Path) -> None:
    (tmp_path / "datasets").mkdir()
    shutil.copy(ENVIRONMENTS["dev"].datasets / "orders.yaml", tmp_path / "datasets")
    made = synthesize(replace(ENVIRONMENTS["dev"], datasets=tmp_path / "datasets", budget=0), tmp_path / "out")
    assert not made.resources("AWS::Glue::Crawler")
    assert not made.resources("AWS::Events::Rule", stack="streams")  # EventBridge takes no empty list of prefixes
    (machine,) = made.resources("AWS::StepFunctions::StateMachine").values()
    assert '"StartAt":"Packages"' in str(machine["DefinitionString"])
    assert "governance" not in made.templates  # nor is a stack of nothing deployed


def test_a_source_without_tables_to_replicate_is_refused(tmp_path: Path) -> None:
    shutil.copy(ENVIRONMENTS["staging"].datasets / "web_events.yaml", tmp_path)
    with pytest.raises(SettingsError, match=r"source: no dataset file lands in dms/SCHEMA/TABLE.* set source=none"):
        timestamp_column(replicated_tables(replace(ENVIRONMENTS["staging"], datasets=tmp_path)))


@pytest.mark.parametrize("folder", ["firehose/a*", "dms/Größe/orders", "dms/public/two words", "dms/100%/orders"])
def test_a_folder_that_rights_or_mappings_take_for_something_else_is_refused(tmp_path: Path, folder: str) -> None:
    settings = _with(tmp_path, "orders.yaml", ("dms/public/orders", folder))
    with pytest.raises(DatasetError, match=r"orders.yaml:5: orders: AWS takes no folder"):
        replicated_tables(settings)


def test_a_stream_whose_name_is_too_long_for_firehose_is_refused(tmp_path: Path) -> None:
    settings = _with(tmp_path, "web_events.yaml", ("firehose/web_events", f"firehose/{'x' * 50}"))
    with pytest.raises(SettingsError, match=r"web_events lands in firehose/x+, .* choose a folder with 16 characters"):
        delivery_streams(settings)
    assert delivery_streams(replace(settings, env="dev", kinesis=False))


def test_tables_of_one_name_in_two_schemas_have_rules_of_their_own(tmp_path: Path) -> None:
    settings = _with(tmp_path, "customers.yaml", ("dms/public/customers", "dms/Billing/orders"))
    rules = table_mappings(replicated_tables(settings))["rules"]
    assert len({rule["rule-name"] for rule in rules}) == len(rules)
    assert {rule["object-locator"]["schema-name"] for rule in rules} >= {"public", "Billing"}


def test_descriptions_are_such_as_the_catalogue_takes(tmp_path: Path) -> None:
    settings = _with(tmp_path, "orders.yaml", ("The order's number", "The\\n  number " + "x" * 300))
    made = synthesize(replace(settings, env="dev", source="none", dagster="none"), tmp_path / "out")
    comments = [
        column["Comment"]
        for table in made.resources("AWS::Glue::Table").values()
        for column in table["TableInput"]["StorageDescriptor"]["Columns"]
    ]
    assert any(comment.startswith("The number x") for comment in comments)
    assert all(len(comment) <= 255 and "\n" not in comment for comment in comments)


def _with(folder: Path, name: str, change: tuple[str, str]) -> Settings:
    """Staging with a dataset file in which one text stands in the place of another."""
    datasets = folder / "datasets"
    shutil.copytree(ENVIRONMENTS["staging"].datasets, datasets)
    file = datasets / name
    file.write_text(file.read_text().replace(*change))
    return replace(ENVIRONMENTS["staging"], datasets=datasets)


def _rules(synthesized: Synthesized) -> list[dict[str, Any]]:
    found = synthesized.named("AWS::DMS::ReplicationConfig", "ReplicationConfigIdentifier", "datalake-staging-lake")
    return list(found["TableMappings"]["rules"])


def _names(synthesized: Synthesized, kind: str, key: str) -> set[str]:
    return {resource[key] for resource in synthesized.resources(kind).values()}
