"""What the dataset files ask of AWS: the one source of mappings, streams, prefixes and catalogue tables.

Belongs here: from datasets and the lake's registry of tables to what templates hold, without any construct.
"""

from functools import cache
from pathlib import Path

from datalake_assets.lake.lake import Lake
from datalake_assets.lake.readers.batch import Limits
from datalake_assets.lake.spec.dataset_files import load_datasets
from datalake_assets.lake.store.layout import Layout
from infra.settings import Settings


def declared(settings: Settings) -> Lake:
    """The lake that an environment is made for, with its dataset files. Raises `DatasetError` where one is wrong."""
    return _lake(settings.datasets, settings.layout)


@cache
def _lake(folder: Path, layout: Layout) -> Lake:
    return Lake(layout=layout, datasets=load_datasets(folder), limits=Limits())
