"""What Dagster's tasks are told, and what they may do: start, compute, launch.

Belongs here: roles and variables. The tasks themselves are in `stacks/orchestration.py`.
"""

from collections.abc import Sequence

import aws_cdk as cdk
from aws_cdk import aws_ecr as ecr
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_logs as logs

from infra.access import NO_RESOURCES, acknowledge, allow, role_for
from infra.declared import landing_prefixes
from infra.settings import Settings
from infra.stacks.processing import LOGS_OF_JOBS, ProcessingStack
from infra.stacks.storage import StorageStack

LOG_PREFIX = "dagster"
"""The prefix, in the bucket of Pipes messages, of what steps print."""


def lake_environment(settings: Settings, storage: StorageStack, processing: ProcessingStack) -> dict[str, str]:
    """What `datalake_assets.settings.Settings` reads: the places, the queue, and the runner of what is large."""
    layout = settings.layout
    told = {
        "ROOT": layout.root,
        "BRONZE": layout.bronze,
        "SILVER": layout.silver,
        "GOLD": layout.gold,
        "QUARANTINE": layout.quarantine,
        "PIPES": settings.pipes_place,
        "CODE": settings.code_place,
        "SENSOR": "sqs",
        "QUEUE_URL": storage.landing_queue.queue_url,
        "METRICS": metrics_namespace(settings),
        "RUNNER": "auto",
        "REMOTE_RUNNER": "emr_serverless" if processing.emr else "glue",
        "GLUE_JOB": processing.step_job,
    }
    if processing.emr and processing.emr_role:
        told |= {"EMR_APPLICATION": processing.emr.attr_application_id, "EMR_ROLE": processing.emr_role.role_arn}
    return {f"DATALAKE_{name}": value for name, value in told.items()}


def metrics_namespace(settings: Settings) -> str:
    """The namespace of the lake's own metrics (`DATALAKE_METRICS`), which the alarm on fresh data looks in."""
    return f"Datalake/{settings.env}"


def execution_role(stack: cdk.Stack, *, key: kms.IKey, image: ecr.IRepository, log: logs.ILogGroup) -> iam.Role:
    """What ECS itself does to start a task; its secrets are added where they are made."""
    role = role_for(stack, "ExecutionRole", "ecs-tasks.amazonaws.com", description="ECS starts Dagster's tasks")
    layers = ("ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer")
    allow(role, layers, image.repository_arn)
    allow(role, ["ecr:GetAuthorizationToken"], "*", because=NO_RESOURCES)
    allow(role, ["logs:CreateLogStream", "logs:PutLogEvents"], log.log_group_arn)
    allow(role, ["kms:Decrypt"], key.key_arn)
    return role


def lake_role(stack: cdk.Stack, settings: Settings, storage: StorageStack, jobs: ProcessingStack) -> iam.Role:
    """What definitions, sensors and steps do: read bronze, write the other zones, start and follow remote jobs."""
    role = role_for(stack, "LakeRole", "ecs-tasks.amazonaws.com", description="The lake's code location and runs")
    access = storage.access
    access.read(role, "bronze", *landing_prefixes(settings))
    for zone in ("silver", "gold", "quarantine", "lake"):
        access.write(role, zone)
    access.write(role, "pipes", "steps", LOG_PREFIX)
    access.read(role, "artifacts", "remote")
    queue = ("sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes")
    allow(role, queue, storage.landing_queue.queue_arn)
    allow(
        role,
        ["cloudwatch:PutMetricData"],
        "*",
        conditions={"StringEquals": {"cloudwatch:namespace": metrics_namespace(settings)}},
        because=NO_RESOURCES,
    )
    allow(role, ["ecs:DescribeTaskDefinition"], "*", because=NO_RESOURCES)
    _allow_jobs(role, stack, jobs)
    return role


def _allow_jobs(role: iam.Role, stack: cdk.Stack, jobs: ProcessingStack) -> None:
    """What the runners call (README.md, "Remote runs")."""
    here = f"{stack.region}:{stack.account}"
    runs = ("glue:StartJobRun", "glue:GetJobRun", "glue:GetJobRuns", "glue:BatchStopJobRun")
    allow(role, runs, f"arn:aws:glue:{here}:job/{jobs.step_job}")
    groups = [f"arn:aws:logs:{here}:log-group:/aws-glue/*"]
    if jobs.emr and jobs.emr_role:
        groups.append(f"arn:aws:logs:{here}:log-group:/aws/emr-serverless*")
        allow(role, ["emr-serverless:StartJobRun", "emr-serverless:ListJobRuns"], jobs.emr.attr_arn)
        followed = iam.ManagedPolicy(
            jobs,  # beside the application: the id of a run follows the application's, which only that stack knows
            "FollowRuns",
            statements=[
                iam.PolicyStatement(
                    actions=["emr-serverless:GetJobRun", "emr-serverless:CancelJobRun"],
                    resources=[f"{jobs.emr.attr_arn}/jobruns/*"],
                )
            ],
        )
        rule = "AwsSolutions-IAM5[Resource::<EmrApplication.Arn>/jobruns/*]"
        acknowledge(followed, rule, "The runs of the application have ids of their own")
        role.add_managed_policy(followed)
        passed = {"StringEquals": {"iam:PassedToService": "emr-serverless.amazonaws.com"}}
        allow(role, ["iam:PassRole"], jobs.emr_role.role_arn, conditions=passed)
    allow(role, ["logs:GetLogEvents"], *groups, because=LOGS_OF_JOBS)


def control_role(
    stack: cdk.Stack, settings: Settings, storage: StorageStack, *, log: logs.ILogGroup, passes: Sequence[iam.Role]
) -> iam.Role:
    """What launches and ends runs: the daemon, the webserver, or the agent."""
    role = role_for(stack, "ControlRole", "ecs-tasks.amazonaws.com", description="Launches and ends Dagster's runs")
    here = f"arn:aws:ecs:{stack.region}:{stack.account}"
    cluster = {"ArnEquals": {"ecs:cluster": f"{here}:cluster/{settings.prefix}"}}
    because = "Tasks and revisions have ids of their own; the names before them are those of this cluster and family"
    allow(role, ["ecs:RunTask"], f"{here}:task-definition/{settings.prefix}-run:*", conditions=cluster, because=because)
    tasks = f"{here}:task/{settings.prefix}/*"
    allow(role, ["ecs:DescribeTasks", "ecs:StopTask", "ecs:TagResource"], tasks, because=because)
    allow(
        role,
        ["ecs:DescribeTaskDefinition", "ec2:DescribeNetworkInterfaces", "ec2:DescribeRouteTables"],
        "*",
        because=NO_RESOURCES,
    )
    to_ecs = {"StringEquals": {"iam:PassedToService": "ecs-tasks.amazonaws.com"}}
    allow(role, ["iam:PassRole"], *(passed.role_arn for passed in passes), conditions=to_ecs)
    allow(role, ["logs:GetLogEvents"], log.log_group_arn)
    storage.access.write(role, "pipes", LOG_PREFIX)
    return role
