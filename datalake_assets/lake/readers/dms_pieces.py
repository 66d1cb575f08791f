"""Which reader a file of AWS DMS gets: by its name, and where that tells nothing by its first bytes."""

from typing import Protocol

from datalake_assets.lake.readers.batch import Limits
from datalake_assets.lake.readers.dms_csv import CsvPieces
from datalake_assets.lake.readers.file_rows import FileRows
from datalake_assets.lake.readers.parquet_pieces import ParquetPieces
from datalake_assets.lake.spec.dataset import CdcTable
from datalake_assets.lake.store.landing import LandedObject, is_full_load

_PARQUET = b"PAR1"
_CSV_NAMES = (".csv", ".csv.gz")


class Pieces(Protocol):
    """A file in pieces, the same ones whenever it is read; `ends_load`: what it says of being the last of a load."""

    count: int
    ends_load: bool | None

    def check(self) -> None:
        """Raise `UnreadableObjectError` for a file of which some piece can't be read, where that can be."""

    def first(self, number: int) -> int:
        """The number, from 1, of the first row of a piece."""

    def read(self, number: int) -> FileRows:
        """A piece by its number from 0. Raises `UnreadableObjectError`."""


def pieces_of(landed: LandedObject, data: bytes, dataset: CdcTable, limits: Limits) -> Pieces:
    """A landed file in pieces that fit in a batch. Raises `UnreadableObjectError` for one that can't be read."""
    if _is_csv(landed.key, data, dataset):
        return CsvPieces(
            data,
            dataset,
            limit=limits.object_bytes,
            piece_bytes=limits.piece_bytes,
            longest=limits.record_bytes,
            full_load=is_full_load(landed.key),
        )
    return ParquetPieces(data, limit=limits.object_bytes, piece_bytes=limits.piece_bytes)


def _is_csv(key: str, data: bytes, dataset: CdcTable) -> bool:
    name = key.rpartition("/")[2].lower()
    if name.endswith(".parquet"):
        return False
    return name.endswith(_CSV_NAMES) or (dataset.csv is not None and not data.startswith(_PARQUET))
