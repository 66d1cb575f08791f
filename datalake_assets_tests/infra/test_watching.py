"""Alarms: those that are wanted, with bounds that are wanted, to people who find what to do."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from datalake_assets.resources.metrics import DATASET, EVERY_SECONDS, KIND, METRIC
from datalake_assets_tests.infra.conftest import Synthesize
from datalake_assets_tests.infra.templates import Synthesized, listed

_RUNBOOKS = (Path(__file__).parents[2] / "docs" / "runbooks.md").read_text()

pytestmark = pytest.mark.xdist_group("infra")


def _alarms(made: Synthesized) -> dict[str, dict[str, Any]]:
    prefix = f"{made.settings.prefix}-"
    found = made.resources("AWS::CloudWatch::Alarm").values()
    return {alarm["AlarmName"].removeprefix(prefix): alarm for alarm in found}


def _bound(alarm: dict[str, Any]) -> tuple[str, float, int]:
    assert alarm["ComparisonOperator"] == "GreaterThanThreshold"
    return alarm["MetricName"], alarm["Threshold"], alarm["Period"]


def test_the_ingest_api_is_watched_with_the_bounds_that_are_wanted(anywhere: Synthesized) -> None:
    alarms = _alarms(anywhere)
    assert _bound(alarms["ingest-errors"]) == ("Errors", 5, 300)
    assert _bound(alarms["ingest-5xx"])[1:] == (10, 300)
    assert _bound(alarms["validate-errors"]) == ("Errors", 5, 300)


def test_an_event_on_which_the_validation_fails_is_in_the_queue_that_is_watched(anywhere: Synthesized) -> None:
    (fails,) = anywhere.resources("AWS::Lambda::EventInvokeConfig").values()
    queue = fails["DestinationConfig"]["OnFailure"]["Destination"]
    may = [s for where, s in anywhere.statements if where.startswith("streams/validateRole")]
    assert [s["Action"] for s in may if s["Resource"] == queue] == ["sqs:SendMessage"]


def test_two_hours_without_data_are_told_by_the_lakes_metric_and_by_firehoses(staging: Synthesized) -> None:
    alarms = _alarms(staging)
    assert _bound(alarms["fresh-web-events"]) == (METRIC, 7_200, EVERY_SECONDS)
    assert _bound(alarms["fresh-cdc-table"]) == (METRIC, 7_200, EVERY_SECONDS)
    assert _bound(alarms["delivery-datalake-staging-web_events"]) == ("DeliveryToS3.DataFreshness", 7_200, 300)


def test_a_lake_that_tells_nothing_is_an_alarm_where_dagster_runs_and_none_where_nobody_does(
    synthesized: Synthesize,
) -> None:
    assert _alarms(synthesized("staging"))["fresh-web-events"]["TreatMissingData"] == "breaching"
    assert _alarms(synthesized("dev"))["fresh-web-events"]["TreatMissingData"] == "notBreaching"


def test_the_alarms_look_where_the_lakes_tasks_put_their_metric(staging: Synthesized) -> None:
    alarm = _alarms(staging)["fresh-web-events"]
    assert alarm["Dimensions"] == [{"Name": DATASET, "Value": "web_events"}]
    assert _alarms(staging)["fresh-cdc-table"]["Dimensions"] == [{"Name": KIND, "Value": "cdc_table"}]
    told = {
        entry["Value"]
        for task in staging.resources("AWS::ECS::TaskDefinition").values()
        for container in task["ContainerDefinitions"]
        for entry in container["Environment"]
        if entry["Name"] == "DATALAKE_METRICS"
    }
    allowed = {
        statement["Condition"]["StringEquals"]["cloudwatch:namespace"]
        for _, statement in staging.statements
        if "cloudwatch:PutMetricData" in statement["Action"]
    }
    assert told == allowed - {"Glue"} == {alarm["Namespace"]}


def test_replication_dead_letters_and_tasks_are_watched(staging: Synthesized) -> None:
    alarms = _alarms(staging)
    for side in ("source", "target"):
        assert _bound(alarms[f"replication-lake-{side}"])[0] == f"CDCLatency{side.title()}"
        assert alarms[f"replication-lake-{side}"]["TreatMissingData"] == "breaching"
    assert _bound(alarms["replication-slot"])[0] == "OldestReplicationSlotLag"
    for queue in ("landing-dead-letters", "validate-dead-letters", "untold-dead-letters"):
        assert _bound(alarms[queue])[:2] == ("ApproximateNumberOfMessagesVisible", 0)
    for service in ("code", "daemon", "webserver"):
        assert alarms[f"dagster-{service}"]["Threshold"] == 0


def test_each_remote_job_that_fails_is_told(synthesized: Synthesize) -> None:
    made = synthesized("staging")
    patterns = [rule["EventPattern"] for rule in made.resources("AWS::Events::Rule", stack="monitoring").values()]
    assert {pattern["source"][0] for pattern in patterns} == {"aws.glue", "aws.emr-serverless", "aws.states"}
    (glue,) = (pattern for pattern in patterns if pattern["source"] == ["aws.glue"])
    jobs = {job["Name"] for job in made.resources("AWS::Glue::Job").values()}
    assert set(glue["detail"]["jobName"]) == jobs
    assert {"FAILED", "TIMEOUT", "ERROR"} == set(glue["detail"]["state"])
    rules = made.resources("AWS::Events::Rule", stack="monitoring").values()
    assert all("DeadLetterConfig" in target for rule in rules for target in rule["Targets"])


def test_eventbridge_may_use_the_key_for_the_topic_without_telling_an_account(anywhere: Synthesized) -> None:
    settings = anywhere.settings
    (policy,) = (key["KeyPolicy"] for key in anywhere.resources("AWS::KMS::Key", stack="storage").values())
    arn = settings.arn("sns", f"{settings.prefix}-alarms")
    wanted = {"StringEquals": {"kms:EncryptionContext:aws:sns:topicArn": arn}}
    assert {"Service": "events.amazonaws.com"} in [
        s["Principal"] for s in policy["Statement"] if s.get("Condition") == wanted
    ]


def test_every_alarm_tells_the_topic_and_names_a_runbook_that_there_is(anywhere: Synthesized) -> None:
    headings = set(re.findall(r"^## (.+)$", _RUNBOOKS, re.MULTILINE))
    for name, alarm in _alarms(anywhere).items():
        assert len(alarm["AlarmActions"]) == 1, name
        assert alarm["AlarmDescription"].rpartition("docs/runbooks.md: ")[2] in headings


def test_the_dashboard_shows_every_alarm(anywhere: Synthesized) -> None:
    (dashboard,) = anywhere.resources("AWS::CloudWatch::Dashboard").values()
    assert dashboard["DashboardName"] == f"{anywhere.settings.prefix}-monitoring"
    body = json.dumps(dashboard["DashboardBody"])
    for logical in anywhere.resources("AWS::CloudWatch::Alarm", stack="monitoring"):
        assert logical.removeprefix("monitoring/") in body


def test_people_are_told_by_mail_and_in_slack_where_the_settings_say_so(synthesized: Synthesize) -> None:
    made = synthesized("extended")
    (subscription,) = made.resources("AWS::SNS::Subscription", stack="monitoring").values()
    assert (subscription["Protocol"], subscription["Endpoint"]) == ("email", "lake@example.com")
    (slack,) = made.resources("AWS::Chatbot::SlackChannelConfiguration").values()
    assert slack["SlackChannelId"] == "C0123456789"
    assert len(slack["SnsTopicArns"]) == 1


def test_a_statement_that_fails_is_told_by_the_name_that_it_runs_under(synthesized: Synthesize) -> None:
    made = synthesized("extended")
    patterns = [rule["EventPattern"] for rule in made.resources("AWS::Events::Rule", stack="monitoring").values()]
    (detail,) = (p["detail"] for p in patterns if p["source"] == ["aws.redshift-data"])
    calls = [call for call in made.resources("Custom::AWS").values() if "redshift-data" in str(call)]
    assert all(f'"StatementName":"{detail["statementName"][0]}","WithEvent":true' in str(call) for call in calls)
    assert len(calls) == 1


def test_whoever_forgets_who_is_told_is_told(synthesized: Synthesize) -> None:
    warned = {
        name: "nobody is told of alarms"
        in (synthesized(name).out / f"datalake-{env}-monitoring.metadata.json").read_text()
        for name, env in {"dev": "dev", "staging": "staging", "extended": "staging"}.items()
    }
    assert warned == {"dev": False, "staging": True, "extended": False}


def test_pages_without_tls_are_warned_of(synthesized: Synthesize) -> None:
    told = (synthesized("staging").out / "datalake-staging-orchestration.metadata.json").read_text()
    assert "set webserver_certificate" in told


def test_logs_that_services_would_keep_for_ever_are_made_before_them(staging: Synthesized) -> None:
    days = {
        g["LogGroupName"]: g["RetentionInDays"]
        for g in staging.resources("AWS::Logs::LogGroup").values()
        if isinstance(g["LogGroupName"], str)
    }
    (security,) = staging.resources("AWS::Glue::SecurityConfiguration").values()
    job = next(iter(staging.resources("AWS::Glue::Job").values()))
    role = staging.templates["processing"]["Resources"][job["Role"]["Fn::GetAtt"][0]]["Properties"]["RoleName"]
    expected = {f"/aws-glue/jobs/{security['Name']}-role/{role}/{kind}" for kind in ("error", "output")}
    for kind, name in (("DBCluster", "DBClusterIdentifier"), ("DBInstance", "DBInstanceIdentifier")):
        for stack, template in staging.templates.items():
            for resource in template["Resources"].values():
                exports = resource.get("Properties", {}).get("EnableCloudwatchLogsExports", [])
                if resource["Type"] == f"AWS::RDS::{kind}" and exports:
                    place = f"/aws/rds/{kind.removeprefix('DB').lower()}/{resource['Properties'][name]}"
                    expected |= {f"{place}/{export}" for export in exports}
                    assert any("postgresql" in before for before in resource["DependsOn"]), stack
    assert len(expected) == 5
    assert {days[name] for name in expected} == {30}


def test_jobs_may_write_the_metrics_and_logs_that_they_are_told_to(staging: Synthesized) -> None:
    may = {(where.partition("Default")[0], a) for where, s in staging.statements for a in listed(s["Action"])}
    assert ("processing/JobRole", "cloudwatch:PutMetricData") in may
    assert ("processing/EmrRole", "logs:DescribeLogGroups") in may
