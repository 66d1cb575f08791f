"""The agent of Dagster+: the configuration that it finds in its home, and what it may do besides launching runs."""

from collections.abc import Mapping, Sequence

import aws_cdk as cdk
import yaml
from aws_cdk import aws_iam as iam

from infra.access import allow
from infra.settings import Settings

CONFIGURATION = "AGENT_CONFIGURATION"
"""The variable of the agent's task that holds it."""
HOME = "/opt/dagster/dagster_home"
COMMAND = ("/bin/bash", "-c", f'printf %s "${CONFIGURATION}" > {HOME}/dagster.yaml && exec dagster-cloud agent run')


def agent_configuration(
    settings: Settings,
    *,
    cluster: str,
    subnets: Sequence[str],
    groups: Sequence[str],
    namespace: str,
    execution_role: str,
    task_role: str,
    log_group: str,
    environment: Mapping[str, str],
) -> str:
    """The agent's `dagster.yaml`: whom it serves, and where, as whom and with which variables it makes tasks."""
    return yaml.safe_dump(
        {
            "instance_class": {"module": "dagster_cloud.instance", "class": "DagsterCloudAgentInstance"},
            "dagster_cloud_api": {
                "url": f"https://{settings.dagster_organization}.agent.dagster.cloud",
                "agent_token": {"env": "DAGSTER_CLOUD_AGENT_TOKEN"},
                "deployments": [settings.env],
            },
            "agent_queues": {"include_default_queue": False, "additional_queues": [settings.prefix]},
            "user_code_launcher": {
                "module": "dagster_cloud.workspace.ecs",
                "class": "EcsUserCodeLauncher",
                "config": {
                    "cluster": cluster,
                    "subnets": list(subnets),
                    "security_group_ids": list(groups),
                    "service_discovery_namespace_id": namespace,
                    "execution_role_arn": execution_role,
                    "task_role_arn": task_role,
                    "log_group": log_group,
                    "launch_type": "FARGATE",
                    "secrets_tag": None,
                    "env_vars": [f"{name}={value}" for name, value in environment.items()],
                },
            },
        },
        sort_keys=False,
        width=10_000,
    )


def let_agent_make_services(role: iam.Role, stack: cdk.Stack, settings: Settings) -> None:
    """What the agent does besides launching: a service and a name for each code location, in this cluster alone."""
    here = f"arn:aws:ecs:{stack.region}:{stack.account}"
    because = "The agent names services and revisions itself; the cluster, or the namespace, is this one"
    services = ("CreateService", "DeleteService", "DescribeServices", "ListTagsForResource", "UpdateService")
    allow(role, [f"ecs:{a}" for a in services], f"{here}:service/{settings.prefix}/*", because=because)
    runs = f"{here}:task-definition/*"
    cluster = {"ArnEquals": {"ecs:cluster": f"{here}:cluster/{settings.prefix}"}}
    allow(role, ["ecs:RunTask"], runs, conditions=cluster, because=because)
    allow(
        role,
        ["ecs:ListAccountSettings", "ecs:ListServices", "ecs:ListTasks", "ecs:RegisterTaskDefinition"],
        "*",
        because=because,
    )
    names = ("CreateService", "DeleteService", "GetNamespace", "GetOperation", "ListServices", "TagResource")
    instances = ("DeregisterInstance", "ListInstances", "ListTagsForResource", "RegisterInstance")
    allow(role, [f"servicediscovery:{a}" for a in (*names, *instances)], "*", because=because)
    allow(role, ["tag:GetResources"], "*", because=because)
