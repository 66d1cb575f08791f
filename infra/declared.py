"""What the dataset files ask of AWS: the one source of mappings, streams, prefixes and catalogue tables.

Belongs here: from datasets and the lake's registry of tables to what templates hold, without any construct.
"""

from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from datalake_assets.gateway.declared import contracts
from datalake_assets.lake.lake import Lake
from datalake_assets.lake.readers.batch import Limits
from datalake_assets.lake.spec.dataset import CdcTable, EventStream
from datalake_assets.lake.spec.dataset_files import load_datasets
from datalake_assets.lake.spec.table_spec import TableSpec
from datalake_assets.lake.spec.tables import LEDGER, VERDICTS
from datalake_assets.lake.spec.types import LakeType
from datalake_assets.lake.store.layout import Layout
from infra.settings import Settings, SettingsError

DMS_FOLDER = "dms"
"""The folder of bronze below which DMS has a folder for each schema, and in it one for each table."""
_REPLICATED_PARTS = 3
_ADDED = ("AR_H_CHANGE_SEQ", "AR_H_STREAM_POSITION", "AR_H_TIMESTAMP", "AR_H_COMMIT_TIMESTAMP")
"""What DMS can tell of a change, by which columns of `order_by` are filled that the source does not have."""
_GLUE_TYPES = {"int8": "tinyint", "int16": "smallint", "int32": "int", "int64": "bigint", "json": "string"}


def declared(settings: Settings) -> Lake:
    """The lake that an environment is made for, with its dataset files. Raises `DatasetError` where one is wrong."""
    return _lake(settings.datasets, settings.layout)


@cache
def _lake(folder: Path, layout: Layout) -> Lake:
    return Lake(layout=layout, datasets=load_datasets(folder), limits=Limits())


_SHOWN = (LEDGER, VERDICTS)
"""Of the lake's own memory: what landed and what became of it, and what was found wrong."""


def event_streams(settings: Settings) -> list[EventStream]:
    """The datasets of kind `event_stream`."""
    return [d for d in declared(settings).datasets.values() if isinstance(d, EventStream)]


def delivery_streams(settings: Settings) -> dict[str, EventStream]:
    """The datasets that Firehose lands, by the names of their delivery streams: those that the ingest API puts to."""
    datasets = declared(settings).datasets
    told = contracts(datasets, stream_prefix=stream_prefix(settings))
    return {told[d.name]["stream"]: d for d in event_streams(settings) if told[d.name]["stream"]}


def stream_prefix(settings: Settings) -> str:
    """What the names of delivery streams begin with."""
    return f"{settings.prefix}-"


def landing_prefixes(settings: Settings) -> list[str]:
    """The folders of bronze in which datasets land."""
    return sorted(d.landing.prefix for d in declared(settings).datasets.values())


def replicated_tables(settings: Settings) -> list[CdcTable]:
    """The datasets that DMS replicates: those that land in `dms/SCHEMA/TABLE`. Others come from elsewhere."""
    tables = (d for d in declared(settings).datasets.values() if isinstance(d, CdcTable))
    return [d for d in tables if _is_replicated(d.landing.prefix)]


def _is_replicated(prefix: str) -> bool:
    parts = prefix.split("/")
    return len(parts) == _REPLICATED_PARTS and parts[0] == DMS_FOLDER


def timestamp_column(tables: Sequence[CdcTable]) -> str:
    """The column for commit times, which DMS names once for all tables of an endpoint.

    Raises `SettingsError` where tables have none, or different ones.
    """
    names = {d.name: d.timestamp_column for d in tables}
    found = set(names.values())
    if len(found) != 1 or None in found:
        raise SettingsError(
            f"datasets: DMS gives all tables of an endpoint one timestamp_column, and these have {names}; write the "
            "same in each dataset file"
        )
    return str(found.pop())


def table_mappings(tables: Sequence[CdcTable], *, with_added: bool = True) -> dict[str, Any]:
    """DMS's table mappings: each table by name, and (`with_added`) the columns that order its changes.

    Raises `SettingsError` for an `order_by` that neither the table nor DMS has.
    """
    rules: list[dict[str, Any]] = []
    for dataset in tables:
        _, schema, table = dataset.landing.prefix.split("/")
        at = {"schema-name": schema, "table-name": table}
        rules.append(
            _rule(rules, f"{table}", {"rule-type": "selection", "object-locator": at, "rule-action": "include"})
        )
        for column in _added_columns(dataset) if with_added else ():
            added = {
                "rule-type": "transformation",
                "rule-target": "column",
                "object-locator": at,
                "rule-action": "add-column",
                "value": column,
                "expression": f"${column.upper()}",
                "data-type": {"type": "string", "length": 50},
            }
            rules.append(_rule(rules, f"{table}-{column}", added))
    return {"rules": rules}


def _rule(rules: Sequence[object], name: str, rule: dict[str, Any]) -> dict[str, Any]:
    return {"rule-id": str(len(rules) + 1), "rule-name": name.replace("_", "-"), **rule}


def _added_columns(dataset: CdcTable) -> Iterator[str]:
    for column in dataset.order_by:
        if column in dataset.columns:
            continue
        if column.upper() not in _ADDED:
            known = ", ".join(name.lower() for name in _ADDED)
            raise SettingsError(
                f"datasets: order_by of {dataset.name} has {column}, which is no column of the table, and DMS can add "
                f"only {known}; name one of these or declare the column"
            )
        yield column


def catalogued(settings: Settings) -> Iterator[tuple[str, TableSpec, str]]:
    """The tables that the catalogue has, with zone and place; of the lake's memory only what people look at."""
    lake = declared(settings)
    for table in lake.specs():
        if table.zone != "lake" or table in _SHOWN:
            yield table.zone, table, lake.layout.place_of(table)


def glue_type(text: str) -> str:
    """The catalogue's word for a column type of the lake, such as `bigint` or `array<date>`."""
    if text.startswith("list<"):
        return f"array<{glue_type(text.removeprefix('list<').removesuffix('>'))}>"
    kind = LakeType.parse(text)
    return _GLUE_TYPES.get(kind.name, str(kind))
