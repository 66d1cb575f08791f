"""Dagster on ECS: webserver, daemon, code location and the tasks of runs, or the agent of Dagster+.

Belongs here: tasks, what they are told and what they may do. What Dagster makes of it is in `deploy/dagster.yaml`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import aws_cdk as cdk
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_ecs as ecs
from aws_cdk import aws_iam as iam
from aws_cdk import aws_secretsmanager as secrets
from aws_cdk import aws_servicediscovery as discovery
from constructs import Construct

from infra import agent, tasks
from infra.access import LakeStack, acknowledge, allow
from infra.settings import Settings
from infra.stacks.dagster_parts import WEB_PORT, make_database, open_pages
from infra.stacks.delivery import DeliveryStack
from infra.stacks.processing import ProcessingStack

_CODE_PORT = 4000
_OF_SECRET = {"HOST": "host", "PORT": "port", "DB": "dbname", "USER": "username", "PASSWORD": "password"}
_ALONE = ("daemon", "agent")
_WORKSPACE = ["-w", "/opt/dagster/workspace.yaml"]
_WEBSERVER = ["dagster-webserver", "-h", "0.0.0.0", "-p", str(WEB_PORT), *_WORKSPACE]  # noqa: S104 (in the network)
_DAEMON = ["dagster-daemon", "run", *_WORKSPACE]


class OrchestrationStack(LakeStack):
    """Whoever runs the lake.

    `cluster` has the tasks, `services` the services by name, `logs` what they write. `lake_role` is what the code
    location and runs may do, `control_role` what launches and ends them may do.
    """

    def __init__(
        self, scope: Construct, name: str, settings: Settings, processing: ProcessingStack, delivery: DeliveryStack
    ) -> None:
        super().__init__(scope, name, settings)
        self.processing, self.storage, self.network = processing, processing.storage, processing.network
        network = self.network
        self.know_key(self.storage.key)
        self.add_stack_dependency(processing)
        self.logs = self.log_group("Logs", f"/{settings.prefix}/dagster")
        private, internal = discovery.NamespaceType.DNS_PRIVATE, f"{settings.prefix}.internal"
        namespace = ecs.CloudMapNamespaceOptions(name=internal, type=private, vpc=network.vpc)
        self.cluster = ecs.Cluster(
            self,
            "Cluster",
            cluster_name=settings.prefix,
            vpc=network.vpc,
            container_insights_v2=ecs.ContainerInsights.ENABLED,
            default_cloud_map_namespace=namespace,
        )
        acknowledge(self, "AwsSolutions-ECS2", "The variables are places and names; secrets come by Secrets Manager")
        self.image = f"{delivery.repository.repository_uri}:{settings.image_tag}"
        self.group = network.group(self, "Dagster", "Tasks of Dagster")
        # By its id, so that nothing here changes the network's own stack.
        workers = network.workers.security_group_id
        self.workers = ec2.SecurityGroup.from_security_group_id(self, "Workers", workers, mutable=False)
        self.group.connections.allow_internally(ec2.Port.tcp(_CODE_PORT), "Tasks of Dagster to the code location")
        self.execution_role = tasks.execution_role(self, image=delivery.repository, log=self.logs)
        self.lake_role = tasks.lake_role(self, processing)
        passes = [self.execution_role, self.lake_role]
        self.control_role = tasks.control_role(self, self.storage, log=self.logs, passes=passes)
        self.services: dict[str, ecs.FargateService] = {}
        if settings.dagster == "ecs":
            self._run_dagster()
        else:
            self._run_agent()

    def _run_dagster(self) -> None:
        secret = make_database(self, self.network, client=self.group)
        told = {**tasks.lake_environment(self.settings, self.processing), **self._instance_environment()}
        allow(self.execution_role, ["secretsmanager:GetSecretValue"], secret.secret_arn)
        kept = {f"DAGSTER_POSTGRES_{n}": ecs.Secret.from_secrets_manager(secret, f) for n, f in _OF_SECRET.items()}
        run = self._task("run", self.lake_role, told, kept, cpu=2048, memory_limit_mib=8192, ephemeral_storage_gib=40)
        told["DAGSTER_RUN_TASK_DEFINITION"] = run.task_definition_arn  # so that a change of it restarts what launches
        code = self._task("code", self.lake_role, told, kept, port=_CODE_PORT)
        daemon = self._task("daemon", self.control_role, told, kept, command=_DAEMON)
        webserver = self._task("webserver", self.control_role, told, kept, command=_WEBSERVER, port=WEB_PORT)
        self._serve("code", code, map_options=ecs.CloudMapOptions(name="code", dns_ttl=cdk.Duration.seconds(10)))
        for name, task in (("daemon", daemon), ("webserver", webserver)):
            self._serve(name, task).node.add_dependency(self.services["code"])
        self.services["daemon"].node.add_dependency(run)
        open_pages(self, self.network, self.services["webserver"], logs=self.storage.logs)

    def _instance_environment(self) -> dict[str, str]:
        """What `deploy/dagster.yaml` and `deploy/workspace.yaml` ask the environment for, but secrets."""
        return {
            "DAGSTER_CODE_HOST": f"code.{self.settings.prefix}.internal",
            "DAGSTER_CODE_PORT": str(_CODE_PORT),
            "DAGSTER_LOG_BUCKET": self.settings.bucket("pipes"),
            "DAGSTER_LOG_PREFIX": tasks.LOG_PREFIX,
            "DAGSTER_RUN_TASK_DEFINITION": self._family("run"),
        }

    def _family(self, name: str) -> str:
        return f"{self.settings.prefix}-{name}"

    def _task(
        self,
        name: str,
        role: iam.Role,
        told: Mapping[str, str],
        kept: Mapping[str, ecs.Secret],
        *,
        port: int | None = None,
        image: str = "",
        command: Sequence[str] | None = None,
        **size: Any,
    ) -> ecs.FargateTaskDefinition:
        task = ecs.FargateTaskDefinition(
            self,
            f"{name.title()}Task",
            family=self._family(name),
            **{"cpu": 512, "memory_limit_mib": 2048, **size},
            task_role=role.without_policy_updates(),
            execution_role=self.execution_role.without_policy_updates(),
            runtime_platform=ecs.RuntimePlatform(cpu_architecture=ecs.CpuArchitecture.X86_64),
        )
        task.add_container(
            name,
            image=ecs.ContainerImage.from_registry(image or self.image),
            command=list(command) if command else None,
            environment=dict(told),
            secrets=dict(kept),
            port_mappings=[ecs.PortMapping(container_port=port)] if port else None,
            health_check=_health(name),
            stop_timeout=cdk.Duration.seconds(120),  # a cancelled step ends its remote job first
            logging=ecs.LogDrivers.aws_logs(stream_prefix="dagster", log_group=self.logs),
        )
        return task

    def _serve(
        self, name: str, task: ecs.FargateTaskDefinition, *, map_options: ecs.CloudMapOptions | None = None
    ) -> ecs.FargateService:
        """One task, always; its successor starts when it is gone, as two daemons must not be."""
        service = ecs.FargateService(
            self,
            f"{name.title()}Service",
            service_name=self._family(name),
            cluster=self.cluster,
            task_definition=task,
            desired_count=1,
            min_healthy_percent=0 if name in _ALONE else 100,
            max_healthy_percent=100 if name in _ALONE else 200,
            circuit_breaker=ecs.DeploymentCircuitBreaker(rollback=True),
            enable_ecs_managed_tags=True,
            propagate_tags=ecs.PropagatedTagSource.SERVICE,
            security_groups=[self.group, self.workers],
            vpc_subnets=self.network.private,
            assign_public_ip=False,
            cloud_map_options=map_options,
        )
        self.services[name] = service
        return service

    def _run_agent(self) -> None:
        """The agent of Dagster+, which makes the tasks of code location and runs itself."""
        token = secrets.Secret(
            self,
            "AgentToken",
            secret_name=f"{self.settings.prefix}/dagster-agent-token",
            description="Put the token of Dagster+'s agent here",
            encryption_key=self.key,
        )
        allow(self.execution_role, ["secretsmanager:GetSecretValue"], token.secret_arn)
        acknowledge(token, "AwsSolutions-SMG4", "Dagster+ makes the token; a person changes it there and here")
        namespace = self.cluster.default_cloud_map_namespace
        if namespace is None:
            raise RuntimeError("the cluster was made with a namespace")
        variables = tasks.lake_environment(self.settings, self.processing)
        launched = {
            "cluster": self.cluster.cluster_name,
            "subnets": self.network.subnets("private"),
            "security_group_ids": [self.group.security_group_id, self.workers.security_group_id],
            "service_discovery_namespace_id": namespace.namespace_id,
            "execution_role_arn": self.execution_role.role_arn,
            "task_role_arn": self.lake_role.role_arn,
            "log_group": self.logs.log_group_name,
            "launch_type": "FARGATE",
            "secrets_tag": None,
            "env_vars": [f"{name}={value}" for name, value in variables.items()],
        }
        task = self._task(
            "agent",
            self.control_role,
            {"DAGSTER_HOME": agent.HOME, agent.CONFIGURATION: agent.agent_configuration(self.settings, launched)},
            {"DAGSTER_CLOUD_AGENT_TOKEN": ecs.Secret.from_secrets_manager(token)},
            command=agent.COMMAND,
            image=self.settings.dagster_agent,
            memory_limit_mib=1024,
        )
        self._serve("agent", task)
        agent.let_agent_make_services(self.control_role, self.settings, namespace.namespace_arn)


def _health(name: str) -> ecs.HealthCheck | None:
    """How ECS finds out that a task is alive; the load balancer asks the webserver itself."""
    asked = {"code": f"dagster api grpc-health-check -p {_CODE_PORT}", "daemon": "dagster-daemon liveness-check"}
    if name not in asked:
        return None
    return ecs.HealthCheck(
        command=["CMD-SHELL", asked[name]],
        interval=cdk.Duration.seconds(60),
        timeout=cdk.Duration.seconds(30),
        retries=3,
        start_period=cdk.Duration.seconds(180),
    )
