"""What is watched, and who is told: alarms, failures of remote jobs, one dashboard, one topic."""

from collections.abc import Iterator, Mapping

import aws_cdk as cdk
from aws_cdk import aws_chatbot as chatbot
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_cloudwatch_actions as actions
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_iam as iam
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sns_subscriptions as subscriptions
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from datalake_assets.lake.spec.dataset import EventStream
from datalake_assets.resources.metrics import DATASET, EVERY_SECONDS, KIND, METRIC
from infra.access import alarm, known_key
from infra.declared import declared
from infra.settings import Settings
from infra.stacks.orchestration import OrchestrationStack
from infra.stacks.processing import ProcessingStack
from infra.stacks.sources import SourcesStack
from infra.stacks.storage import StorageStack
from infra.stacks.streams import StreamsStack
from infra.tasks import metrics_namespace

_FIVE_MINUTES = cdk.Duration.minutes(5)
_HOUR_SECONDS = 3_600
_LATENCY_SECONDS = 900
_COLUMNS = 3
_FAILED = ["FAILED", "ERROR", "TIMEOUT"]


class MonitoringStack(cdk.Stack):
    """Watching; `topic` tells people, `alarms` are all alarms, in the order in which the dashboard shows them."""

    def __init__(
        self,
        scope: Construct,
        name: str,
        settings: Settings,
        *,
        storage: StorageStack,
        streams: StreamsStack,
        processing: ProcessingStack,
        sources: SourcesStack | None,
        orchestration: OrchestrationStack | None,
    ) -> None:
        super().__init__(scope, name, env=cdk.Environment(account=settings.account, region=settings.region))
        self.settings, self.key = settings, known_key(self, storage.key)
        self.topic = self._make_topic()
        queues = {
            "landing-dead-letters": storage.landing_dead_letters,
            "validate-dead-letters": streams.invalid_dead_letters,
        }
        self.alarms = [
            *self._watch_ingest(streams),
            *self._watch_freshness(streams),
            *self._watch_replication(sources),
            *self._watch_dead_letters(queues),
            *self._watch_services(orchestration),
        ]
        for watched in self.alarms:
            watched.add_alarm_action(actions.SnsAction(self.topic))
            watched.add_ok_action(actions.SnsAction(self.topic))
        self._tell_of_failed_jobs(processing)
        self._show()

    def _make_topic(self) -> sns.Topic:
        settings = self.settings
        topic = sns.Topic(self, "Topic", topic_name=f"{settings.prefix}-alarms", master_key=self.key, enforce_ssl=True)
        for service in ("cloudwatch", "events", "budgets"):
            topic.add_to_resource_policy(
                iam.PolicyStatement(
                    actions=["sns:Publish"],
                    resources=[topic.topic_arn],
                    principals=[iam.ServicePrincipal(f"{service}.amazonaws.com")],
                    conditions={"StringEquals": {"aws:SourceAccount": settings.account}},
                )
            )
        if settings.alarm_email:
            topic.add_subscription(subscriptions.EmailSubscription(settings.alarm_email))
        if settings.slack_channel:
            chatbot.SlackChannelConfiguration(
                self,
                "Slack",
                slack_channel_configuration_name=settings.prefix,
                slack_workspace_id=settings.slack_workspace,
                slack_channel_id=settings.slack_channel,
                notification_topics=[topic],
                logging_level=chatbot.LoggingLevel.ERROR,
            )
        return topic

    def _alarm(
        self, name: str, metric: cloudwatch.IMetric, *, above: float, told: str, **more: bool | int
    ) -> cloudwatch.Alarm:
        return alarm(self, name, metric, settings=self.settings, above=above, told=told, **more)  # type: ignore[arg-type]

    def _watch_ingest(self, streams: StreamsStack) -> Iterator[cloudwatch.Alarm]:
        yield self._alarm(
            "ingest-errors",
            streams.ingest.metric_errors(period=_FIVE_MINUTES, statistic="Sum"),
            above=5,
            told="The ingest Lambda failed more than 5 times in 5 minutes. docs/runbooks.md: The ingest API fails",
        )
        yield self._alarm(
            "ingest-5xx",
            streams.api.metric_server_error(period=_FIVE_MINUTES, statistic="Sum"),
            above=10,
            told="The ingest API answered 5xx more than 10 times in 5 minutes. docs/runbooks.md: The ingest API fails",
        )

    def _watch_freshness(self, streams: StreamsStack) -> Iterator[cloudwatch.Alarm]:
        """By Firehose's own metric what it has not landed yet; by the lake's what is not in silver."""
        stale = self.settings.stale_hours * _HOUR_SECONDS
        for name in streams.deliveries:
            metric = self._metric("AWS/Firehose", "DeliveryToS3.DataFreshness", {"DeliveryStreamName": name})
            told = f"Firehose has kept records of {name} for too long. docs/runbooks.md: Firehose does not land"
            yield self._alarm(f"delivery-{name}", metric, above=stale, told=told)
        datasets = declared(self.settings).datasets.values()
        watched = {d.name: (DATASET, _patience(d)) for d in datasets if isinstance(d, EventStream)}
        for dataset in datasets:
            if not isinstance(dataset, EventStream):  # a quiet table is no fault: they are watched together
                watched[dataset.kind] = (KIND, 0)
        for name, (dimension, more) in watched.items():
            metric = self._metric(metrics_namespace(self.settings), METRIC, {dimension: name}, seconds=EVERY_SECONDS)
            yield self._alarm(
                f"fresh-{name.replace('_', '-')}",
                metric,
                above=stale + more,
                told=f"Silver has got nothing new of {name} for too long. docs/runbooks.md: Data are late",
                periods=3,
                missing_is_bad=self.settings.dagster != "none",
            )

    def _watch_replication(self, sources: SourcesStack | None) -> Iterator[cloudwatch.Alarm]:
        for name, replication in sources.replications.items() if sources else ():
            # The dimension of serverless replications: the account, and what their ARN ends with.
            resource = cdk.Fn.select(6, cdk.Fn.split(":", replication.attr_replication_config_arn))
            identifier = f"{self.settings.account}:{resource}"
            for side in ("Source", "Target"):
                metric = self._metric("AWS/DMS", f"CDCLatency{side}", {"ReplicationConfigId": identifier})
                yield self._alarm(
                    f"replication-{name}-{side.lower()}",
                    metric,
                    above=_LATENCY_SECONDS,
                    told=f"DMS is {_LATENCY_SECONDS // 60} minutes behind ({side.lower()}). docs/runbooks.md: DMS lags",
                    periods=3,
                )

    def _watch_dead_letters(self, queues: Mapping[str, sqs.IQueue]) -> Iterator[cloudwatch.Alarm]:
        for name, queue in queues.items():
            metric = queue.metric_approximate_number_of_messages_visible(period=_FIVE_MINUTES, statistic="Maximum")
            yield self._alarm(
                name, metric, above=0, told=f"{name} has messages. docs/runbooks.md: Messages in a dead-letter queue"
            )

    def _watch_services(self, orchestration: OrchestrationStack | None) -> Iterator[cloudwatch.Alarm]:
        for name in orchestration.services if orchestration else ():
            dimensions = {"ClusterName": self.settings.prefix, "ServiceName": f"{self.settings.prefix}-{name}"}
            running = self._metric("ECS/ContainerInsights", "RunningTaskCount", dimensions, seconds=60)
            missing = cloudwatch.MathExpression(
                expression="1 - FILL(running, 0)",
                using_metrics={"running": running},
                period=cdk.Duration.minutes(1),
                label="tasks missing",
            )
            yield self._alarm(
                f"dagster-{name}",
                missing,
                above=0,
                told=f"Dagster's {name} does not run. docs/runbooks.md: Dagster does not run",
                periods=10,
                missing_is_bad=True,
            )

    def _metric(
        self, namespace: str, name: str, dimensions: dict[str, str], *, seconds: int = 300
    ) -> cloudwatch.Metric:
        return cloudwatch.Metric(
            namespace=namespace,
            metric_name=name,
            dimensions_map=dimensions,
            statistic="Maximum",
            period=cdk.Duration.seconds(seconds),
        )

    def _tell_of_failed_jobs(self, processing: ProcessingStack) -> None:
        """Each remote job that fails, whoever started it, as it happens."""
        jobs = [processing.step_job, processing.catch_up_job]
        failed = {"GlueFails": ("aws.glue", "Glue Job State Change", {"jobName": jobs, "state": _FAILED})}
        if processing.emr:
            of_application = {"applicationId": [processing.emr.attr_application_id], "state": _FAILED}
            failed["EmrFails"] = ("aws.emr-serverless", "EMR Serverless Job Run State Change", of_application)
        machine = {"stateMachineArn": [processing.fallback.state_machine_arn], "status": ["FAILED", "TIMED_OUT"]}
        failed["FallbackFails"] = ("aws.states", "Step Functions Execution Status Change", machine)
        for name, (source, kind, detail) in failed.items():
            pattern = events.EventPattern(source=[source], detail_type=[kind], detail=detail)
            rule = events.Rule(self, name, description="A remote job failed", event_pattern=pattern)
            rule.add_target(targets.SnsTopic(self.topic))

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
