"""Events on their way in: a delivery stream for each event stream, the ingest API, and a look at what lands."""

from pathlib import Path
from typing import Any

import aws_cdk as cdk
from aws_cdk import aws_apigatewayv2 as api
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kinesis as kinesis
from aws_cdk import aws_kinesisfirehose as firehose
from aws_cdk import aws_lambda as lambdas
from aws_cdk import aws_logs as logs
from aws_cdk import aws_sns as sns
from aws_cdk.aws_apigatewayv2_authorizers import HttpIamAuthorizer
from aws_cdk.aws_apigatewayv2_integrations import HttpLambdaIntegration
from constructs import Construct

from infra.access import PUT_LOGS, LakeStack, acknowledge, allow, removal, resource_of, role_for, use_key
from infra.declared import FROM_KINESIS, delivery_streams, event_streams, stream_prefix
from infra.settings import Settings
from infra.stacks.storage import StorageStack, landing_rule
from shipping.lambdas import build_lambdas

_HOUR = "!{timestamp:yyyy/MM/dd/HH}/"
_BUFFER_SECONDS, _BUFFER_MEGABYTES = 300, 64
_NEWLINE = "\\n"
_FORMAT = {
    "time": "$context.requestTime",
    "route": "$context.routeKey",
    "status": "$context.status",
    "caller": "$context.identity.userArn",
    "error": "$context.error.message",
    "bytes": "$context.responseLength",
    "seconds": "$context.integrationLatency",
    "request": "$context.requestId",
}


class StreamsStack(LakeStack):
    """Events.

    `deliveries` has the delivery streams by name, `ingest` and `validate` are the Lambdas, `api` is the ingest API, and
    `invalid` the topic that tells of objects with records that the lake will reject; `invalid_dead_letters` has the
    events that nobody could look at.
    """

    def __init__(self, scope: Construct, name: str, settings: Settings, storage: StorageStack) -> None:
        super().__init__(scope, name, settings)
        self.storage, self.key = storage, storage.key
        self.deliveries: dict[str, firehose.CfnDeliveryStream] = {}
        log = self.log_group("FirehoseLogs", f"/{settings.prefix}/firehose")
        for stream, dataset in delivery_streams(settings).items():
            self._deliver(stream, dataset.landing.prefix, log)
            if settings.kinesis:
                source = self._make_kinesis(stream)
                self._deliver(f"{stream}{FROM_KINESIS}", dataset.landing.prefix, log, source=source)
        topic = f"{settings.prefix}-invalid-records"
        self.invalid = sns.Topic(self, "Invalid", topic_name=topic, master_key=self.key, enforce_ssl=True)
        self.code = lambdas.Code.from_asset(self._build())
        self.ingest = self._make_ingest()
        self.api = self._make_api()
        self.validate = self._make_validate()

    def _build(self) -> str:
        """What both Lambdas run, made of the dataset files: it needs no Docker and no network."""
        stage = cdk.Stage.of(self)
        out = Path(stage.outdir if stage else "dist/cdk") / "lambdas"
        build_lambdas(out, datasets=self.settings.datasets, stream_prefix=stream_prefix(self.settings))
        return str(out)

    def _make_kinesis(self, name: str) -> kinesis.Stream:
        stream = kinesis.Stream(
            self,
            f"Kinesis{name}",
            stream_name=name,
            stream_mode=kinesis.StreamMode.ON_DEMAND,
            encryption=kinesis.StreamEncryption.KMS,
            encryption_key=self.key,
            retention_period=cdk.Duration.days(2),
            removal_policy=removal(self.settings),
        )
        acknowledge(stream, "AwsSolutions-KDS3", "The lake's own key is rotated, and its policy says who may use it")
        return stream

    def _deliver(self, name: str, prefix: str, log: logs.LogGroup, *, source: kinesis.Stream | None = None) -> None:
        """A delivery stream that lands what it takes, an object for each few minutes, in the hour it came."""
        bronze, key = self.storage.access.bucket_arn("bronze"), self.key.key_arn
        role = role_for(self, f"Role{name}", "firehose", f"Lands {prefix}")
        self.storage.access.put(role, "bronze", prefix)
        self.storage.access.read(role, "bronze", prefix)
        self.storage.access.find(role, "bronze")
        allow(role, ["s3:ListBucketMultipartUploads"], bronze)
        allow(role, ["logs:PutLogEvents"], log.log_group_arn)
        stream = logs.LogStream(
            self, f"Errors{name}", log_group=log, log_stream_name=name, removal_policy=removal(self.settings)
        )
        taken: dict[str, Any] = {"delivery_stream_type": "DirectPut"}
        encrypted = {"keyType": "CUSTOMER_MANAGED_CMK", "keyArn": key}
        taken["delivery_stream_encryption_configuration_input"] = encrypted
        if source:
            read = ["kinesis:DescribeStream", "kinesis:GetShardIterator", "kinesis:GetRecords", "kinesis:ListShards"]
            allow(role, read, source.stream_arn)
            use_key(role, self.key, ["kms:Decrypt"], "kinesis")
            followed = {"kinesisStreamArn": source.stream_arn, "roleArn": role.role_arn}
            taken = {"delivery_stream_type": "KinesisStreamAsSource", "kinesis_stream_source_configuration": followed}
        logged = {"logGroupName": log.log_group_name, "logStreamName": stream.log_stream_name}
        delimiter = {"parameterName": "Delimiter", "parameterValue": _NEWLINE}
        newline = {"type": "AppendDelimiterToRecord", "parameters": [delimiter]}
        self.deliveries[name] = delivery = firehose.CfnDeliveryStream(
            self,
            f"Delivery{name}",
            delivery_stream_name=name,
            **taken,
            extended_s3_destination_configuration={
                "bucketArn": bronze,
                "roleArn": role.role_arn,
                "prefix": f"{prefix}/{_HOUR}",
                "errorOutputPrefix": f"{prefix}/!{{firehose:error-output-type}}/{_HOUR}",
                "compressionFormat": "GZIP",
                "bufferingHints": {"intervalInSeconds": _BUFFER_SECONDS, "sizeInMBs": _BUFFER_MEGABYTES},
                "encryptionConfiguration": {"kmsEncryptionConfig": {"awskmsKeyArn": key}},
                "processingConfiguration": {"enabled": True, "processors": [newline]},
                "cloudWatchLoggingOptions": {"enabled": True, **logged},
            },
        )
        delivery.node.add_dependency(role.node.find_child("DefaultPolicy"))  # Firehose tries its rights when it is made
        if source:
            reason = "Its source is an encrypted Kinesis stream; Firehose stores none"
            acknowledge(delivery, "AwsSolutions-KDF1", reason)

    def _make_function(self, name: str, seconds: int, **environment: str) -> tuple[lambdas.Function, iam.Role]:
        """A Lambda of the project with a role and a log of its own."""
        function = f"{self.settings.prefix}-{name}"
        group = f"/aws/lambda/{function}"
        log = self.log_group(f"{name}Logs", group)
        role = role_for(self, f"{name}Role", "lambda", f"The Lambda {function}")
        allow(role, ["kms:Decrypt"], self.key.key_arn)  # its variables
        because = "The log streams of a Lambda are named while it runs; the log group is its own"
        allow(role, PUT_LOGS, self.settings.arn("logs", f"log-group:{group}:*"), because=because)
        made = lambdas.Function(
            self,
            name,
            function_name=function,
            runtime=lambdas.Runtime.PYTHON_3_14,
            architecture=lambdas.Architecture.ARM_64,
            memory_size=512,
            code=self.code,
            handler=f"infra.lambdas.{name}.handler.handler",
            environment=environment,
            environment_encryption=self.key,
            timeout=cdk.Duration.seconds(seconds),
            role=role,
            log_group=log,
        )
        return made, role

    def _make_ingest(self) -> lambdas.Function:
        function, role = self._make_function("ingest", 28, BRONZE=self.settings.layout.bronze)
        streams = delivery_streams(self.settings)
        direct = [delivery.attr_arn for name, delivery in self.deliveries.items() if name in streams]
        if direct:
            allow(role, ["firehose:PutRecordBatch"], *direct)
        streamed = {dataset.name for dataset in streams.values()}
        put = [d.landing.prefix for d in event_streams(self.settings) if d.name not in streamed]
        if put:
            self.storage.access.put(role, "bronze", *put)
        return function

    def _make_api(self) -> api.HttpApi:
        """The ingest API: callers sign their requests (IAM), and may ask so often."""
        settings = self.settings
        origins = settings.listed("ingest_origins")
        cors = api.CorsPreflightOptions(
            allow_origins=origins,
            allow_methods=[api.CorsHttpMethod.POST],
            allow_headers=["authorization", "content-type", "content-encoding", "x-amz-date", "x-amz-security-token"],
            max_age=cdk.Duration.hours(1),
        )
        http = api.HttpApi(
            self,
            "Api",
            api_name=f"{settings.prefix}-ingest",
            description="JSON records for the lake",
            create_default_stage=False,
            cors_preflight=cors if origins else None,
            default_authorizer=HttpIamAuthorizer(),
        )
        to_ingest = HttpLambdaIntegration("Ingest", self.ingest)
        http.add_routes(path="/ingest/{source}", methods=[api.HttpMethod.POST], integration=to_ingest)
        http.add_routes(path="/health", methods=[api.HttpMethod.GET], integration=to_ingest)
        log = self.log_group("ApiLogs", f"/{settings.prefix}/ingest-api")
        stage = api.HttpStage(
            self,
            "Stage",
            http_api=http,
            stage_name="$default",
            auto_deploy=True,
            detailed_metrics_enabled=True,
            throttle=api.ThrottleSettings(rate_limit=settings.ingest_rate, burst_limit=settings.ingest_burst),
        )
        told = {"destinationArn": log.log_group_arn, "format": self.to_json_string(_FORMAT)}
        resource_of(stage).access_log_settings = told
        cdk.CfnOutput(self, "IngestUrl", value=http.api_endpoint, description="The ingest API; requests are signed")
        return http

    def _make_validate(self) -> lambdas.Function:
        topic, prefixes = self.invalid.topic_arn, [d.landing.prefix for d in event_streams(self.settings)]
        function, role = self._make_function("validate", 120, BRONZE=self.settings.layout.bronze, TOPIC_ARN=topic)
        self.storage.access.read(role, "bronze", *prefixes, "_invalid")
        self.storage.access.find(role, "bronze")
        self.storage.access.put(role, "bronze", "_invalid")
        allow(role, ["sns:Publish"], topic)
        queue = f"{self.settings.prefix}-validate-dead-letters"
        self.invalid_dead_letters = dead = self.queue("invalid-dead-letters", 14, queue_name=queue)
        # The rule's queue has what never reached the function; what made it fail comes by Lambda, after two more tries.
        allow(role, ["sqs:SendMessage"], dead.queue_arn)
        for service in ("sns", "sqs"):
            use_key(role, self.key, ["kms:GenerateDataKey", "kms:Decrypt"], service)
        failed = {"onFailure": {"destination": dead.queue_arn}}
        at: dict[str, Any] = {"function_name": function.function_name, "qualifier": "$LATEST"}
        fails = lambdas.CfnEventInvokeConfig(self, "ValidateFails", **at, destination_config=failed)
        fails.node.add_dependency(role.node.find_child("DefaultPolicy"))
        if prefixes:
            rule = landing_rule(self, "Landed", self.settings, prefixes)
            rule.add_target(targets.LambdaFunction(function, dead_letter_queue=dead, retry_attempts=8))
        return function
