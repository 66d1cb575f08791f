"""Drift: what landed files of a replicated table have otherwise than its dataset file declares, and what comes of it.

Belongs here: the table that a declaration and the files make together, whatever the order in which these come, and how
two states of it stand to each other. Reading files, and bringing tables from one state to another, are the steps'.
"""

import json
from collections import Counter
from collections.abc import Collection, Iterable, Mapping

from datalake_assets.lake.spec.dataset import CdcTable
from datalake_assets.lake.spec.parts import Column
from datalake_assets.lake.spec.types import LakeType
from datalake_assets.lake.spec.widening import ANY, common, widened, widens

Found = Mapping[str, Collection[str]]
"""The types, as dataset files write them, that columns had in landed files, by the columns' names."""

_INTEGERS = frozenset({"int8", "int16", "int32", "int64"})


def with_found(dataset: CdcTable, found: Found) -> CdcTable:
    """The table with what its landed files have besides, as far as `on_drift` wants it.

    A declared column grows as wide as what was found of its kind; a column that is not declared is added in the type
    that all its files can be read in. A name that can't be a column's, or that differs from another by case alone, is
    left out: its values stay in `_unknown`.
    """
    declared = dataset.declared
    types = {name: [LakeType.parse(text) for text in sorted(texts)] for name, texts in found.items()}
    columns = {
        name: column.model_copy(update={"type": str(_wide_type(declared, name, types.get(name, ())))})
        for name, column in declared.columns.items()
    }
    for name in _columns_among(declared, types):
        columns[name] = Column(type=str(common(types[name])), description="Found in landed files")
    if columns == dataset.columns:
        return dataset
    return declared if columns == declared.columns else declared.evolved(columns)


def without_added(dataset: CdcTable) -> CdcTable:
    """The table with the columns that its file declares alone, as wide as they have grown."""
    columns = {name: dataset.columns[name] for name in dataset.declared.columns}
    return dataset if columns == dataset.columns else dataset.evolved(columns)


def news(dataset: CdcTable, types: Mapping[str, LakeType]) -> dict[str, str]:
    """What of the types that a file's columns have is not as declared, and matters: added columns, wider types."""
    declared = dataset.declared
    added = [name for name in types if name not in declared.columns and declared.can_add(name)]
    wider = [
        name
        for name, column in declared.columns.items()
        if name in types and widened(column.lake_type, [types[name]]) != column.lake_type
    ]
    return {name: str(types[name]) for name in sorted([*added, *wider])}


def grown_from(dataset: CdcTable, shape_text: str) -> CdcTable | None:
    """The table as it was in another shape, where that has become this one by what was found since; else None.

    Then its tables can be brought to this shape as they are, without reading a landed object again.
    """
    then, now = json.loads(shape_text), json.loads(dataset.shape_text)
    was, columns = then.pop("columns"), now.pop("columns")
    if then != now or not was.keys() <= columns.keys():
        return None
    declared = dataset.declared.columns
    for name, text in columns.items():
        by_file = name in declared and declared[name].type == text
        if was.get(name) != text and (by_file or not _grows(was.get(name), text, added=name not in declared)):
            return None
    return dataset.evolved({n: c.model_copy(update={"type": was[n]}) for n, c in dataset.columns.items() if n in was})


def _grows(was: str | None, text: str, *, added: bool) -> bool:
    if was is None:
        return added
    old, new = LakeType.parse(was), LakeType.parse(text)
    return widens(old, new) or (added and new == ANY)


def _wide_type(declared: CdcTable, name: str, found: Iterable[LakeType]) -> LakeType:
    column = declared.columns[name].lake_type
    # What sorts changes is compared as text: more digits after the point would be another text.
    grows = declared.on_drift.retyped != "quarantine" and (name not in declared.order_by or column.name in _INTEGERS)
    return widened(column, found) if grows else column


def _columns_among(declared: CdcTable, names: Iterable[str]) -> list[str]:
    """Those of some names that become columns beside the declared ones, in order."""
    if declared.on_drift.added == "keep":
        return []
    folded = Counter(name.lower() for name in {*names, *declared.columns})
    new = sorted(set(names) - declared.columns.keys())
    return [name for name in new if folded[name.lower()] == 1 and declared.can_add(name)]
