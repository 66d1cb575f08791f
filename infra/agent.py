"""What the agent of Dagster+ is told: the configuration that it finds in its home."""

from collections.abc import Mapping, Sequence

import yaml

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
    group: str,
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
                    "security_group_ids": [group],
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
