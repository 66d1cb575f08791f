"""Baselines of templates: what an environment deploys, in a form in which a reviewer reads a change.

`python -m datalake_assets_tests.infra.baselines` writes them anew; the change then stands in the commit. A resource is
a block, each of its properties a line, each statement of a policy one too. Left out is what says nothing to a reviewer:
tags, descriptions, hashes in names and assets.
"""

import json
import re
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from datalake_assets_tests.infra.templates import Synthesized, synthesize
from infra.settings import ENVIRONMENTS

FOLDER = Path(__file__).parent / "baselines"
RENEW = "python -m datalake_assets_tests.infra.baselines"
_ASSET = re.compile(r"[0-9a-f]{64}")
_HASHES = re.compile(r"(?:[0-9A-F]{8}(?=[A-Z]|$))+|[0-9A-F]{8}[0-9a-f]{40}$")
_WIDTH = 160
_LEFT_OUT = frozenset({"PolicyName", "Version", "Tags", "Description", "FileSystemTags", "GroupDescription"})
_BLOCKS = frozenset({"Statement", "Rules", "rules", "Columns"})


def main() -> None:
    """Write the baselines of all environments."""
    for name, settings in ENVIRONMENTS.items():
        with tempfile.TemporaryDirectory() as folder:
            path(name).write_text(baseline(synthesize(settings, Path(folder))))


def path(name: str) -> Path:
    """The file of an environment's baseline."""
    return FOLDER / f"{name}.txt"


def baseline(synthesized: Synthesized) -> str:
    """What an environment deploys, as text."""
    told = sorted(synthesized.acknowledged.items())
    lines = ["=== acknowledged findings of cdk-nag", *(f"{reason} (in {places} places)" for reason, places in told), ""]
    for stack, template in synthesized.templates.items():
        blocks = sorted("\n".join(_resource(name, r)) for name, r in template["Resources"].items())
        lines += [f"=== {stack}", *blocks, ""]
    return "\n".join(lines)


def _resource(name: str, resource: dict[str, Any]) -> Iterator[str]:
    kept = f" ({kept.lower()})" if (kept := resource.get("DeletionPolicy")) else ""
    yield f"{resource['Type'].removeprefix('AWS::')} {_HASHES.sub('', name)}{kept}"
    for key, value in sorted(resource.get("Properties", {}).items()):
        if key not in _LEFT_OUT:
            yield from _lines(key, _plain(value), "  ")


def _lines(key: str, value: Any, indent: str) -> Iterator[str]:
    """A property in a line; what holds a policy's statements, or rules, in a line for each of these."""
    if isinstance(value, dict) and any(part in _BLOCKS for part in value):
        for part, inner in value.items():
            if part in _BLOCKS and isinstance(inner, list):
                yield from (f"{indent}{key}.{_text(entry)}" for entry in inner)
            else:
                yield from _lines(f"{key}.{part}", inner, indent)
    elif isinstance(value, dict) and len(_text(value)) > _WIDTH - len(key):
        for part, inner in value.items():
            yield from _lines(f"{key}.{part}", inner, indent)
    else:
        yield f"{indent}{key}: {_text(value)}"


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value.replace("\n", "\\n")
    if isinstance(value, dict) and set(value) >= {"Effect", "Action"}:
        return _statement(value)
    return json.dumps(value, ensure_ascii=False).replace('"', "")


def _statement(value: dict[str, Any]) -> str:
    parts = [
        value["Effect"],
        _text(value["Action"]),
        *(["to", _text(value["Principal"])] if "Principal" in value else []),
    ]
    parts += ["on", _text(value["Resource"])] if "Resource" in value else []
    return " ".join([*parts, *(["if", _text(value["Condition"])] if "Condition" in value else [])])


def _plain(value: Any) -> Any:
    """A property with its references as words, without hashes and without what is left out."""
    if isinstance(value, str):
        return _ASSET.sub("asset", value)
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    if isinstance(value, dict):
        function = next(iter(value)) if len(value) == 1 else None
        if function in _WORDS:
            return _WORDS[function](value[function])
        return {key: _plain(inner) for key, inner in value.items() if key not in _LEFT_OUT}
    return value


_WORDS: dict[str, Callable[[Any], str]] = {
    "Ref": lambda name: f"<{_named(name)}>",
    "Fn::GetAtt": lambda at: f"<{_named(at[0])}.{at[1]}>",
    "Fn::ImportValue": lambda name: f"<{_named(name).replace('ExportsOutput', '').replace('FnGetAtt', '')}>",
    "Fn::Join": lambda parts: parts[0].join(str(_plain(part)) for part in parts[1]),
}


def _named(name: Any) -> str:
    return _HASHES.sub("", str(_plain(name)))


if __name__ == "__main__":
    main()
