"""The agent of Dagster+: the configuration that it finds in its home, and what it may do besides launching runs."""

from typing import Any

import yaml
from aws_cdk import aws_iam as iam

from infra.access import allow
from infra.settings import Settings
from infra.tasks import in_cluster

CONFIGURATION = "AGENT_CONFIGURATION"
"""The variable of the agent's task that holds it."""
HOME = "/opt/dagster/dagster_home"
COMMAND = ("/bin/bash", "-c", f'printf %s "${CONFIGURATION}" > {HOME}/dagster.yaml && exec dagster-cloud agent run')


def agent_configuration(settings: Settings, launched: dict[str, Any]) -> str:
    """The agent's `dagster.yaml`: whom it serves, and where, as whom and with which variables it makes tasks."""
    told = {
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
            "config": launched,
        },
    }
    return yaml.safe_dump(told, sort_keys=False, width=10_000)


def let_agent_make_services(role: iam.Role, settings: Settings, namespace: str) -> None:
    """What the agent does besides launching: a service and a name for each code location, in this cluster alone."""
    because = "The agent names services and revisions itself; the cluster, or the namespace of a new name, is this one"
    services = ("CreateService", "DeleteService", "DescribeServices", "ListTagsForResource", "UpdateService")
    own, runs = settings.arn("ecs", f"service/{settings.prefix}/*"), settings.arn("ecs", "task-definition/*")
    allow(role, [f"ecs:{a}" for a in services], own, because=because)
    tagged = {"StringEquals": {"ecs:CreateAction": "CreateService"}}
    allow(role, ["ecs:TagResource"], own, conditions=tagged, because=because)
    allow(role, ["ecs:RunTask"], runs, conditions=in_cluster(settings), because=because)
    listed = ("ListAccountSettings", "ListServices", "ListTasks", "RegisterTaskDefinition")
    allow(role, [f"ecs:{a}" for a in listed], "*", because=because)
    here = {"StringEquals": {"servicediscovery:NamespaceArn": namespace}}
    allow(role, ["servicediscovery:CreateService"], "*", conditions=here, because=because)
    names = ("DeleteService", "GetNamespace", "GetOperation", "ListServices", "TagResource")
    instances = ("DeregisterInstance", "ListInstances", "ListTagsForResource", "RegisterInstance")
    allow(role, [f"servicediscovery:{a}" for a in (*names, *instances)], "*", because=because)
    allow(role, ["tag:GetResources"], "*", because=because)
