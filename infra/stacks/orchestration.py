"""Dagster on ECS: webserver, daemon, code location and the tasks of runs, or the agent of Dagster+.

Belongs here: tasks, what they are told and what they may do. What Dagster makes of it is in `deploy/dagster.yaml`.
"""

from collections.abc import Mapping

import aws_cdk as cdk
from aws_cdk import aws_certificatemanager as certificates
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_ecs as ecs
from aws_cdk import aws_elasticloadbalancingv2 as balancing
from aws_cdk import aws_iam as iam
from aws_cdk import aws_rds as rds
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_secretsmanager as secrets
from aws_cdk import aws_servicediscovery as discovery
from constructs import Construct

from datalake_assets.lake.store.store_check import PROBE
from infra import agent
from infra.access import BucketAccess, acknowledge, allow, log_group, removal, role_for
from infra.declared import declared
from infra.settings import Settings
from infra.stacks.delivery import DeliveryStack
from infra.stacks.network import NetworkStack
from infra.stacks.processing import ProcessingStack
from infra.stacks.storage import StorageStack

_DATABASE_PORT, _CODE_PORT, _WEB_PORT = 5433, 4000, 3000
_LOGS = "dagster"
"""The prefix, in the bucket of Pipes messages, of what steps print."""
_OF_SECRET = {"HOST": "host", "PORT": "port", "DB": "dbname", "USER": "username", "PASSWORD": "password"}
_CODE = f"dagster code-server start -h 0.0.0.0 -p {_CODE_PORT} -m datalake_assets.definitions -a defs".split()
_WEBSERVER = f"dagster-webserver -h 0.0.0.0 -p {_WEB_PORT} -w /opt/dagster/workspace.yaml".split()
_DAEMON = "dagster-daemon run -w /opt/dagster/workspace.yaml".split()


class OrchestrationStack(cdk.Stack):
    """Whoever runs the lake.

    `cluster` has the tasks, `services` the services by name, `logs` what they write. `lake_role` is what the code
    location and runs may do, `control_role` what launches and ends them may do.
    """

    def __init__(
        self,
        scope: Construct,
        name: str,
        settings: Settings,
        storage: StorageStack,
        network: NetworkStack,
        processing: ProcessingStack,
        delivery: DeliveryStack,
    ) -> None:
        super().__init__(scope, name, env=cdk.Environment(account=settings.account, region=settings.region))
        self.settings, self.storage, self.network, self.processing = settings, storage, network, processing
        self.add_stack_dependency(processing)
        self.logs = log_group(self, "Logs", settings, storage.key, group=f"/{settings.prefix}/dagster")
        self.cluster = ecs.Cluster(
            self,
            "Cluster",
            cluster_name=settings.prefix,
            vpc=network.vpc,
            container_insights_v2=ecs.ContainerInsights.ENABLED,
            default_cloud_map_namespace=ecs.CloudMapNamespaceOptions(
                name=f"{settings.prefix}.internal", type=discovery.NamespaceType.DNS_PRIVATE, vpc=network.vpc
            ),
        )
        acknowledge(self, "AwsSolutions-ECS2", "The variables are places and names; secrets come by Secrets Manager")
        self.image = f"{delivery.repository.repository_uri}:{settings.image_tag}"
        self.group = ec2.SecurityGroup(
            self, "Dagster", vpc=network.vpc, description="Dagster's tasks", allow_all_outbound=False
        )
        self.group.add_egress_rule(ec2.Peer.any_ipv4(), ec2.Port.tcp(443), "AWS services, by TLS")
        for port in (_CODE_PORT, _WEB_PORT) if settings.dagster == "ecs" else (_CODE_PORT,):
            self.group.connections.allow_internally(ec2.Port.tcp(port), "Dagster's tasks to each other")
        self.execution_role = self._make_execution_role(delivery)
        self.lake_role = self._make_lake_role()
        self.control_role = self._make_control_role()
        self.services: dict[str, ecs.FargateService] = {}
        if settings.dagster == "ecs":
            self._run_dagster()
        else:
            self._run_agent()

    def _run_dagster(self) -> None:
        database = self._make_database()
        told = {**lake_environment(self.settings, self.storage, self.processing), **self._instance_environment()}
        kept = {
            f"DAGSTER_POSTGRES_{name}": ecs.Secret.from_secrets_manager(_secret_of(database), field)
            for name, field in _OF_SECRET.items()
        }
        run = self._task("run", self.lake_role, told, kept, cpu=2048, memory=8192, disk=40)
        told["DAGSTER_RUN_TASK_DEFINITION"] = self._family("run")
        code = self._task("code", self.lake_role, told, kept, command=_CODE, port=_CODE_PORT, memory=2048)
        daemon = self._task("daemon", self.control_role, told, kept, command=_DAEMON, memory=2048)
        webserver = self._task(
            "webserver", self.control_role, told, kept, command=_WEBSERVER, port=_WEB_PORT, memory=2048
        )
        self._serve("code", code, map_options=ecs.CloudMapOptions(name="code", dns_ttl=cdk.Duration.seconds(10)))
        for name, task in (("daemon", daemon), ("webserver", webserver)):
            self._serve(name, task).node.add_dependency(self.services["code"])
        self.services["daemon"].node.add_dependency(run)
        self._open_webserver(self.services["webserver"])

    def _instance_environment(self) -> dict[str, str]:
        """What `deploy/dagster.yaml` and `deploy/workspace.yaml` ask the environment for, but secrets."""
        return {
            "DAGSTER_CODE_HOST": f"code.{self.settings.prefix}.internal",
            "DAGSTER_CODE_PORT": str(_CODE_PORT),
            "DAGSTER_LOG_BUCKET": self.settings.bucket("pipes"),
            "DAGSTER_LOG_PREFIX": _LOGS,
            "DAGSTER_RUN_TASK_DEFINITION": self._family("run"),
        }

    def _make_database(self) -> rds.DatabaseInstance:
        """Where Dagster keeps what it knows of its runs; the lake itself keeps nothing there."""
        engine = rds.DatabaseInstanceEngine.postgres(version=rds.PostgresEngineVersion.VER_17)
        database = rds.DatabaseInstance(
            self,
            "Database",
            engine=engine,
            instance_type=ec2.InstanceType("t4g.small" if self.settings.protects else "t4g.micro"),
            parameters={"rds.force_ssl": "1"},
            database_name="dagster",
            port=_DATABASE_PORT,
            credentials=rds.Credentials.from_generated_secret(
                "dagster", encryption_key=self.storage.key, secret_name=f"{self.settings.prefix}/dagster-database"
            ),
            vpc=self.network.vpc,
            vpc_subnets=self.network.isolated,
            security_groups=[self.network.database_group(self, "DatabaseAccess", _DATABASE_PORT, self.group)],
            multi_az=self.settings.protects,
            allocated_storage=20,
            max_allocated_storage=100,
            storage_type=rds.StorageType.GP3,
            storage_encrypted=True,
            storage_encryption_key=self.storage.key,
            iam_authentication=True,
            publicly_accessible=False,
            backup_retention=cdk.Duration.days(14 if self.settings.protects else 3),
            cloudwatch_logs_exports=["postgresql"],
            copy_tags_to_snapshot=True,
            deletion_protection=True,
            auto_minor_version_upgrade=True,
            removal_policy=cdk.RemovalPolicy.SNAPSHOT if self.settings.protects else removal(self.settings),
        )
        reason = "Dagster's processes hold the password as long as they live; docs/runbooks.md changes it with a restart"
        acknowledge(_secret_of(database), "AwsSolutions-SMG4", reason)
        return database

    def _family(self, name: str) -> str:
        return f"{self.settings.prefix}-{name}"

    def _task(
        self,
        name: str,
        role: iam.Role,
        told: Mapping[str, str],
        kept: Mapping[str, ecs.Secret],
        *,
        command: list[str] | None = None,
        image: str | None = None,
        port: int | None = None,
        cpu: int = 512,
        memory: int = 1024,
        disk: int | None = None,
    ) -> ecs.FargateTaskDefinition:
        task = ecs.FargateTaskDefinition(
            self,
            f"{name.title()}Task",
            family=self._family(name),
            cpu=cpu,
            memory_limit_mib=memory,
            ephemeral_storage_gib=disk,
            task_role=role.without_policy_updates(),
            execution_role=self.execution_role,
            runtime_platform=ecs.RuntimePlatform(cpu_architecture=ecs.CpuArchitecture.X86_64),
        )
        task.add_container(
            name,
            image=ecs.ContainerImage.from_registry(image or self.image),
            command=command,
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
            min_healthy_percent=0 if name in {"daemon", "agent"} else 100,
            max_healthy_percent=100 if name in {"daemon", "agent"} else 200,
            circuit_breaker=ecs.DeploymentCircuitBreaker(rollback=True),
            enable_ecs_managed_tags=True,
            propagate_tags=ecs.PropagatedTagSource.SERVICE,
            security_groups=[self.group],
            vpc_subnets=self.network.private,
            assign_public_ip=False,
            cloud_map_options=map_options,
        )
        self.services[name] = service
        return service

    def _open_webserver(self, service: ecs.FargateService) -> None:
        """Dagster's pages for the network and the clients that the settings name; nobody else reaches them."""
        settings = self.settings
        group = ec2.SecurityGroup(
            self, "Pages", vpc=self.network.vpc, description="Dagster's pages", allow_all_outbound=False
        )
        port = 443 if settings.webserver_certificate else 80
        for client in (settings.cidr, *settings.listed("webserver_clients")):
            group.add_ingress_rule(ec2.Peer.ipv4(client), ec2.Port.tcp(port), "Who may open Dagster's pages")
        balancer = balancing.ApplicationLoadBalancer(
            self,
            "Balancer",
            load_balancer_name=settings.prefix,
            vpc=self.network.vpc,
            vpc_subnets=self.network.private,
            internet_facing=False,
            security_group=group,
            drop_invalid_header_fields=True,
            deletion_protection=settings.protects,
        )
        logs = s3.Bucket.from_bucket_name(self, "AccessLogs", settings.bucket("logs"))
        balancer.log_access_logs(logs, "balancer")
        certificate = settings.webserver_certificate
        listener = balancer.add_listener(
            "Listener",
            port=port,
            protocol=balancing.ApplicationProtocol.HTTPS if certificate else balancing.ApplicationProtocol.HTTP,
            ssl_policy=balancing.SslPolicy.RECOMMENDED_TLS if certificate else None,
            certificates=[certificates.Certificate.from_certificate_arn(self, "Certificate", certificate)]
            if certificate
            else None,
            open=False,
        )
        listener.add_targets(
            "Webserver",
            port=_WEB_PORT,
            protocol=balancing.ApplicationProtocol.HTTP,
            targets=[service],
            health_check=balancing.HealthCheck(path="/server_info", interval=cdk.Duration.seconds(30)),
            deregistration_delay=cdk.Duration.seconds(10),
        )
        cdk.CfnOutput(self, "DagsterPages", value=balancer.load_balancer_dns_name)

    def _run_agent(self) -> None:
        """The agent of Dagster+, which makes the tasks of code location and runs itself."""
        token = secrets.Secret(
            self,
            "AgentToken",
            secret_name=f"{self.settings.prefix}/dagster-agent-token",
            description="Put the token of Dagster+'s agent here",
            encryption_key=self.storage.key,
        )
        acknowledge(token, "AwsSolutions-SMG4", "Dagster+ makes the token; a person changes it there and here")
        configuration = agent.agent_configuration(
            self.settings,
            cluster=self.cluster.cluster_name,
            subnets=list(self.network.vpc.select_subnets(subnet_group_name="private").subnet_ids),
            group=self.group.security_group_id,
            namespace=self._namespace().namespace_id,
            execution_role=self.execution_role.role_arn,
            task_role=self.lake_role.role_arn,
            log_group=self.logs.log_group_name,
            environment=lake_environment(self.settings, self.storage, self.processing),
        )
        task = self._task(
            "agent",
            self.control_role,
            {"DAGSTER_HOME": agent.HOME, agent.CONFIGURATION: configuration},
            {"DAGSTER_CLOUD_AGENT_TOKEN": ecs.Secret.from_secrets_manager(token)},
            command=list(agent.COMMAND),
            image=self.settings.dagster_agent,
        )
        self._serve("agent", task)
        self._let_agent_make_services()

    def _namespace(self) -> discovery.INamespace:
        namespace = self.cluster.default_cloud_map_namespace
        if namespace is None:
            raise RuntimeError("the cluster was made with a namespace")
        return namespace

    def _make_execution_role(self, delivery: DeliveryStack) -> iam.Role:
        """What ECS itself does to start a task; secrets and logs are added by the tasks that have them."""
        role = role_for(self, "ExecutionRole", "ecs-tasks.amazonaws.com", description="ECS starts Dagster's tasks")
        layers = ("ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer")
        allow(role, layers, delivery.repository.repository_arn)
        allow(role, ["ecr:GetAuthorizationToken"], "*", because="A login to the registry has no resource")
        allow(role, ["kms:Decrypt"], self.storage.key.key_arn)
        return role

    def _make_lake_role(self) -> iam.Role:
        """What definitions, sensors and steps do: read bronze, write the other zones, start and follow remote jobs."""
        role = role_for(self, "LakeRole", "ecs-tasks.amazonaws.com", description="The lake's code location and runs")
        access = BucketAccess(self.settings, self.storage.key)
        prefixes = sorted(dataset.landing.prefix for dataset in declared(self.settings).datasets.values())
        access.read(role, "bronze", *prefixes, PROBE)
        for zone in ("silver", "gold", "quarantine", "lake"):
            access.write(role, zone)
        access.write(role, "pipes", "steps", _LOGS)
        access.read(role, "artifacts", "remote")
        queue = ("sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes")
        allow(role, queue, self.storage.landing_queue.queue_arn)
        allow(
            role,
            ["cloudwatch:PutMetricData"],
            "*",
            conditions={"StringEquals": {"cloudwatch:namespace": metrics_namespace(self.settings)}},
            because="Metrics are no resources; the condition allows the lake's own namespace alone",
        )
        allow(role, ["ecs:DescribeTaskDefinition"], "*", because="The action knows no resources")
        self.processing.allow_jobs(role)
        return role

    def _make_control_role(self) -> iam.Role:
        """What launches and ends runs: the daemon, the webserver, or the agent."""
        role = role_for(self, "ControlRole", "ecs-tasks.amazonaws.com", description="Launches and ends Dagster's runs")
        here = f"arn:aws:ecs:{self.region}:{self.account}"
        cluster = {"ArnEquals": {"ecs:cluster": self.cluster.cluster_arn}}
        because = "Tasks and revisions have ids of their own; the names before them are those of this cluster and family"
        allow(role, ["ecs:RunTask"], f"{here}:task-definition/{self._family('run')}:*", conditions=cluster, because=because)
        tasks = f"{here}:task/{self.settings.prefix}/*"
        allow(role, ["ecs:DescribeTasks", "ecs:StopTask", "ecs:TagResource"], tasks, because=because)
        allow(
            role,
            ["ecs:DescribeTaskDefinition", "ec2:DescribeNetworkInterfaces", "ec2:DescribeRouteTables"],
            "*",
            because="The actions know no resources, and read nothing but descriptions",
        )
        passed = {"StringEquals": {"iam:PassedToService": "ecs-tasks.amazonaws.com"}}
        allow(role, ["iam:PassRole"], self.execution_role.role_arn, self.lake_role.role_arn, conditions=passed)
        allow(role, ["logs:GetLogEvents"], f"{self.logs.log_group_arn}", because=because)
        BucketAccess(self.settings, self.storage.key).write(role, "pipes", _LOGS)
        return role

    def _let_agent_make_services(self) -> None:
        """What the agent does besides launching: a service and a name for each code location, in this cluster alone."""
        role, here = self.control_role, f"arn:aws:ecs:{self.region}:{self.account}"
        because = "The agent names services and revisions itself; the cluster, or the namespace, is this one"
        services = ("CreateService", "DeleteService", "DescribeServices", "ListTagsForResource", "UpdateService")
        allow(role, [f"ecs:{a}" for a in services], f"{here}:service/{self.settings.prefix}/*", because=because)
        runs = f"{here}:task-definition/*"
        cluster = {"ArnEquals": {"ecs:cluster": self.cluster.cluster_arn}}
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
        **processing.runner_environment(),
    }
    return {f"DATALAKE_{name}": value for name, value in told.items()}


def metrics_namespace(settings: Settings) -> str:
    """The namespace of the lake's own metrics (`DATALAKE_METRICS`), which the alarm on fresh data looks in."""
    return f"Datalake/{settings.env}"


def _secret_of(database: rds.DatabaseInstance) -> secrets.ISecret:
    if database.secret is None:
        raise RuntimeError("a database with a generated secret has none")
    return database.secret


def _health(name: str) -> ecs.HealthCheck | None:
    """How ECS finds out that a task is alive; the load balancer asks the webserver itself."""
    command = {
        "code": f"dagster api grpc-health-check -p {_CODE_PORT}",
        "daemon": "dagster-daemon liveness-check",
    }.get(name)
    if command is None:
        return None
    return ecs.HealthCheck(
        command=["CMD-SHELL", command],
        interval=cdk.Duration.seconds(60),
        timeout=cdk.Duration.seconds(30),
        retries=3,
        start_period=cdk.Duration.seconds(180),
    )
