"""The app: every stack of an environment, what is tagged and what is checked.

`python -m infra.app` is what the CDK CLI runs (`cdk.json`), with `-c env=dev` (or staging, prod) and any other field of
`infra/settings.py` as context.
"""

import json
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import aws_cdk as cdk
from cdk_nag import AwsSolutionsChecks

from infra.settings import Settings, settings_of
from infra.stacks.archive import ArchiveStack
from infra.stacks.delivery import DeliveryStack
from infra.stacks.governance import GovernanceStack
from infra.stacks.monitoring import MonitoringStack
from infra.stacks.network import AccepterStack, NetworkStack
from infra.stacks.orchestration import OrchestrationStack
from infra.stacks.processing import ProcessingStack
from infra.stacks.serving import ServingStack
from infra.stacks.sources import SourcesStack
from infra.stacks.storage import StorageStack
from infra.stacks.streams import StreamsStack

_CONTEXT = Path(__file__).parent / "cdk.json"


def main() -> None:
    """Write the templates of the environment that the context names. Raises `SettingsError` for what can't be."""
    app = new_app()
    given = {f.name: app.node.try_get_context(f.name) for f in fields(Settings)}
    env = given.pop("env") or "dev"
    build(app, settings_of(env, {name: value for name, value in given.items() if value is not None}))
    app.synth()


def new_app(outdir: Path | None = None, *, context: Mapping[str, Any] | None = None) -> cdk.App:
    """An app with the flags of `cdk.json`, whoever starts it, and templates that hold the lake and nothing else."""
    flags = json.loads(_CONTEXT.read_text(encoding="utf-8"))["context"]
    return cdk.App(
        outdir=str(outdir) if outdir else None,
        context={**flags, **(context or {})},
        analytics_reporting=False,
        tree_metadata=False,
        default_stack_synthesizer=cdk.DefaultStackSynthesizer(generate_bootstrap_version_rule=False),
    )


def build(app: cdk.App, settings: Settings) -> dict[str, cdk.Stack]:
    """Every stack of an environment, by name."""
    # Asked for by name, so that no synthesis asks an account for its availability zones.
    zones = f"availability-zones:account={settings.account}:region={settings.region}"
    app.node.set_context(zones, settings.availability_zones)
    name = settings.prefix
    stacks: dict[str, cdk.Stack] = {}
    if settings.archive:
        stacks["archive"] = ArchiveStack(app, f"{name}-archive", settings)
    if settings.peer_account:
        stacks["accepter"] = AccepterStack(app, f"{name}-accepter", settings)
    stacks["storage"] = storage = StorageStack(app, f"{name}-storage", settings)
    stacks["network"] = network = NetworkStack(app, f"{name}-network", settings, storage)
    if settings.source != "none":
        stacks["sources"] = SourcesStack(app, f"{name}-sources", settings, storage, network)
    stacks["streams"] = StreamsStack(app, f"{name}-streams", settings, storage)
    stacks["processing"] = ProcessingStack(app, f"{name}-processing", settings, storage, network)
    _add_users_of(app, settings, stacks)
    for later, before in (("storage", "archive"), ("network", "accepter")):
        if before in stacks:
            stacks[later].add_stack_dependency(stacks[before])
    for stack in stacks.values():
        stack.termination_protection = settings.protects
    for tag, value in {"project": "datalake", "environment": settings.env, "managed-by": "cdk"}.items():
        cdk.Tags.of(app).add(tag, value)
    cdk.Validations.of(app).add_plugins(AwsSolutionsChecks(app))
    return stacks


def _add_users_of(app: cdk.App, settings: Settings, stacks: dict[str, Any]) -> None:
    """What runs, serves, watches and delivers what the other stacks hold."""
    name = settings.prefix
    storage, network, processing = (stacks[stack] for stack in ("storage", "network", "processing"))
    stacks["delivery"] = DeliveryStack(app, f"{name}-delivery", settings, storage)
    stacks["serving"] = ServingStack(
        app, f"{name}-serving", settings, storage=storage, network=network, processing=processing
    )
    if settings.dagster != "none":
        stacks["orchestration"] = OrchestrationStack(
            app,
            f"{name}-orchestration",
            settings,
            storage=storage,
            network=network,
            processing=processing,
            delivery=stacks["delivery"],
        )
    stacks["monitoring"] = monitoring = MonitoringStack(
        app,
        f"{name}-monitoring",
        settings,
        storage=storage,
        streams=stacks["streams"],
        processing=processing,
        sources=stacks.get("sources"),
        orchestration=stacks.get("orchestration"),
    )
    stacks["governance"] = GovernanceStack(
        app,
        f"{name}-governance",
        settings,
        storage=storage,
        processing=processing,
        serving=stacks["serving"],
        monitoring=monitoring,
    )


if __name__ == "__main__":
    main()
