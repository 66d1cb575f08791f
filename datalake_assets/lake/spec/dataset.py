"""What a dataset is: the typed form of one dataset file, a model for each kind.

Reading files, and the rules between datasets, are in `dataset_files.py`.
"""

from datalake_assets.lake.spec.cdc_table import OPERATION_COLUMN, CdcTable
from datalake_assets.lake.spec.event_stream import EventStream

__all__ = ["OPERATION_COLUMN", "CdcTable", "Dataset", "EventStream"]

Dataset = EventStream | CdcTable
