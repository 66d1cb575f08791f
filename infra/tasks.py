"""What Dagster's tasks are told, and what they may do: start, compute, launch.

Belongs here: roles and variables. The tasks themselves are in `stacks/orchestration.py`.
"""

from collections.abc import Sequence

from aws_cdk import aws_ecr as ecr
from aws_cdk import aws_iam as iam
from aws_cdk import aws_logs as logs

from infra.access import NO_RESOURCES, PUT_LOGS, RUN_JOBS, LakeStack, acknowledge, allow, role_for, use_key
from infra.declared import landing_prefixes
from infra.settings import Settings
from infra.stacks.processing import LOGS_OF_JOBS, ProcessingStack
from infra.stacks.storage import StorageStack

LOG_PREFIX = "dagster"
"""The prefix, in the bucket of Pipes messages, of what steps print."""


def lake_environment(settings: Settings, processing: ProcessingStack) -> dict[str, str]:
    """What `datalake_assets.settings.Settings` reads: the places, the queue, and the runner of what is large."""
    zones = ("root", "bronze", "silver", "gold", "quarantine")
    told = {zone.upper(): getattr(settings.layout, zone) for zone in zones}
    told |= {"PIPES": settings.pipes_place, "CODE": settings.code_place}
    told |= {
        "SENSOR": "sqs",
        "QUEUE_URL": processing.storage.landing_queue.queue_url,
        "METRICS": metrics_namespace(settings),
    }
    remote = "emr_serverless" if processing.emr else "glue"
    told |= {"RUNNER": "auto", "REMOTE_RUNNER": remote, "GLUE_JOB": processing.step_job}
    if processing.emr and processing.emr_role:
        told |= {"EMR_APPLICATION": processing.emr.attr_application_id, "EMR_ROLE": processing.emr_role.role_arn}
    return {f"DATALAKE_{name}": value for name, value in told.items()}


def metrics_namespace(settings: Settings) -> str:
    """The namespace of the lake's own metrics (`DATALAKE_METRICS`), which the alarm on fresh data looks in."""
    return f"Datalake/{settings.env}"


def execution_role(stack: LakeStack, *, image: ecr.IRepository, log: logs.ILogGroup) -> iam.Role:
    """What ECS itself does to start a task; its secrets are added where they are made."""
    role = role_for(stack, "ExecutionRole", "ecs-tasks", "ECS starts Dagster's tasks")
    layers = ("ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer")
    allow(role, layers, image.repository_arn)
    allow(role, ["ecr:GetAuthorizationToken"], "*", because=NO_RESOURCES)
    allow(role, PUT_LOGS, log.log_group_arn)
    use_key(role, stack.key, ["kms:Decrypt"], "secretsmanager")
    return role


def lake_role(stack: LakeStack, jobs: ProcessingStack) -> iam.Role:
    """What definitions, sensors and steps do: read bronze, write the other zones, start and follow remote jobs."""
    role = role_for(stack, "LakeRole", "ecs-tasks", "The lake's code location and runs")
    access, queue = jobs.storage.access, jobs.storage.landing_queue
    access.read(role, "bronze", *landing_prefixes(stack.settings))
    for zone in ("silver", "gold", "quarantine", "lake"):
        access.write(role, zone)
    access.write(role, "pipes", "steps", LOG_PREFIX)
    access.read(role, "artifacts", "remote")
    allow(role, ["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"], queue.queue_arn)
    use_key(role, stack.key, ["kms:Decrypt"], "sqs")
    own = {"StringEquals": {"cloudwatch:namespace": metrics_namespace(stack.settings)}}
    allow(role, ["cloudwatch:PutMetricData"], "*", conditions=own, because=NO_RESOURCES)
    allow(role, ["ecs:DescribeTaskDefinition"], "*", because=NO_RESOURCES)
    _allow_jobs(role, stack.settings, jobs)
    return role


def _allow_jobs(role: iam.Role, settings: Settings, jobs: ProcessingStack) -> None:
    """What the runners call (README.md, "Remote runs")."""
    allow(role, RUN_JOBS, settings.arn("glue", f"job/{jobs.step_job}"))
    groups = [settings.arn("logs", "log-group:/aws-glue/*")]
    if jobs.emr and jobs.emr_role:
        groups.append(settings.arn("logs", "log-group:/aws/emr-serverless*"))
        allow(role, ["emr-serverless:StartJobRun", "emr-serverless:ListJobRuns"], jobs.emr.attr_arn)
        follow = ["emr-serverless:GetJobRun", "emr-serverless:CancelJobRun"]
        statement = iam.PolicyStatement(actions=follow, resources=[f"{jobs.emr.attr_arn}/jobruns/*"])
        # Beside the application: the id of a run follows the application's, which only that stack knows.
        followed = iam.ManagedPolicy(jobs, "FollowRuns", statements=[statement])
        rule = "AwsSolutions-IAM5[Resource::<EmrApplication.Arn>/jobruns/*]"
        acknowledge(followed, rule, "The runs of the application have ids of their own")
        role.add_managed_policy(followed)
        passed = {"StringEquals": {"iam:PassedToService": "emr-serverless.amazonaws.com"}}
        allow(role, ["iam:PassRole"], jobs.emr_role.role_arn, conditions=passed)
    allow(role, ["logs:GetLogEvents"], *groups, because=LOGS_OF_JOBS)


def in_cluster(settings: Settings) -> dict[str, dict[str, str]]:
    """The condition that something is done in the environment's own cluster."""
    return {"ArnEquals": {"ecs:cluster": settings.arn("ecs", f"cluster/{settings.prefix}")}}


def control_role(
    stack: LakeStack, storage: StorageStack, *, log: logs.ILogGroup, passes: Sequence[iam.Role]
) -> iam.Role:
    """What launches and ends runs: the daemon, the webserver, or the agent."""
    settings = stack.settings
    role = role_for(stack, "ControlRole", "ecs-tasks", "Launches and ends Dagster's runs")
    because = "Tasks and revisions have ids of their own; the names before them are those of this cluster and family"
    runs, tasks = f"task-definition/{settings.prefix}-run:*", f"task/{settings.prefix}/*"
    allow(role, ["ecs:RunTask"], settings.arn("ecs", runs), conditions=in_cluster(settings), because=because)
    allow(role, ["ecs:DescribeTasks", "ecs:StopTask", "ecs:TagResource"], settings.arn("ecs", tasks), because=because)
    described = ["ecs:DescribeTaskDefinition", "ec2:DescribeNetworkInterfaces", "ec2:DescribeRouteTables"]
    allow(role, described, "*", because=NO_RESOURCES)
    to_ecs = {"StringEquals": {"iam:PassedToService": "ecs-tasks.amazonaws.com"}}
    allow(role, ["iam:PassRole"], *(passed.role_arn for passed in passes), conditions=to_ecs)
    allow(role, ["logs:GetLogEvents"], log.log_group_arn)
    storage.access.write(role, "pipes", LOG_PREFIX)
    return role
