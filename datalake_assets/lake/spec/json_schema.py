"""JSON Schema as dataset files write it: what a contract may say, and what of it decides how a record is read.

Belongs here: keywords, at any depth. Columns, and the rules of a whole dataset, are in `dataset.py`.
"""

import difflib
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import unquote

import jsonschema_rs

from datalake_assets.lake.spec.fault import FaultError

DRAFT = "https://json-schema.org/draft/2020-12/schema"
LAKE_TYPE = "x-lake-type"
_ONE = frozenset(
    {
        *("additionalProperties", "contains", "contentSchema", "else", "if", "items", "not", "propertyNames", "then"),
        *("unevaluatedItems", "unevaluatedProperties"),
    }
)
_LISTED = frozenset({"allOf", "anyOf", "oneOf", "prefixItems"})
_NAMED = frozenset({"$defs", "definitions", "dependentSchemas", "patternProperties", "properties"})
_WHOLE_NUMBERS = frozenset(
    {
        *("maxContains", "maxItems", "maxLength", "maxProperties"),
        *("minContains", "minItems", "minLength", "minProperties"),
    }
)
_BOUNDS = frozenset({"exclusiveMaximum", "exclusiveMinimum", "maximum", "minimum", "multipleOf"})
_REFERRED_TO = frozenset({"$anchor", "$dynamicAnchor", "$recursiveAnchor", "$vocabulary"})
_ANNOTATIONS = frozenset(
    {"$comment", "$id", "$schema", "default", "deprecated", "description", "examples", "readOnly", "title", "writeOnly"}
)
_OTHERS = frozenset(
    {
        *("$anchor", "$dynamicAnchor", "$dynamicRef", "$recursiveAnchor", "$recursiveRef", "$ref", "$vocabulary"),
        *("const", "contentEncoding", "contentMediaType", "dependentRequired", "enum", "format", "pattern"),
        *("required", "type", "uniqueItems"),
    }
)
_KEYWORDS = sorted(_ONE | _LISTED | _NAMED | _WHOLE_NUMBERS | _BOUNDS | _ANNOTATIONS | _OTHERS)
_TYPE_NAMES = "string, integer, number, boolean, object, array or null"
_MOST = 2**63 - 1
_EXACT = 2**53
_DEEPEST = 100
_MOST_PARTS = 10_000

Schema = dict[str, Any]


def checked(contract: Schema) -> Schema:
    """A contract that every reader can serve, with its references written out.

    Nothing is fetched: a `$ref` may point to a place in the same contract (`#/$defs/NAME`) and to nothing else.
    Raises `FaultError`, whose place begins with `schema`, for what is no JSON Schema of the 2020-12 draft, and for
    what the lake does not read.
    """
    _check_values(contract, at=("schema",))
    for at, part in _parts(contract, at=("schema",)):
        _check_keywords(part, at=at)
    try:
        jsonschema_rs.meta.validate(contract)
        written_out = _Reader(contract).written_out()
        jsonschema_rs.Draft202012Validator(written_out, validate_formats=True)
    except jsonschema_rs.ValidationError as error:
        place = tuple(str(part) for part in error.instance_path)
        remedy = f"write {_TYPE_NAMES}" if place[-1:] == ("type",) else "json-schema.org tells what may stand here"
        raise FaultError(f"not a JSON Schema: {error.message}; {remedy}", at=("schema", *place)) from None
    except FaultError:
        raise
    except (TypeError, ValueError) as error:
        raise FaultError(f"not a JSON Schema: {str(error).splitlines()[0]}; mend it", at=("schema",)) from None
    return written_out


def without_annotations(contract: Schema) -> Schema:
    """The contract without what only describes, at any depth: titles, descriptions, examples, comments, `x-…`."""

    def kept(part: Schema) -> Schema:
        return {k: v for k, v in part.items() if k not in _ANNOTATIONS and (k == LAKE_TYPE or not k.startswith("x-"))}

    changed: Schema = _changed(contract, kept)
    return changed


def _parts(schema: Any, *, at: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Schema]]:
    """Every schema within a schema, itself first, with the path of keys to it; what is no mapping is passed over."""
    if not isinstance(schema, dict):
        return
    yield at, schema
    for keyword, value in schema.items():
        if keyword in _ONE:
            yield from _parts(value, at=(*at, keyword))
        elif keyword in _LISTED and isinstance(value, list):
            for n, part in enumerate(value):
                yield from _parts(part, at=(*at, keyword, str(n)))
        elif keyword in _NAMED and isinstance(value, dict):
            for name, part in value.items():
                yield from _parts(part, at=(*at, keyword, name))


def _changed(schema: Any, change: Callable[[Schema], Schema]) -> Any:
    """A schema with `change` made to it and to every schema within."""
    if not isinstance(schema, dict):
        return schema
    changed = change(schema)
    for keyword, value in changed.items():
        if keyword in _ONE:
            changed[keyword] = _changed(value, change)
        elif keyword in _LISTED:
            changed[keyword] = [_changed(part, change) for part in value]
        elif keyword in _NAMED:
            changed[keyword] = {name: _changed(part, change) for name, part in value.items()}
    return changed


def _check_values(value: Any, *, at: tuple[str, ...]) -> None:
    """YAML has values that JSON does not: dates, bytes, sets, infinity, halves of a character."""
    if len(at) > _DEEPEST:
        raise FaultError(
            f"nested more than {_DEEPEST} deep; write `type: object` further up, which keeps it as JSON text", at=at
        )
    if isinstance(value, Mapping):
        for key, inner in value.items():
            _check_text(key, at=(*at, key))
            _check_values(inner, at=(*at, key))
    elif isinstance(value, list):
        for n, inner in enumerate(value):
            _check_values(inner, at=(*at, str(n)))
    elif isinstance(value, str):
        _check_text(value, at=at)
    elif isinstance(value, float) and not math.isfinite(value):
        raise FaultError(f"{value} is no number of JSON; write a number, or take the rule out", at=at)
    elif value is not None and not isinstance(value, bool | int | float):
        raise FaultError(f"`{value}` is a {type(value).__name__} for YAML, which JSON lacks; put it in quotes", at=at)


def _check_text(text: str, *, at: tuple[str, ...]) -> None:
    if not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
        raise FaultError("half of a character (a surrogate) is no text; write the whole character", at=at)


def _check_keywords(part: Schema, *, at: tuple[str, ...]) -> None:
    for keyword, value in part.items():
        place = (*at, keyword)
        if keyword not in _KEYWORDS and not keyword.startswith("x-"):
            raise FaultError(_unknown(keyword, value), at=place)
        if keyword == "$schema" and (len(at) > 1 or str(value).rstrip("#") != DRAFT):
            raise FaultError(f"`$schema` {value!r} is not read; write {DRAFT} at the top, or take it out", at=place)
        if keyword == "$id" and len(at) > 1:
            raise FaultError("`$id` inside a contract is not read; take it out", at=place)
        if keyword in _REFERRED_TO:
            raise FaultError(f"`{keyword}` is not read; put the part under `$defs` and point there", at=place)
        if keyword in {"$dynamicRef", "$recursiveRef"}:
            raise FaultError(f"`{keyword}` is not read; write `$ref: '#/$defs/NAME'`, or the rule itself", at=place)
        if keyword in _WHOLE_NUMBERS and isinstance(value, int | float) and not isinstance(value, bool):
            _check_whole_number(keyword, value, at=place)
        if keyword in _BOUNDS and isinstance(value, int) and not _is_a_double(value):
            raise FaultError(f"`{keyword}` is beyond every double; write a smaller number, or take it out", at=place)


def _unknown(keyword: str, value: Any) -> str:
    """What is wrong with a keyword that no validator heeds: a rule that is misspelt would be kept by nobody."""
    if value is None:  # YAML's `{description: Seconds, since 1970}`
        return f"`{keyword}` is no keyword of JSON Schema; put text with a comma in quotes"
    near = difflib.get_close_matches(keyword, _KEYWORDS, n=1)
    remedy = f"did you mean `{near[0]}`?" if near else f"take it out, or call it `x-{keyword}`"
    return f"`{keyword}` is no keyword of JSON Schema; {remedy}"


def _check_whole_number(keyword: str, value: float, *, at: tuple[str, ...]) -> None:
    if not isinstance(value, int):
        whole = str(int(value)) if value.is_integer() and abs(value) < _EXACT else "a whole number"
        raise FaultError(f"`{keyword}` is {value}; write {whole}", at=at)
    if value > _MOST:
        raise FaultError(f"`{keyword}` is more than {_MOST}; write a smaller number, or take it out", at=at)


def _is_a_double(value: int) -> bool:
    try:
        float(value)
    except OverflowError:
        return False
    return True


class _Reader:
    """Writes a contract's references out, so that no reader has to follow them."""

    def __init__(self, contract: Schema) -> None:
        self._contract = contract
        self._parts = 0

    def written_out(self) -> Schema:
        """The contract without a `$ref`, and without the definitions that they pointed to."""
        whole: Schema = self._copy(self._contract, at=("schema",), within=())
        return {k: v for k, v in whole.items() if k not in {"$defs", "definitions"}}

    def _copy(self, schema: Any, *, at: tuple[str, ...], within: tuple[str, ...]) -> Any:
        """A schema written out; `within` are the references that are being followed."""
        self._parts += 1
        if self._parts > _MOST_PARTS:
            raise FaultError(f"written out, the contract has more than {_MOST_PARTS} parts; use fewer `$ref`", at=at)
        if not isinstance(schema, dict):
            return schema
        copy: Schema = {}
        for keyword, value in schema.items():
            place = (*at, keyword)
            if keyword == "$ref":
                continue
            if keyword in _ONE:
                copy[keyword] = self._copy(value, at=place, within=within)
            elif keyword in _LISTED:
                copy[keyword] = [self._copy(p, at=(*place, str(n)), within=within) for n, p in enumerate(value)]
            elif keyword in _NAMED and not (keyword in {"$defs", "definitions"} and at == ("schema",)):
                copy[keyword] = {n: self._copy(p, at=(*place, n), within=within) for n, p in value.items()}
            else:
                copy[keyword] = value
        if "$ref" not in schema:
            return copy
        return _joined(self._target(str(schema["$ref"]), at=(*at, "$ref"), within=within), copy)

    def _target(self, reference: str, *, at: tuple[str, ...], within: tuple[str, ...]) -> Any:
        """What a reference points to, written out."""
        if not reference.startswith("#/"):
            raise FaultError(
                f"`$ref` {reference!r} points out of this contract, or to all of it; write `#/$defs/NAME`, or the rule "
                "itself",
                at=at,
            )
        if reference in within:
            raise FaultError(
                f"`$ref` {reference!r} contains itself; write `type: object` there, which keeps it as JSON text", at=at
            )
        found: Any = self._contract
        for part in reference[2:].split("/"):
            name = unquote(part).replace("~1", "/").replace("~0", "~")
            if isinstance(found, dict) and name in found:
                found = found[name]
            elif isinstance(found, list) and name.isascii() and name.isdigit() and int(name) < len(found):
                found = found[int(name)]
            else:
                raise FaultError(f"`$ref` {reference!r} points to nothing; define it under `$defs`", at=at)
        if not isinstance(found, dict | bool):
            raise FaultError(f"`$ref` {reference!r} points to no schema; define one under `$defs`", at=at)
        for place, schema in _parts(found, at=at):  # it may lie where nobody has looked
            _check_keywords(schema, at=place)
        return self._copy(found, at=at, within=(*within, reference))


def _joined(target: Any, beside: Schema) -> Any:
    """What a reference means: its target, and what stands beside it."""
    only_describes = all(key in _ANNOTATIONS or key.startswith("x-") for key in beside)
    if only_describes and isinstance(target, dict):
        return target | beside
    return target if not beside else {**beside, "allOf": [*beside.get("allOf", ()), target]}
