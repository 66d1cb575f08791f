"""The form in which a task writes: the settings of DMS' endpoint for S3 that matter here.

Belongs here: settings. What they come to is told in `rows.py`, and where a file lies in `files.py`.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class DatePartition(StrEnum):
    """The folders, by commit time (UTC), under which changes land (DMS: DatePartitionSequence)."""

    NONE = "none"
    MONTH = "month"
    DAY = "day"
    HOUR = "hour"


class FileFormat(StrEnum):
    """What files are (DMS: DataFormat and CompressionType); the value is the extension of their names."""

    PARQUET = "parquet"
    CSV = "csv"
    CSV_GZ = "csv.gz"


_FOLDERS = {
    DatePartition.NONE: "",
    DatePartition.MONTH: "%Y/%m",
    DatePartition.DAY: "%Y/%m/%d",
    DatePartition.HOUR: "%Y/%m/%d/%H",
}


@dataclass(frozen=True, slots=True)
class Form:
    """How files are written; the names are those of DMS' settings for S3, in words.

    `timestamp_column` and `sequence_column` are left out where they are None, `load_operation` gives a load's rows an
    `Op`, `before_images` a changed key's old values in `BI_…`. `booleans` are booleans rather than text. A file has at
    most `load_rows`, or `change_rows`.
    """

    date_partition: DatePartition = DatePartition.HOUR
    file_format: FileFormat = FileFormat.PARQUET
    timestamp_column: str | None = "dms_timestamp"
    sequence_column: str | None = "ar_h_change_seq"
    load_operation: bool = True
    before_images: bool = True
    booleans: bool = False
    load_rows: int = 100_000
    change_rows: int = 50_000

    def folder(self, committed: datetime) -> str:
        """The folder below a table's for changes that were committed then; empty for none."""
        return committed.strftime(_FOLDERS[self.date_partition])
