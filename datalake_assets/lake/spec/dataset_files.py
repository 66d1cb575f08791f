"""Reading dataset files: YAML in, datasets out, or an error that names file, line and remedy.

Belongs here: YAML, line numbers, and the rules between datasets. The rules of one dataset are in `dataset.py`.
"""

import difflib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, TypeAdapter, ValidationError

from datalake_assets.lake.spec.dataset import CdcTable, Dataset, EventStream
from datalake_assets.lake.spec.fault import FaultError
from datalake_assets.lake.spec.parts import Column, Csv, EventTime, Landing, OnDrift
from datalake_assets.lake.spec.quality import PartitionRule, Quality, RowRule, Score, Volume

_KINDS: dict[str, type[EventStream | CdcTable]] = {"event_stream": EventStream, "cdc_table": CdcTable}
_PARTS: dict[tuple[str, ...], type[BaseModel]] = {
    ("landing",): Landing,
    ("event_time",): EventTime,
    ("on_drift",): OnDrift,
    ("columns",): Column,
    ("csv",): Csv,
    ("quality",): Quality,
    ("quality", "score"): Score,
    ("quality", "rows"): RowRule,
    ("quality", "partitions"): PartitionRule,
    ("quality", "volume"): Volume,
}
_NAMES_IN_USE = ("found_columns", "ledger", "pending", "verdicts")
_NAME = "lower-case letters, digits and underscores, beginning with a letter"
_FORMS = {
    "name": f"{_NAME}, such as web_events",
    "[key]": _NAME,
    "owner": "team:NAME or an e-mail address",
}
_TEXT_TAGS = {"tag:yaml.org,2002:str", "tag:yaml.org,2002:merge"}
_SHOWN = 80


class DatasetError(ValueError):
    """A dataset file that can't be used; one line for each fault: file, line, what is wrong, what to write."""


def load_datasets(folder: Path, *, check: Callable[[Dataset], None] | None = None) -> dict[str, Dataset]:
    """Read every `*.yaml` and `*.yml` of a folder.

    Returns the datasets by name, in the order of their names. `check` may refuse a dataset for what the rules here
    do not know, by raising `FaultError`. Raises `DatasetError` that lists the faults of all files together; a folder
    that is missing or holds no dataset file is such a fault.
    """
    suffixes = {".yaml", ".yml"}
    files = sorted(p for p in folder.iterdir() if p.suffix in suffixes and p.is_file()) if folder.is_dir() else []
    if folder.is_file():
        raise DatasetError(f"{folder}: is a file; point DATALAKE_DATASETS at the folder that it lies in")
    if not files:
        wrong = "no dataset file (*.yaml) here" if folder.is_dir() else "there is no such folder"
        raise DatasetError(f"{folder}: {wrong}; point DATALAKE_DATASETS at a folder that has some dataset files")
    faults: list[str] = []
    loaded: list[tuple[Path, Dataset]] = []
    for file in files:
        try:
            loaded.append((file, load_dataset(file, check=check)))
        except DatasetError as error:
            faults.append(str(error))
    faults.extend(_faults_between(loaded))
    if faults:
        raise DatasetError("\n".join(faults))
    return {dataset.name: dataset for _, dataset in sorted(loaded, key=lambda pair: pair[1].name)}


def load_dataset(file: Path, *, check: Callable[[Dataset], None] | None = None) -> Dataset:
    """Read one dataset file; `check` as for `load_datasets`. Raises `DatasetError` with a line for each fault."""
    try:
        root = _compose(file)
        faults = [f"{file}:{line}: {text}" for line, text in _faults_of_yaml(root)]
        if faults:
            raise DatasetError("\n".join(faults))
        lines = _lines(root)
        data: dict[str, Any] = yaml.SafeLoader("").construct_document(root)
    except RecursionError:
        raise DatasetError(f"{file}:1: nested too deeply to be read; write it flatter") from None
    model = _KINDS.get(str(data.get("kind")))
    if model is None:
        known = " or ".join(sorted(_KINDS))
        found = f"is {data['kind']!r}" if "kind" in data else "is missing"
        raise DatasetError(f"{file}:{lines.get(('kind',), 1)}: `kind` {found}; write {known}")
    try:
        dataset: Dataset = TypeAdapter(model).validate_python(data)
    except ValidationError as error:
        faults = [_fault(file, lines, dict(fault), model) for fault in error.errors()]
        raise DatasetError("\n".join(faults)) from None
    try:
        if check:
            check(dataset)
    except FaultError as error:
        raise DatasetError(f"{file}:{_line(lines, error.at)}: {dataset.name}: {error}") from None
    return dataset


def _compose(file: Path) -> yaml.MappingNode:
    data = file.read_bytes()
    try:
        root = yaml.compose(data.decode(), Loader=yaml.SafeLoader)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise DatasetError(f"{file}:{line}: not UTF-8 text ({error.reason}); save the file as UTF-8") from None
    except yaml.YAMLError as error:
        raise _not_yaml(file, data.decode(), error) from None
    if not isinstance(root, yaml.MappingNode):
        raise DatasetError(f"{file}:1: a dataset file is a mapping of keys; begin it with `name:` and `kind:`")
    return root


_YAML_REMEDIES = {
    "'\\t'": "indent with spaces",
    "mapping values are not allowed": "put text with a colon in quotes, or mend the indentation",
}


def _not_yaml(file: Path, text: str, error: yaml.YAMLError) -> DatasetError:
    if isinstance(error, yaml.MarkedYAMLError):
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        problem = error.problem or error.context or "it can't be read"
        remedy = next((remedy for part, remedy in _YAML_REMEDIES.items() if part in problem), "mend the line")
        return DatasetError(f"{file}:{line}: not YAML: {problem}; {remedy}")
    line = text.count("\n", 0, getattr(error, "position", 0)) + 1
    return DatasetError(f"{file}:{line}: not YAML: {str(error).splitlines()[0]}; take the character out")


def _fault(file: Path, lines: Mapping[tuple[str, ...], int], fault: dict[str, Any], model: type[BaseModel]) -> str:
    """One pydantic fault as a person reads it. A missing key is told at the line of the part that lacks it."""
    path = tuple(str(part) for part in fault["loc"])
    error = fault.get("ctx", {}).get("error")
    exact = error.at if isinstance(error, FaultError) else path
    return f"{file}:{_line(lines, exact)}: {_words(path, fault, model)}"


def _line(lines: Mapping[tuple[str, ...], int], path: tuple[str, ...]) -> int:
    """The line of the key at a path, or of the nearest one above it that stands in the file."""
    return next((lines[path[:n]] for n in range(len(path), 0, -1) if path[:n] in lines), 1)


def _words(path: tuple[str, ...], fault: dict[str, Any], model: type[BaseModel]) -> str:
    place, found = ".".join(path), _shown(fault["input"])
    match fault["type"]:
        case "missing":
            text = f"`{place}` is missing; add it"
        case "extra_forbidden":
            known = _keys(_part(path[:-1], model))
            near = difflib.get_close_matches(path[-1], known, n=1)
            remedy = f"did you mean `{near[0]}`?" if near else f"known here: {', '.join(known)}"
            if fault["input"] is None and not near:  # YAML's `{description: a, b}` and `{type: decimal(12,2)}`
                remedy = "put text with a comma in quotes"
            text = f"unknown key `{place}`; {remedy}"
        case "value_error":
            error = fault["ctx"]["error"]
            text = f"`{place}`: {error}" if place and not isinstance(error, FaultError) else str(error)
        case "string_pattern_mismatch":
            text = f"`{place}` is {found}; write {_FORMS.get(path[-1], fault['ctx']['pattern'])}"
        case "model_type" | "model_attributes_type":
            known = _keys(_part(path, model))
            text = f"`{place}` is {found}; write a mapping with the keys {', '.join(known)}"
        case "tuple_type":
            text = f"`{place}` is {found}; write a list, such as [{fault['input']}]"
        case _:
            text = f"`{place}`: {_small(fault['msg'].removeprefix('Input '))}, not {found}"
    return text


def _small(text: str) -> str:
    return text[:1].lower() + text[1:]


def _part(path: tuple[str, ...], model: type[BaseModel]) -> type[BaseModel]:
    """The model of the mapping at a path, or of the nearest one above it."""
    return next((_PARTS[path[:n]] for n in range(len(path), 0, -1) if path[:n] in _PARTS), model)


def _keys(model: type[BaseModel]) -> list[str]:
    return [field.alias or name for name, field in model.model_fields.items()]


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def _faults_between(loaded: list[tuple[Path, Dataset]]) -> Iterator[str]:
    names = dict.fromkeys(_NAMES_IN_USE, "the lake itself")
    prefixes: dict[str, Path] = {}
    for file, dataset in loaded:
        for name in _tables(dataset):
            if name in names:
                line = _line_of(file, "name")
                table = "" if name == dataset.name else f" (a table of {dataset.name})"
                yield f"{file}:{line}: the name {name!r}{table} is taken by {names[name]}; choose another `name`"
            names[name] = str(file)
        prefix = dataset.landing.prefix + "/"
        for other, owner in prefixes.items():
            if prefix.startswith(other) or other.startswith(prefix):
                line = _line_of(file, "landing", "prefix")
                yield f"{file}:{line}: `landing.prefix` {prefix[:-1]!r} overlaps that of {owner}; give each its own"
        prefixes[prefix] = file


def _tables(dataset: Dataset) -> Iterator[str]:
    """The names of a dataset's tables."""
    yield dataset.name
    if isinstance(dataset, EventStream):
        yield f"{dataset.name}_duplicates"
        return
    yield f"{dataset.name}_tombstones"
    if dataset.history:
        yield f"{dataset.name}_history"


def _line_of(file: Path, *path: str) -> int:
    return _lines(_compose(file)).get(path, 1)


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


def _faults_of_yaml(node: yaml.Node, above: tuple[yaml.Node, ...] = ()) -> Iterator[tuple[int, str]]:
    """What YAML itself allows and a dataset file can't mean, by line.

    Keys that stand twice in one mapping (YAML would silently keep the last), keys that are no text, values that are
    none, and aliases that contain themselves.
    """
    line = node.start_mark.line + 1
    if node in above:
        yield line, "a YAML alias contains itself; write the mapping out"
    elif isinstance(node, yaml.MappingNode):
        yield from _faulty_keys(node)
        for _, value in node.value:
            yield from _faults_of_yaml(value, (*above, node))
    elif isinstance(node, yaml.SequenceNode):
        for value in node.value:
            yield from _faults_of_yaml(value, (*above, node))
    else:
        try:
            yaml.SafeLoader("").construct_document(node)
        except yaml.MarkedYAMLError as error:
            yield line, f"{error.problem}; write the value itself"
        except ValueError as error:  # a date such as 2026-13-45
            yield line, f"{error}; put the value in quotes if it is text"


def _faulty_keys(node: yaml.MappingNode) -> Iterator[tuple[int, str]]:
    seen: dict[str, int] = {}
    for key, _ in node.value:
        line = key.start_mark.line + 1
        if not isinstance(key, yaml.ScalarNode):
            yield line, "a key is a list or a mapping; write a text"
        elif key.tag not in _TEXT_TAGS:
            yield line, f"key `{key.value}` is no text for YAML; put it in quotes"
        elif key.value in seen:
            yield line, f"key `{key.value}` stands twice (first in line {seen[key.value]}); keep one"
        else:
            seen[key.value] = line
