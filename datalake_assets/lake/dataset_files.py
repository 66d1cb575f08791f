"""Reading dataset files: YAML in, datasets out, or an error that names file, line and remedy.

Belongs here: YAML, line numbers, and the rules between datasets. The rules of one dataset are in `dataset.py`.
"""

import difflib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, TypeAdapter, ValidationError

from datalake_assets.lake.dataset import CdcTable, Column, Dataset, EventStream, EventTime, Landing, OnDrift

_KINDS: dict[str, type[EventStream | CdcTable]] = {"event_stream": EventStream, "cdc_table": CdcTable}
_PARTS: dict[str, type[BaseModel]] = {
    "landing": Landing,
    "event_time": EventTime,
    "on_drift": OnDrift,
    "columns": Column,
}
_NAMES_IN_USE = ("ledger", "steps")


class DatasetError(ValueError):
    """A dataset file that can't be used; one line for each fault: file, line, what is wrong, what to write."""


def load_datasets(folder: Path) -> dict[str, Dataset]:
    """Read every `*.yaml` and `*.yml` of a folder.

    Returns the datasets by name, in the order of their names. Raises `DatasetError` that lists the faults of all
    files together; a folder that is missing or holds no dataset file is such a fault.
    """
    files = sorted(p for p in folder.glob("*.y*ml") if p.suffix in {".yaml", ".yml"}) if folder.is_dir() else []
    if not files:
        raise DatasetError(
            f"{folder}: no dataset file (*.yaml) here; point DATALAKE_DATASETS at a folder that has some"
        )
    faults: list[str] = []
    loaded: list[tuple[Path, Dataset]] = []
    for file in files:
        try:
            loaded.append((file, load_dataset(file)))
        except DatasetError as error:
            faults.append(str(error))
    faults.extend(_faults_between(loaded))
    if faults:
        raise DatasetError("\n".join(faults))
    return {dataset.name: dataset for _, dataset in sorted(loaded, key=lambda pair: pair[1].name)}


def load_dataset(file: Path) -> Dataset:
    """Read one dataset file. Raises `DatasetError` with a line for each fault."""
    try:
        root = yaml.compose(file.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
    except UnicodeDecodeError as error:
        raise DatasetError(f"{file}: not UTF-8 text ({error.reason} at byte {error.start}); save it as UTF-8") from None
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise DatasetError(f"{file}:{line}: not YAML: {error.problem}; mend the line") from None
    if not isinstance(root, yaml.MappingNode):
        raise DatasetError(f"{file}:1: a dataset file is a mapping of keys; begin it with `name:` and `kind:`")
    faults = [f"{file}:{line}: {text}" for line, text in _repeated_keys(root)]
    lines = _lines(root)
    data: dict[str, Any] = yaml.SafeLoader("").construct_document(root)
    model = _KINDS.get(str(data.get("kind")))
    if model is None:
        known = " or ".join(sorted(_KINDS))
        raise DatasetError(f"{file}:{lines.get(('kind',), 1)}: `kind` is {data.get('kind')!r}; write {known}")
    dataset: Dataset | None = None
    try:
        dataset = TypeAdapter(model).validate_python(data)
    except ValidationError as error:
        faults += [_fault(file, lines, dict(fault), model) for fault in error.errors()]
    if faults or dataset is None:
        raise DatasetError("\n".join(faults))
    return dataset


def _fault(file: Path, lines: Mapping[tuple[str, ...], int], fault: dict[str, Any], model: type[BaseModel]) -> str:
    """One pydantic fault as a person reads it. A missing key is told at the line of the part that lacks it."""
    path = tuple(str(part) for part in fault["loc"])
    line = next((lines[path[:n]] for n in range(len(path), 0, -1) if path[:n] in lines), 1)
    place = ".".join(path)
    match fault["type"]:
        case "missing":
            text = f"`{place}` is missing; add it"
        case "extra_forbidden":
            owner = model if len(path) == 1 else _PARTS.get(path[0], model)
            known = [field.alias or name for name, field in owner.model_fields.items()]
            near = difflib.get_close_matches(path[-1], known, n=1)
            remedy = f"did you mean `{near[0]}`?" if near else f"known here: {', '.join(known)}"
            text = f"unknown key `{place}`; {remedy}"
        case "value_error":
            text = f"`{place}`: {fault['ctx']['error']}" if place else str(fault["ctx"]["error"])
        case _:
            text = f"`{place}`: {fault['msg']}, not {fault['input']!r}"
    return f"{file}:{line}: {text}"


def _faults_between(loaded: list[tuple[Path, Dataset]]) -> Iterator[str]:
    names: dict[str, Path] = {}
    prefixes: dict[str, Path] = {}
    for file, dataset in loaded:
        taken = [dataset.name]
        if isinstance(dataset, CdcTable):
            taken += [f"{dataset.name}_tombstones", *([f"{dataset.name}_history"] if dataset.history else [])]
        for name in taken:
            if name in names or name in _NAMES_IN_USE:
                yield f"{file}:1: the name {name!r} is taken by {names.get(name, 'the lake itself')}; choose another `name`"
            names[name] = file
        prefix = dataset.landing.prefix + "/"
        for other, owner in prefixes.items():
            if prefix.startswith(other) or other.startswith(prefix):
                yield f"{file}:1: `landing.prefix` {prefix[:-1]!r} overlaps with that of {owner}; give each its own"
        prefixes[prefix] = file


def _lines(node: yaml.Node, path: tuple[str, ...] = ()) -> dict[tuple[str, ...], int]:
    """The line of each key and list item of a YAML tree, counted from 1."""
    found: dict[tuple[str, ...], int] = {}
    if isinstance(node, yaml.MappingNode):
        children = [(str(key.value), key.start_mark.line, value) for key, value in node.value]
    elif isinstance(node, yaml.SequenceNode):
        children = [(str(n), value.start_mark.line, value) for n, value in enumerate(node.value)]
    else:
        return found
    for name, line, value in children:
        found[(*path, name)] = line + 1
        found |= _lines(value, (*path, name))
    return found


def _repeated_keys(node: yaml.Node) -> Iterator[tuple[int, str]]:
    """Keys that stand twice in one mapping: YAML would silently keep the last."""
    if isinstance(node, yaml.MappingNode):
        seen: dict[str, int] = {}
        for key, value in node.value:
            line = key.start_mark.line + 1
            if key.value in seen:
                yield line, f"key `{key.value}` stands twice (first in line {seen[key.value]}); keep one"
            seen.setdefault(str(key.value), line)
            yield from _repeated_keys(value)
    elif isinstance(node, yaml.SequenceNode):
        for value in node.value:
            yield from _repeated_keys(value)
