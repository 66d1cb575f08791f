"""The way without Dagster: a state machine that crawls and runs the lake to its end, and its schedule.

Belongs here: what `ProcessingStack` makes of it. What the job does is in `datalake_assets/unattended.py`.
"""

import aws_cdk as cdk
from aws_cdk import aws_scheduler as scheduler
from aws_cdk import aws_stepfunctions as sfn

from infra.access import RUN_JOBS, LakeStack, acknowledge, allow, role_for
from infra.settings import Settings
from infra.stacks.storage import StorageStack

_CODE, _HOURS = "remote", 7


def make_fallback(stack: LakeStack, storage: StorageStack, *, crawler: str, job: str) -> sfn.StateMachine:
    """The state machine that does what Dagster would: crawl, then run the lake to its end; and its schedule.

    `crawler` is empty where there are no events to crawl.
    """
    settings, name = stack.settings, f"{stack.settings.prefix}-fallback"
    log = stack.log_group("FallbackLogs", f"/aws/vendedlogs/states/{name}")
    role = role_for(stack, "FallbackRole", "states", "Runs the lake without Dagster")
    if crawler:
        allow(role, ["glue:StartCrawler", "glue:GetCrawler"], settings.arn("glue", f"crawler/{crawler}"))
    allow(role, RUN_JOBS, settings.arn("glue", f"job/{job}"))
    storage.access.read(role, "artifacts", _CODE)
    known = "Log deliveries and X-Ray know no resources: AWS documents * for them"
    acknowledge(role, "AwsSolutions-IAM5[Resource::*]", known)
    states = stack.to_json_string(_states(settings, crawler=crawler, job=job))
    machine = sfn.StateMachine(
        stack,
        "Fallback",
        state_machine_name=name,
        definition_body=sfn.DefinitionBody.from_string(states),
        role=role,
        timeout=cdk.Duration.hours(_HOURS),
        tracing_enabled=True,
        logs=sfn.LogOptions(destination=log, level=sfn.LogLevel.ALL, include_execution_data=False),
    )
    starter = role_for(stack, "FallbackStarter", "scheduler", "Starts the fallback")
    allow(starter, ["states:StartExecution"], machine.state_machine_arn)
    allow(starter, ["kms:Decrypt"], storage.key.key_arn)  # the schedule itself is encrypted
    scheduler.CfnSchedule(
        stack,
        "FallbackSchedule",
        name=name,
        description="Runs the lake without Dagster; on only while Dagster is away",
        schedule_expression="cron(20 * * * ? *)",
        state="ENABLED" if settings.fallback else "DISABLED",
        flexible_time_window={"mode": "OFF"},
        kms_key_arn=storage.key.key_arn,
        target={"arn": machine.state_machine_arn, "roleArn": starter.role_arn},
    )
    return machine


def _states(settings: Settings, *, crawler: str, job: str) -> dict[str, object]:
    """Start the crawler, and meanwhile the job, with the packages that `make wheel` wrote down."""
    listed = "$split($trim($states.result.Body), ' ')"  # trimmed, line ends are spaces
    place = f"'{settings.code_place}/' & $line"
    modules = f"$join($map({listed}, function($line) {{ $contains($line, '.whl') ? {place} : $line }}), ',')"
    anything = {"ErrorEquals": ["States.ALL"]}
    retried = {"Retry": [{**anything, "IntervalSeconds": 60, "MaxAttempts": 2, "BackoffRate": 2}]}
    packages = {"Bucket": settings.bucket("artifacts"), "Key": f"{_CODE}/requirements.txt"}
    run = {"JobName": job, "Arguments": {"--additional-python-modules": "{% $modules %}"}}
    first = {"Catch": [{**anything, "Next": "Packages"}], "Next": "Packages"}
    crawl = {"Crawl": {**_task("aws-sdk:glue:startCrawler", {"Name": crawler}), **first}} if crawler else {}
    return {
        "Comment": "Runs the lake without Dagster: what crawls, what computes, nothing else may write meanwhile",
        "QueryLanguage": "JSONata",
        "StartAt": "Crawl" if crawler else "Packages",
        "States": {
            **crawl,
            "Packages": {
                **_task("aws-sdk:s3:getObject", packages),
                "Assign": {"modules": f"{{% {modules} %}}"},
                **retried,
                "Next": "CatchUp",
            },
            "CatchUp": {**_task("glue:startJobRun.sync", run), **retried, "End": True},
        },
    }


def _task(action: str, arguments: object) -> dict[str, object]:
    return {"Type": "Task", "Resource": f"arn:aws:states:::{action}", "Arguments": arguments}
