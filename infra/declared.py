"""What the dataset files ask of AWS: the one source of streams, prefixes and catalogue tables.

Belongs here: from datasets and the lake's registry of tables to what templates hold, without any construct.
"""

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from datalake_assets.gateway.declared import contracts
from datalake_assets.lake.lake import Lake
from datalake_assets.lake.readers.batch import Limits
from datalake_assets.lake.spec.dataset import Dataset, EventStream
from datalake_assets.lake.spec.dataset_files import load_datasets
from datalake_assets.lake.spec.fault import FaultError
from datalake_assets.lake.spec.table_spec import TableSpec
from datalake_assets.lake.spec.tables import LEDGER, VERDICTS
from datalake_assets.lake.spec.types import LakeType
from datalake_assets.lake.store.layout import Layout
from infra.settings import Settings, SettingsError

FROM_KINESIS, _LONGEST = "-from-kinesis", 64
"""What the name of a delivery stream ends with that reads a Kinesis stream; how long Firehose takes such names."""
_PREFIX = re.compile(r"[A-Za-z0-9_.!'()$/-]+")
"""What rights, rules and table mappings take for what it is: no `*`, `%` or space, nothing beyond ASCII."""
_GLUE_TYPES = {"int8": "tinyint", "int16": "smallint", "int32": "int", "int64": "bigint", "json": "string"}


def declared(settings: Settings) -> Lake:
    """The lake that an environment is made for, with its dataset files. Raises `DatasetError` where one is wrong."""
    return _lake(settings.datasets, settings.layout)


@cache
def _lake(folder: Path, layout: Layout) -> Lake:
    return Lake(layout=layout, datasets=load_datasets(folder, check=_check_prefix), limits=Limits())


def _check_prefix(dataset: Dataset) -> None:
    prefix = dataset.landing.prefix
    if not _PREFIX.fullmatch(prefix):
        known = "ASCII's letters and digits, and of _.!'()$/-"
        raise FaultError(f"AWS takes no folder {prefix!r}; name one of {known}", at=("landing", "prefix"))


_SHOWN = (LEDGER, VERDICTS)
"""Of the lake's own memory: what landed and what became of it, and what was found wrong."""


def event_streams(settings: Settings) -> list[EventStream]:
    """The datasets of kind `event_stream`."""
    return [d for d in declared(settings).datasets.values() if isinstance(d, EventStream)]


def delivery_streams(settings: Settings) -> dict[str, EventStream]:
    """The datasets that Firehose lands, by the names of their delivery streams: those that the ingest API puts to.

    Raises `SettingsError` for a name that is too long for Firehose.
    """
    datasets = declared(settings).datasets
    told = contracts(datasets, stream_prefix=stream_prefix(settings))
    streams = {told[d.name]["stream"]: d for d in event_streams(settings) if told[d.name]["stream"]}
    for stream, dataset in streams.items():
        full = f"{stream}{FROM_KINESIS if settings.kinesis else ''}"
        if (more := len(full) - _LONGEST) > 0:
            raise SettingsError(
                f"datasets: {dataset.name} lands in {dataset.landing.prefix}, and Firehose takes no name as long as "
                f"{full}; choose a folder with {more} characters less"
            )
    return streams


def stream_prefix(settings: Settings) -> str:
    """What the names of delivery streams begin with."""
    return f"{settings.prefix}-"


def landing_prefixes(settings: Settings) -> list[str]:
    """The folders of bronze in which datasets land."""
    return sorted(d.landing.prefix for d in declared(settings).datasets.values())


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
