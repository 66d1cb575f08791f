"""The contract of one record, judged with the standard library alone, where no other package is at hand (AWS Lambda).

The lake's own reader stays the authority. What is refused here the lake would reject too, for the same rule; a keyword
that is not known here (`anyOf`, `if`, `uniqueItems`, …) or not surely understood (a pattern with look-ahead) is left to
the lake. Belongs here: records, and what is within them. Single values are judged in `value_rules.py`.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from datalake_assets.ingest.value_rules import Rule, cut, rules_of, shown

MOST_REASONS = 5
"""How many reasons a record is told; it is rejected for the first."""


class Reason(NamedTuple):
    """Why a record is rejected, in the words of the lake's quarantine: `/amount minimum: -3 is less than …`."""

    pointer: str
    rule: str
    message: str


@dataclass(slots=True)
class _Node:
    """A schema taken apart: rules on the value itself, and the schemas of what is within."""

    rules: list[Rule] = field(default_factory=list)
    required: tuple[str, ...] = ()
    properties: dict[str, tuple[str, "_Node"]] = field(default_factory=dict)
    others: "_Node | bool" = True
    items: "_Node | None" = None
    items_from: int = 0
    looks_within: bool = False


class Contract:
    """The compiled contract of one source."""

    def __init__(
        self, schema: Mapping[str, Any], *, needed: Collection[str] = (), refuses_unknown: bool = False
    ) -> None:
        """Compile a JSON Schema of the 2020-12 draft without references.

        `needed` are fields that may be neither absent nor null, whatever the schema says: the key and the event time.
        With `refuses_unknown` a field that the schema does not declare is refused.
        """
        self._root = _node(schema)
        self._needed = tuple(sorted(needed))
        self._refuses_unknown = refuses_unknown

    def reasons(self, record: Any) -> list[Reason]:
        """Why a record is rejected, at most `MOST_REASONS`; none where it is accepted."""
        found: list[Reason] = []
        _judge(self._root, record, "", found)
        if not isinstance(record, dict):
            return found[:MOST_REASONS] or [Reason("", "type", "a record is a JSON object")]
        missing = (name for name in self._needed if record.get(name) is None)
        found += [Reason(_below("", name), "key", "an event needs it") for name in missing]
        if self._refuses_unknown:
            undeclared = sorted(record.keys() - self._root.properties.keys())[:MOST_REASONS]
            message = "the contract does not declare this field"
            found += [Reason(cut(_below("", name)), "unknown_fields", message) for name in undeclared]
        return found[:MOST_REASONS]


def _judge(node: _Node, value: Any, pointer: str, found: list[Reason]) -> None:
    for keyword, keeps, otherwise in node.rules:
        if not keeps(value):
            found.append(Reason(cut(pointer), keyword, f"{shown(value)} {otherwise}"))
    if not node.looks_within:
        return
    if isinstance(value, dict):
        _judge_fields(node, value, pointer, found)
    elif isinstance(value, list) and node.items is not None:
        for n in range(node.items_from, len(value)):
            if len(found) >= MOST_REASONS:
                return
            _judge(node.items, value[n], f"{pointer}/{n}", found)


def _judge_fields(node: _Node, fields: Mapping[str, Any], pointer: str, found: list[Reason]) -> None:
    for name in node.required:
        if name not in fields:
            found.append(Reason(cut(pointer), "required", f"{shown(name)} is a required property"))  # noqa: PERF401
    for name, value in fields.items():
        if len(found) >= MOST_REASONS:
            return
        declared = node.properties.get(name)
        if declared is not None:
            _judge(declared[1], value, pointer + declared[0], found)
        elif node.others is False:
            message = f"additional properties are not allowed ({shown(name)} was unexpected)"
            found.append(Reason(cut(pointer), "additionalProperties", message))
        elif node.others is not True:
            _judge(node.others, value, _below(pointer, name), found)


def _node(schema: Any) -> _Node:
    if schema is False:
        return _Node([Rule("false schema", lambda _: False, "is not allowed here")])
    if not isinstance(schema, Mapping):
        return _Node()
    node = _Node(rules_of(schema), tuple(schema.get("required", ())))
    node.properties = {n: (_below("", n), _node(s)) for n, s in schema.get("properties", {}).items()}
    others = schema.get("additionalProperties", True)
    if "patternProperties" not in schema:  # which say what is additional, and are left to the lake
        node.others = others if isinstance(others, bool) else _node(others)
    if "items" in schema:
        node.items, node.items_from = _node(schema["items"]), len(schema.get("prefixItems", ()))
    node.looks_within = bool(node.required or node.properties or node.items) or node.others is not True
    return node


def _below(pointer: str, name: str) -> str:
    return f"{pointer}/{name.replace('~', '~0').replace('/', '~1')}"
