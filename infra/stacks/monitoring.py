"""What is watched, and who is told: alarms, failures of remote jobs, one dashboard, one topic."""

from collections.abc import Iterator
from typing import Any

import aws_cdk as cdk
from aws_cdk import aws_chatbot as chatbot
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_cloudwatch_actions as actions
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sns_subscriptions as subscriptions
from constructs import Construct

from datalake_assets.lake.spec.dataset import EventStream
from datalake_assets.resources.metrics import DATASET, EVERY_SECONDS, KIND, METRIC
from infra.access import LakeStack, allow_services, role_for
from infra.declared import declared
from infra.settings import Settings
from infra.stacks.orchestration import OrchestrationStack
from infra.stacks.processing import ProcessingStack
from infra.stacks.serving import external_schemas
from infra.stacks.sources import SourcesStack
from infra.stacks.streams import StreamsStack
from infra.tasks import metrics_namespace

_FIVE_MINUTES = cdk.Duration.minutes(5)
_HOUR_SECONDS = 3_600
_LATENCY_SECONDS = 900
_SLOT_BYTES = 10 * 10**9
_COLUMNS = 3
_FAILED = ["FAILED", "ERROR", "TIMEOUT"]


class MonitoringStack(LakeStack):
    """Watching; `topic` tells people, `alarms` are all alarms, in the order in which the dashboard shows them.

    `untold` has the failures of remote jobs of which the topic took no message.
    """

    def __init__(
        self,
        scope: Construct,
        name: str,
        settings: Settings,
        *,
        streams: StreamsStack,
        processing: ProcessingStack,
        sources: SourcesStack | None,
        orchestration: OrchestrationStack | None,
    ) -> None:
        super().__init__(scope, name, settings)
        self.know_key(processing.storage.key)
        self.topic = self._make_topic()
        self.untold = self.queue("untold-dead-letters", 14)
        self.alarms = [
            *self._watch_ingest(streams),
            *self._watch_freshness(streams),
            *self._watch_replication(sources),
            *self._watch_dead_letters(streams),
            *self._watch_services(orchestration),
        ]
        for watched in self.alarms:
            watched.add_alarm_action(actions.SnsAction(self.topic))
            watched.add_ok_action(actions.SnsAction(self.topic))
        self._tell_of_failed_jobs(processing)
        self._show()

    def _make_topic(self) -> sns.Topic:
        settings, prefix = self.settings, self.settings.prefix
        topic = sns.Topic(self, "Topic", topic_name=f"{prefix}-alarms", master_key=self.key, enforce_ssl=True)
        account = {"StringEquals": {"aws:SourceAccount": settings.account}}
        allow_services(topic, ["sns:Publish"], topic.topic_arn, ("cloudwatch", "budgets"), account)
        if settings.alarm_email:
            topic.add_subscription(subscriptions.EmailSubscription(settings.alarm_email))
        if settings.slack_channel:
            slack: dict[str, Any] = {"slack_channel_configuration_name": prefix, "notification_topics": [topic]}
            slack |= {"slack_workspace_id": settings.slack_workspace, "slack_channel_id": settings.slack_channel}
            slack |= {"role": role_for(self, "SlackRole", "chatbot", "Tells Slack of alarms")}
            chatbot.SlackChannelConfiguration(self, "Slack", logging_level=chatbot.LoggingLevel.ERROR, **slack)
        if settings.protects and not (settings.alarm_email or settings.slack_channel):
            warned = "nobody is told of alarms and costs; set alarm_email, or slack_workspace and slack_channel"
            cdk.Annotations.of(self).add_warning_v2("datalake:nobody-is-told", warned)
        return topic

    def _alarm(
        self,
        name: str,
        metric: cloudwatch.IMetric,
        above: float,
        told: str,
        guide: str,
        *,
        periods: int = 1,
        missing_is_bad: bool = False,
    ) -> cloudwatch.Alarm:
        """An alarm while a metric is above a bound, which tells what it means, and which guide what to do."""
        missing = cloudwatch.TreatMissingData.BREACHING if missing_is_bad else cloudwatch.TreatMissingData.NOT_BREACHING
        return cloudwatch.Alarm(
            self,
            name,
            alarm_name=f"{self.settings.prefix}-{name}",
            alarm_description=f"{told}. docs/runbooks.md: {guide}",
            metric=metric,
            threshold=above,
            comparison_operator=cloudwatch.ComparisonOperator.GREATER_THAN_THRESHOLD,
            evaluation_periods=periods,
            treat_missing_data=missing,
        )

    def _watch_ingest(self, streams: StreamsStack) -> Iterator[cloudwatch.Alarm]:
        guide = "The ingest API fails"
        errors = streams.ingest.metric_errors(period=_FIVE_MINUTES, statistic="Sum")
        told = "The ingest Lambda failed more than 5 times in 5 minutes"
        yield self._alarm("ingest-errors", errors, 5, told, guide)
        errors = streams.validate.metric_errors(period=_FIVE_MINUTES, statistic="Sum")
        told = "The validation Lambda failed more than 5 times in 5 minutes"
        yield self._alarm("validate-errors", errors, 5, told, "Messages in a dead-letter queue")
        errors = streams.api.metric_server_error(period=_FIVE_MINUTES, statistic="Sum")
        told = "The ingest API answered 5xx more than 10 times in 5 minutes"
        yield self._alarm("ingest-5xx", errors, 10, told, guide)

    def _watch_freshness(self, streams: StreamsStack) -> Iterator[cloudwatch.Alarm]:
        """By Firehose's own metric what it has not landed yet; by the lake's what is not in silver."""
        stale, absent_is_bad = self.settings.stale_hours * _HOUR_SECONDS, self.settings.dagster != "none"
        for name in streams.deliveries:
            metric = _metric("AWS/Firehose", "DeliveryToS3.DataFreshness", DeliveryStreamName=name)
            told = f"Firehose has kept records of {name} for too long"
            yield self._alarm(f"delivery-{name}", metric, stale, told, "Firehose does not land")
        datasets = declared(self.settings).datasets.values()
        watched = {d.name: (DATASET, _patience(d)) for d in datasets if isinstance(d, EventStream)}
        # A quiet table is no fault: they are watched together.
        watched |= {d.kind: (KIND, 0) for d in datasets if not isinstance(d, EventStream)}
        for name, (dimension, more) in watched.items():
            metric = _metric(metrics_namespace(self.settings), METRIC, seconds=EVERY_SECONDS, **{dimension: name})
            told, alarm = f"Silver has got nothing new of {name} for too long", f"fresh-{name.replace('_', '-')}"
            bound, guide = stale + more, "Data are late"
            yield self._alarm(alarm, metric, bound, told, guide, periods=3, missing_is_bad=absent_is_bad)

    def _watch_replication(self, sources: SourcesStack | None) -> Iterator[cloudwatch.Alarm]:
        for name, replication in sources.replications.items() if sources else ():
            # The dimension of serverless replications: the account, and what their ARN ends with.
            resource = cdk.Fn.select(6, cdk.Fn.split(":", replication.attr_replication_config_arn))
            identifier = f"{self.settings.account}:{resource}"
            for side in ("Source", "Target"):
                metric = _metric("AWS/DMS", f"CDCLatency{side}", ReplicationConfigId=identifier)
                told = f"DMS is {_LATENCY_SECONDS // 60} minutes behind ({side.lower()})"
                alarm = f"replication-{name}-{side.lower()}"
                # One that stands still says nothing at all.
                yield self._alarm(alarm, metric, _LATENCY_SECONDS, told, "DMS lags", periods=3, missing_is_bad=True)
        if sources and sources.source:
            cluster = sources.source.cluster_identifier
            metric = _metric("AWS/RDS", "OldestReplicationSlotLag", DBClusterIdentifier=cluster)
            told = "The source keeps more than 10 GB of its log for DMS"
            yield self._alarm("replication-slot", metric, _SLOT_BYTES, told, "DMS lags")

    def _watch_dead_letters(self, streams: StreamsStack) -> Iterator[cloudwatch.Alarm]:
        queues = {"landing": streams.storage.landing_dead_letters, "validate": streams.invalid_dead_letters}
        queues["untold"] = self.untold
        for kind, queue in queues.items():
            metric = queue.metric_approximate_number_of_messages_visible(period=_FIVE_MINUTES, statistic="Maximum")
            name = f"{kind}-dead-letters"
            yield self._alarm(name, metric, 0, f"{name} has messages", "Messages in a dead-letter queue")

    def _watch_services(self, orchestration: OrchestrationStack | None) -> Iterator[cloudwatch.Alarm]:
        prefix, missing_tasks = self.settings.prefix, "1 - FILL(running, 0)"
        minute, guide = cdk.Duration.minutes(1), "Dagster does not run"
        for name in orchestration.services if orchestration else ():
            own = {"ClusterName": prefix, "ServiceName": f"{prefix}-{name}"}
            using = {"running": _metric("ECS/ContainerInsights", "RunningTaskCount", seconds=60, **own)}
            missing = cloudwatch.MathExpression(
                expression=missing_tasks, using_metrics=using, period=minute, label="tasks missing"
            )
            told = f"Dagster's {name} does not run"
            yield self._alarm(f"dagster-{name}", missing, 0, told, guide, periods=10, missing_is_bad=True)

    def _tell_of_failed_jobs(self, processing: ProcessingStack) -> None:
        """Each remote job that fails, whoever started it, as it happens."""
        jobs = [processing.step_job, processing.catch_up_job]
        failed = {"GlueFails": ("aws.glue", "Glue Job State Change", {"jobName": jobs, "state": _FAILED})}
        if processing.emr:
            of_application = {"applicationId": [processing.emr.attr_application_id], "state": _FAILED}
            failed["EmrFails"] = ("aws.emr-serverless", "EMR Serverless Job Run State Change", of_application)
        machine = {"stateMachineArn": [processing.fallback.state_machine_arn], "status": ["FAILED", "TIMED_OUT"]}
        failed["FallbackFails"] = ("aws.states", "Step Functions Execution Status Change", machine)
        if self.settings.redshift:
            made = {"statementName": [external_schemas(self.settings)], "state": ["FAILED", "ABORTED"]}
            failed["SchemasFail"] = ("aws.redshift-data", "Redshift Data Statement Status Change", made)
        for name, (source, kind, detail) in failed.items():
            pattern = events.EventPattern(source=[source], detail_type=[kind], detail=detail)
            rule = events.Rule(self, name, description="A job or statement of the lake failed", event_pattern=pattern)
            rule.add_target(targets.SnsTopic(self.topic, dead_letter_queue=self.untold))

    def _show(self) -> None:
        dashboard = cloudwatch.Dashboard(self, "Dashboard", dashboard_name=f"{self.settings.prefix}-monitoring")
        dashboard.add_widgets(cloudwatch.AlarmStatusWidget(title="Alarms", width=24, height=4, alarms=self.alarms))
        for start in range(0, len(self.alarms), _COLUMNS):
            row = self.alarms[start : start + _COLUMNS]
            dashboard.add_widgets(
                *(cloudwatch.AlarmWidget(title=a.alarm_name, alarm=a, width=24 // _COLUMNS) for a in row)
            )


def _patience(dataset: EventStream) -> int:
    """How much longer, in seconds, data may take that come once a day."""
    return 0 if dataset.landing.cadence == "hourly" else 24 * _HOUR_SECONDS


def _metric(namespace: str, name: str, *, seconds: int = 300, **dimensions: str) -> cloudwatch.Metric:
    return cloudwatch.Metric(
        namespace=namespace,
        metric_name=name,
        dimensions_map=dimensions,
        statistic="Maximum",
        period=cdk.Duration.seconds(seconds),
    )
