"""The app: every stack of an environment, what is tagged and what is checked.

`python -m infra.app` is what the CDK CLI runs (`cdk.json`), with `-c env=dev` (or staging, prod) and any other field of
`infra/settings.py` as context.
"""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import aws_cdk as cdk
from cdk_nag import AwsSolutionsChecks

from datalake_assets.lake.spec.dataset_files import DatasetError
from infra.settings import Settings, SettingsError, own_settings, settings_of
from infra.stacks.delivery import DeliveryStack
from infra.stacks.governance import GovernanceStack
from infra.stacks.monitoring import MonitoringStack
from infra.stacks.network import AccepterStack, NetworkStack
from infra.stacks.orchestration import OrchestrationStack
from infra.stacks.processing import ProcessingStack
from infra.stacks.serving import ServingStack
from infra.stacks.sources import SourcesStack
from infra.stacks.storage import ArchiveStack, StorageStack
from infra.stacks.streams import StreamsStack

_CONTEXT = Path(__file__).parent / "cdk.json"
_OWN = Path(__file__).parent / "own.toml"
_OF_THE_COMMAND = {"acknowledged-issue-numbers", "cli-telemetry"}  # context of its own, beside what has a colon


def main() -> None:
    """Write the templates of the environment that the context names; ends with a message for what can't be."""
    app = new_app()
    context = app.node.get_all_context()
    given = {name: value for name, value in context.items() if ":" not in name and name not in _OF_THE_COMMAND}
    try:
        env = str(given.pop("env", "dev"))
        build(app, settings_of(env, {**own_settings(env, _OWN), **given}))
    except (SettingsError, DatasetError) as error:
        sys.exit(str(error))
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
    archive = ArchiveStack(app, "archive", settings) if settings.archive else None
    accepter = AccepterStack(app, "accepter", settings) if settings.peer_account else None
    storage = StorageStack(app, "storage", settings)
    network = NetworkStack(app, "network", settings, storage)
    sources = SourcesStack(app, "sources", settings, storage, network) if settings.source != "none" else None
    streams = StreamsStack(app, "streams", settings, storage)
    processing = ProcessingStack(app, "processing", settings, storage, network)
    delivery = DeliveryStack(app, "delivery", settings, storage)
    serving = ServingStack(app, "serving", settings, network, processing)
    dagster = None
    if settings.dagster != "none":
        dagster = OrchestrationStack(app, "orchestration", settings, processing, delivery)
    monitoring = MonitoringStack(
        app, "monitoring", settings, streams=streams, processing=processing, sources=sources, orchestration=dagster
    )
    serving.add_stack_dependency(monitoring)  # which tells what fails there
    governance = None
    if settings.trail or settings.lake_formation or settings.budget:
        governance = GovernanceStack(app, "governance", settings, serving, monitoring)
    stacks: tuple[cdk.Stack | None, ...] = (archive, accepter, storage, network, sources, streams, processing)
    stacks += (delivery, serving, dagster, monitoring, governance)
    if archive:
        storage.add_stack_dependency(archive)
    if accepter:
        network.add_stack_dependency(accepter)
    made = {stack.stack_name.removeprefix(f"{settings.prefix}-"): stack for stack in stacks if stack}
    for stack in made.values():
        stack.termination_protection = settings.protects
    for tag, value in {"project": "datalake", "environment": settings.env, "managed-by": "cdk"}.items():
        cdk.Tags.of(app).add(tag, value)
    cdk.Validations.of(app).add_plugins(AwsSolutionsChecks(app))
    return made


if __name__ == "__main__":
    main()
